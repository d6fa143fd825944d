"""Hearing from ZeroMQ that a hub does not let this client in. Otherwise it looks as if no hub were there.

Owns: a socket's monitor and what its events mean. Must not: decide what follows.
"""

from __future__ import annotations

import zmq
from zmq.utils.monitor import recv_monitor_message

from felixhub.transport.address import Connection, KeyRefused

EVENTS = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
)
UNKNOWN_KEY = 400  # as ZAP numbers it
HUNG_UP_MAX = 5  # in a row


class Refusal:
    """Watches the handshakes of one socket. Made before the socket connects."""

    def __init__(self, socket: zmq.Socket[bytes], connection: Connection) -> None:
        self._socket = socket
        self._connection = connection
        self._monitor: zmq.Socket[bytes] | None = None
        self._hung_up = 0
        if connection.control.startswith("tcp://"):
            self._monitor = socket.get_monitor_socket(EVENTS)

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """What becomes readable when there is something to `check`."""
        return [] if self._monitor is None else [self._monitor]

    def check(self) -> None:
        """Raises KeyRefused if the hub has refused this client since the last time."""
        while self._monitor is not None and self._monitor.poll(0):
            told = recv_monitor_message(self._monitor)
            if told["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH and told["value"] == UNKNOWN_KEY:
                raise KeyRefused(
                    f"the hub at {self._connection.control} does not know the key '{self._connection.key}': it was "
                    "revoked, or it is another hub's; ask for a new one (`felixhub keys new` on the hub's machine)"
                )
            if told["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._hung_up = 0
            elif told["event"] == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                self._hung_up += 1
            mismatch = told["value"] == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
            # A hub that asks for keys often hangs up before its word of it has arrived.
            if (mismatch or self._hung_up >= HUNG_UP_MAX) and self._connection.curve is None:
                raise KeyRefused(
                    f"the hub at {self._connection.control} asks for a key: on its machine `felixhub keys new NAME` "
                    "writes a file; name that file with --hub"
                )
            if mismatch:
                raise KeyRefused(
                    f"the hub at {self._connection.control} asks for no keys, and the file names one: this is not the "
                    "hub that gave it out, or it was started with --plain"
                )

    def close(self) -> None:
        """Before the socket is closed."""
        if self._monitor is not None:
            self._socket.disable_monitor()
            self._monitor.close()
            self._monitor = None
