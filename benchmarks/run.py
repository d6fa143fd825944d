"""All benchmarks of the complete system, one table: `make bench`.

    python -m benchmarks.run [--quick] [--directory DIR] [NAME …]

Everything is measured on this machine with real processes: a hub with a durable log, workers, subscribers. A median of
several passes comes with their range; compare ratios rather than figures. The event log alone: `benchmarks.eventlog`.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import tempfile
import time
from pathlib import Path

import zmq

from benchmarks import agents, first_token, growth, latency, snapshot, throughput
from benchmarks.harness import Measure, Options, Row, note, table
from felixhub.version import __version__

BENCHMARKS: dict[str, Measure] = {
    "throughput": throughput.measure,
    "latency": latency.measure,
    "first_token": first_token.measure,
    "agents": agents.measure,
    "growth": growth.measure,
    "snapshot": snapshot.measure,
}


def versions() -> str:
    return ", ".join(
        (
            f"felixhub {__version__}",
            f"Python {platform.python_version()}",
            f"pyzmq {zmq.__version__}",
            f"libzmq {zmq.zmq_version()}",
            f"SQLite {sqlite3.sqlite_version}",
            f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *BENCHMARKS], help="only these")
    parser.add_argument("--quick", action="store_true", help="shorter and less exact")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()), help="not on a tmpfs")
    arguments = parser.parse_args()
    options = Options(arguments.quick, arguments.directory)
    rows: list[Row] = []
    for name in arguments.names or BENCHMARKS:
        began = time.monotonic()
        rows += BENCHMARKS[name](options)
        note(f"{name}: {time.monotonic() - began:.0f} s")
    print(f"{versions()}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
