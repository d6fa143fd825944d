"""`felixhub export`: a run as Markdown, as an HTML page, as a PDF, or as its events.

Owns: where the export goes, and the name of its file. Must not: know what a document contains or how it looks.
"""

from __future__ import annotations

import sys
from pathlib import Path

from felixhub.cli.processes import finder, settings_for
from felixhub.cli.runs import named
from felixhub.core.errors import ConfigError, Place
from felixhub.core.events import RunStarted, parse_event
from felixhub.core.messages import Replay
from felixhub.documents.document import document_of
from felixhub.documents.exporting import SAME_NAMES_MAX, exported, file_name, numbered, told_by
from felixhub.transport.control import ControlClient, new_id
from felixhub.views.safe_text import safe_line


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
        print(f"written to {safe_line(str(output))}", file=sys.stderr)


def _made(lines: list[bytes], kind: str, *, appendix: bool) -> bytes:
    return exported(document_of(told_by(lines), appendix=appendix), kind)


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
    for file in (folder / one for one in numbered(name, kind)):
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
