"""The workflow engine: what is due next in a run. Pure: it looks at a run and at who is there, and emits events.

Owns: when a stage starts, is tried again and ends; who gets which thought; when a run ends. Must not: change anything.
A pass emits what is due given the state before it; the caller applies and asks again until nothing more is due.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from felixhub.core import helix
from felixhub.core.decision import Turn, is_within
from felixhub.core.events import (
    AgentJoined,
    Missing,
    Outcome,
    RunBudgetSpent,
    RunCancelled,
    RunFailed,
    RunFinished,
    SectionApproved,
    SectionReady,
    StageFinished,
    StageStarted,
    SynthesisFinished,
    SynthesisStarted,
    Usage,
)
from felixhub.core.limits import Limits
from felixhub.core.presence import Presence
from felixhub.core.run import Run, StageState
from felixhub.core.section import Section
from felixhub.core.thought import Thought
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
    if run.cancelled_by is not None or _fatal(run):
        _wind_down(run, turn)
        return
    if _is_over_budget(run, turn):
        _close(run, turn, world.limits)
        return
    if run.paused:
        for thought in run.open_thoughts():
            if thought.cancelling is None:
                turn.cancel_thought(run, thought.id, by=run.paused.by, reason="paused")
        return
    _join_workers(run, turn, world)
    unfinished = [stage for stage in run.stages.values() if not stage.ended]
    for stage in unfinished:
        _advance_stage(run, stage, turn, world)
    due = _approve(run, turn)
    if not unfinished and not due and not awaiting(run):
        _end(run, turn, world.limits)


def awaiting(run: Run) -> list[str]:
    """The sections that wait for a person: nothing more is written of them, and they are neither approved nor given up.

    Empty without review. A section that failed or is truncated waits too: to be written anew, edited or cancelled.
    """
    if not run.started.settings.review:
        return []
    return [section.name for section in run.sections.values() if _is_settled(run, section) and _holds(run, section)]


def _holds(run: Run, section: Section) -> bool:
    """Whether the document waits for this section."""
    stage = run.stages[section.name]
    return not section.is_approved and stage.cancelled_by is None and stage.outcome != "skipped"


def _is_settled(run: Run, section: Section) -> bool:
    """Everything that writes, reviews or revises it has ended."""
    return all(stage.ended for stage in run.writers[section.name])


def _approve(run: Run, turn: Turn) -> bool:
    """Without review, whole sections that no review rejects are approved by themselves, once nothing writes on them."""
    if run.started.settings.review:
        return False
    due = False
    for section in run.sections.values():
        current = section.current
        if section.is_approved or current is None or not current.whole or not _is_settled(run, section):
            continue
        judged = _last_review(run, section.name)
        if judged is None or (judged.verdict is not None and judged.verdict.approved):
            turn.emit(SectionApproved, run.id, run.last_seq, section=section.name, version=current.number, by="auto")
            due = True
    return due


def _last_review(run: Run, target: str) -> StageState | None:
    """The last review of this text that was not passed over."""
    reviews = [s for s in run.writers[target] if s.spec.reviews and s.outcome not in (None, "skipped")]
    return reviews[-1] if reviews else None


# ---- the budget ------------------------------------------------------------------------------------------------------


def _is_over_budget(run: Run, turn: Turn) -> bool:
    budget = run.started.settings.budget_tokens
    if budget is None or run.budget_spent is not None:
        return run.budget_spent is not None
    spent = run.tokens_spent()
    if spent >= budget:
        turn.emit(RunBudgetSpent, run.id, run.last_seq, tokens=spent, budget_tokens=budget)
    return spent >= budget


def _close(run: Run, turn: Turn, limits: Limits) -> None:
    """Stop what streams, end every stage, and finish with what there is."""
    if run.budget_spent is None:
        return  # It is being said in this very pass.
    by = f"the budget of {run.budget_spent.budget_tokens} tokens"
    open_thoughts = run.open_thoughts()
    for thought in open_thoughts:
        if thought.cancelling is None:
            turn.cancel_thought(run, thought.id, by=by, reason="cancelled")
    unfinished = [stage for stage in run.stages.values() if not stage.ended]
    if open_thoughts:
        return
    for stage in unfinished:
        _break_off(run, stage, f"{by} is spent", turn)
    if not unfinished:
        _end(run, turn, limits)


def give_up(run: Run, turn: Turn, why: str) -> None:
    """End a run that the hub itself cannot carry on with: its thoughts keep their text, everybody else goes on."""
    for thought in run.open_thoughts():
        turn.abandon_thought(
            run, thought.id, length=len(thought.text), reason="agent_error", error="the hub failed", retry_s=None
        )
    for stage in run.stages.values():
        if not stage.ended:
            _end_stage(run, stage, "the hub failed", turn)
    turn.emit(RunFailed, run.id, run.last_seq, error=why, usage=Usage(estimated=True), seconds=_seconds(run, turn))


def _end_stage(run: Run, stage: StageState, why: str, turn: Turn) -> None:
    outcome: Outcome = "abandoned" if stage.started else "skipped"
    turn.emit(StageFinished, run.id, run.last_seq, stage=stage.spec.name, round=stage.round, outcome=outcome, why=why)


def _break_off(run: Run, stage: StageState, why: str, turn: Turn) -> None:
    """End a stage where it is; if all of its text is there, as final."""
    if stage.index >= len(stage.spec.checkpoints):
        _finish(run, stage, "final", "", turn)
    else:
        _end_stage(run, stage, why, turn)


def _join_workers(run: Run, turn: Turn, world: World) -> None:
    for agent in run.cards:
        worker = world.presence.worker_for(agent)
        if worker is None:
            continue
        member = run.members.get(agent)
        if member is None or not member.present or member.workers[-1].session != worker.session:
            turn.emit(AgentJoined, run.id, run.last_seq, agent=agent, worker=worker)


def _advance_stage(run: Run, stage: StageState, turn: Turn, world: World) -> None:
    spec = stage.spec
    inputs = _inputs(run) if spec.name == SYNTHESIS else []
    each = spec.name == SYNTHESIS and _is_each(run)
    if stage.open_thought:
        thought = run.thoughts[stage.open_thought]
        if thought.cancelling is None and stage.cancelled_by is not None:
            turn.cancel_thought(run, thought.id, by=stage.cancelled_by, reason="cancelled")
        elif thought.cancelling is None and each and list(thought.started.context) != inputs:
            turn.cancel_thought(run, thought.id, by="hub", reason="superseded")
        return
    before = [run.stages[name] for name in spec.after]
    is_free = all(other.ended for other in before)
    if stage.index >= len(spec.checkpoints) and (not each or (is_free and _given_last(run, stage) == inputs)):
        _finish(run, stage, "final", "", turn)
        return
    if stage.index and spec.name != SYNTHESIS and _has_converged(run):
        _finish(run, stage, "final", f"the team has converged at {stage.checkpoint:.1f}", turn)
        return
    if stage.cancelled_by is not None:
        _finish(run, stage, "abandoned", f"cancelled by {stage.cancelled_by}", turn)
        return
    if stage.last_abandoned and stage.last_abandoned.retry_s is None:
        if not each or is_free:
            _finish(run, stage, "abandoned", _why(stage), turn)
        if not each or is_free or _given_last(run, stage) == inputs:
            return
    if stage.unread > UNREAD_MAX and stage.verdict is not None:
        _finish(run, stage, "abandoned", f"its review could not be read ({stage.verdict.fault})", turn)
        return
    if spec.optional and spec.name not in run.started.settings.include:
        _finish(run, stage, "skipped", "not asked for", turn)
        return
    if each and inputs and (_given_last(run, stage) == inputs):
        return  # What has been said so far is in the last synthesis.
    if not is_free and not (each and inputs):
        return
    if why := _why_skipped(run, stage, before, inputs):
        _finish(run, stage, "skipped", why, turn)
        return
    if not all(_is_past_gate(run, stage, other) for other in before):
        return
    if not stage.started:
        turn.emit(StageStarted, run.id, run.last_seq, stage=spec.name, round=stage.round)
    _assign(run, stage, turn, world)


def _is_each(run: Run) -> bool:
    synthesis = run.started.workflow.synthesis
    return synthesis is not None and synthesis.when == "each"


def _given_last(run: Run, stage: StageState) -> list[str]:
    """What the stage's last thought in this round was given, if it has ended well or for good."""
    if stage.last_abandoned is not None:
        last: str | None = stage.last_abandoned.thought if stage.last_abandoned.retry_s is None else None
    else:
        last = stage.final_thought if stage.index else None
    return list(run.thoughts[last].started.context) if last else []


