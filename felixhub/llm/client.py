"""The client of one endpoint: a request in, and text, reasoning, usage and the end out, as they come.

Owns: the connection, the watchdog on content, the retries before the first token, what the endpoint was found not to
understand. Must not: read a chunk (`answer.py`), word a failure (`failures.py`), keep text, or show a key.

    ask ──first token──► streaming ──whole──► Usage, Finish
     │ └─refused, broken─► wait, ask again     └─silence, error, cut─► ModelFailed
     └─silence─► ModelFailed("stalled")
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from felixhub.core.errors import ModelFailed
from felixhub.llm import failures
from felixhub.llm.answer import AnswerReader, Finish, RateLimited, Reasoning, Text, Usage
from felixhub.llm.catalogue import SERVER_PATHS, is_not_loaded, listed_context, server_context
from felixhub.llm.endpoint import CONTEXT_TOKENS_UNKNOWN, Endpoint, chat_models
from felixhub.llm.failures import AttemptFailed
from felixhub.llm.surrogates import sendable

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["Finish", "ModelClient", "ModelFailed", "ModelRequest", "Part", "RateLimited", "Reasoning", "Text", "Usage"]

Part = Text | Reasoning | Usage | Finish | RateLimited

CONNECT_S = 10.0
ASK_S = 5.0  # for the size of the context, all questions together: a server that is busy has no time for them
AFTER_FINISH_S = 5.0  # for usage and [DONE] once the finish reason is there
AFTER_DONE_S = 0.1  # to read the end of the body, so that the connection can be used again
RETRY_AFTER_S_MAX = 60.0
HEADER_SECRET_MIN = 8  # a shorter value of a header is not taken for a key


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What is asked of a model. `messages` are {"role": …, "content": …}; None leaves a choice to the server."""

    messages: list[dict[str, str]]
    temperature: float | None = None
    max_tokens: int | None = None
    model: str | None = None
    seed: int | None = None


