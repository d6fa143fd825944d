"""What one thought still owes the hub. Pure: no socket, no clock; `now` is an argument.

    ──write──► unsent ──take_due──► in flight ──acknowledge──► acknowledged
                  ▲                    │
                  └──gap, busy, 1 s────┘            after the last byte: the ending, until `ended` is heard

Owns: the text of the thought, what of it was sent and acknowledged, and its ending. All text is kept until the thought
has ended, so that a hub which comes back with less than it had acknowledged (a restored log) is helped too; the bound
is `thought_bytes_max`. Must not: batch (`ThoughtBatcher` does), or decide how a thought ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from felixhub.core.batcher import Channel
from felixhub.core.events import Reason, Usage
from felixhub.core.limits import DEFAULT_LIMITS, Limits
from felixhub.core.messages import Abandon, Finalize, Partial
from felixhub.core.thought import TextBuffer
from felixhub.worker.tokens import tokens_in

RESEND_S = 1.0
IN_FLIGHT_PARTIALS_MAX = 4  # full ones, per thought and channel: a hub that comes back is not flooded
ERROR_CHARACTERS_MAX = 4_000

OutboxMessage = Partial | Finalize | Abandon


@dataclass(slots=True)
class _Lane:
    """One channel. Invariant: `acked <= sent <= len(buffer)`, all at the start of a character."""

    buffer: TextBuffer = field(default_factory=TextBuffer)
    acked: int = 0
    sent: int = 0
    waiting_since: float | None = None  # since when bytes are in flight without progress
    gap: tuple[int, float] | None = None  # the last `gap` reject: its length and when

    def is_overdue(self, now: float) -> bool:
        return self.waiting_since is not None and now >= self.waiting_since + RESEND_S

    def go_on_from(self, length: int) -> None:
        """Whatever was sent from here on is to be sent again. The hub's lengths are whole characters; ours must be."""
        length = max(0, min(length, len(self.buffer)))
        self.acked = self.sent = _character_start(self.buffer.data, length)
        self.waiting_since = None


