"""The helix: the path from wide (progress 0.0, exploring) to narrow (1.0), and what follows from a place on it.

Owns: geometry, temperature and the stated confidence heuristic. Must not: know agents, runs or clocks.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal, NamedTuple

Role = Literal["research", "analysis", "critic", "synthesis"]

CHECKPOINTS = (0.0, 0.3, 0.5, 0.7, 0.9)
PARTIAL_TOKENS_EXPECTED = 300  # how many tokens carry the picture from one checkpoint to the next

TEMPERATURES: dict[Role, tuple[float, float]] = {
    "research": (0.9, 0.4),
    "analysis": (0.7, 0.2),
    "critic": (0.6, 0.1),
    "synthesis": (0.5, 0.1),
}
_CONFIDENCE: dict[Role, tuple[float, float, float]] = {  # (ceiling, base, slope)
    "research": (0.60, 0.30, 0.30),
    "analysis": (0.80, 0.40, 0.40),
    "critic": (0.80, 0.50, 0.30),
    "synthesis": (0.95, 0.60, 0.35),
}
TEXT_BONUS_MAX = 0.10


class Point(NamedTuple):
    x: float
    y: float
    z: float


@dataclass(frozen=True, slots=True)
class Helix:
    """The curve. `z = h(1 - t)`, `R(z) = Rb (Rt/Rb)^(z/h)`, `angle = 2 pi turns t` for progress t in [0, 1]."""

    top_radius: float = 3.0
    bottom_radius: float = 0.5
    height: float = 8.0
    turns: float = 2.0

    def radius(self, t: float) -> float:
        return self.bottom_radius * math.pow(self.top_radius / self.bottom_radius, 1.0 - t)

    def point(self, t: float) -> Point:
        """Where progress t lies. Raises ValueError outside [0, 1]."""
        if not 0.0 <= t <= 1.0:
            raise ValueError(f"progress {t} is outside 0.0 to 1.0")
        angle = 2.0 * math.pi * self.turns * t
        radius = self.radius(t)
        return Point(radius * math.cos(angle), radius * math.sin(angle), self.height * (1.0 - t))


def phase(t: float) -> Literal["exploration", "analysis", "synthesis"]:
    """Wide top below 0.3, synthesis from 0.7, analysis between."""
    if t < 0.3:
        return "exploration"
    return "analysis" if t < 0.7 else "synthesis"


def temperature(role: Role, t: float, ends: tuple[float, float] | None = None) -> float:
    """Falls linearly with depth from the wide end to the narrow end of the range."""
    wide, narrow = ends or TEMPERATURES[role]
    return round(wide + (narrow - wide) * t, 3)


def next_checkpoint(t: float, marks: tuple[float, ...] = CHECKPOINTS) -> float:
    """The mark below t, 1.0 after the last."""
    place = bisect_right(marks, t)
    return marks[place] if place < len(marks) else 1.0


def progress(checkpoint: float, tokens: int) -> float:
    """Progress between two checkpoints follows the tokens written; it never passes the next mark."""
    share = min(1.0, tokens / PARTIAL_TOKENS_EXPECTED)
    return round(checkpoint + (next_checkpoint(checkpoint) - checkpoint) * share, 3)


def confidence(role: Role, t: float, text: str) -> float:
    """A stated heuristic, not a measurement: a base by role and depth, plus up to 0.10 for the text itself."""
    ceiling, base, slope = _CONFIDENCE[role]
    return round(min(1.0, min(ceiling, base + slope * t) + text_bonus(text)), 3)


def text_bonus(text: str) -> float:
    """Up to 0.05 for length (200 words are enough), up to 0.05 for structure (five paragraphs, points or headings)."""
    head = text[:20_000]  # More text cannot raise the figure, so it is not read.
    words = len(head.split())
    blocks = sum(1 for line in head.splitlines() if line.strip())
    return TEXT_BONUS_MAX / 2 * (min(1.0, words / 200) + min(1.0, blocks / 5))


def synthesis_confidence(inputs: list[float], missing: int, text: str) -> float:
    """The mean of what it was made from, plus the text's bonus, scaled by the share of the team that was heard."""
    if not inputs:
        return 0.0
    mean = sum(inputs) / len(inputs)
    return round(min(0.95, mean + text_bonus(text)) * len(inputs) / (len(inputs) + missing), 3)
