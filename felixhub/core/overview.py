"""A run as a screen shows it: what each agent does now, its figures, the timeline, and the document's sections.

    board (a fold over events) + last beat + meter + now ──overview()──► Overview

Owns: which one word says what an agent does, so that every view says the same. Must not: word a sentence or draw.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from felixhub.core import helix
from felixhub.core.messages import BusyAgent, RunBeat
from felixhub.core.meter import Meter, Words
from felixhub.core.run import Run, StageState
from felixhub.core.section import Section
from felixhub.core.thought import Thought
from felixhub.core.workflow import Value

BEAT_S_MAX = 3.0  # an older beat says nothing about now: the hub is away
RATE_SECONDS = 30  # of the small curve of an agent
CLOCK_S_MAX = 3.0  # by which clocks that are right may differ, a beat's age included

State = Literal[
    "waiting",  # for others, or for a worker
    "queued",  # for its endpoint
    "backing_off",  # its endpoint asked for a pause, or its last attempt failed
    "thinking",  # nothing said yet
    "streaming",
    "regenerating",  # it works on a text that was there before
    "stalled",  # silent for very long
    "cancelling",
    "paused",
    "cancelled",
    "final",
    "approved",
    "failed",
    "skipped",
]
Status = Literal[
    "writing", "waiting", "skipped", "cancelled", "missing", "truncated", "stale", "ready", "approved", "final"
]


class AgentView(Value):
    """One agent of a run. Times are unix seconds, durations seconds.

    `thought` is the one to show: the open one, else the latest with a text. `source` is what a new version would be
    made from. `rate` is tokens per second now, `rates` that of the last 30 seconds. `section` is set when the agent
    writes one. `why` says why it failed, was cancelled or waits.
    """

    agent: str
    role: str
    stage: str
    state: State
    silence_s: float = 0.0
    place: int | None = None
    progress: float = 0.0
    checkpoint: float = 0.0
    on_helix: bool = False
    thought: str | None = None
    attempt: int = 0
    round: int = 1
    model: str | None = None
    endpoint: str = ""
    characters: int = 0
    reasoning_bytes: int = 0
    words: int = 0
    tokens: int = 0
    tokens_estimated: bool = True
    rate: float = 0.0
    rates: tuple[float, ...] = ()
    first_token_s: float | None = None
    seconds: float | None = None
    confidence: float | None = None
    truncated: bool = False
    section: str | None = None
    why: str = ""


class Bar(Value):
    """One thought on the timeline; times are seconds since the run's start. `first_token` None: none yet."""

    thought: str
    agent: str
    stage: str
    attempt: int
    checkpoint: float
    start: float
    first_token: float | None
    end: float | None
    outcome: Literal["open", "final", "abandoned"]
    reason: str | None = None


class VersionView(Value):
    number: int
    by: str
    source: str
    whole: bool
    at: float
    by_person: bool


class SectionView(Value):
    """One section of the document. `current` is the number of the version that the document has."""

    name: str
    title: str
    agent: str
    status: Status
    current: int | None
    approved: bool
    approved_by: str
    awaiting: bool
    versions: tuple[VersionView, ...]


class Overview(Value):
    """`heard_s`: since the last beat of this run, None when there was none or the run has ended.

    `approved` and `sections_wanted`: how many of the document's sections are approved, of how many. `curve` is tokens
    per second of the whole run, by second, from the unix second `curve_from` on.
    """

    run: str
    task: str
    workflow: str
    status: str
    started_at: float
    elapsed_s: float
    seq: int
    review: bool
    tokens: int
    rate: float
    first_token_p50_s: float | None
    first_token_p95_s: float | None
    agents: tuple[AgentView, ...]
    timeline: tuple[Bar, ...]
    sections: tuple[SectionView, ...]
    approved: int
    sections_wanted: int
    awaiting: tuple[str, ...]
    synthesis: str | None
    result_by: str | None
    degraded: tuple[str, ...]
    error: str
    heard_s: float | None
    curve_from: int
    curve: tuple[float, ...]

    def count_of(self, state: State) -> int:
        return sum(agent.state == state for agent in self.agents)


