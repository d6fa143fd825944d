"""One stream to one client: what waits for it, in which order it goes out, and how it comes back where it was.

Owns: that a viewer's texts are whole however slowly it reads. Must not: hold up anybody: what it does not read is
merged, then dropped for a snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING

from felixhub.core.coalescing import Backlog, Batch
from felixhub.views.web import bounds, figures
from felixhub.views.web.frames import PING, RETRY, batch_frame, chunks, frame, json_bytes

if TYPE_CHECKING:
    from felixhub.views.web.feed import Feed


class Viewer:
    """`tail` is how many characters of each text a snapshot has for it, `curve` whether its states have the curve."""

    def __init__(self, feed: Feed | None, *, tail: int | None = None, curve: bool = True) -> None:
        self.feed = feed
        self.tail = tail
        self.curve = curve
        self._backlog = Backlog(bytes_max=bounds.BACKLOG_BYTES_MAX)
        self._wants_snapshot = feed is not None
        self._is_waiting = feed is not None and not feed.is_ready  # for the run to be read, or for what it missed
        self._lines: list[bytes] = []
        self._latest: dict[str, bytes] = {}  # of each kind of which only the newest matters
        self._reset: dict[str, object] | None = None
        self._why_gone: str | None = None
        self._is_over = False  # It has been told that there is nothing more to come.
        self._stopped = False
        self._wake = asyncio.Event()
        self._wake.set()

    # ---- what the feed says ------------------------------------------------------------------------------------------

    def on_batch(self, batch: Batch, lines: bytes | None) -> None:
        if not self._wants_snapshot:
            self._backlog.add(batch)
            if self._backlog.is_lost and not self._is_waiting:
                figures.LOST.inc()
                self._start_over("what waited for this viewer was too much")
            elif lines is not None and len(self._lines) < bounds.LINES_WAITING_MAX:
                self._lines.append(lines)
        self._wake.set()

    def on_ready(self) -> None:
        """The run has been read: a snapshot can be made."""
        if self._wants_snapshot:
            self._is_waiting = False
            self._wake.set()

    def on_state(self, frame: bytes) -> None:
        self.on_latest("state", frame)

    def on_latest(self, kind: str, frame: bytes) -> None:
        self._latest[kind] = frame
        self._wake.set()

    def on_reset(self, why: str) -> None:
        """The hub's log is another one than before."""
        self._start_over(why, another_log=True)
        self._is_waiting = True
        self._wake.set()

    def on_gone(self, why: str) -> None:
        self._why_gone = why
        self._wake.set()

    def stop(self) -> None:
        """End the stream: the gateway ends."""
        self._stopped = True
        self._wake.set()

    def _start_over(self, why: str, *, another_log: bool = False) -> None:
        # Until it is told, what comes after does not make the log the old one again.
        was_another = self._reset is not None and self._reset["another_log"]
        self._reset = {"why": why, "another_log": another_log or was_another}
        self._wants_snapshot = True
        self._backlog.clear()
        self._lines = []

    # ---- coming back -------------------------------------------------------------------------------------------------

    def expect_missed(self) -> None:
        """What it missed is being asked for; what comes meanwhile waits."""
        self._wants_snapshot = False
        self._is_waiting = True

    def on_missed(self, batch: Batch | None, *, after: int) -> None:
        """What it missed after this seq up to now, None for nothing: it goes on without a snapshot."""
        feed = self.feed
        if feed is None or self._wants_snapshot or self._why_gone is not None:
            return  # The log has become another one meanwhile, or there is none.
        self._is_waiting = False
        if batch is not None:
            self._backlog.precede(batch)
        if self._backlog.is_lost:
            self.on_not_missed("too much has happened since")
            return
        figures.CAUGHT_UP.inc()
        # The words for it, and what it has come to: a run that has ended tells neither again.
        lines = [line for line in feed.lines() if line["seq"] > after]
        self._lines = [frame("lines", json_bytes(lines))] if lines else []
        self.on_state(feed.state(curve=self.curve))

    def on_not_missed(self, why: str, *, another_log: bool = False) -> None:
        """It cannot go on where it was."""
        self._start_over(why, another_log=another_log)
        self._is_waiting = self.feed is not None and not self.feed.is_ready
        self._wake.set()

    # ---- what goes out -----------------------------------------------------------------------------------------------

    async def frames(self) -> AsyncGenerator[bytes, None]:
        yield RETRY
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), bounds.PING_S)
            except TimeoutError:
                yield PING
            self._wake.clear()
            for one in self._take():
                for chunk in chunks(one):
                    if self._stopped:
                        return
                    figures.SENT_BYTES.inc(len(chunk))
                    yield chunk
            if self._stopped or self._is_over:
                return

    def _take(self) -> Iterator[bytes]:
        """All that is to be sent now, in order."""
        if self._reset is not None:
            told, self._reset = self._reset, None
            yield frame("reset", json_bytes(told))
        if self._why_gone is not None:
            self._is_over = True
            yield frame("gone", json_bytes({"why": self._why_gone}))
            return
        if self.feed is not None and not self._is_waiting:
            if self._wants_snapshot:
                yield from self._snapshot(self.feed)
            # The words first: cut off between the two, it gets them twice rather than never.
            batch, lines, self._lines = self._backlog.take(), self._lines, []
            yield from lines
            if batch is not None:
                yield batch_frame(batch)
        latest, self._latest = self._latest, {}
        yield from latest.values()

    def _snapshot(self, feed: Feed) -> Iterator[bytes]:
        self._wants_snapshot = False
        self._backlog.clear()
        self._lines = []
        self._latest.pop("state", None)
        figures.SNAPSHOTS.inc()
        # All of one moment, however long the first of them takes to be read.
        made = [
            frame("snapshot", feed.snapshot(self.tail), position=feed.position),
            frame("lines", json_bytes(feed.lines())),
            feed.state(curve=self.curve),
        ]
        yield from made
