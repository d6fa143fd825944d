"""What every benchmark shares: the real hub in a process of its own, load without a model, subscribers, and figures.

Owns: processes, their clean end, and how a result is written down. Must not: measure anything in particular.
All times are `time.monotonic_ns`, which the processes of one machine share.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import hashlib
import json
import multiprocessing
import os
import secrets
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Literal

import zmq

from felixhub.core.events import ThoughtFinalized, ThoughtPartial, WorkerInfo
from felixhub.core.limits import DEFAULT_LIMITS, Limits
from felixhub.core.messages import (
    Ack,
    Assign,
    Beat,
    Finalize,
    Hello,
    Partial,
    Reject,
    Replay,
    Start,
    parse_worker_bound,
)
from felixhub.core.workflow import Card, EndpointLimit, RunSettings, Stage, Workflow
from felixhub.hub.process import run_hub
from felixhub.logs import configure_logs
from felixhub.transport.address import Connection
from felixhub.transport.control import ControlClient
from felixhub.transport.sockets import live_sub, worker_dealer
from felixhub.transport.subscriber import Subscription

PATIENCE_S = 120.0
PROFILE_VARIABLE = "FELIXHUB_BENCH_PROFILE"  # a file for the hub's cProfile; the figures are worth nothing then
BEAT_S = 1.0
TAKE_S = 0.001
STAMP_DIGITS = 20
STAMPED_BYTES = 100
IDLE_S = 1.0
MET = {True: "yes", False: "**no**", None: "—"}


# ---- results ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    measured: str
    goal: str
    met: bool | None  # None: there is no goal, or it could not be measured


@dataclass(frozen=True, slots=True)
class Table:
    """Figures side by side, for the document: the first column names what the others are of."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a plot; `ours` is set off from what it is compared with."""

    label: str
    value: float
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One part of the plot: bars, dots where their axis is logarithmic, or lines of (x, y) by name."""

    title: str
    axis: str
    bars: list[Bar] = field(default_factory=list)
    lines: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    across: str = ""  # what x is, of lines
    log: bool = False


@dataclass(slots=True)
class Outcome:
    """All that a benchmark has found: figures with goals, tables, what to draw, and whose versions they are of."""

    rows: list[Row] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Options:
    quick: bool
    parent: Path  # where data directories are made; it must be on the disk to be measured

    @contextlib.contextmanager
    def directory(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.parent, prefix="felixhub-bench-") as name:
            yield Path(name)


def end_politely() -> None:
    """SIGTERM ends a benchmark as Ctrl-C does: every server that it has started ends with it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


Measure = Callable[[Options], list[Row] | Outcome]


def parse_options(description: str | None) -> Options:
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shorter and less exact")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="not on a tmpfs")
    arguments = parser.parse_args()
    end_politely()
    return Options(arguments.quick, arguments.directory)


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def table(rows: list[Row]) -> str:
    cells = [[row.what, row.measured, row.goal, MET[row.met]] for row in rows]
    return markdown(["what", "measured", "goal", "met"], cells)


def written(outcome: Outcome, *, heading: str = "###") -> str:
    """All of it as Markdown: first what has a goal, then the tables."""
    parts = [table(outcome.rows)] if outcome.rows else []
    for one in outcome.tables:
        remark = f"\n\n{one.remark}" if one.remark else ""
        parts.append(f"{heading} {one.title}\n\n{markdown(one.columns, one.rows)}{remark}")
    return "\n\n".join(parts)


def measured(measure: Measure, options: Options) -> Outcome:
    found = measure(options)
    return Outcome(rows=found) if isinstance(found, list) else found


def main(measure: Measure, description: str | None) -> None:
    """What each benchmark does when it is run by itself."""
    print(written(measured(measure, parse_options(description))))


def note(text: str) -> None:
    """Progress, for a person."""
    print(text, file=sys.stderr, flush=True)


def percentile(values: list[float], percent: float) -> float:
    return statistics.quantiles(values, n=1000, method="inclusive")[round(percent * 10) - 1]


