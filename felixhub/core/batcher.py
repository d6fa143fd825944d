"""Batching of new text: at once for the first, then by time and size. Pure: `now` is an argument.

Owns: what has been said and not yet sent. Must not: own a timer or a socket; whoever does asks `next_due`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Channel = Literal["text", "reasoning"]
BATCH_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Batch:
    """New text of one channel; `offset` is where it starts, in UTF-8 bytes."""

    channel: Channel
    offset: int
    text: str


class ThoughtBatcher:
    """Collects the text of one thought.

    The first text goes out at once. After that a batch is due `interval_s` after the last one, by whoever's timer, or
    as soon as it holds 4 KiB, or when `take_all` ends it. A batch never splits a character and is at most 4 KiB long.
    """

    def __init__(self, *, interval_s: float = 0.1, bytes_max: int = BATCH_BYTES_MAX) -> None:
        assert bytes_max >= 4, "a batch must have room for any character"
        self._interval_s = interval_s
        self._bytes_max = bytes_max
        self._parts: list[tuple[Channel, str]] = []
        self._waiting_bytes = 0
        self._lengths: dict[Channel, int] = {"text": 0, "reasoning": 0}
        self._last_taken_at: float | None = None

    def add(self, channel: Channel, text: str) -> None:
        if text:
            self._parts.append((channel, text))
            self._waiting_bytes += len(text.encode())

    def next_due(self, now: float) -> float | None:
        """When to call `take_due`: `now` or later, None while nothing waits."""
        if not self._parts:
            return None
        if self._last_taken_at is None or self._waiting_bytes >= self._bytes_max:
            return now
        return max(now, self._last_taken_at + self._interval_s)

    def take_due(self, now: float) -> list[Batch]:
        """The batches that are due by now; empty when it is too early."""
        due = self.next_due(now)
        if due is None or due > now:
            return []
        return self.take_all(now)

    def take_all(self, now: float) -> list[Batch]:
        """Everything that waits: at the end, on error and on cancel."""
        if not self._parts:
            return []
        batches: list[Batch] = []
        parts, self._parts, self._waiting_bytes = self._parts, [], 0
        self._last_taken_at = now
        run: list[str] = []
        for index, (channel, text) in enumerate(parts):
            run.append(text)
            if index + 1 == len(parts) or parts[index + 1][0] != channel:
                batches.extend(self._split(channel, "".join(run)))
                run = []
        return batches

    def _split(self, channel: Channel, text: str) -> list[Batch]:
        data = text.encode()
        batches: list[Batch] = []
        start = 0
        while start < len(data):
            end = min(len(data), start + self._bytes_max)
            while end < len(data) and data[end] & 0xC0 == 0x80:  # inside a character: step back to its first byte
                end -= 1
            batches.append(Batch(channel, self._lengths[channel], data[start:end].decode()))
            self._lengths[channel] += end - start
            start = end
        return batches