def _why_skipped(run: Run, stage: StageState, before: list[StageState], inputs: list[str]) -> str:
    """Why there is nothing for this stage to do, now that all it waits for has ended."""
    spec = stage.spec
    final_count = sum(other.outcome == "final" for other in before)
    if spec.quorum is not None and final_count < spec.quorum:
        return f"{final_count} of the {spec.quorum} stages it needs are final"
    if spec.name == SYNTHESIS and not inputs:
        return "no agent has a final thought"
    target = spec.reviews or spec.revises
    if target is None:
        return ""
    if run.source_of(target) is None:
        return f"there is no text of {target}"
    if spec.reviews:
        revisions = [other for other in before if other.spec.revises == target]
        return "" if not revisions or any(r.outcome == "final" for r in revisions) else "there is nothing new to review"
    verdicts = [other.verdict for other in before if other.spec.reviews == target and other.outcome == "final"]
    if any(verdict.approved for verdict in verdicts if verdict):
        return f"the review approves {target}"
    return "" if verdicts else f"{target} was not reviewed"


def _is_past_gate(run: Run, stage: StageState, other: StageState) -> bool:
    """A person has approved what the other one wrote, or given it up; who works on that text itself need not wait."""
    section = run.sections.get(other.target)
    if section is None or stage.target == section.name or not run.started.settings.review:
        return True
    return not run.stages[section.name].spec.gate or not _holds(run, section)


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
    given = _context(run, stage)
    revises = stage.revises or (run.source_of(spec.revises) if spec.revises else None)
    passages = run.passages.get(spec.name, ())
    size = (
        sum(len(run.text_of(source).encode()) for source in (*given, *((revises,) if revises else ())))
        + sum(document.size for document in run.started.documents if document.whole)
        + sum(passage.end - passage.start for passage in passages)
    )
    if size > world.limits.assignment_bytes_max:
        why = f"context_exceeded: it would be given {size} bytes, and {world.limits.assignment_bytes_max} is the most"
        _finish(run, stage, "abandoned", why, turn)
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
            missing=tuple(_missing(run)),
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