def overview(run: Run, meter: Meter, *, beat: RunBeat | None, beat_at: float | None, now: float) -> Overview:
    """The run as of `now` (unix seconds). `beat` is the hub's last one about this run, heard at `beat_at`."""
    heard_s = None if beat_at is None or run.ended else max(0.0, now - beat_at)
    is_fresh = beat is not None and heard_s is not None and heard_s <= BEAT_S_MAX
    busy = {one.agent: one for one in beat.agents} if beat is not None and is_fresh else {}
    awaiting = beat.awaiting if beat is not None and not run.ended else ()
    ended = run.ended
    first_tokens = sorted(t.final.first_token_s for t in run.thoughts.values() if t.final and t.final.first_token_s)
    wanted = [section for section in run.sections.values() if is_asked_for(run, section)]
    first, curve = meter.total.curve()
    finished = run.synthesis_finished
    return Overview(
        run=run.id,
        task=run.started.task,
        workflow=run.started.workflow.name,
        status=run.status,
        started_at=run.started.at,
        elapsed_s=ended.seconds if ended else max(0.0, now - run.started.at),
        seq=run.last_seq,
        review=run.started.settings.review,
        tokens=run.tokens_spent(),
        rate=0.0 if ended else meter.total.now(now),
        first_token_p50_s=_share(first_tokens, 0.5),
        first_token_p95_s=_share(first_tokens, 0.95),
        agents=tuple(_agents(run, meter, busy, now)),
        timeline=tuple(_bars(run)),
        sections=tuple(_sections(run, awaiting)),
        approved=sum(section.is_approved for section in wanted),
        sections_wanted=len(wanted),
        awaiting=awaiting,
        synthesis=run.synthesis_started.thought if run.synthesis_started else None,
        result_by=finished.thought if finished else None,
        degraded=getattr(ended, "degraded", ()),
        error=getattr(ended, "error", ""),
        heard_s=heard_s,
        curve_from=first,
        curve=tuple(round(value, 1) for value in curve),
    )


class RunClock:
    """The clock of a run: that of a hub on another machine may be wrong, a recording's is of when it was made.

    A beat says how long somebody has been silent, and the board since when.
    """

    def __init__(self) -> None:
        self._behind_s: float | None = None  # as the last beat that told; None: none has

    def told(self, run: Run, *, beat: RunBeat | None, heard_at: float | None, now: float) -> tuple[float, float | None]:
        """`now` and `heard_at` by that clock; as they are when it is about right."""
        behind_s = self._behind(run, beat, heard_at or now)
        self._behind_s = behind_s if beat is not None else None
        return now - behind_s, None if heard_at is None else heard_at - behind_s

    def _behind(self, run: Run, beat: RunBeat | None, now: float) -> float:
        for busy in beat.agents if beat is not None else ():
            thought = run.thoughts.get(busy.thought or "")
            if thought is not None and thought.is_open:
                return _off(now - (thought.last_token_at or thought.started.at) - busy.silence_s)
        if self._behind_s is not None:
            return self._behind_s
        # Somebody thinks, and no beat has spoken of it yet: the latest that is known is about now.
        known = [thought.last_token_at or thought.started.at for thought in run.open_thoughts()]
        return _off(now - max(known)) if known else 0.0


def _off(behind_s: float) -> float:
    return behind_s if abs(behind_s) > CLOCK_S_MAX else 0.0


def is_asked_for(run: Run, section: Section) -> bool:
    """Whether the section is of this run's document: not an optional one that nobody has asked for."""
    return bool(section.versions) or run.stages[section.name].outcome != "skipped"


