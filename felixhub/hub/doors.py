"""All ways into the hub as one: waiting, sending, publishing, and opening a guarded way again after a key was revoked.

Owns: which door a peer came through. Must not: know what a message means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import zmq

from felixhub.core.errors import ConfigError
from felixhub.core.grant import Grant
from felixhub.core.presence import Presence
from felixhub.hub.door import Door
from felixhub.hub.zap import Zap
from felixhub.logs import get_log

OPEN_LOG_S = 5.0  # a closed door is worth a word after so long; the old sockets let go of their ports in a moment
OPEN_S = 0.02  # between two tries to listen again

# To ask a socket that has nothing costs as much as to take a message: a turn asks those that have something.
Ready = set[zmq.Socket[bytes] | int]


class Doors:
    def __init__(self, doors: list[Door], zap: Zap | None = None) -> None:
        self._doors = doors
        self._zap = zap
        self._watched: list[int] = []
        self._notes = get_log("hub")
        self._try_at = 0.0
        self._told_at = 0.0
        self._poller = zmq.Poller()

    def __iter__(self) -> Iterator[Door]:
        """Those that are open."""
        return iter([door for door in self._doors if door.is_open])

    def watch(self, descriptor: int) -> None:
        """Also wake for this file descriptor."""
        self._watched.append(descriptor)
        self._poller.register(descriptor, zmq.POLLIN)

    def listen(self) -> None:
        """Wait for what is open now."""
        self._poller = zmq.Poller()
        for descriptor in self._watched:
            self._poller.register(descriptor, zmq.POLLIN)
        for socket in [one for door in self._doors for one in door.sockets] + ([self._zap.socket] if self._zap else []):
            self._poller.register(socket, zmq.POLLIN)

    def poll(self, patience_ms: int) -> Ready:
        """Wait for something: the sockets and watched descriptors at which there is something to take."""
        if any(not door.is_open for door in self._doors):
            patience_ms = min(patience_ms, int(OPEN_S * 1000))
        return {one for one, _ in self._poller.poll(patience_ms)}

    def look(self, ready: Ready, now: float, counters: Counter[str]) -> None:
        """Let in who waits and may, keep to the limits, and shut out whose key was revoked."""
        for door in self._doors:
            if refused := door.look(ready):
                counters["refused.connections"] += refused
            if door.guard is None:
                continue
            counters.update(door.guard.counters)
            door.guard.counters.clear()
            if door.guard.look(now) and door.is_open:
                # ZeroMQ cannot end one connection. So all end, and whoever still may comes back and repairs what it
                # missed: that is what the protocol is for.
                self._notes.info("door_reopens", why="a key was revoked or changed")
                door.close()
                self.listen()
                self._told_at = now
        if self._zap and self._zap.socket in ready:
            self._zap.answer()
        if now >= self._try_at:
            self._try_at = now + OPEN_S
            for door in self._doors:
                if not door.is_open:
                    self._open(door, now)

    def _open(self, door: Door, now: float) -> None:
        try:
            door.open()
        except ConfigError as error:
            if now - self._told_at > OPEN_LOG_S:
                self._told_at = now
                self._notes.warning("door_closed", why=str(error))
            return
        self.listen()

    def joined(self, grant: Grant | None, session: str, presence: Presence) -> None:
        """A worker's session has come, with a key or through a door where none is asked for."""
        for door in self._doors:
            if door.guard is not None:
                door.guard.joined(grant, session, presence)

    def publish(self, topic: bytes, body: bytes) -> None:
        for door in self._doors:
            if door.is_open:
                door.publish(topic, body)

    def send_worker(self, identity: bytes, frame: bytes) -> None:
        """Raises zmq.Again when it has no room, zmq.ZMQError with EHOSTUNREACH when it is gone."""
        door = self._doors[identity[0]]
        door.send(door.ingest, identity, [frame])

    def send_client(self, identity: bytes, frames: list[bytes]) -> None:
        """As `send_worker`."""
        door = self._doors[identity[0]]
        door.send(door.control, identity, frames)

    def endpoints_for(self, identity: bytes) -> dict[str, str]:
        """The addresses of the way that this client came."""
        where = self._doors[identity[0]].where
        return {"ingest": where.ingest, "live": where.live, "control": where.control}

    def close(self) -> None:
        for door in self._doors:
            door.close()
            door.remove_files()
        if self._zap:
            self._zap.close()
