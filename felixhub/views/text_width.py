"""How many terminal columns text takes, and where a line of it may end.

Owns: widths and cuts. Must not: keep text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_JOINER = "\u200d"
_EMOJI_STYLE = "\ufe0f"  # makes the character before it an emoji, which most terminals draw two columns wide


@lru_cache(maxsize=8192)
def char_width(char: str) -> int:
    """0 for marks and joiners, 2 for wide characters, else 1."""
    if unicodedata.category(char) in ("Mn", "Me", "Cf") or "\u1160" <= char <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def text_width(text: str) -> int:
    """Columns of one line. Emoji sequences are counted in full: rather a column too many than too few."""
    if text.isascii():
        return len(text)
    return sum(map(char_width, text)) + text.count(_EMOJI_STYLE)


def wrapped(text: str, width: int) -> list[str]:
    """One line of text as lines of at most `width` columns, cut between words where there are any.

    The spaces at a cut are dropped; indentation is kept. A character is never parted from its marks.
    """
    pieces = []
    start = 0
    is_ascii = text.isascii()
    while (limit := start + width if is_ascii else _limit(text, start, width)) < len(text):
        end = text.rfind(" ", start, limit + 1) if is_ascii else _last_break(text, start, limit)
        if end <= start or text[start:end].isspace():
            end = limit  # One word that is longer than the line.
        pieces.append(text[start:end].rstrip(" "))
        start = end
        while start < len(text) and text[start] == " ":
            start += 1
    pieces.append(text[start:])
    return pieces


def joined(parts: Sequence[str], dot: str, width: int) -> list[str]:
    """Short texts side by side with `dot` between them, as lines that part them only where one is too long."""
    lines = wrapped(parts[0], width)
    for part in parts[1:]:
        if text_width(lines[-1]) + len(dot) + text_width(part) <= width:
            lines[-1] += dot + part
        else:
            lines.extend(wrapped(part, width))
    return lines


def cut(text: str, columns: int, sign: str) -> str:
    """One line of text in at most so many columns; `sign` stands at its end for what is left out."""
    if text_width(text) <= columns:
        return text
    left = max(0, columns - len(sign))
    for index, char in enumerate(text):
        left -= char_width(char)
        if left < 0:
            return text[:index].rstrip() + sign
    return text


def _last_break(text: str, start: int, limit: int) -> int:
    """The last place up to `limit` where a line may end: before a space, or after a character of a wide script."""
    for index in range(limit, start, -1):
        char = text[index]
        if char == " ":
            return index
        if char_width(text[index - 1]) == 2 and char_width(char) and not "\U0001f3fb" <= char <= "\U0001f3ff":
            return index
    return start


def _limit(text: str, start: int, width: int) -> int:
    """The index up to which text from `start` fits; at least one character does, however narrow the line."""
    taken = 0
    whole = start  # where the present character, with its marks and what is joined to it, began
    for index in range(start, len(text)):
        char = text[index]
        columns = 1 if char == _EMOJI_STYLE else char_width(char)
        if columns and char != _EMOJI_STYLE and (index == start or text[index - 1] != _JOINER):
            whole = index
        taken += columns
        if taken > width and whole > start:
            return whole
    return len(text)