def section_status(run: Run, name: str) -> Status:
    """writing, waiting, skipped, cancelled, missing, truncated, stale, ready or approved; final without review.

    Writing: somebody writes, reviews or revises it, or will do so again. Waiting: its turn has not come. Skipped:
    nobody has asked for it, so the document is whole without it.
    """
    section = run.sections[name]
    if not is_asked_for(run, section):
        return "skipped"
    if any(stage.open_thought for stage in run.writers[name]):
        return "writing"
    if run.stages[name].cancelled_by is not None and not section.is_approved:
        return "cancelled"
    current = section.current
    if current is None:
        return "waiting" if run.ended is None and not run.stages[name].ended else "missing"
    if run.ended is None and any(stage.round > 1 and not stage.ended for stage in run.writers[name]):
        return "writing"  # It was steered, say, and waits for a worker, or for the run to go on.
    if not current.whole:
        return "truncated"
    if section.stale:
        return "stale"
    if not run.started.settings.review:
        return "final"  # Every section is approved as it comes: that says nothing.
    return "approved" if section.is_approved else "ready"


def _agents(run: Run, meter: Meter, busy: dict[str, BusyAgent], now: float) -> Iterator[AgentView]:
    """In the workflow's order, the synthesis last."""
    stages: dict[str, list[StageState]] = {}
    for stage in run.stages.values():
        stages.setdefault(stage.spec.agent, []).append(stage)
    latest: dict[str, Thought] = {}
    for thought in run.thoughts.values():
        agent = thought.started.agent
        before = latest.get(agent)
        # A text that is there is not hidden by an attempt that came to nothing; an open one is always shown.
        if before is None or thought.is_open or len(thought.text) or not len(before.text):
            latest[agent] = thought
    for agent, its in stages.items():
        stage = _present(its)
        rate = meter.rates.get(agent)
        shown = latest.get(agent)
        words = meter.words.get(shown.id, Words()) if shown is not None else Words()
        yield _agent(run, stage, shown, busy.get(agent), now).model_copy(
            update={
                "words": words.count,
                "characters": words.characters,
                "rate": rate.now(now) if rate and not run.ended else 0.0,
                "rates": tuple(rate.last(now, RATE_SECONDS)) if rate and not run.ended else (),
            }
        )


def _present(stages: list[StageState]) -> StageState:
    """The one that an agent is at: what it thinks, else what it will do next, else what it did last."""
    for stage in stages:
        if stage.open_thought:
            return stage
    for stage in stages:
        if not stage.ended and (stage.started or stage.attempts):
            return stage
    done = [stage for stage in stages if stage.ended and stage.outcome != "skipped"]
    if done and all(stage.ended for stage in stages):
        return done[-1]
    return next((stage for stage in stages if not stage.ended), stages[-1])


def _agent(run: Run, stage: StageState, thought: Thought | None, beat: BusyAgent | None, now: float) -> AgentView:
    card = run.cards[stage.spec.agent]
    state, why = stage_state(run, stage, beat)
    view = AgentView(
        agent=stage.spec.agent,
        role=card.role,
        stage=stage.spec.name,
        state=state,
        place=beat.place if beat else None,
        on_helix=len(stage.spec.checkpoints) > 1,
        checkpoint=stage.checkpoint,
        progress=_progress(run, stage),
        round=stage.round,
        section=stage.target if stage.target in run.sections else None,
        why=why,
    )
    if thought is None:
        return view
    final = thought.final
    silence_s = max(0.0, now - (thought.last_token_at or thought.started.at)) if thought.is_open else 0.0
    counted = final is not None and bool(final.usage.completion_tokens)
    return view.model_copy(
        update={
            "thought": thought.id,
            "silence_s": silence_s,
            "attempt": thought.started.attempt,
            "model": thought.model,
            "endpoint": thought.started.endpoint,
            "reasoning_bytes": len(thought.reasoning),
            "tokens": final.usage.completion_tokens if final is not None and counted else thought.tokens,
            "tokens_estimated": not counted or (final is not None and final.usage.estimated),
            "first_token_s": final.first_token_s if final else None,
            "seconds": final.seconds if final else None,
            "confidence": final.confidence if final else None,
            "truncated": final.truncated if final else False,
        }
    )


