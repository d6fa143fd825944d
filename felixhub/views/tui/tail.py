"""The last lines of a text, however long it is: what a pane shows.

Owns: how much of a text is looked at, and that lines stay where they are while it grows. Must not: draw.
"""

from __future__ import annotations

from collections.abc import Callable

from felixhub.core.thought import TextBuffer
from felixhub.views.text_width import wrapped

WINDOW_BYTES = 4096  # a text without line ends is looked at from a multiple of this on, so that it does not flow anew


def tail_lines(buffer: TextBuffer, width: int, height: int, safe: Callable[[str], str]) -> list[str]:
    """At most `height` lines of at most `width` columns, made harmless by `safe`. Line ends at the end are left out."""
    size = len(buffer)
    wanted = max(WINDOW_BYTES, 4 * width * height)
    start = 0 if size <= wanted else (size - wanted) // WINDOW_BYTES * WINDOW_BYTES
    data = bytes(buffer.data[start:])
    while data and data[0] & 0xC0 == 0x80:
        data = data[1:]  # It began within a character.
    text = safe(data.decode(errors="replace")).rstrip("\n")
    lines: list[str] = []
    for line in reversed(text.split("\n")):
        lines[:0] = wrapped(line, width)
        if len(lines) >= height:
            break
    return lines[-height:]
