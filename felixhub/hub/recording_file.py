"""A recording in a file: one event a line, as `felixhub export RUN --format jsonl` writes it.

A recording may be larger than memory: the file is read line by line, once to check it and once to play it.
Owns: reading it with a bound, and saying in which line something is wrong. Must not: know what an event may be
(`core/recording.py` does).
"""

from __future__ import annotations

import stat
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic_core import from_json

from felixhub.core.errors import ConfigError, FelixError, Place
from felixhub.core.events import Event, parse_event
from felixhub.core.limits import DEFAULT_LIMITS, MIB
from felixhub.core.recording import BadRecording, RecordingCheck

LINE_BYTES_MAX = 4 * DEFAULT_LIMITS.frame_bytes_max  # no subscriber takes a larger message
HOW = "`felixhub export RUN --format jsonl -o run.jsonl` writes one"


@dataclass(frozen=True, slots=True)
class Recording:
    """What is known of a recording that was checked. `seconds` is how long it plays at its own pace.

    `cut_line` is the number of a last line that breaks off and is left out.
    """

    file: Path
    run: str
    events: int
    last_seq: int
    seconds: float
    is_ended: bool
    cut_line: int | None = None


def check_recording(file: Path) -> Recording:
    """Read the whole file. Raises ConfigError with the line that is wrong, before anything is shown of it."""
    check = RecordingCheck()
    cut_line = None
    with closing(_lines(file)) as lines:
        for number, line, is_whole in lines:
            try:
                check.take(line)
            except BadRecording as error:
                if check.events and not is_whole and not _is_json(line):
                    cut_line = number
                    break
                what = "" if check.events else f"; {HOW}"
                raise ConfigError(f"{error}{what}", place=Place(str(file), number)) from None
    if not check.events:
        raise ConfigError(f"there is nothing in it: it is no recording; {HOW}", place=Place(str(file)))
    return Recording(file, check.run, check.events, check.last_seq, check.seconds, check.is_ended, cut_line)


def recorded_events(recording: Recording) -> Generator[Event, None, None]:
    """The events of a recording that was checked. Raises ConfigError when it is not the same any more."""
    found = 0
    with closing(_lines(recording.file)) as lines:
        for number, line, _ in islice(lines, recording.events):
            try:
                event = parse_event(line)
            except FelixError:
                raise changed(recording, number) from None
            found += 1
            yield event
    if found < recording.events:
        raise changed(recording)


def changed(recording: Recording, line: int | None = None) -> ConfigError:
    sentence = "the recording was changed while it was played: play it again"
    return ConfigError(sentence, place=Place(str(recording.file), line))


def _lines(file: Path) -> Generator[tuple[int, bytes, bool], None, None]:
    """Each line that is not blank: its number, its bytes without the end, and whether it has one."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            # To open a pipe that nobody writes to would wait for ever.
            raise ConfigError("it is no ordinary file, which can be read twice: save it first", place=Place(str(file)))
        with file.open("rb") as opened:
            number = 0
            while line := opened.readline(LINE_BYTES_MAX + 1):
                number += 1
                if len(line) > LINE_BYTES_MAX:
                    sentence = f"this line has more than {LINE_BYTES_MAX // MIB} MiB: it is no event; {HOW}"
                    raise ConfigError(sentence, place=Place(str(file), number))
                text = line.rstrip(b"\r\n")
                if text.strip():
                    yield number, text, line.endswith(b"\n")
    except OSError as error:
        raise ConfigError(f"cannot read the recording: {error.strerror}", place=Place(str(file))) from None


def _is_json(line: bytes) -> bool:
    try:
        from_json(line)
    except ValueError:
        return False
    return True
