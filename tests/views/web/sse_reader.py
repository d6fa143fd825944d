"""A client of the stream: a small reader of server-sent events, and what its messages come to.

Owns: the parsing, coming back with the last id, and the texts. Must not: repair anything: a hole or a doubled
character is a fault, and stays one.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple


class Message(NamedTuple):
    event: str
    data: Any
    id: str | None


def messages(lines: Iterator[bytes]) -> Iterator[Message]:
    """By the standard: fields, an empty line ends a message, comments are ignored."""
    event, data, last = "", [], None
    for raw in lines:
        line = raw.decode().rstrip("\n").rstrip("\r")
        if not line:
            if data:
                yield Message(event or "message", json.loads("\n".join(data)), last)
            event, data, last = "", [], None
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                event = value
            case "data":
                data.append(value)
            case "id":
                last = value


class Mirror:
    """What the messages of a run's stream have come to. `faults` are what must never happen."""

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], bytearray] = {}
        self.finals: dict[str, str] = {}  # thought -> sha256 of its text, as finalized
        self.marks: list[dict[str, Any]] = []
        self.state: dict[str, Any] = {}
        self.lines: list[dict[str, Any]] = []
        self.hub = ""
        self.is_another_log = False
        self.runs: list[dict[str, Any]] = []
        self.count: dict[str, int] = {}
        self.last_id: str | None = None
        self.faults: list[str] = []
        self.gone = ""

    def take(self, message: Message) -> None:
        self.count[message.event] = self.count.get(message.event, 0) + 1
        if message.id is not None:
            self.last_id = message.id
        match message.event:
            case "snapshot":
                self._start(message.data)
            case "message":
                for event in message.data:
                    self._fold(event)
            case "state":
                self.state = message.data
            case "lines":
                self.lines += message.data
            case "hub":
                self.hub = message.data["state"]
            case "runs":
                self.runs = message.data
            case "reset":
                self.is_another_log |= message.data["another_log"]
            case "gone":
                self.gone = message.data["why"]

    def _start(self, snapshot: dict[str, Any]) -> None:
        self.texts, self.finals, self.marks = {}, {}, []
        for piece in snapshot["texts"]:
            if piece["offset"]:
                self.faults.append(f"no tail was asked for: {piece['thought']} begins at {piece['offset']}")
            self.texts[piece["thought"], piece["channel"]] = bytearray(piece["text"].encode())
        for mark in snapshot["marks"]:
            self._fold(mark)

    def _fold(self, event: dict[str, Any]) -> None:
        if event["kind"] != "thought.partial":
            self.marks.append(event)
            if event["kind"] == "thought.finalized":
                self.finals[event["thought"]] = event["sha256"]
            return
        text = self.texts.setdefault((event["thought"], event["channel"]), bytearray())
        if event["offset"] != len(text):
            self.faults.append(f"{event['thought']} has {len(text)} bytes, its next text is at {event['offset']}")
        text += event["text"].encode()

    def kinds(self) -> list[str]:
        return [mark["kind"] for mark in self.marks]

    @property
    def ended(self) -> bool:
        return any(kind in ("run.finished", "run.failed", "run.cancelled") for kind in self.kinds())


class Reader:
    """Reads a stream in a thread, and comes back with its last id whenever it is cut off, as a browser does."""

    def __init__(
        self, port: int, path: str, *, last_id: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        self.mirror = Mirror()
        self.mirror.last_id = last_id
        self.statuses: list[int] = []
        self.began: list[str] = []  # the first message of each connection that has an id, or resets
        self.arrivals: list[float] = []  # when each unnamed message came
        self._port = port
        self._path = path
        self._headers = headers or {}
        self._stopped = False
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """The connection ends; the reader comes back."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stopped = True
        self.cut()
        self._thread.join(30)

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped and not self.mirror.gone:
            try:
                if not self._read():
                    return
            except (OSError, http.client.HTTPException, ValueError):
                pass
            time.sleep(0.05)

    def _read(self) -> bool:
        """One connection; False when the server says not to come back."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.connect()
            self._socket = connection.sock
            headers = {"Accept": "text/event-stream", **self._headers}
            if self.mirror.last_id is not None:
                headers["Last-Event-ID"] = self.mirror.last_id
            connection.request("GET", self._path, headers=headers)
            response = connection.getresponse()
            self.statuses.append(response.status)
            if response.status in (204, 404):
                return False
            if response.status != 200:
                return True
            is_first = True
            for message in messages(iter(response.readline, b"")):
                if is_first and (message.id or message.event == "reset"):
                    self.began.append(message.event)
                    is_first = False
                if message.event == "message":
                    self.arrivals.append(time.monotonic())
                self.mirror.take(message)
            return True
        finally:
            self._socket = None
            connection.close()
