"""Durable partials a second through the whole hub, beside a bare forwarder that moves the same bytes.

    python -m benchmarks.throughput [--quick] [--directory DIR]

Two systems of `benchmarks.compare` alone, as fast as they go: 100 agents, partials of 100 bytes, 4 bare SUB sockets.
The hub commits every turn with `synchronous=FULL`; the forwarder is PULL to PUB and keeps nothing. A pass ends when
the last subscriber has the last message. Passes alternate; the ratio is taken pair by pair.
"""

from __future__ import annotations

import statistics

from benchmarks.compare import GOAL_BY_FORWARDER, MIDDLE, flood
from benchmarks.harness import Options, Row, main, note, spread
from benchmarks.peers import FELIXHUB, FORWARDER
from benchmarks.peers.work import Verdict

GOAL_RATE = 20_000
SECONDS_MAX = 60.0


def measure(options: Options) -> list[Row]:
    count, passes = (40_000, 3) if options.quick else (150_000, 5)
    rates: list[float] = []
    ratios: list[float] = []
    verdict, repaired = Verdict(), 0
    for number in range(passes):
        hub = flood(FELIXHUB, options, MIDDLE, count, SECONDS_MAX)
        bare = flood(FORWARDER, options, MIDDLE, count, SECONDS_MAX)
        note(f"throughput {number + 1}/{passes}: hub {hub.rate:,.0f}/s, forwarder {bare.rate:,.0f}/s")
        rates.append(hub.rate)
        ratios.append(hub.rate / bare.rate)
        verdict += hub.verdict
        repaired += hub.repaired
    if not verdict.good:
        raise RuntimeError(f"a subscriber's text is not the one that was sent: {verdict}")
    ratio, rate = statistics.median(ratios), statistics.median(rates)
    return [
        Row(
            f"durable partials/s, {MIDDLE} subscribers ({repaired} live messages lost and repaired, texts identical)",
            spread(rates, 0),
            f"≥ {GOAL_RATE:,}",
            rate >= GOAL_RATE,
        ),
        Row(
            "the same by a bare PULL→PUB forwarder",
            spread(ratios),
            f"≥ {GOAL_BY_FORWARDER:.2f}",
            ratio >= GOAL_BY_FORWARDER,
        ),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
