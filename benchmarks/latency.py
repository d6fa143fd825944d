"""How long a partial takes from the worker's send to a subscriber's hands, at 1,000 partials a second.

    python -m benchmarks.latency [--quick] [--directory DIR]

100 agents at 10 Hz, 4 subscribers of the real kind. The text begins with the time it was sent; a subscriber takes the
time once the event is in order. All samples of all subscribers count, but those of the first second.
"""

from __future__ import annotations

import contextlib
import statistics

from benchmarks.harness import (
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

AGENTS = 100
HZ = 10.0
SUBSCRIBERS = 4
GOAL_P50_MS = 2.0
GOAL_P99_MS = 10.0
WARM_UP_S = 1.0


def one_pass(options: Options, seconds: float) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    agents = agent_names(AGENTS)
    with options.directory() as directory, running_hub(directory) as hub, contextlib.ExitStack() as stack:
        run = start_run(hub, agents)
        readers = stack.enter_context(running_readers(hub, run, SUBSCRIBERS))
        load = stack.enter_context(running_load(hub, agents))
        load.tell(("pace", {"hz": HZ, "seconds": WARM_UP_S + seconds}))
        began, _ = load.ask()
        load.tell(("finalize", {}))
        sent = load.ask()
        reads: list[Read] = [reader.ask() for reader in readers]
    if any(read.hashes != sent for read in reads):
        raise RuntimeError("a subscriber's text is not the one that was sent")
    warm = began + WARM_UP_S * 1e9
    samples = [latency for read in reads for at, latency in read.latencies_ms if at > warm]
    return statistics.median(samples), percentile(samples, 99)


def measure(options: Options) -> list[Row]:
    passes, seconds = (3, 4.0) if options.quick else (5, 10.0)
    p50s, p99s = [], []
    for number in range(passes):
        p50, p99 = one_pass(options, seconds)
        note(f"latency {number + 1}/{passes}: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
        p50s.append(p50)
        p99s.append(p99)
    return [
        Row(
            "worker to subscriber at 1,000 partials/s, p50 in ms",
            spread(p50s),
            f"≤ {GOAL_P50_MS:.0f}",
            statistics.median(p50s) <= GOAL_P50_MS,
        ),
        Row("the same, p99 in ms", spread(p99s), f"≤ {GOAL_P99_MS:.0f}", statistics.median(p99s) <= GOAL_P99_MS),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
