"""Connections: how long a client may take to say what it wants, and an end at once for one that does not read.

Owns: what uvicorn has no option for. Must not: know what is asked.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from felixhub.views.web import bounds

_open: dict[Any, asyncio.Transport] = {}  # by the client's address


class Connection(H11Protocol):
    """uvicorn's, but a request whose head does not come is not waited for."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _open[self.client] = transport
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        _open.pop(self.client, None)
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(bounds.HEADER_S_MAX, self._give_up)

    def _unwatch(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.abort()


def let_go(client: Any) -> None:
    """End the connection of this client (`scope["client"]`) at once; what waits for it is dropped."""
    transport = _open.get(tuple(client) if client else None)
    if transport is not None:
        # Nor does the kernel go on offering it what it does not take.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
