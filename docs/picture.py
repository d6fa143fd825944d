"""Draw the README's picture: a recorded run (`docs/recording.jsonl`, one event per line) as the console shows it.

`make picture` records a run made now and draws it. Usage: python docs/picture.py RECORDING PICTURE
"""

from __future__ import annotations

import io
import re
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from felixhub.core.events import parse_event
from felixhub.views.console_lines import ConsoleLines
from felixhub.views.console_look import Look

WIDTH = 112
FIRST_LINES = 30
LAST_LINES = 22
TICK_S = 0.1


def shown_lines(recording: Path) -> list[str]:
    """The console's lines, at the pace at which they came."""
    form = ConsoleLines(
        Look(terminal=True, colour=True), width=WIDTH, clock=lambda at: time.strftime("%H:%M:%S", time.gmtime(at))
    )
    lines = []
    now = 0.0
    for raw in recording.read_bytes().splitlines():
        event = parse_event(raw)
        now = now or event.at
        while now + TICK_S < event.at:
            now += TICK_S
            lines += form.tick(now, {})
        now = max(now, event.at)
        lines += form.take(event, now)
    lines += form.finish()
    return [line.shown for line in lines]


def main(recording: Path, picture: Path) -> None:
    lines = [row for line in shown_lines(recording) for row in line.split("\n")]
    between = len(lines) - FIRST_LINES - LAST_LINES
    finished = next(i for i, line in enumerate(lines) if "run finished" in line)
    chosen = [*lines[:FIRST_LINES], "", f"\x1b[2m   ⋮  {between} lines\x1b[0m", ""]
    chosen += lines[finished - 3 : finished - 3 + LAST_LINES]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for line in chosen:
        console.print(Text.from_ansi(line), overflow="fold", soft_wrap=False)
    svg = console.export_svg(title='python run_hub.py "Should the city convert the night bus depot to electric buses?"')
    # The picture loads nothing from anywhere: the reader's own monospaced font will do.
    picture.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
