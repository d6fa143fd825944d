"""Draw the README's first picture: a recorded run (`docs/recording.jsonl`, one event per line) on the helix.

`make picture` records a run made now and draws it. Usage: python docs/helix_picture.py RECORDING PICTURE

The curve is that of felixhub/core/helix.py, seen from a little above. Each final thought is a bead at the checkpoint
where it began, beside its agent's name; where it was given others' texts, a fine line leads from those. The picture
brings its own paper, light or dark as the reader's system is.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

from felixhub.core.board import Board
from felixhub.core.events import RunStarted, parse_event
from felixhub.core.helix import CHECKPOINTS, Helix, phase
from felixhub.core.run import Run

WIDTH, HEIGHT = 920, 570
MIDDLE = 420.0
TOP = 130.0
ACROSS, DOWN, TILT = 96.0, 47.0, 19.0  # px for one unit of x, z and y
SAMPLES = 480
LOOKS = 10
BEAD_GAP = 15.0
NAMES_MAX = 4
HELIX = Helix()

STYLE = """
svg { --ink: #1c1f21; --soft: #5b6164; --line: #d5d2ca; --accent: #0b6e69; --paper: #fbfaf7; --done: #b98900; }
@media (prefers-color-scheme: dark) {
  svg { --ink: #e9ebea; --soft: #a5adb1; --line: #3b4347; --accent: #58cdc2; --paper: #14181b; --done: #f0d68a; }
}
.paper { fill: var(--paper); }
text { font: 13px ui-sans-serif, system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: var(--soft); }
.task { font: 500 21px "Iowan Old Style", Palatino, Georgia, serif; fill: var(--ink); }
.name { font-size: 13.5px; font-weight: 600; fill: var(--ink); }
.name, .word { paint-order: stroke; stroke: var(--paper); stroke-width: 5px; stroke-linejoin: round; }
.mark { font-size: 12.5px; fill: var(--accent); font-weight: 600; }
.strand { fill: none; stroke: var(--ink); }
.ring { fill: none; stroke: var(--line); stroke-width: 1; }
.axis { stroke: var(--line); stroke-width: 1.5; stroke-dasharray: 1 7; stroke-linecap: round; }
.given { fill: none; stroke: var(--accent); stroke-width: 1; opacity: 0.28; }
.bead { fill: var(--accent); stroke: var(--paper); stroke-width: 2; }
.synthesis { fill: var(--done); stroke: var(--paper); stroke-width: 2; }
.post { fill: var(--accent); }
.halo { fill: var(--accent); opacity: 0.13; }
"""


def place(t: float) -> tuple[float, float, float]:
    """Where progress t lies in the picture, and how near it is, -1 to 1."""
    point = HELIX.point(t)
    near = point.y / HELIX.radius(t)
    return MIDDLE + ACROSS * point.x, TOP + DOWN * (HELIX.height - point.z) + TILT * point.y, near


def curve() -> list[str]:
    """The strand in pieces of one look each: thicker and darker where it is near."""
    pieces: list[tuple[int, list[str]]] = []
    for number in range(SAMPLES + 1):
        x, y, near = place(number / SAMPLES)
        spot, look = f"{x:.1f} {y:.1f}", round((near + 1) / 2 * LOOKS)
        if pieces:
            pieces[-1][1].append(spot)
        if not pieces or pieces[-1][0] != look:
            pieces.append((look, [spot]))
    return [
        f'<path class="strand" stroke-width="{1.2 + 2.4 * near:.2f}" opacity="{0.22 + 0.62 * near:.2f}" d="{way}"/>'
        for near, way in ((look / LOOKS, f"M{'L'.join(spots)}") for look, spots in pieces)
    ]


def told(recording: Path) -> tuple[RunStarted, Run]:
    board = Board()
    lines = recording.read_bytes().splitlines()
    first = parse_event(lines[0])
    assert isinstance(first, RunStarted)
    board.follow(first.run)
    for line in lines:
        board.take(parse_event(line))
    return first, board.runs[first.run]


def picture(started: RunStarted, run: Run) -> str:
    """The SVG: final thoughts alone; what was tried and given up is in the recording."""
    final = [thought for thought in run.thoughts.values() if thought.final]
    synthesis = run.synthesis_finished.thought if run.synthesis_finished else None
    spots: dict[float, list[str]] = {}
    at: dict[str, tuple[float, float]] = {}
    beads, names = [], []
    for thought in final:
        spots.setdefault(thought.started.checkpoint, []).append(thought.id)
    for checkpoint, found in sorted(spots.items()):
        x, y, _ = place(checkpoint)
        out = 1 if x >= MIDDLE else -1
        for order, name in enumerate(found):
            at[name] = (x + out * order * BEAD_GAP, y)
            kind = "synthesis" if name == synthesis else "bead"
            (cx, cy), thought = at[name], run.thoughts[name]
            title = f"<title>{escape(thought.started.agent)}, {len(str(thought.text).split())} words</title>"
            beads.append(f'<circle class="{kind}" cx="{cx:.1f}" cy="{cy:.1f}" r="7">{title}</circle>')
        agents = list(dict.fromkeys(run.thoughts[name].started.agent for name in found))[:NAMES_MAX]
        # On the left the strand turns just there: the words stand above it.
        label_x, label_y = (x + len(found) * BEAD_GAP + 4, y + 4.5) if out > 0 else (x + 7, y - 16)
        anchor = "start" if out > 0 else "end"
        words = f'<tspan class="mark">{checkpoint:.1f}</tspan>  {escape(", ".join(agents))}'
        head = f'<text class="name" x="{label_x:.1f}" y="{label_y:.1f}" text-anchor="{anchor}" xml:space="preserve">'
        names.append(f"{head}{words}</text>")
    given = []
    for thought in final:
        for source in thought.started.context:
            if source in at and thought.id in at and at[source] != at[thought.id]:
                (x1, y1), (x2, y2) = at[source], at[thought.id]
                way = f"M{x1:.1f} {y1:.1f}Q{MIDDLE:.1f} {(y1 + y2) / 2:.1f} {x2:.1f} {y2:.1f}"
                given.append(f'<path class="given" d="{way}"/>')
    rings = [
        f'<ellipse class="ring" cx="{MIDDLE}" cy="{TOP + DOWN * HELIX.height * t:.1f}" '
        f'rx="{ACROSS * HELIX.radius(t):.1f}" ry="{TILT * HELIX.radius(t):.1f}"/>'
        for t in (*CHECKPOINTS, 1.0)
    ]
    bottom = TOP + DOWN * HELIX.height
    middle = TOP + DOWN * HELIX.height / 2
    phases = [
        f'<text x="{WIDTH - 24}" y="{TOP + DOWN * HELIX.height * t + 4:.1f}" text-anchor="end">{word}</text>'
        for t, word in ((0.15, "wide: " + phase(0.0)), (0.5, phase(0.5)), (1.0, "narrow: " + phase(1.0)))
    ]
    words = sum(len(str(thought.text).split()) for thought in final)
    ended = run.ended
    said = f"{len(started.agents)} agents · {len(final)} thoughts · {words:,} words"
    said += f" · {ended.seconds:.0f} s" if ended else ""
    describe = f"{len(final)} thoughts of {len(started.agents)} agents on a tapered helix, from wide to narrow"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            f'<title id="what">{escape(describe)}</title>',
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="14"/>',
            f'<text class="task" x="24" y="38">{escape(started.task)}</text>',
            f'<text x="24" y="60">{escape(said)}</text>',
            *rings,
            f'<line class="axis" x1="{MIDDLE}" y1="{TOP}" x2="{MIDDLE}" y2="{bottom}"/>',
            *given,
            f'<circle class="halo" cx="{MIDDLE}" cy="{middle}" r="26"/>',
            f'<circle class="post" cx="{MIDDLE}" cy="{middle}" r="9"/>',
            f'<text class="word" x="{MIDDLE - 34}" y="{middle + 4}" text-anchor="end">CentralPost</text>',
            *curve(),
            *beads,
            *names,
            *phases,
            "</svg>\n",
        ]
    )


def main(recording: Path, target: Path) -> None:
    target.write_text(picture(*told(recording)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
