"""A thousand agents at 10 Hz with four subscribers: nothing is lost, and the hub needs less than one core.

    python -m benchmarks.agents [--quick] [--directory DIR]

One worker hosts all of them. Every subscriber's texts are compared with what was sent by SHA-256; the hub's load is
the CPU seconds of its process with all threads, by wall seconds, while text flows.
"""

from __future__ import annotations

import contextlib

from benchmarks.harness import (
    Options,
    Read,
    Row,
    agent_names,
    cpu_s,
    main,
    note,
    percentile,
    running_hub,
    running_load,
    running_readers,
    start_run,
)

AGENTS = 1_000
HZ = 10.0
SUBSCRIBERS = 4
GOAL_CORES = 1.0


def measure(options: Options) -> list[Row]:
    seconds = 10.0 if options.quick else 60.0
    agents = agent_names(AGENTS)
    with options.directory() as directory, running_hub(directory) as hub, contextlib.ExitStack() as stack:
        run = start_run(hub, agents)
        readers = stack.enter_context(running_readers(hub, run, SUBSCRIBERS, one_in=10))
        load = stack.enter_context(running_load(hub, agents))
        before = cpu_s(hub.pid)
        load.tell(("pace", {"hz": HZ, "seconds": seconds}))
        began, ended = load.ask()
        cores = (cpu_s(hub.pid) - before) / (ended - began) * 1e9
        load.tell(("finalize", {}))
        sent = load.ask()
        reads: list[Read] = [reader.ask() for reader in readers]
    wrong = sum(read.hashes != sent for read in reads)
    repaired = sum(read.gaps_repaired for read in reads)
    took = (ended - began) / 1e9
    p99 = percentile([latency for read in reads for _, latency in read.latencies_ms], 99)
    note(f"agents: {took:.1f} s for {seconds:.0f} s, {cores:.2f} cores, p99 {p99:.1f} ms, {repaired} gaps repaired")
    return [
        Row(
            f"{AGENTS:,} agents, {HZ:.0f} Hz, {seconds:.0f} s ({repaired} gaps repaired): readers with a wrong text",
            f"{wrong} of {SUBSCRIBERS}",
            "0",
            wrong == 0,
        ),
        Row("the same: seconds it took", f"{took:.1f}", f"≤ {seconds + 1:.0f}", took <= seconds + 1),
        Row("the same: cores the hub used", f"{cores:.2f}", f"< {GOAL_CORES:.0f}", cores < GOAL_CORES),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
