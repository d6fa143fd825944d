"""What the screens know: the hub's runs by a subscriber, the one run that is shown, and its overview.

    source (a Subscriber) ──events──► board, meter ──► overview(now), and which agents have new text

Owns: which run is shown, and when it is another. Must not: draw, or send a command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from felixhub.core.board import Board
from felixhub.core.errors import FelixError
from felixhub.core.events import Event, ThoughtPartial
from felixhub.core.follower import Follower, Reset, RunGone
from felixhub.core.messages import RunBeat
from felixhub.core.meter import Meter
from felixhub.core.overview import Overview, RunClock, overview
from felixhub.core.run import Run
from felixhub.core.thought import Thought

LATEST = "latest"


class Source(Protocol):
    """A `Subscriber`."""

    @property
    def follower(self) -> Follower: ...
    @property
    def board(self) -> Board: ...
    async def poll(self, timeout_s: float) -> list[Event | FelixError]: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class News:
    """What a turn has brought. `batches` are the agents that said something; `marks`: anything but text has changed."""

    batches: set[str] = field(default_factory=set)
    marks: bool = False
    notices: list[str] = field(default_factory=list)


class Feed:
    """Follows `selection`, a run's id or `latest`, and shows one run of it.

    `latest` goes over to a newer run when the one that is shown has ended; else it says that there is one.
    """

    def __init__(self, open_source: Callable[[str], Source], selection: str, clock: Callable[[], float]) -> None:
        self.run: Run | None = None
        self.meter = Meter()
        self._open_source = open_source
        self._clock = clock
        self._selection = selection
        self._chosen: str | None = None
        self._is_choice = False  # whether somebody has chosen the run here; else whoever started this has named it
        self._source = open_source(selection)
        self._beats: dict[str, tuple[RunBeat, float]] = {}
        self._told_of: set[str] = set()
        self._run_clock = RunClock()

    @property
    def is_away(self) -> bool:
        return self._source.follower.is_away

    @property
    def gaps_repaired(self) -> int:
        return self._source.follower.gaps_repaired

    @property
    def is_empty(self) -> bool:
        """Whether the hub has been heard and has no run to show."""
        follower = self._source.follower
        return self.run is None and follower.caught_up and not follower.board.followed()

    def choose(self, run: str) -> None:
        """Show another run from the next turn on; `latest` for the newest."""
        self._chosen = run

    def _change(self, run: str) -> None:
        self._source.close()
        self.run = None
        self._run_clock = RunClock()
        self.meter = Meter()
        self._chosen = None
        self._selection = run
        self._is_choice = run != LATEST
        self._source = self._open_source(run)

    def close(self) -> None:
        self._source.close()

    async def turn(self, timeout_s: float) -> News:
        """Wait for something, and take it. Raises NoHub, KeyRefused, and RunGone when the run that was named is not."""
        if self._chosen is not None:
            self._change(self._chosen)
        source = self._source
        items = await source.poll(timeout_s)
        news = News()
        for run, beat in source.follower.beats.items():
            if self._beats.get(run, (None, 0.0))[0] is not beat:
                self._beats[run] = (beat, self._clock())
        if self._look(news):
            items = [item for item in items if not isinstance(item, Event)]
        for item in items:
            if isinstance(item, Event):
                self._take(item, news)
            elif isinstance(item, RunGone) and self.run is None and self._selection != LATEST and not self._is_choice:
                raise item
            else:
                news.notices.append(str(item))
                if isinstance(item, RunGone) and self.run is None and self._is_choice:
                    self.choose(LATEST)  # It was removed while somebody looked at the list.
                if isinstance(item, Reset) and self.run is not None and item.run == self.run.id:
                    news.marks = True
        news.notices += source.follower.take_notices()
        return news

    def _take(self, event: Event, news: News) -> None:
        if self.run is None or event.run != self.run.id:
            return
        self.meter.take(event)
        if isinstance(event, ThoughtPartial):
            news.batches.add(event.agent)
        else:
            news.marks = True

    def _look(self, news: News) -> bool:
        """Whether the run that is shown is another object than before: the meter begins over it then."""
        found = self._wanted(news)
        if found is None or found is self.run:
            return False  # A run that the board has let go of is still shown.
        self.run = found
        self.meter = Meter.over(found)
        news.marks = True
        return True

    def _wanted(self, news: News) -> Run | None:
        runs = self._source.board.runs
        shown = self.run
        if shown is not None and shown.id in runs:
            shown = runs[shown.id]  # It may have been loaded anew.
        newest = max(runs.values(), key=lambda run: run.started.at, default=None)
        if shown is None or newest is None or newest.started.at <= shown.started.at or newest.id == shown.id:
            return shown or newest
        if shown.ended is not None:
            news.notices.append(f"run {newest.id} has started, and is shown now")
            return newest
        if newest.id not in self._told_of:
            self._told_of.add(newest.id)
            news.notices.append(f"run {newest.id} has started: R chooses it")
        return shown

    def overview(self) -> Overview | None:
        """The run as of now, None while there is none."""
        if self.run is None:
            return None
        now = self._clock()
        beat, heard_at = self._beats.get(self.run.id, (None, None))
        now, beat_at = self._run_clock.told(self.run, beat=beat, heard_at=heard_at, now=now)
        return overview(self.run, self.meter, beat=beat, beat_at=beat_at, now=now)

    def thought(self, name: str | None) -> Thought | None:
        return self.run.thoughts.get(name) if self.run is not None and name is not None else None