def spread(values: list[float], digits: int = 2) -> str:
    """The median and, of several, the range."""
    middle = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


# ---- processes -------------------------------------------------------------------------------------------------------

_spawn = multiprocessing.get_context("spawn")
_fork = multiprocessing.get_context("forkserver")
_fork.set_forkserver_preload(
    [
        "zmq",
        "felixhub.core.messages",
        "felixhub.transport.control",
        "redis",
        "nats",
        "uvloop",
        "autogen_core",
        "autogen_ext.runtimes.grpc",
    ]
)


class Child:
    """A process with a pipe to it. `target(pipe, *args)` must be a module's function.

    `start="fork"`: from a small process that has imported the clients once, so that there can be 32 of them within a
    second. Not for a server whose memory is measured: it would begin with what others need.
    """

    def __init__(self, target: Callable[..., None], *args: Any, start: Literal["spawn", "fork"] = "spawn") -> None:
        context = _spawn if start == "spawn" else _fork
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=target, args=(theirs, *args), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, *, patience_s: float = PATIENCE_S) -> Any:
        """The next thing that the child says."""
        if not self.pipe.poll(patience_s):
            raise TimeoutError(f"{self._process.name} said nothing for {patience_s:.0f} s")
        return self.pipe.recv()

    def tell(self, what: Any) -> None:
        self.pipe.send(what)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self._process.terminate()  # For the hub: SIGTERM, its polite end.
        self._process.join(20)
        if self._process.is_alive():
            self._process.kill()


def cpu_s(pid: int) -> float:
    """User and system seconds of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_ns(pid: int) -> int:
    """The same in nanoseconds, of the threads that there are now: for what is too short for the clock's ticks."""
    total = 0
    for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(FileNotFoundError):  # A thread that has just ended.
            total += int(schedstat.read_text().split()[0])
    return total


def fsync_ms(directory: Path, *, count: int, gap_s: float) -> list[float]:
    """How long each of so many fsyncs takes there, after an append of 4 KiB and a rest, in milliseconds."""
    times = []
    with (directory / "fsync").open("ab", buffering=0) as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append((time.perf_counter() - began) * 1e3)
            time.sleep(gap_s)
    return times


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---- the hub ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Hub:
    directory: Path
    where: Connection
    child: Child

    @property
    def pid(self) -> int:
        return self.child.pid

    def client(self) -> ControlClient:
        return ControlClient(lambda: self.where)


def hub_main(pipe: Pipe, directory: Path, limits: Limits) -> None:
    configure_logs(file=directory / "hub.log")
    profile = os.environ.get(PROFILE_VARIABLE)
    profiler = cProfile.Profile() if profile else None
    if profiler:
        profiler.enable()
    run_hub(directory, limits=limits, on_ready=pipe.send)
    if profiler and profile:
        profiler.disable()
        profiler.dump_stats(profile)


