"""What has changed between two texts, in words.

    word_diff("a cold day", "a warm day")  ->  same "a ", gone "cold", new "warm", same " day"

Owns: how the texts are cut and compared, and that it ends in good time. Must not: know what the texts are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

LINES_MAX = 20_000  # of both texts; more are not compared line by line
WORDS_MAX = 4_000  # of one changed place; more are shown as one change


class Change(NamedTuple):
    """A stretch of text: of both texts, of the first alone, or of the second alone."""

    op: Literal["same", "gone", "new"]
    text: str


_WORDS = re.compile(r"\s+|\w+(?:[.,:'’-]\w+)*|[^\w\s]")  # 1,200.5 and don't are one word each


def word_diff(before: str, after: str) -> list[Change]:
    """The changes in order. Without what is new they are `before`, without what is gone `after`, to the character."""
    found: list[Change] = []
    for change in _together(_changes(before, after)):
        if change.text and found and found[-1].op == change.op:
            found[-1] = Change(change.op, found[-1].text + change.text)
        elif change.text:
            found.append(change)
    return found


def _together(changes: Iterable[Change]) -> Iterator[Change]:
    """A space that stays between two changed words is part of the change: nobody can read words in pairs."""
    gone = new = space = ""
    for op, text in changes:
        if op == "same" and (gone or new) and not space and text.isspace() and "\n" not in text:
            space = text
        elif op == "same":
            yield from (Change("gone", gone), Change("new", new), Change("same", space + text))
            gone = new = space = ""
        else:
            gone, new, space = gone + space, new + space, ""
            gone, new = (gone + text, new) if op == "gone" else (gone, new + text)
    yield from (Change("gone", gone), Change("new", new), Change("same", space))


def counted(changes: Iterable[Change]) -> tuple[int, int]:
    """How many words are gone, and how many are new."""
    gone = new = 0
    for change in changes:
        gone += len(change.text.split()) if change.op == "gone" else 0
        new += len(change.text.split()) if change.op == "new" else 0
    return gone, new


def _changes(before: str, after: str) -> Iterator[Change]:
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if len(old) + len(new) > LINES_MAX:
        yield from _words(before, after)
        return
    for is_equal, ours, theirs in _blocks(old, new):
        if is_equal:
            yield Change("same", "".join(ours))
        else:
            yield from _words("".join(ours), "".join(theirs))


def _words(before: str, after: str) -> Iterator[Change]:
    old, new = _WORDS.findall(before), _WORDS.findall(after)
    if len(old) + len(new) > WORDS_MAX:
        yield from (Change("gone", before), Change("new", after))
        return
    for is_equal, ours, theirs in _blocks(old, new):
        if is_equal:
            yield Change("same", "".join(ours))
        else:
            yield Change("gone", "".join(ours))
            yield Change("new", "".join(theirs))


def _blocks(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[bool, Sequence[str], Sequence[str]]]:
    for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=len(old) + len(new) > WORDS_MAX).get_opcodes():
        yield tag == "equal", old[a:b], new[c:d]
