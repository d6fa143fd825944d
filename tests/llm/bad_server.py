"""A real HTTP server on loopback that misbehaves as a test tells it to.

A script is an async function that gets an `Exchange` and writes what it likes, when it likes. `/v1/models` and the
like are answered from `answers`, which may hold scripts too; everything else goes to the next script in line, the last
one for ever.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self


class Exchange:
    """One request and the raw connection to answer it on."""

    def __init__(self, path: str, headers: dict[str, str], body: Any, writer: asyncio.StreamWriter) -> None:
        self.path = path
        self.headers = headers
        self.body = body
        self._writer = writer

    async def send(self, data: str | bytes) -> None:
        self._writer.write(data.encode() if isinstance(data, str) else data)
        await self._writer.drain()

    async def head(self, status: int = 200, content_type: str = "text/event-stream", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join(lines) + "\r\n\r\n")

    async def json(self, value: Any, status: int = 200, **headers: str) -> None:
        await self.head(status, "application/json", **headers)
        await self.send(json.dumps(value))

    async def event(self, value: Any) -> None:
        await self.send(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n")

    async def text(self, text: str, **more: Any) -> None:
        await self.event(chunk({"content": text}, **more))

    async def whole(self, text: str = "All is well.") -> None:
        """A proper answer."""
        await self.head()
        await self.text(text)
        await self.event(chunk({}, finish_reason="stop"))
        await self.event("[DONE]")

    async def silence(self) -> None:
        """Say nothing, for longer than any test runs."""
        await asyncio.Event().wait()


def chunk(delta: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, **more}]}


Script = Callable[[Exchange], Awaitable[None]]


class BadServer:
    """`async with BadServer(script, …) as server:`; `server.exchanges` are the requests that a script answered."""

    def __init__(self, *scripts: Script, answers: dict[str, Any] | None = None) -> None:
        self._scripts = list(scripts)
        self.answers = {"/v1/models": {"data": [{"id": "tiny"}]}} if answers is None else answers
        self.exchanges: list[Exchange] = []
        self.paths: list[str] = []
        self.asked = asyncio.Event()  # a request for an answer has come
        self.gone = asyncio.Event()  # a client closed its connection while a script was still at work
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        path = lines[0].split()[1]
        self.paths.append(path)
        exchange = Exchange(path, headers, json.loads(raw) if raw else None, writer)
        if path != "/v1/chat/completions":
            if callable(answer := self.answers.get(path)):
                await answer(exchange)
                return
            await exchange.json(self.answers.get(path, {"error": "not here"}), 200 if path in self.answers else 404)
            return
        script = self._scripts[min(len(self.exchanges), len(self._scripts) - 1)]
        self.exchanges.append(exchange)
        self.asked.set()
        script_task = asyncio.ensure_future(script(exchange))
        closed = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({script_task, closed}, return_when=asyncio.FIRST_COMPLETED)
            if script_task.done():
                script_task.result()
            else:
                self.gone.set()
        finally:
            script_task.cancel()
            closed.cancel()
            await asyncio.gather(script_task, closed, return_exceptions=True)
