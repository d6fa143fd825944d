"""A bare pyzmq forwarder, PULL to PUB: the limit. No log, no rules, no acknowledgements, no check.

Followed: one context, one I/O thread, sockets over ipc (the guide's proxy pattern, with PUB in place of XPUB). A PUB
drops what does not fit; SNDHWM 0 (no limit) at the PUB and RCVHWM 0 at the SUBs, so that it loses nothing here. The
publisher blocks at its own high-water mark, which is the window.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, ClassVar

import zmq

from benchmarks.harness import Child, agent_names
from benchmarks.peers.peer import BlockingPublisher, Peer, Server
from benchmarks.peers.work import Said, Tally
from felixhub.core.names import event_topic

WINDOW = 4_000
POLL_MS = 20
DRAIN_MAX = 1_000
HELLO = b"hello/"


class Forwarder(Peer):
    name: ClassVar[str] = "pyzmq forwarder"
    durable: ClassVar[str] = "no"
    window: ClassVar[str] = f"{WINDOW:,} (SNDHWM)"

    def missing(self) -> str | None:
        return None

    def versions(self) -> str:
        return f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}"

    @contextlib.contextmanager
    def server(self, directory: Path) -> Iterator[Server]:
        address = f"ipc://{directory}/push", f"ipc://{directory}/pub"
        with Child(forwarder_main, *address) as child, Child(greeter_main, address[0], start="fork") as greeter:
            yield Server(address, [child.pid], begin=lambda _: greeter.end())

    def publisher(self, address: Any, agents: int) -> BlockingPublisher:
        return _Pusher(address[0], agents)

    def subscribe(self, address: Any, tally: Tally) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        subscriber = context.socket(zmq.SUB)
        subscriber.setsockopt(zmq.RCVHWM, 0)
        subscriber.subscribe(b"")
        subscriber.connect(address[1])
        subscriber.recv_multipart()
        tally.ready()
        drain(subscriber, tally, skip=HELLO)


def drain(subscriber: zmq.Socket[bytes], tally: Tally, *, skip: bytes = b"", only: bytes = b"") -> None:
    """Give the bodies of a SUB to a tally until it is over: those of topics that begin and end as they should."""
    while not tally.over():
        if not subscriber.poll(POLL_MS):
            continue
        for _ in range(DRAIN_MAX):
            try:
                topic, body = subscriber.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            if topic.endswith(only) and not (skip and topic.startswith(skip)):
                tally.take(body)


class _Pusher(BlockingPublisher):
    def __init__(self, push: str, agents: int) -> None:
        super().__init__(agents)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, WINDOW)
        self._socket.connect(push)
        self._topics = [event_topic("bench-00000000", agent, "thought.partial") for agent in agent_names(agents)]

    def send(self, batch: list[Said]) -> None:
        for said in batch:
            self._socket.send_multipart([self._topics[said[0]], self.texts.encode(said)])


def forwarder_main(_pipe: Pipe, push: str, pub: str) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    source, sink = context.socket(zmq.PULL), context.socket(zmq.PUB)
    sink.setsockopt(zmq.SNDHWM, 0)
    source.bind(push)
    sink.bind(pub)
    while True:
        sink.send_multipart(source.recv_multipart())


def greeter_main(pipe: Pipe, push: str) -> None:
    """Says hello all the time, so that subscribers know when they are connected: a PUB does not tell them."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    greeter = context.socket(zmq.PUSH)
    greeter.connect(push)
    while not pipe.poll(0.02):
        greeter.send_multipart([HELLO, b""])
