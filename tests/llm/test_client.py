"""The client against a real server that misbehaves: at least one test per rule of how models are talked to."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from contextlib import aclosing, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from bad_server import BadServer, Exchange, Script, chunk
from pydantic import SecretStr

from felixhub.core.errors import ModelFailed
from felixhub.llm.client import Finish, ModelClient, ModelRequest, Part, RateLimited, Reasoning, Text, Usage
from felixhub.llm.endpoint import CONTEXT_TOKENS_UNKNOWN, Endpoint

REQUEST = ModelRequest(messages=[{"role": "user", "content": "How are you?"}])
STOP = chunk({}, finish_reason="stop")


class Told:
    """What one stream said, and how it ended."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.error: ModelFailed | None = None
        self.waits: list[float] = []
        self.replaced_count = 0

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def reasoning(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Reasoning))

    @property
    def finish(self) -> Finish:
        assert self.error is None, self.error
        assert isinstance(self.parts[-1], Finish)
        return self.parts[-1]

    def failed(self, reason: str, *words: str, lasting: bool | None = None) -> None:
        assert self.error is not None, self.parts
        assert self.error.reason == reason, self.error
        assert not any(isinstance(part, Finish) for part in self.parts)
        for word in words:
            assert word in str(self.error)
        if lasting is not None:
            assert self.error.lasting == lasting


async def ask(client: ModelClient, request: ModelRequest = REQUEST) -> Told:
    told = Told()
    try:
        async with aclosing(client.stream(request)) as parts:
            async for part in parts:
                told.parts.append(part)
    except ModelFailed as error:
        told.error = error
    told.replaced_count = client.replaced_count
    return told


def made(server: BadServer, key: str = "", sleep: Any = None, **settings: Any) -> ModelClient:
    async def no_sleep(seconds: float) -> None:
        pass

    endpoint = Endpoint(**{"name": "bad", "base_url": server.base_url, "model": "tiny", **settings})
    return ModelClient(endpoint, SecretStr(key), chance=lambda: 0.5, sleep=sleep or no_sleep)


def told_by(
    *scripts: Script, request: ModelRequest = REQUEST, key: str = "", **settings: Any
) -> tuple[Told, BadServer]:
    """Ask a server with these scripts once."""

    async def go() -> tuple[Told, BadServer]:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        async with BadServer(*scripts) as server:
            client = made(server, key, sleep, **settings)
            told = await ask(client, request)
            told.waits = waits
            await client.aclose()
            return told, server

    return run(go())


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 20))


# ── a good answer ────────────────────────────────────────────────────────────────────────────────────────────────


async def good(exchange: Exchange) -> None:
    await exchange.whole(" All  is\r\n well.\n\n")


