"""The footer: the keys that matter now. A click on one presses it.

Owns: which of them fit. Must not: know what they do.
"""

from __future__ import annotations

from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from felixhub.views.tui.keys import shown
from felixhub.views.tui.look import Palette


class Hint(NamedTuple):
    """A key as Textual names it, and a word for it."""

    key: str
    word: str


class KeyBar(Widget):
    DEFAULT_CSS = "KeyBar { height: 1; dock: bottom; }"

    def __init__(self, palette: Palette) -> None:
        super().__init__()
        self.palette = palette
        self._hints: tuple[Hint, ...] = ()
        self._places: list[tuple[int, int, str]] = []  # from, to, key

    def show(self, hints: tuple[Hint, ...]) -> None:
        if hints != self._hints:
            self._hints = hints
            self.refresh()

    def render_line(self, _: int) -> Strip:
        width = self.size.width
        strong = self.palette.style("accent", on="panel", bold=True)
        quiet = self.palette.style("foreground", on="panel")
        parts = [Segment(" ", quiet)]
        self._places = []
        taken = 1
        for hint in self._hints:
            key = shown(hint.key)
            columns = cell_len(key) + 1 + cell_len(hint.word)
            if taken + columns > width:
                break
            parts += [Segment(key, strong), Segment(f" {hint.word}  ", quiet)]
            self._places.append((taken, taken + columns, hint.key))
            taken += columns + 2
        return Strip(parts).adjust_cell_length(width, quiet)

    def on_click(self, event: events.Click) -> None:
        for first, end, key in self._places:
            if first <= event.x < end:
                self.app.simulate_key(key)
