"""A document as a PDF, laid out by Typst.

Owns: the steps that the fixed template `page.typ` follows, and what must be known before: where long words may break,
how wide a table is, which way a script runs. Must not: write a word of Typst. What the agents wrote goes there as a
JSON value; the template reads no file, and its folder is an empty one.
"""

from __future__ import annotations

import json
import re
import tempfile
import unicodedata
from importlib import resources
from typing import Any

from felixhub.core.errors import ConfigError
from felixhub.documents.document import Page
from felixhub.documents.tokens import Node

CONTENTS_MIN = 3  # fewer headings need no contents
CONTENTS_LEVEL_MAX = 3
HEADER_CHARACTERS_MAX = 80
QUOTES_MAX = 5  # deeper ones are not indented any more
COLUMNS_MAX = 9  # of a table on one page's width; a wider one comes in parts
WORD_CHARACTERS_MAX = 30  # a longer word may break
CODE_CHARACTERS_MAX = 40
CELL_CHARACTERS_MAX = {3: 25, 6: 14, COLUMNS_MAX: 9}  # by the columns of a part
PIECE_CHARACTERS = 5  # between two places where a long word may break
CHILDREN_MAX = 1_000  # of one paragraph; a longer one comes as several
LINE_PT, LETTER_PT, COLUMN_PT = 459, 5, 10  # roughly: a line, a letter, and the space around a column
NARROW, NARROW_FEW, COLUMNS_FEW = 12, 16, 5  # letters of a column that never wraps; a date and time fit with few
ROWS_MAX = 250  # of one table; a longer one comes as several, each with the head
TAB = " " * 4

Step = dict[str, Any]


def pdf(page: Page) -> bytes:
    """The PDF. Raises ConfigError when Typst is missing or refuses the document."""
    try:
        import typst
    except ImportError:
        raise ConfigError("a PDF needs the package typst: pip install 'felixhub[pdf]'") from None
    template = resources.files("felixhub.documents").joinpath("page.typ").read_bytes()
    with tempfile.TemporaryDirectory(prefix="felixhub-") as nothing:
        try:
            compiler = typst.Compiler(
                template,
                root=nothing,
                package_path=nothing,
                package_cache_path=nothing,
                sys_inputs={"document": json.dumps(_data(page))},
            )
            made = compiler.compile(format="pdf", timestamp=int(page.started_at))
        except typst.TypstError as error:
            sentence = f"Typst could not lay this document out ({error.message}): export it with --format html"
            raise ConfigError(sentence) from None
    assert isinstance(made, bytes), "a PDF is one file"
    return made


def _data(page: Page) -> dict[str, Any]:
    headings = [node for node in page.headings if node.number <= CONTENTS_LEVEL_MAX]
    header = page.title
    if len(header) > HEADER_CHARACTERS_MAX:
        header = header[: HEADER_CHARACTERS_MAX - 1].rstrip() + "…"
    return {
        "title": _pieces(page.title, WORD_CHARACTERS_MAX),
        "name": page.title,
        "head": {"rtl": _is_rtl(page.title)},
        "header": header,
        "task": _pieces(page.task, WORD_CHARACTERS_MAX) if page.task else None,
        "date": page.date,
        "about": _pieces(page.about, WORD_CHARACTERS_MAX),
        "contents": len(headings) >= CONTENTS_MIN,
        "blocks": [_Steps().of(node) for node in page.nodes],
    }


# ---- steps -----------------------------------------------------------------------------------------------------------


