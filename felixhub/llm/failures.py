"""What went wrong with one attempt, in words for the user: the server's answer, read once.

Owns: the sentences; which failures are lasting, which may be tried again, which parameter a server refused.
Must not: do input or output, wait, or decide how often something is tried.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from felixhub.core.errors import ModelFailed
from felixhub.llm.endpoint import Endpoint, start_hint

WORDS_MAX = 300
SECRET_PIECE_MIN = 4  # fewer characters of a key say nothing

_CONTEXT = re.compile(
    r"context_length_exceeded|context[ _-](length|size|window)|maximum context|exceed_context_size|prompt is too long"
    r"|too many (input )?tokens|n_ctx|n_keep",
    re.IGNORECASE,
)
_UNSUPPORTED = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|extra (inputs|fields)|not permitted|unexpected", re.IGNORECASE
)
_RETRYABLE_STATUS = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
_LASTING_STATUS = frozenset({400, 401, 402, 403, 404, 405, 410, 413, 415, 422, 501})


class AttemptFailed(ModelFailed):
    """One attempt failed. `retryable` holds only while no token has come; the caller sees a plain `ModelFailed`.

    `nothing_answers`: there was no connection.
    """

    def __init__(
        self,
        reason: str,
        sentence: str,
        *,
        lasting: bool = False,
        retryable: bool = False,
        status: int | None = None,
        words: str = "",
        retry_after_s: float | None = None,
        nothing_answers: bool = False,
    ) -> None:
        super().__init__(reason, sentence, lasting=lasting)
        self.retryable = retryable
        self.status = status
        self.words = words
        self.retry_after_s = retry_after_s
        self.nothing_answers = nothing_answers

    @property
    def passing(self) -> bool:
        """It says nothing of what the server is: silence, a cut connection, or a status that is gone in a while."""
        return self.status is None or self.status >= 500 or self.status in _RETRYABLE_STATUS


def excerpt(text: str) -> str:
    """The server's words on one line, short enough for a screen."""
    line = " ".join(text.split())
    return line if len(line) <= WORDS_MAX else line[: WORDS_MAX - 1] + "…"


def words_of(body: object) -> tuple[str, str]:
    """The message and the code of an error object, whatever its shape."""
    match body:
        case str():
            return body, ""
        case Mapping():
            inner = body.get("error") or body
            if isinstance(inner, str):
                return inner, str(body.get("code") or "")
            if isinstance(inner, Mapping):
                message = inner.get("message") or inner.get("detail") or inner.get("msg") or inner.get("error")
                code = inner.get("code") or inner.get("type") or ""
                return str(message or dict(inner)), str(code)
    return str(body), ""


def refused(endpoint: Endpoint, status: int, body: object, *, model: str, retry_after_s: float | None) -> AttemptFailed:
    """The server answered with an error status. `body` is its JSON, or its text."""
    message, code = words_of(body)
    words = excerpt(message)
    where = f"{endpoint.name} ({endpoint.base_url})"
    said = f' It said: "{words}"' if words else ""
    reason = "llm_error"
    if status in (400, 413, 422) and _CONTEXT.search(f"{code} {message}"):
        reason = "context_exceeded"
        sentence = (
            f"The prompt does not fit the context of {model} at {where}.{said}"
            " Give fewer or shorter documents, or load the model with a larger context."
        )
    elif status == 401:
        sentence = f"{where} refuses the key (401): {_key_hint(endpoint)}.{said}"
    elif status == 403:
        sentence = f"{where} does not allow this (403): check what the key may do, or {_key_hint(endpoint)}.{said}"
    elif status == 404:
        sentence = (
            f"{where} knows no model {model!r}, or no such path (404): check the model's name and that the base URL"
            f" is right (most end in /v1).{said}"
        )
    elif status == 429:
        sentence = f"{where} is rate limited or out of quota (429): wait, or lower max_concurrent.{said}"
    elif status >= 500:
        sentence = f"{where} failed on its side ({status}): look at the server's log.{said}"
    elif 300 <= status < 400:
        sentence = (
            f"{where} points elsewhere ({status}), and prompts go only where you say: name that URL itself.{said}"
        )
    else:
        sentence = f"{where} refuses the request ({status}).{said}"
    return AttemptFailed(
        reason,
        sentence,
        lasting=status in _LASTING_STATUS or 300 <= status < 400,
        retryable=status in _RETRYABLE_STATUS,
        status=status,
        words=f"{code} {message}",
        retry_after_s=retry_after_s,
    )


def error_in_answer(endpoint: Endpoint, body: object, *, model: str) -> AttemptFailed:
    """The status was 200, yet the answer is or contains an error."""
    message, code = words_of(body)
    words = excerpt(message) or "(no words)"
    where = f"{endpoint.name} ({endpoint.base_url})"
    if _CONTEXT.search(f"{code} {message}"):
        return AttemptFailed(
            "context_exceeded",
            f'The prompt does not fit the context of {model} at {where}. It said: "{words}"'
            " Give fewer or shorter documents, or load the model with a larger context.",
            lasting=True,
            words=message,
        )
    status = int(code) if re.fullmatch(r"\d{3}", code) else None
    return AttemptFailed(
        "llm_error",
        f'{where} broke off with an error: "{words}" Look at the server\'s log.',
        lasting=status in _LASTING_STATUS,
        retryable=status is None or status in _RETRYABLE_STATUS,
        words=message,
    )