def _inputs(run: Run) -> list[str]:
    """What a synthesis is made from, by name: each section's current text, and each other agent's latest final thought.

    In the order of the stages. What reviews or revises a text is not an input: that text is.
    """
    found: list[str | None] = []
    for spec in run.started.workflow.stages:
        if spec.reviews or spec.revises:
            continue
        found.append(run.source_of(spec.name) if spec.section else _latest(run, spec))
    return list(dict.fromkeys(source for source in found if source))


def _latest(run: Run, spec: Stage) -> str | None:
    """The agent's latest final thought, or the stage's when the agent has reviewed or revised something since."""
    latest = run.latest_final(spec.agent)
    if latest is None:
        return None
    last = run.stages[latest.started.stage].spec
    return run.stages[spec.name].final_thought if last.reviews or last.revises or last.section else latest.id


def _context(run: Run, stage: StageState) -> list[str]:
    spec = stage.spec
    if spec.name == SYNTHESIS:
        return _inputs(run)
    match spec.context:
        case "latest":
            return [source for source in _inputs(run) if run.author_of(source) != spec.agent]
        case "after":
            found = [_given_by(run, spec, run.stages[name]) for name in spec.after]
            return list(dict.fromkeys(source for source in found if source))
        case "none":
            return []


def _given_by(run: Run, spec: Stage, other: StageState) -> str | None:
    """What a stage is given of another it comes after: its text, or the one it worked on; a revision, the review."""
    if spec.revises is not None and other.target == spec.revises:
        return other.final_thought if other.spec.reviews else None  # The text itself is what it revises.
    return run.source_of(other.target)


