"""docs/troubleshooting.md: every sentence that it quotes is one that the code can say."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
HOLE = " \x00 "  # where a sentence of the code has a value
# What stands for something that differs: capitals, an ellipsis, a number, an address, what is between quotes; and how a
# console begins the line of a thought that failed.
VALUE = re.compile(r"^✗ abandoned \(\w+\): |'[^']+'|(?:https?|tcp)://\S+|[A-Z][A-Z_.-]+|…|\d+(?:[.,]\d+)*")
WORD = re.compile(r"[\w`]+")
IN_A_ROW = 3  # words
ROWS_OF_VALUES = 3  # so many may be unknown even in a short sentence
SHARE_MIN = 0.5  # of all such rows; the others have a value in them, or lie where two strings of the code meet


def _quoted() -> list[str]:
    """The sentences, each on one line."""
    found = re.findall(r"(?:^> .*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    lines = [" ".join(line.removeprefix("> ") for line in one.splitlines()) for one in found]
    return [line.replace("\\`", "`").removeprefix("felixhub: ") for line in lines]


@cache
def _said() -> frozenset[tuple[str, ...]]:
    """All words in a row of every string of the code."""
    rows: set[tuple[str, ...]] = set()
    for file in sorted((ROOT / "felixhub").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                rows.update(_rows(node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
                rows.update(_rows("".join(str(part) for part in parts)))
    return frozenset(rows)


def _rows(text: str) -> list[tuple[str, ...]]:
    words = [word.lower() for word in WORD.findall(text)]
    return [tuple(words[n : n + IN_A_ROW]) for n in range(len(words) - IN_A_ROW + 1)]


@pytest.mark.parametrize("sentence", _quoted())
def test_the_code_can_say_it(sentence: str) -> None:
    rows = [row for part in VALUE.split(sentence) for row in _rows(part)]
    unknown = [" ".join(row) for row in rows if row not in _said()]
    allowed = max(ROWS_OF_VALUES, (1 - SHARE_MIN) * len(rows))
    assert len(unknown) <= allowed, f"nothing says: {unknown}"


def test_a_sentence_that_nobody_says_would_be_noticed() -> None:
    with pytest.raises(AssertionError, match="nothing says"):
        test_the_code_can_say_it("no hub in DIR: start the hub with `felixhub serve`, or name one with --hub")
