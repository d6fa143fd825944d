"""What would block the loop: a few threads, each with a tool of its own, and a bound on what waits.

    desk = Desk(lambda: connect(hub))          # each thread with a client of the hub
    runs = await desk.ask(lambda client: client.runs())

Owns: that nothing here blocks the gateway's loop, or holds up its end. Must not: know what is asked.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from felixhub.views.web.refusal import Refusal

T = TypeVar("T")
Tool = TypeVar("Tool")

_Job = tuple[Callable[[Any], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Desk(Generic[Tool]):
    def __init__(self, tool: Callable[[], AbstractContextManager[Tool]], *, threads: int, waiting_max: int) -> None:
        self._tool = tool
        self._jobs: queue.Queue[_Job | None] = queue.Queue(waiting_max)
        # Daemons: one that waits for a hub that is away, or lays out a long document, does not hold up the end.
        self._threads = [
            threading.Thread(target=self._work, name=f"desk-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    async def ask(self, what: Callable[[Tool], T]) -> T:
        """What it comes to. Raises what it raises, and Refusal when too much waits already."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        try:
            self._jobs.put_nowait((what, answer, loop))
        except queue.Full:
            raise Refusal(503, "busy", "too much is asked at once: try again in a moment") from None
        return await answer

    def close(self) -> None:
        """Begin nothing more. What is under way is not waited for."""
        for _ in self._threads:
            try:
                self._jobs.put_nowait(None)
            except queue.Full:
                return

    def _work(self) -> None:
        with self._tool() as tool:
            while (job := self._jobs.get()) is not None:
                what, answer, loop = job
                if answer.cancelled():
                    continue  # Whoever asked has gone.
                try:
                    done: tuple[Any, BaseException | None] = (what(tool), None)
                except Exception as error:  # noqa: BLE001  (it is raised where it was asked)
                    done = (None, error)
                try:
                    loop.call_soon_threadsafe(_settle, answer, *done)
                except RuntimeError:
                    return  # The loop has ended meanwhile.


def _settle(answer: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(value)
