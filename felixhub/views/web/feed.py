"""One run that somebody watches: a subscription, what it has brought, and the viewers that it is handed on to.

    ──follow──► loading ──caught up──► ready ──RunGone, refused──► over
                   ▲                     │
                   └────────Reset────────┘

Owns: when what goes out. Must not: know HTTP, or wait for a viewer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from felixhub.core.coalescing import Batch
from felixhub.core.errors import FelixError
from felixhub.core.events import Event, ThoughtPartial
from felixhub.core.follower import Reset, RunGone
from felixhub.core.messages import RunBeat
from felixhub.core.meter import Meter
from felixhub.core.overview import Overview, RunClock, overview
from felixhub.core.run import Run
from felixhub.logs import get_log
from felixhub.transport.subscriber import Subscriber
from felixhub.views.web import bounds, figures
from felixhub.views.web.frames import frame, json_bytes
from felixhub.views.web.lines import EventLog
from felixhub.views.web.refusal import Refusal
from felixhub.views.web.snapshots import Snapshots
from felixhub.views.web.viewer import Viewer


class Feed:
    """`over` is set once there is nothing more to come: what a client is refused with. All of it lives on one loop."""

    def __init__(self, run: str, hub: str | Path) -> None:
        self.id = run
        self.viewers: set[Viewer] = set()
        self.left_at = time.monotonic()
        self.checked_at = 0.0  # when the hub was last asked whether it still has this run
        self.over: Refusal | None = None
        self.settled = asyncio.Event()  # ready, or over
        self.is_ready = False
        self.marks: list[bytes] = []
        self._uses = 0  # requests that look at it just now
        self._subscriber = Subscriber(run, hub=hub, wait_s=float("inf"))
        self._meter = Meter()
        self._run_clock = RunClock()
        self._lines = EventLog()
        self._snapshots = Snapshots()
        self._beat: RunBeat | None = None
        self._beat_at: float | None = None
        self._gaps = 0
        self._state_at = 0.0
        self._mark_waits = False
        self._text_waits = False
        self._states: dict[bool, bytes] = {}
        self._task = asyncio.create_task(self._follow())

    # ---- what there is -----------------------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        return self._subscriber.board.runs[self.id]

    @property
    def seq(self) -> int:
        return self._subscriber.board.last(self.id)

    @property
    def position(self) -> str:
        return self.position_of(self.seq)

    def position_of(self, seq: int) -> str:
        return f"{self._subscriber.follower.boot_of(self.id)}-{seq}"

    def overview(self) -> Overview:
        now, beat_at = self._run_clock.told(self.run, beat=self._beat, heard_at=self._beat_at, now=time.time())
        return overview(self.run, self._meter, beat=self._beat, beat_at=beat_at, now=now)

    def snapshot(self, tail: int | None) -> bytes:
        return self._snapshots.make(self.run, self.marks, position=self.position, tail=tail)

    def lines(self) -> list[dict[str, Any]]:
        """The latest of the event log."""
        return list(self._lines.kept)

    def state(self, *, curve: bool) -> bytes:
        """The latest state's frame; without the long curve it is much smaller."""
        if curve not in self._states:
            now = self.overview()
            body = (now if curve else now.model_copy(update={"curve": ()})).model_dump_json().encode()
            self._states[curve] = frame("state", body)
        return self._states[curve]

    # ---- viewers -----------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        return not self.viewers and not self._uses

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """A request looks at it: it is not idle."""
        self._uses += 1
        try:
            yield
        finally:
            self._uses -= 1
            self.left_at = time.monotonic()

    def attach(self, viewer: Viewer) -> None:
        """From here on it gets every batch."""
        self.viewers.add(viewer)

    def detach(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        self.left_at = time.monotonic()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    # ---- following ---------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        try:
            async with self._subscriber:
                while self.over is None:
                    items = await self._subscriber.poll(bounds.TURN_S)
                    self._take(items)
                    self._tell()
                    if items:
                        await asyncio.sleep(bounds.FLUSH_S)
        except FelixError as error:
            self._fail(str(error))
        except Exception:  # noqa: BLE001  (its viewers are told, the others go on)
            get_log("web").error("feed_failed", run=self.id, exc_info=True)
            self._fail("the gateway failed to follow this run: its log says more")

    def _take(self, items: list[Event | FelixError]) -> None:
        events: list[Event] = []
        for item in items:
            match item:
                case Event():
                    events.append(item)
                case Reset():
                    events.clear()
                    self._start_over(str(item))
                case RunGone():
                    self.end(str(item))
                    return
                case FelixError():
                    self._fail(str(item))
                    return
        figures.EVENTS.inc(len(events))
        now = time.time()
        said: list[dict[str, Any]] = []
        for event in events:
            self._meter.take(event)
            said += self._lines.take(event, now)
            if isinstance(event, ThoughtPartial):
                self._text_waits = True
            else:
                self._mark_waits = True
                self.marks.append(event.raw)
        if self.is_ready and events:
            batch = Batch(events, self.position_of(events[-1].seq))
            lines = frame("lines", json_bytes(said)) if said else None
            for viewer in self.viewers:
                viewer.on_batch(batch, lines)
        elif not self.is_ready and self._is_caught_up():
            self.is_ready = True
            self.settled.set()
            for viewer in self.viewers:
                viewer.on_ready()
        follower = self._subscriber.follower
        figures.GAPS.inc(follower.gaps_repaired - self._gaps)
        self._gaps = follower.gaps_repaired
        beat = follower.beats.get(self.id)
        if beat is not self._beat:
            self._beat, self._beat_at = beat, now

    def _is_caught_up(self) -> bool:
        return self._subscriber.follower.caught_up and self.id in self._subscriber.board.runs

    def _tell(self) -> None:
        """The state, when it is time for it."""
        if not self.is_ready:
            return
        now = time.monotonic()
        passed = now - self._state_at
        run = self.run
        busy = run.ended is None and bool(run.open_thoughts())
        due = (
            (self._mark_waits and passed >= bounds.STATE_MARK_S)
            or ((self._text_waits or busy) and passed >= bounds.STATE_S)
            or (run.ended is None and passed >= bounds.STATE_STILL_S)
        )
        if not due:
            return
        self._state_at = now
        self._mark_waits = self._text_waits = False
        self._states = {}
        for viewer in self.viewers:
            viewer.on_state(self.state(curve=viewer.curve))

    def _start_over(self, why: str) -> None:
        self.is_ready = False
        self.settled.clear()
        self.marks = []
        self._meter, self._lines = Meter(), EventLog()
        self._snapshots.forget()
        self._states = {}
        for viewer in self.viewers:
            viewer.on_reset(why)

    def end(self, why: str) -> None:
        """The hub has this run no more, or never had."""
        self._end(Refusal(404, "unknown_run", why, "run"))

    def _fail(self, why: str) -> None:
        """The run may be there all the same: whoever asks again gets a new feed."""
        self._end(Refusal(503, "not_followed", why))

    def _end(self, over: Refusal) -> None:
        self.over = over
        self.is_ready = False
        self.settled.set()
        for viewer in self.viewers:
            viewer.on_gone(over.sentence)
