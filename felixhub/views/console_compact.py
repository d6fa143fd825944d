"""The console's compact text, for a hundred agents: one line for each finished thought and each change of state.

No text goes by while it is written; now and then a line says what all are doing.

Owns: what is left out, and that each line is one. Must not: word what the long form says too (`wording`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from felixhub.core.events import (
    Event,
    RunFinished,
    RunStarted,
    SectionApproved,
    SectionEdited,
    SectionReady,
    SectionReopened,
    SectionStale,
    ThoughtAbandoned,
    ThoughtFinalized,
    ThoughtPartial,
    ThoughtStarted,
)
from felixhub.core.messages import RunBeat
from felixhub.core.names import HUB
from felixhub.views import wording
from felixhub.views.console_lines import SPACE, ConsoleLines, Line
from felixhub.views.console_look import Tone
from felixhub.views.text_width import cut

PULSE_S = 5.0  # between two lines about what all are doing
BEAT_S_MAX = 3.0  # an older beat says nothing about now: the hub is away
EXCERPT_CHARACTERS_MAX = 300  # kept of the beginning of each open thought
EXCERPT_COLUMNS_MAX = 100  # where no terminal says how much there is room for
_SIGNS = re.compile(r"(?<!\S)(?:[*_#>`+-]+|\d+\.)(?=\s)|(?<!\w)[*_`]+|[*_`]+(?!\w)")
STATES = ("streaming", "thinking", "stalled", "queued", "backing_off", "waiting", "cancelling")  # in this order


class CompactLines(ConsoleLines):
    """Used like `ConsoleLines`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._open: dict[tuple[str, str], ThoughtStarted] = {}
        self._begun: dict[tuple[str, str], str] = {}  # the beginning of each open thought's text
        self._finals: Counter[str] = Counter()  # by run
        self._beats: dict[str, tuple[RunBeat, float]] = {}  # and when each was first seen
        self._pulsed: dict[str, tuple[float, str]] = {}  # by run: when, and what was said

    def take(self, event: Event, now: float) -> list[Line]:
        if isinstance(event, ThoughtFinalized):
            self._finals[event.run] += 1
        return super().take(event, now)

    def forget(self, run: str) -> None:
        super().forget(run)
        self._open = {key: one for key, one in self._open.items() if key[0] != run}
        self._begun = {key: one for key, one in self._begun.items() if key[0] != run}
        for known in (self._finals, self._beats, self._pulsed):
            known.pop(run, None)

    def finish(self) -> list[Line]:
        return []  # What is not finished has no line.

    # ---- thoughts ----------------------------------------------------------------------------------------------------

    def _start(self, event: ThoughtStarted) -> list[Line]:
        """Only a start that is news: another attempt, or a text that is written again."""
        self._open[event.run, event.thought] = event
        if event.attempt == 1 and not event.revises and not event.steered_by:
            return []
        return super()._start(event)[:1]

    def _grow(self, event: ThoughtPartial, now: float) -> list[Line]:  # noqa: ARG002  (as in the long form)
        if event.channel == "text":
            key = (event.run, event.thought)
            begun = self._begun.get(key, "")
            if len(begun) < EXCERPT_CHARACTERS_MAX:
                self._begun[key] = (begun + event.text)[:EXCERPT_CHARACTERS_MAX]
        return []

    def _end(self, event: ThoughtFinalized | ThoughtAbandoned) -> list[Line]:
        key = (event.run, event.thought)
        started, begun = self._open.pop(key, None), self._begun.pop(key, "")
        if isinstance(event, ThoughtAbandoned):
            return super()._end(event)
        if not self._keep.wants_agent(event.agent):
            return []
        signs, figures, found = self._look.signs, self._figures(event, started), event.verdict
        tone: Tone
        sign, tone = (signs.good, "good")
        if event.truncated or (found is not None and not found.approved):
            sign, tone = signs.warn, "warn"
        said = _excerpt(begun, signs.cut) if found is None else wording.verdict(found)
        return self._say(event, event.agent, sign, [*figures, *said], tone)

    def _figures(self, event: ThoughtFinalized, started: ThoughtStarted | None) -> list[str]:
        usage = event.usage
        parts = [
            wording.count(usage.completion_tokens, "token", estimated=usage.estimated),
            wording.span(event.seconds),
            f"confidence {event.confidence:.2f}",
        ]
        if event.truncated:
            parts.insert(0, "TRUNCATED")
        if started is not None and self._sections.is_on_helix(started):
            parts.insert(0, f"t={started.progress:.2f}")
        if started is not None and started.stage != started.agent:
            parts.insert(0, started.stage)
        return parts

    # ---- the run -----------------------------------------------------------------------------------------------------

    def _run_started(self, event: RunStarted) -> list[Line]:
        title, details = wording.run_started(event)
        said = [title, *details, f"task: {wording.quote(event.task)}"]
        return self._say(event, HUB, self._look.signs.started, said, "strong")

    def _run_finished(self, event: RunFinished) -> list[Line]:
        signs = self._look.signs
        head = "run finished degraded in" if event.degraded else "run finished in"
        tone: Tone
        sign, tone = (signs.warn, "warn") if event.degraded else (signs.good, "good")
        said = wording.run_usage(head, event.usage, event.seconds)
        if event.result:
            said.append(f"result of {wording.words_of(event.result)}: felixhub export {event.run}")
        lines = self._say(event, HUB, sign, said, tone)
        return lines + [line for why in event.degraded for line in self._say(event, HUB, signs.warn, why, "warn")]

    def _section(
        self, event: SectionReady | SectionEdited | SectionApproved | SectionReopened | SectionStale
    ) -> list[Line]:
        """Without review a section is ready when its thought is final, which has just been said."""
        if isinstance(event, SectionReady) and event.whole and not self._sections.is_reviewed(event.run):
            return []
        return super()._section(event)

    # ---- time --------------------------------------------------------------------------------------------------------

    def tick(self, now: float, beats: Mapping[str, RunBeat]) -> list[Line]:
        """What all are doing, when it is time and something else than before."""
        lines: list[Line] = []
        for run, beat in beats.items():
            if not self._sections.knows(run) or not self._keep.wants_agent(HUB) or self._is_old(beat, now):
                continue
            at, before = self._pulsed.get(run, (now, ""))
            said = self._all(run, beat)
            if (before and now - at < PULSE_S) or not said:
                continue
            if " · ".join(said) != before:
                lines += self._rows(now, run, HUB, self._look.signs.waiting, said, "dim")
            self._pulsed[run] = (now, " · ".join(said))
        return self._kept(lines)

    def _is_old(self, beat: RunBeat, now: float) -> bool:
        seen = self._beats.get(beat.run)
        if seen is None or seen[0] is not beat:
            seen = self._beats[beat.run] = (beat, now)
        return abs(now - seen[1]) > BEAT_S_MAX

    def _all(self, run: str, beat: RunBeat) -> list[str]:
        """`37 streaming`, `12 thinking`, `stalled: critic-3`, `40 final`; nothing once nobody is busy."""
        agents: dict[str, list[str]] = {}
        for busy in beat.agents:
            agents.setdefault(busy.state, []).append(busy.agent)
        said = []
        for state in STATES:
            names = agents.get(state, [])
            if state == "stalled" and names:
                said.append(f"stalled: {wording.names(names)}")
            elif names:
                said.append(f"{len(names):,} {state.replace('_', ' ')}")
        if beat.awaiting:
            said.append(f"waiting for a person: {self._sections.titles(run, beat.awaiting)}")
        if said:
            said.append(f"{self._finals[run]:,} final")
        return said

    # ---- lines -------------------------------------------------------------------------------------------------------

    def _rows(self, at: float, run: str, agent: str, sign: str, said: str | list[str], tone: Tone) -> Iterable[Line]:
        """One line, cut where it would not fit."""
        parts = [self._safe(part).replace("\n", SPACE) for part in ([said] if isinstance(said, str) else said)]
        text = self._look.signs.dot.join(parts)
        if self._look.terminal:
            before = self._prefix.meet(self._label(run, agent)) + len(sign) + 1
            text = cut(text, self.width - 1 - before, self._look.signs.cut)
        yield self._line(at, run, agent, sign, text, tone)


def _excerpt(begun: str, sign: str) -> list[str]:
    """How a text begins: its first words, without the signs of headings, lists and emphasis."""
    text = " ".join(_SIGNS.sub("", begun).split())
    return [cut(text, EXCERPT_COLUMNS_MAX, sign)] if text else []
