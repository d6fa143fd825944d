"""Commands to the hub, each in its turn, in a thread: no key waits for an answer.

Owns: the thread, its client and its queue. Must not: know what a command does.
"""

from __future__ import annotations

import queue
import threading
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
    """`do` says what was done; what it raises is said instead."""

    do: Callable[[ControlClient], Outcome]
    then: Callable[[Outcome], None]


class Commander:
    """`connect` makes the client when the first command comes; `then` of a job is called in the thread."""

    def __init__(self, connect: Callable[[], ControlClient]) -> None:
        self._connect = connect
        self._jobs: queue.Queue[Job | None] = queue.Queue(WAITING_MAX)
        self._thread = threading.Thread(target=self._work, name="commands", daemon=True)
        self._thread.start()

    def ask(self, job: Job) -> bool:
        """Whether it was taken: False when too many wait already."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        """No more; what is under way is not waited for."""
        try:
            self._jobs.put_nowait(None)
        except queue.Full:
            return  # The thread ends with the process.

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
            job.then(outcome)
        if client is not None:
            client.close()