def _missing(run: Run) -> list[Missing]:
    """The agents that a synthesis has nothing of."""
    missing: dict[str, Missing] = {}
    for spec in run.started.workflow.stages:
        stage = run.stages[spec.name]
        if spec.reviews or spec.revises or _was_not_wanted(stage) or run.latest_final(spec.agent):
            continue
        if run.source_of(spec.name) is None and stage.ended:
            missing[spec.agent] = Missing(agent=spec.agent, why=stage.why or "no final thought")
    return list(missing.values())


def _was_not_wanted(stage: StageState) -> bool:
    """Passed over as its workflow means it: nobody asked for it, or there was nothing to do."""
    spec = stage.spec
    return stage.outcome == "skipped" and (spec.optional or bool(spec.reviews) or bool(spec.revises))


def _why(stage: StageState) -> str:
    last = stage.last_abandoned
    if last is None:
        return ""
    return f"{last.reason}: {last.error}" if last.error else last.reason


def _fatal(run: Run) -> StageState | None:
    """A stage whose failure ends the run."""
    return next((s for s in run.stages.values() if s.outcome == "abandoned" and s.spec.on_failure == "fail"), None)


def _finish(run: Run, stage: StageState, outcome: Outcome, why: str, turn: Turn) -> None:
    if stage.spec.name == SYNTHESIS:
        _finish_synthesis(run, stage, outcome, why, turn)
    section = run.sections.get(stage.target)
    if outcome == "final" and section is not None and stage.spec.reviews is None and stage.final_thought:
        final = run.thoughts[stage.final_thought].final
        turn.emit(
            SectionReady,
            run.id,
            run.last_seq,
            section=section.name,
            version=section.next_number,
            by=stage.spec.agent,
            thought=stage.final_thought,
            whole=final is not None and not final.truncated,
        )
    turn.emit(StageFinished, run.id, run.last_seq, stage=stage.spec.name, round=stage.round, outcome=outcome, why=why)


def _finish_synthesis(run: Run, stage: StageState, outcome: Outcome, why: str, turn: Turn) -> None:
    final = run.thoughts[stage.final_thought].final if stage.final_thought else None
    degraded: tuple[str, ...] = ()
    if final is not None:
        if outcome != "final":
            degraded = (f"no new synthesis ({why}): this is the one before",)
        turn.emit(
            SynthesisFinished,
            run.id,
            run.last_seq,
            thought=final.thought,
            confidence=final.confidence,
            degraded=degraded,
        )
    elif best := _best(run):
        turn.emit(
            SynthesisFinished,
            run.id,
            run.last_seq,
            thought=best.id,
            confidence=best.final.confidence if best.final else 0.0,
            degraded=(f"no synthesis ({why}): this is the best final thought, by {best.started.agent}",),
        )


def _best(run: Run) -> Thought | None:
    """The final thought with the highest confidence, the latest of equals."""
    thoughts = [run.thoughts[source] for source in _inputs(run) if source in run.thoughts]
    finals = [(thought.final.confidence, thought.final.seq, thought) for thought in thoughts if thought.final]
    return max(finals)[2] if finals else None


def _wind_down(run: Run, turn: Turn) -> None:
    """Cancelled, or a stage failed that must not: stop what streams, then end every stage, then the run."""
    fatal = _fatal(run)
    by = run.cancelled_by or "hub"
    open_thoughts = run.open_thoughts()
    for thought in open_thoughts:
        if thought.cancelling is None:
            turn.cancel_thought(run, thought.id, by=by, reason="cancelled")
    if open_thoughts:
        return
    why = f"the run was cancelled by {by}" if fatal is None else "the run failed"
    for stage in run.stages.values():
        if not stage.ended:
            _break_off(run, stage, why, turn)
    seconds = _seconds(run, turn)
    if fatal is not None:
        error = f"stage '{fatal.spec.name}' failed: {fatal.why}"
        turn.emit(RunFailed, run.id, run.last_seq, error=error, usage=run.usage(), seconds=seconds)
    else:
        turn.emit(RunCancelled, run.id, run.last_seq, by=by, usage=run.usage(), seconds=seconds)


def _seconds(run: Run, turn: Turn) -> float:
    return round(max(0.0, turn.now - run.started.at), 3)


