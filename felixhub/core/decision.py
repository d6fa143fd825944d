"""What a decision consists of: events (what is now true) and effects (what the shell must send).

Owns: the numbering of events and the effects that follow from an event whoever decided it. Must not: decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from felixhub.core.batcher import Channel
from felixhub.core.events import Event, ThoughtAbandoned, ThoughtCancelling, ThoughtFinalized, ThoughtStarted
from felixhub.core.messages import Cancel, Ended, Failed, Ok, WorkerBound
from felixhub.core.run import Run


@dataclass(frozen=True, slots=True)
class Send:
    """A message for one worker session."""

    session: str
    message: WorkerBound


@dataclass(frozen=True, slots=True)
class SendAssignment:
    """The whole assignment of an open thought; the shell adds the documents."""

    session: str
    thought: str


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """A durable length. Cumulative, so only a turn's last one per thought and channel need be sent."""

    session: str
    thought: str
    channel: Channel
    length: int


@dataclass(frozen=True, slots=True)
class TellEnded:
    session: str
    ended: Ended


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to the control request that was decided."""

    reply: Ok | Failed


Effect = Send | SendAssignment | Acknowledge | TellEnded | Answer


@dataclass(frozen=True, slots=True)
class Decision:
    """`blobs` maps a SHA-256 to a document's bytes, to be kept in the same transaction as the events.

    `fault` is our own error, for the log, when the decision is to give a run up because of it.
    """

    events: list[Event] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    fault: Exception | None = None


_E = TypeVar("_E", bound=Event)
_AT_ERROR_S = 0.001


def is_within(at: float, now: float, seconds: float) -> bool:
    """Whether less than `seconds` have passed since an event. A clock that was set back cannot lengthen the wait.

    `at` is rounded, so an event may lie up to a millisecond after the moment it was decided in.
    """
    return seconds > 0.0 and -_AT_ERROR_S <= now - at < seconds


class Turn:
    """Builds one decision: gives each event its place in the log and notes what follows from it."""

    __slots__ = ("_last", "_seq", "boot", "decision", "now")

    def __init__(self, *, tip: int, boot: str, now: float) -> None:
        self.boot = boot
        self.now = now
        self.decision = Decision()
        self._seq = tip
        self._last: dict[str, int] = {}

    @property
    def next_seq(self) -> int:
        return self._seq + 1

    def emit(self, kind: Callable[..., _E], run: str, prev: int, **fields: object) -> _E:
        """Add an event. `prev` is the run's last seq before this turn."""
        self._seq += 1
        event = kind(
            seq=self._seq,
            prev=self._last.get(run, prev),
            run=run,
            at=round(self.now, 3),
            **fields,
        )
        self._last[run] = self._seq
        self.decision.events.append(event)
        return event

    def effect(self, effect: Effect) -> None:
        self.decision.effects.append(effect)

    # The events about a thought, each with what its worker must hear.

    def start_thought(self, run: Run, **fields: object) -> ThoughtStarted:
        event = self.emit(ThoughtStarted, run.id, run.last_seq, thought=f"t{self.next_seq}-{self.boot[:4]}", **fields)
        self.effect(SendAssignment(event.session, event.thought))
        return event

    def cancel_thought(self, run: Run, thought: str, *, by: str, reason: str) -> None:
        started = run.thoughts[thought].started
        event = self.emit(
            ThoughtCancelling, run.id, run.last_seq, agent=started.agent, thought=thought, by=by, reason=reason
        )
        self.effect(Send(started.session, Cancel(thought=thought, reason=event.reason)))

    def abandon_thought(
        self, run: Run, thought: str, *, length: int, reason: str, error: str, retry_s: float | None
    ) -> None:
        started = run.thoughts[thought].started
        event = self.emit(
            ThoughtAbandoned,
            run.id,
            run.last_seq,
            agent=started.agent,
            thought=thought,
            length=length,
            reason=reason,
            error=error,
            retry_s=retry_s,
        )
        self.effect(TellEnded(started.session, Ended(thought=thought, outcome="abandoned", reason=event.reason)))

    def finalize_thought(self, run: Run, thought: str, **fields: object) -> None:
        started = run.thoughts[thought].started
        self.emit(ThoughtFinalized, run.id, run.last_seq, agent=started.agent, thought=thought, **fields)
        self.effect(TellEnded(started.session, Ended(thought=thought, outcome="finalized")))