def stage_state(run: Run, stage: StageState, beat: BusyAgent | None = None) -> tuple[State, str]:
    """The word for what a stage does, and why. `beat` is what the hub last said of its agent, if that is of now."""
    if stage.open_thought:
        return _open_state(run.thoughts[stage.open_thought], beat), ""
    if stage.cancelled_by is not None and (stage.outcome != "final" or run.ended):
        return "cancelled", f"by {stage.cancelled_by}"
    section = run.sections.get(stage.spec.name)
    match stage.outcome:
        case "final":
            is_approved = section is not None and section.is_approved and run.started.settings.review
            return ("approved", "") if is_approved else ("final", "")
        case "abandoned" if stage.last_abandoned is not None and stage.last_abandoned.reason == "cancelled":
            return "cancelled", stage.why  # With the whole run, which nobody cancelled it by name for.
        case "abandoned":
            return "failed", stage.why
        case "skipped":
            return "skipped", stage.why
    if run.ended is not None:
        return ("cancelled", "") if run.status == "cancelled" else ("skipped", "")
    if run.paused is not None:
        return "paused", f"by {run.paused.by}" if run.paused.by else ""
    last = stage.last_abandoned
    why = last.error if last is not None and last.reason not in ("paused", "superseded") else ""
    if beat is not None and beat.state in ("queued", "backing_off"):
        return ("queued", why) if beat.state == "queued" else ("backing_off", why)
    return "waiting", why or ("no worker yet" if beat is not None and beat.state == "waiting" else "")


def _open_state(thought: Thought, beat: BusyAgent | None) -> State:
    if thought.cancelling:
        return "cancelling"
    if beat is not None and beat.thought == thought.id and beat.state == "stalled":
        return "stalled"
    if thought.last_token_at is None and not thought.size:
        return "thinking"
    return "regenerating" if thought.started.revises or thought.started.round > 1 else "streaming"


def _progress(run: Run, stage: StageState) -> float:
    if stage.outcome == "final":
        return 1.0
    if stage.open_thought:
        thought = run.thoughts[stage.open_thought]
        return helix.progress(thought.started.checkpoint, thought.tokens)
    return stage.checkpoint


def _bars(run: Run) -> Iterator[Bar]:
    began = run.started.at
    for thought in run.thoughts.values():
        final, abandoned = thought.final, thought.abandoned
        first = thought.first_token_at
        ended = final or abandoned
        yield Bar(
            thought=thought.id,
            agent=thought.started.agent,
            stage=thought.started.stage,
            attempt=thought.started.attempt,
            checkpoint=thought.started.checkpoint,
            start=thought.started.at - began,
            first_token=None if first is None else first - began,
            end=None if ended is None else ended.at - began,
            outcome=thought.state,
            reason=thought.abandon_reason,
        )


def _sections(run: Run, awaiting: tuple[str, ...]) -> Iterator[SectionView]:
    for section in run.sections.values():
        current = section.current
        yield SectionView(
            name=section.name,
            title=section.title,
            agent=run.stages[section.name].spec.agent,
            status=section_status(run, section.name),
            current=current.number if current else None,
            approved=section.is_approved,
            approved_by=section.approved_by,
            awaiting=section.name in awaiting,
            versions=tuple(
                VersionView(
                    number=one.number,
                    by=one.by,
                    source=one.source,
                    whole=one.whole,
                    at=one.at,
                    by_person=one.by_person,
                )
                for one in section.versions
            ),
        )


def _share(values: list[float], share: float) -> float | None:
    """The nearest rank of sorted values, None for none."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else None
