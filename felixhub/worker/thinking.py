"""One assigned thought in the worker, from its assignment to the end that the hub confirms. Pure: `now` is an argument.

    ──assign──► thinking ──whole, broken, too long──► ending ──ended──► forgotten
                   └──cancel──► stopping ──stopped, or 0.5 s──► ending

Owns: how text becomes batches and how a thought ends. Must not: run the agent or send.
"""

from __future__ import annotations

from felixhub.core.batcher import Channel, ThoughtBatcher
from felixhub.core.events import Reason, Usage
from felixhub.core.limits import DEFAULT_LIMITS, Limits
from felixhub.core.messages import Assign
from felixhub.core.names import SHORT_CHARACTERS_MAX
from felixhub.llm.surrogates import sendable
from felixhub.worker.items import Broken, End, Item, Reasoning, Stopped, Throttled, Whole
from felixhub.worker.outbox import Outbox
from felixhub.worker.tokens import tokens_in

STOP_S = 0.5  # how long an agent may take to stop; then its thought ends without it


class Thinking:
    def __init__(self, assign: Assign, *, now: float, limits: Limits = DEFAULT_LIMITS) -> None:
        self.assign = assign
        self.outbox = Outbox(assign.thought, limits=limits)
        self.batches = 0
        self.stop_reason: Reason | None = None
        self.stop_deadline: float | None = None
        self._limits = limits
        self._batcher = ThoughtBatcher(interval_s=assign.batch_interval_s)
        self._started_at = now
        self._first_token_s: float | None = None

    @property
    def is_ending(self) -> bool:
        """Nothing that the agent still says counts."""
        return self.outbox.ending is not None

    def seconds(self, now: float) -> float:
        return round(max(0.0, now - self._started_at), 3)

    # ---- what the agent says -----------------------------------------------------------------------------------------

    def say(self, item: Item, now: float) -> None:
        """New text. It ends the thought when it is more than a thought may hold."""
        match item:
            case str():
                self._say("text", item, now)
            case Reasoning():
                self._say("reasoning", item.text, now)
            case Throttled() | Whole():
                return

    def _say(self, channel: Channel, text: str, now: float) -> None:
        if self.is_ending or not text:
            return
        if self._first_token_s is None:
            self._first_token_s = self.seconds(now)
        self._batcher.add(channel, sendable(text))

    def end(self, end: End, now: float) -> None:
        """The agent has ended; what it said goes out first."""
        self._flush(now)
        if self.is_ending:
            return
        match end:
            case _ if self.stop_reason is not None:
                self.outbox.abandon(self.stop_reason)
            case Whole() if self.outbox.length("text") == 0:
                self.outbox.abandon("agent_error", f"{self.assign.agent} said nothing")
            case Whole():
                self.outbox.finalize(
                    finish_reason=_short(end.finish_reason),
                    model=_short(end.model),
                    truncated=end.truncated,
                    usage=end.usage or self._estimated_usage(),
                    first_token_s=self._first_token_s,
                    seconds=self.seconds(now),
                )
            case Broken():
                self.outbox.abandon(end.reason, sendable(end.error), lasting=end.lasting)
            case Stopped():
                self.outbox.abandon("agent_lost", "its worker was stopped")

    def _estimated_usage(self) -> Usage:
        """Nobody counted: an estimate of what was written, and marked so."""
        reasoning = self.outbox.length("reasoning")
        return Usage(
            completion_tokens=tokens_in(self.outbox.size),
            reasoning_tokens=tokens_in(reasoning) if reasoning else None,
            estimated=True,
        )

    # ---- what the hub says -------------------------------------------------------------------------------------------

    def cancel(self, reason: Reason, now: float) -> bool:
        """True when the agent is to be stopped now; False for a repeat, and when the ending is on its way."""
        if self.is_ending or self.stop_reason is not None:
            return False
        self.stop_reason = reason
        self.stop_deadline = now + STOP_S
        return True

    # ---- what is due -------------------------------------------------------------------------------------------------

    def next_due(self, now: float, *, sending: bool) -> float | None:
        """When to call `advance`, and `outbox.take_due` if `sending`: `now` or later, None while nothing is due."""
        due: list[float] = []
        if not self.is_ending:
            batch = self._batcher.next_due(now) if self.assign.streaming else None
            if batch is not None:
                due.append(batch)
            if self.stop_deadline is not None:
                due.append(max(now, self.stop_deadline))
        if sending and (owed := self.outbox.next_due(now)) is not None:
            due.append(owed)
        return min(due) if due else None

    def advance(self, now: float) -> bool:
        """Move the batch that is due to the outbox. True when the agent did not stop in time: the thought has ended."""
        if self.is_ending:
            return False
        if self.stop_deadline is not None and now >= self.stop_deadline:
            self.end(Stopped(), now)
            return True
        if self.assign.streaming:  # Otherwise all of it goes out at the end.
            for batch in self._batcher.take_due(now):
                self._write(batch.channel, batch.text)
        return False

    def flush(self, now: float) -> None:
        """Move everything to the outbox, due or not: the worker is about to end."""
        if not self.is_ending:
            self._flush(now)

    def _flush(self, now: float) -> None:
        for batch in self._batcher.take_all(now):
            self._write(batch.channel, batch.text)

    def _write(self, channel: Channel, text: str) -> None:
        if self.is_ending:
            return
        self.batches += 1
        if not self.outbox.write(channel, text):
            most = self._limits.thought_bytes_max
            self.outbox.abandon("too_long", f"a thought holds at most {most} bytes: ask for a shorter answer")


def _short(said: str) -> str:
    """What a model's server has said, as far as a message takes it."""
    return sendable(said)[:SHORT_CHARACTERS_MAX]
