"""One process of subscribers to one run: `python watcher.py RUN KIND…`, each KIND in a thread of its own.

    early     from the run's start       late      joins when `early` has seen some of it; the async twin
    slow      tiny buffers and naps      stopped   as early; the test stops its process for a while
    proxied   as early, through the hub that `proxied.json` names        leaving   goes away and comes back, thrice
    joining   joins by a snapshot when `early` has seen some of it: it has all texts, and events only from there on

A kind may have a number, `late2`. Each writes what it is given, line by line, to `records/RUN.KIND.jsonl`, when each
line came (monotonic seconds) to `RUN.KIND.times`, and at its end how it went to `RUN.KIND.json`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from io import RawIOBase
from pathlib import Path
from typing import Any

from felixhub import Event, FelixError, Reset, Subscriber, Subscription
from felixhub.core.follower import Follower

FOLDER = Path(os.environ["FAULT_PLACE"])
SECONDS = float(os.environ.get("FAULT_WATCH_S", "75"))
WAIT_S = float(os.environ.get("FAULT_WATCH_WAIT_S", "20"))  # for the first sign of a hub
NAP_S = 0.4
NAP_EVERY = 25
LATE_AFTER = 60  # events that `early` has seen by then
LEAVES_AFTER = (20, 60, 120)  # events that `leaving` has been given when it goes

_some_seen = threading.Event()


class Record:
    def __init__(self, run: str, kind: str) -> None:
        self.run, self.kind = run, kind
        self.seen = 0
        self._errors: list[str] = []
        self._began_at: list[int] = []
        self._file: RawIOBase = (FOLDER / "records" / f"{run}.{kind}.jsonl").open("wb", buffering=0)
        self._times: RawIOBase = (FOLDER / "records" / f"{run}.{kind}.times").open("wb", buffering=0)

    def begin_again(self) -> None:
        """It goes away, and comes back as somebody who has nothing."""
        self._began_at.append(self.seen)

    def take(self, item: Event | FelixError) -> None:
        if not isinstance(item, Event):
            self._errors.append(f"{type(item).__name__}: {item}")
            if isinstance(item, Reset):
                self.begin_again()
            return
        self.seen += 1
        self._file.write(item.raw + b"\n")
        self._times.write(b"%.4f\n" % time.monotonic())
        if self.kind == "early" and self.seen >= LATE_AFTER:
            _some_seen.set()
        if self.kind == "slow" and self.seen % NAP_EVERY == 0:
            time.sleep(NAP_S)

    def close(self, follower: Follower) -> None:
        self._file.close()
        self._times.close()
        _some_seen.set()
        run = follower.board.runs.get(self.run)
        told: dict[str, Any] = {
            "done": follower.done,
            "errors": self._errors,
            "began_at": self._began_at,
            "gaps_repaired": follower.gaps_repaired,
            "texts": {name: [t.text.sha256, t.reasoning.sha256] for name, t in run.thoughts.items()} if run else {},
        }
        # Whoever waits for this file finds it whole.
        draft = FOLDER / "records" / f"{self.run}.{self.kind}.draft"
        draft.write_text(json.dumps(told))
        draft.replace(draft.with_suffix(".json"))


def watch(run: str, kind: str) -> None:
    record = Record(run, kind)
    messages_max = 5 if kind == "slow" else None
    deadline = time.monotonic() + SECONDS
    hub = FOLDER / ("proxied.json" if kind.startswith("proxied") else "data")
    for leaves_after in LEAVES_AFTER if kind == "leaving" else ():
        with Subscription(run, hub=hub, until_done=True, wait_s=WAIT_S) as visit:
            seen = 0
            while seen < leaves_after and not visit.follower.done and time.monotonic() < deadline:
                for item in visit.poll(0.5):
                    record.take(item)
                    seen += 1
        record.begin_again()
    history = not kind.startswith("joining")
    with Subscription(
        run, hub=hub, history=history, until_done=True, wait_s=WAIT_S, messages_max=messages_max
    ) as subscription:
        try:
            while not subscription.follower.done and time.monotonic() < deadline:
                for item in subscription.poll(0.5):
                    record.take(item)
        finally:
            record.close(subscription.follower)


async def watch_async(run: str, kind: str) -> None:
    record = Record(run, kind)
    async with Subscriber(run, hub=FOLDER / "data", until_done=True, wait_s=WAIT_S) as subscriber:
        try:
            async with asyncio.timeout(SECONDS):
                async for event in subscriber:
                    record.take(event)
        except FelixError as error:
            record.take(error)
        finally:
            record.close(subscriber.follower)


def watch_late(run: str, kind: str) -> None:
    _some_seen.wait(SECONDS)
    if kind.startswith("joining"):
        watch(run, kind)
    else:
        asyncio.run(watch_async(run, kind))


def main(run: str, kinds: list[str]) -> None:
    threads = [
        threading.Thread(target=watch_late, args=(run, kind))
        if kind.startswith(("late", "joining"))
        else threading.Thread(target=watch, args=(run, kind))
        for kind in kinds
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