class Outbox:
    def __init__(self, thought: str, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.thought = thought
        self.partial_bytes_max = limits.partial_bytes_max
        self._bytes_max = limits.thought_bytes_max
        self._lanes: dict[Channel, _Lane] = {"reasoning": _Lane(), "text": _Lane()}
        self._ending: Finalize | Abandon | None = None
        self._ending_sent_at: float | None = None
        self._quiet_until: float | None = None

    # ---- what the agent says -----------------------------------------------------------------------------------------

    def write(self, channel: Channel, text: str) -> bool:
        """Keep new text. False when not all of it fits: the thought has reached `thought_bytes_max` and must end."""
        assert self._ending is None, "no text after the ending"
        data = text.encode()
        room = self._bytes_max - self.size
        if len(data) > room:
            self._lanes[channel].buffer.append(data[: _character_start(data, room)])
            return False
        self._lanes[channel].buffer.append(data)
        return True

    def finalize(
        self,
        *,
        finish_reason: str = "stop",
        model: str = "",
        truncated: bool = False,
        usage: Usage | None = None,
        first_token_s: float | None = None,
        seconds: float = 0.0,
    ) -> None:
        """The thought is whole. `seconds` from its assignment to its end."""
        assert self._ending is None, "a thought ends once"
        text, reasoning = self._lanes["text"].buffer, self._lanes["reasoning"].buffer
        self._ending = Finalize(
            thought=self.thought,
            length=len(text),
            sha256=text.sha256,
            reasoning_length=len(reasoning),
            reasoning_sha256=reasoning.sha256,
            finish_reason=finish_reason,
            model=model,
            truncated=truncated,
            usage=usage or Usage(),
            first_token_s=first_token_s,
            seconds=seconds,
        )

    def abandon(self, reason: Reason, error: str = "", *, lasting: bool = False) -> None:
        """The thought ends without a result. It may take the place of a `Finalize` that the hub has refused."""
        self._ending_sent_at = None
        self._ending = Abandon(
            thought=self.thought,
            length=len(self._lanes["text"].buffer),
            reason=reason,
            error=error[:ERROR_CHARACTERS_MAX],
            lasting=lasting,
        )

    @property
    def ending(self) -> Finalize | Abandon | None:
        return self._ending

    @property
    def size(self) -> int:
        """Bytes of both channels."""
        return sum(len(lane.buffer) for lane in self._lanes.values())

    def length(self, channel: Channel) -> int:
        return len(self._lanes[channel].buffer)

    # ---- what the hub says -------------------------------------------------------------------------------------------

    def acknowledge(self, channel: Channel, length: int, now: float) -> None:
        """The hub durably has this much."""
        lane = self._lanes[channel]
        length = min(length, len(lane.buffer))
        if length <= lane.acked:
            return  # Acknowledgements are cumulative: an old one says nothing new.
        lane.acked = length
        lane.sent = max(lane.sent, length)
        lane.gap = None
        lane.waiting_since = now if lane.sent > length else None

    def reject_gap(self, channel: Channel, length: int, now: float) -> None:
        """The hub has only this much and was sent something further on."""
        lane = self._lanes[channel]
        if lane.gap and lane.gap[0] == length and now < lane.gap[1] + RESEND_S:
            return  # Everything that was in flight behind the hole is rejected; the first reject was enough.
        lane.gap = (length, now)
        lane.go_on_from(length)
        self._ending_sent_at = None

    def resume(self, *, text: int, reasoning: int) -> None:
        """A welcome: this is what the hub has now, more or less than we knew."""
        self._lanes["text"].go_on_from(text)
        self._lanes["reasoning"].go_on_from(reasoning)
        for lane in self._lanes.values():
            lane.gap = None
        self._ending_sent_at = None
        self._quiet_until = None

    def defer(self, until: float) -> None:
        """The hub is busy: nothing before then, and then again all that it has not acknowledged."""
        for lane in self._lanes.values():
            lane.go_on_from(lane.acked)
        self._ending_sent_at = None
        self._quiet_until = until

    # ---- what to send ------------------------------------------------------------------------------------------------

    def is_overdue(self, now: float) -> bool:
        """Something was sent more than a second ago and the hub has not answered."""
        ending = self._ending_sent_at is not None and now >= self._ending_sent_at + RESEND_S
        return ending or any(lane.is_overdue(now) for lane in self._lanes.values())

    def next_due(self, now: float) -> float | None:
        """When to call `take_due`: `now` or later, None while there is nothing to send and nothing to wait for."""
        due = [lane.waiting_since + RESEND_S for lane in self._lanes.values() if lane.waiting_since is not None]
        if self._can_send_text() or self._can_send_ending():
            due.append(now)
        elif self._ending_sent_at is not None:
            due.append(self._ending_sent_at + RESEND_S)
        return max(now, min(due), self._quiet_until or now) if due else None

    def take_due(self, now: float) -> list[OutboxMessage]:
        """What is to be sent now. Losing it costs a second."""
        if self._quiet_until is not None:
            if now < self._quiet_until:
                return []
            self._quiet_until = None
        messages: list[OutboxMessage] = []
        for channel, lane in self._lanes.items():
            if lane.is_overdue(now):
                lane.go_on_from(lane.acked)
                self._ending_sent_at = None
            while (end := self._sendable_until(lane)) > lane.sent:
                messages.append(self._partial(channel, lane, end))
                lane.sent = end
                if lane.waiting_since is None:
                    lane.waiting_since = now
        if self._ending_sent_at is not None and now >= self._ending_sent_at + RESEND_S:
            self._ending_sent_at = None
        if self._ending is not None and self._can_send_ending():
            messages.append(self._ending)
            self._ending_sent_at = now
        return messages

    def _can_send_text(self) -> bool:
        return any(self._sendable_until(lane) > lane.sent for lane in self._lanes.values())

    def _can_send_ending(self) -> bool:
        all_sent = all(lane.sent == len(lane.buffer) for lane in self._lanes.values())
        return self._ending is not None and self._ending_sent_at is None and all_sent

    def _sendable_until(self, lane: _Lane) -> int:
        """Where the next partial ends; `sent` when there is none, or when enough is in flight."""
        if lane.sent - lane.acked >= IN_FLIGHT_PARTIALS_MAX * self.partial_bytes_max:
            return lane.sent
        return _character_start(lane.buffer.data, min(len(lane.buffer), lane.sent + self.partial_bytes_max))

    def _partial(self, channel: Channel, lane: _Lane, end: int) -> Partial:
        other = self._lanes["reasoning" if channel == "text" else "text"]
        return Partial(
            thought=self.thought,
            channel=channel,
            offset=lane.sent,
            text=lane.buffer.data[lane.sent : end].decode(),
            tokens=tokens_in(end + other.sent),
        )


def _character_start(data: bytes | bytearray, index: int) -> int:
    """`index`, or the start of the character that it would cut in two."""
    while 0 < index < len(data) and data[index] & 0xC0 == 0x80:
        index -= 1
    return index
