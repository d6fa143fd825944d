"""The models' servers: whether each answers, lists models, really streams, and counts its tokens.

One that was chosen or set up by the user must work. Of the others it is only said whether they are there.

Owns: these questions and their time limits. Must not: show a key, or ask for more than some words.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from felixhub.cli.doctor.finding import Finding, Status
from felixhub.core.errors import ConfigError, ModelFailed
from felixhub.llm.client import Finish, ModelClient, ModelRequest, Reasoning, Text, Usage
from felixhub.llm.endpoint import OFFLINE_LABEL, Endpoint, discover, resolve_key, start_hint
from felixhub.settings.folders import packaged
from felixhub.settings.settings import Settings
from felixhub.worker.llm_agent import KEY_VARIABLE

LIST_S = 5.0
FIRST_TOKEN_S = 60.0  # a model may have to be loaded
BETWEEN_TOKENS_S = 15.0
TOKENS_MAX = 40
PIECES_MIN = 3  # fewer say nothing about streaming
BURST_S = 0.01  # pieces that come within so little time were held back
QUESTION = "Count from one to twenty in words, nothing else."


@dataclass(slots=True)
class Heard:
    """What an answer was like."""

    pieces: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    usage: Usage | None = None


def check(settings: Settings, environ: Mapping[str, str], *, quick: bool) -> Iterator[Finding]:
    """All of them, asked at the same time; first those that must work."""
    named = _named(settings, environ)
    known = {one.name for one in named}
    others = [one for one in settings.endpoints.values() if one.name not in known]
    yield from asyncio.run(_all(settings, environ, named, others, quick=quick))


def _named(settings: Settings, environ: Mapping[str, str]) -> list[Endpoint]:
    """What must work: the endpoint that a run would take now, and those that the user has set up."""
    chosen = settings.endpoint(settings.llm) if settings.llm else discover(environ, settings.endpoints)[0]
    shipped = str(packaged("config"))
    found = [chosen]
    for name, place in settings.sources.items():
        kind, _, endpoint = name.partition(".")
        if kind == "endpoints" and endpoint in settings.endpoints and not place.startswith(shipped + os.sep):
            found.append(settings.endpoints[endpoint])
    return list({one.name: one for one in found}.values())


async def _all(
    settings: Settings, environ: Mapping[str, str], named: list[Endpoint], others: list[Endpoint], *, quick: bool
) -> list[Finding]:
    asked = [_needed(settings, one, environ, quick=quick) for one in named]
    return list(await asyncio.gather(*asked, *(_other(one, environ) for one in others)))


async def _needed(settings: Settings, endpoint: Endpoint, environ: Mapping[str, str], *, quick: bool) -> Finding:
    if not endpoint.base_url:
        return _finding(endpoint, "ok", f"the built-in {OFFLINE_LABEL}: `--llm NAME|URL` takes a real one")
    try:
        key = _key(settings, endpoint, environ)
    except ConfigError as error:
        return _finding(endpoint, "wrong", str(error))
    async with _client(endpoint, key) as client:
        try:
            async with asyncio.timeout(LIST_S + 1.0):
                model = await client.model_name()
                context = await client.context_tokens()
            if quick:
                return _finding(endpoint, "ok", f"answers, model {model}{_of(context)}{_with(endpoint, key)}")
            heard = await _ask(client, model)
        except ModelFailed as error:
            return _finding(endpoint, "wrong", str(error))  # It says what to do.
        except TimeoutError:
            return _finding(endpoint, "wrong", "it is silent when asked for its models", start_hint(endpoint))
    said = f"model {model}{_of(context)}, first token {heard.first_s:.1f} s{_with(endpoint, key)}"
    faults = _faults(endpoint, heard)
    if faults:
        return _finding(endpoint, "note", f"{said}; {'; '.join(sentence for sentence, _ in faults)}", faults[0][1])
    return _finding(endpoint, "ok", f"{said}, streams, counts its tokens")


def _faults(endpoint: Endpoint, heard: Heard) -> list[tuple[str, str]]:
    """What works and could be better."""
    found = []
    if not endpoint.streaming:
        found.append(("asked without streaming, as its table says", "remove streaming = false to watch it write"))
    elif heard.pieces < PIECES_MIN or heard.last_s - heard.first_s < BURST_S:
        sentence = "it does not stream: the answer came in one go"
        found.append((sentence, "a proxy may hold it back; streaming = false in its table spares the try"))
    if heard.usage is None:
        found.append(("it does not count its tokens", "they are estimated, with a ~ before them"))
    return found


async def _other(endpoint: Endpoint, environ: Mapping[str, str]) -> Finding:
    """One that nobody has asked for."""
    if not endpoint.base_url:
        return _finding(endpoint, "ok", f"the built-in {OFFLINE_LABEL}")
    if endpoint.api_key_env and not environ.get(endpoint.api_key_env, "").strip():
        return _finding(endpoint, "ok", f"not in use: no key in {endpoint.api_key_env}")
    try:
        key = resolve_key(endpoint, environ)
    except ConfigError as error:
        return _finding(endpoint, "note", str(error))
    async with _client(endpoint, key) as client:
        try:
            async with asyncio.timeout(LIST_S):
                model = await client.model_name()
        except (ModelFailed, TimeoutError):
            return _finding(endpoint, "ok", f"not in use: nothing answers at {endpoint.base_url}")
    return _finding(endpoint, "ok", f"not in use, and answers: model {model}; --llm {endpoint.name} takes it")


@asynccontextmanager
async def _client(endpoint: Endpoint, key: SecretStr) -> AsyncIterator[ModelClient]:
    """A client that asks once and is not patient for long."""
    patience = {
        "retries_max": 0,
        "first_token_s": min(endpoint.first_token_s, FIRST_TOKEN_S),
        "between_tokens_s": min(endpoint.between_tokens_s, BETWEEN_TOKENS_S),
        "whole_answer_s": min(endpoint.whole_answer_s, FIRST_TOKEN_S),
    }
    client = ModelClient(endpoint.model_copy(update=patience), key)
    try:
        yield client
    finally:
        await client.aclose()


async def _ask(client: ModelClient, model: str) -> Heard:
    """Some words of an answer."""
    request = ModelRequest(messages=[{"role": "user", "content": QUESTION}], max_tokens=TOKENS_MAX, model=model)
    heard = Heard()
    began = time.monotonic()
    async with aclosing(client.stream(request)) as parts:
        async for part in parts:
            match part:
                case Text() | Reasoning():
                    heard.pieces += 1
                    heard.last_s = time.monotonic() - began
                    heard.first_s = heard.first_s or heard.last_s
                case Usage():
                    heard.usage = part
                case Finish():
                    pass
    return heard


def _key(settings: Settings, endpoint: Endpoint, environ: Mapping[str, str]) -> SecretStr:
    """As a worker takes it. Raises ConfigError."""
    has_key = endpoint.api_key_env or endpoint.api_key_file
    if not has_key and environ.get(KEY_VARIABLE) and settings.key_allowed(endpoint.base_url):
        endpoint = endpoint.model_copy(update={"api_key_env": KEY_VARIABLE})
    return resolve_key(endpoint, environ)


def _with(endpoint: Endpoint, key: SecretStr) -> str:
    if not key.get_secret_value():
        return ""
    return f", key *** from {endpoint.api_key_env or endpoint.api_key_file or KEY_VARIABLE}"


def _of(context: int | None) -> str:
    return f" ({context:,} tokens of context)" if context else ""


def _finding(endpoint: Endpoint, status: Status, sentence: str, fix: str = "") -> Finding:
    return Finding("llm", status, f"{endpoint.name}: {sentence}", fix)
