"""What a partial costs while subscribers, agents, thoughts and the log grow tenfold, three times; and what memory.

    python -m benchmarks.growth [--quick] [--directory DIR]

One thing grows at a time, and text is paced: so many partials a second, whatever the size. Then all at once:

25 agents write 4 MB each in partials of 100 bytes: a million of them, as fast as they are acknowledged. Cost is the
CPU of the hub's process (its threads and the kernel's work for it too) by partial, for each tenth of the way. With
--quick the thoughts grow as long, but only three of them, the log holds 120,000 events, and of the four tables the
last step is left out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import statistics
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe

import zmq

from benchmarks.compare import MIDDLE, pace, session
from benchmarks.harness import (
    Child,
    Options,
    Outcome,
    Panel,
    Row,
    Table,
    agent_names,
    cpu_ns,
    cpu_s,
    main,
    note,
    percentile,
    raw_main,
    rss_bytes,
    running_hub,
    running_load,
    start_run,
    stop,
)
from benchmarks.peers import FELIXHUB, FELIXHUB_APART, FORWARDER
from benchmarks.peers.hub import partials_of
from benchmarks.peers.peer import Peer, publisher_main
from benchmarks.peers.work import Tally, latencies_ms

STEPS = 10
PARTIAL_BYTES = 100
PARTIALS_EACH = 40_000
WINDOW = 4_000
MB = 1e6
GOAL_DRIFT = 0.15
GOAL_OVERHEAD_BYTES = 300
LINGER_S = 1.0

TENFOLD = (1, 10, 100, 1_000)
CROWD_AGENTS = 2  # one process reads a thousand sockets: 20,000 messages a second are what it can take
LENGTH_AGENTS = 10
LENGTH_BYTES = 4_000  # of a thought, at first
LOG_AGENTS = 100
LOG_EVENTS = 1_000  # at first
LOG_HZ = 2.0
HZ = 10.0
WARM_UP_S = 0.5
PATIENCE_S = 180.0
POLL_MS = 20
TOPIC_END = b"/thought.partial/"


# ---- one thing at a time ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One size of one thing. CPU of the server in microseconds by partial, its memory in MB, latencies in ms."""

    size: int
    rate: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    rss_mb: float
    lost: int


