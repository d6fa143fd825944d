"""What the routes share: the feeds, the desks, the watch over the hub, and threads for what is heavy.

Owns: their beginning and end, and how a request gets at the hub. Must not: know HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from felixhub.core.errors import FelixError
from felixhub.core.messages import Replay
from felixhub.transport.control import ControlClient, HubRefused, connect, new_id
from felixhub.views.web import bounds, figures
from felixhub.views.web.desk import Desk
from felixhub.views.web.feed import Feed
from felixhub.views.web.feeds import Feeds
from felixhub.views.web.hub_watch import HubWatch
from felixhub.views.web.refusal import Refusal

T = TypeVar("T")

GONE = ("gone", "unknown_run")


@dataclass(frozen=True, slots=True)
class WebOptions:
    """`hub` as `connect` takes it. `hosts` are the values of the header Host that are ours, `origins` those of Origin.

    `token` is what commands need, and with `token_for_all` everything. `cross_origins`: front ends of somebody's own.
    """

    hub: str | Path
    hosts: frozenset[str]
    origins: frozenset[str]
    token: str
    token_for_all: bool = False
    cross_origins: frozenset[str] = field(default_factory=frozenset)


class Gateway:
    """To be made on the loop that it lives on."""

    def __init__(self, options: WebOptions) -> None:
        self.options = options
        self.feeds = Feeds(options.hub)
        self.watch = HubWatch(options.hub, tell=self.feeds.tell, listed=self._on_listed)
        # Commands have a desk of their own: they wait for no export, nor for those who catch up.
        self._readings = self._desk(bounds.READING_THREADS)
        self._commands = self._desk(bounds.COMMAND_THREADS)
        self._checks: set[asyncio.Task[None]] = set()
        self._heavy = Desk(nullcontext, threads=bounds.HEAVY_MAX, waiting_max=bounds.HEAVY_WAITING_MAX)

    async def ask(self, what: Callable[[ControlClient], T]) -> T:
        """What the hub says of itself. Raises NoHub at once while it is known to be away for longer."""
        return await self._ask(self._readings, what)

    async def command(self, what: Callable[[ControlClient], dict[str, Any]]) -> dict[str, Any]:
        """As `ask`, but it changes something, which shows soon."""
        try:
            reply = await self._ask(self._commands, what)
        except Exception as error:
            figures.COMMANDS.labels("refused" if isinstance(error, HubRefused) else "failed").inc()
            raise
        figures.COMMANDS.labels("done").inc()
        self.watch.look_soon()
        return reply

    def _desk(self, threads: int) -> Desk[ControlClient]:
        return Desk(
            lambda: connect(self.options.hub, wait_s=bounds.COMMAND_WAIT_S),
            threads=threads,
            waiting_max=bounds.DESK_WAITING_MAX,
        )

    async def _ask(self, desk: Desk[ControlClient], what: Callable[[ControlClient], T]) -> T:
        await self.watch.here(bounds.COMMAND_WAIT_S)
        return await desk.ask(what)

    async def heavy(self, what: Callable[[], T]) -> T:
        """Something that takes long, in a thread; only so many at once."""
        return await self._heavy.ask(lambda _: what())

    def _on_listed(self, runs: set[str]) -> None:
        """Of those that somebody watches and that are not listed: are they old, or were they removed?"""
        now = time.monotonic()
        for feed in self.feeds.ready():
            if feed.id not in runs and now - feed.checked_at > bounds.RUNS_S:
                feed.checked_at = now
                check = asyncio.create_task(self._check(feed))
                self._checks.add(check)
                check.add_done_callback(self._checks.discard)

    async def _check(self, feed: Feed) -> None:
        boot, _, seq = feed.position.rpartition("-")
        request = Replay(id=new_id(), run=feed.id, after=int(seq), boot=boot)
        try:
            await self._readings.ask(lambda client: client.pages(request, bytes_max=0))
        except HubRefused as error:
            if error.code in GONE:
                feed.end(str(error))
        except (FelixError, Refusal):
            return  # It is asked for again when somebody comes.

    def stop(self) -> None:
        self.feeds.stop()

    async def close(self) -> None:
        self.feeds.stop()
        await self.watch.close()
        await self.feeds.close()
        self._readings.close()
        self._commands.close()
        self._heavy.close()
