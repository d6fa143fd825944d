"""Which events of a recording are due, at its own pace or another.

    ──first──► held ──begin──► playing ──last──► over

Owns: the pace, and what time it is on the recording's clock. Must not: read a file or a clock, or judge events.
"""

from __future__ import annotations

from collections.abc import Iterator

from felixhub.core.events import Event

GAP_S_MAX = 3_600.0  # between two events; a clock that was set forward would be a pause of years


def gap_s(before: Event, event: Event) -> float:
    """Recorded seconds from one event to the next. A clock that was set back is no pause."""
    return min(max(0.0, event.at - before.at), GAP_S_MAX)


class Player:
    """Gives out a recording's events when they are due.

    The first one is due at once: there is a run. All others wait until somebody watches, which `begin` says.
    """

    def __init__(self, events: Iterator[Event], *, speed: float) -> None:
        """`speed`: recorded seconds in one second; infinite for as fast as possible."""
        assert speed > 0.0, "a recording is played forwards"
        self._events = events
        self._speed = speed
        self._next = next(events, None)
        self._last: Event | None = None
        self._begun_at: float | None = None
        self._offset_s = 0.0  # on the recording's clock, from the first event to the next one
        self._last_s = 0.0  # and to the last one that was given out

    @property
    def is_begun(self) -> bool:
        return self._begun_at is not None

    @property
    def is_over(self) -> bool:
        """Whether every event was given out."""
        return self._next is None

    def begin(self, now: float) -> None:
        """Somebody watches. Only the first time counts."""
        if self._begun_at is None:
            self._begun_at = now

    def next_due(self) -> float | None:
        """When the next event is due, None while nothing is."""
        if self._begun_at is None or self._next is None:
            return None
        return self._begun_at + self._offset_s / self._speed

    def take_due(self, now: float, *, events_max: int, bytes_max: int) -> list[Event]:
        """The events that are due, in order. Of more than the bounds the rest is due at the next asking."""
        taken: list[Event] = []
        size = 0
        while self._next is not None and len(taken) < events_max and size < bytes_max and self._is_due(now):
            event = self._last = self._next
            self._last_s = self._offset_s
            taken.append(event)
            size += len(event.raw)
            self._next = next(self._events, None)
            if self._next is not None:
                self._offset_s += gap_s(event, self._next)
        return taken

    def _is_due(self, now: float) -> bool:
        due = self.next_due()
        return self._last is None or (due is not None and due <= now)

    def recorded_now(self, now: float) -> float:
        """The time on the recording's clock, unix seconds. It waits for each event, and stands still after the last."""
        assert self._last is not None, "the first event is due at once"
        if self._begun_at is None or self._next is None or self._offset_s == self._last_s:
            return self._last.at
        passed_s = (now - self._begun_at) * self._speed - self._last_s
        return self._last.at + min(max(0.0, passed_s), self._offset_s - self._last_s)
