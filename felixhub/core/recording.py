"""A recording: the events of one run as they were logged, one a line. It may be anybody's file.

Owns: what makes a sequence of lines a recording. Must not: read a file, or play anything (`player.py` does).
"""

from __future__ import annotations

import math
import re
from typing import Any

from felixhub.core.board import Board, Diverged
from felixhub.core.errors import FelixError, ProtocolViolation
from felixhub.core.events import (
    Event,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunStarted,
    ThoughtAbandoned,
    ThoughtCancelling,
    ThoughtFinalized,
    ThoughtPartial,
    ThoughtStarted,
    UnknownEvent,
    parse_event,
)
from felixhub.core.names import HUB, NAME_PATTERN
from felixhub.core.player import gap_s

SEQ_MAX = 2**40 - 1  # what a log can hold
NUMBER_MAX = 2**53
AT_MAX = 1e11  # unix seconds, in the year 5138: a time that can be shown
KIND_PATTERN = r"[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31}){0,3}"
AGAIN = "export the run again"


class BadRecording(FelixError):
    """A line that no recording holds at this place. The message holds nothing that a terminal would obey."""


class RecordingCheck:
    """Takes the lines of a recording in order. What it has taken is known to fit together, texts and hashes too."""

    def __init__(self) -> None:
        self.run = ""
        self.events = 0
        self.last_seq = 0
        self.seconds = 0.0  # that it plays at its own pace
        self.is_ended = False
        self._board = Board()
        self._last: Event | None = None

    def take(self, line: bytes) -> None:
        """Raises BadRecording, after which this check is of no more use."""
        try:
            event = parse_event(line)
        except ProtocolViolation as error:
            raise BadRecording(error.sentence if error.sentence.isprintable() else "this is not an event") from None
        _check_values(event)
        if self._last is None:
            self._begin(event)
        else:
            self._check_place(event, self._last)
            self.seconds += gap_s(self._last, event)
        self._fold(event)
        self._last = event
        self.events += 1
        self.last_seq = event.seq
        self.is_ended = isinstance(event, RunFinished | RunFailed | RunCancelled)

    def _begin(self, event: Event) -> None:
        if not isinstance(event, RunStarted) or event.prev != 0:
            raise BadRecording(f"a recording begins with run.started, and this is {event.kind}: export the whole run")
        _check_workflow(event)
        self.run = event.run
        self._board.follow(event.run)

    def _check_place(self, event: Event, last: Event) -> None:
        if event.run != self.run:
            raise BadRecording(
                f"this event is of run '{event.run}', the ones before are of '{self.run}': a recording holds one run"
            )
        if event.seq <= last.seq:
            raise BadRecording(
                f"event {event.seq} comes after event {last.seq}: lines are doubled or out of order, {AGAIN}"
            )
        if event.prev != last.seq:
            raise BadRecording(
                f"event {event.seq} follows event {event.prev}, and before it stands event {last.seq}: lines are "
                f"missing or out of order, {AGAIN}"
            )
        if self.is_ended:
            raise BadRecording(f"event {event.seq} comes after the end of run '{self.run}'")
        if isinstance(event, RunStarted):
            raise BadRecording(f"event {event.seq} starts run '{self.run}' a second time")
        agent = event.agent_name
        is_known = agent is None or agent in self._board.runs[self.run].cards or isinstance(event, UnknownEvent)
        if not is_known:
            raise BadRecording(f"event {event.seq} ({event.kind}) is about agent '{agent}', which is not in this run")
        self._check_thought(event)

    def _check_thought(self, event: Event) -> None:
        match event:
            case ThoughtStarted():
                if self._board.thought(self.run, event.thought) is not None:
                    raise BadRecording(f"event {event.seq} starts a thought a second time")
            case ThoughtPartial() | ThoughtCancelling() | ThoughtFinalized() | ThoughtAbandoned():
                thought = self._board.thought(self.run, event.thought)
                if thought is None or not thought.is_open or thought.started.agent != event.agent:
                    raise BadRecording(f"event {event.seq} ({event.kind}) is about no open thought of its agent")

    def _fold(self, event: Event) -> None:
        try:
            self._board.take(event)
        except Diverged as error:
            sentence = str(error)
            raise BadRecording(sentence if sentence.isprintable() else _does_not_fit(event)) from None
        except Exception:  # noqa: BLE001  (whatever a stranger's event does to the fold, it is the event's fault)
            raise BadRecording(_does_not_fit(event)) from None


def _does_not_fit(event: Event) -> str:
    return f"event {event.seq} ({event.kind}) does not fit what came before it"


def _check_workflow(started: RunStarted) -> None:
    """What the fold and the views look up by name is there."""
    stages = started.workflow.all_stages()
    names = {stage.name for stage in stages}
    named = {name for stage in stages for name in (*stage.after, stage.reviews, stage.revises) if name is not None}
    agents = {card.name for card in started.agents}
    if len(names) < len(stages) or not named <= names or not agents.issuperset(stage.agent for stage in stages):
        raise BadRecording("its workflow names stages or agents that are not in it, or one twice")


def _check_values(event: Event) -> None:
    """What a hub would never have written: names that are no names, numbers beyond all bounds."""
    if not re.fullmatch(KIND_PATTERN, event.kind):
        raise BadRecording("`kind` is not that of an event")
    if not _is_name(event.run):
        raise BadRecording("`run` is not the id of a run")
    agent = event.agent_name
    if agent is not None and (not _is_name(agent) or agent == HUB):
        raise BadRecording("`agent` is not the name of an agent")
    if not 0.0 <= event.at <= AT_MAX:
        raise BadRecording("`at` is not a time in unix seconds")
    if not 0 <= event.prev < event.seq <= SEQ_MAX:
        raise BadRecording("`seq` and `prev` are not places in a log")
    if isinstance(event, ThoughtStarted) and not (0.0 <= event.checkpoint <= 1.0 and 0.0 <= event.progress <= 1.0):
        raise BadRecording(f"event {event.seq} ({event.kind}) is at no place on the helix")
    numbers: Any = (event.tokens, event.offset) if isinstance(event, ThoughtPartial) else event.model_dump()
    if not _are_bounded(numbers):
        raise BadRecording(f"event {event.seq} ({event.kind}) holds a number beyond all bounds")


def _is_name(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(NAME_PATTERN, name) is not None and not name.endswith("\n")


def _are_bounded(value: Any) -> bool:
    match value:
        case bool():
            return True
        case int():
            return abs(value) <= NUMBER_MAX
        case float():
            return math.isfinite(value)
        case dict():
            return all(map(_are_bounded, value.values()))
        case list() | tuple():
            return all(map(_are_bounded, value))
    return True
