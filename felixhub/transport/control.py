"""A client of the control socket: one request, its answer. Commands are sent again under the same id until answered.

Owns: waiting for a hub and for its answers. Must not: know what a command does.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from typing import Any

import zmq

from felixhub.core.errors import FelixError
from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.core.messages import ClientHello, Failed, Message, Ok, Page, parse_client_bound
from felixhub.transport.address import WAIT_S, Connection, NoHub, no_hub_sentence
from felixhub.transport.sockets import client_dealer

RESEND_S = 2.0

Find = Callable[[], Connection]


class HubRefused(FelixError):
    """The hub said no: `code` for programs, the message for people."""

    def __init__(self, code: str, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.field = field


def new_id(prefix: str = "c") -> str:
    """A fresh id for a request or a run."""
    return f"{prefix}-{secrets.token_hex(4)}"


def wait_for_hub(find: Find, *, wait_s: float = WAIT_S) -> Connection:
    """The connection as soon as there is one. Raises NoHub after `wait_s`."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return find()
        except NoHub:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.02)


class ControlClient:
    """Talks to one hub. A context manager; not for several threads at once."""

    def __init__(self, find: Find, *, wait_s: float = WAIT_S) -> None:
        self._find = find
        self._wait_s = wait_s
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._where = ""

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._context.term()

    def hello(self, *, wait_s: float | None = None) -> dict[str, Any]:
        """Who the hub is: version, boot, tip, pid, counters."""
        return self.request(ClientHello(id=new_id()), wait_s=wait_s)

    def request(self, message: Message, *, wait_s: float | None = None) -> dict[str, Any]:
        """The data of the hub's `ok`. Raises HubRefused, or NoHub when nobody answered for `wait_s` seconds."""
        reply, _ = self._exchange(message, wait_s if wait_s is not None else self._wait_s)
        if isinstance(reply, Ok):
            return reply.data
        assert isinstance(reply, Failed), "a request that is answered in pages goes through `pages`"
        raise HubRefused(reply.code, reply.sentence, reply.field)

    def pages(self, message: Message, *, wait_s: float | None = None) -> list[bytes]:
        """The lines of a replay or snapshot, as stored. Raises HubRefused or NoHub."""
        wait_s = wait_s if wait_s is not None else self._wait_s
        reply, lines = self._exchange(message, wait_s)
        collected: list[bytes] = []
        while True:
            match reply:
                case Failed():
                    raise HubRefused(reply.code, reply.sentence, reply.field)
                case Page():
                    collected.extend(line for line in lines.split(b"\n") if line)
                    if reply.last:
                        return collected
            reply, lines = self._receive(message, time.monotonic() + wait_s)

    def _exchange(self, message: Message, wait_s: float) -> tuple[Ok | Failed | Page, bytes]:
        deadline = time.monotonic() + wait_s
        while True:
            self._send(message, deadline)
            try:
                # A page request is not repeated: its pages would come twice.
                repeat = message.model_dump(include={"type"}).get("type") not in ("replay", "snapshot")
                until = min(deadline, time.monotonic() + RESEND_S) if repeat else deadline
                return self._receive(message, until)
            except NoHub:
                if time.monotonic() >= deadline:
                    raise
                self._look_again()

    def _look_again(self) -> None:
        """The hub may have come back elsewhere since the connection was made."""
        with contextlib.suppress(NoHub):
            if self._socket is not None and self._find().control != self._where:
                self._socket.close()
                self._socket = None

    def _send(self, message: Message, deadline: float) -> None:
        while True:
            try:
                self._connected(deadline).send(message.encode(), zmq.DONTWAIT)
                return
            except zmq.Again:
                if time.monotonic() >= deadline:
                    raise NoHub(no_hub_sentence(self._where)) from None
                time.sleep(0.01)
                self._look_again()

    def _receive(self, message: Message, deadline: float) -> tuple[Ok | Failed | Page, bytes]:
        socket = self._connected(deadline)
        while (left := deadline - time.monotonic()) > 0:
            if socket.poll(int(left * 1000) + 1):
                frames = socket.recv_multipart()
                reply = parse_client_bound(frames[0])
                if reply.id in (getattr(message, "id", None), "?"):  # "?": the hub could not even read the id
                    return reply, frames[1] if len(frames) > 1 else b""
        raise NoHub(no_hub_sentence(self._where))

    def _connected(self, deadline: float) -> zmq.Socket[bytes]:
        if self._socket is None:
            connection = wait_for_hub(self._find, wait_s=max(0.0, deadline - time.monotonic()))
            self._where = connection.control
            self._socket = client_dealer(self._context, DEFAULT_LIMITS)
            self._socket.connect(connection.control)
        return self._socket
