"""One way into the hub: three listening sockets, and what is known of whoever speaks through them.

    local      in a directory that only this user may enter: nobody else comes here, and nothing is asked
    plain      tcp on this machine alone, when `--plain` allows it: nothing is asked either
    guarded    tcp with CURVE: everybody has a key, and the key says what it may do

Owns: binding, closing, opening again, and the connections' limits. Must not: know what a message means.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

import zmq

from felixhub.core.errors import ConfigError
from felixhub.core.grant import Grant
from felixhub.core.limits import Limits
from felixhub.hub.connections import Connections
from felixhub.hub.guard import Guard
from felixhub.transport.address import Endpoints
from felixhub.transport.keys import HubKey
from felixhub.transport.sockets import control_router, ingest_router, listen, live_xpub

NAMES = ("ingest", "live", "control")
SUBSCRIPTIONS_MAX = 10_000  # taken in one turn
FRAMES_MAX = 3  # kept of a message; the protocol's have one and the sender's name
IDENTITY_BYTES = 5
TAG_BYTES = 2  # before ZeroMQ's identities: which door, and which opening of it
_NOW = int(zmq.DONTWAIT)
_MORE_NOW = int(zmq.SNDMORE | zmq.DONTWAIT)

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]


class Arrived(NamedTuple):
    """What came in: `identity` is the sender's, unlike any other door's. `grant` is None where nothing is asked."""

    identity: bytes
    frames: list[bytes]
    grant: Grant | None


class Stranger(Exception):
    """Somebody without a key that is known now. There is nobody to answer."""


class Door:
    def __init__(
        self,
        number: int,
        context: Context,
        where: Endpoints,
        limits: Limits,
        *,
        connections_max: int,
        guard: Guard | None = None,
        key: HubKey | None = None,
    ) -> None:
        assert (guard is None) == (key is None), "a key alone guards nothing"
        self.where = where
        self.guard = guard
        self._key = key
        self._number = number
        self._opened = 0
        self._tag = b""
        self._context = context
        self._limits = limits
        self._connections_max = connections_max
        self._connections: list[Connections] = []
        self._sockets: list[Socket] = []
        self.ingest: Socket
        self.live: Socket
        self.control: Socket
        self.is_open = False

    # ---- opening and closing -----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Listen. Raises ConfigError, with nothing left open, if an address is taken."""
        self._opened += 1
        # Whoever came through before it was closed is not who comes now.
        self._tag = bytes([self._number, self._opened % 256])
        makers = {"ingest": ingest_router, "live": live_xpub, "control": control_router}
        try:
            for name in NAMES:
                setattr(self, name, makers[name](self._context, self._limits, self._key))
                self._sockets.append(getattr(self, name))
            for name, socket in zip(NAMES, self._sockets, strict=True):
                self._connections.append(Connections(socket, most=self._connections_max))
                address: str = getattr(self.where, name)
                listen(socket, address)
        except zmq.ZMQError as error:
            self.close()
            raise ConfigError(
                f"cannot listen on {getattr(self.where, name)} ({error.strerror}): another program has it, or this "
                "machine does not; choose other ports with --listen tcp://127.0.0.1:PORT, or stop that program"
            ) from None
        self.is_open = True

    def close(self) -> None:
        for one in self._connections:
            one.close()
        for socket in self._sockets:
            socket.close()
        self._connections, self._sockets = [], []
        self.is_open = False

    def remove_files(self) -> None:
        """The sockets' files of a local door, and their directory with the last one."""
        for name in NAMES:
            address: str = getattr(self.where, name)
            if address.startswith("ipc://"):
                path = Path(address.removeprefix("ipc://"))
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    path.parent.rmdir()

    @property
    def sockets(self) -> list[Socket]:
        """What to wait for."""
        if not self.is_open:
            return []
        return [self.ingest, self.control, self.live, *(one.monitor for one in self._connections)]

    def look(self, ready: Container[object]) -> int:
        """Keep to the limit of connections; how many were too many. `ready`: the sockets that have something."""
        return sum(one.look() for one in self._connections if one.monitor in ready)

    # ---- the hot ways, without what pyzmq's multipart calls look up anew for every frame ----

    def receive(self, router: Socket) -> Arrived:
        """A message with all that is known of its sender. Raises zmq.Again, and Stranger where keys are asked for."""
        identity = router.recv(_NOW)
        frames = [self._tag + identity]
        more = True
        while more:
            frame = router.recv(_NOW, copy=False)  # It knows by itself whether another one follows, and whose it is.
            if len(frames) < FRAMES_MAX:
                frames.append(frame.bytes)
            more = frame.more
        if self.guard is None:
            return Arrived(frames[0], frames, None)
        user = _user_of(frame)
        grant = self.guard.grant_of(user) if user else None
        # ZeroMQ's own names for connections have five bytes. One that a peer chose for itself may have megabytes.
        if grant is None or len(identity) != IDENTITY_BYTES:
            raise Stranger
        return Arrived(frames[0], frames, grant)

    def send(self, router: Socket, identity: bytes, frames: list[bytes]) -> None:
        """Raises zmq.Again when the peer has no room, zmq.ZMQError with EHOSTUNREACH when it is gone."""
        if identity[:TAG_BYTES] != self._tag or not self.is_open:
            raise zmq.ZMQError(zmq.EHOSTUNREACH)
        router.send_multipart([identity[TAG_BYTES:], *frames], zmq.DONTWAIT)

    def publish(self, topic: bytes, body: bytes) -> None:
        """Never blocks: for who has no room for it, it is lost."""
        self.live.send(topic, _MORE_NOW)
        self.live.send(body, _NOW)

    # ---- subscriptions -----------------------------------------------------------------------------------------------

    def take_subscriptions(self, now: float) -> list[bytes]:
        """The topics that were newly subscribed to; at a guarded door those that were granted."""
        taken: list[bytes] = []
        if self.guard is not None and self.guard.must_close:
            return taken
        for _ in range(SUBSCRIPTIONS_MAX):
            try:
                frame = self.live.recv(_NOW, copy=False)
            except zmq.Again:
                return taken
            data = frame.bytes
            is_new, topic = data[:1] == b"\x01", data[1:]
            if self.guard is None:
                taken += [topic] if is_new else []
                continue
            user = _user_of(frame)
            if user is None:
                continue  # ZeroMQ's own word for a connection that has gone; it has tidied up.
            self.guard.heard_live(user, now, is_subscription=data[:1] in (b"\x00", b"\x01"))
            if self.guard.must_close:
                return taken
            granted = self.guard.subscribed(user, topic) if is_new else self.guard.unsubscribed(user, topic)
            for one in granted:
                self.live.setsockopt(zmq.SUBSCRIBE if is_new else zmq.UNSUBSCRIBE, one)
            taken += granted if is_new else []
        return taken


def _user_of(frame: zmq.Frame) -> str | None:
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return None
