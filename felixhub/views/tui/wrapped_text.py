"""A growing text as lines of a width: what came before is never wrapped again.

Owns: the lines. Must not: make text harmless, or draw.
"""

from __future__ import annotations

from felixhub.views.text_width import wrapped

LINE_COLUMNS_MAX = 10_000  # of a line that is not wrapped; the rest of it is cut


class WrappedText:
    """`lines` of at most `width` columns; with `width` None as they are, up to a bound."""

    def __init__(self, width: int | None) -> None:
        self.width = width
        self.lines: list[str] = [""]
        self._continues = False  # whether the last line goes on with the one before

    def add(self, text: str) -> None:
        """More of the text. Wrapping is greedy, so only the last line can still change."""
        first, *others = text.split("\n")
        self._extend(first)
        for line in others:
            self.lines.append("")
            self._continues = False
            self._extend(line)

    def _extend(self, text: str) -> None:
        if self.width is None:
            self.lines[-1] += text[: max(0, LINE_COLUMNS_MAX - len(self.lines[-1]))]
            return
        if self._continues and not self.lines[-1]:
            text = text.lstrip(" ")  # The spaces at a cut are dropped, also those that come later.
        pieces = wrapped(self.lines[-1] + text, self.width)
        self._continues = self._continues or len(pieces) > 1
        self.lines[-1:] = pieces