def tenfold(options: Options) -> Outcome:
    sizes = TENFOLD[:-1] if options.quick else TENFOLD
    seconds = 2.0 if options.quick else 5.0
    found: dict[tuple[str, str], list[Step]] = {}

    def take(what: str, peer: Peer, steps: Callable[[], list[Step]]) -> None:
        found[what, peer.name] = steps()
        for step in found[what, peer.name]:
            note(f"growth: {peer.name}, {step.size:,} {what}: {step.cpu_us:.0f} µs, p99 {step.p99_ms:.2f} ms")

    for peer in (FELIXHUB, FORWARDER):
        take("subscribers", peer, lambda peer=peer: [crowd(peer, options, size, seconds) for size in sizes])  # type: ignore[misc]
        take("agents", peer, lambda peer=peer: [team(peer, options, size, seconds) for size in sizes])  # type: ignore[misc]
    lengths = [LENGTH_BYTES * size for size in sizes]
    take("bytes of each thought", FELIXHUB, lambda: lengthening(options, lengths, LENGTH_AGENTS, HZ, seconds))
    events = [LOG_EVENTS * size for size in sizes]
    each = [PARTIAL_BYTES * count // LOG_AGENTS for count in events]
    take(
        "events in the log",
        FELIXHUB,
        lambda: [
            dataclasses.replace(step, size=count)
            for step, count in zip(lengthening(options, each, LOG_AGENTS, LOG_HZ, seconds), events, strict=True)
        ],
    )
    tables = [_table(what, name, steps) for (what, name), steps in found.items()]
    lines = {
        what: [(step.size / steps[0].size, step.cpu_us) for step in steps]
        for (what, name), steps in found.items()
        if name == FELIXHUB.name
    }
    panel = Panel(
        "What a partial costs the hub while things grow", "CPU µs by partial", lines=lines, across="growth, ×"
    )
    return Outcome(tables=_side_by_side(tables), panels=[panel])


def _table(what: str, name: str, steps: list[Step]) -> Table:
    rows = [
        [
            name,
            f"{step.size:,}",
            f"{step.rate:,.0f}",
            f"{step.cpu_us:,.0f}",
            f"{step.p50_ms:.2f}",
            f"{step.p99_ms:.2f}",
            f"{step.rss_mb:,.0f}",
            f"{step.lost:,}",
        ]
        for step in steps
    ]
    columns = [
        "system",
        what,
        "partials/s",
        "server's CPU µs by partial",
        "p50 in ms",
        "p99 in ms",
        "server's memory, MB",
        "lost",
    ]
    remarks = {
        "agents": "With few partials a second the CPU is mostly what a hub costs that has nothing to do.",
        "subscribers": "All sockets are read by one process, whose time for all copies of a partial is in the latency.",
    }
    return Table(f"Growth: {what}", columns, rows, remarks.get(what, ""))


def _side_by_side(tables: list[Table]) -> list[Table]:
    """Tables with the same title as one."""
    joined: dict[str, Table] = {}
    for one in tables:
        rows = joined[one.title].rows + one.rows if one.title in joined else one.rows
        joined[one.title] = dataclasses.replace(one, rows=rows)
    return list(joined.values())


def crowd_main(pipe: Pipe, live: str, count: int) -> None:
    """So many SUB sockets in one process. Answers how often each partial is missing, and the latencies of all."""
    _allow_files()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, count + 10)
    poller = zmq.Poller()
    subscribers = [context.socket(zmq.SUB) for _ in range(count)]
    for subscriber in subscribers:
        subscriber.setsockopt(zmq.RCVHWM, 0)
        subscriber.subscribe(b"")
        subscriber.connect(live)
        poller.register(subscriber, zmq.POLLIN)
    for subscriber in subscribers:  # A hub says something once a second: hear it after all have connected.
        subscriber.recv_multipart()
    tally = Tally(pipe)
    tally.partials_of = partials_of
    tally.ready()
    while not tally.over():
        for subscriber, _ in poller.poll(POLL_MS):
            topic, body = subscriber.recv_multipart()
            if topic.endswith(TOPIC_END):
                tally.take(body)
    total = pipe.recv()
    received = [FELIXHUB.read(raw) for raw in tally.raws]
    copies = Counter(tally.raws)
    given = sum(min(number, count) * partials_of(raw) for raw, number in copies.items())
    pipe.send((total * count - given, latencies_ms(received, tally.times_ns)))


def crowd(peer: Peer, options: Options, count: int, seconds: float) -> Step:
    """So many subscribers of two agents at 10 Hz."""
    _allow_files()
    with options.directory() as directory, contextlib.ExitStack() as stack:
        server = stack.enter_context(peer.server(directory))
        live = server.address[1] if peer is FORWARDER else server.address.live
        listening = stack.enter_context(Child(crowd_main, live, count, start="fork"))
        listening.ask()
        server.begin(CROWD_AGENTS)
        publisher = stack.enter_context(Child(publisher_main, peer, server.address, CROWD_AGENTS, start="fork"))
        publisher.ask()
        before = sum(map(cpu_ns, server.pids))
        publisher.tell(("pace", {"hz": HZ, "seconds": WARM_UP_S + seconds}))
        began, _ = publisher.ask()
        publisher.tell(("sent", {}))
        sent = sum(one.partials for one in publisher.ask().values())
        listening.tell(sent * count)
        cost = sum(map(cpu_ns, server.pids)) - before
        rss = sum(map(rss_bytes, server.pids))
        listening.tell(sent)
        lost, samples = listening.ask(patience_s=PATIENCE_S)
    warm = [ms for at, ms in samples if at > began + WARM_UP_S * 1e9]
    return Step(
        count,
        CROWD_AGENTS * HZ,
        cost / sent / 1e3,
        statistics.median(warm),
        percentile(warm, 99),
        rss / MB,
        lost,
    )


def team(peer: Peer, options: Options, agents: int, seconds: float) -> Step:
    """So many agents at 10 Hz, four subscribers."""
    one = pace(peer, options, MIDDLE, seconds, agents=agents, first=False)
    return Step(agents, agents * HZ, one.server_cpu_us, one.p50_ms, one.p99_ms, one.server_rss_mb, one.verdict.lost)


