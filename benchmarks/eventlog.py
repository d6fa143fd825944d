"""How fast the event log commits durably, by batch size, by how many runs interleave, and as it grows.

    python benchmarks/eventlog.py [--quick] [--directory DIR]

Owns: the figures the speed claims about the log rest on. Must not: be imported. Records carry 220 bytes, about one
batch of a thought's text. DIR must be on the disk to be measured: a tmpfs has no fsync to speak of.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from felixhub.eventlog import Record
from felixhub.eventlog.sqlite import SqliteLog

BODY = b"x" * 220
BATCH_SIZES = (1, 32, 256)


def batches(*, first_seq: int, count: int, size: int, runs: int) -> list[list[Record]]:
    """`count` batches whose records interleave over `runs` runs; one in 50 is no partial."""
    return [
        [
            Record(f"run-{seq * 7919 % runs}", seq, None if seq % 50 == 0 else "thought-0123456789", BODY)
            for seq in range(start, start + size)
        ]
        for start in range(first_seq, first_seq + count * size, size)
    ]


def commit_all(log: SqliteLog, work: list[list[Record]]) -> tuple[float, float]:
    """Seconds in total, and the longest single commit."""
    longest_s = 0.0
    start = time.perf_counter()
    for batch in work:
        before = time.perf_counter()
        log.commit(batch)
        longest_s = max(longest_s, time.perf_counter() - before)
    return time.perf_counter() - start, longest_s


def by_batch_size(parent: Path, *, seconds: float) -> None:
    print("batch   runs     commits/s     records/s   longest commit")
    for runs in (1, 50):
        for size in BATCH_SIZES:
            with tempfile.TemporaryDirectory(dir=parent) as directory:
                log = SqliteLog.open(Path(directory))
                commits, spent_s, longest_s = 0, 0.0, 0.0
                while spent_s < seconds:
                    chunk = max(1, 4096 // size)
                    work = batches(first_seq=log.tip() + 1, count=chunk, size=size, runs=runs)
                    chunk_s, chunk_longest_s = commit_all(log, work)
                    commits, spent_s, longest_s = commits + chunk, spent_s + chunk_s, max(longest_s, chunk_longest_s)
                log.close()
            rate = commits / spent_s
            print(f"{size:5} {runs:6} {rate:13,.0f} {rate * size:13,.0f} {longest_s * 1e3:13.1f} ms", flush=True)


def by_log_size(parent: Path, *, records_max: int, runs: int = 20) -> None:
    print(f"\n records in the log ({runs} runs)   batch 1: commits/s   batch 32: records/s   batch 256: records/s")
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        log = SqliteLog.open(Path(directory))
        for step in range(1, 11):
            rates = []
            for size, count in ((1, 1000), (32, 200)):
                spent_s, _ = commit_all(log, batches(first_seq=log.tip() + 1, count=count, size=size, runs=runs))
                rates.append(count * size / spent_s)
            count = (records_max * step // 10 - log.tip()) // 256
            spent_s, _ = commit_all(log, batches(first_seq=log.tip() + 1, count=count, size=256, runs=runs))
            rates.append(count * 256 / spent_s)
            print(f"{log.tip():19,} {rates[0]:30,.0f} {rates[1]:21,.0f} {rates[2]:22,.0f}", flush=True)

        start = time.perf_counter()
        after, replayed = 0, 0
        while page := log.read("run-0", after=after, through=log.tip(), rows_max=1000, bytes_max=256 * 1024):
            after, replayed = page[-1].seq, replayed + len(page)
        print(f"\nreplay of one run      {replayed / (time.perf_counter() - start):12,.0f} records/s")
        start = time.perf_counter()
        folded = sum(1 for _ in log.read_unfinished())
        print(f"read_unfinished        {folded / (time.perf_counter() - start):12,.0f} records/s")
        log.close()
        start = time.perf_counter()
        log = SqliteLog.open(Path(directory))
        print(f"open (check, derive)   {time.perf_counter() - start:12.2f} s")
        log.commit([], ended={"run-0": 0.0})
        calls: list[float] = []
        start = time.perf_counter()
        log.remove("run-0")
        calls.append(time.perf_counter() - start)
        for _ in range(records_max // runs // 1000):
            start = time.perf_counter()
            log.prune(now=1.0, age_s_max=10.0, bytes_max=1 << 60, grace_s=0.0)
            calls.append(time.perf_counter() - start)
        print(f"removing a run         {max(calls) * 1e3:12.1f} ms for the longest call of {len(calls)}")
        log.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the records, a fifth of the time")
    parser.add_argument(
        "--directory", type=Path, default=None, help="where to put the logs; default: the temporary one"
    )
    arguments = parser.parse_args()
    parent = arguments.directory or Path(tempfile.gettempdir())
    by_batch_size(parent, seconds=0.6 if arguments.quick else 3.0)
    by_log_size(parent, records_max=100_000 if arguments.quick else 1_000_000)


if __name__ == "__main__":
    main()
