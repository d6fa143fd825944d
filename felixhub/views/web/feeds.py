"""The runs that somebody watches, each followed once for all its viewers, and every stream there is.

Owns: how many feeds and streams there may be, and when a feed ends. Must not: know what a feed does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from felixhub.transport.address import NoHub
from felixhub.views.web import bounds
from felixhub.views.web.feed import Feed
from felixhub.views.web.refusal import Refusal
from felixhub.views.web.viewer import Viewer


class Feeds:
    def __init__(self, hub: str | Path) -> None:
        self.viewers: set[Viewer] = set()
        self._hub = hub
        self._feeds: dict[str, Feed] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._tidy())

    def __len__(self) -> int:
        return len(self._feeds)

    def tell(self, kind: str, frame: bytes) -> None:
        """Something that concerns every stream."""
        for viewer in self.viewers:
            viewer.on_latest(kind, frame)

    @contextlib.asynccontextmanager
    async def use(self, run: str) -> AsyncIterator[Feed]:
        """The feed of a run that has been read. Raises Refusal when there is no such run, NoHub when nobody says."""
        feed = self.of(run)
        with feed.in_use():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(feed.settled.wait(), bounds.FEED_READY_S_MAX)
            if feed.over is not None:
                raise feed.over
            if not feed.is_ready:
                raise NoHub("the hub is away")
            yield feed

    def of(self, run: str) -> Feed:
        """The feed of this run, a new one where there is none. Raises Refusal when there are too many."""
        feed = self._feeds.get(run)
        if feed is not None and feed.over is None:
            return feed
        if feed is None and len(self._feeds) >= bounds.FEEDS_MAX:
            self._close_one()
        if feed is not None:
            self._end(feed)
        feed = self._feeds[run] = Feed(run, self._hub)
        return feed

    def ready(self) -> list[Feed]:
        """Those whose run has been read."""
        return [feed for feed in self._feeds.values() if feed.is_ready]

    def open(self, viewer: Viewer, frames: dict[str, bytes]) -> None:
        """`frames` of each kind are what it begins with. Raises Refusal when there are too many streams."""
        if len(self.viewers) >= bounds.VIEWERS_MAX:
            sentence = f"{bounds.VIEWERS_MAX} streams are open, which is the most: close a page"
            raise Refusal(503, "too_many_clients", sentence)
        self.viewers.add(viewer)
        for kind, frame in frames.items():
            viewer.on_latest(kind, frame)

    def shut(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        if viewer.feed is not None:
            viewer.feed.detach(viewer)

    def stop(self) -> None:
        """End every stream: the gateway ends."""
        for viewer in list(self.viewers):
            viewer.stop()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for feed in list(self._feeds.values()):
            self._end(feed)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            for feed in list(self._feeds.values()):
                if feed.is_idle and (feed.over is not None or now - feed.left_at > bounds.FEED_IDLE_S):
                    self._end(feed)

    def _close_one(self) -> None:
        idle = [feed for feed in self._feeds.values() if feed.is_idle]
        if not idle:
            sentence = f"{bounds.FEEDS_MAX} runs are being watched, which is the most: close a page"
            raise Refusal(503, "too_many_runs_watched", sentence)
        self._end(min(idle, key=lambda feed: feed.left_at))

    def _end(self, feed: Feed) -> None:
        if self._feeds.get(feed.id) is feed:
            del self._feeds[feed.id]
        task = asyncio.create_task(feed.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
