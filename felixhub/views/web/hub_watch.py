"""Whether the hub is there, and which runs it has; every stream is told when that changes.

Owns: asking once a second, with one small question while nothing is new. Must not: follow a run (`feed.py` does).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from felixhub.core.errors import FelixError
from felixhub.transport.address import NoHub
from felixhub.transport.control import ControlClient, connect
from felixhub.views.web import bounds
from felixhub.views.web.desk import Desk
from felixhub.views.web.frames import frame, json_bytes

HERE = "the hub is here"
VOLATILE = ("seq", "bytes", "ended_s_ago")
AWAY = "the hub is away; waiting for it"


class HubWatch:
    """`is_here` is None until it is known. `tell` is called with a kind and its frame whenever one is new.

    `listed` is called with the latest runs whenever the hub has told them.
    """

    def __init__(
        self, hub: str | Path, *, tell: Callable[[str, bytes], None], listed: Callable[[set[str]], None]
    ) -> None:
        self.is_here: bool | None = None
        self.why_away = AWAY
        self.boot = ""
        self.runs: list[dict[str, Any]] = []
        self._tell = tell
        self._listed = listed
        self._seen: tuple[Any, Any] | None = None
        self._runs_at = 0.0
        self._desk = Desk(lambda: connect(hub, wait_s=bounds.LOOK_WAIT_S), threads=1, waiting_max=4)
        self._known = asyncio.Event()
        self._came = asyncio.Event()
        self._soon = asyncio.Event()
        self._task = asyncio.create_task(self._watch())

    async def known(self, seconds: float) -> None:
        """Wait until the hub was looked for once, at most so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._known.wait(), seconds)

    async def here(self, seconds: float) -> None:
        """Wait for the hub at most so long. Raises NoHub."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._came.wait(), seconds)
        if not self._came.is_set():
            raise NoHub(self.why_away)

    def look_soon(self) -> None:
        """Something was changed from here: do not wait for the next second."""
        self._soon.set()

    def frames(self) -> dict[str, bytes]:
        """What a new stream begins with."""
        if self.is_here is None:
            return {}
        found = {"hub": self._hub_frame()}
        if self.is_here or self.runs:
            found["runs"] = self._runs_frame()
        return found

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._desk.close()

    async def _watch(self) -> None:
        while True:
            try:
                hello = await self._desk.ask(ControlClient.hello)
                self._on_here(True)
                seen, now = (hello["boot"], hello["tip"]), time.monotonic()
                if seen != self._seen or now - self._runs_at > bounds.RUNS_S:
                    runs = await self._desk.ask(ControlClient.runs)
                    self._seen, self._runs_at, self.boot = seen, now, hello["boot"]
                    self._on_runs(runs)
            except FelixError as error:
                self.why_away = AWAY if isinstance(error, NoHub) else str(error)
                self._on_here(False)
            self._known.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), bounds.LOOK_S)
            self._soon.clear()

    def _on_here(self, is_here: bool) -> None:
        if is_here:
            self._came.set()
        else:
            self._came.clear()
            self._seen = None
        if is_here != self.is_here:
            self.is_here = is_here
            self._tell("hub", self._hub_frame())

    def _on_runs(self, runs: list[dict[str, Any]]) -> None:
        is_news = _lasting(runs) != _lasting(self.runs)
        self.runs = runs
        self._listed({row["run"] for row in runs})
        if is_news:
            self._tell("runs", self._runs_frame())

    def _hub_frame(self) -> bytes:
        state, sentence = ("here", HERE) if self.is_here else ("away", self.why_away)
        return frame("hub", json_bytes({"state": state, "sentence": sentence}))

    def _runs_frame(self) -> bytes:
        return frame("runs", json_bytes(self.runs))


def _lasting(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without what changes all the time while a run goes on."""
    return [{name: value for name, value in row.items() if name not in VOLATILE} for row in runs]
