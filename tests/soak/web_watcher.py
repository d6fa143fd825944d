"""Clients of the web gateway that read one run to its end: `python web_watcher.py RUN NAME=PORT…`, each in a thread.

Each writes to `records/RUN.NAME.json` what the stream has come to: its marks, and the SHA-256 of every text. A reader
comes back with its last id whenever it is cut off, as a browser does, and repairs nothing by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import neighbours  # noqa: F401
from sse_reader import Reader

FOLDER = Path(os.environ["FAULT_PLACE"])
SECONDS = float(os.environ.get("FAULT_WATCH_S", "75"))


def told_by(reader: Reader) -> dict[str, Any]:
    mirror = reader.mirror
    return {
        "done": mirror.ended,
        "errors": mirror.faults,
        "marks": mirror.marks,
        "texts": {
            f"{thought} {channel}": hashlib.sha256(text).hexdigest()
            for (thought, channel), text in mirror.texts.items()
        },
        "connections": len(reader.statuses),
        "snapshots": mirror.count.get("snapshot", 0),
    }


def main(run: str, places: list[str]) -> None:
    readers = {
        name: Reader(int(port), f"/api/runs/{run}/events?curve=0")
        for name, _, port in (p.partition("=") for p in places)
    }
    deadline = time.monotonic() + SECONDS
    while readers and time.monotonic() < deadline:
        for name, reader in list(readers.items()):
            if reader.mirror.ended or reader.is_over:
                del readers[name]
                write(run, name, reader)
        time.sleep(0.1)
    for name, reader in readers.items():
        write(run, name, reader)


def write(run: str, name: str, reader: Reader) -> None:
    reader.close()
    draft = FOLDER / "records" / f"{run}.{name}.draft"
    draft.write_text(json.dumps(told_by(reader)))
    draft.replace(draft.with_suffix(".json"))  # Whoever waits for this file finds it whole.


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
