"""One process of subscribers to one run: `python watcher.py RUN KIND…`, each KIND in a thread of its own.

    early     from the run's start       late      joins when `early` has seen some of it; the async twin
    slow      tiny buffers and naps      stopped   as early; the test stops its process for a while

Each writes what it is given, line by line, to `records/KIND.jsonl`, and at its end how it went to `records/KIND.json`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

from felixhub import Event, FelixError, Subscriber, Subscription
from felixhub.core.follower import Follower

FOLDER = Path(os.environ["FAULT_PLACE"])
SECONDS = 75.0
NAP_S = 0.4
NAP_EVERY = 25
LATE_AFTER = 60  # events that `early` has seen by then

_some_seen = threading.Event()


class Record:
    def __init__(self, run: str, kind: str) -> None:
        self.run, self.kind = run, kind
        self.seen = 0
        self._errors: list[str] = []
        self._file: BinaryIO = (FOLDER / "records" / f"{run}.{kind}.jsonl").open("wb")

    def take(self, item: Event | FelixError) -> None:
        if not isinstance(item, Event):
            self._errors.append(f"{type(item).__name__}: {item}")
            return
        self.seen += 1
        self._file.write(item.raw + b"\n")
        if self.kind == "early" and self.seen >= LATE_AFTER:
            _some_seen.set()
        if self.kind == "slow" and self.seen % NAP_EVERY == 0:
            time.sleep(NAP_S)

    def close(self, follower: Follower) -> None:
        self._file.close()
        _some_seen.set()
        run = follower.board.runs.get(self.run)
        told: dict[str, Any] = {
            "done": follower.done,
            "errors": self._errors,
            "gaps_repaired": follower.gaps_repaired,
            "texts": {name: [t.text.sha256, t.reasoning.sha256] for name, t in run.thoughts.items()} if run else {},
        }
        (FOLDER / "records" / f"{self.run}.{self.kind}.json").write_text(json.dumps(told))


def watch(run: str, kind: str) -> None:
    record = Record(run, kind)
    messages_max = 5 if kind == "slow" else None
    deadline = time.monotonic() + SECONDS
    with Subscription(
        run, hub=FOLDER / "data", until_done=True, wait_s=20.0, messages_max=messages_max
    ) as subscription:
        try:
            while not subscription.follower.done and time.monotonic() < deadline:
                for item in subscription.poll(0.5):
                    record.take(item)
        finally:
            record.close(subscription.follower)


async def watch_async(run: str, kind: str) -> None:
    record = Record(run, kind)
    async with Subscriber(run, hub=FOLDER / "data", until_done=True, wait_s=20.0) as subscriber:
        try:
            async with asyncio.timeout(SECONDS):
                async for event in subscriber:
                    record.take(event)
        except FelixError as error:
            record.take(error)
        finally:
            record.close(subscriber.follower)


def watch_late(run: str) -> None:
    _some_seen.wait(SECONDS)
    asyncio.run(watch_async(run, "late"))


def main(run: str, kinds: list[str]) -> None:
    threads = [
        threading.Thread(target=watch_late, args=(run,))
        if kind == "late"
        else threading.Thread(target=watch, args=(run, kind))
        for kind in kinds
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
