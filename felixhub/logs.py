"""Logs: structlog, one line per life, never one per token.

To standard error pretty where that is a terminal and as JSON otherwise, to a file always as JSON. A file over 5 MB is
put aside as `NAME.1`, that one as `NAME.2`, and so on; three are kept. Every process has a file of its own.

Owns: how a log line looks and where it goes. Must not: be used for anything a program should read, or fail.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

FILE_BYTES_MAX = 5_000_000
FILES_KEPT = 3  # besides the one that is written
FOLDER = "logs"  # in the data directory

Entry = MutableMapping[str, Any]
Write = Callable[[Entry], None]


def log_file(data_dir: Path, process: str) -> Path:
    """The file of one process: `hub`, `supervisor`, or the name of the agent that a worker hosts."""
    return data_dir / FOLDER / f"{process}.log"


def configure_logs(*, file: Path | None = None, stderr: bool | None = None) -> None:
    """Send this process's log to `file` (appended, mode 0600), and to standard error if `stderr`.

    By default it goes to one of the two: to the file when there is one. Raises OSError for a file that cannot be made.
    """
    import structlog  # Late: who only asks a hub has nothing to log.

    sinks: list[Write] = []
    if file is not None:
        sinks.append(_to_file(file))
    if stderr or (stderr is None and file is None):
        sinks.append(_to_stream(sys.stderr))

    def write(_logger: object, _name: str, entry: Entry) -> Entry:
        for sink in sinks:
            sink(entry)
        raise structlog.DropEvent  # It is written: nothing is left to do.

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            write,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def get_log(process: str) -> Any:
    """A logger whose lines carry the kind of process: hub, worker, supervisor."""
    import structlog

    return structlog.get_logger().bind(process=process)


def _to_stream(stream: TextIO) -> Write:
    import structlog

    pretty = stream.isatty()
    render: Any = structlog.dev.ConsoleRenderer(colors=True) if pretty else structlog.processors.JSONRenderer()

    def write(entry: Entry) -> None:
        with contextlib.suppress(OSError, ValueError):  # Nobody reads it any more.
            stream.write(f"{render(None, '', dict(entry))}\n")
            stream.flush()

    return write


def _to_file(file: Path) -> Write:
    import structlog

    for folder in (file.parent.parent, file.parent):  # The data directory may have to be made too, and is private.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = _PrivateFile(file)
    render = structlog.processors.JSONRenderer()

    def write(entry: Entry) -> None:
        handler.emit(logging.makeLogRecord({"msg": render(None, "", dict(entry))}))

    return write


class _PrivateFile(RotatingFileHandler):
    """A file that only its owner may read, and a log that never ends the process that writes it."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, maxBytes=FILE_BYTES_MAX, backupCount=FILES_KEPT, encoding="utf-8", errors="replace")
        if file.stat().st_size > FILE_BYTES_MAX:
            self.doRollover()

    def _open(self) -> Any:
        made = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return os.fdopen(made, "a", encoding=self.encoding, errors=self.errors, buffering=1)

    def handleError(self, record: logging.LogRecord) -> None:
        """The disk is full, say: the line is lost, the work goes on."""
