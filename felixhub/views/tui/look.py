"""How the terminal UI looks: signs, borders, colours. A state is told by colour, by sign and by word.

Owns: which sign and colour stand for what, and the two themes. Must not: know a widget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from felixhub.core.overview import AgentView, State
from felixhub.views.safe_text import safe_line, safe_text

Tone = str  # the name of a colour of the theme, or "muted"

DARK = Theme(
    name="felix-dark",
    dark=True,
    foreground="#d7deea",
    background="#0e131b",
    surface="#141b26",
    panel="#1c2533",
    primary="#6cb6ff",
    secondary="#c9a0f5",
    accent="#ffb86b",
    warning="#f0c674",
    error="#ff7b72",
    success="#6fd394",
)
LIGHT = Theme(
    name="felix-light",
    dark=False,
    foreground="#1c2430",
    background="#f4f6f9",
    surface="#ffffff",
    panel="#e3e8ef",
    primary="#0a58b8",
    secondary="#7435b0",
    accent="#9a4f00",
    warning="#7d5700",
    error="#b3261e",
    success="#16703a",
)


class Mark(NamedTuple):
    """What stands for a state."""

    sign: str
    plain: str
    word: str
    tone: Tone


MARKS: Mapping[State, Mark] = {
    "waiting": Mark("◦", ":", "waiting", "muted"),
    "queued": Mark("·", ".", "queued", "muted"),
    "backing_off": Mark("◔", "z", "backing off", "warning"),
    "thinking": Mark("…", "~", "thinking", "warning"),
    "streaming": Mark("▶", ">", "streaming", "primary"),
    "regenerating": Mark("↻", "@", "regenerating", "secondary"),
    "stalled": Mark("⚠", "!", "stalled", "accent"),
    "cancelling": Mark("□", "%", "cancelling", "accent"),
    "paused": Mark("‖", "=", "paused", "secondary"),
    "cancelled": Mark("■", "#", "cancelled", "muted"),
    "final": Mark("✓", "+", "final", "success"),
    "approved": Mark("★", "*", "approved", "accent"),
    "failed": Mark("✗", "x", "failed", "error"),
    "skipped": Mark("–", "-", "skipped", "muted"),
}
WRITING: tuple[State, ...] = ("streaming", "regenerating")


class Border(NamedTuple):
    top_left: str
    top_right: str
    bottom_left: str
    bottom_right: str
    across: str
    down: str


class Signs(NamedTuple):
    """Everything that is drawn and is not a letter."""

    thin: Border
    strong: Border
    cursor: str
    dot: str
    cut: str
    bars: str  # from nothing to full
    path: str  # of the helix: done
    ahead: str  # of the helix: to come
    place: str
    down: str
    back: str
    waiting: str
    solid: str
    first: str
    hub: str
    flash: str


GLYPHS = Signs(
    thin=Border("╭", "╮", "╰", "╯", "─", "│"),
    strong=Border("┏", "┓", "┗", "┛", "━", "┃"),
    cursor="▌",
    dot=" · ",
    cut="…",
    bars=" ▁▂▃▄▅▆▇█",
    path="━",
    ahead="┄",
    place="●",
    down="↓",
    back="↑",
    waiting="░",
    solid="█",
    first="◆",
    hub="◆",
    flash="◈",
)
PLAIN = Signs(
    thin=Border("+", "+", "+", "+", "-", "|"),
    strong=Border("#", "#", "#", "#", "=", "#"),
    cursor="_",
    dot=", ",
    cut="...",
    bars=" .:-=+*#",
    path="=",
    ahead=".",
    place="o",
    down="v",
    back="^",
    waiting=".",
    solid="#",
    first="*",
    hub="@",
    flash="*",
)


class Palette:
    """The theme's colours as styles, each made once."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._made: dict[tuple[str, str, bool], Style] = {}

    def change(self, variables: Mapping[str, str]) -> None:
        """Another theme."""
        self._variables = variables
        self._made.clear()

    def style(self, tone: Tone = "foreground", *, on: str = "background", bold: bool = False) -> Style:
        key = (tone, on, bold)
        if key not in self._made:
            ground = Color.parse(self._variables[on])
            ink = Color.parse(self._variables["foreground" if tone in ("muted", "faint") else tone])
            if tone in ("muted", "faint"):
                ink = ground.blend(ink, 0.72 if tone == "muted" else 0.45)
            self._made[key] = Style(color=_rich(ink), bgcolor=_rich(ground), bold=bold)
        return self._made[key]


def _rich(color: Color) -> RichColor:
    return RichColor.from_rgb(*color.rgb)


@dataclass(frozen=True, slots=True)
class Look:
    """What this terminal can show. `moves`: whether anything may blink."""

    ascii_only: bool = False
    moves: bool = True

    @property
    def signs(self) -> Signs:
        return PLAIN if self.ascii_only else GLYPHS

    def sign(self, state: State) -> str:
        mark = MARKS[state]
        return mark.plain if self.ascii_only else mark.sign

    def badge(self, view: AgentView) -> str:
        """Sign and word, with how long it has been silent where that matters."""
        word = MARKS[view.state].word
        if view.state in ("thinking", "stalled"):
            word += f" {view.silence_s:.0f} s"
        elif view.state == "queued" and view.place:
            word += f", place {view.place}"
        return f"{self.sign(view.state)} {word}"

    def keys(self, names: str) -> str:
        """The names of keys as this terminal can show them."""
        if not self.ascii_only:
            return names
        for arrow, name in (("←", "Left"), ("→", "Right"), ("↑", "Up"), ("↓", "Down"), ("–", "-")):
            names = names.replace(arrow, name)
        return names

    def line(self, text: str) -> str:
        """Foreign text as one harmless line."""
        return safe_line(text, ascii_only=self.ascii_only)

    def text(self, text: str) -> str:
        """Foreign text made harmless; its lines stay."""
        return safe_text(text, ascii_only=self.ascii_only).replace("\t", "    ")

    def spark(self, values: tuple[float, ...], width: int) -> str:
        """The last values as bars; nothing is the lowest."""
        shown = values[-width:]
        top = max(shown, default=0.0)
        bars = self.signs.bars
        if top <= 0:
            return ""
        return "".join(bars[min(len(bars) - 1, round(value / top * (len(bars) - 1)))] for value in shown)
