"""What a subscriber knows: the same fold as the hub's, and the judgement of gaps. Used by every view.

Owns: putting events in order, each once, and saying what is missing. Must not: ask for it (`follower.py` does).
Gaps are judged by `prev` alone: pruning whole runs leaves holes in `seq`.
"""

from __future__ import annotations

from felixhub.core.errors import FelixError
from felixhub.core.events import Event, RunStarted, ThoughtFinalized, ThoughtPartial, ThoughtStarted
from felixhub.core.messages import SnapshotText
from felixhub.core.run import Run
from felixhub.core.thought import Thought

HELD_EVENTS_MAX = 20_000  # early events kept for a run while its gap is repaired; the replay brings the rest again


class Diverged(FelixError):
    """What this board holds is not what the log says: never to be shown as if it were; start over."""


class _Track:
    """One run's place in its own sequence."""

    __slots__ = ("early", "last", "newest")

    def __init__(self) -> None:
        self.last = 0
        self.newest = 0  # the highest seq known to exist, from events and beats
        self.early: dict[int, Event] = {}  # by prev


class Board:
    """Runs by name, each a fold over its events so far, in order and complete.

    `take` any event, live or replayed, as often as it comes; it returns those that are now in order.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self._tracks: dict[str, _Track] = {}

    def last(self, run: str) -> int:
        """The seq up to which this run is complete here, 0 for nothing."""
        track = self._tracks.get(run)
        return track.last if track else 0

    def follow(self, run: str) -> None:
        """Hold this run from now on."""
        self._tracks.setdefault(run, _Track())

    def follows(self, run: str) -> bool:
        return run in self._tracks

    def followed(self) -> list[str]:
        return list(self._tracks)

    def thought(self, run: str, thought: str) -> Thought | None:
        known = self.runs.get(run)
        return known.thoughts.get(thought) if known else None

    def drop(self, run: str) -> None:
        self.runs.pop(run, None)
        self._tracks.pop(run, None)

    def saw_tip(self, run: str, seq: int) -> None:
        """A beat says that the run's log goes to this seq."""
        track = self._tracks.get(run)
        if track:
            track.newest = max(track.newest, seq)

    def is_behind(self, run: str) -> bool:
        """Whether events are known to exist that this board lacks."""
        track = self._tracks[run]
        return track.newest > track.last

    def is_complete(self, run: str) -> bool:
        """Whether the run has ended and its last event is here."""
        known = self.runs.get(run)
        return known is not None and known.ended is not None

    def take(self, event: Event) -> list[Event]:
        """The events that are in order now, this one among them unless it is early or was here before.

        Raises Diverged when a final thought's text here is not the text that was finalized.
        """
        track = self._tracks.get(event.run)
        if track is None or event.seq <= track.last:
            return []  # A repeat: live and replay overlap.
        track.newest = max(track.newest, event.seq)
        if event.prev != track.last:
            if event.prev > track.last and len(track.early) < HELD_EVENTS_MAX:
                track.early[event.prev] = event
            return []
        ready = []
        following: Event | None = event
        while following is not None:
            self._apply(track, following)
            ready.append(following)
            following = track.early.pop(track.last, None)
        return ready

    def skip_early(self, run: str) -> None:
        """After a replay: forget early events that it has brought."""
        track = self._tracks[run]
        track.early = {prev: event for prev, event in track.early.items() if event.seq > track.last}

    def load(self, run: str, *, marks: list[Event], texts: list[SnapshotText], position: int) -> list[Event]:
        """Start a run from a snapshot; returns events that came early and are in order after it.

        `marks` are the run's events but its partials, up to `position`; `texts` is what the partials came to.
        """
        track = self._tracks[run]
        if position < track.last:
            return []
        pieces: dict[str, list[SnapshotText]] = {}
        for piece in texts:
            pieces.setdefault(piece.thought, []).append(piece)
        self.runs.pop(run, None)
        for mark in marks:
            self._fold(mark)
            if isinstance(mark, ThoughtStarted):
                self._fill(self.runs[run].thoughts[mark.thought], pieces.get(mark.thought, []))
        for mark in marks:
            if isinstance(mark, ThoughtFinalized):
                self._check(mark)
        track.last = position
        track.newest = max(track.newest, position)
        if run in self.runs:
            self.runs[run].last_seq = position
        self.skip_early(run)
        following = track.early.pop(track.last, None)
        return self.take(following) if following else []

    def _fill(self, thought: Thought, pieces: list[SnapshotText]) -> None:
        for piece in sorted(pieces, key=lambda piece: piece.offset):
            buffer = thought.buffer(piece.channel)
            if piece.offset != len(buffer):
                raise Diverged(f"the snapshot's text of thought {thought.id} has a hole at {len(buffer)}")
            buffer.append(piece.text.encode())
            thought.tokens = max(thought.tokens, piece.tokens)
            thought.first_at, thought.last_token_at = piece.first_at, piece.last_at

    def _apply(self, track: _Track, event: Event) -> None:
        self._fold(event)
        track.last = event.seq
        if isinstance(event, ThoughtFinalized):
            self._check(event)

    def _fold(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.runs[event.run] = Run(event)
            return
        run = self.runs.get(event.run)
        if run is None:
            raise Diverged(f"event {event.seq} comes before the run's start")
        if isinstance(event, ThoughtPartial) and (thought := run.thoughts.get(event.thought)):
            length = len(thought.buffer(event.channel))
            if event.offset != length:
                raise Diverged(f"thought {event.thought} has {length} bytes here, its next text is at {event.offset}")
        try:
            run.apply(event)
        except LookupError as error:
            # A log that lost its end gives the same numbers to other events: `prev` fits, and nothing else does.
            raise Diverged(f"event {event.seq} ({event.kind}) speaks of {error}, which is not known here") from None

    def _check(self, final: ThoughtFinalized) -> None:
        thought = self.runs[final.run].thoughts[final.thought]
        ours = (thought.text.sha256, thought.reasoning.sha256)
        if ours != (final.sha256, final.reasoning_sha256):
            raise Diverged(f"the text of thought {final.thought} here is not the one that was finalized")
