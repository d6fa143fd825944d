"""The console's text: events, beats and time in, whole lines out.

    event ──► take ──┐
    time, beats ──► tick ──► lines, each with time, agent and sign
    end ──► finish ──┘

Owns: what a run looks like as lines. Must not: read a clock, a socket or a terminal. `now` is unix seconds everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from felixhub.core.events import (
    AgentLost,
    CommandAccepted,
    Event,
    RunBudgetSpent,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    SectionApproved,
    SectionEdited,
    SectionReady,
    SectionReopened,
    SectionStale,
    StageFinished,
    StageReopened,
    SynthesisFinished,
    SynthesisStarted,
    ThoughtAbandoned,
    ThoughtCancelling,
    ThoughtFinalized,
    ThoughtPartial,
    ThoughtStarted,
    UnknownEvent,
)
from felixhub.core.messages import RunBeat
from felixhub.core.meter import Words
from felixhub.core.names import HUB
from felixhub.views import wording
from felixhub.views.console_filter import ConsoleFilter
from felixhub.views.console_look import Look, Prefix, Tone, highlighted
from felixhub.views.console_sections import AUTO, Sections
from felixhub.views.console_silence import Silences
from felixhub.views.line_builder import LineBuilder
from felixhub.views.safe_text import safe_text
from felixhub.views.text_width import joined, wrapped

WIDTH_ELSEWHERE = 100  # columns where there is no terminal to ask
TEXT_COLUMNS_MIN = 20
RESULT_COLUMNS_MAX = 100
RESULT_INDENT = "  "  # no line of a result can pass for one of ours
RULE_COLUMNS_MAX = 80
TASK_LINES_MAX = 3
TOLD_BY_OTHERS = (
    "pause",
    "resume",
    "steer",
    "regenerate",
    "approve",
    "reopen",
    "edit",
)  # commands with events of their own
SPACE = " "


class Line(NamedTuple):
    """`text` is what patterns look at; `shown` goes to the screen, followed by `end`. `sign` says what kind it is."""

    at: float
    agent: str
    text: str
    shown: str
    end: str = "\n"
    sign: str = ""


@dataclass(slots=True)
class _Talk:
    """One open thought as the console shows it."""

    run: str
    agent: str
    text: LineBuilder = field(default_factory=LineBuilder)
    reasoning: LineBuilder = field(default_factory=LineBuilder)
    words: Words = field(default_factory=Words)
    is_whole: bool = True  # seen from its first byte
    stopped_by: str = ""
    model: str | None = None  # that was named when it started


class ConsoleLines:
    """Set `width` (columns, prefix included) whenever it changes; what has been shown is never laid out again."""

    def __init__(
        self,
        look: Look,
        *,
        keep: ConsoleFilter | None = None,
        highlight: Sequence[re.Pattern[str]] = (),
        reasoning: bool = False,
        elapsed: bool = False,
        run_shown: bool = False,
        width: int = WIDTH_ELSEWHERE,
        clock: Callable[[float], str] | None = None,
    ) -> None:
        self.width = width
        self._look = look
        self._keep = keep or ConsoleFilter()
        self._highlight = highlight if look.colour else ()
        self._reasoning = reasoning
        self._run_shown = run_shown
        self._prefix = Prefix(look, elapsed=elapsed, clock=clock)
        self._sections = Sections()
        self._silences = Silences(self._keep, self._sections)
        self._latest = 0.0  # the newest event's time; text is stamped with when it is shown, so time never goes back
        self._began: dict[str, float] = {}
        self._talks: dict[tuple[str, str], _Talk] = {}
        self._told_cancelled: set[tuple[str, str]] = set()  # agents whose last thought's line has said it

    # ---- events ------------------------------------------------------------------------------------------------------

    def take(self, event: Event, now: float) -> list[Line]:
        """The lines that this event makes whole."""
        self._latest = max(self._latest, event.at)
        self._sections.take(event)
        match event:
            case ThoughtPartial():
                lines = self._grow(event, now)
            case ThoughtStarted():
                lines = self._start(event)
            case ThoughtFinalized() | ThoughtAbandoned():
                lines = self._end(event)
            case ThoughtCancelling():
                self._talk(event.run, event.agent, event.thought, is_new=False).stopped_by = event.by
                lines = []
            case _:
                lines = self._say_hub(event)
        return self._kept(lines)

    def forget(self, run: str) -> None:
        """The run starts over: what was not shown yet is void."""
        self._talks = {key: talk for key, talk in self._talks.items() if key[0] != run}
        self._silences.forget(run)
        self._sections.forget(run)
        self._told_cancelled = {key for key in self._told_cancelled if key[0] != run}

    def finish(self) -> list[Line]:
        """Whatever text still waits, at the end."""
        return self._kept([line for talk in self._talks.values() for line in self._flush(talk)])

    def note(self, at: float, text: str) -> Line:
        """A line of the console's own."""
        run = next(reversed(self._began), "")
        return self._line(at, run, HUB, self._look.signs.waiting, text, "dim")

    def _kept(self, lines: Iterable[Line]) -> list[Line]:
        return [line for line in lines if self._keep.wants_line(line.at, line.text)]

    def _label(self, run: str, agent: str) -> str:
        return f"{run}/{agent}" if self._run_shown and run else agent

    def _talk(self, run: str, agent: str, thought: str, *, is_new: bool) -> _Talk:
        talk = self._talks.get((run, thought))
        if talk is None:
            talk = self._talks[run, thought] = _Talk(run, agent, is_whole=is_new)
        return talk

    def _start(self, event: ThoughtStarted) -> list[Line]:
        self._talk(event.run, event.agent, event.thought, is_new=True).model = event.model
        self._told_cancelled.discard((event.run, event.agent))
        if not self._keep.wants_agent(event.agent):
            return []
        by = self._sections.gave_feedback(event.run, event.steered_by)
        told = wording.thought_started(event, steered_by=by, on_helix=self._sections.is_on_helix(event))
        lines = self._say(event, event.agent, self._look.signs.started, told)
        if event.passages:
            lines += self._say(event, event.agent, SPACE, wording.passages(event.passages), "dim")
        return lines

    def _grow(self, event: ThoughtPartial, now: float) -> list[Line]:
        talk = self._talk(event.run, event.agent, event.thought, is_new=event.offset == 0)
        if event.channel == "text":
            talk.words.take(event.text)
        if not self._keep.wants_agent(event.agent):
            return []
        if event.channel == "text":
            self._silences.on_text(event.run, event.agent)
            lines = self._flush(talk, only_reasoning=True)
            fresh = talk.text.add(self._safe(event.text), width=self._columns(talk), now=now)
            return [*lines, *self._text(talk, fresh)]
        if self._reasoning:
            fresh = talk.reasoning.add(self._safe(event.text), width=self._columns(talk), now=now)
            return self._text(talk, fresh, reasoning=True)
        self._silences.on_reasoning(event.run, event.agent, event.tokens, now)
        return []

    def _end(self, event: ThoughtFinalized | ThoughtAbandoned) -> list[Line]:
        talk = self._talks.pop((event.run, event.thought), None) or _Talk(event.run, event.agent, is_whole=False)
        self._silences.on_end(event.run, event.agent, event.thought)
        if not self._keep.wants_agent(event.agent):
            return []
        signs, words = self._look.signs, talk.words.count if talk.is_whole else None
        lines = self._flush(talk)
        tone: Tone
        if isinstance(event, ThoughtFinalized):
            text = wording.thought_finalized(event, words=words, names_model=talk.model is None)
            sign, tone = (signs.warn, "warn") if event.truncated else (signs.good, "good")
        else:
            text = wording.thought_abandoned(event, words=words, by=talk.stopped_by)
            match event.reason:
                case "cancelled":
                    sign, tone = signs.cancelled, "warn"
                    self._told_cancelled.add((event.run, event.agent))
                case "paused":
                    sign, tone = signs.paused, "warn"
                case "superseded":
                    sign, tone = signs.again, "warn"
                case _:
                    sign, tone = signs.bad, "bad"
        return [*lines, *self._say(event, event.agent, sign, text, tone), *self._verdict(event)]

    def _verdict(self, event: ThoughtFinalized | ThoughtAbandoned) -> list[Line]:
        """What a review came to."""
        found = event.verdict if isinstance(event, ThoughtFinalized) else None
        if found is None:
            return []
        signs = self._look.signs
        tone: Tone
        sign, tone = signs.warn, "warn"
        if found.approved:
            sign, tone = signs.good, "good"
        elif found.fault:
            sign, tone = signs.bad, "bad"
        return self._say(event, event.agent, sign, wording.verdict(found), tone)

    def _say_hub(self, event: Event) -> list[Line]:
        """Everything that is not about one thought's text."""
        if isinstance(event, RunStarted):
            self._began[event.run] = event.at
            wanted = [agent for agent in event.workflow.agents() if self._keep.wants_agent(agent)]
            self._prefix.make_room(self._label(event.run, agent) for agent in wanted)
        elif isinstance(event, RunFinished | RunFailed | RunCancelled):
            self._silences.on_run_ended(event.run)
            self._told_cancelled = {key for key in self._told_cancelled if key[0] != event.run}
        elif isinstance(event, AgentLost):
            if not self._keep.wants_agent(event.agent):
                return []
            where = f" (process {event.worker.pid}{f' on {event.worker.host}' if event.worker.host else ''})"
            sentence = f"worker lost{where if event.worker.pid else ''}"
            return self._say(event, event.agent, self._look.signs.warn, sentence, "bad")
        elif isinstance(event, StageReopened):
            return self._stage_reopened(event)
        if not self._keep.wants_agent(HUB):
            return []
        signs = self._look.signs
        match event:
            case RunStarted():
                return self._run_started(event)
            case RunFinished():
                return self._run_finished(event)
            case RunFailed():
                spent = wording.run_usage("run failed after", event.usage, event.seconds)
                return self._say(event, HUB, signs.bad, [f"{spent[0]}: {event.error}", *spent[1:]], "bad")
            case RunCancelled():
                spent = wording.run_usage(f"run cancelled by {event.by} after", event.usage, event.seconds)
                return self._say(event, HUB, signs.cancelled, spent, "warn")
            case RunPaused():
                return self._say(event, HUB, signs.paused, f"paused by {event.by}", "warn")
            case RunResumed():
                return self._say(event, HUB, signs.started, f"resumed by {event.by}")
            case RunBudgetSpent():
                return self._say(event, HUB, signs.warn, wording.budget_spent(event), "warn")
            case StageFinished() if event.outcome == "skipped" and self._sections.is_loop(event.run, event.stage):
                return []  # A round that was not needed; the review has said why.
            case StageFinished() if event.outcome == "abandoned" and self._was_told(event):
                return []
            case StageFinished() if event.outcome != "final":
                # An abandoned thought's line has just said it in full.
                short = event.why.split(": ")[0] if event.outcome == "abandoned" else event.why
                why = f": {short}" if short else ""
                sentence = f"stage {event.stage} {event.outcome}{why}"
                if event.outcome == "skipped":
                    return self._say(event, HUB, signs.other, sentence, "dim")
                return self._say(event, HUB, signs.bad, sentence, "bad")
            case SynthesisStarted():
                return self._say(event, HUB, signs.hub, wording.synthesis_started(event), "strong")
            case SynthesisFinished():
                return [line for why in event.degraded for line in self._say(event, HUB, signs.warn, why, "warn")]
            case SectionReady() | SectionEdited() | SectionApproved() | SectionReopened() | SectionStale():
                return self._section(event)
            case CommandAccepted() if event.name not in TOLD_BY_OTHERS:
                sentence = wording.command(event.name, event.args, by=event.by, run=event.run)
                return self._say(event, HUB, signs.hub, sentence)
            case UnknownEvent():
                return self._say(event, HUB, signs.other, event.kind, "dim")
        return []

    def _was_told(self, event: StageFinished) -> bool:
        """Whether its thought's line has just said that it was cancelled."""
        agent = self._sections.agent_of(event.run, event.stage)
        return agent is not None and (event.run, agent) in self._told_cancelled

    def _run_started(self, event: RunStarted) -> list[Line]:
        signs = self._look.signs
        title, details = wording.run_started(event)
        lines = self._say(event, HUB, signs.started, title, "strong")
        lines += self._say(event, HUB, SPACE, details, "dim")
        task = [line for line in event.task.split("\n") if line.strip()]
        for line in task[:TASK_LINES_MAX]:
            lines += self._say(event, HUB, signs.text, line)
        if len(task) > TASK_LINES_MAX:
            more = wording.count(len(task) - TASK_LINES_MAX, "more line")
            lines += self._say(event, HUB, signs.text, f"{signs.cut} {more}", "dim")
        return lines

    def _stage_reopened(self, event: StageReopened) -> list[Line]:
        agent = self._sections.agent_of(event.run, event.stage) or HUB
        if not self._keep.wants_agent(agent):
            return []
        if event.reason == "changed" and self._sections.is_loop(event.run, event.stage):
            return []  # Whatever is written is reviewed.
        what = self._sections.what(event.run, event.stage)
        return self._say(event, agent, self._look.signs.again, wording.stage_reopened(event, what=what))

    def _section(
        self, event: SectionReady | SectionEdited | SectionApproved | SectionReopened | SectionStale
    ) -> list[Line]:
        signs, sections = self._look.signs, self._sections
        title, version = sections.title(event.run, event.section), f"version {event.version}"
        with_review = sections.is_reviewed(event.run)
        match event:
            case SectionReady() if not sections.is_news(event):
                return []
            case SectionReady() if not event.whole:
                said = [f"{title} is truncated", version, "it cannot be approved"]
                return self._say(event, HUB, signs.warn, said, "warn")
            case SectionReady():
                progress = sections.approved(event.run) if with_review else sections.written(event.run)
                return self._say(event, HUB, signs.hub, [f"{title} is ready", version, progress])
            case SectionEdited():
                said = [f"{title} is edited by {event.by}", version, wording.words_of(event.text)]
                return self._say(event, HUB, signs.hub, said)
            case SectionApproved() if event.by == AUTO:
                return []  # It was just said to be ready.
            case SectionApproved():
                said = [f"{title} is approved by {event.by}", version, sections.approved(event.run)]
                return self._say(event, HUB, signs.good, said, "good")
            case SectionReopened():
                said = [f"{title} is reopened by {event.by}", version, sections.approved(event.run)]
                return self._say(event, HUB, signs.again, said)
            case SectionStale():
                said = [f"{title} is stale: a text that it was made from has changed", version]
                return self._say(event, HUB, signs.warn, said, "warn")

    def _run_finished(self, event: RunFinished) -> list[Line]:
        look = self._look
        signs = look.signs
        head = "run finished degraded in" if event.degraded else "run finished in"
        tone: Tone
        sign, tone = signs.good, "good"
        if event.degraded:
            sign, tone = signs.warn, "warn"
        lines = self._say(event, HUB, sign, wording.run_usage(head, event.usage, event.seconds), tone)
        for why in event.degraded:
            lines += self._say(event, HUB, signs.warn, why, "warn")
        title = "result, degraded" if event.degraded else "result"
        title = f"{title} of run {event.run}" if self._run_shown else title
        columns = min(RULE_COLUMNS_MAX, self.width - 1)
        head = f"{signs.rule * 3} {title} ".ljust(columns, signs.rule)
        body = self._safe(event.result.strip("\n")).expandtabs(4).split("\n")
        if look.terminal:
            width = max(TEXT_COLUMNS_MIN, min(RESULT_COLUMNS_MAX, self.width - 1) - len(RESULT_INDENT))
            body = [piece for line in body for piece in wrapped(line.rstrip(" "), width)]
        block = [(head, look.paint(head, "strong"))]
        block += [(line, self._marked(RESULT_INDENT + line if line else "")) for line in body]
        block.append((signs.rule * columns, look.paint(signs.rule * columns, "strong")))
        return [*lines, *(Line(event.at, HUB, text, shown) for text, shown in block)]

    # ---- time --------------------------------------------------------------------------------------------------------

    def tick(self, now: float, beats: Mapping[str, RunBeat]) -> list[Line]:
        """Time has passed: text that stands still, and agents that are silent. A few times a second, once live."""
        lines: list[Line] = []
        for talk in self._talks.values() if self._look.terminal else ():
            columns = self._columns(talk)
            lines += self._text(talk, talk.reasoning.take_due(now, width=columns), reasoning=True)
            lines += self._text(talk, talk.text.take_due(now, width=columns))
        signs = self._look.signs
        for run, agent, said, is_stalled in self._silences.take_due(now, beats):
            sign = signs.warn if is_stalled else signs.waiting
            lines += self._rows(now, run, agent, sign, said, "warn" if is_stalled else "dim")
        return self._kept(lines)

    # ---- lines -------------------------------------------------------------------------------------------------------

    def _safe(self, text: str) -> str:
        return safe_text(text, ascii_only=self._look.ascii_only)

    def _columns(self, talk: _Talk) -> int:
        before = self._prefix.meet(self._label(talk.run, talk.agent)) + len(self._look.signs.text) + 1
        return max(TEXT_COLUMNS_MIN, self.width - 1 - before)

    def _flush(self, talk: _Talk, *, only_reasoning: bool = False) -> list[Line]:
        columns = self._columns(talk)
        lines = self._text(talk, talk.reasoning.flush(width=columns), reasoning=True)
        return lines if only_reasoning else lines + self._text(talk, talk.text.flush(width=columns))

    def _text(self, talk: _Talk, fresh: list[str], *, reasoning: bool = False) -> list[Line]:
        sign = self._look.signs.reasoning if reasoning else self._look.signs.text
        tone: Tone = "dim" if reasoning else ""
        return [self._line(self._latest, talk.run, talk.agent, sign, text, tone) for text in fresh]

    def _say(self, event: Event, agent: str, sign: str, said: str | list[str], tone: Tone = "") -> list[Line]:
        return list(self._rows(event.at, event.run, agent, sign, said, tone))

    def _rows(self, at: float, run: str, agent: str, sign: str, said: str | list[str], tone: Tone) -> Iterable[Line]:
        """A sentence, or several with dots between them, as one line, or on a terminal as many as it needs."""
        parts = [self._safe(part).replace("\n", SPACE) for part in ([said] if isinstance(said, str) else said)]
        dot = self._look.signs.dot
        if not self._look.terminal:
            yield self._line(at, run, agent, sign, dot.join(parts), tone)
            return
        columns = self.width - 1 - self._prefix.meet(self._label(run, agent)) - len(sign) - 1
        for piece in joined(parts, dot, max(TEXT_COLUMNS_MIN, columns)):
            yield self._line(at, run, agent, sign, piece, tone)
            sign = SPACE * len(sign)

    def _line(self, at: float, run: str, agent: str, sign: str, text: str, tone: Tone) -> Line:
        label, marked = self._label(run, agent), self._marked(text)
        return Line(at, agent, text, self._prefix.line(at, self._began.get(run), label, sign, marked, tone), sign=sign)

    def _marked(self, text: str) -> str:
        return highlighted(text, self._highlight) if self._highlight else text
