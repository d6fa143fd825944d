"""A picture out of characters: dots of a quarter of a line each (braille), and signs over them.

Owns: the cells. Must not: know what is drawn.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

from felixhub.views.tui.look import Palette, Tone

_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column in a cell


class Canvas:
    """`columns` by `rows` cells, each 2 by 4 dots; with `ascii_only` a cell is one dot."""

    def __init__(self, columns: int, rows: int, *, ascii_only: bool) -> None:
        self.columns = columns
        self.rows = rows
        self._ascii_only = ascii_only
        self._dots: dict[tuple[int, int], int] = {}  # by row and column
        self._tones: dict[tuple[int, int], Tone] = {}
        self._signs: dict[tuple[int, int], tuple[str, Tone, bool]] = {}

    def copy(self) -> Canvas:
        """Another one with the same on it."""
        other = Canvas(self.columns, self.rows, ascii_only=self._ascii_only)
        other._dots, other._tones, other._signs = dict(self._dots), dict(self._tones), dict(self._signs)
        return other

    def dot(self, x: float, y: float, tone: Tone) -> None:
        """A dot at these columns and rows, which may be fractions."""
        column, row = int(x), int(y)
        if not (0 <= column < self.columns and 0 <= row < self.rows) or x < 0 or y < 0:
            return
        bit = _BITS[int((y - row) * 4)][int((x - column) * 2)]
        self._dots[row, column] = self._dots.get((row, column), 0) | bit
        self._tones[row, column] = tone

    def line(self, x: float, y: float, to_x: float, to_y: float, tone: Tone, *, gap: int = 1) -> None:
        steps = max(1, int(max(abs(to_x - x) * 2, abs(to_y - y) * 4)))
        for step in range(0, steps + 1, gap):
            share = step / steps
            self.dot(x + (to_x - x) * share, y + (to_y - y) * share, tone)

    def is_free(self, column: int, row: int, width: int) -> bool:
        """Whether no sign is there."""
        inside = 0 <= row < self.rows and column >= 0 and column + width <= self.columns
        return inside and not any((row, at) in self._signs for at in range(column, column + width))

    def write(self, column: int, row: int, text: str, tone: Tone, *, bold: bool = False) -> None:
        """Text over the dots; what lies outside is left out."""
        for char in text:
            width = cell_len(char)
            if 0 <= row < self.rows and column >= 0 and column + width <= self.columns:
                self._signs[row, column] = (char, tone, bold)
                for more in range(1, width):
                    self._signs[row, column + more] = ("", tone, bold)
            column += width

    def strips(self, palette: Palette) -> list[Strip]:
        return [self._strip(row, palette) for row in range(self.rows)]

    def _strip(self, row: int, palette: Palette) -> Strip:
        segments: list[Segment] = []
        for column in range(self.columns):
            if (row, column) in self._signs:
                char, tone, bold = self._signs[row, column]
            else:
                bits = self._dots.get((row, column), 0)
                char = " " if not bits else "." if self._ascii_only else chr(0x2800 + bits)
                tone, bold = self._tones.get((row, column), "foreground"), False
            segments.append(Segment(char, palette.style(tone, bold=bold)))
        return Strip(segments).simplify()
