"""A text on the whole screen: lines that are drawn when they are seen, however many there are.

Owns: following the end, scrolling, and finding words. Must not: know where the text comes from.
"""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from felixhub.views.tui.look import Look, Palette
from felixhub.views.tui.wrapped_text import WrappedText


class Body(ScrollView, can_focus=False):
    """`put` gives it another text, `add` more of it; `put_strips` lines that are drawn already, Markdown say."""

    DEFAULT_CSS = """
    Body { width: 1fr; height: 1fr; padding: 0 2; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 1; }
    """

    def __init__(self, look: Look, palette: Palette) -> None:
        super().__init__()
        self._look = look
        self.palette = palette
        self._text = ""
        self._wraps = True
        self._wrapped = WrappedText(None)
        self._strips: list[Strip] | None = None
        self._tone = "foreground"
        self._cursor = ""
        self._found = ""
        self._widest = 0
        self._lines_seen = 0
        self.follows = True

    # ---- the text ----------------------------------------------------------------------------------------------------

    @property
    def columns(self) -> int:
        """What there is for a line, the cursor's column left free."""
        return max(10, self.scrollable_content_region.width - 1)

    @property
    def count(self) -> int:
        return len(self._strips) if self._strips is not None else len(self._wrapped.lines)

    @property
    def unseen(self) -> int:
        """Lines that have come since the view stopped following."""
        return 0 if self.follows else max(0, self.count - self._lines_seen)

    @property
    def wraps(self) -> bool:
        return self._wraps

    def put(self, text: str, *, tone: str = "foreground") -> None:
        """Another text."""
        self._text = text
        self._tone = tone
        self._strips = None
        self._rewrap()

    def add(self, text: str) -> None:
        """More of the same text."""
        before = max(0, len(self._wrapped.lines) - 1)
        self._text += text
        self._wrapped.add(text)
        self._measure(before)
        self._resized()

    def put_strips(self, strips: list[Strip]) -> None:
        """Lines as they are to be seen."""
        self._strips = strips
        self._widest = 0
        self._resized()

    def show_cursor(self, sign: str) -> None:
        if sign != self._cursor:
            self._cursor = sign
            self.refresh()

    def wrap(self, wraps: bool) -> None:
        self._wraps = wraps
        self._rewrap()

    def rewrap(self) -> None:
        """The width has changed."""
        if self._strips is None and self._wraps and self._wrapped.width != self.columns:
            self._rewrap()

    def _rewrap(self) -> None:
        self._wrapped = WrappedText(self.columns if self._wraps else None)
        self._wrapped.add(self._text)
        self._widest = 0
        self._measure(0)
        self._resized()

    def _measure(self, first: int) -> None:
        if not self._wraps:
            self._widest = max([self._widest, *(len(line) for line in self._wrapped.lines[first:])])

    def _resized(self) -> None:
        self.virtual_size = Size(self._widest, self.count)
        if self.follows:
            self._lines_seen = self.count
            self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)
        self.refresh()

    # ---- scrolling ---------------------------------------------------------------------------------------------------

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        at_end = round(new_value) >= self.max_scroll_y
        if self.follows and not at_end and new_value < old_value:
            self.follows = False
            self._lines_seen = self.count
        elif at_end and not self.follows:
            self.follows = True

    def move(self, lines: int) -> None:
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False, immediate=True)

    def move_page(self, pages: int) -> None:
        self.move(pages * max(1, self.scrollable_content_region.height - 1))

    def move_sideways(self, by: int) -> None:
        self.scroll_to(x=self.scroll_offset.x + by * 8, animate=False, immediate=True)

    def go(self, line: int) -> None:
        """Show this line in the middle."""
        middle = self.scrollable_content_region.height // 2
        self.follows = False
        self.scroll_to(y=max(0, line - middle), animate=False, immediate=True)

    def follow(self) -> None:
        self.follows = True
        self.scroll_to(y=self.max_scroll_y, animate=False, immediate=True, force=True)
        self.refresh()

    # ---- finding -----------------------------------------------------------------------------------------------------

    def find(self, words: str) -> int:
        """Mark these words everywhere; returns on how many lines they are."""
        self._found = words.casefold()
        self.refresh()
        return len(self.places())

    def places(self) -> list[int]:
        if not self._found:
            return []
        lines = [strip.text for strip in self._strips] if self._strips is not None else self._wrapped.lines
        return [number for number, line in enumerate(lines) if self._found in line.casefold()]

    # ---- drawing -----------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        width = self.scrollable_content_region.width
        ground = self.palette.style()
        number = top + y
        if number >= self.count:
            return Strip.blank(width, ground)
        if self._strips is not None:
            strip = self._strips[number]
            return strip.crop(left, left + width).adjust_cell_length(width, ground)
        line = self._wrapped.lines[number]
        segments = self._marked(line, self.palette.style(self._tone))
        if self._cursor and number == self.count - 1:
            segments.append(Segment(self._cursor, self.palette.style("primary")))
        return Strip(segments).crop(left, left + width).adjust_cell_length(width, ground)

    def _marked(self, line: str, style: Style) -> list[Segment]:
        folded = line.casefold()
        if not self._found or self._found not in folded or len(folded) != len(line):
            return [Segment(line, style)]
        parts = []
        start = 0
        while (place := folded.find(self._found, start)) >= 0:
            parts += [
                Segment(line[start:place], style),
                Segment(line[place : place + len(self._found)], style + Style(reverse=True)),
            ]
            start = place + len(self._found)
        return [*parts, Segment(line[start:], style)]
