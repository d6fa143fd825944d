"""A viewer that comes late and loses messages: whatever it missed, in the end it shows what the log says.

Owns: one board and its repair from the log. Must not: know what the team does.
"""

from __future__ import annotations

import random

from team import Team

from felixhub.core.board import Board
from felixhub.core.events import Event, parse_event


class Viewer:
    """A board that comes late, loses what `loses` says, and asks the log for what is missing."""

    def __init__(self, team: Team, *, loses: random.Random, snapshot: bool) -> None:
        self.team = team
        self.board = Board()
        self.snapshot = snapshot
        self._loses = loses
        self._seen: dict[str, list[int]] = {}

    def see(self, event: Event) -> None:
        self.board.follow(event.run)
        if self._loses.random() >= 0.3:
            self._take(event)

    def repair(self, *, at_most: int = 1_000_000) -> None:
        for run in self.team.story.tales:
            self.board.follow(run)
            if self.snapshot and not self.board.last(run):
                marks, texts, position = self.team.snapshot(run)
                self.board.load(run, marks=marks, texts=texts, position=position)
            after = self.board.last(run)
            missing = [event for event in self.team.log if event.run == run and event.seq > after]
            for event in missing[:at_most]:
                self._take(parse_event(event.encode()))

    def _take(self, event: Event) -> None:
        seen = self._seen.setdefault(event.run, [])
        for ready in self.board.take(event):
            assert not seen or ready.seq > seen[-1], "an event twice or out of order"
            seen.append(ready.seq)

    def check(self) -> None:
        for name, tale in self.team.story.tales.items():
            assert self.board.last(name) == tale.last
            run = self.board.runs[name]
            assert run.last_seq == tale.last
            assert list(run.thoughts) == list(tale.thoughts)
            for thought, told in tale.thoughts.items():
                mine = run.thoughts[thought]
                assert (bytes(mine.text.data), bytes(mine.reasoning.data)) == (
                    told.said["text"],
                    told.said["reasoning"],
                )
                assert mine.state == told.state
            if not self.snapshot:
                assert self._seen[name] == [event.seq for event in self.team.log if event.run == name]
