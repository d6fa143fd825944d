"""`felixhub export`: a run as Markdown, as an HTML page, as a PDF, or as its events.

Owns: where the export goes, and the name of its file. Must not: know what a document contains or how it looks.
"""

from __future__ import annotations

import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

from felixhub.cli.processes import finder, settings_for
from felixhub.cli.runs import named
from felixhub.core.board import Board
from felixhub.core.errors import ConfigError, Place
from felixhub.core.events import RunStarted, parse_event
from felixhub.core.messages import Replay
from felixhub.core.run import Run
from felixhub.transport.control import ControlClient, new_id

NAME_CHARACTERS_MAX = 40  # of the task, in a file's name
SAME_NAMES_MAX = 1_000


def export_run(run: str, kind: str, output: Path | None, *, appendix: bool, hub: str | None) -> None:
    """Write a run as `md`, `html`, `pdf` or `jsonl`.

    `output` is a file, a folder to put a file with the task's name into, or `-` for standard output, where Markdown,
    HTML and events go by default; a PDF goes into the current folder then. Raises ConfigError.
    """
    forced = output is not None and str(output) == "-"
    if forced and kind == "pdf" and sys.stdout.isatty():
        raise ConfigError("a PDF is nothing for a terminal: name a file with -o, or leave -o out")
    settings = settings_for()
    with ControlClient(finder(settings, hub)) as client:
        lines = client.pages(Replay(id=new_id(), run=named(client, run)))
    data = b"".join(line + b"\n" for line in lines) if kind == "jsonl" else _made(lines, kind, appendix=appendix)
    if forced or (output is None and kind != "pdf"):
        _print(data, kind)
    elif output is None or output.is_dir():
        started = parse_event(lines[0])
        assert isinstance(started, RunStarted)
        print(_save_new(output or Path(), file_name(started.task, started.at), kind, data))
    else:
        try:
            output.write_bytes(data)
        except OSError as error:
            raise ConfigError(f"cannot write the export: {error.strerror}", place=Place(str(output))) from None


def _told(lines: list[bytes]) -> Run:
    """The run that these events tell of."""
    board = Board()
    first = parse_event(lines[0])
    board.follow(first.run)
    for line in lines:
        board.take(parse_event(line))
    return board.runs[first.run]


def _made(lines: list[bytes], kind: str, *, appendix: bool) -> bytes:
    from felixhub.documents.document import document_of, markdown, page_of

    document = document_of(_told(lines), appendix=appendix)
    match kind:
        case "html":
            from felixhub.documents.html import html

            return html(page_of(document))
        case "pdf":
            from felixhub.documents.pdf import pdf

            return pdf(page_of(document))
    return markdown(document).encode()


def _print(data: bytes, kind: str) -> None:
    """What the models wrote is shown on a terminal, never obeyed."""
    if sys.stdout.isatty():
        from felixhub.views.safe_text import safe_json, safe_text

        text = data.decode()
        data = (safe_json(text) if kind == "jsonl" else safe_text(text)).encode()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


# ---- files -----------------------------------------------------------------------------------------------------------


def _save_new(folder: Path, name: str, kind: str, data: bytes) -> Path:
    """Write a file that was not there before."""
    for number in range(1, SAME_NAMES_MAX + 1):
        file = folder / f"{name}{'' if number == 1 else f'-{number}'}.{kind}"
        try:
            with file.open("xb") as out:
                out.write(data)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(f"cannot write the export: {error.strerror}", place=Place(str(file))) from None
        return file
    sentence = f"there are {SAME_NAMES_MAX} files of that name already: name one with -o"
    raise ConfigError(sentence, place=Place(str(folder / f"{name}.{kind}")))


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
