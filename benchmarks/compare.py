"""FelixHub beside what one would take instead, in one run: the same work, the same checks, every system interleaved.

    python -m benchmarks.compare [--quick] [--directory DIR]

Each system is a real server in a process of its own; the publisher and every subscriber are processes of their own.
A pass goes through all systems before the next one begins, since the machine is not equally busy all the time.
What each is set up like, and by whose recommendation, is said in its module in `benchmarks/peers`.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness import (
    Bar,
    Child,
    Options,
    Outcome,
    Panel,
    Row,
    Table,
    cpu_ns,
    fsync_ms,
    main,
    note,
    percentile,
    rss_bytes,
    spread,
)
from benchmarks.peers import FELIXHUB, FORWARDER, JETSTREAM_ALWAYS, PEERS, REDIS_STREAMS
from benchmarks.peers.peer import Heard, Peer, Server, publisher_main, subscriber_main
from benchmarks.peers.work import Verdict

AGENTS = 100
HZ = 10.0
SUBSCRIBERS = (1, 4, 32)
MIDDLE = 4  # subscribers, for latency and for the goals
WARM_UP_S = 1.0
PATIENCE_S = 180.0
MB = 1e6
GOAL_BY_JETSTREAM = 5.0
GOAL_BY_REDIS = 1.0
GOAL_BY_FORWARDER = 0.5
GOAL_P99_BY_FORWARDER = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything."""

    passes: int
    counts: dict[int, int]  # partials of a flood, by subscribers
    flood_s_max: float
    pace_s: float
    fsyncs: int


FULL = Plan(passes=5, counts={1: 60_000, 4: 40_000, 32: 8_000}, flood_s_max=4.0, pace_s=6.0, fsyncs=200)
QUICK = Plan(passes=1, counts={1: 10_000, 4: 10_000, 32: 1_000}, flood_s_max=1.5, pace_s=3.0, fsyncs=100)


# ---- one system, once ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Session:
    """A server, a publisher and subscribers, all listening."""

    peer: Peer
    server: Server
    publisher: Child
    subscribers: list[Child]
    begun: Any

    def do(self, method: str, **arguments: Any) -> tuple[int, int]:
        """Let the publisher do it; the nanoseconds at which it began and ended."""
        self.publisher.tell((method, arguments))
        began, ended = self.publisher.ask(patience_s=PATIENCE_S)
        return began, ended

    def server_cpu_ns(self) -> int:
        return sum(map(cpu_ns, self.server.pids))

    def cpu_ns(self) -> int:
        return self.server_cpu_ns() + sum(cpu_ns(child.pid) for child in (self.publisher, *self.subscribers))

    def finish(self) -> tuple[int, int, Any]:
        """Wait for the last message: (how many were sent, nanoseconds of the last subscriber's last, what was sent)."""
        self.publisher.tell(("sent", {}))
        sent = self.publisher.ask()
        count = sum(one.partials for one in sent.values())
        for subscriber in self.subscribers:
            subscriber.tell(count)
        last = max(at for _, at in (subscriber.ask(patience_s=PATIENCE_S) for subscriber in self.subscribers))
        return count, last, sent

    def heard(self, sent: Any) -> list[Heard]:
        """Let every subscriber compare its texts with what was sent."""
        for subscriber in self.subscribers:
            subscriber.tell((sent, self.begun))
        return [subscriber.ask(patience_s=PATIENCE_S) for subscriber in self.subscribers]


@contextlib.contextmanager
def session(peer: Peer, options: Options, subscribers: int, agents: int = AGENTS) -> Iterator[Session]:
    with options.directory() as directory, contextlib.ExitStack() as stack:
        server = stack.enter_context(peer.server(directory))
        children = [
            stack.enter_context(Child(subscriber_main, peer, server.address, start="fork")) for _ in range(subscribers)
        ]
        for child in children:
            child.ask()
        begun = server.begin(agents)
        publisher = stack.enter_context(Child(publisher_main, peer, server.address, agents, start="fork"))
        publisher.ask()
        yield Session(peer, server, publisher, children, begun)


@dataclass(frozen=True, slots=True)
class Flood:
    """As fast as it goes. CPU in microseconds by message sent."""

    rate: float  # partials a second, until the last subscriber has the last
    count: int
    cpu_us: float
    server_cpu_us: float
    server_rss_mb: float
    verdict: Verdict
    repaired: int


