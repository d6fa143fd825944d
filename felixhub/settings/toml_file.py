"""A TOML file whose every mistake is known by its line.

Owns: reading a file, tomllib's complaints in an operator's words, and the place of a key. Must not: know what the
file is about.
"""

from __future__ import annotations

import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from felixhub.core.errors import ConfigError, Place
from felixhub.settings.mistakes import Mistake, check, placed, stop
from felixhub.settings.toml_lines import Key, key_lines

FILE_BYTES_MAX = 1024 * 1024

M = TypeVar("M", bound=BaseModel)

_POSITION = re.compile(r"(.*?) \(at (?:line (\d+), column \d+|end of document)\)$", re.DOTALL)
_HINTS = (  # how tomllib's complaint begins, and what to do about it
    ("Invalid value", "put text in quotes; write true and false small"),
    ("Cannot overwrite a value", "this name is there twice, keep one"),
    ("Cannot declare", "this table is there twice, keep one; a list of tables has double brackets each time"),
    ("Cannot mutate immutable", "this name is there twice, keep one"),
    ("Expected '='", "write key = value"),
    ("Expected newline or end", "write one key = value on each line, and no number with a leading zero"),
    ("Unterminated string", "a closing quote is missing"),
    ('Expected "\'"', "a closing quote is missing"),
    ("Unclosed array", "a closing ] is missing"),
    ("Unclosed inline table", "a closing } is missing"),
    ("Unescaped '\\'", "write \\\\ for a backslash, or use single quotes"),
    ("Illegal character", "a closing quote is missing, or a character that cannot be seen has come in"),
    ("Invalid statement", "write key = value, or [table]"),
)


class TomlFile:
    """One file that was read: its `data`, and the place of every key in it."""

    def __init__(self, path: Path, text: str, data: dict[str, Any]) -> None:
        self.path = path
        self.data = data
        self._text = text

    @cached_property
    def _lines(self) -> dict[Key, int]:
        return key_lines(self._text)

    def place(self, key: Key) -> Place:
        """Where a key stands; for one that is missing, where its table begins."""
        while key and key not in self._lines:
            key = key[:-1]
        return Place(str(self.path), self._lines.get(key, 1))

    def check(self, model: type[M]) -> tuple[M | None, list[Mistake]]:
        made, faults = check(model, self.data)
        return made, placed(faults, self.place)


def read_toml(path: Path) -> TomlFile:
    """The file. Raises ConfigError, with the line, if it cannot be read or is not TOML."""
    text = read_text(path).replace("\r\n", "\n")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _POSITION.match(str(error))
        said, line = (found[1], found[2]) if found else (str(error), None)
        where = int(line) if line else max(1, text.rstrip().count("\n") + 1)
        hint = next((f": {hint}" for start, hint in _HINTS if said.startswith(start)), "")
        raise ConfigError(f"this is not TOML ({said}){hint}", place=Place(str(path), where)) from None
    except RecursionError:
        raise ConfigError("this is nested too deeply: write it flatter", place=Place(str(path), 1)) from None
    return TomlFile(path, text, data)


def load_toml(path: Path, model: type[M]) -> M:
    """The file as the model. Raises one ConfigError with all its mistakes, each with its line."""
    made, mistakes = read_toml(path).check(model)
    stop(mistakes)
    assert made is not None, "no mistake, so it was made"
    return made


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark. Raises ConfigError if there is none to read."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read this file: {error.strerror or error}", place=Place(str(path))) from None
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"this file is larger than {FILE_BYTES_MAX} bytes: shorten it", place=Place(str(path)))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError("this is not UTF-8 text: save it as UTF-8", place=Place(str(path), line)) from None
