"""One answer of a model, read as it comes: bytes in, text and reasoning out, and at the end the verdict.

Owns: what a chunk means, however odd; whether the answer is whole. Must not: do input or output, look at a clock,
or change what the model said.

    ──text──► begun ──finish_reason or [DONE]──► whole ──► Usage, Finish
                    ──error, tool call──► AttemptFailed        ──the bytes end──► AttemptFailed("truncated")
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from felixhub.llm.endpoint import Endpoint
from felixhub.llm.failures import AttemptFailed, error_in_answer, excerpt
from felixhub.llm.sse import EVENT_BYTES_MAX, EventDecoder, EventTooLong, ServerEvent, StrayLine
from felixhub.llm.surrogates import SurrogateMender
from felixhub.llm.think import ThinkSplitter

BODY_BYTES_MAX = 32 * 1024 * 1024
BLANK_BYTES_MAX = 64 * 1024  # of white space before the first byte that says something


@dataclass(frozen=True, slots=True)
class Text:
    """New text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """New text that the model thought to itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The server's own count: the last it sent."""

    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is whole as far as the server is concerned; `truncated_by_length` says it hit its limit.

    `model` is the one that answered, as the server calls it.
    """

    reason: str
    truncated_by_length: bool = False
    model: str = field(default="", compare=False)  # Which one it was does not make it another end.


@dataclass(frozen=True, slots=True)
class RateLimited:
    """The server said 429; the caller lowers the endpoint's concurrency. Seconds until the next try."""

    retry_after_s: float


