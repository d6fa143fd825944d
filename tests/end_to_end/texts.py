"""A run's thoughts put together from its events, with what the hub promises about them checked on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from felixhub.core.events import Event, ThoughtAbandoned, ThoughtFinalized, ThoughtPartial, ThoughtStarted

E = TypeVar("E", bound=Event)


@dataclass(slots=True)
class Told:
    """One thought as its events tell it."""

    started: ThoughtStarted
    text: str = ""
    partials: int = 0
    end: ThoughtFinalized | ThoughtAbandoned | None = None

    @property
    def is_final(self) -> bool:
        return isinstance(self.end, ThoughtFinalized)


def of_kind(events: Iterable[Event], kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def thoughts(events: Sequence[Event]) -> dict[str, Told]:
    """By id, in the order of their start. Offsets are gapless, lengths and hashes agree."""
    told: dict[str, Told] = {}
    for event in events:
        match event:
            case ThoughtStarted():
                told[event.thought] = Told(event)
            case ThoughtPartial(channel="text"):
                one = told[event.thought]
                assert event.offset == len(one.text.encode()), event
                one.text += event.text
                one.partials += 1
            case ThoughtFinalized():
                one = told[event.thought]
                one.end = event
                assert event.length == len(one.text.encode())
                assert event.sha256 == hashlib.sha256(one.text.encode()).hexdigest()
            case ThoughtAbandoned():
                told[event.thought].end = event
    return told


def check_chain(events: Sequence[Event]) -> None:
    """Every event once, in order, each naming the one before it."""
    assert events[0].kind == "run.started"
    assert [event.prev for event in events] == [0, *(event.seq for event in events[:-1])]