@pytest.mark.parametrize(
    ("said", "model"), [("tiny-0525", "tiny-0525"), ("", "tiny"), (["tiny"], "tiny"), (None, "tiny")]
)
def test_who_answered_is_whom_the_server_names_or_who_was_asked(said: object, model: str) -> None:
    async def named(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.event({**chunk({"content": "All is well."}), "model": said})
        await exchange.event(chunk({}, finish_reason="stop"))
        await exchange.event("[DONE]")

    told, _ = told_by(named)
    assert told.text == "All is well."
    assert told.finish is not None and told.finish.model == model


def test_a_good_answer() -> None:
    request = ModelRequest(REQUEST.messages, temperature=0.3, max_tokens=50, seed=7)
    told, server = told_by(good, request=request)
    assert told.text == " All  is\r\n well.\n\n"
    assert told.finish == Finish("stop")
    body = server.exchanges[0].body
    assert (body["temperature"], body["max_tokens"], body["seed"], body["model"]) == (0.3, 50, 7, "tiny")
    assert body["stream_options"] == {"include_usage": True}


def test_one_connection_serves_answers_at_once_and_the_client_leaks_none() -> None:
    async def go() -> None:
        async with BadServer(good) as server:
            client = made(server)
            for told in await asyncio.gather(*(ask(client) for _ in range(40))):
                assert told.finish.reason == "stop"
            await client.aclose()

    run(go())


# ── rule 1: the end of a stream ──────────────────────────────────────────────────────────────────────────────────


async def ends_without_a_word(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.text("The key findings")


async def only_done(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.text("The key findings")
    await exchange.event("[DONE]")


async def only_finish_reason(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.text("The key findings", finish_reason="stop")


async def cut_in_an_event(exchange: Exchange) -> None:
    await exchange.head(Content_Length="5000")
    await exchange.text("The key findings")
    await exchange.send('data: {"choices": [{"del')


def test_a_stream_that_just_ends_is_truncated() -> None:
    told, server = told_by(ends_without_a_word)
    assert told.text == "The key findings"
    told.failed("truncated", lasting=False)
    assert len(server.exchanges) == 1  # Text has come: no second try.


def test_a_broken_connection_is_truncated() -> None:
    told, _ = told_by(cut_in_an_event)
    assert told.text == "The key findings"
    told.failed("truncated")


def test_done_without_a_finish_reason_is_the_endpoints_policy() -> None:
    assert told_by(only_done)[0].finish == Finish("stop")
    told_by(only_done, complete_without_finish_reason="never")[0].failed("truncated")


def test_a_finish_reason_without_done_is_whole() -> None:
    assert told_by(only_finish_reason)[0].finish == Finish("stop")


def test_a_server_that_hangs_after_its_finish_reason_does_not_hang_us(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(exchange: Exchange) -> None:
        await only_finish_reason(exchange)
        await exchange.silence()

    monkeypatch.setattr("felixhub.llm.client.AFTER_FINISH_S", 0.05)
    assert told_by(hangs)[0].finish == Finish("stop")


@pytest.mark.parametrize(("reason", "by_length"), [("length", True), ("content_filter", False)])
def test_other_finish_reasons_are_passed_through(reason: str, by_length: bool) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.text("The key")
        await exchange.event(chunk({}, finish_reason=reason))
        await exchange.event("[DONE]")

    assert told_by(script)[0].finish == Finish(reason, truncated_by_length=by_length)


# ── rule 2: 200, and no answer ───────────────────────────────────────────────────────────────────────────────────


def body_script(body: str, content_type: str = "application/json") -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.head(200, content_type)
        await exchange.send(body)

    return script


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        ('{"error": {"message": "model is gone"}}', "application/json", "model is gone"),
        ('{"error": "model is gone"}', "text/event-stream", "model is gone"),
        ("<html><body>Sign in to the wifi</body></html>", "text/html", "web page"),
        ("", "text/event-stream", "nothing in it"),
        ("", "application/json", "nothing in it"),
        ('{"hello": 1}', "application/json", "without an answer"),
        ('{"choices": [{"mess', "application/json", "whole JSON"),
        ("upstream timed out", "text/plain", "upstream timed out"),
    ],
)
def test_200_without_an_answer_is_an_error(body: str, content_type: str, words: str) -> None:
    told, _ = told_by(body_script(body, content_type))
    assert told.parts == []
    told.failed("llm_error", words)


@pytest.mark.parametrize(
    ("delta", "reason", "words"),
    [
        ({"content": ""}, "stop", "empty answer"),
        ({"content": " \n"}, "stop", "empty answer"),
        ({"reasoning_content": "hm"}, "length", "max_tokens"),
        ({"content": "<think>hm</think>"}, "stop", "only thought"),
        ({}, "content_filter", "content filter"),
    ],
)
def test_an_empty_answer_is_an_error_in_its_own_words(delta: dict[str, Any], reason: str, words: str) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.event(chunk(delta))
        await exchange.event(chunk({}, finish_reason=reason))
        await exchange.event("[DONE]")

    told_by(script)[0].failed("llm_error", words)


# ── rule 3: odd chunks and usage ─────────────────────────────────────────────────────────────────────────────────


async def odd_chunks(exchange: Exchange) -> None:
    await exchange.head()
    for odd in ({}, {"choices": []}, {"choices": None}, {"choices": [None]}, {"choices": [{"delta": None}]}, "null"):
        await exchange.event(odd)
    await exchange.event({"choices": [{"delta": {"role": "assistant", "content": None}}], "usage": None})
    await exchange.event({**chunk({"content": "Yes"}), "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    await exchange.event(chunk({"content": [{"type": "text", "text": "."}]}))
    await exchange.event({"choices": [{"index": 1, "delta": {"content": "another choice"}}]})
    await exchange.event(STOP)
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 1}}
    await exchange.event({"choices": [], "usage": usage})
    await exchange.event("[DONE]")


def test_odd_chunks_are_borne_and_the_last_usage_counts() -> None:
    told, _ = told_by(odd_chunks)
    assert told.text == "Yes."
    assert told.parts[-2:] == [Usage(9, 2, 1), Finish("stop")]
    assert sum(isinstance(part, Usage) for part in told.parts) == 1


# ── rule 4: reasoning ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "deltas",
    [
        [{"reasoning_content": "let me "}, {"reasoning_content": "see"}, {"content": "Yes."}],
        [{"reasoning": "let me "}, {"reasoning": "see", "content": ""}, {"content": "Yes."}],
        [{"reasoning": "let me see", "reasoning_content": "let me see"}, {"content": "Yes."}],
        [{"content": "<thi"}, {"content": "nk>let me see</"}, {"content": "think>Yes."}],
    ],
)
def test_reasoning_has_its_own_channel(deltas: list[dict[str, Any]]) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head()
        for delta in deltas:
            await exchange.event(chunk(delta))
        await exchange.event(STOP)

    told, _ = told_by(script)
    assert (told.reasoning, told.text, told.finish) == ("let me see", "Yes.", Finish("stop"))


# ── rule 5: stream_options ───────────────────────────────────────────────────────────────────────────────────────


def refusing(field: str, status: int, words: str) -> Script:
    async def script(exchange: Exchange) -> None:
        if exchange.body.get(field):
            await exchange.json({"error": {"message": words}}, status)
        elif exchange.body["stream"]:
            await exchange.whole()
        else:
            await exchange.json({"choices": [{"message": {"content": "All is well."}, "finish_reason": "stop"}]})

    return script


@pytest.mark.parametrize(
    ("field", "status", "words"),
    [
        ("stream_options", 400, "Unrecognized request argument: stream_options"),
        ("stream_options", 422, "Extra inputs are not permitted"),
        ("max_tokens", 400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ("temperature", 400, "Unsupported value: 'temperature' does not support 0.5"),
        ("stream", 400, "this model cannot stream"),
    ],
)
def test_a_refused_parameter_is_left_out_once_and_remembered(field: str, status: int, words: str) -> None:
    request = ModelRequest(REQUEST.messages, temperature=0.5, max_tokens=90)

    async def go() -> None:
        async with BadServer(refusing(field, status, words)) as server:
            client = made(server)
            assert (await ask(client, request)).text == "All is well."
            asked = len(server.exchanges)
            assert (await ask(client, request)).text == "All is well."
            assert len(server.exchanges) == asked + 1
            await client.aclose()
            if field == "max_tokens":
                assert server.exchanges[-1].body["max_completion_tokens"] == 90

    run(go())


def test_a_refusal_of_something_else_costs_one_more_try_and_is_not_remembered() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.json({"error": {"message": "messages must alternate"}}, 400)

    async def go() -> None:
        async with BadServer(script, script, good) as server:
            client = made(server)
            (await ask(client)).failed("llm_error", "messages must alternate", lasting=True)
            assert (await ask(client)).finish
            assert "stream_options" in server.exchanges[2].body
            await client.aclose()

    run(go())


# ── rule 6: errors inside a stream ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ('data: {"error": {"message": "CUDA out of memory", "code": 500}}\n\n', "CUDA out of memory"),
        ('data: {"error": "CUDA out of memory"}\n\n', "CUDA out of memory"),
        ('event: error\ndata: {"message": "CUDA out of memory"}\n\n', "CUDA out of memory"),
        ("event: error\ndata: CUDA out of memory\n\n", "CUDA out of memory"),
        ("data: CUDA out of memory\n\n", "CUDA out of memory"),
        ('{"error": {"message": "CUDA out of memory"}}\n', "CUDA out of memory"),
        ("CUDA out of memory\n", "CUDA out of memory"),
        ("id: 4\n: ping\n\n", "without saying"),  # The package's reader raises JSONDecodeError here.
        ('data: {"object": "error", "message": "CUDA out of memory"}\n\n', "CUDA out of memory"),
        ('data: {"choices": [{"delta": {}, "finish_reason": "error"}]}\n\n', "finish_reason error"),
    ],
)
def test_an_error_inside_a_stream_is_an_error_with_the_servers_words(raw: str, words: str) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.text("Half an ans")
        await exchange.send(raw)

    told, server = told_by(script)
    assert told.text == "Half an ans"
    told.failed("truncated" if "without" in words else "llm_error", words)
    assert len(server.exchanges) == 1


def test_an_error_without_a_field_before_it_counts_although_the_stream_goes_on() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.text("Half an ans")
        await exchange.send('{"error": {"message": "CUDA out of memory"}}\n')
        await exchange.event(STOP)
        await exchange.event("[DONE]")

    told_by(script)[0].failed("llm_error", "CUDA out of memory")


def test_an_id_line_and_a_later_comment_do_no_harm() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send("id: 1\n")
        await exchange.text("Yes.")
        await exchange.send(": ping\n\nid: 2\n\n: ping\n\n")
        await exchange.event(STOP)

    assert told_by(script)[0].text == "Yes."


# ── rule 7: the watchdog ─────────────────────────────────────────────────────────────────────────────────────────


def pinging(*first: dict[str, Any]) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.head()
        for delta in first:
            await exchange.event(chunk(delta))
        while True:
            await exchange.send(": ping\n\n")
            await exchange.event({"choices": []})
            await asyncio.sleep(0.01)

    return script


@pytest.mark.parametrize("first", [(), ({"content": "Half"},), ({"reasoning": "hm"},)])
def test_pings_are_no_progress(first: tuple[dict[str, Any], ...]) -> None:
    if first:
        told, server = told_by(pinging(*first), between_tokens_s=0.2)
        told.failed("stalled", "more text", "0.2 s")
    else:
        told, server = told_by(pinging(), first_token_s=1.5, between_tokens_s=0.2)
        told.failed("stalled", "first token", "1.5 s")
    assert told.text + told.reasoning == "".join(value for delta in first for value in delta.values())
    assert len(server.exchanges) == 1


def test_a_server_that_never_answers_is_stalled() -> None:
    told_by(Exchange.silence, first_token_s=0.2)[0].failed("stalled", "first_token_s")


def test_reasoning_is_progress() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head()
        for _ in range(17):
            await exchange.event(chunk({"reasoning": "hm "}))
            await asyncio.sleep(0.1)
        await exchange.text("Yes.", finish_reason="stop")

    assert told_by(script, first_token_s=1.5, between_tokens_s=1.5)[0].text == "Yes."


# ── rule 8: retries ──────────────────────────────────────────────────────────────────────────────────────────────


def failing(status: int, message: str = "busy", **headers: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.json({"error": {"message": message}}, status, **headers)

    return script


def test_retries_wait_longer_each_time_and_end() -> None:
    told, server = told_by(failing(503))
    told.failed("llm_error", "503", "busy", lasting=False)
    assert len(server.exchanges) == 3  # once, and retries_max = 2; the package itself retries nothing
    assert told.waits == [0.5, 1.0]
    assert told_by(failing(503), good)[0].finish == Finish("stop")
    assert len(told_by(failing(503), retries_max=0)[1].exchanges) == 1


def test_retry_after_is_a_floor_and_a_429_is_told() -> None:
    told, _ = told_by(failing(429, Retry_After="7"), failing(429, retry_after_ms="20"), good)
    assert told.parts[:2] == [RateLimited(7.0), RateLimited(1.0)]
    assert told.waits == [7.0, 1.0]
    assert told.finish
    told, server = told_by(failing(429, Retry_After="3600"))
    told.failed("llm_error", "429")
    assert (told.parts, len(server.exchanges)) == ([RateLimited(3600.0)], 1)


def test_a_connection_that_breaks_before_the_first_token_is_tried_again() -> None:
    async def hangs_up(exchange: Exchange) -> None:
        pass

    told, server = told_by(hangs_up, ends_before_text, good)
    assert told.text == " All  is\r\n well.\n\n"
    assert len(server.exchanges) == 3


async def ends_before_text(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.event(chunk({"role": "assistant"}))


@pytest.mark.parametrize(
    ("status", "message", "reason", "words"),
    [
        (401, "bad key sk-secret-123", "llm_error", "MY_KEY"),
        (403, "no", "llm_error", "403"),
        (404, "no such model", "llm_error", "'tiny'"),
        (400, "This model's maximum context length is 4096 tokens", "context_exceeded", "does not fit"),
        (400, "messages must alternate", "llm_error", "must alternate"),
    ],
)
def test_lasting_errors_are_not_tried_again(status: int, message: str, reason: str, words: str) -> None:
    told, server = told_by(failing(status, message), key="sk-secret-123", api_key_env="MY_KEY", stream_options=False)
    told.failed(reason, words, lasting=True)
    assert (told.waits, len(server.exchanges)) == ([], 1)


def test_nothing_listens() -> None:
    async def go() -> Told:
        server = BadServer(good)
        async with server:
            client = made(server, name="lmstudio")
        told = await ask(client)
        await client.aclose()
        return told

    told = run(go())
    told.failed("llm_error", "Nothing answers at http://127.0.0.1", "start LM Studio's server", "--llm", lasting=False)
    assert told.error is not None
    assert told.error.__cause__ is None
    assert told.error.__context__ is None


def test_a_context_error_in_the_stream_is_known_as_one() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.send('event: error\ndata: {"error": {"message": "more than the context length"}}\n\n')

    told_by(script)[0].failed("context_exceeded", lasting=True)


# ── rule 9: closing ──────────────────────────────────────────────────────────────────────────────────────────────


async def silent_after_text(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.text("Half")
    await exchange.silence()


@pytest.mark.parametrize("script", [Exchange.silence, silent_after_text])
def test_cancelling_closes_the_connection_while_the_server_is_silent(script: Script) -> None:
    async def go() -> None:
        async with BadServer(script) as server:
            client = made(server)
            task = asyncio.create_task(ask(client))
            await server.asked.wait()
            await asyncio.sleep(0.05)  # The client is well inside its wait.
            assert not server.gone.is_set()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(server.gone.wait(), 20.0)
            await client.aclose()

    run(go())


def test_leaving_the_loop_closes_the_connection() -> None:
    async def go() -> None:
        async with BadServer(silent_after_text) as server:
            client = made(server)
            # Closing must be ours, not the garbage collector's.
            sys.set_asyncgen_hooks(finalizer=lambda _: None)
            async with aclosing(client.stream(REQUEST)) as parts:
                async for _ in parts:
                    break
            await asyncio.wait_for(server.gone.wait(), 20.0)
            await client.aclose()

    run(go())


def test_a_stalled_or_failed_answer_closes_the_connection() -> None:
    async def go() -> None:
        async with BadServer(silent_after_text) as server:
            client = made(server, between_tokens_s=0.1)
            (await ask(client)).failed("stalled")
            await asyncio.wait_for(server.gone.wait(), 20.0)
            await client.aclose()

    run(go())


# ── rule 10: servers that cannot stream ──────────────────────────────────────────────────────────────────────────


async def plain(exchange: Exchange) -> None:
    message = {"role": "assistant", "content": "<think>hm</think>Yes.", "tool_calls": None}
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    await exchange.json({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})


def test_streaming_can_be_switched_off() -> None:
    told, server = told_by(plain, streaming=False)
    assert told.parts == [Reasoning("hm"), Text("Yes."), Usage(3, 4), Finish("stop")]
    assert server.exchanges[0].body["stream"] is False
    assert "stream_options" not in server.exchanges[0].body


def test_a_server_that_answers_plainly_although_asked_to_stream() -> None:
    told, server = told_by(plain)
    assert told.parts == [Reasoning("hm"), Text("Yes."), Usage(3, 4), Finish("stop")]
    assert server.exchanges[0].body["stream"] is True


def test_a_plain_answer_waits_for_the_whole_answer() -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.2)
        await plain(exchange)

    assert told_by(slow, streaming=False, first_token_s=0.05)[0].finish
    told_by(slow, streaming=False, whole_answer_s=0.05)[0].failed("stalled")


# ── rule 11: not a character is changed ──────────────────────────────────────────────────────────────────────────


def test_text_comes_through_byte_for_byte() -> None:
    said = ["  leading", "\n\n", "\u2028 sep", "a\u0000b", "\x1b[31m", "é", "e\u0301", "😀", "\r", "\n", "trailing \t "]

    async def script(exchange: Exchange) -> None:
        await exchange.head()
        for piece in said:
            # As some servers do: not escaped, and cut in the middle of a character.
            raw = (f'data: {{"choices": [{{"delta": {{"content": {quoted(piece)}}}}}]}}\r\n\r\n').encode()
            for at in range(0, len(raw), 7):
                await exchange.send(raw[at : at + 7])
        await exchange.event(STOP)

    told, _ = told_by(script)
    assert told.text == "".join(said)
    assert told.replaced_count == 0


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def test_only_lone_surrogates_are_replaced_and_counted() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.event('{"choices": [{"delta": {"content": "a\\ud83d"}}]}')
        await exchange.event('{"choices": [{"delta": {"content": "\\ude00 b\\udc00 \\ud800"}}]}')
        await exchange.event(STOP)

    told, _ = told_by(script)
    assert told.text == "a😀 b\ufffd \ufffd"
    assert told.replaced_count == 2


# ── rule 12: keys ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_is_sent_and_shown_nowhere(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-very-secret-9876"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-someone-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-someone-else")
    for name in ("openai", "httpx2", "httpcore2", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    told, server = told_by(failing(401, f"Incorrect API key provided: {key}"), key=key, api_key_env="MY_KEY")
    told.failed("llm_error", "MY_KEY", "***")
    assert server.exchanges[0].headers["authorization"] == f"Bearer {key}"
    assert "openai-organization" not in server.exchanges[0].headers
    shown = "".join(record.getMessage() + str(record.args) for record in caplog.records)
    assert shown, "the packages log at this level, so this check sees something"
    client = made(server_like("http://127.0.0.1:1/v1"), key)
    assert told.error is not None
    for text in (shown, str(told.error), repr(told.error), repr(client), repr(vars(client))):
        assert key not in text
    told, server = told_by(good)
    assert "someone-else" not in str(server.exchanges[0].headers)


def server_like(url: str) -> Any:
    class Like:
        base_url = url

    return Like()


# ── tools, names, contexts ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "event",
    [
        chunk({"tool_calls": [{"index": 0, "function": {"name": "search", "arguments": ""}}]}),
        chunk({}, finish_reason="tool_calls"),
        chunk({"function_call": {"name": "search"}}),
    ],
)
def test_a_tool_call_ends_with_a_clear_error(event: dict[str, Any]) -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.event(event)
        await exchange.event("[DONE]")

    told_by(script)[0].failed("llm_error", "tool", "not supported", lasting=True)


@pytest.mark.parametrize(
    ("answers", "model", "tokens"),
    [
        ({"/v1/models": {"data": [{"id": "text-embed"}, {"id": "m", "max_model_len": 8192}]}}, "m", 8192),
        ({"/v1/models": {"data": [{"id": "m", "context_tokens": 32768}]}}, "m", 32768),
        (
            {
                "/v1/models": {"data": [{"id": "m"}]},
                "/api/v0/models": {"data": [{"id": "m", "max_context_length": 131072, "loaded_context_length": 5000}]},
            },
            "m",
            5000,
        ),
        (
            {"/v1/models": {"data": [{"id": "m"}]}, "/props": {"default_generation_settings": {"n_ctx": 2048}}},
            "m",
            2048,
        ),
        (
            {"/v1/models": {"data": [{"id": "m"}]}, "/api/ps": {"models": [{"name": "m", "context_length": 16384}]}},
            "m",
            16384,
        ),
        ({"/v1/models": {"data": [{"id": "m"}]}}, "m", 4096),
    ],
)
def test_the_server_is_asked_for_model_and_context_once(answers: dict[str, Any], model: str, tokens: int) -> None:
    async def go() -> None:
        async with BadServer(good, answers=answers) as server:
            client = made(server, model=None)
            assert await client.context_tokens() == tokens
            assert await client.model_name() == model
            assert (await ask(client)).finish
            assert server.exchanges[0].body["model"] == model
            count = len(server.paths)
            assert await client.context_tokens() == tokens
            assert len(server.paths) == count
            await client.aclose()

    run(go())


@pytest.mark.parametrize(
    ("path", "before", "loaded"),
    [
        ("/api/ps", {"models": []}, {"models": [{"name": "m", "context_length": 16384}]}),
        (
            "/api/ps",
            {"models": [{"name": "n", "context_length": 99}]},
            {"models": [{"name": "m", "context_length": 16384}]},
        ),
        (
            "/api/v0/models",
            {"data": [{"id": "m", "state": "not-loaded", "max_context_length": 131072}]},
            {"data": [{"id": "m", "state": "loaded", "max_context_length": 131072, "loaded_context_length": 16384}]},
        ),
    ],
)
def test_the_context_of_a_model_is_asked_for_again_until_it_is_loaded(path: str, before: Any, loaded: Any) -> None:
    async def go() -> None:
        models = {"/v1/models": {"data": [{"id": "m"}]}}
        async with BadServer(good, answers={**models, path: before}) as server:
            client = made(server, model=None)
            assert await client.context_tokens() == CONTEXT_TOKENS_UNKNOWN
            server.answers = {**models, path: loaded}
            assert await client.context_tokens() == 16384
            await client.aclose()

    run(go())


@pytest.mark.parametrize("answers", [{"/v1/models": "odd"}, {"/v1/models": {"data": []}}, {}])
def test_a_server_without_a_model_yet_is_asked_again(answers: dict[str, Any]) -> None:
    async def go() -> None:
        async with BadServer(good, answers=answers) as server:
            client = made(server, model=None)
            assert await client.context_tokens() is None
            with pytest.raises(ModelFailed):
                await client.model_name()
            server.answers = {"/v1/models": {"data": [{"id": "m", "context_tokens": 8000}]}}
            assert (await client.model_name(), await client.context_tokens()) == ("m", 8000)
            await client.aclose()

    run(go())


@pytest.mark.parametrize("passing", [failing(500), failing(503), failing(429), Exchange.silence, ends_without_a_word])
def test_a_context_that_cannot_be_had_now_is_unknown_and_not_kept(
    passing: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("felixhub.llm.client.ASK_S", 0.2)

    async def go() -> None:
        listed = {"data": [{"id": "tiny"}]}
        async with BadServer(good, answers={"/v1/models": passing}) as server:
            client = made(server)
            if passing is not ends_without_a_word:  # It says 200, so it lists no models: not passing.
                assert await client.context_tokens() is None
                server.answers = {"/v1/models": listed, "/props": passing}
                assert await client.context_tokens() is None
            monkeypatch.setattr("felixhub.llm.client.ASK_S", 20.0)
            server.answers = {"/v1/models": listed, "/props": {"n_ctx": 9000}}
            assert await client.context_tokens() == 9000
            server.answers = {}
            assert await client.context_tokens() == 9000
            await client.aclose()

    run(go())


def test_only_a_refused_key_and_a_missing_server_end_the_question_for_the_context() -> None:
    async def go() -> None:
        async with BadServer(good, answers={"/v1/models": failing(401)}) as server:
            client = made(server)
            with pytest.raises(ModelFailed, match="refuses the key"):
                await client.context_tokens()
            server.answers = {"/v1/models": failing(403)}
            with pytest.raises(ModelFailed, match="403"):
                await client.context_tokens()
        with pytest.raises(ModelFailed, match="Nothing answers"):
            await client.context_tokens()
        await client.aclose()

    run(go())


def test_the_name_of_the_model_has_the_patience_of_a_first_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("felixhub.llm.client.ASK_S", 0.05)

    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.4)
        await exchange.json({"data": [{"id": "late"}]})

    async def go() -> None:
        async with BadServer(good, answers={"/v1/models": slow}) as server:
            client = made(server, model=None)
            assert (await ask(client)).finish
            assert server.exchanges[0].body["model"] == "late"
            await client.aclose()
            client = made(server, model=None, first_token_s=0.1)
            (await ask(client)).failed("stalled", "first_token_s")
            with pytest.raises(ModelFailed, match=r"0\.1 s"):
                await client.model_name()
            await client.aclose()

    run(go())


class OneAtATime(BaseHTTPRequestHandler):
    """The smallest local server: while it answers one, everybody else waits, for the list of models too."""

    busy = threading.Event()

    def log_message(self, *_args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(b'{"data": [{"id": "small"}]}', "application/json")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.busy.set()
        time.sleep(0.4)
        events = [chunk({"content": "Yes."}), STOP]
        self._send("".join(f"data: {json.dumps(event)}\n\n" for event in events).encode(), "text/event-stream")

    def _send(self, body: bytes, kind: str) -> None:
        with suppress(ConnectionError):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)


@pytest.mark.parametrize("model", [None, "small"])
def test_three_workers_share_a_server_that_does_one_thing_at_a_time(
    model: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("felixhub.llm.client.ASK_S", 0.1)

    async def think(url: str) -> Told:
        client = ModelClient(Endpoint(name="one", base_url=url, model=model))
        await client.context_tokens()
        told = await ask(client)
        await client.aclose()
        return told

    async def go(url: str) -> None:
        OneAtATime.busy.clear()
        first = asyncio.create_task(think(url))
        assert await asyncio.to_thread(OneAtATime.busy.wait, 5)
        for told in await asyncio.gather(first, think(url), think(url)):
            assert told.text == "Yes." and told.finish

    with HTTPServer(("127.0.0.1", 0), OneAtATime) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        run(go(f"http://127.0.0.1:{server.server_port}/v1"))
        server.shutdown()


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────


def endless(data: str, *, status: int = 200, content_type: str = "text/event-stream") -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.head(status, content_type)
        while True:
            await exchange.send(data)

    return script


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (endless(" " * 1000), "white space"),
        (endless("\r\n" * 500), "white space"),
        (endless("data: x" + "y" * 50_000 + "\n"), "event of more than 4,194,304 bytes"),
        (endless("y" * 50_000), "event of more than 4,194,304 bytes"),
        (endless("{" + "y" * 50_000), "more than 33,554,432 bytes"),
        (endless("no " * 1000, status=500), "(500)"),
        (endless("no " * 1000, status=404, content_type="application/json"), "(404)"),
    ],
)
def test_an_endless_answer_is_not_read_to_its_end(script: Script, words: str) -> None:
    told, _ = told_by(script, retries_max=0)
    told.failed("llm_error", words)
    assert len(str(told.error)) < 1000


def test_a_prompt_does_not_follow_where_a_server_points_and_an_endless_word_of_it_is_not_read_to_its_end() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.head(307, Location="/v1/chat/completions")
        for _ in range(10_000):
            await exchange.send("x" * 10_000)

    told_by(script, good)[0].failed("llm_error", "points elsewhere (307)", "name that URL itself", lasting=True)


def test_an_endless_list_of_models_is_not_read_to_its_end() -> None:
    async def go() -> None:
        listed = endless(" " * 50_000, content_type="application/json")
        async with BadServer(good, answers={"/v1/models": listed}) as server:
            client = made(server, model=None)
            assert await client.context_tokens() is None
            with pytest.raises(ModelFailed, match=r"it sent more than 4,194,304 bytes\."):
                await client.model_name()
            await client.aclose()

    run(go())


def test_a_list_that_would_swell_is_not_inflated() -> None:
    bomb = gzip.compress(b" " * 100_000_000)

    async def listed(exchange: Exchange) -> None:
        assert exchange.headers["accept-encoding"] == "identity"
        await exchange.head(200, "application/json", Content_Encoding="gzip")
        await exchange.send(bomb)

    async def go() -> None:
        async with BadServer(good, answers={"/v1/models": listed}) as server:
            client = made(server, model=None)
            with pytest.raises(ModelFailed, match="no JSON"):
                await client.model_name()
            await client.aclose()

    run(go())


def test_importing_the_client_is_cheap() -> None:
    code = "import sys, felixhub.llm.client; assert not {'openai', 'httpx2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
