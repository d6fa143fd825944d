"""The event log of a run in words, as the console has it.

Owns: which of the console's lines are of the log: those that say what happened, not what an agent says. Must not:
word anything.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from felixhub.core.events import Event
from felixhub.views.console_lines import ConsoleLines
from felixhub.views.console_look import GLYPHS, Look
from felixhub.views.web.bounds import LINES_KEPT_MAX

SPOKEN = ("", GLYPHS.text, GLYPHS.reasoning)  # the signs of an agent's text, and of a result's


class EventLog:
    def __init__(self) -> None:
        self.kept: deque[dict[str, Any]] = deque(maxlen=LINES_KEPT_MAX)
        self._console = ConsoleLines(Look())

    def take(self, event: Event, now: float) -> list[dict[str, Any]]:
        """What there is to say of an event. `now` is unix seconds."""
        said = [
            {"seq": event.seq, "at": line.at, "agent": line.agent, "sign": line.sign.strip(), "text": line.text}
            for line in self._console.take(event, now)
            if line.sign not in SPOKEN
        ]
        self.kept.extend(said)
        return said
