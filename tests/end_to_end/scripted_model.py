"""A model's server whose answers a test writes: what to say to which request, when to be silent, when to break off.

It notes each request, and when its client closed the connection, as the server sees it.
Owns: the OpenAI-compatible streaming protocol, bare. Must not: know what a test expects.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Say:
    """An answer: its pieces, one every `every_s`, how it ends, or with `silent` that it does not."""

    text: str = ""
    every_s: float = 0.0
    silent: bool = False  # after the text: nothing more, until the client has gone
    finish_reason: str = "stop"
    status: int = 200
    retry_after_s: float | None = None

    @property
    def pieces(self) -> Sequence[str]:
        return [word + " " for word in self.text.split(" ")] if self.every_s else [self.text] if self.text else []


@dataclass
class Asked:
    """One request as the server saw it."""

    system: str
    prompt: str
    at: float
    closed_at: float | None = None  # when the client went away before the answer was over
    ended_at: float | None = None  # when the server was done with it


@dataclass
class ScriptedModel:
    base_url: str = ""
    asked: list[Asked] = field(default_factory=list)

    def of(self, agent: str) -> list[Asked]:
        """The requests of one agent, in order."""
        return [one for one in self.asked if f"You are {agent}, in the role of " in one.system]


class ModelServer(ThreadingHTTPServer):
    request_queue_size = 128  # With the usual 5, seven who connect at once may be held up for seconds.
    daemon_threads = True


@contextmanager
def scripted_model(script: Callable[[str, str], Say]) -> Iterator[ScriptedModel]:
    """`script(agent, prompt)` says what is answered; `agent` is whom the worker says it is."""
    model = ScriptedModel()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._plain(200, {"data": [{"id": "scripted", "context_length": 32_000}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            system, prompt = (str(message["content"]) for message in body["messages"])
            one = Asked(system, prompt, time.monotonic())
            model.asked.append(one)
            say = script(system.rpartition("You are ")[2].partition(",")[0], prompt)
            try:
                if say.status != 200:
                    self._plain(say.status, {"error": {"message": "no"}}, say.retry_after_s)
                else:
                    self._stream(say, one)
            except OSError:
                one.closed_at = one.closed_at or time.monotonic()
            one.ended_at = time.monotonic()

        def _stream(self, say: Say, one: Asked) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for piece in say.pieces:
                self._event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
                if self._gone(say.every_s):
                    one.closed_at = time.monotonic()
                    return
            if say.silent:
                while not self._gone(0.02):
                    if time.monotonic() - one.at > 60.0:
                        return
                one.closed_at = time.monotonic()
                return
            self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": say.finish_reason}]})
            self._event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(say.text.split())}})
            self.wfile.write(b"data: [DONE]\n\n")

        def _gone(self, seconds: float) -> bool:
            """Wait so long; whether the client has closed its end meanwhile."""
            readable, _, _ = select.select([self.connection], [], [], seconds)
            return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

        def _event(self, value: Any) -> None:
            self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")
            self.wfile.flush()

        def _plain(self, status: int, value: Any, retry_after_s: float | None = None) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if retry_after_s is not None:
                self.send_header("Retry-After", str(retry_after_s))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ModelServer(("127.0.0.1", 0), Handler)
    model.base_url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield model
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