def unreachable(endpoint: Endpoint, cause: str) -> AttemptFailed:
    """No connection could be made."""
    why = f" ({excerpt(cause)})" if cause else ""
    return AttemptFailed(
        "llm_error",
        f"Nothing answers at {endpoint.base_url}{why}: {start_hint(endpoint)},"
        " or choose another endpoint with --llm (--llm offline needs no model).",
        retryable=True,
        nothing_answers=True,
    )


def no_api(endpoint: Endpoint, why: str = "it sent no JSON for /models") -> AttemptFailed:
    """Asked for its models, it answered with something else than JSON: mostly a web page, for a wrong path."""
    return AttemptFailed(
        "llm_error",
        f"What answers at {endpoint.base_url} is no OpenAI-compatible server: {why}. Check the"
        " base URL (most end in /v1), or name the model if the server lists none.",
        retryable=True,
    )


def cut_off(endpoint: Endpoint, cause: str, *, begun: bool) -> AttemptFailed:
    """The connection broke. With text on the screen that is a truncated answer."""
    where = f"{endpoint.name} ({endpoint.base_url})"
    why = f" ({excerpt(cause)})" if cause else ""
    if begun:
        return AttemptFailed("truncated", f"{where} closed the connection in mid-answer{why}: the text is not whole.")
    sentence = f"{where} closed the connection before it answered{why}: look at the server's log."
    return AttemptFailed("llm_error", sentence, retryable=True)


def stalled(endpoint: Endpoint, *, waited_s: float, begun: bool) -> AttemptFailed:
    """No content for too long; comment lines and pings do not count."""
    what, setting = ("more text", "between_tokens_s") if begun else ("first token", "first_token_s")
    return AttemptFailed(
        "stalled",
        f"{endpoint.name} ({endpoint.base_url}) sent no {what} for {waited_s:g} s: the model may be loading or"
        f" overloaded. Raise {setting}, or choose a smaller model.",
    )


def concession(failed: AttemptFailed, sent: frozenset[str]) -> str | None:
    """Which of the parameters in `sent` to give up for a second try; None: the refusal is about something else.

    A refusal that names nothing is taken to mean `stream_options`, the newest and least understood.
    """
    if failed.status not in (400, 405, 422, 501) or failed.reason == "context_exceeded":
        return None
    words = failed.words.lower()
    if "stream_options" in sent and "stream_options" in words:
        return "stream_options"
    for name in ("max_tokens", "temperature", "seed"):
        if name in sent and name in words and _UNSUPPORTED.search(words):
            return name
    if "stream_options" in sent and failed.status in (400, 422):
        return "stream_options"
    return "stream" if "stream" in sent and "stream" in words else None


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that the server asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d+(\.\d+)?", value):
            return float(value) * unit_s
        if value and name == "retry-after":
            try:
                return max(0.0, parsedate_to_datetime(value).timestamp() - now)
            except (TypeError, ValueError, OverflowError):
                return None  # Neither a number nor a date: as if it were not there.
    return None


def backoff(attempt: int, *, chance: float) -> float:
    """Seconds before retry number `attempt` (from 0): doubling from half a second to 8, with ± 50 % jitter.

    `chance` is in [0, 1).
    """
    return min(8.0, 0.5 * 2.0**attempt) * (0.5 + chance)


def scrub(failed: AttemptFailed, *secrets: str) -> None:
    """Take what we sent in confidence out of the server's words: some servers repeat it."""
    for secret in filter(None, secrets):
        failed.sentence = _without(failed.sentence, secret)
        failed.words = _without(failed.words, secret)
    failed.args = (failed.sentence,)


def _without(text: str, secret: str) -> str:
    text = text.replace(secret, "***")
    if "…" in text:  # Long words were cut, maybe in the midst of it.
        for length in range(len(secret) - 1, SECRET_PIECE_MIN - 1, -1):
            text = text.replace(f"{secret[:length]}…", "***…")
    return text


def _key_hint(endpoint: Endpoint) -> str:
    if endpoint.api_key_env:
        return f"put a valid key into the environment variable {endpoint.api_key_env}"
    if endpoint.api_key_file:
        return f"put a valid key into {endpoint.api_key_file}"
    return f"name an environment variable with a key as api_key_env of the endpoint {endpoint.name!r}"


def status_body(text: str, parsed: Any) -> object:
    """What an error status carried: the parsed JSON if there is any, else the text without a web page's tags."""
    if parsed is not None and not isinstance(parsed, str):
        return parsed
    return re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", text, flags=re.DOTALL | re.IGNORECASE)
