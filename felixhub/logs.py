"""Logs: structlog, one line per life, pretty on a terminal and JSON otherwise, always on standard error or a file.

A file over 5 MB is renamed to `NAME.1` when a process that writes to it starts; there is one such generation.

Owns: how a log line looks and where it goes. Must not: be used for anything a program should read.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any, TextIO

import structlog

FILE_BYTES_MAX = 5_000_000


def configure_logs(*, file: Path | None = None, debug: bool = False) -> None:
    """Send this process's log to `file` (appended, created with mode 0600), else to standard error."""
    stream: TextIO = sys.stderr
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # Mostly there is none yet. A log that cannot be renamed goes on growing.
            if file.stat().st_size > FILE_BYTES_MAX:
                file.replace(file.with_name(f"{file.name}.1"))
        file.touch(mode=0o600)
        stream = file.open("a", encoding="utf-8", buffering=1)
    pretty = file is None and stream.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer(colors=True) if pretty else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(10 if debug else 20),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )


def get_log(process: str) -> Any:
    """A logger whose lines carry the kind of process: hub, worker, supervisor."""
    return structlog.get_logger().bind(process=process)
