"""What the reading commands print: a table for people, one JSON value for programs.

Owns: columns, and that nothing printed on a terminal is obeyed there. Must not: know what is in a row.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from felixhub.views.console_look import detect_look
from felixhub.views.safe_text import safe_json, safe_line
from felixhub.views.text_width import cut, text_width

GAP = "  "
COLUMNS_ELSEWHERE = 80  # of a terminal that does not know its width


def print_json(value: Any) -> None:
    """One JSON value. To a terminal what a model wrote goes as escapes, elsewhere it is left as it is."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if sys.stdout.isatty():
        text = "\n".join(safe_json(line) for line in text.split("\n"))
    sys.stdout.flush()
    sys.stdout.buffer.write(f"{text}\n".encode(errors="replace"))  # A lone surrogate must not end the command.
    sys.stdout.buffer.flush()


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines of columns, the last of which is as long as it likes. Every cell is made harmless."""
    safe = [[safe_line(cell) for cell in row] for row in rows]
    widths = [max(map(text_width, column)) for column in zip(*(row[:-1] for row in safe), strict=True)]
    return [
        GAP.join(
            [*(cell + " " * (width - text_width(cell)) for cell, width in zip(row, widths, strict=False)), row[-1]]
        ).rstrip()
        for row in safe
    ]


def print_table(rows: Sequence[Sequence[str]], *, fit: bool = False) -> None:
    """`fit`: on a terminal no line is wider than it."""
    lines = table(rows)
    if fit and sys.stdout.isatty():
        columns = os.get_terminal_size(sys.stdout.fileno()).columns or COLUMNS_ELSEWHERE
        sign = detect_look(sys.stdout, os.environ).signs.cut
        lines = [cut(line, columns, sign) for line in lines]
    print("\n".join(lines))
