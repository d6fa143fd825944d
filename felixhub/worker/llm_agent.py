"""The LLM agent: an assignment becomes one streamed answer of a model.

Owns: which client serves an assignment, and the way from its parts to the items of an agent. Must not: import the
model client before it is needed, keep or show a key, or know the hub.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

from felixhub.core.errors import ConfigError, ModelFailed
from felixhub.core.events import TOKENS_MAX, Usage
from felixhub.core.messages import Assign
from felixhub.worker.items import Item, Reasoning, Throttled, Whole
from felixhub.worker.prompt import ChatMessage, build_prompt, check_fits, estimate_prompt_tokens
from felixhub.worker.tokens import tokens_in

if TYPE_CHECKING:
    from felixhub.llm import client as models
    from felixhub.llm.endpoint import Endpoint

KEY_VARIABLE = "FELIXHUB_LLM_KEY"  # the key of the endpoint that the operator named by its URL
ANSWER_TOKENS = 1_024  # kept free for an answer without a limit of its own, but never more than a quarter of the window


Resolve = Callable[[str], "Endpoint"]
KeyAllowed = Callable[[str], bool]


def nowhere(_url: str) -> bool:
    """No URL gets the key."""
    return False


class LlmAgents:
    """All LLM agents of one worker. One client per endpoint, model and way of answering, for one event loop.

    `resolve` gives the endpoint of a name or URL and raises ConfigError for one it does not know. `key_allowed` says
    to which URLs the key of an endpoint without a name may go; anybody who starts a run can name a URL.
    """

    def __init__(
        self, resolve: Resolve, *, key_allowed: KeyAllowed = nowhere, environ: Mapping[str, str] | None = None
    ) -> None:
        self._resolve = resolve
        self._key_allowed = key_allowed
        self._environ = os.environ if environ is None else environ
        self._clients: dict[tuple[str, str, str | None, bool], models.ModelClient] = {}

    async def think(self, assign: Assign) -> AsyncGenerator[Item, None]:
        """One answer. Raises ModelFailed."""
        from felixhub.llm import client as models

        client = self._client(assign)
        messages = build_prompt(assign)
        await self._check_fits(client, messages, assign)
        request = models.ModelRequest(
            messages=messages,
            temperature=assign.temperature,
            max_tokens=assign.card.tokens_max,
            model=assign.model,
        )
        usage: Usage | None = None
        byte_count = 0
        async with aclosing(client.stream(request)) as parts:
            async for part in parts:
                match part:
                    case models.Text():
                        byte_count += len(part.text.encode())
                        yield part.text
                    case models.Reasoning():
                        byte_count += len(part.text.encode())
                        yield Reasoning(part.text)
                    case models.RateLimited():
                        yield Throttled(assign.endpoint, part.retry_after_s)
                    case models.Usage():  # The last one, never the sum.
                        reasoning = part.reasoning_tokens
                        usage = Usage(
                            prompt_tokens=_sane(part.prompt_tokens),
                            completion_tokens=_sane(part.completion_tokens),
                            reasoning_tokens=None if reasoning is None else _sane(reasoning),
                        )
                    case models.Finish():
                        yield Whole(
                            finish_reason=part.reason,
                            model=part.model,
                            truncated=part.truncated_by_length,
                            usage=usage or _estimated(messages, byte_count),
                        )

    async def aclose(self) -> None:
        """Close every connection."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    def _client(self, assign: Assign) -> models.ModelClient:
        from felixhub.llm import client as models
        from felixhub.llm.endpoint import resolve_key

        try:
            endpoint = self._endpoint(assign.endpoint)
            endpoint = endpoint.model_copy(
                update={
                    "model": assign.model or endpoint.model,
                    "streaming": assign.streaming and endpoint.streaming,
                }
            )
            name = (endpoint.name, endpoint.base_url, endpoint.model, endpoint.streaming)
            if name not in self._clients:
                self._clients[name] = models.ModelClient(endpoint, resolve_key(endpoint, self._environ))
        except ConfigError as error:
            raise ModelFailed("llm_error", str(error), lasting=True) from None
        return self._clients[name]

    def _endpoint(self, name: str) -> Endpoint:
        endpoint = self._resolve(name)
        if not endpoint.base_url:
            raise ConfigError(f"the endpoint '{name}' has no address: start it, or choose another with --llm")
        has_key = endpoint.api_key_env or endpoint.api_key_file
        is_asked = "://" in name and not has_key and self._environ.get(KEY_VARIABLE)
        if is_asked and self._key_allowed(endpoint.base_url):
            return endpoint.model_copy(update={"api_key_env": KEY_VARIABLE})
        return endpoint

    async def _check_fits(self, client: models.ModelClient, messages: list[ChatMessage], assign: Assign) -> None:
        window = await client.context_tokens()
        if window is None:
            return  # Not known just now; the server itself refuses what does not fit.
        check_fits(
            messages,
            context_tokens=window,
            reserve=assign.card.tokens_max or min(ANSWER_TOKENS, window // 4),
            model=assign.model or client.endpoint.model or "the model",
            endpoint=client.endpoint.name,
        )


def _sane(tokens: int) -> int:
    """A server may say anything; it is no reason to lose a whole answer."""
    return min(max(0, tokens), TOKENS_MAX)


def _estimated(messages: list[ChatMessage], byte_count: int) -> Usage:
    """The server did not count: our estimate, marked so."""
    return Usage(
        prompt_tokens=estimate_prompt_tokens(messages), completion_tokens=tokens_in(byte_count), estimated=True
    )
