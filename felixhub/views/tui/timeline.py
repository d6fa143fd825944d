"""The timeline: a bar for every thought, hatched while it waits for its first token, solid while it streams.

Owns: how times become columns. Must not: know when anything happened (`overview.timeline` says).
"""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.strip import Strip

from felixhub.core.overview import Bar, Overview
from felixhub.views import wording
from felixhub.views.tui.look import Look, Palette, Tone

NAME_COLUMNS = 20
END_COLUMNS = 12
TICK_COLUMNS = 12
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400)


def timeline_strips(seen: Overview, look: Look, palette: Palette, width: int) -> list[Strip]:
    """The axis, then the thoughts, agent by agent."""
    columns = max(10, width - NAME_COLUMNS - END_COLUMNS)
    seconds = _seconds(seen)
    order = {view.agent: number for number, view in enumerate(seen.agents)}
    strips = [_axis(seconds, columns, look, palette)]
    before = ""
    for bar in sorted(seen.timeline, key=lambda one: (order.get(one.agent, 0), one.start)):
        name = "" if bar.agent == before else look.line(bar.agent)
        before = bar.agent
        strips.append(_row(bar, name, seen, seconds, columns, look, palette))
    signs = look.signs
    legend = (
        f"{signs.waiting * 3} waits for its first token   {signs.first} first token   {signs.solid * 3} streams   "
        f"{look.sign('final')} final   {look.sign('failed')} abandoned   {look.sign('cancelled')} cancelled"
    )
    return [*strips, Strip([]), Strip([Segment(legend, palette.style("muted"))])]


def _seconds(seen: Overview) -> float:
    """Up to now while somebody thinks, else up to the last end: a wait for a person is not drawn."""
    if any(bar.end is None for bar in seen.timeline):
        return max(1.0, seen.elapsed_s)
    return max([1.0, *(bar.end or 0.0 for bar in seen.timeline)])


def _axis(seconds: float, columns: int, look: Look, palette: Palette) -> Strip:
    wanted = seconds / max(1, columns // TICK_COLUMNS)
    step = next((one for one in STEPS_S if one >= wanted), STEPS_S[-1])
    line = [" "] * columns
    number = 0
    while number * step <= seconds:
        column = round(number * step / seconds * (columns - 1))
        text = ("'" if look.ascii_only else "╷") + (wording.span(number * step) if number else "0")
        if column + len(text) <= columns:
            line[column : column + len(text)] = text
        number += 1
    return Strip([Segment(" " * NAME_COLUMNS + "".join(line), palette.style("muted"))])


def _row(bar: Bar, name: str, seen: Overview, seconds: float, columns: int, look: Look, palette: Palette) -> Strip:
    signs = look.signs

    def column(at: float) -> int:
        return max(0, min(columns - 1, round(at / seconds * (columns - 1))))

    is_synthesis = bar.thought == seen.synthesis
    end = bar.end if bar.end is not None else max(bar.start, seconds)
    sign, tone = _outcome(bar, look, is_synthesis=is_synthesis)
    start_at, end_at = column(bar.start), column(end)
    cells: list[tuple[str, Tone]] = [(" ", "foreground")] * columns
    first_at = None if bar.first_token is None else max(start_at, min(end_at, column(bar.first_token)))
    for at in range(start_at, end_at + 1):
        waits = first_at is None or at < first_at
        cells[at] = (signs.waiting, "warning") if waits else (signs.solid, tone)
    if first_at is not None:
        cells[first_at] = (signs.first, "foreground")
    if sign and end_at < columns:
        cells[end_at] = (sign, tone)
    label = f"{signs.hub} {name}" if is_synthesis and name else name
    if cell_len(label) > NAME_COLUMNS - 2:
        label = set_cell_size(label, NAME_COLUMNS - 2 - cell_len(signs.cut)) + signs.cut
    took = wording.span(end - bar.start)
    note = f" {took}" + (f" #{bar.attempt}" if bar.attempt > 1 else "")
    return Strip(
        [
            Segment(set_cell_size(label, NAME_COLUMNS), palette.style("accent" if is_synthesis else "foreground")),
            *(Segment(char, palette.style(one)) for char, one in cells),
            Segment(note, palette.style("muted")),
        ]
    ).simplify()


def _outcome(bar: Bar, look: Look, *, is_synthesis: bool) -> tuple[str, Tone]:
    """What stands at the bar's end, and its colour."""
    match bar.outcome:
        case "final":
            return look.sign("final"), "accent" if is_synthesis else "success"
        case "abandoned" if bar.reason in ("cancelled", "paused", "superseded"):
            return look.sign("cancelled"), "muted"
        case "abandoned":
            return look.sign("failed"), "error"
    return "", "primary"
