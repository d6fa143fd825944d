"""What agents have said and the session has not yet heard: the one way from their threads to its.

Owns: the queue and the socket that wakes a poll. Must not: know what is in it.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Generic, TypeVar

CROWDED = 10_000  # items; beyond it an agent waits a moment, so that memory stays bounded

_T = TypeVar("_T")


class Inbox(Generic[_T]):
    def __init__(self) -> None:
        self._items: deque[_T] = deque()
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)

    def fileno(self) -> int:
        """Readable while something waits."""
        return self._reading.fileno()

    def put(self, item: _T) -> None:
        """From any thread."""
        self._items.append(item)
        self.wake()

    def wake(self) -> None:
        """End the poll; from any thread or signal handler."""
        try:
            self._writing.send(b"\0")
        except BlockingIOError:
            return  # Full: it will wake anyway.
        except OSError:
            return  # Closed: nobody listens any more.

    @property
    def is_crowded(self) -> bool:
        return len(self._items) > CROWDED

    def drain(self) -> list[_T]:
        """Everything that has come so far, in order."""
        try:
            while len(self._reading.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            pass  # Nothing woke us; look all the same.
        return [self._items.popleft() for _ in range(len(self._items))]

    def close(self) -> None:
        self._reading.close()
        self._writing.close()
