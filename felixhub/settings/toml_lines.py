"""On which line each key of a TOML text stands, which `tomllib` does not say.

Owns: finding lines. Must not: judge; the text has been parsed by `tomllib` before, so it is sound.
"""

from __future__ import annotations

import re
import tomllib

Key = tuple[str | int, ...]  # ("stages", 2, "agent"): the agent of the third stage

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_PART = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*""")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}\n#]*")


def key_lines(text: str) -> dict[Key, int]:
    """The line, from 1, of every key, table and list item."""
    return _Scan(text).lines


class _Scan:
    def __init__(self, text: str) -> None:
        self.lines: dict[Key, int] = {}
        self._text = text
        self._at = 0
        self._counted = (0, 1)  # an offset and its line
        self._counts: dict[Key, int] = {}  # tables seen so far in each array of tables
        self._document()

    def _document(self) -> None:
        table: Key = ()
        while self._next():
            if self._take("[["):
                table = self._header(repeated=True)
            elif self._take("["):
                table = self._header(repeated=False)
            else:
                self._pair(table)

    def _header(self, *, repeated: bool) -> Key:
        parts = self._key()
        self._take("]]" if repeated else "]")
        parents, last = parts[:-1], parts[-1]
        table = (*self._resolved(parents), last)
        if repeated:
            self._note(table)
            self._counts[table] = self._counts.get(table, -1) + 1
            table = (*table, self._counts[table])
        else:
            table = self._resolved(parts)
        self._note(table)
        return table

    def _resolved(self, parts: Key) -> Key:
        """A header's path, where an array of tables means its latest table."""
        path: Key = ()
        for part in parts:
            path = (*path, part)
            if path in self._counts:
                path = (*path, self._counts[path])
        return path

    def _pair(self, table: Key) -> None:
        path = table
        for part in self._key():
            path = (*path, part)
            self._note(path)
        self._take("=")
        self._value(path)

    def _value(self, path: Key) -> None:
        self._next()
        if self._take("["):
            index = 0
            while self._next() and not self._take("]"):
                self._note((*path, index))
                self._value((*path, index))
                self._next()
                self._take(",")
                index += 1
        elif self._take("{"):
            while self._next() and not self._take("}"):
                self._pair(path)
                self._next()
                self._take(",")
        else:
            found = _STRING.match(self._text, self._at) or _PLAIN.match(self._text, self._at)
            assert found, "a plain value may be empty, so it always matches"
            self._at = found.end()

    def _key(self) -> Key:
        parts: list[str] = []
        while found := _PART.match(self._text, self._at):
            part = found[1]
            parts.append(tomllib.loads(f"key = {part}")["key"] if part[0] in "\"'" else part)
            self._at = found.end()
            if not self._take("."):
                break
        assert parts, "tomllib has accepted this text, so a key stands here"
        return tuple(parts)

    def _next(self) -> bool:
        """Go to the next thing that is neither blank nor comment; False at the end."""
        found = _BLANK.match(self._text, self._at)
        assert found, "a blank may be empty, so it always matches"
        self._at = found.end()
        return self._at < len(self._text)

    def _take(self, sign: str) -> bool:
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def _note(self, path: Key) -> None:
        start, line = self._counted
        line += self._text.count("\n", start, self._at)
        self._counted = (self._at, line)
        self.lines.setdefault(path, line)
