"""The terminal UI with a driver: on a real hub, or on a run that a script tells.

Owns: making it, and waiting for what it shows. Must not: judge.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from console_script import BEGAN_AT, Script
from textual.pilot import Pilot

from felixhub.core.board import Board
from felixhub.core.errors import FelixError
from felixhub.core.events import Event
from felixhub.core.follower import Follower
from felixhub.core.messages import HubBeat, RunBeat
from felixhub.core.names import HUB_BEAT_TOPIC, run_topic
from felixhub.testing import HubForTests
from felixhub.transport.control import ControlClient, connect
from felixhub.transport.subscriber import Subscriber
from felixhub.views.tui.app import Options
from felixhub.views.tui.look import Look
from felixhub.views.tui.top import Top

PATIENCE_S = 45.0
T = TypeVar("T")


class Driver:
    """A person at the keys."""

    def __init__(self, app: Top, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        await self.pilot.press(*["space" if char == " " else char for char in text])

    async def until(self, true: Callable[[], T], what: str = "") -> T:
        """Ask again and again until it is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := true()):
            assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}\n{self.text}\n{self.said}"
            await self.pilot.pause(0.02)
        return value

    async def until_shown(self, text: str) -> None:
        await self.until(lambda: text in self.text, f"'{text}' is shown")

    async def until_gone(self, text: str) -> None:
        await self.until(lambda: text not in self.text, f"'{text}' is shown no more")

    async def until_said(self, text: str) -> None:
        await self.until(lambda: text.casefold() in self.said.casefold(), f"'{text}' is said")

    @property
    def text(self) -> str:
        """The screen as lines of text."""
        return "\n".join("".join(part.text for part in line) for line in self.lines)

    @property
    def lines(self) -> list[Any]:
        compositor = self.app.screen._compositor
        return list(compositor.render_strips())

    @property
    def said(self) -> str:
        """Every notification that is still to be seen."""
        return "\n".join(str(one.message) for one in self.app._notifications)

    def state(self, agent: str) -> str | None:
        view = self.app.view_of(agent)
        return view.state if view else None

    async def until_state(self, agent: str, *states: str) -> None:
        await self.until(lambda: self.state(agent) in states, f"{agent} is {states}, not {self.state(agent)}")


def top_on(
    hub: HubForTests, run: str = "latest", *, folder: Path = Path(), look: Look | None = None, wait_s: float = 20.0
) -> Top:
    """On a real hub; nothing blinks."""
    return Top(
        Options(
            open_source=lambda name: Subscriber(name, hub=hub.data, history=False, wait_s=wait_s),
            connect=lambda: connect(hub.data),
            clock=time.time,
            selection=run,
            by="ann",
            look=look or Look(moves=False),
            folder=folder,
        )
    )


class Told:
    """A source of events that are here already: first the run's start, then the rest, then nothing more."""

    def __init__(self, events: Iterable[Event], run: str, beat: RunBeat | None) -> None:
        self.follower = Follower(run, history=False)
        self._turns = [list(events)[:1], list(events)[1:]]
        self._beat = beat
        self.run = run
        self.follower.on_live(HUB_BEAT_TOPIC, HubBeat(boot="b", tip=1).encode(), 0.0)

    @property
    def board(self) -> Board:
        return self.follower.board

    async def poll(self, timeout_s: float) -> list[Event | FelixError]:
        if not self._turns:
            await asyncio.sleep(timeout_s)
            return []
        for event in self._turns.pop(0):
            self.follower.on_live(run_topic(self.run), event.encode(), 0.0)
        if not self._turns and self._beat is not None:
            self.follower.on_live(HUB_BEAT_TOPIC, self._beat.encode(), 0.0)
        return self.follower.take_events()

    def close(self) -> None:
        """Nothing is open."""


def nobody() -> ControlClient:
    raise AssertionError("no hub is asked")


def top_told(script: Script, *, at: float, beat: RunBeat | None = None, look: Look | None = None) -> Top:
    """A run as a script tells it, `at` seconds after its start; nobody to command."""
    return Top(
        Options(
            open_source=lambda _: Told(script.events, script.run, beat),
            connect=nobody,
            clock=lambda: BEGAN_AT + at,
            selection=script.run,
            by="ann",
            look=look or Look(moves=False),
        )
    )


@asynccontextmanager
async def driving(app: Top, *, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Driver]:
    try:
        async with app.run_test(size=size, notifications=True) as pilot:
            yield Driver(app, pilot)
    finally:
        app.close_commands(20.0)


def drive(app: Top, steps: Callable[[Driver], Awaitable[None]], *, size: tuple[int, int] = (120, 40)) -> None:
    """Run a test's steps."""

    async def run() -> None:
        async with driving(app, size=size) as driver:
            await steps(driver)

    asyncio.run(run())