def _end(run: Run, turn: Turn, limits: Limits) -> None:
    seconds, usage = _seconds(run, turn), run.usage()
    if not _inputs(run):
        spent = f"the budget of {run.budget_spent.budget_tokens} tokens is spent, and " if run.budget_spent else ""
        error = f"{spent}no agent finished a thought: {_whys(run)}"
        turn.emit(RunFailed, run.id, run.last_seq, error=error[:4_000], usage=usage, seconds=seconds)
        return
    result, cut = _result(run), []
    if len(result.encode()) > limits.result_bytes_max:
        result = result.encode()[: limits.result_bytes_max].decode(errors="ignore")
        cut = [f"the result is cut at {limits.result_bytes_max} bytes; its stages hold the whole text"]
    turn.emit(
        RunFinished,
        run.id,
        run.last_seq,
        result=result,
        degraded=tuple(_degraded(run) + cut),
        usage=usage,
        seconds=seconds,
    )


def _whys(run: Run) -> str:
    """Why the stages did not end final, agents with the same reason together."""
    agents: dict[str, list[str]] = {}
    for stage in run.stages.values():
        if stage.why and stage.spec.name != SYNTHESIS:
            agents.setdefault(stage.why, []).append(stage.spec.agent)
    return "; ".join(f"{', '.join(dict.fromkeys(names))}: {why}" for why, names in agents.items())


def _result(run: Run) -> str:
    if run.synthesis_finished:
        return run.text_of(run.source_of(SYNTHESIS) or run.synthesis_finished.thought)
    written = [(section.title, section.current) for section in run.sections.values() if section.current]
    if not written:
        best = _best(run)
        return str(best.text) if best else ""
    texts = [(title, run.text_of(version.source)) for title, version in written]
    return texts[0][1] if len(texts) == 1 else "\n\n".join(f"## {title}\n\n{text}" for title, text in texts)


def _degraded(run: Run) -> list[str]:
    reasons = []
    if run.budget_spent:
        reasons.append(f"the budget of {run.budget_spent.budget_tokens} tokens is spent")
    reasons.extend(
        _shortcoming(run, stage)
        for stage in run.stages.values()
        if stage.outcome != "final" and stage.spec.name != SYNTHESIS and not _was_not_wanted(stage)
    )
    for section in run.sections.values():
        reasons.extend(_shortcomings_of(run, section))
    if run.synthesis_finished:
        reasons.extend(run.synthesis_finished.degraded)
    used = [run.thoughts[source] for source in _inputs(run) if source in run.thoughts]
    if run.synthesis_finished:
        used.append(run.thoughts[run.synthesis_finished.thought])
    cut = dict.fromkeys(t.started.agent for t in used if t.final and t.final.truncated)
    reasons.extend(f"the text of {agent} is truncated" for agent in cut)
    return list(dict.fromkeys(reasons))


def _shortcoming(run: Run, stage: StageState) -> str:
    """What a stage that did not end well means for the result."""
    spec, why = stage.spec, stage.why or str(stage.outcome)
    if spec.reviews:
        return f"{_titled(run, spec.reviews)} is not reviewed ({why})"
    if spec.revises:
        return f"{_titled(run, spec.revises)} is not revised ({why})"
    if section := run.sections.get(spec.name):
        if section.current is None:
            return f"{section.title} is missing: {spec.agent} ({why})"
        return f"{section.title} is not the newest: {spec.agent} ({why})"
    if stage.final_thought:
        return f"{spec.agent} stopped at {stage.checkpoint:.1f} ({why})"
    return f"{spec.agent} is missing ({why})"


def _shortcomings_of(run: Run, section: Section) -> list[str]:
    if section.current is None:
        return []
    found = []
    judged = _last_review(run, section.name)
    verdict = judged.verdict if judged is not None and judged.outcome == "final" else None
    if verdict is not None and not verdict.approved and not (section.is_approved or section.current.by_person):
        issues = "1 issue" if len(verdict.issues) == 1 else f"{len(verdict.issues)} issues"
        found.append(f"{section.title} is not approved by its review: {issues} left")
    if run.started.settings.review and not section.is_approved:
        found.append(f"{section.title} is not approved")
    if section.stale:
        found.append(f"{section.title} is made from an earlier text")
    return found


def _titled(run: Run, stage: str) -> str:
    section = run.sections.get(stage)
    return section.title if section else stage