class AnswerReader:
    """Reads one HTTP body: a stream of events, or one JSON object from a server that does not stream."""

    def __init__(self, endpoint: Endpoint, *, model: str) -> None:
        self._endpoint = endpoint
        self._model = model
        self._form: str | None = None  # "events" or "body", told by the first byte
        self._events = EventDecoder()
        self._body = bytearray()
        self._blank_bytes = 0
        self._menders = {"text": SurrogateMender(), "reasoning": SurrogateMender()}
        self._splitter = ThinkSplitter()
        self._answered_by = ""
        self._usage: Usage | None = None
        self._finish_reason: str | None = None
        self._done = False
        self._stray: list[str] = []
        self._event_seen = False
        self._text_seen = False  # more than white space
        self._reasoning_seen = False
        self.content_count = 0  # grows with every piece of text or reasoning: what the watchdog looks at

    @property
    def begun(self) -> bool:
        """Whether any text or reasoning has come."""
        return self.content_count > 0

    @property
    def done(self) -> bool:
        """`[DONE]` has come: nothing more will."""
        return self._done

    @property
    def finishing(self) -> bool:
        """The finish reason has come; only usage and `[DONE]` may follow."""
        return self._finish_reason is not None

    @property
    def replaced_count(self) -> int:
        """How many characters UTF-8 could not hold."""
        return self._events.replaced_count + sum(mender.replaced_count for mender in self._menders.values())

    def feed(self, data: bytes) -> Iterator[Text | Reasoning]:
        """What the bytes say. Raises `AttemptFailed`; what came before the failure has been yielded by then."""
        if self._form is None:
            said = data.lstrip()
            self._blank_bytes += len(data) - len(said)
            if self._blank_bytes > BLANK_BYTES_MAX:
                raise self._failed("sent nothing but white space")
            if not said:
                return  # Blank lines mean nothing before an event, and white space nothing before a body.
            # Events begin with a field's name or a colon; an object or a web page does not, whatever the headers say.
            self._form = "body" if said[:1] in b"{[<" else "events"
            data = said
        if self._form == "body":
            self._body += data
            if len(self._body) > BODY_BYTES_MAX:
                raise self._failed(f"sent an answer of more than {BODY_BYTES_MAX:,} bytes")
            return
        try:
            for event in self._events.feed(data):
                yield from self._event(event)
        except EventTooLong:
            raise self._failed(f"sent an event of more than {EVENT_BYTES_MAX:,} bytes") from None

    def close(self) -> Iterator[Text | Reasoning]:
        """The bytes have ended, in whatever way: what was held back. It never fails on a cut event."""
        if self._form == "body":
            yield from self._whole_body()
        elif not self._done:
            for event in self._events.finish():
                if isinstance(event, ServerEvent) and event.data.strip() != "[DONE]" and not _is_json(event.data):
                    if not self._event_seen:
                        self._stray.append(event.data)
                    continue  # Cut in the middle: the verdict will say truncated.
                yield from self._event(event)
        yield from self._content(self._menders["text"].finish())
        for channel, text in self._splitter.finish():
            yield self._part(channel, text)
        held = self._menders["reasoning"].finish()
        if held:
            yield self._part("reasoning", held)

    def verdict(self) -> list[Usage | Finish]:
        """After `close()`: the usage, if any, and the end. Raises `AttemptFailed` if the answer is not whole."""
        reason = self._finish_reason
        if (
            reason is None
            and self._done
            and self._endpoint.complete_without_finish_reason == "done"
            and self._text_seen
        ):
            reason = "stop"
        if reason == "error":
            words = " ".join(self._stray)
            raise self._failed("ended the answer with finish_reason error", words=words, retryable=True)
        if reason == "abort":
            raise AttemptFailed(
                "truncated", f"{self._where} aborted the answer: the text is not whole.", retryable=True
            )
        if reason is None or not self._text_seen:
            raise self._not_whole(reason)
        finish = Finish(
            reason,
            truncated_by_length=reason in ("length", "max_tokens", "max_output_tokens"),
            model=self._answered_by or self._model,
        )
        return [*([self._usage] if self._usage else []), finish]

    def _not_whole(self, reason: str | None) -> AttemptFailed:
        if self._stray and reason is None:
            return error_in_answer(self._endpoint, " ".join(self._stray), model=self._model)
        if not self.begun and not self._event_seen:
            sentence = f"{self._where} answered 200 with nothing in it: look at the server's log."
            return AttemptFailed("llm_error", sentence, retryable=True)
        if reason is None and not (self._done and not self._text_seen):
            sentence = f"{self._where} ended the stream without saying that the answer is whole: it is truncated."
            return AttemptFailed("truncated", sentence, retryable=True)
        if reason == "content_filter":
            return AttemptFailed(
                "llm_error", f"{self._where} withheld the whole answer (content filter).", lasting=True
            )
        if self._reasoning_seen:
            hint = "raise max_tokens" if reason == "length" else "try again, or turn its thinking off"
            return AttemptFailed("llm_error", f"{self._where}: the model only thought and wrote no answer: {hint}.")
        return AttemptFailed(
            "llm_error", f"{self._where}: the model gave an empty answer: try again, or another model."
        )

    def _event(self, event: ServerEvent | StrayLine) -> Iterator[Text | Reasoning]:
        if isinstance(event, StrayLine):
            self._stray.append(event.text[:1000])
            del self._stray[20:]
            if _is_json(event.text):  # An error object without `data:` before it.
                yield from self._event(ServerEvent("", event.text))
            return
        data = event.data.strip()
        if data.startswith("[DONE]"):
            self._done = self._event_seen = True
            return
        if not data and event.name != "error":
            return
        self._event_seen = True
        try:
            payload = json.loads(data) if data else {}
        except (ValueError, RecursionError):
            raise error_in_answer(self._endpoint, data, model=self._model) from None
        if event.name == "error" or (payload is not None and not isinstance(payload, dict)):
            raise error_in_answer(self._endpoint, payload, model=self._model)
        if payload:
            yield from self._payload(payload, "delta")

    def _payload(self, payload: dict[str, Any], key: str) -> Iterator[Text | Reasoning]:
        """One chunk (`key` is "delta") or one whole completion ("message")."""
        if payload.get("error") or payload.get("object") == "error":
            raise error_in_answer(self._endpoint, payload, model=self._model)
        self._usage = _usage(payload.get("usage")) or self._usage  # The last one, never the sum.
        named = payload.get("model")
        if isinstance(named, str) and named:
            self._answered_by = named
        choices = payload.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            if not isinstance(choice, dict) or choice.get("index") not in (0, None):
                continue
            if choice.get("error"):
                raise error_in_answer(self._endpoint, choice, model=self._model)
            said = choice.get(key) or choice.get("message")
            reason = choice.get("finish_reason")
            if isinstance(said, dict):
                yield from self._said(said)
            if reason in ("tool_calls", "function_call"):
                raise self._tool_call()
            if isinstance(reason, str) and reason:
                self._finish_reason = reason

    def _said(self, said: dict[str, Any]) -> Iterator[Text | Reasoning]:
        if said.get("tool_calls") or said.get("function_call"):
            raise self._tool_call()
        # One of the two names, never both: some servers send the same text under each.
        reasoning = said.get("reasoning_content") or said.get("reasoning")
        if isinstance(reasoning, str):
            mended = self._menders["reasoning"].feed(reasoning)
            if mended:
                yield self._part("reasoning", mended)
        content = said.get("content") or said.get("refusal")
        if isinstance(content, list):
            content = "".join(part["text"] for part in content if isinstance(part, dict) and _has_text(part))
        if isinstance(content, str):
            yield from self._content(self._menders["text"].feed(content))

    def _content(self, text: str) -> Iterator[Text | Reasoning]:
        if text:
            self.content_count += 1  # Also when the splitter still holds it back.
        for channel, piece in self._splitter.feed(text):
            yield self._part(channel, piece)

    def _part(self, channel: str, text: str) -> Text | Reasoning:
        self.content_count += 1
        if channel == "reasoning":
            self._reasoning_seen = True
            return Reasoning(text)
        self._text_seen = self._text_seen or not text.isspace()
        return Text(text)

    def _whole_body(self) -> Iterator[Text | Reasoning]:
        """A body that is no stream: the whole answer at once, or an error, or a web page."""
        text = self._body.decode(errors="replace")
        self._body.clear()
        if text.lstrip().startswith("<"):
            raise AttemptFailed(
                "llm_error",
                f'{self._where} answered with a web page, not with a model\'s answer ("{excerpt(text)[:80]}"): check'
                " the base URL (most end in /v1) and any proxy in between.",
                lasting=True,
            )
        try:
            payload = json.loads(text)
        except (ValueError, RecursionError):
            raise self._failed("sent an answer that is not whole JSON", words=text, retryable=True) from None
        if not isinstance(payload, dict):
            raise self._failed("sent JSON that is no chat completion", words=text)
        self._event_seen = True
        yield from self._payload(payload, "message")
        if not payload.get("choices"):
            raise self._failed("sent JSON without an answer in it", words=text)
        self._done = True

    def _tool_call(self) -> AttemptFailed:
        return AttemptFailed(
            "llm_error",
            f"{self._model} asked to call a tool, which is not supported yet: tell it in its card to answer in text.",
            lasting=True,
        )

    @property
    def _where(self) -> str:
        return f"{self._endpoint.name} ({self._endpoint.base_url})"

    def _failed(self, what: str, *, words: str = "", retryable: bool = False) -> AttemptFailed:
        said = f': "{excerpt(words)}"' if words else ""
        return AttemptFailed("llm_error", f"{self._where} {what}{said}.", words=words, retryable=retryable)


def _usage(value: object) -> Usage | None:
    if not isinstance(value, Mapping):
        return None
    prompt, completion = value.get("prompt_tokens"), value.get("completion_tokens")
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    details = value.get("completion_tokens_details")
    reasoning = details.get("reasoning_tokens") if isinstance(details, Mapping) else None
    return Usage(prompt, completion, reasoning if isinstance(reasoning, int) else None)


def _has_text(part: dict[str, Any]) -> bool:
    return part.get("type", "text") == "text" and isinstance(part.get("text"), str)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
