"""The console's other forms: the wire's JSON, the model's text alone, and every batch as it came.

Owns: one class per form, used like `ConsoleLines`. Must not: read a clock, a socket or a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from felixhub.core.events import Event, RunStarted, ThoughtPartial
from felixhub.core.messages import RunBeat
from felixhub.core.names import HUB
from felixhub.views.console_filter import ConsoleFilter
from felixhub.views.console_lines import Line
from felixhub.views.console_look import Look, Prefix, elapsed, highlighted
from felixhub.views.safe_text import quoted, safe_json, safe_text


class Form(Protocol):
    """What `watch` needs to write a run down. `width` is in columns."""

    width: int

    def take(self, event: Event, now: float) -> list[Line]: ...
    def tick(self, now: float, beats: Mapping[str, RunBeat]) -> list[Line]: ...
    def forget(self, run: str) -> None: ...
    def finish(self) -> list[Line]: ...


class _Unchanged:
    """A form that neither time nor the end adds anything to."""

    width = 0

    def tick(self, _now: float, _beats: Mapping[str, RunBeat]) -> list[Line]:
        return []

    def forget(self, run: str) -> None:
        pass

    def finish(self) -> list[Line]:
        return []


class JsonForm(_Unchanged):
    """Every event as on the wire, one per line: byte for byte, but on a terminal with nothing that it would obey.

    Patterns are looked for in that line.
    """

    def __init__(self, keep: ConsoleFilter, *, terminal: bool = False) -> None:
        self._keep = keep
        self._terminal = terminal

    def take(self, event: Event, _now: float) -> list[Line]:
        agent = event.agent_name or HUB
        if not self._keep.wants_agent(agent):
            return []
        text = event.raw.decode("utf-8", "surrogateescape")
        shown = safe_json(text) if self._terminal else text
        return [Line(event.at, agent, text, shown)] if self._keep.wants_line(event.at, text) else []


class RawForm(_Unchanged):
    """Only what the models wrote. Elsewhere than on a terminal verbatim; there it is safe and thoughts are parted."""

    def __init__(self, look: Look, keep: ConsoleFilter, *, reasoning: bool = False) -> None:
        self._look = look
        self._keep = keep
        self._reasoning = reasoning
        self._last: tuple[str, str, str] | None = None
        self._in_line = False

    def take(self, event: Event, _now: float) -> list[Line]:
        if not isinstance(event, ThoughtPartial) or not self._keep.wants_agent(event.agent):
            return []
        if (event.channel == "reasoning" and not self._reasoning) or not self._keep.wants_line(event.at, event.text):
            return []
        text = event.text
        if self._look.terminal:
            text = safe_text(text, ascii_only=self._look.ascii_only)
            speaker = (event.run, event.thought, event.channel)
            if self._in_line and speaker != self._last:
                text = "\n" + text
            self._last, self._in_line = speaker, not text.endswith("\n")
        return [Line(event.at, event.agent, event.text, text, end="")]

    def finish(self) -> list[Line]:
        return [Line(0.0, HUB, "", "")] if self._in_line else []


class PartialForm(_Unchanged):
    """Every batch as it came, quoted, with the seconds since its run began."""

    def __init__(
        self,
        look: Look,
        keep: ConsoleFilter,
        *,
        highlight: Sequence[re.Pattern[str]] = (),
        reasoning: bool = False,
    ) -> None:
        self._look = look
        self._keep = keep
        self._highlight = highlight if look.colour else ()
        self._reasoning = reasoning
        self._prefix = Prefix(look)
        self._began: dict[str, float] = {}

    def take(self, event: Event, _now: float) -> list[Line]:
        if isinstance(event, RunStarted):
            self._began[event.run] = event.at
        if not isinstance(event, ThoughtPartial) or not self._keep.wants_agent(event.agent):
            return []
        is_reasoning = event.channel == "reasoning"
        if (is_reasoning and not self._reasoning) or not self._keep.wants_line(event.at, event.text):
            return []
        text = highlighted(quoted(event.text, ascii_only=self._look.ascii_only), self._highlight)
        when = elapsed(event.at, self._began.get(event.run))
        note = "(reasoning) " if is_reasoning else ""
        return [Line(event.at, event.agent, event.text, f"{when} {self._prefix.name(event.agent)} {note}{text}")]