def lengthening(options: Options, lengths: list[int], agents: int, hz: float, seconds: float) -> list[Step]:
    """So many agents whose thoughts grow to each length in bytes, as fast as it goes; paced text at each of them."""
    steps, times = [], []
    with session(FELIXHUB_APART, options, 1, agents) as one:  # An event for each partial: it is events that grow.
        length = 0
        for goal in lengths:
            count = max(0, goal - length) * agents // PARTIAL_BYTES
            one.do("flood", count=count, seconds_max=PATIENCE_S)
            time.sleep(WARM_UP_S)
            before = one.server_cpu_ns()
            times.append(one.do("pace", hz=hz, seconds=seconds))
            paced = int(seconds * hz * agents)
            cost = (one.server_cpu_ns() - before) / paced / 1e3
            rss = sum(map(rss_bytes, one.server.pids)) / MB
            steps.append(Step(goal, agents * hz, cost, 0.0, 0.0, rss, 0))
            length = max(goal, length) + paced * PARTIAL_BYTES // agents
        _, _, sent = one.finish()
        (heard,) = one.heard(sent)
    if not heard.verdict.good:
        raise RuntimeError(f"the subscriber's text is not the one that was sent: {heard.verdict}")
    finished = []
    for step, (began, ended) in zip(steps, times, strict=True):
        samples = [ms for at, ms in heard.latencies_ms if began <= at <= ended]
        p50, p99 = statistics.median(samples), percentile(samples, 99)
        finished.append(dataclasses.replace(step, p50_ms=p50, p99_ms=p99))
    return finished


def _allow_files() -> None:
    """As many descriptors as the system lets us have: each subscriber takes some."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# ---- all at once -----------------------------------------------------------------------------------------------------


def measure(options: Options) -> Outcome:
    outcome = tenfold(options)
    outcome.rows = drift(options)
    return outcome


def drift(options: Options) -> list[Row]:
    agents = agent_names(3 if options.quick else 25)
    step = len(agents) * PARTIALS_EACH // STEPS
    limits = dataclasses.replace(FELIXHUB_APART.limits, run_linger_s=LINGER_S)  # An event for each partial.
    costs, memory = [], []
    with options.directory() as directory, running_hub(directory, limits) as hub, contextlib.ExitStack() as stack:
        subscriber = stack.enter_context(Child(raw_main, hub.where.live))
        subscriber.ask()
        at_first = rss_bytes(hub.pid)
        start_run(hub, agents)
        load = stack.enter_context(running_load(hub, agents))
        for number in range(1, STEPS + 1):
            before = cpu_s(hub.pid)
            load.tell(("flood", {"count": step, "size": PARTIAL_BYTES, "window": WINDOW}))
            load.ask()
            costs.append((cpu_s(hub.pid) - before) / step * 1e6)
            memory.append((rss_bytes(hub.pid), number * step * PARTIAL_BYTES))
            note(f"growth {number}/{STEPS}: {costs[-1]:.1f} µs a partial, {memory[-1][0] / MB:.0f} MB")
        load.tell(("finalize", {}))
        load.ask()
        [largest] = stop([subscriber])
        time.sleep(LINGER_S + 1.0)
        at_last = rss_bytes(hub.pid)
    third = STEPS // 3
    drift = statistics.median(costs[-third:]) / statistics.median(costs[:third])
    resident, text = max(memory, key=lambda one: one[0] - 3 * one[1])
    goal = 3 * text + 100 * MB
    events, kept = len(agents) * PARTIALS_EACH, at_last - at_first
    return [
        Row(
            f"CPU of a partial in µs, thoughts growing to 4 MB and the log to {events:,} events",
            f"{statistics.median(costs):.1f} ({min(costs):.1f} to {max(costs):.1f})",
            "—",
            None,
        ),
        Row(
            "the same, the last third by the first",
            f"{drift:.2f}",
            f"{1 - GOAL_DRIFT:.2f} to {1 + GOAL_DRIFT:.2f}",
            abs(drift - 1) <= GOAL_DRIFT,
        ),
        Row(
            "the hub's memory in MB",
            f"{resident / MB:.0f} with {text / MB:.0f} of text",
            f"≤ {goal / MB:.0f}",
            resident <= goal,
        ),
        Row("the same after the run has left, beyond before it", f"{kept / MB:.0f}", "≤ 100", kept <= 100 * MB),
        Row(
            "bytes on the live wire beside a partial's text, at most",
            f"{largest}",
            f"≤ {GOAL_OVERHEAD_BYTES}",
            largest <= GOAL_OVERHEAD_BYTES,
        ),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
