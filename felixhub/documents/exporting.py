"""A run as a file: Markdown, an HTML page, a PDF; and what such a file is called.

Owns: from a run to bytes, for the command line and the page alike. Must not: know where they go.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from felixhub.core.board import Board
from felixhub.core.events import parse_event
from felixhub.core.run import Run
from felixhub.documents.document import Document, markdown, page_of

NAME_CHARACTERS_MAX = 40  # of the task, in a file's name
SAME_NAMES_MAX = 1_000


def told_by(lines: Iterable[bytes]) -> Run:
    """The run that these events tell of."""
    board = Board()
    run = ""
    for line in lines:
        event = parse_event(line)
        if not run:
            run = event.run
            board.follow(run)
        board.take(event)
    return board.runs[run]


def exported(document: Document, kind: str) -> bytes:
    """The document as `html`, `pdf` or `md`. Raises ConfigError when a PDF cannot be made."""
    match kind:
        case "html":
            from felixhub.documents.html import html

            return html(page_of(document))
        case "pdf":
            from felixhub.documents.pdf import pdf

            return pdf(page_of(document))
    return markdown(document).encode()


def file_name(task: str, started_at: float) -> str:
    """`should-the-city-convert-2026-11-21`: letters and digits of the task, and the day in UTC, without an ending.

    It holds no separator, is not hidden, and with the day at its end it is no name that a system reserves.
    """
    text = unicodedata.normalize("NFKC", task[:1_000]).casefold()
    words = "".join(one if unicodedata.category(one)[0] in "LNM" else " " for one in text).split()
    name = ""
    for word in words:
        longer = f"{name}-{word}" if name else word[:NAME_CHARACTERS_MAX]
        if len(longer) > NAME_CHARACTERS_MAX:
            break
        name = longer
    return f"{name or 'document'}-{datetime.fromtimestamp(started_at, UTC):%Y-%m-%d}"


def numbered(name: str, ending: str) -> Iterator[str]:
    """`name.ending`, `name-2.ending` and so on, for the first that is not taken; `SAME_NAMES_MAX` of them."""
    yield f"{name}.{ending}"
    yield from (f"{name}-{number}.{ending}" for number in range(2, SAME_NAMES_MAX + 1))
