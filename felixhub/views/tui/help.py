"""The help, made from the bindings and the states: what is bound is what is told.

Owns: the order. Must not: name a key of its own.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

from felixhub.views.text_width import wrapped
from felixhub.views.tui import keys
from felixhub.views.tui.look import MARKS, Look, Palette
from felixhub.views.tui.pager import Pager

KEY_COLUMNS = 18
STATES_PER_LINE = 4


class Help(Pager):
    def __init__(self, look: Look, palette: Palette) -> None:
        super().__init__(look, palette, "Keys")
        self._look = look
        self._palette = palette

    def on_resize(self) -> None:
        self.call_after_refresh(lambda: self.show(help_strips(self._look, self._palette, self.body.columns)))


def help_strips(look: Look, palette: Palette, width: int) -> list[Strip]:
    title = palette.style("accent", bold=True)
    key, plain = palette.style("primary", bold=True), palette.style()
    strips = [Strip([Segment("What the signs mean", title)])]
    line: list[Segment] = []
    for number, (state, mark) in enumerate(MARKS.items(), 1):
        line.append(
            Segment(
                f"{look.sign(state)} {mark.word}".ljust(min(20, width // STATES_PER_LINE)), palette.style(mark.tone)
            )
        )
        if number % STATES_PER_LINE == 0 or number == len(MARKS):
            strips.append(Strip([Segment("  ", plain), *line]))
            line = []
    for chapter, bindings in keys.CHAPTERS:
        strips += [Strip([]), Strip([Segment(chapter, title)])]
        for names, about in keys.rows(bindings):
            shown = look.keys(names)
            room = max(20, width - KEY_COLUMNS - 3)
            first, *others = wrapped(about, room)
            gap = " " * max(1, KEY_COLUMNS - cell_len(shown))
            strips.append(Strip([Segment(f"  {shown}{gap}", key), Segment(first, plain)]))
            strips += [Strip([Segment(" " * (KEY_COLUMNS + 2) + other, plain)]) for other in others]
    return strips
