"""The decoder of server-sent events: bytes in, events out, and what does not belong there.

Why not the openai package's own: it hides `[DONE]`, without which a cut stream looks like a whole one; it raises on
bytes that are not UTF-8; it cannot say what a proxy wrote between the events.

Owns: lines, fields, bytes that are no UTF-8. Must not: know what an event means. `id:` and `retry:` are ignored.
Format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

EVENT_BYTES_MAX = 4 * 1024 * 1024  # of one event, and so of one line

_LINE_END = re.compile(rb"[\r\n]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLong(Exception):
    """A server sent an event of more than `EVENT_BYTES_MAX`."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event. `name` is "" when the server gave none."""

    name: str
    data: str


@dataclass(frozen=True, slots=True)
class StrayLine:
    """A line that is no field of an event: a server or proxy that talks in plain text."""

    text: str


class EventDecoder:
    """Feed it bytes cut anywhere. Comments (pings) vanish here."""

    def __init__(self) -> None:
        self.replaced_count = 0  # bytes that were no UTF-8, shown as U+FFFD
        self._buffer = bytearray()
        self._searched = 0  # the buffer holds no line end before this offset
        self._after_cr = False
        self._first = True
        self._name = ""
        self._data: list[str] = []
        self._event_bytes = 0  # of the fields of the event that has begun

    def feed(self, data: bytes) -> Iterator[ServerEvent | StrayLine]:
        """Events as soon as their empty line is there. Raises `EventTooLong`."""
        self._buffer += data
        while (found := self._next_line()) is not None:
            yield from self._line(found)
        self._check(self._event_bytes + len(self._buffer))

    def finish(self) -> Iterator[ServerEvent | StrayLine]:
        """The end of the stream: an event that lacks only its empty line still comes out."""
        line = bytes(self._buffer)
        self._buffer.clear()
        if line:
            yield from self._line(line)
        yield from self._line(b"")

    def _next_line(self) -> bytes | None:
        if self._after_cr and self._buffer:
            self._after_cr = False
            if self._buffer.startswith(b"\n"):
                del self._buffer[:1]
        found = _LINE_END.search(self._buffer, self._searched)
        if found is None:
            self._searched = len(self._buffer)
            return None
        line = bytes(self._buffer[: found.start()])
        self._after_cr = found[0] == b"\r"
        del self._buffer[: found.end()]
        self._searched = 0
        return line

    def _line(self, raw: bytes) -> Iterator[ServerEvent | StrayLine]:
        if self._first:
            self._first = False
            raw = raw.removeprefix(_BYTE_ORDER_MARK)
        if not raw:
            if self._name or self._data:
                yield ServerEvent(self._name, "\n".join(self._data))
            self._name, self._data, self._event_bytes = "", [], 0
            return
        field, _, value = self._decode(raw).partition(":")
        value = value.removeprefix(" ")
        match field:
            case "data":
                self._event_bytes += len(raw) + 1
                self._check(self._event_bytes)
                self._data.append(value)
            case "event":
                self._name = value
            case "" | "id" | "retry":
                return  # A comment, or fields that mean nothing on /v1.
            case _:
                yield StrayLine(self._decode(raw))

    def _check(self, byte_count: int) -> None:
        if byte_count > EVENT_BYTES_MAX:
            self._buffer.clear()
            self._name, self._data, self._event_bytes, self._searched = "", [], 0, 0
            raise EventTooLong

    def _decode(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            text = raw.decode(errors="replace")
            self.replaced_count += text.count("\ufffd") - raw.count(b"\xef\xbf\xbd")
            return text
