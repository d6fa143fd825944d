"""The two lines at the top: which run, how it stands, and whether the hub is heard.

Owns: what is left out where there is no room. Must not: count anything.
"""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from felixhub.core.overview import Overview, State
from felixhub.views import wording
from felixhub.views.tui.look import MARKS, Look, Palette

SPARK_COLUMNS = 20
ORDER: tuple[State, ...] = (
    "streaming",
    "regenerating",
    "thinking",
    "stalled",
    "cancelling",
    "queued",
    "backing_off",
    "waiting",
    "paused",
    "final",
    "approved",
    "failed",
    "cancelled",
    "skipped",
)
_STATUS_TONES = {"running": "primary", "finished": "success", "failed": "error", "paused": "secondary"}


class Heading(Widget):
    DEFAULT_CSS = "Heading { height: 2; dock: top; }"

    def __init__(self, look: Look, palette: Palette) -> None:
        super().__init__()
        self._look = look
        self.palette = palette
        self._rows: list[Strip] = []

    def show(self, seen: Overview | None, *, is_away: bool, gaps_repaired: int, page: str) -> None:
        rows = [self._first(seen, is_away, gaps_repaired), self._second(seen, page)]
        if rows != self._rows:
            self._rows = rows
            self.refresh()

    def render_line(self, y: int) -> Strip:
        ground = self.palette.style(on="panel")
        return (self._rows[y] if y < len(self._rows) else Strip([])).adjust_cell_length(self.size.width, ground)

    def _first(self, seen: Overview | None, is_away: bool, gaps_repaired: int) -> Strip:
        """The run and its task; at the right whether the hub is there."""
        on = "panel"
        signs = self._look.signs
        hub = f"{self._look.sign('stalled')} hub away" if is_away else "hub here"
        if gaps_repaired:
            hub += f"{signs.dot}{wording.count(gaps_repaired, 'gap')} repaired"
        right = [Segment(f" {hub} ", self.palette.style("error" if is_away else "muted", on=on, bold=is_away))]
        left = [Segment(" FelixHub ", self.palette.style("accent", on=on, bold=True))]
        if seen is not None:
            status = "finished, degraded" if seen.status == "finished" and seen.degraded else seen.status
            tone = _STATUS_TONES.get(seen.status, "warning")
            left += [
                Segment(f" {seen.run} ", self.palette.style("foreground", on=on, bold=True)),
                Segment(f" {status} ", self.palette.style(tone, on=on, bold=True)),
                Segment(f" {self._look.line(seen.task)}", self.palette.style("foreground", on=on)),
            ]
        return self._line(left, right)

    def _second(self, seen: Overview | None, page: str) -> Strip:
        """Agents by state, how fast all of them write, for how long."""
        on = "panel"
        muted = self.palette.style("muted", on=on)
        if seen is None:
            return self._line([], [])
        dot = self._look.signs.dot
        right = []
        if seen.rate:
            spark = self._look.spark(seen.curve[-SPARK_COLUMNS:], SPARK_COLUMNS)
            right += [
                Segment(spark, self.palette.style("primary", on=on)),
                Segment(f" {seen.rate:.0f} tok/s{dot}", self.palette.style("foreground", on=on)),
            ]
        said = [wording.count(seen.tokens, "token"), wording.span(seen.elapsed_s)]
        if seen.review and seen.sections_wanted:
            said.insert(0, wording.approved(seen.approved, seen.sections_wanted))
        if page:
            said.append(page)
        right.append(Segment(f" {dot.join(said)} ", muted))
        room = self.size.width - sum(part.cell_length for part in right)
        return self._line(self._states(seen, room), right)

    def _states(self, seen: Overview, room: int) -> list[Segment]:
        """How many agents are in which state; in words where there is room for them."""
        counts = [(state, number) for state in ORDER if (number := seen.count_of(state))]
        parts = [f" {self._look.sign(state)} {number} {MARKS[state].word} " for state, number in counts]
        if sum(map(cell_len, parts)) > room:
            parts = [f" {self._look.sign(state)} {number} " for state, number in counts]
        tones = [self.palette.style(MARKS[state].tone, on="panel") for state, _ in counts]
        return [Segment(part, tone) for part, tone in zip(parts, tones, strict=True)]

    def _line(self, left: list[Segment], right: list[Segment]) -> Strip:
        """Both sides; the left is cut where they do not fit."""
        ground = self.palette.style(on="panel")
        width = self.size.width
        room = max(0, width - sum(one.cell_length for one in right))
        taken: list[Segment] = []
        for part in left:
            if part.cell_length > room:
                cut = self._look.signs.cut
                if room > cell_len(cut):
                    text = set_cell_size(part.text, room - cell_len(cut)).rstrip() + cut
                    taken.append(Segment(text, part.style))
                    room -= cell_len(text)
                break
            taken.append(part)
            room -= part.cell_length
        return Strip([*taken, Segment(" " * room, ground), *right]).adjust_cell_length(width, ground)