class ModelClient:
    """One per endpoint and event loop; any number of streams at once. Close it with `aclose()`.

    `chance` gives random numbers in [0, 1) for the jitter, `sleep` waits between tries.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        key: SecretStr | None = None,
        *,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.endpoint = endpoint
        self.replaced_count = 0  # characters of models that UTF-8 could not hold
        self._key = key or SecretStr("")
        self._chance = chance
        self._sleep = sleep
        self._clock = clock
        self._client: AsyncOpenAI | None = None
        self._listed: object = None
        self._context_tokens: int | None = None
        self._is_loaded = True  # as far as its server says
        self._not_understood: set[str] = set()  # parameters that this endpoint refused
        if not endpoint.stream_options:
            self._not_understood.add("stream_options")
        if not endpoint.streaming:
            self._not_understood.add("stream")

    def __repr__(self) -> str:
        return f"ModelClient({self.endpoint.name!r}, {self.endpoint.base_url!r})"

    async def aclose(self) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Part]:
        """One answer. It ends after `Finish`, or raises `ModelFailed`; text that was yielded is never taken back.

        Whoever stops early must close it (`contextlib.aclosing`); cancelling the task closes the connection at once.
        """
        tries = 0
        given_up: set[str] = set()
        while True:
            begun = False
            try:
                async with aclosing(self._attempt(request, frozenset(self._not_understood | given_up))) as parts:
                    async for part in parts:
                        begun = True
                        self._not_understood |= given_up  # It worked without them: remember.
                        yield part
                return
            except AttemptFailed as error:
                failed = error
            failures.scrub(failed, *self._secrets())
            if begun:
                raise failed
            refused = failures.concession(failed, self._sent(request) - self._not_understood - given_up)
            if refused is not None:
                given_up.add(refused)
                continue
            wait_s = failures.backoff(tries, chance=self._chance())
            if failed.retry_after_s is not None:
                wait_s = max(wait_s, failed.retry_after_s)
            if failed.status == 429:
                yield RateLimited(wait_s)
            if not failed.retryable or tries >= self.endpoint.retries_max or wait_s > RETRY_AFTER_S_MAX:
                raise failed
            tries += 1
            await self._sleep(wait_s)

    async def model_name(self) -> str:
        """The endpoint's model; the first chat model that the server lists, if none is named. Raises `ModelFailed`."""
        if self.endpoint.model is not None:
            return self.endpoint.model
        # A server that answers one after another comes to this only after what it is at: patience as for a token.
        listed = await self._models(within_s=self.endpoint.first_token_s)
        if listed is None:
            raise failures.no_api(self.endpoint)
        names = chat_models(listed)
        if not names:
            self._listed = None  # One may be loaded later.
            raise AttemptFailed(
                "llm_error",
                f"{self._where} lists no chat model: load one there, or name one as model of the endpoint.",
                retryable=True,
            )
        return names[0]

    async def context_tokens(self) -> int | None:
        """How many tokens prompt and answer may have together: as set, as the server says, else 4,096. Cached.

        4,096 too, and not cached, while the model is not loaded: what is longer Ollama would cut without a word.
        None: not to be known just now, for the server is busy, failing or has no model yet; ask again next time.
        Raises `ModelFailed` only if nothing answers, or the key is refused.
        """
        if self._context_tokens is None:
            self._is_loaded = True
            tokens = self.endpoint.context_tokens or await self._ask_context()
            if not self._is_loaded:
                return tokens
            self._context_tokens = tokens
        return self._context_tokens

    # ── one attempt ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _attempt(
        self, request: ModelRequest, without: frozenset[str]
    ) -> AsyncGenerator[Text | Reasoning | Usage | Finish]:
        """One HTTP request. Raises `AttemptFailed`, with nothing of the openai package in its context."""
        import httpx2
        import openai

        loop = asyncio.get_running_loop()
        waited_s = self.endpoint.whole_answer_s if "stream" in without else self.endpoint.first_token_s
        deadline = loop.time() + waited_s
        reader = AnswerReader(self.endpoint, model=request.model or self.endpoint.model or "the model")
        failed: AttemptFailed | None = None
        try:
            async with AsyncExitStack() as stack:  # Whatever happens, the response is closed on the way out.
                async with asyncio.timeout_at(deadline):
                    model = request.model or await self.model_name()
                    reader = AnswerReader(self.endpoint, model=model)
                    # The openai package sends, and this reads: its own reader hides `[DONE]` (see sse.py).
                    create = self._open().chat.completions.with_streaming_response.create
                    asked = create(**self._arguments(request, model, without))
                    response = await stack.enter_async_context(asked)
                body = await stack.enter_async_context(aclosing(response.http_response.aiter_bytes()))
                while not reader.done:
                    async with asyncio.timeout_at(deadline):
                        data = await anext(body, None)
                    if data is None:
                        break
                    count, finishing = reader.content_count, reader.finishing
                    for part in reader.feed(data):
                        yield part
                    if reader.finishing and not finishing:
                        deadline = loop.time() + AFTER_FINISH_S
                    elif reader.content_count > count and not reader.finishing:
                        # Only content is progress; the clock stands while the caller holds a part.
                        waited_s = self.endpoint.between_tokens_s
                        deadline = loop.time() + waited_s
                if reader.done:
                    await self._drain(body)
        except AttemptFailed as error:
            failed = error
        except TimeoutError:
            if not reader.finishing:
                failed = failures.stalled(self.endpoint, waited_s=waited_s, begun=reader.begun)
        except openai.OpenAIError as error:
            failed = self._translated(error, model=request.model or self.endpoint.model or "the model")
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            if not reader.finishing:
                failed = failures.cut_off(self.endpoint, str(error), begun=reader.begun)
        try:
            for part in reader.close():
                yield part
            if failed is None:
                for end in reader.verdict():
                    yield end
        except AttemptFailed as error:
            failed = failed or error
        finally:
            self.replaced_count += reader.replaced_count
        if failed is not None:
            raise failed

    async def _drain(self, body: AsyncIterator[bytes]) -> None:
        """Read the end of the body after `[DONE]`, shortly: a connection that is read out can be used again."""
        import httpx2

        try:
            async with asyncio.timeout(AFTER_DONE_S):
                while await anext(body, None) is not None:
                    pass
        except (TimeoutError, httpx2.HTTPError):
            return  # The answer is whole; the connection is closed instead.

    def _sent(self, request: ModelRequest) -> frozenset[str]:
        """The names of the parameters that a server may refuse and the request can do without."""
        chosen = {name for name in ("temperature", "max_tokens", "seed") if getattr(request, name) is not None}
        return frozenset(chosen | {"stream", "stream_options"})

    def _arguments(self, request: ModelRequest, model: str, without: frozenset[str]) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "model": model,
            "messages": [{key: sendable(value) for key, value in message.items()} for message in request.messages],
            "stream": "stream" not in without,
        }
        if request.temperature is not None and "temperature" not in without:
            arguments["temperature"] = request.temperature
        if request.seed is not None and "seed" not in without:
            arguments["seed"] = request.seed
        if request.max_tokens is not None:
            name = "max_completion_tokens" if "max_tokens" in without else "max_tokens"
            arguments[name] = request.max_tokens
        if arguments["stream"] and "stream_options" not in without:
            arguments["stream_options"] = {"include_usage": True}
        return arguments

    # ── questions to the server ──────────────────────────────────────────────────────────────────────────────────

    async def _models(self, *, within_s: float) -> object:
        if self._listed is None:
            self._listed = await self._get(f"{self.endpoint.base_url}/models", within_s=within_s)
        return self._listed

    async def _ask_context(self) -> int | None:
        deadline = asyncio.get_running_loop().time() + ASK_S
        try:
            listed = await self._models(within_s=ASK_S)
        except AttemptFailed as error:
            if error.nothing_answers or error.status in (401, 403):
                raise
            if error.passing:
                return None
            listed = None  # It answers, but lists no models.
        names = chat_models(listed)
        model = self.endpoint.model or (names[0] if names else "")
        if found := listed_context(listed, model):
            return found
        parts = urlsplit(self.endpoint.base_url)
        is_certain = model != ""
        for path in SERVER_PATHS:
            within_s = max(0.0, deadline - asyncio.get_running_loop().time())
            try:
                answer = await self._get(f"{parts.scheme}://{parts.netloc}{path}", within_s=within_s)
            except AttemptFailed as error:
                is_certain = is_certain and not error.passing
                continue  # Not that kind of server, or no time for it.
            if is_not_loaded(path, answer, model):
                self._is_loaded = False
            elif found := server_context(path, answer, model):
                return found
        return CONTEXT_TOKENS_UNKNOWN if is_certain else None

    async def _get(self, url: str, *, within_s: float) -> object:
        """The JSON at `url`; None if it is something else. Raises `AttemptFailed`."""
        import httpx2
        import openai

        from felixhub.llm.bounds import TooMuch

        try:
            async with asyncio.timeout(within_s):
                response = await self._open().get(url, cast_to=httpx2.Response)
            return json.loads(response.content)
        except (ValueError, RecursionError):
            return None
        except TimeoutError:
            failed = failures.stalled(self.endpoint, waited_s=within_s, begun=False)
        except openai.OpenAIError as error:
            failed = self._translated(error, model=self.endpoint.model or "the model")
        except TooMuch as error:
            failed = failures.no_api(self.endpoint, str(error))
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            failed = failures.cut_off(self.endpoint, str(error), begun=False)
        failures.scrub(failed, *self._secrets())
        raise failed

    # ── the package ──────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> AsyncOpenAI:
        if self._client is None:
            import openai

            from felixhub.llm.bounds import UNCOMPRESSED, bound

            # No read timeout: it would count pings as life. The watchdog counts content.
            timeout = openai.Timeout(None, connect=CONNECT_S)
            client = openai.AsyncOpenAI(
                # Never None: the package would take OPENAI_API_KEY and send it to any server.
                api_key=self._key.get_secret_value() or "none",
                base_url=self.endpoint.base_url,
                max_retries=0,  # Retries are `stream`'s alone.
                timeout=timeout,
                default_headers={**UNCOMPRESSED, **self.endpoint.extra_headers},
                # A proxy from the environment must not come between us and this machine.
                http_client=openai.DefaultAsyncHttpxClient(
                    timeout=timeout,
                    # Prompts and headers with secrets go where the settings say, not where a server points.
                    follow_redirects=False,
                    trust_env=not self.endpoint.on_this_machine,
                    event_hooks={"response": [bound]},
                ),
            )
            client.admin_api_key = None
            if urlsplit(self.endpoint.base_url).hostname != "api.openai.com":
                client.organization = client.project = None  # Also from the environment, and nobody else's business.
            self._client = client
        return self._client

    def _translated(self, error: Exception, *, model: str) -> AttemptFailed:
        """The package's error in our words."""
        import httpx2
        import openai

        match error:
            case openai.APIStatusError():
                headers: Mapping[str, str] = error.response.headers
                return failures.refused(
                    self.endpoint,
                    error.status_code,
                    failures.status_body(error.response.text, error.body),
                    model=model,
                    retry_after_s=failures.retry_after(headers, now=self._clock()),
                )
            case openai.APIConnectionError():
                cause = error.__cause__
                if isinstance(cause, httpx2.ConnectError | httpx2.TimeoutException | httpx2.UnsupportedProtocol):
                    return failures.unreachable(self.endpoint, str(cause))
                return failures.cut_off(self.endpoint, str(cause or ""), begun=False)
        return AttemptFailed("llm_error", f"{self._where}: {failures.excerpt(str(error))}")

    def _secrets(self) -> list[str]:
        """What must not come back in a server's words: the key, and what a header of one's own may hold."""
        headers = self.endpoint.extra_headers.values()
        # A title or an address is no secret, and would be missed where it stands for something else.
        likely = [one for one in headers if len(one) >= HEADER_SECRET_MIN and " " not in one and "://" not in one]
        return [self._key.get_secret_value(), *likely]

    @property
    def _where(self) -> str:
        return f"{self.endpoint.name} ({self.endpoint.base_url})"