def flood(peer: Peer, options: Options, subscribers: int, count: int, seconds_max: float) -> Flood:
    with session(peer, options, subscribers) as one:
        cpu, server_cpu = one.cpu_ns(), one.server_cpu_ns()
        began, ended = one.do("flood", count=min(count, peer.deliveries_max // subscribers), seconds_max=seconds_max)
        count, last, sent = one.finish()
        cpu, server_cpu = one.cpu_ns() - cpu, one.server_cpu_ns() - server_cpu
        rss = sum(map(rss_bytes, one.server.pids))
        heard = one.heard(sent)
    # A publisher that has to wait until its messages are safe is not done before they are.
    seconds = (max(last, ended if peer.durable != "no" else 0) - began) / 1e9
    return Flood(
        count / seconds,
        count,
        cpu / count / 1e3,
        server_cpu / count / 1e3,
        rss / MB,
        sum((each.verdict for each in heard), Verdict()),
        sum(each.repaired for each in heard),
    )


@dataclass(frozen=True, slots=True)
class Paced:
    """1,000 partials a second: latencies in milliseconds, CPU in microseconds by message sent."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    first_p50_ms: float
    first_p99_ms: float
    cpu_us: float
    server_cpu_us: float
    server_rss_mb: float
    verdict: Verdict
    repaired: int


def pace(
    peer: Peer, options: Options, subscribers: int, seconds: float, *, agents: int = AGENTS, first: bool = True
) -> Paced:
    with session(peer, options, subscribers, agents) as one:
        if first:
            one.do("first_tokens")
        cpu, server_cpu = one.cpu_ns(), one.server_cpu_ns()
        began, _ = one.do("pace", hz=HZ, seconds=WARM_UP_S + seconds)
        _, _, sent = one.finish()
        cpu, server_cpu = one.cpu_ns() - cpu, one.server_cpu_ns() - server_cpu
        rss = sum(map(rss_bytes, one.server.pids))
        heard = one.heard(sent)
    count = int((WARM_UP_S + seconds) * HZ * agents)
    samples = [sample for each in heard for sample in each.latencies_ms]
    warm = [ms for at, ms in samples if at > began + WARM_UP_S * 1e9]
    firsts = [ms for at, ms in samples if at < began] or [float("nan")] * 2
    return Paced(
        statistics.median(warm),
        percentile(warm, 99),
        percentile(warm, 99.9),
        statistics.median(firsts),
        percentile(firsts, 99),
        cpu / count / 1e3,
        server_cpu / count / 1e3,
        rss / MB,
        sum((each.verdict for each in heard), Verdict()),
        sum(each.repaired for each in heard),
    )


# ---- all of them -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Results:
    """Every pass of every system that is installed, by its name."""

    plan: Plan
    floods: dict[str, dict[int, list[Flood]]] = field(default_factory=dict)
    paces: dict[str, list[Paced]] = field(default_factory=dict)
    fsyncs_ms: list[float] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def rates(self, peer: Peer, subscribers: int = MIDDLE) -> list[float]:
        return [one.rate for one in self.floods.get(peer.name, {}).get(subscribers, [])]


def measure_all(options: Options, peers: tuple[Peer, ...] = PEERS, plan: Plan | None = None) -> Results:
    plan = plan or (QUICK if options.quick else FULL)
    results = Results(plan)
    for peer in peers:
        without = peer.missing()
        if without is not None:
            results.missing[peer.name] = without
            note(f"compare: {peer.name} is not installed: {without}")
        else:
            results.versions[peer.name] = peer.versions()
    there = [peer for peer in peers if peer.name not in results.missing]
    for number in range(plan.passes):
        for subscribers, count in plan.counts.items():
            for peer in there:
                with _noting_failure(results, peer):
                    one = flood(peer, options, subscribers, count, plan.flood_s_max)
                    results.floods.setdefault(peer.name, {}).setdefault(subscribers, []).append(one)
                    note(
                        f"compare {number + 1}/{plan.passes}: {peer.name}, {subscribers} subscribers: "
                        f"{one.rate:,.0f}/s of {one.count:,}, {one.cpu_us:.0f} µs ({one.server_cpu_us:.0f} server), "
                        f"{one.verdict.lost} lost, {one.repaired} repaired"
                    )
        for peer in there:
            # The disk is not equally busy all the time either, and a hub commits about as often as this.
            with options.directory() as directory:
                results.fsyncs_ms += fsync_ms(directory, count=plan.fsyncs, gap_s=1.0 / (AGENTS * HZ))
            with _noting_failure(results, peer):
                paced = pace(peer, options, MIDDLE, plan.pace_s)
                results.paces.setdefault(peer.name, []).append(paced)
                note(
                    f"compare {number + 1}/{plan.passes}: {peer.name}: p50 {paced.p50_ms:.2f}, p99 {paced.p99_ms:.2f}, "
                    f"p99.9 {paced.p999_ms:.2f} ms, first token {paced.first_p50_ms:.2f} ms, {paced.cpu_us:.0f} µs"
                )
    return results


@contextlib.contextmanager
def _noting_failure(results: Results, peer: Peer) -> Iterator[None]:
    # One system that fails must not cost the others their figures; it is named in the table instead.
    began = time.monotonic()
    try:
        yield
    except (TimeoutError, EOFError, OSError, RuntimeError) as error:
        results.failed[peer.name] = f"{type(error).__name__}: {error}".splitlines()[0]
        note(f"compare: {peer.name} failed after {time.monotonic() - began:.0f} s: {results.failed[peer.name]}")


# ---- what is said of it ----------------------------------------------------------------------------------------------


def measure(options: Options) -> Outcome:
    results = measure_all(options)
    return Outcome(
        rows=goals(results),
        tables=[throughput_table(results), latency_table(results)],
        panels=panels(results),
        versions=sorted({one for named in results.versions.values() for one in named.split(", ")}),
    )


def goals(results: Results) -> list[Row]:
    rows = [
        _by(results, JETSTREAM_ALWAYS, GOAL_BY_JETSTREAM),
        _by(results, REDIS_STREAMS, GOAL_BY_REDIS),
        _by(results, FORWARDER, GOAL_BY_FORWARDER),
        _latency_goal(results),
    ]
    ours = [one for by in results.floods.get(FELIXHUB.name, {}).values() for one in by]
    paces = results.paces.get(FELIXHUB.name, [])
    verdict = sum((one.verdict for one in (*ours, *paces)), Verdict())
    repaired = sum(one.repaired for one in (*ours, *paces))
    return [
        *rows,
        Row(
            f"FelixHub, all passes: partials lost, doubled, thoughts with a wrong text ({repaired} came by replay)",
            f"{verdict.lost}, {verdict.doubled}, {verdict.wrong_thoughts}",
            "0, 0, 0",
            verdict.good if ours or paces else None,
        ),
    ]


def _by(results: Results, peer: Peer, goal: float) -> Row:
    """FelixHub's throughput by another's, pass by pass."""
    what = f"durable partials/s, {MIDDLE} subscribers, by those of {peer.name}"
    ours, theirs = results.rates(FELIXHUB), results.rates(peer)
    if not ours or not theirs:
        return Row(what, _why(results, peer) if not theirs else "not measured", f"≥ {goal:g}", None)
    if len(ours) == len(theirs):
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    else:  # A pass of one of them failed: the others are no pairs any more.
        ratios = [statistics.median(ours) / statistics.median(theirs)]
    return Row(what, spread(ratios), f"≥ {goal:g}", statistics.median(ratios) >= goal)


def _latency_goal(results: Results) -> Row:
    what = f"latency at {AGENTS * HZ:,.0f} partials/s, {MIDDLE} subscribers, p99 in ms"
    ours, theirs = results.paces.get(FELIXHUB.name), results.paces.get(FORWARDER.name)
    if not ours or not theirs:
        return Row(what, "not measured", "—", None)
    fsync = percentile(results.fsyncs_ms, 99)
    bare = statistics.median(one.p99_ms for one in theirs)
    goal = GOAL_P99_BY_FORWARDER * bare + fsync
    return Row(
        what,
        spread([one.p99_ms for one in ours]),
        f"≤ {goal:.2f} ({GOAL_P99_BY_FORWARDER:g} × the forwarder's {bare:.2f} and one fsync, p99 {fsync:.2f})",
        statistics.median(one.p99_ms for one in ours) <= goal,
    )


def _why(results: Results, peer: Peer) -> str:
    """Why a system has no figures."""
    if peer.name in results.missing:
        return f"not installed: {results.missing[peer.name]}"
    return f"failed: {results.failed[peer.name]}" if peer.name in results.failed else "not measured"


def throughput_table(results: Results) -> Table:
    columns = ["partials/s as fast as it goes", "safe when acknowledged", "under way"]
    columns += [f"{count} subscriber{'s' * (count > 1)}" for count in results.plan.counts]
    columns += [f"CPU µs by partial, {MIDDLE} subscribers: all processes", "server", "server's memory, MB", "lost"]
    rows = []
    for peer in PEERS:
        by = results.floods.get(peer.name, {})
        row = [_name(peer), peer.durable, peer.window]
        row += [spread([one.rate for one in by[count]], 0) if by.get(count) else "—" for count in results.plan.counts]
        middle = by.get(MIDDLE)
        if not middle:
            rows.append([*row[:3], _why(results, peer), *["—"] * (len(columns) - 4)])
            continue
        row += [
            _median(middle, lambda one: one.cpu_us, 0),
            _median(middle, lambda one: one.server_cpu_us, 1),
            f"{_median(middle, lambda one: one.server_rss_mb, 0)} after {_median(middle, lambda one: one.count, 0)}",
            _lost([one for each in by.values() for one in each]) + _failed(results, peer),
        ]
        rows.append(row)
    return Table(
        "Side by side: throughput",
        columns,
        rows,
        f"{AGENTS} agents, one publisher, partials of 100 bytes of text. Time ends when the last subscriber has the "
        "last partial and, where the system keeps them, the publisher has the last acknowledgement. Memory is the "
        "server's resident set after so many partials.",
    )


def latency_table(results: Results) -> Table:
    columns = [
        f"{AGENTS * HZ:,.0f} partials/s, {MIDDLE} subscribers",
        "p50 in ms",
        "p99 in ms",
        "p99.9 in ms",
        "CPU µs by partial: all processes",
        "server",
        "first token, idle system: p50 in ms",
        "p99 in ms",
        "lost",
    ]
    rows = []
    for peer in PEERS:
        paces = results.paces.get(peer.name)
        if not paces:
            rows.append([_name(peer), _why(results, peer), *["—"] * (len(columns) - 2)])
            continue
        rows.append(
            [
                _name(peer),
                spread([one.p50_ms for one in paces]),
                spread([one.p99_ms for one in paces]),
                spread([one.p999_ms for one in paces]),
                _median(paces, lambda one: one.cpu_us, 0),
                _median(paces, lambda one: one.server_cpu_us, 0),
                _median(paces, lambda one: one.first_p50_ms, 2),
                _median(paces, lambda one: one.first_p99_ms, 2),
                _lost(paces) + _failed(results, peer),
            ]
        )
    fsyncs = results.fsyncs_ms
    return Table(
        "Side by side: latency",
        columns,
        rows,
        "Latency is from the time a partial was due at the publisher to the subscriber having it, all samples of all "
        "subscribers but those of the first second. A system that cannot keep up with 1,000 partials/s shows how far "
        f"behind it was. An fsync on this disk, measured in the same run, takes {statistics.median(fsyncs):.2f} ms "
        f"(p99 {percentile(fsyncs, 99):.2f} ms of {len(fsyncs)}).",
    )


def panels(results: Results) -> list[Panel]:
    rates, delays = [], []
    for peer in PEERS:
        label, ours = f"{peer.name}{'' if peer.durable == 'no' else ' *'}", peer.name == FELIXHUB.name
        if results.rates(peer):
            rates.append(Bar(label, statistics.median(results.rates(peer)), ours))
        if paces := results.paces.get(peer.name):
            delays.append(Bar(label, statistics.median(one.p99_ms for one in paces), ours))
    return [
        Panel(f"Throughput, {MIDDLE} subscribers", "partials/s, more is better (* keeps them on disk)", rates),
        Panel(
            f"Latency at {AGENTS * HZ:,.0f} partials/s, p99",
            "ms, less is better (* keeps them on disk)",
            delays,
            log=True,
        ),
    ]


def _name(peer: Peer) -> str:
    return f"**{peer.name}**" if peer.name == FELIXHUB.name else peer.name


def _median(passes: list[Any], of: Callable[[Any], float], digits: int) -> str:
    middle = statistics.median(map(of, passes))
    return "—" if math.isnan(middle) else f"{middle:,.{digits}f}"


def _lost(passes: list[Flood] | list[Paced]) -> str:
    verdict = sum((one.verdict for one in passes), Verdict())
    repaired = sum(one.repaired for one in passes)
    parts = [f"{verdict.lost:,}"]
    if repaired:
        parts.append(f"{repaired:,} repaired by replay")
    if verdict.doubled:
        parts.append(f"{verdict.doubled:,} doubled")
    if verdict.wrong_thoughts:
        parts.append(f"{verdict.wrong_thoughts:,} wrong texts")
    return ", ".join(parts)


def _failed(results: Results, peer: Peer) -> str:
    return f"; a pass failed: {results.failed[peer.name]}" if peer.name in results.failed else ""


if __name__ == "__main__":
    main(measure, __doc__)
