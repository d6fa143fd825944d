"""How the console looks: signs, colours, and the prefix of every line.

Owns: escape codes; nothing else writes them. Must not: know events.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TextIO

from felixhub.core.names import HUB
from felixhub.views.safe_text import safe_line
from felixhub.views.text_width import text_width

AGENT_COLOURS = ("36", "35", "33", "34", "32", "96", "95", "93", "94", "92")  # red is kept for what went wrong
AGENT_COLUMNS_MIN = 10
AGENT_COLUMNS_MAX = 24  # on a terminal; elsewhere names are never cut
Tone = Literal["", "dim", "good", "bad", "warn", "strong"]
_CODES: dict[Tone, str] = {"": "", "dim": "2", "good": "32", "bad": "31", "warn": "33", "strong": "1"}


class Signs(NamedTuple):
    """What stands before a line's text, and what joins and cuts texts. State is never told by colour alone."""

    started: str
    text: str
    reasoning: str
    waiting: str
    good: str
    bad: str
    cancelled: str
    hub: str
    warn: str
    paused: str
    again: str
    other: str
    dot: str
    cut: str
    rule: str


GLYPHS = Signs("▸", "│", "┊", "…", "✓", "✗", "■", "◆", "⚠", "‖", "↻", "·", " · ", "…", "─")
PLAIN = Signs(">", "|", ":", "...", "ok", "x", "-", "*", "!", "=", "~", "-", ", ", "...", "-")


@dataclass(frozen=True, slots=True)
class Look:
    """What the place that is written to can show."""

    terminal: bool = False
    colour: bool = False
    ascii_only: bool = False

    @property
    def signs(self) -> Signs:
        return PLAIN if self.ascii_only else GLYPHS

    def paint(self, text: str, tone: Tone) -> str:
        return f"\x1b[{_CODES[tone]}m{text}\x1b[0m" if self.colour and tone and text else text


def detect_look(out: TextIO, environ: Mapping[str, str], *, ascii_only: bool = False) -> Look:
    """Colour only on a terminal, or with FORCE_COLOR, never with NO_COLOR; plain signs where `out` has no others."""
    terminal = out.isatty()
    colour = terminal and environ.get("TERM") != "dumb"
    if environ.get("FORCE_COLOR", "0") not in ("", "0"):
        colour = True
    if environ.get("NO_COLOR"):
        colour = False
    return Look(terminal=terminal, colour=colour, ascii_only=ascii_only or not _can_write(out, "".join(GLYPHS)))


def _can_write(out: TextIO, text: str) -> bool:
    try:
        text.encode(getattr(out, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


class Clock:
    """Local wall time as 12:03:04, worked out once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._shown = ""

    def __call__(self, at: float) -> str:
        if int(at) != self._second:
            self._second = int(at)
            self._shown = time.strftime("%H:%M:%S", time.localtime(at))
        return self._shown


class Prefix:
    """The time and the agent before every line. The agent's column grows; colours go round on first sight."""

    def __init__(self, look: Look, *, elapsed: bool = False, clock: Callable[[float], str] | None = None) -> None:
        self._look = look
        self._elapsed = elapsed
        self._clock = clock or Clock()
        self._time_columns = len("[+123.4s]") if elapsed else len("12:03:04")
        self._columns = AGENT_COLUMNS_MIN
        self._seen: dict[str, tuple[str, int, str]] = {}  # agent -> as shown, its width, its colour
        self._next_colour = 0

    def make_room(self, agents: Iterable[str]) -> None:
        """The column is wide enough for these from now on, so that it need not grow when they first speak."""
        for agent in agents:
            width = text_width(safe_line(agent, ascii_only=self._look.ascii_only))
            self._columns = max(self._columns, min(width, AGENT_COLUMNS_MAX))

    def meet(self, agent: str) -> int:
        """Columns before a line's sign from now on, for a line of this agent."""
        if agent not in self._seen:
            shown = safe_line(agent, ascii_only=self._look.ascii_only)
            if self._look.terminal and text_width(shown) > AGENT_COLUMNS_MAX:
                cut = self._look.signs.cut
                shown = shown[: AGENT_COLUMNS_MAX - 8 - len(cut)] + cut + shown[-8:]
            width = text_width(shown)
            self._seen[agent] = (shown, width, self._colour_of(agent))
            self._columns = max(self._columns, width)
        return self._time_columns + 1 + self._columns + 1

    def line(self, at: float, began_at: float | None, agent: str, sign: str, text: str, tone: Tone) -> str:
        """One whole line. `text` is safe and fits; it may carry this module's own escape codes."""
        name = self.name(agent)
        when = self._elapsed_column(at, began_at) if self._elapsed else self._clock(at)
        if not self._look.colour:
            return f"{when} {name} {sign} {text}".rstrip(" ")
        sign = self._look.paint(sign, tone) if tone else f"\x1b[{self._seen[agent][2]}m{sign}\x1b[0m"
        return f"\x1b[2m{when}\x1b[0m {name} {sign} {self._look.paint(text, tone)}"

    def name(self, agent: str) -> str:
        """The agent as its column shows it."""
        self.meet(agent)
        shown, width, colour = self._seen[agent]
        padding = " " * (self._columns - width)
        return f"\x1b[{colour}m{shown}\x1b[0m{padding}" if self._look.colour else shown + padding

    def _elapsed_column(self, at: float, began_at: float | None) -> str:
        shown = elapsed(at, began_at)
        self._time_columns = max(self._time_columns, len(shown))
        return shown.ljust(self._time_columns)

    def _colour_of(self, agent: str) -> str:
        if agent.rpartition("/")[2] == HUB:
            return _CODES["strong"]
        colour = AGENT_COLOURS[self._next_colour % len(AGENT_COLOURS)]
        self._next_colour += 1
        return colour


def elapsed(at: float, began_at: float | None) -> str:
    """Seconds since the run's start, `[+12.3s]`; `[+?s]` when that was not seen."""
    return "[+?s]" if began_at is None else f"[+{max(0.0, at - began_at):.1f}s]"


def highlighted(text: str, patterns: Sequence[re.Pattern[str]]) -> str:
    """The text with every match of any of the patterns reversed. For a screen with colour."""
    marked = sorted(
        {index for pattern in patterns for found in pattern.finditer(text) for index in range(*found.span())}
    )
    pieces = []
    last = 0
    for index in range(len(marked)):
        if index == 0 or marked[index] != marked[index - 1] + 1:
            pieces += [text[last : marked[index]], "\x1b[7m"]
            last = marked[index]
        if index + 1 == len(marked) or marked[index] + 1 != marked[index + 1]:
            pieces += [text[last : marked[index] + 1], "\x1b[27m"]
            last = marked[index] + 1
    return "".join(pieces) + text[last:]
