"""Commands to the hub, each in its turn, in a thread: no key waits for an answer.

Owns: the thread, its client and its queue. Must not: know what a command does.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from felixhub.core.errors import FelixError
from felixhub.transport.control import ControlClient

WAITING_MAX = 32


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command went, as a sentence for a person. `value` is what it brought."""

    sentence: str
    ok: bool = True
    value: object = None


@dataclass(frozen=True, slots=True)
class Job:
    """`do` says what was done; what it raises is said instead. `name` is for a list of those that were not answered."""

    name: str
    do: Callable[[ControlClient], Outcome]
    then: Callable[[Outcome], None]


class Commander:
    """`connect` makes the client when the first command comes; `then` of a job is called in the thread."""

    def __init__(self, connect: Callable[[], ControlClient]) -> None:
        self._connect = connect
        self._jobs: queue.Queue[Job | None] = queue.Queue(WAITING_MAX)
        self._unanswered: deque[str] = deque()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="commands", daemon=True)
        self._thread.start()

    def ask(self, job: Job) -> bool:
        """Whether it was taken: False when too many wait already."""
        if self._closed:
            return False
        self._unanswered.append(job.name)
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self._unanswered.pop()
            return False
        return True

    def close(self, wait_s: float) -> list[str]:
        """No more. What waits still gets so long; returns the names of those that were not answered in it."""
        self._closed = True
        ends_at = time.monotonic() + wait_s
        try:
            self._jobs.put(None, timeout=wait_s)
        except queue.Full:
            pass  # The thread ends with the process.
        else:
            self._thread.join(max(0.0, ends_at - time.monotonic()))
        return [name for name in self._unanswered if name]

    def _work(self) -> None:
        client: ControlClient | None = None
        while (job := self._jobs.get()) is not None:
            try:
                client = client or self._connect()
                outcome = job.do(client)
            except (FelixError, OSError) as error:
                outcome = Outcome(str(error), ok=False)
            except Exception as error:  # noqa: BLE001  (the commands after it would wait for ever)
                outcome = Outcome(f"this command failed: {type(error).__name__}: {error}", ok=False)
            self._unanswered.popleft()
            job.then(outcome)
        if client is not None:
            client.close()
