"""`felixhub logs`: what the hub, the supervisor and the workers have noted, in the order of time.

Owns: reading and following their files, and how a line looks. Must not: need a hub, or write.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

from felixhub.cli.processes import settings_for
from felixhub.core.errors import ConfigError
from felixhub.logs import FILES_KEPT, FOLDER
from felixhub.settings.mistakes import did_you_mean
from felixhub.views.console_look import Look, Tone, detect_look
from felixhub.views.safe_text import safe_json, safe_line

LEVELS = ("info", "warning", "error")
LINE_BYTES_MAX = 1_000_000
FOLLOW_S = 0.2
TONES: dict[str, Tone] = {"warning": "warn", "error": "bad", "critical": "bad"}
HEAD = ("timestamp", "level", "event", "process", "exception")  # what a line shows by itself


@dataclass(frozen=True, slots=True)
class Asked:
    """`names` are processes: hub, supervisor, an agent; none means all. `level` is the lowest that is shown."""

    names: Sequence[str]
    lines: int
    level: str
    follow: bool
    as_json: bool


@dataclass(frozen=True, slots=True, order=True)
class Line:
    at: str
    name: str = field(compare=False)
    raw: str = field(compare=False)
    entry: dict[str, Any] = field(compare=False)


def logs(asked: Asked, *, data: Path | None) -> None:
    """Print the last lines, and with `follow` what comes after them until Ctrl-C."""
    folder = settings_for(data_dir=data).data_dir / FOLDER
    files = _Files(folder, asked)
    if asked.names:
        known = files.names()
        for name in asked.names:
            if name not in known and not asked.follow:
                raise ConfigError(
                    f"there is no log of '{name}'{did_you_mean(name, known)} (there are: {', '.join(known) or 'none'})"
                )
    elif not asked.follow and not files.names():
        raise ConfigError(f"there are no logs in {folder}: a hub writes them, `felixhub up`; --data names another one")
    look = detect_look(sys.stdout, os.environ)
    with contextlib.closing(files):
        _print(files.last(), look, asked)
        while asked.follow:
            time.sleep(FOLLOW_S)
            _print(files.more(), look, asked)


class _Files:
    """The logs of one folder, and how far each was read."""

    def __init__(self, folder: Path, asked: Asked) -> None:
        self._folder = folder
        self._asked = asked
        self._open: dict[str, _Following] = {}

    def close(self) -> None:
        for one in self._open.values():
            one.close()

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.log"))

    def _wanted(self) -> list[str]:
        return [name for name in self.names() if not self._asked.names or name in self._asked.names]

    def last(self) -> list[Line]:
        """The last lines of all together."""
        found: list[Line] = []
        for name in self._wanted():
            reading = self._open[name] = _Following(self._folder / f"{name}.log")
            latest = deque((one for one in self._read(name, reading.take())), maxlen=self._asked.lines)
            number = 1
            while len(latest) < self._asked.lines and number <= FILES_KEPT:
                older = list(self._read(name, _lines_of(self._folder / f"{name}.log.{number}")))
                missing = self._asked.lines - len(latest)
                latest.extendleft(reversed(older[-missing:] if missing else []))
                number += 1
            found += latest
        return sorted(found)[len(found) - min(len(found), self._asked.lines) :]

    def more(self) -> list[Line]:
        """What has come since."""
        found: list[Line] = []
        for name in self._wanted():
            if name not in self._open:
                self._open[name] = _Following(self._folder / f"{name}.log")
            found += self._read(name, self._open[name].take())
        return sorted(found)

    def _read(self, name: str, lines: Iterator[bytes]) -> Iterator[Line]:
        for raw in lines:
            line = _parsed(name, raw)
            if _rank(line.entry.get("level")) >= _rank(self._asked.level):
                yield line


class _Following:
    """One file, also when it was put aside and another has taken its name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._rest = b""

    def take(self) -> Iterator[bytes]:
        """The whole lines that have come."""
        if self._file is None:
            self._reopen()
        while self._file is not None:
            is_over = self._was_put_aside()  # Asked first: what was written before it is in the file.
            yield from self._whole(self._file)
            if not is_over:
                return
            self._reopen()

    def _whole(self, file: IO[bytes]) -> Iterator[bytes]:
        while data := file.readline(LINE_BYTES_MAX):
            self._rest += data
            if not self._rest.endswith(b"\n") and len(self._rest) < LINE_BYTES_MAX:
                return
            line, self._rest = self._rest, b""
            yield line

    def _was_put_aside(self) -> bool:
        assert self._file is not None, "it was read"
        try:
            now = self._path.stat()
        except OSError:
            return False  # Between two names; look again.
        then = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _reopen(self) -> None:
        self.close()
        self._rest = b""
        try:
            self._file = self._path.open("rb")
        except OSError:
            self._file = None


def _lines_of(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from iter(lambda: file.readline(LINE_BYTES_MAX), b"")
    except OSError:
        return


def _parsed(name: str, raw: bytes) -> Line:
    """A line that is no JSON object is shown as it is: Python itself may have written it."""
    text = raw.decode(errors="replace").rstrip("\n")
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        entry = {"event": text, "level": "error"}
    return Line(str(entry.get("timestamp", "")), name, text, entry)


def _rank(level: object) -> int:
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


def _print(lines: Sequence[Line], look: Look, asked: Asked) -> None:
    for line in lines:
        if asked.as_json or not look.terminal:
            print(safe_json(line.raw) if look.terminal else line.raw)
        else:
            print(_pretty(line, look))
    if lines:
        sys.stdout.flush()


def _pretty(line: Line, look: Look) -> str:
    """`12:03:04 hub        run_pruned  run=memo-1a2b`, and the traceback below it where there is one."""
    entry = line.entry
    when = _clock(line.at)
    level = str(entry.get("level", ""))
    values = " ".join(
        f"{key}={_value(value)}"
        for key, value in islice(entry.items(), 50)
        if key not in HEAD and value is not None and (key, value) != ("agent", line.name)  # A worker is its agent.
    )
    event = look.paint(safe_line(str(entry.get("event", ""))), TONES.get(level, "strong"))
    note = f"{level}: " if level not in ("info", "") else ""
    shown = f"{look.paint(when, 'dim')} {safe_line(line.name):<12} {note}{event} {safe_line(values)}".rstrip()
    trace = str(entry.get("exception", ""))
    return "\n".join([shown, *(f"    {safe_line(part)}" for part in trace.splitlines())]) if trace else shown


def _clock(at: str) -> str:
    """The time of day here."""
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return "--:--:--"


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value and " " not in value else json.dumps(value, ensure_ascii=False)
