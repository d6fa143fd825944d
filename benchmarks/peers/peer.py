"""What a system of the comparison is: a server, a publisher and subscribers, each a process of its own.

Owns: the interface of a peer, and the main functions of a publisher's and a subscriber's process, the same for all.
Must not: know one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
import json
import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.harness import Child
from benchmarks.peers.work import Said, Sent, Tally, Texts, Verdict, check, first_tokens, flood, latencies_ms, paced

READY_S_MAX = 20.0
PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class Server:
    """A running server: what clients need to find it, and its processes."""

    address: Any
    pids: list[int]
    begin: Callable[[int], Any] = field(default=lambda _: None)  # given the agents, once all subscribers listen


class Peer(ABC):
    """A system that is compared. Instances are sent to other processes: they hold settings only."""

    name: ClassVar[str]
    durable: ClassVar[str]  # what is safe when the publisher hears of it
    window: ClassVar[str]  # how many may be under way
    deliveries_max: ClassVar[int] = 10_000_000  # of one flood: a slow system need not get what a fast one gets

    @abstractmethod
    def missing(self) -> str | None:
        """What must be installed, or None."""

    @abstractmethod
    def versions(self) -> str: ...

    @abstractmethod
    def server(self, directory: Path) -> contextlib.AbstractContextManager[Server]: ...

    @abstractmethod
    def publisher(self, address: Any, agents: int) -> Publisher: ...

    @abstractmethod
    def subscribe(self, address: Any, tally: Tally) -> None:
        """Give `tally` every message until it is over. Calls `tally.ready()` once nothing would be missed."""

    def read(self, raw: Any) -> tuple[str, int, str]:
        """(thought, offset in bytes, text) of what `tally` was given."""
        partial = json.loads(raw)
        return partial["thought"], partial["offset"], partial["text"]

    def repaired(self, raws: list[Any], address: Any, begun: Any) -> list[Any] | None:  # noqa: ARG002
        """What a subscriber can still get after it has lost messages, all of it; None: lost is lost."""
        return None


# ---- publishers ------------------------------------------------------------------------------------------------------


class Publisher(ABC):
    """Says the same things through any system. `flood` ends once all of it is where the system keeps it."""

    def __init__(self, agents: int) -> None:
        self.agents = agents
        self.texts = Texts(agents)

    @abstractmethod
    def flood(self, count: int, seconds_max: float) -> None: ...

    @abstractmethod
    def pace(self, hz: float, seconds: float, agents: int | None = None) -> None: ...

    @abstractmethod
    def first_tokens(self) -> None: ...

    def idle(self) -> None:  # noqa: B027 - most have nothing to do
        """Called now and then between the methods."""

    def sent(self) -> dict[str, Sent]:
        return self.texts.sent()


class BlockingPublisher(Publisher):
    """One that sends with calls that return when it has happened."""

    def send(self, batch: list[Said]) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        """Wait until all is where the system keeps it."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)

    def flood(self, count: int, seconds_max: float) -> None:
        for batch in flood(self.agents, count, seconds_max):
            self.send(batch)
        self.settle()

    def pace(self, hz: float, seconds: float, agents: int | None = None) -> None:
        self._follow(paced(agents or self.agents, hz, seconds))

    def first_tokens(self) -> None:
        self._follow(first_tokens(self.agents))

    def _follow(self, steps: Iterator[float | list[Said]]) -> None:
        for step in steps:
            if isinstance(step, float):
                self.wait(step)
            else:
                self.send(step)
        self.settle()


class AsyncPublisher(Publisher):
    """One whose client is made for asyncio."""

    def __init__(self, agents: int) -> None:
        super().__init__(agents)
        self.runner = asyncio.Runner(loop_factory=loop_factory())

    async def send(self, batch: list[Said]) -> None:
        raise NotImplementedError

    async def settle(self) -> None:
        """Wait until all is where the system keeps it."""

    def flood(self, count: int, seconds_max: float) -> None:
        self.runner.run(self._follow(flood(self.agents, count, seconds_max)))

    def pace(self, hz: float, seconds: float, agents: int | None = None) -> None:
        self.runner.run(self._follow(paced(agents or self.agents, hz, seconds)))

    def first_tokens(self) -> None:
        self.runner.run(self._follow(first_tokens(self.agents)))

    async def _follow(self, steps: Iterator[list[Said]] | Iterator[float | list[Said]]) -> None:
        for step in steps:
            if isinstance(step, float):
                await asyncio.sleep(step)
            else:
                await self.send(step)
        await self.settle()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: the faster loop for a client that is made for asyncio."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop  # type: ignore[no-any-return]


# ---- processes -------------------------------------------------------------------------------------------------------


def publisher_main(pipe: Pipe, peer: Peer, address: Any, agents: int) -> None:
    """Takes (method, arguments), answers with the nanoseconds around the call; "sent": with what was sent."""
    publisher = peer.publisher(address, agents)
    pipe.send(None)
    while True:
        while not pipe.poll(0.05):
            publisher.idle()
        method, arguments = pipe.recv()
        began_ns = time.monotonic_ns()
        answer = getattr(publisher, method)(**arguments)
        pipe.send(answer if method == "sent" else (began_ns, time.monotonic_ns()))


@dataclass(frozen=True, slots=True)
class Heard:
    """What a subscriber has to say: its verdict, what had to be repaired first, and its latencies."""

    verdict: Verdict
    repaired: int
    latencies_ms: list[tuple[int, float]]


def subscriber_main(pipe: Pipe, peer: Peer, address: Any) -> None:
    """Says None once it listens. Told how many there are: (how many came, nanoseconds of the last). Told what was sent
    and what the server's `begin` gave: `Heard`.
    """
    tally = Tally(pipe)
    peer.subscribe(address, tally)
    pipe.send((len(tally.raws), tally.times_ns[-1] if tally.times_ns else 0))
    sent, begun = pipe.recv()
    received = [peer.read(raw) for raw in tally.raws]
    verdict = check(received, sent)
    samples = latencies_ms(received, tally.times_ns)
    repaired = 0
    if verdict.lost and (whole := peer.repaired(tally.raws, address, begun)) is not None:
        repaired = verdict.lost
        verdict = check([peer.read(raw) for raw in whole], sent)
    pipe.send(Heard(verdict, repaired, samples))


def _exec_main(_pipe: Pipe, arguments: list[str], log: Path) -> None:
    # A server that is no Python: it must not outlive the benchmark, and Ctrl-C in the terminal is not for it.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.setsid()
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.execv(arguments[0], [Path(arguments[0]).name, *arguments[1:]])


@contextlib.contextmanager
def running_program(arguments: list[str], log: Path, answers: Callable[[], bool]) -> Iterator[Child]:
    """A server that is not written in Python, in a Child like every other process; there once it answers."""
    with Child(_exec_main, arguments, log) as child:
        ends_at = time.monotonic() + READY_S_MAX
        while not answers():
            if time.monotonic() > ends_at or not child.alive:
                raise RuntimeError(f"{arguments[0]} does not answer: {log.read_text()[-2000:] if log.exists() else ''}")
            time.sleep(0.02)
        yield child


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


def installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(package.split(".")[0]) is not None for package in packages)


def package_versions(*packages: str) -> str:
    return ", ".join(f"{package} {version(package)}" for package in packages)
