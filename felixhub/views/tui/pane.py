"""One agent's pane: its border with badge and helix, the end of its text, its figures.

Owns: how an agent looks in the grid. Must not: know other panes, or how the text came.
"""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from felixhub.core.overview import AgentView
from felixhub.core.thought import Thought
from felixhub.views import wording
from felixhub.views.tui.look import MARKS, WRITING, Look, Palette
from felixhub.views.tui.tail import tail_lines

ROWS_MIN = 7
SPARK_COLUMNS = 8
HELIX_COLUMNS = 16


class Pane(Widget):
    """Shows what it is given by `show`; repaints only the rows that have changed."""

    DEFAULT_CSS = "Pane { width: 1fr; height: 1fr; }"

    class Clicked(Message):
        def __init__(self, pane: Pane, *, twice: bool) -> None:
            super().__init__()
            self.pane = pane
            self.twice = twice

    def __init__(self, look: Look, palette: Palette) -> None:
        super().__init__()
        self._look = look
        self.palette = palette
        self.agent: str | None = None
        self._rows: list[Strip] = []
        self._again: Callable[[], None] | None = None  # the last `show`

    def on_resize(self) -> None:
        if self._again is not None:
            self._again()

    def show(
        self, view: AgentView | None, thought: Thought | None, *, number: int, selected: bool, blink: bool, found: str
    ) -> None:
        """Draw it anew; `found` is what a filter looks for in the text."""
        self.agent = view.agent if view is not None else None
        self._again = lambda: self.show(view, thought, number=number, selected=selected, blink=blink, found=found)
        width, height = self.size
        rows = self._drawn(view, thought, width, height, number, selected, blink, found) if width > 8 else []
        changed = [y for y, row in enumerate(rows) if y >= len(self._rows) or row != self._rows[y]]
        is_same_size = len(rows) == len(self._rows)
        self._rows = rows
        if not is_same_size:
            self.refresh()
        elif changed:
            self.refresh(Region(0, changed[0], width, changed[-1] - changed[0] + 1))

    def render_line(self, y: int) -> Strip:
        if y < len(self._rows) and self._rows[y].cell_length == self.size.width:
            return self._rows[y]
        return Strip.blank(self.size.width, self.palette.style())

    def on_click(self, event: events.Click) -> None:
        self.post_message(self.Clicked(self, twice=event.chain > 1))

    # ---- drawing -----------------------------------------------------------------------------------------------------

    def _drawn(
        self,
        view: AgentView | None,
        thought: Thought | None,
        width: int,
        height: int,
        number: int,
        selected: bool,
        blink: bool,
        found: str,
    ) -> list[Strip]:
        if view is None:
            return [Strip.blank(width, self.palette.style()) for _ in range(height)]
        tone = MARKS[view.state].tone
        edge = self.palette.style("primary" if selected else tone if view.state in _LOUD else "faint", bold=selected)
        border = self._look.signs.strong if selected else self._look.signs.thin
        inner = width - 4
        plain = self.palette.style()
        body = self._body(view, thought, inner, height - 3, blink, found)
        side = Segment(border.down, edge)
        rows = [self._top(view, width, number, edge, selected=selected)]
        for segments in [*body, self._figures(view, inner)]:
            line = Strip(segments).adjust_cell_length(inner, plain)
            rows.append(Strip([side, Segment(" ", plain), *line, Segment(" ", plain), side], width))
        rows.append(self._bottom(view, width, edge, selected=selected))
        return rows

    def _top(self, view: AgentView, width: int, number: int, edge: Style, *, selected: bool) -> Strip:
        border = self._look.signs.strong if selected else self._look.signs.thin
        mark = MARKS[view.state]
        badge = f" {self._look.badge(view)} "
        name = f" {self._look.line(view.agent)} "
        if number <= 9:
            name = f" {number}{name}"
        room = width - 4 - cell_len(badge)
        if cell_len(name) > room:
            name = set_cell_size(name, max(1, room - len(self._look.signs.cut))) + self._look.signs.cut
        fill = max(0, room - cell_len(name))
        return Strip(
            [
                Segment(border.top_left + border.across, edge),
                Segment(name, self.palette.style("primary" if selected else "foreground", bold=True)),
                Segment(border.across * fill, edge),
                Segment(badge, self.palette.style(mark.tone, bold=True)),
                Segment(border.across + border.top_right, edge),
            ]
        ).adjust_cell_length(width, edge)

    def _bottom(self, view: AgentView, width: int, edge: Style, *, selected: bool) -> Strip:
        """The way along the helix, drawn into the border, and what attempt it is."""
        signs = self._look.signs
        border = signs.strong if selected else signs.thin
        parts = [Segment(border.bottom_left + border.across, edge)]
        if view.on_helix:
            columns = min(HELIX_COLUMNS, max(4, width // 4))
            done = round(view.progress * (columns - 1))
            parts += [
                Segment(" " + signs.path * done + signs.place, self.palette.style(MARKS[view.state].tone)),
                Segment(signs.ahead * (columns - 1 - done), self.palette.style("faint")),
                Segment(f" {view.progress:.2f} ", self.palette.style("muted")),
            ]
        notes = []
        if view.section and view.section != view.agent:
            notes.append(self._look.line(view.section))
        if view.round > 1:
            notes.append(f"round {view.round}")
        if view.attempt > 1:
            notes.append(f"attempt {view.attempt}")
        note = f" {signs.dot.join(notes)} " if notes else ""
        room = width - 2 - sum(part.cell_length for part in parts)
        if cell_len(note) > room:
            note = ""
        parts += [
            Segment(border.across * (room - cell_len(note)), edge),
            Segment(note, self.palette.style("muted")),
            Segment(border.across + border.bottom_right, edge),
        ]
        return Strip(parts).adjust_cell_length(width, edge)

    def _body(
        self, view: AgentView, thought: Thought | None, width: int, height: int, blink: bool, found: str
    ) -> list[list[Segment]]:
        if height <= 0:
            return []
        why = [self._look.line(view.why)] if view.why and view.state in _SAYS_WHY else []
        text_rows = max(0, height - len(why))
        ink, lines = "foreground", []
        if thought is not None and len(thought.text):
            lines = tail_lines(thought.text, width - 1, text_rows, self._look.text)
        elif thought is not None and len(thought.reasoning):
            ink, lines = "muted", tail_lines(thought.reasoning, width - 1, text_rows, self._look.text)
        style = self.palette.style(ink)
        rows = [self._marked(line, style, found) if found else [Segment(line, style)] for line in lines]
        if view.state in WRITING and thought is not None and len(thought.text) and self._look.moves:
            sign = self._look.signs.cursor if blink else " "
            rows[-1].append(Segment(sign, self.palette.style(MARKS[view.state].tone)))
        rows += [[Segment(set_cell_size(line, width), self.palette.style(MARKS[view.state].tone))] for line in why]
        return [*rows, *([] for _ in range(height - len(rows)))]

    def _marked(self, line: str, style: Style, found: str) -> list[Segment]:
        """The line with what was looked for in reverse."""
        place = line.casefold().find(found) if len(line.casefold()) == len(line) else -1
        if place < 0:
            return [Segment(line, style)]
        end = place + len(found)
        return [
            Segment(line[:place], style),
            Segment(line[place:end], style + Style(reverse=True)),
            *self._marked(line[end:], style, found),
        ]

    def _figures(self, view: AgentView, width: int) -> list[Segment]:
        """Words and tokens, and how fast they come."""
        muted = self.palette.style("muted")
        spark = self._look.spark(view.rates, SPARK_COLUMNS) if view.state in WRITING else ""
        if spark:
            rate = f" {view.rate:.0f}/s" if view.rate >= 10 else f" {view.rate:.1f}/s" if view.rate else ""
            room = width - cell_len(spark) - cell_len(rate) - 1
            shown = set_cell_size(self._fitting(self._counts(view), room), room)
            tone = self.palette.style(MARKS[view.state].tone)
            return [Segment(shown + " ", muted), Segment(spark, tone), Segment(rate, muted)]
        parts = self._counts(view)
        if view.first_token_s is not None:
            parts.append(f"first {wording.span(view.first_token_s)}")
        if view.seconds is not None:
            parts.append(wording.span(view.seconds))
        if view.truncated:
            parts.insert(0, "TRUNCATED")
        if not parts and view.model:
            parts = [self._look.line(wording.model_of(view.endpoint, view.model))]
        return [Segment(self._fitting(parts, width), muted)]

    def _counts(self, view: AgentView) -> list[str]:
        if not view.tokens:
            return []
        said = "~" if view.tokens_estimated else ""
        return [f"{said}{view.tokens:,} tok", wording.count(view.words, "word")]

    def _fitting(self, parts: list[str], width: int) -> str:
        """As many of the parts as there is room for."""
        dot = self._look.signs.dot
        while parts and cell_len(dot.join(parts)) > width:
            parts = parts[:-1]
        return dot.join(parts)


_LOUD = ("streaming", "regenerating", "stalled", "failed", "cancelling", "approved")
_SAYS_WHY = ("failed", "cancelled", "backing_off", "waiting", "queued", "skipped", "paused")
