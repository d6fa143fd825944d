"""The answers to ZeroMQ's own question whether a connection may come in (ZAP, RFC 27).

It is answered in the hub's loop: no thread that could die unseen, and while the loop is busy a handshake waits. pyzmq's
authenticator knows yes and no; a third answer is needed, "not now", upon which a client comes again when the time for
its handshake is over (5 s). After a no it never does.
Owns: the wire format. Must not: know whose key it is (`guard.py` does).
"""

from __future__ import annotations

from collections.abc import Callable

import zmq

from felixhub.logs import get_log

ADDRESS = "inproc://zeromq.zap.01"
VERSION = b"1.0"
FRAMES_MIN = 6  # version, request, domain, address, identity, mechanism; then credentials
ANSWERS_MAX = 1_000

NOT_NOW = "not now"
Admit = Callable[[bytes], str | None]  # a public key (32 bytes): the connection's name, NOT_NOW, or None for no


class Zap:
    """Must be made before any guarded socket is bound."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], admit: Admit) -> None:
        self._admit = admit
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ADDRESS)

    def answer(self) -> None:
        """Answer what is waiting. Whatever goes wrong is a no."""
        for _ in range(ANSWERS_MAX):
            try:
                frames = self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            asker = frames[: frames.index(b"") + 1] if b"" in frames else []
            request = frames[len(asker) :]
            if not asker or len(request) < FRAMES_MIN:
                continue  # Only libzmq itself speaks here.
            try:
                status, text, user = self._judge(request)
            except Exception:  # noqa: BLE001  (a fault of ours must let nobody in, and must not end the hub)
                get_log("hub").exception("cannot_authenticate")
                status, text, user = b"300", b"the hub failed", b""  # Not "unknown key": that would be for good.
            self.socket.send_multipart([*asker, VERSION, request[1], status, text, user, b""], zmq.DONTWAIT)

    def _judge(self, request: list[bytes]) -> tuple[bytes, bytes, bytes]:
        mechanism, credentials = request[5], request[6:]
        if request[0] != VERSION or mechanism != b"CURVE" or len(credentials) != 1:
            return b"400", b"a CURVE key is needed", b""
        name = self._admit(credentials[0])
        if name is None:
            return b"400", b"unknown key", b""
        if name == NOT_NOW:
            return b"300", b"too many connections", b""
        return b"200", b"OK", name.encode()

    def close(self) -> None:
        self.socket.close()
