"""The helix: the tapered curve from wide to narrow, the agents on their way, CentralPost in the middle.

Owns: the projection and where a name finds room. Must not: know where an agent is (`overview.progress` says).
"""

from __future__ import annotations

import math
from functools import lru_cache

from rich.cells import cell_len
from textual.strip import Strip

from felixhub.core.helix import CHECKPOINTS, Helix, phase
from felixhub.core.overview import AgentView, Overview
from felixhub.views.tui.canvas import Canvas
from felixhub.views.tui.look import MARKS, Look, Palette

STEPS_EACH = 40  # dots of the curve, for each column
TILT = 0.09  # how much depth raises or lowers a point, in radii
SHAPE = Helix(turns=4.0)
POST = "CentralPost"
PHASES = (0.0, 0.3, 0.7)  # where each begins
LABEL_COLUMNS = 20


def helix_strips(seen: Overview, look: Look, palette: Palette, width: int, height: int, lit: set[str]) -> list[Strip]:
    """The picture in so many columns and rows; `lit` are the agents of whom a batch has just come."""
    canvas = _curve(width, height, look.ascii_only).copy()
    view = _Projection(width, height)
    for mark in CHECKPOINTS:
        _, y, _ = view.place(mark, on_axis=True)
        word = phase(mark) if mark in PHASES and width >= 80 else ""
        canvas.write(1, int(y), f"{mark:.1f} {'-' if look.ascii_only else '╶'} {word}", "muted")
    middle_x, middle_y = width / 2, height / 2
    for agent in seen.agents:
        if agent.agent in lit:
            x, y, _ = view.place(agent.progress)
            canvas.line(x, y, middle_x, middle_y, "accent", gap=2)
    post = f" {look.signs.flash if lit else look.signs.hub} {POST} "
    canvas.write(int(middle_x - len(post) / 2), int(middle_y), post, "accent", bold=True)
    # Those who say something are drawn last, so that no other name takes their place.
    for agent in sorted(seen.agents, key=lambda one: one.agent not in lit):
        x, y, _ = view.place(agent.progress)
        canvas.write(
            int(x),
            int(y),
            look.signs.flash if agent.agent in lit else look.signs.place,
            MARKS[agent.state].tone,
            bold=True,
        )
    for agent in seen.agents:
        x, y, _ = view.place(agent.progress)
        _name(canvas, agent, look, int(x), int(y))
    return canvas.strips(palette)


@lru_cache(maxsize=4)
def _curve(width: int, height: int, ascii_only: bool) -> Canvas:
    """The axis and the curve, what is in front thicker: they are the same until the window is another."""
    canvas = Canvas(width, height, ascii_only=ascii_only)
    view = _Projection(width, height)
    x, top, _ = view.place(0.0, on_axis=True)
    for step in range(int(top) * 2, height * 2):
        canvas.dot(x, step / 2, "faint")
    steps = STEPS_EACH * max(width, height)
    for step in range(steps + 1):
        x, y, depth = view.place(step / steps)
        canvas.dot(x, y, "primary" if depth >= 0 else "faint")
        if depth >= 0:
            canvas.dot(x, y + 0.25, "primary")
    return canvas


class _Projection:
    """From progress on the helix to columns and rows: seen from the side, a little from above."""

    def __init__(self, width: int, height: int) -> None:
        self._middle = width / 2
        room = max(4.0, width / 2 - LABEL_COLUMNS * (width >= 80))
        self._columns = min(room, height * 1.6) / SHAPE.radius(
            0.0
        )  # by unit of radius; a cell is twice as high as wide
        self._tilt = TILT * self._columns / 2
        self._top = 1 + self._tilt * SHAPE.radius(0.0)
        self._rows = max(1.0, height - 2 - self._top - self._tilt * SHAPE.radius(1.0))

    def place(self, t: float, *, on_axis: bool = False) -> tuple[float, float, float]:
        """Column, row and depth; depth is positive in front."""
        t = max(0.0, min(1.0, t))
        angle = 2 * math.pi * SHAPE.turns * t
        radius = 0.0 if on_axis else SHAPE.radius(t)
        depth = radius * math.sin(angle)
        return (
            self._middle + radius * math.cos(angle) * self._columns,
            self._top + t * self._rows + depth * self._tilt,
            depth,
        )


def _name(canvas: Canvas, agent: AgentView, look: Look, x: int, y: int) -> None:
    """Beside its dot where there is room, else a line above or below it; else not at all."""
    name = look.line(agent.agent)
    if cell_len(name) > LABEL_COLUMNS:
        name = name[: LABEL_COLUMNS - 1] + look.signs.cut
    text = f"{look.sign(agent.state)} {name}"
    width = cell_len(text)
    to_right, to_left = x + 2, x - 1 - width
    for row in (y, y + 1, y - 1, y + 2, y - 2, y + 3, y - 3, y + 4, y - 4):
        for column in (to_right, to_left) if x >= canvas.columns / 2 else (to_left, to_right):
            if canvas.is_free(column - 1, row, width + 2):
                canvas.write(column, row, text, MARKS[agent.state].tone)
                return