@contextlib.contextmanager
def running_hub(directory: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[Hub]:
    with Child(hub_main, directory, limits) as child:
        yield Hub(directory, child.ask(), child)


def agent_names(count: int) -> list[str]:
    return [f"agent-{number:04d}" for number in range(count)]


def start_run(hub: Hub, agents: list[str], *, endpoint: str = "offline", stages_each: int = 1) -> str:
    """A run of so many stages of each agent, none of which waits for another one's."""
    name = f"bench-{secrets.token_hex(4)}"
    stages = [Stage(name=f"{agent}-{number}", agent=agent) for agent in agents for number in range(stages_each)]
    request = Start(
        id=name,
        task="a benchmark",
        workflow=Workflow(name="bench", stages=tuple(stages)),
        agents=tuple(Card(name=agent) for agent in agents),
        settings=RunSettings(endpoint=endpoint, endpoints={endpoint: EndpointLimit(max_concurrent=10_000)}),
    )
    with hub.client() as client:
        client.request(request)
    return name


# ---- load ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Writing:
    """A thought under way."""

    id: str
    length: int = 0
    acked: int = 0
    hash: Any = field(default_factory=hashlib.sha256)


class Load:
    """A worker's session without a model: it hosts many agents and says what it is told to, by the protocol."""

    def __init__(self, where: Connection, agents: list[str]) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = worker_dealer(self._context, DEFAULT_LIMITS)
        self._socket.setsockopt(zmq.SNDHWM, 100_000)
        self._socket.connect(where.ingest)
        self._ended: set[str] = set()
        self._beat_at = time.monotonic()
        self.in_flight_bytes = 0
        self.writings: dict[str, Writing] = {}
        worker = WorkerInfo(session=secrets.token_hex(8), pid=os.getpid(), host="bench")
        self._socket.send(Hello(worker=worker, agents=tuple(agents)).encode())
        while len(self.writings) < len(agents):
            self.take(0.1)

    def say(self, writing: Writing, text: str) -> None:
        data = text.encode()
        partial = Partial(thought=writing.id, offset=writing.length, text=text, tokens=writing.length // 4)
        self._socket.send(partial.encode())
        writing.hash.update(data)
        writing.length += len(data)
        self.in_flight_bytes += len(data)

    def take(self, timeout_s: float) -> None:
        """Take what the hub has said, waiting so long for something; beat when it is time."""
        if time.monotonic() - self._beat_at >= BEAT_S:
            self._beat_at = time.monotonic()
            holding = tuple(name for name in self.writings if name not in self._ended)
            self._socket.send(Beat(holding=holding).encode())
        if timeout_s > 0 and not self._socket.poll(int(timeout_s * 1000) + 1):
            return
        while True:
            try:
                frame = self._socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                return
            match parse_worker_bound(frame):
                case Assign() as assign:
                    self.writings.setdefault(assign.thought, Writing(assign.thought))
                case Ack() as ack:
                    for one in ack.lengths:
                        writing = self.writings[one.thought]
                        self.in_flight_bytes -= one.length - writing.acked
                        writing.acked = one.length
                    self._ended.update(one.thought for one in ack.ended)
                case Reject() as reject:
                    raise RuntimeError(f"the hub rejects: {reject.sentence}")

    def flood(self, count: int, *, size: int, window: int) -> None:
        """Send `count` partials of `size` bytes in all, never more than `window` of them unacknowledged."""
        writings = list(self.writings.values())
        sent = 0
        while sent < count:
            room = window - self.in_flight_bytes // size
            if room <= 0:
                self.take(1.0)
                continue
            for _ in range(min(room, count - sent, 200)):
                self.say(writings[sent % len(writings)], f"{sent:08d}".ljust(size, "."))
                sent += 1
            self.take(0)
        while self.in_flight_bytes:
            self.take(1.0)

    def pace(self, *, hz: float, seconds: float, agents: int | None = None) -> None:
        """Every agent says 100 bytes that begin with the time, `hz` times a second, one agent after another."""
        writings = list(self.writings.values())[:agents]
        gap_s = 1.0 / (hz * len(writings))
        began = taken_at = time.monotonic()
        for number in range(int(seconds / gap_s)):
            due = began + number * gap_s
            # However busy: acknowledgements that nobody takes are dropped, and without beats the hub thinks us dead.
            if time.monotonic() - taken_at >= TAKE_S:
                taken_at = time.monotonic()
                self.take(0)
            while (left := due - time.monotonic()) > 0:
                time.sleep(min(left, 0.01))
            stamp = f"{time.monotonic_ns():0{STAMP_DIGITS}d}"
            self.say(writings[number % len(writings)], stamp.ljust(STAMPED_BYTES, "."))
        while self.in_flight_bytes:
            self.take(1.0)

    def finalize(self) -> None:
        """End every thought, and wait until the hub has said that each has."""
        for writing in self.writings.values():
            message = Finalize(thought=writing.id, length=writing.length, sha256=writing.hash.hexdigest())
            self._socket.send(message.encode())
        while len(self._ended) < len(self.writings):
            self.take(1.0)

    def hashes(self) -> dict[str, str]:
        return {name: writing.hash.hexdigest() for name, writing in self.writings.items()}


def load_main(pipe: Pipe, where: Connection, agents: list[str]) -> None:
    """A Load in a process of its own: takes (method, arguments), answers with the nanoseconds around the call.

    "finalize" answers with the SHA-256 of every thought's text. In between it goes on beating.
    """
    load = Load(where, agents)
    pipe.send(None)
    while True:
        while not pipe.poll(0.05):
            load.take(0)
        method, arguments = pipe.recv()
        began = time.monotonic_ns()
        getattr(load, method)(**arguments)
        pipe.send(load.hashes() if method == "finalize" else (began, time.monotonic_ns()))


@contextlib.contextmanager
def running_load(hub: Hub, agents: list[str]) -> Iterator[Child]:
    """A load whose agents all have their thoughts assigned: the run must have been started."""
    with Child(load_main, hub.where, agents) as child:
        child.ask()
        yield child


# ---- subscribers -----------------------------------------------------------------------------------------------------


def raw_main(pipe: Pipe, live: str) -> None:
    """A bare SUB on everything. Says None once it hears something, then takes events until it is told to stop.

    Answers the largest overhead of a partial, topic and all but its text, in bytes.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = live_sub(context, DEFAULT_LIMITS)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.subscribe(b"")
    socket.connect(live)
    socket.recv_multipart()
    pipe.send(None)
    largest = 0
    while not pipe.poll(0):
        if not socket.poll(100):
            continue
        for _ in range(1_000):
            try:
                topic, body = socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            if topic.endswith(b"/thought.partial/"):
                largest = max(largest, len(topic) + len(body) - len(json.loads(body)["text"]))
    pipe.recv()
    pipe.send(largest)


def stop(subscribers: list[Child]) -> list[int]:
    """Tell bare subscribers that it is over, once what is under way has had a second to arrive."""
    time.sleep(IDLE_S)
    for subscriber in subscribers:
        subscriber.tell(None)
    return [subscriber.ask() for subscriber in subscribers]


def stored_events(where: Connection, run: str) -> list[bytes]:
    """Every event of a run, out of the hub's log."""
    with ControlClient(lambda: where) as client:
        return list(client.pages(Replay(id="r1", run=run), wait_s=60.0))


@dataclass(frozen=True, slots=True)
class Read:
    """What a reader has to say in the end."""

    hashes: dict[str, str]
    gaps_repaired: int
    latencies_ms: list[tuple[int, float]]  # when it was sent, and how long it took


def reader_main(pipe: Pipe, directory: Path, run: str, one_in: int) -> None:
    """The real `Subscription` until the run has ended; the latency of one in so many stamped partials."""
    latencies: list[tuple[int, float]] = []
    count = 0
    with Subscription(run, hub=directory, until_done=True) as subscription:
        ready = False
        while not subscription.follower.done:
            events = subscription.poll(1.0)
            now = time.monotonic_ns()
            for event in events:
                if isinstance(event, Exception):
                    raise event
                if isinstance(event, ThoughtPartial) and event.text[:STAMP_DIGITS].isdigit():
                    count += 1
                    if count % one_in == 0:
                        sent = int(event.text[:STAMP_DIGITS])
                        latencies.append((sent, (now - sent) / 1e6))
            if not ready and subscription.follower.caught_up:
                ready = True
                pipe.send(None)
        finals = subscription.board.runs[run].thoughts.values()
        hashes = {thought.id: thought.text.sha256 for thought in finals if isinstance(thought.final, ThoughtFinalized)}
        pipe.send(Read(hashes, subscription.follower.gaps_repaired, latencies))


@contextlib.contextmanager
def running_readers(hub: Hub, run: str, count: int, *, one_in: int = 1) -> Iterator[list[Child]]:
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(Child(reader_main, hub.directory, run, one_in)) for _ in range(count)]
        for child in children:
            child.ask()
        yield children
