"""What waits for one viewer that does not keep up: batches of events, merged when it reads on, given up when too much.

    ──add──► waiting ──take──► one batch, in which the partials of one thought are one partial
                │
                └─ over `bytes_max` ──► lost: the viewer starts over from a snapshot

Owns: what may be merged and when to give up. Must not: know a socket, or change what a text comes to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from felixhub.core.batcher import Channel
from felixhub.core.events import Event, ThoughtPartial


class Batch:
    """Events of one run, in order, that go out together. Made once, shared by all who get it.

    `position` names the place in the log after its last event; `body` is the events as a JSON array.
    """

    __slots__ = ("body", "events", "position")

    def __init__(self, events: Sequence[Event], position: str) -> None:
        self.events = tuple(events)
        self.position = position
        self.body = b"[" + b",".join(event.raw for event in self.events) + b"]"

    @property
    def seq(self) -> int:
        return self.events[-1].seq


class Backlog:
    """The batches that wait for one viewer. Once lost it takes nothing more, until it is `clear`ed.

    What lies at or before `after` came in another way: it is left out of what comes.
    """

    def __init__(self, *, bytes_max: int) -> None:
        self.is_lost = False
        self.after = 0
        self._bytes_max = bytes_max
        self._waiting: list[Batch] = []
        self._size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, batch: Batch) -> None:
        if self.is_lost or batch.seq <= self.after:
            return
        if batch.events[0].seq <= self.after:
            batch = Batch([event for event in batch.events if event.seq > self.after], batch.position)
        self._waiting.append(batch)
        self._size += len(batch.body)
        if self._size > self._bytes_max:
            self._drop()
            self.is_lost = True

    def take(self) -> Batch | None:
        """All that waits as one batch, None for nothing."""
        waiting = self._waiting
        self._drop()
        if len(waiting) <= 1:
            return waiting[0] if waiting else None
        return Batch(merged(event for batch in waiting for event in batch.events), waiting[-1].position)

    def clear(self) -> None:
        """Begin anew: after a snapshot."""
        self._drop()
        self.is_lost = False
        self.after = 0

    def precede(self, batch: Batch) -> None:
        """Put a batch before all that waits, and leave out of that, and of what comes, what it brings."""
        waiting = self._waiting
        self._drop()
        self.add(batch)
        self.after = batch.seq
        for one in waiting:
            self.add(one)

    def _drop(self) -> None:
        self._waiting = []
        self._size = 0


def merged(events: Iterable[Event]) -> list[Event]:
    """The same events, the partials of one thought and channel between two other events as one.

    A merged partial has the first one's offset and `prev`, and the last one's place, seq, tokens and time.
    """
    found: list[Event] = []
    growing: dict[tuple[str, Channel], list[ThoughtPartial]] = {}
    for event in events:
        if isinstance(event, ThoughtPartial):
            growing.setdefault((event.thought, event.channel), []).append(event)
        else:
            found += _joined(growing)
            growing = {}
            found.append(event)
    return found + _joined(growing)


def _joined(growing: dict[tuple[str, Channel], list[ThoughtPartial]]) -> list[Event]:
    return sorted((_one(parts) for parts in growing.values()), key=lambda event: event.seq)


def _one(parts: list[ThoughtPartial]) -> Event:
    first, last = parts[0], parts[-1]
    if first is last:
        return first
    return ThoughtPartial.of_checked(
        seq=last.seq,
        prev=first.prev,
        run=last.run,
        at=last.at,
        agent=last.agent,
        thought=last.thought,
        channel=last.channel,
        offset=first.offset,
        text="".join(part.text for part in parts),
        tokens=last.tokens,
    )
