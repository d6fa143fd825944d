"""The workflow engine: what is due next in a run. Pure: it looks at a run and at who is there, and emits events.

Owns: when a stage starts, is tried again and ends; who gets which thought; when a run ends. Must not: change anything,
or say what an end comes to (`ending.py` does).
A pass emits what is due given the state before it; the caller applies and asks again until nothing more is due.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from felixhub.core import helix
from felixhub.core.approval import approve_by_itself, approves, awaiting, is_past_gate
from felixhub.core.decision import Turn, is_within
from felixhub.core.ending import close, end, finish, given_last, is_whole, wind_down
from felixhub.core.events import (
    AgentJoined,
    RunBudgetSpent,
    SectionReady,
    StageFinished,
    StageStarted,
    SynthesisStarted,
)
from felixhub.core.limits import Limits
from felixhub.core.material import context, inputs, missing, reviews_before
from felixhub.core.presence import Presence
from felixhub.core.run import Run, StageState
from felixhub.core.workflow import SYNTHESIS, Stage

UNREAD_MAX = 1  # reviews that could not be read, before their stage fails


@dataclass(frozen=True, slots=True)
class Waiting:
    """A stage that could think but for something: no worker, a busy agent or endpoint, a back-off."""

    stage: str
    agent: str
    endpoint: str
    why: Literal["no_worker", "queued", "backing_off"]
    place: int | None = None


@dataclass(slots=True)
class World:
    """What all runs share, as of the start of a pass, and what the pass has booked since."""

    presence: Presence
    limits: Limits
    busy_agents: Mapping[str, int]
    open_by_endpoint: Mapping[str, int]
    open_total: int
    waiting: list[Waiting] = field(default_factory=list)
    booked_agents: set[str] = field(default_factory=set)
    booked_by_endpoint: dict[str, int] = field(default_factory=dict)
    queued_by_endpoint: dict[str, int] = field(default_factory=dict)

    def has_place(self, endpoint: str, configured: int, now: float) -> bool:
        most = self.presence.concurrent_max(endpoint, configured, now)
        return self.open_by_endpoint.get(endpoint, 0) + self.booked_by_endpoint.get(endpoint, 0) < most

    def is_busy(self, agent: str) -> bool:
        return agent in self.booked_agents or self.busy_agents.get(agent, 0) > 0

    @property
    def is_full(self) -> bool:
        return self.open_total >= self.limits.open_thoughts_max

    def book(self, agent: str, endpoint: str) -> None:
        self.booked_agents.add(agent)
        self.booked_by_endpoint[endpoint] = self.booked_by_endpoint.get(endpoint, 0) + 1
        self.open_total += 1

    def queue(self, endpoint: str) -> int:
        """One more of this run waits for a place there: its place in that queue, from 1."""
        place = self.queued_by_endpoint[endpoint] = self.queued_by_endpoint.get(endpoint, 0) + 1
        return place


def advance(run: Run, turn: Turn, world: World) -> None:
    """Emit what is due in this run now. `world.waiting` says what could not be handed out."""
    if run.ended:
        return
    if run.cancelled_by is not None or run.failed_stage:
        wind_down(run, turn)
        return
    if _has_spent_all(run, turn):
        close(run, turn, world.limits)
        return
    if run.paused:
        for thought in run.open_thoughts():
            if thought.cancelling is None:
                turn.cancel_thought(run, thought.id, by=run.paused.by, reason="paused")
        return
    _join_workers(run, turn, world)
    unfinished = [stage for stage in run.stages.values() if not stage.ended]
    has_converged = _has_converged(run)
    for stage in unfinished:
        _advance_stage(run, stage, has_converged, turn, world)
    due = approve_by_itself(run, turn)
    if not unfinished and not due and not awaiting(run):
        end(run, turn, world.limits)


def _has_spent_all(run: Run, turn: Turn) -> bool:
    """Whether the budget is spent while there is something left to think."""
    if run.budget_spent is not None:
        return True
    if not run.is_over_budget or all(stage.ended or is_whole(run, stage) for stage in run.stages.values()):
        return False
    budget = run.started.settings.budget_tokens
    turn.emit(RunBudgetSpent, run.id, run.last_seq, tokens=run.tokens_spent(), budget_tokens=budget)
    return True


def _join_workers(run: Run, turn: Turn, world: World) -> None:
    for agent in run.cards:
        worker = world.presence.worker_for(agent)
        if worker is None:
            continue
        member = run.members.get(agent)
        if member is None or not member.present or member.workers[-1].session != worker.session:
            turn.emit(AgentJoined, run.id, run.last_seq, agent=agent, worker=worker)


def _advance_stage(run: Run, stage: StageState, has_converged: bool, turn: Turn, world: World) -> None:
    spec = stage.spec
    is_each = spec.name == SYNTHESIS and run.synthesizes_each
    now_given = inputs(run) if is_each else []
    if stage.open_thought:
        thought = run.thoughts[stage.open_thought]
        if thought.cancelling is None and stage.cancelled_by is not None:
            turn.cancel_thought(run, thought.id, by=stage.cancelled_by, reason="cancelled")
        elif thought.cancelling is None and is_each and list(thought.started.context) != now_given:
            turn.cancel_thought(run, thought.id, by="hub", reason="superseded")
        return
    before = [run.stages[name] for name in spec.after]
    is_free = all(other.ended for other in before)
    has_said_all = not is_each or given_last(run, stage) == now_given
    if is_whole(run, stage) and (is_free or not is_each):
        finish(run, stage, "final", "", turn)
        return
    if stage.index and has_converged and stage.reopened is None and spec.name != SYNTHESIS:
        finish(run, stage, "final", f"the team has converged at {stage.checkpoint:.1f}", turn)
        return
    if stage.cancelled_by is not None:
        if is_free or spec.name != SYNTHESIS:  # Without a synthesis the best of all thoughts is the result.
            finish(run, stage, "abandoned", f"cancelled by {stage.cancelled_by}", turn)
        return
    if stage.last_abandoned and stage.last_abandoned.retry_s is None and has_said_all:
        if is_free or not is_each:
            finish(run, stage, "abandoned", _why(stage), turn)
        return
    if stage.unread > UNREAD_MAX and stage.verdict is not None:
        finish(run, stage, "abandoned", f"its review could not be read ({stage.verdict.fault})", turn)
        return
    if spec.optional and spec.name not in run.started.settings.include:
        finish(run, stage, "skipped", "not asked for", turn)
        return
    if not is_free and (has_said_all or not now_given):
        return
    if why := _why_skipped(run, stage, before):
        finish(run, stage, "skipped", why, turn)
        return
    if not all(is_past_gate(run, stage, other) for other in before):
        return
    if is_each and any(isinstance(event, SectionReady | StageFinished) for event in turn.decision.events):
        return  # The next pass knows what has just ended.
    if not stage.started:
        turn.emit(StageStarted, run.id, run.last_seq, stage=spec.name, round=stage.round)
    _assign(run, stage, turn, world)


def _why_skipped(run: Run, stage: StageState, before: list[StageState]) -> str:
    """Why there is nothing for this stage to do, now that all it waits for has ended."""
    spec = stage.spec
    final_count = sum(other.outcome == "final" for other in before)
    if spec.quorum is not None and final_count < spec.quorum:
        return f"{final_count} of the {spec.quorum} stages it needs are final"
    if spec.name == SYNTHESIS and not inputs(run):
        return "no agent has a final thought"
    target = spec.reviews or spec.revises
    if target is None:
        return ""
    if run.source_of(target) is None:
        return f"there is no text of {target}"
    if spec.reviews:
        answers = [other for other in before if other.spec.revises == target and _answers(run, other, spec)]
        return "" if not answers or any(one.outcome == "final" for one in answers) else "there is nothing new to review"
    reviews = reviews_before(run, stage)
    if not reviews:
        return f"{target} was not reviewed"
    return f"the review approves {target}" if all(approves(review) for review in reviews) else ""


def _answers(run: Run, revising: StageState, review: Stage) -> bool:
    """Whether what was to be revised is what this review, in an earlier round of its loop, found."""
    judged = (run.stages[name].spec for name in revising.spec.after)
    return any(
        (one.reviews, one.agent, one.instruction) == (review.reviews, review.agent, review.instruction)
        for one in judged
    )


def _assign(run: Run, stage: StageState, turn: Turn, world: World) -> None:
    spec, card, settings = stage.spec, run.cards[stage.spec.agent], run.started.settings
    endpoint = card.endpoint or settings.endpoint
    if _backing_off(stage, turn.now):
        world.waiting.append(Waiting(spec.name, spec.agent, endpoint, "backing_off"))
        return
    worker = world.presence.worker_for(spec.agent)
    if worker is None:
        world.waiting.append(Waiting(spec.name, spec.agent, endpoint, "no_worker"))
        return
    # A program of the user's own takes no place at a model's server.
    full = not card.program and not world.has_place(endpoint, settings.concurrent_max(endpoint), turn.now)
    if world.is_busy(spec.agent) or full or world.is_full:
        world.waiting.append(Waiting(spec.name, spec.agent, endpoint, "queued", world.queue(endpoint)))
        return
    given = context(run, stage)
    revises = stage.revises or (run.source_of(spec.revises) if spec.revises else None)
    passages = run.passages.get(spec.name, ())
    size = (
        sum(len(run.text_of(source).encode()) for source in (*given, *((revises,) if revises else ())))
        + sum(document.size for document in run.started.documents if document.whole)
        + sum(passage.end - passage.start for passage in passages)
        + sum(len("".join((said.wrong, said.instead, said.constraints)).encode()) for _, said in stage.feedback)
    )
    if size > world.limits.assignment_bytes_max:
        why = f"context_exceeded: it would be given {size} bytes, and {world.limits.assignment_bytes_max} is the most"
        finish(run, stage, "abandoned", why, turn)
        return
    world.book(spec.agent, "" if card.program else endpoint)
    started = turn.start_thought(
        run,
        agent=spec.agent,
        attempt=stage.attempts + 1,
        stage=spec.name,
        session=worker.session,
        checkpoint=stage.checkpoint,
        progress=stage.checkpoint,
        endpoint="" if card.program else endpoint,
        model=None if card.program else card.model or settings.model,
        temperature=helix.temperature(card.role, stage.checkpoint, card.temperature),
        round=stage.round,
        context=tuple(given),
        passages=passages,
        revises=revises,
        steered_by=stage.feedback[-1][0] if stage.feedback else None,
    )
    if spec.name == SYNTHESIS:
        turn.emit(
            SynthesisStarted,
            run.id,
            run.last_seq,
            inputs=started.context,
            missing=tuple(missing(run)),
            thought=started.thought,
            attempt=started.attempt,
        )


def _has_converged(run: Run) -> bool:
    """Early convergence: every agent's latest thought is deep enough and sure enough, by the workflow's word."""
    rule = run.started.workflow.synthesis.converge if run.started.workflow.synthesis else None
    if rule is None:
        return False
    agents = {stage.agent for stage in run.started.workflow.stages}
    latest = [thought for agent in agents if (thought := run.latest_final(agent)) and thought.final]
    return len(latest) == len(agents) and all(
        thought.started.checkpoint >= rule.progress and thought.final.confidence >= rule.confidence
        for thought in latest
        if thought.final
    )


def _backing_off(stage: StageState, now: float) -> bool:
    last = stage.last_abandoned
    return last is not None and last.retry_s is not None and is_within(last.at, now, last.retry_s)


def _why(stage: StageState) -> str:
    last = stage.last_abandoned
    if last is None:
        return ""
    return f"{last.reason}: {last.error}" if last.error else last.reason