class _Steps:
    """The steps that make one block: children first, as a stack machine wants them."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.word_characters_max = WORD_CHARACTERS_MAX

    def of(self, node: Node) -> list[Step]:
        self._add(node, quotes=0)
        return self.steps

    def _add(self, node: Node, *, quotes: int) -> None:
        match node.kind:
            case "text" | "literal":
                self._step(node.kind, t=_pieces(node.text, self.word_characters_max))
                return
            case "code":
                lines = node.text.replace("\t", TAB).split("\n")
                self._step("code", t=[_pieces(line or " ", CODE_CHARACTERS_MAX) for line in lines])
                return
            case "break" | "rule":
                self._step(node.kind)
                return
            case "table":
                head, *rows = node.children
                starts = range(0, max(len(rows), 1), ROWS_MAX)
                for start in starts:
                    self._add_table([head, *rows[start : start + ROWS_MAX]])
                self._step("group", n=len(starts))
                return
            case "paragraph" if len(node.children) > CHILDREN_MAX:
                starts = range(0, len(node.children), CHILDREN_MAX)
                some = [Node("paragraph", node.children[start : start + CHILDREN_MAX]) for start in starts]
                self._add(Node("cell", some), quotes=quotes)
                return
        inside = quotes + (node.kind == "quote")
        for child in node.children:
            self._add(child, quotes=inside)
        count = len(node.children)
        match node.kind:
            case "heading":
                self._step("heading", n=count, level=node.number - 1, **_direction(node))
            case "paragraph":
                self._step("line" if node.tight else "paragraph", n=count, **_direction(node))
            case "list":
                self._step("list", n=count, tight=node.tight, **_direction(node))
            case "numbered":
                self._step("numbered", n=count, tight=node.tight, start=node.number, **_direction(node))
            case "quote" if inside > QUOTES_MAX:
                self._step("group", n=count)
            case "quote":
                self._step("quote", n=count, inset=10 if inside == 1 else 6)
            case "link":
                self._step("link", n=count, t=node.text)
            case _:
                self._step(node.kind, n=count)

    def _step(self, kind: str, **more: Any) -> None:
        self.steps.append({"k": kind, **more})

    def _add_table(self, table: list[Node]) -> None:
        rows = [row.children for row in table]
        columns = max(map(len, rows))
        parts = _column_parts(columns)
        widest = max(map(len, parts))
        self.word_characters_max = next(most for size, most in CELL_CHARACTERS_MAX.items() if widest <= size)
        for row in rows:
            for cell in row:
                self._add(cell, quotes=0)
            for _ in range(columns - len(row)):
                self._step("group", n=0)
        self.word_characters_max = WORD_CHARACTERS_MAX
        self._step(
            "table",
            n=columns * len(rows),
            columns=columns,
            parts=parts,
            aligns=[rows[0][column].text if column < len(rows[0]) else "" for column in range(columns)],
            widths=_widths(rows, columns),
            size=0.9 if widest <= 4 else 0.82 if widest <= 6 else 0.75,
            inset=5 if widest <= 6 else 3.5,
        )


def _column_parts(columns: int) -> list[list[int]]:
    """The columns of each part; a table of several parts repeats its first column, by which a row is known."""
    if columns <= COLUMNS_MAX:
        return [list(range(columns))]
    others = columns - 1
    count = -(-others // (COLUMNS_MAX - 1))
    size = -(-others // count)
    return [[0, *range(start, min(start + size, columns))] for start in range(1, columns, size)]


def _widths(rows: list[list[Node]], columns: int) -> list[int]:
    """The share of the width that each column gets; 0 for one that is as wide as its words."""
    longest = [0] * columns
    for row in rows:
        for column, cell in enumerate(row):
            longest[column] = max(longest[column], len(cell.words()))
    if sum(longest) * LETTER_PT + columns * COLUMN_PT <= LINE_PT:
        return [0] * columns
    narrow = NARROW_FEW if columns <= COLUMNS_FEW else NARROW
    return [0 if length <= narrow else min(length, 60) for length in longest]


# ---- words -----------------------------------------------------------------------------------------------------------

# Scripts that break between any two characters need no help.
_WORD = re.compile(r"[^\s\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff]+")


def _pieces(text: str, word_max: int) -> str | list[str]:
    """The text, in pieces where a word is longer than a line should wait for: it may break between them."""
    cuts: list[int] = []
    for word in _WORD.finditer(text):
        if word.end() - word.start() > word_max:
            places = range(word.start() + PIECE_CHARACTERS, word.end(), PIECE_CHARACTERS)
            cuts += [at for at in places if not _is_joined(text, at)]
    if not cuts:
        return text
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _is_joined(text: str, at: int) -> bool:
    """Whether the character there belongs to the one before it."""
    here, before = text[at], text[at - 1]
    return unicodedata.category(here)[0] == "M" or "\u200d" in (here, before) or "\U0001f3fb" <= here <= "\U0001f3ff"


def _direction(node: Node) -> dict[str, bool]:
    return {"rtl": True} if _is_rtl(node.words()) else {}


def _is_rtl(text: str) -> bool:
    """Whether its first letter is of a script that runs from right to left."""
    for character in text[:1_000]:
        match unicodedata.bidirectional(character):
            case "L":
                return False
            case "R" | "AL":
                return True
    return False
