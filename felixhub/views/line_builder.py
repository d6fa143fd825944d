"""Whole lines out of text that comes in batches: one builder per thought and channel.

    batch ──► pending ──newline, width, stillness, end──► lines

Owns: the text of the line that has not been shown yet. Must not: know agents, colours or prefixes.
"""

from __future__ import annotations

from felixhub.views.text_width import text_width, wrapped

STILL_S = 0.4  # on a terminal: text that has not grown for this long is shown as it is
STILL_S_MAX = 2.0
HELD_S_MAX = 3.0  # and text that does grow, but too slowly to fill a line, is shown up to its last word
STILL_GAPS = 3  # a slow model pauses between any two tokens: wait for this many of its usual pauses
TAB = "    "


class LineBuilder:
    __slots__ = ("_continues", "_gap_s", "_grown_at", "_held_since", "_pending")

    def __init__(self) -> None:
        self._pending = ""
        self._continues = False  # what is pending goes on a line that was shown already
        self._gap_s = 0.0
        self._grown_at: float | None = None
        self._held_since = 0.0

    def add(self, text: str, *, width: int, now: float) -> list[str]:
        """The lines that are whole now, each at most `width` columns. `text` has been made safe before."""
        if self._grown_at is not None:
            self._gap_s += 0.3 * (max(0.0, now - self._grown_at) - self._gap_s)
        self._grown_at = now
        if not self._pending:
            self._held_since = now
        self._pending += text.replace("\t", TAB)
        if 2 * len(self._pending) <= width and "\n" not in text:
            return []  # It fits even if every character is wide.
        self._held_since = now
        *whole, rest = self._pending.split("\n")
        lines: list[str] = []
        for line in whole:
            lines.extend(self._wrap(line, width))
            self._continues = False
        self._pending = rest
        if text_width(rest) > width:
            *full, self._pending = wrapped(rest.lstrip(" ") if self._continues else rest, width)
            lines.extend(full)
            self._continues = True
        return lines

    def take_due(self, now: float, *, width: int) -> list[str]:
        """On a terminal: what has not grown for a while, or has been held for too long."""
        if not self._pending or self._grown_at is None:
            return []
        if abs(now - self._grown_at) >= min(STILL_S_MAX, max(STILL_S, STILL_GAPS * self._gap_s)):
            return self.flush(width=width)
        if abs(now - self._held_since) < HELD_S_MAX:
            return []
        self._held_since = now
        words, space, rest = self._pending.rpartition(" ")
        if not words.strip():
            return []
        self._pending = words
        lines = self.flush(width=width)
        self._pending = space + rest
        return lines

    def flush(self, *, width: int) -> list[str]:
        """Whatever waits, as lines; what comes later goes on on a line of its own."""
        if not self._pending:
            return []
        lines = self._wrap(self._pending, width)
        self._pending = ""
        self._continues = True
        return lines

    def _wrap(self, line: str, width: int) -> list[str]:
        if self._continues:
            line = line.lstrip(" ")
            if not line:
                return []  # Only the end of a line that was shown already.
        return wrapped(line.rstrip(" "), width)
