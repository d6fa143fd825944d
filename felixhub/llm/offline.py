"""The offline model: a small HTTP server on loopback that speaks `/v1/models` and `/v1/chat/completions`.

Owns: the requests, the pace of the tokens, noticing that a client has gone. Must not: write a word itself
(`offline_writer.py` does) or be more lenient than a real server. It never sends `id:` or `retry:` lines.

    head, body ──► write the text ──first_token_s──► a token every 1/tokens_per_s ──► usage, [DONE]
                                    └─the client has gone─► stop at once
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from felixhub.llm.endpoint import OFFLINE_LABEL, OFFLINE_MODEL
from felixhub.llm.offline_writer import write

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 16 * 1024 * 1024
REQUESTS_KEPT_MAX = 256
LOOK_S = 0.05  # how often a waiting answer looks whether its client is still there

_TOKEN = re.compile(r"\s*\S{1,16}|\s+$")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it came."""

    method: str
    path: str
    body: Any


class Refusal(Exception):
    """A request that is answered with an error object, as OpenAI words it."""

    def __init__(self, status: int, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


class OfflineModel:
    """The server. `start()` runs it in a thread of its own, `serve_forever()` in this one; either is for one life."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tokens_per_s: float = 60.0,
        first_token_s: float = 0.3,
        context_tokens: int = 32_768,
    ) -> None:
        self.tokens_per_s = tokens_per_s  # math.inf: as fast as it goes
        self.first_token_s = first_token_s
        self.context_tokens = context_tokens
        self.requests: deque[Request] = deque(maxlen=REQUESTS_KEPT_MAX)
        self.open_requests = 0  # answers under way
        self.open_requests_max = 0
        self.abandoned_requests = 0  # answers whose client went away
        self._host = host
        self._port = port
        self._bound = threading.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        """Where it listens; known once it has started."""
        assert self._bound.is_set(), "the offline model has not started"
        return f"http://{self._host}:{self._port}/v1"

    def start(self) -> None:
        """Serve in the background; returns when it listens. Raises `OSError` if the port is taken."""
        self._thread = threading.Thread(target=self._run, name="offline-model", daemon=True)
        self._thread.start()
        self._bound.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        """Close every connection and wait until the thread has ended. Does nothing if it is not running."""
        if self._loop is not None and self._stopping is not None:
            with suppress(RuntimeError):  # The loop has ended by itself.
                self._loop.call_soon_threadsafe(self._stopping.set)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def serve_forever(self) -> None:
        """Serve in this thread until another one calls `stop()`, or Ctrl-C."""
        asyncio.run(self._serve())

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
            self._bound.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = await asyncio.start_server(self._connected, self._host, self._port, limit=HEAD_BYTES_MAX)
        self._port = server.sockets[0].getsockname()[1]
        self._bound.set()
        try:
            await self._stopping.wait()
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # ── one connection ───────────────────────────────────────────────────────────────────────────────────────────

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # The client went away or talks no HTTP, or the server stops.
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if writer.is_closing() else writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer. Returns whether the connection can be used again."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, _, rest = lines[0].partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        try:
            body = await self._body(reader, headers)
            self.requests.append(Request(method, path, body))
            match method, path.rstrip("/"):
                case "GET", "/v1/models":
                    await _send_json(writer, 200, self._models())
                case "POST", "/v1/chat/completions":
                    return await self._chat(body, reader, writer)
                case _:
                    raise Refusal(404, f"There is no {method} {path} here.")
        except Refusal as refusal:
            await _send_json(writer, refusal.status, refusal.body)
            return refusal.status != 413
        return True

    async def _body(self, reader: asyncio.StreamReader, headers: Mapping[str, str]) -> Any:
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX or "transfer-encoding" in headers:
            raise Refusal(413, f"A request must have a Content-Length of at most {BODY_BYTES_MAX:,} bytes.")
        raw = await reader.readexactly(int(length))
        try:
            return json.loads(raw) if raw else None
        except (ValueError, RecursionError):
            raise Refusal(400, "The request is not JSON.") from None

    def _models(self) -> dict[str, Any]:
        entry = {"id": OFFLINE_MODEL, "object": "model", "created": 0, "owned_by": "felixhub"}
        entry |= {"description": OFFLINE_LABEL, "context_tokens": self.context_tokens}
        return {"object": "list", "data": [entry]}

    # ── one answer ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _chat(self, body: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        messages = _messages(body)
        prompt_tokens = sum(count_tokens(message["content"]) + 4 for message in messages)
        tokens_max = body.get("max_tokens") or body.get("max_completion_tokens")
        wanted = tokens_max if isinstance(tokens_max, int) and tokens_max > 0 else None
        if prompt_tokens + (wanted or 1) > self.context_tokens:
            raise Refusal(
                400,
                f"This model's maximum context length is {self.context_tokens} tokens. However, you requested"
                f" {prompt_tokens + (wanted or 0)} tokens ({prompt_tokens} in the messages, {wanted or 0} in the"
                " completion). Please reduce the length of the messages or completion.",
                code="context_length_exceeded",
            )
        self.open_requests += 1
        self.open_requests_max = max(self.open_requests_max, self.open_requests)
        try:
            seed, heat = body.get("seed"), body.get("temperature")
            # In a thread: the others' tokens go on while a long prompt is read.
            text = await asyncio.to_thread(
                write,
                messages,
                seed=seed if isinstance(seed, int) else None,
                temperature=float(heat) if isinstance(heat, int | float) else None,
            )
            tokens = _TOKEN.findall(text)
            answer = _Answer(tokens[:wanted], "length" if wanted and len(tokens) > wanted else "stop", prompt_tokens)
            whole = await (self._stream if body.get("stream") else self._plain)(answer, body, reader, writer)
            self.abandoned_requests += not whole
            return whole
        except OSError:
            self.abandoned_requests += 1
            raise
        finally:
            self.open_requests -= 1

    async def _stream(
        self, answer: _Answer, body: Mapping[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Token by token. Returns False if the client went away."""
        options = body.get("stream_options")
        with_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        head = (
            _head(200, "text/event-stream; charset=utf-8")
            + b"Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n"
        )
        writer.write(head + b"\r\n")
        writer.write(_event(answer.chunk({"role": "assistant", "content": ""})))
        begin = asyncio.get_running_loop().time()
        for place, token in enumerate(answer.tokens):
            due = begin + self.first_token_s + place / self.tokens_per_s
            if not await self._wait_until(due, reader, writer):
                return False
            writer.write(_event(answer.chunk({"content": token})))
            await writer.drain()
        writer.write(_event(answer.chunk({}, answer.finish_reason)))
        if with_usage:
            writer.write(_event({**answer.frame("chat.completion.chunk"), "choices": [], "usage": answer.usage()}))
        writer.write(_event("[DONE]") + b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _plain(
        self, answer: _Answer, _body: Mapping[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """All at once, after the time that the tokens would have taken. Returns False if the client went away."""
        seconds = self.first_token_s + len(answer.tokens) / self.tokens_per_s
        if not await self._wait_until(asyncio.get_running_loop().time() + seconds, reader, writer):
            return False
        await _send_json(writer, 200, answer.whole())
        return True

    async def _wait_until(self, due: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Returns False as soon as the client has gone: nobody pays for what nobody reads."""
        loop = asyncio.get_running_loop()
        while True:
            if reader.at_eof() or writer.is_closing():
                return False
            left = due - loop.time()
            if left <= 0 or math.isnan(left):
                return True
            await asyncio.sleep(min(left, LOOK_S))


@dataclass(frozen=True, slots=True)
class _Answer:
    """One text on its way, and the objects that carry it."""

    tokens: list[str]
    finish_reason: str
    prompt_tokens: int

    def frame(self, kind: str) -> dict[str, Any]:
        return {"id": "chatcmpl-offline", "object": kind, "created": 0, "model": OFFLINE_MODEL}

    def chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self.frame("chat.completion.chunk"), "choices": [choice]}

    def whole(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": "".join(self.tokens)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return {**self.frame("chat.completion"), "choices": [choice], "usage": self.usage()}

    def usage(self) -> dict[str, int]:
        count = len(self.tokens)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": count,
            "total_tokens": self.prompt_tokens + count,
        }


def count_tokens(text: str) -> int:
    """How many tokens the offline model takes a text for: a word, or sixteen characters of a long one."""
    return sum(1 for _ in _TOKEN.finditer(text))


def _messages(body: Any) -> list[dict[str, str]]:
    """The messages of a request as plain text. Raises `Refusal`."""
    found = body.get("messages") if isinstance(body, dict) else None
    if not isinstance(found, list) or not found:
        raise Refusal(400, "The request holds no messages.")
    messages = []
    for message in found:
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if isinstance(content, list):
            content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        if not isinstance(role, str) or not isinstance(content, str):
            raise Refusal(400, "A message must have a role and a content.")
        messages.append({"role": role, "content": content})
    return messages


def _head(status: int, content_type: str) -> bytes:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n".encode()


def _event(value: Any) -> bytes:
    """One event as one HTTP chunk."""
    data = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    raw = f"data: {data}\n\n".encode(errors="replace")
    return b"%x\r\n%s\r\n" % (len(raw), raw)


async def _send_json(writer: asyncio.StreamWriter, status: int, value: Any) -> None:
    raw = json.dumps(value, ensure_ascii=False).encode(errors="replace")
    writer.write(_head(status, "application/json") + b"Content-Length: %d\r\n\r\n" % len(raw) + raw)
    await writer.drain()
