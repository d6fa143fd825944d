"""A subscriber that is wrong on purpose: it ignores `prev`, and what beats say, which would repair it by chance.

`SOAK_MUTATION=prev_ignored python wrong_watcher.py RUN KIND…`, as `watcher.py`; with another mutation it is that one.
"""

from __future__ import annotations

import os
import sys

import neighbours  # noqa: F401
import watcher

from felixhub.core.board import Board
from felixhub.core.events import Event, RunFinished, RunStarted
from felixhub.core.run import Run


def prev_ignored() -> None:
    def take(self: Board, event: Event) -> list[Event]:
        track = self._tracks.get(event.run)
        if track is None or event.seq <= track.last:
            return []
        track.last = track.newest = event.seq
        if isinstance(event, RunStarted):
            self.runs[event.run] = Run(event)
        elif isinstance(event, RunFinished) and event.run in self.runs:
            self.runs[event.run].ended = event
        return [event]

    Board.take = take  # type: ignore[method-assign]
    Board.saw_tip = lambda *_: None  # type: ignore[method-assign]


if __name__ == "__main__":
    if os.environ.get("SOAK_MUTATION") == "prev_ignored":
        prev_ignored()
    watcher.main(sys.argv[1], sys.argv[2:])
