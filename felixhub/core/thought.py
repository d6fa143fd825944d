"""One thought: its buffers and its life cycle.

    ──started──► open ──finalize──────────────────────► final
                  │ ╲──cancelling──► (open, being cancelled)
                  └────abandon, lease, cancel──────────► abandoned

Owns: the append rules and what is checked before a thought ends. Must not: know runs, stages or sockets.
Only `apply` changes a thought; everything else asks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from felixhub.core.batcher import Channel
from felixhub.core.events import (
    Event,
    Reason,
    ThoughtAbandoned,
    ThoughtCancelling,
    ThoughtFinalized,
    ThoughtPartial,
    ThoughtStarted,
)


class TextBuffer:
    """Text as UTF-8 bytes with a running hash, so that checking the end costs nothing however long it got."""

    __slots__ = ("_hash", "data")

    def __init__(self) -> None:
        self.data = bytearray()
        self._hash = hashlib.sha256()

    def append(self, data: bytes) -> None:
        self.data += data
        self._hash.update(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __len__(self) -> int:
        return len(self.data)

    def __str__(self) -> str:
        return self.data.decode()


@dataclass(frozen=True, slots=True)
class Fit:
    """How new text fits a buffer. `tail` is what to append: empty for a repeat."""

    verdict: Literal["append", "repeat", "gap", "conflict"]
    tail: bytes = b""


def fit(buffer: TextBuffer, offset: int, data: bytes) -> Fit:
    """The append rule of the protocol: equal overlap is skipped, a different one is a conflict, a hole is a gap."""
    length = len(buffer)
    if offset == length:
        return Fit("append", data) if data else Fit("repeat")
    if offset > length:
        return Fit("gap")
    overlap = min(length - offset, len(data))
    if buffer.data[offset : offset + overlap] != data[:overlap]:
        return Fit("conflict")
    tail = data[overlap:]
    return Fit("append", tail) if tail else Fit("repeat")  # A repeat: the worker sent it twice.


class Thought:
    """A thought as the log tells it. `started` is its assignment; `final` or `abandoned` is set once it has ended."""

    __slots__ = (
        "abandoned",
        "cancelling",
        "final",
        "first_at",
        "last_token_at",
        "reasoning",
        "started",
        "text",
        "tokens",
    )

    def __init__(self, started: ThoughtStarted) -> None:
        self.started = started
        self.text = TextBuffer()
        self.reasoning = TextBuffer()
        self.tokens = 0
        self.first_at: float | None = None  # of its first text, where that was seen
        self.last_token_at: float | None = None
        self.cancelling: ThoughtCancelling | None = None
        self.final: ThoughtFinalized | None = None
        self.abandoned: ThoughtAbandoned | None = None

    @property
    def id(self) -> str:
        return self.started.thought

    @property
    def is_open(self) -> bool:
        return self.final is None and self.abandoned is None

    @property
    def state(self) -> Literal["open", "final", "abandoned"]:
        if self.is_open:
            return "open"
        return "final" if self.final else "abandoned"

    @property
    def abandon_reason(self) -> Reason | None:
        return self.abandoned.reason if self.abandoned else None

    @property
    def model(self) -> str | None:
        """The model that was asked for; where the choice was left to the server, the one that answered, once final."""
        return self.started.model or (self.final.model if self.final else "") or None

    @property
    def size(self) -> int:
        """Bytes of both channels."""
        return len(self.text) + len(self.reasoning)

    @property
    def first_token_at(self) -> float | None:
        """In unix seconds: as its worker measured it, else when its first text came, else not known."""
        if self.final is not None and self.final.first_token_s is not None:
            return self.started.at + self.final.first_token_s
        return self.first_at

    def buffer(self, channel: Channel) -> TextBuffer:
        return self.text if channel == "text" else self.reasoning

    def buffers(self) -> tuple[tuple[Channel, TextBuffer], ...]:
        return (("text", self.text), ("reasoning", self.reasoning))

    def apply(self, event: Event) -> None:
        match event:
            case ThoughtPartial():
                self.buffer(event.channel).append(event.text.encode())
                self.tokens = event.tokens
                self.last_token_at = event.at
                self.first_at = self.first_at or event.at
            case ThoughtCancelling():
                self.cancelling = event
            case ThoughtFinalized():
                self.final = event
            case ThoughtAbandoned():
                self.abandoned = event
