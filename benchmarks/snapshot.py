"""A late subscriber's snapshot of 1,000 open thoughts of 20 kB, and what the others notice of it.

    python -m benchmarks.snapshot [--quick] [--directory DIR]

100 of the agents go on at 10 Hz, read by one subscriber. Now and then another one joins with `history=False`; it is
there once its board holds every text. What the first one notices: the p99 of its latencies while a snapshot is under
way, by the p99 of all that lie at least half a second away from one.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

from benchmarks.harness import (
    Child,
    Options,
    Read,
    Row,
    agent_names,
    main,
    note,
    percentile,
    running_hub,
    running_load,
    running_readers,
    spread,
    start_run,
)
from felixhub.transport.subscriber import Subscription

AGENTS = 1_000
STREAMING = 100
HZ = 10.0
TEXT_BYTES = 20_000
PARTIAL_BYTES = 1_000
GOAL_S = 1.5
GOAL_RATIO = 1.2
MARGIN_NS = 500_000_000


def late_main(pipe: Pipe, directory: Path, run: str) -> None:
    """Told to, take a snapshot; answers (nanoseconds at its begin, at its end, bytes of text)."""
    pipe.send(None)
    pipe.recv()
    began = time.monotonic_ns()
    with Subscription(run, hub=directory, history=False) as subscription:
        while not subscription.follower.caught_up or run not in subscription.board.runs:
            subscription.poll(0.01)
        ended = time.monotonic_ns()
        size = sum(thought.size for thought in subscription.board.runs[run].thoughts.values())
    pipe.send((began, ended, size))


def measure(options: Options) -> list[Row]:
    rounds, pause_s = (8, 1.0) if options.quick else (20, 2.0)
    agents = agent_names(AGENTS)
    snapshots: list[tuple[int, int]] = []
    with options.directory() as directory, running_hub(directory) as hub, contextlib.ExitStack() as stack:
        run = start_run(hub, agents)
        load = stack.enter_context(running_load(hub, agents))
        load.tell(("flood", {"count": AGENTS * TEXT_BYTES // PARTIAL_BYTES, "size": PARTIAL_BYTES, "window": 2_000}))
        load.ask()
        (reader,) = stack.enter_context(running_readers(hub, run, 1))
        seconds = rounds * (pause_s + GOAL_S)
        load.tell(("pace", {"hz": HZ, "seconds": seconds + 2.0, "agents": STREAMING}))
        for number in range(rounds):
            with Child(late_main, directory, run) as late:
                late.ask()
                time.sleep(pause_s)
                late.tell(None)
                began, ended, size = late.ask()
            if size < AGENTS * TEXT_BYTES:
                raise RuntimeError(f"the snapshot has {size} bytes of text")
            note(f"snapshot {number + 1}/{rounds}: {(ended - began) / 1e9:.2f} s for {size / 1e6:.0f} MB")
            snapshots.append((began, ended))
        began, _ = load.ask()
        load.tell(("finalize", {}))
        sent = load.ask()
        read: Read = reader.ask()
    if read.hashes != sent:
        raise RuntimeError("the subscriber's text is not the one that was sent")
    during = [ms for at, ms in read.latencies_ms if any(one <= at <= two for one, two in snapshots)]
    beside = [
        ms
        for at, ms in read.latencies_ms
        if at > began + 2 * MARGIN_NS and not any(one - MARGIN_NS <= at <= two + MARGIN_NS for one, two in snapshots)
    ]
    took = [(two - one) / 1e9 for one, two in snapshots]
    p99, without = percentile(during, 99), percentile(beside, 99)
    note(f"snapshot: p99 {p99:.2f} ms during ({len(during)} samples), {without:.2f} ms beside ({len(beside)})")
    return [
        Row(
            f"snapshot of {AGENTS:,} open thoughts of {TEXT_BYTES // 1000} kB, in s",
            spread(took),
            f"< {GOAL_S}",
            statistics.median(took) < GOAL_S,
        ),
        Row(
            "the live path's p99 meanwhile, by its p99 otherwise",
            f"{p99 / without:.2f} ({p99:.1f} ms by {without:.1f} ms)",
            f"≤ {GOAL_RATIO}",
            p99 <= GOAL_RATIO * without,
        ),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
