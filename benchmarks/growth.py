"""What a partial costs the hub while thoughts grow to 4 MiB and the log to a million events, and what memory it takes.

    python -m benchmarks.growth [--quick] [--directory DIR]

25 agents write 4 MB each in partials of 100 bytes: a million of them, as fast as they are acknowledged. Cost is the
CPU of the hub's process (its threads and the kernel's work for it too) by partial, for each tenth of the way. With
--quick the thoughts grow as long, but only three of them, and the log holds 120,000 events.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import time

from benchmarks.harness import (
    Child,
    Options,
    Row,
    agent_names,
    cpu_s,
    main,
    note,
    raw_main,
    rss_bytes,
    running_hub,
    running_load,
    start_run,
    stop,
)
from felixhub.core.limits import DEFAULT_LIMITS

STEPS = 10
PARTIAL_BYTES = 100
PARTIALS_EACH = 40_000
WINDOW = 4_000
MB = 1e6
GOAL_DRIFT = 0.15
GOAL_OVERHEAD_BYTES = 300
LINGER_S = 1.0


def measure(options: Options) -> list[Row]:
    agents = agent_names(3 if options.quick else 25)
    step = len(agents) * PARTIALS_EACH // STEPS
    limits = dataclasses.replace(DEFAULT_LIMITS, run_linger_s=LINGER_S)
    costs, memory = [], []
    with options.directory() as directory, running_hub(directory, limits) as hub, contextlib.ExitStack() as stack:
        subscriber = stack.enter_context(Child(raw_main, hub.where.live, False))
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
        [(_, _, largest)] = stop([subscriber])
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
            True,
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
            f"{largest - PARTIAL_BYTES}",
            f"≤ {GOAL_OVERHEAD_BYTES}",
            largest - PARTIAL_BYTES <= GOAL_OVERHEAD_BYTES,
        ),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
