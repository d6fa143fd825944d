"""Where agents run: event loops on threads of their own, so that nothing an agent does stops a beat.

All LLM agents of a worker share one place, and so their connections. Each program of a user has its own, which is given
up for a new one when its code does not let go.

    ──start──► running ──┬─► reports items … ──► reports its end, once
                 └──stop─┘

Owns: threads, loops, tasks and closing them. Must not: know the hub, or what a thought is.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from felixhub.core.errors import FelixError, ModelFailed
from felixhub.core.events import Reason
from felixhub.core.messages import Assign
from felixhub.worker.inbox import Inbox
from felixhub.worker.items import Broken, End, Item, Reasoning, Stopped, Whole

MODELS = ""  # the place of the LLM agents; no agent has this name
CROWDED_S = 0.01

Think = Callable[[Assign], AsyncGenerator[Item, None]]
Report = tuple["Job", Item | End]

_REASONS: dict[str, Reason] = {
    reason: reason
    for reason in ("agent_error", "stalled", "llm_error", "truncated", "too_long", "context_exceeded", "cancelled")
}


class Job:
    """One agent thinking one thought."""

    def __init__(self, assign: Assign, think: Think, inbox: Inbox[Report], *, bytes_max: int) -> None:
        self.thought = assign.thought
        self.place = assign.agent if assign.card.program else MODELS
        self.stopping = False
        self.ended = False  # the session sets it when it has heard the end
        self._assign = assign
        self._think = think
        self._inbox = inbox
        self._bytes_left = bytes_max
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Whole] | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """From the session's thread."""
        self._loop = loop
        loop.call_soon_threadsafe(self._start)

    def stop(self) -> None:
        """From the session's thread. The agent's next item is not taken, its present wait is cancelled."""
        self.stopping = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # The loop has closed: it is stopped.
                self._loop.call_soon_threadsafe(self._cancel)

    # ---- in the place's thread ----

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=self.thought)
        self._task.add_done_callback(self._report_end)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> Whole:
        whole = Whole()
        async with aclosing(self._think(self._assign)) as items:
            async for item in items:
                if self.stopping or self._bytes_left < 0:
                    break
                if isinstance(item, Whole):
                    whole = item
                    break
                match item:
                    case str():
                        self._bytes_left -= len(item)
                    case Reasoning():
                        self._bytes_left -= len(item.text)
                self._inbox.put((self, item))
                if self._inbox.is_crowded:
                    await asyncio.sleep(CROWDED_S)
        return whole

    def _report_end(self, task: asyncio.Task[Whole]) -> None:
        self._inbox.put((self, self._end(task)))

    def _end(self, task: asyncio.Task[Whole]) -> End:
        error = None if task.cancelled() else task.exception()
        if self.stopping:
            return Stopped()
        match error:
            case None if task.cancelled():
                return Broken("agent_error", "its own code cancelled it")
            case None:
                return task.result()
            case ModelFailed():
                return Broken(_REASONS.get(error.reason, "llm_error"), error.sentence, error.lasting)
            case FelixError():  # The operator's: the same file will say the same again.
                return Broken("agent_error", str(error), lasting=True)
            case _:
                return Broken("agent_error", f"{type(error).__name__}: {error}")


class Place:
    """A thread with an event loop. `on_close` runs in it at the end, to close connections."""

    def __init__(self, name: str, *, on_close: Callable[[], Awaitable[None]] | None = None) -> None:
        self._on_close = on_close
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"place-{name or 'models'}", daemon=True)
        self._thread.start()
        self._ready.wait()

    def _live(self) -> None:
        asyncio.run(self._wait())  # At its end it cancels what still runs.

    async def _wait(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._leave = asyncio.Event()
        self._ready.set()
        await self._leave.wait()
        if self._on_close is not None:
            await self._on_close()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def leave(self) -> None:
        """Close as soon as the loop is free; does not wait."""
        with contextlib.suppress(RuntimeError):  # It has closed already.
            self.loop.call_soon_threadsafe(self._leave.set)

    def join(self, seconds: float) -> bool:
        """True when the thread has ended."""
        self._thread.join(max(0.0, seconds))
        return not self.is_alive


class Places:
    def __init__(
        self, think: Think, *, bytes_max: int, close_models: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.inbox: Inbox[Report] = Inbox()
        self._think = think
        self._bytes_max = bytes_max
        self._close_models = close_models
        self._places: dict[str, Place] = {}
        self._forsaken: list[Place] = []

    def start(self, assign: Assign) -> Job:
        job = Job(assign, self._think, self.inbox, bytes_max=self._bytes_max)
        place = self._places.get(job.place)
        if place is None or not place.is_alive:  # A user's code may have ended the loop, with SystemExit for one.
            place = Place(job.place, on_close=self._close_models if job.place == MODELS else None)
            self._places[job.place] = place
        job.start(place.loop)
        return job

    def forsake(self, job: Job) -> None:
        """It did not stop when told. A user's code blocks only its own thread; the next thought gets another."""
        if job.place == MODELS:
            return
        place = self._places.pop(job.place, None)
        if place is not None:
            place.leave()
            self._forsaken = [one for one in self._forsaken if not one.join(0)] + [place]

    def close(self, *, clock: Callable[[], float], seconds: float) -> None:
        """Stop everything, waiting at most this long; threads that do not let go die with the process."""
        places = [*self._places.values(), *self._forsaken]
        self._places, self._forsaken = {}, []
        for place in places:
            place.leave()
        deadline = clock() + seconds
        for place in places:
            place.join(deadline - clock())
        self.inbox.close()
