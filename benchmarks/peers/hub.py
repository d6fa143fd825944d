"""FelixHub itself: the real hub with its durable log, the worker's protocol, bare SUB sockets.

The publisher is the harness's `Load`: a worker's session that keeps at most a window unacknowledged; an acknowledged
partial is in the log (`synchronous=FULL`). A subscriber is a SUB and nothing else, as one in any language would be:
what it lost on the way (`prev` tells) it gets from the log by replay, and that is counted as repaired. What the hub has
joined into one event counts as the partials it was, and costs this subscriber the reading of its JSON.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import zmq

from benchmarks.harness import Hub, Load, agent_names, running_hub, start_run, stored_events
from benchmarks.peers.forwarder import drain
from benchmarks.peers.peer import BlockingPublisher, Peer, Server
from benchmarks.peers.work import PARTIAL_BYTES, Said, Sent, Tally, partials_in
from felixhub.core.limits import DEFAULT_LIMITS, Limits
from felixhub.transport.sockets import live_sub
from felixhub.version import __version__

WINDOW = 4_000


class FelixHub(Peer):
    name: ClassVar[str] = "FelixHub"
    durable: ClassVar[str] = "fsync before the acknowledgement"
    window: ClassVar[str] = f"{WINDOW:,}"
    limits: ClassVar[Limits] = DEFAULT_LIMITS

    def missing(self) -> str | None:
        return None

    def versions(self) -> str:
        return f"felixhub {__version__}, SQLite {sqlite3.sqlite_version}, pyzmq {zmq.__version__}"

    @contextlib.contextmanager
    def server(self, directory: Path) -> Iterator[Server]:
        with running_hub(directory, self.limits) as hub:
            yield Server(hub.where, [hub.pid], begin=lambda agents: self._begin(hub, agents))

    def _begin(self, hub: Hub, agents: int) -> str:
        return start_run(hub, agent_names(agents))

    def publisher(self, address: Any, agents: int) -> BlockingPublisher:
        return _Worker(address, agents)

    def subscribe(self, address: Any, tally: Tally) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        subscriber = live_sub(context, DEFAULT_LIMITS)
        subscriber.setsockopt(zmq.RCVHWM, 0)
        subscriber.subscribe(b"")
        subscriber.connect(address.live)
        subscriber.recv_multipart()
        tally.partials_of = partials_of
        tally.ready()
        drain(subscriber, tally, only=b"/thought.partial/")

    def repaired(self, raws: list[Any], address: Any, begun: Any) -> list[Any]:  # noqa: ARG002
        return [body for body in stored_events(address, begun) if json.loads(body)["kind"] == "thought.partial"]


def partials_of(body: bytes) -> int:
    """How many partials of the work an event of text is made of."""
    return partials_in(json.loads(body)["text"])


class FelixHubApart(FelixHub):
    """A hub that joins no partials, for they would be larger than it allows: what each costs by itself."""

    name: ClassVar[str] = "FelixHub, each partial by itself"
    limits: ClassVar[Limits] = replace(DEFAULT_LIMITS, partial_bytes_max=PARTIAL_BYTES)


class _Worker(BlockingPublisher):
    def __init__(self, address: Any, agents: int) -> None:
        super().__init__(agents)
        self._load = Load(address, agent_names(agents))
        self._writings = list(self._load.writings.values())
        self._partials: dict[str, int] = {}
        self._window_bytes = 0

    def send(self, batch: list[Said]) -> None:
        for number, text in batch:
            while self._load.in_flight_bytes >= WINDOW * len(text):
                self._load.take(1.0)
            writing = self._writings[number]
            self._load.say(writing, text)
            self._partials[writing.id] = self._partials.get(writing.id, 0) + 1
        self._load.take(0)

    def settle(self) -> None:
        while self._load.in_flight_bytes:
            self._load.take(1.0)

    def wait(self, seconds: float) -> None:
        self._load.take(0)
        super().wait(seconds)

    def idle(self) -> None:
        self._load.take(0)

    def sent(self) -> dict[str, Sent]:
        hashes = self._load.hashes()
        return {name: Sent(partials, hashes[name]) for name, partials in self._partials.items()}
