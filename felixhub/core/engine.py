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
    RunCancelled,
    RunFailed,
    RunFinished,
    StageFinished,
    StageStarted,
    SynthesisFinished,
    SynthesisStarted,
    Usage,
)
from felixhub.core.limits import Limits
from felixhub.core.presence import Presence
from felixhub.core.run import Run, StageState
from felixhub.core.thought import Thought
from felixhub.core.workflow import SYNTHESIS


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
    if run.paused:
        for thought in run.open_thoughts():
            if thought.cancelling is None:
                turn.cancel_thought(run, thought.id, by=run.paused.by, reason="paused")
        return
    _join_workers(run, turn, world)
    unfinished = [stage for stage in run.stages.values() if not stage.ended]
    for stage in unfinished:
        _advance_stage(run, stage, turn, world)
    if not unfinished:
        _end(run, turn, world.limits)


def give_up(run: Run, turn: Turn, why: str) -> None:
    """End a run that the hub itself cannot carry on with: its thoughts keep their text, everybody else goes on."""
    for thought in run.open_thoughts():
        turn.abandon_thought(
            run, thought.id, length=len(thought.text), reason="agent_error", error="the hub failed", retry_s=None
        )
    for stage in run.stages.values():
        if not stage.ended:
            outcome: Outcome = "abandoned" if stage.started else "skipped"
            turn.emit(StageFinished, run.id, run.last_seq, stage=stage.spec.name, outcome=outcome, why="the hub failed")
    turn.emit(RunFailed, run.id, run.last_seq, error=why, usage=Usage(estimated=True), seconds=_seconds(run, turn))


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
    if stage.open_thought:
        thought = run.thoughts[stage.open_thought]
        if stage.cancelled_by is not None and thought.cancelling is None:
            turn.cancel_thought(run, thought.id, by=stage.cancelled_by, reason="cancelled")
        return
    if stage.index == len(spec.checkpoints):
        _finish(run, stage, "final", "", turn)
        return
    if stage.index and spec.name != SYNTHESIS and _has_converged(run):
        _finish(run, stage, "final", f"the team has converged at {stage.checkpoint:.1f}", turn)
        return
    if stage.cancelled_by is not None:
        _finish(run, stage, "abandoned", f"cancelled by {stage.cancelled_by}", turn)
        return
    if stage.last_abandoned and stage.last_abandoned.retry_s is None:
        _finish(run, stage, "abandoned", _why(stage), turn)
        return
    before = [run.stages[name] for name in spec.after]
    if any(not other.ended for other in before):
        return
    final_count = sum(other.outcome == "final" for other in before)
    if spec.quorum is not None and final_count < spec.quorum:
        _finish(run, stage, "skipped", f"{final_count} of the {spec.quorum} stages it needs are final", turn)
        return
    if spec.name == SYNTHESIS and not _inputs(run):
        _finish(run, stage, "skipped", "no agent has a final thought", turn)
        return
    if not stage.started:
        turn.emit(StageStarted, run.id, run.last_seq, stage=spec.name, round=1)
    _assign(run, stage, turn, world)


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
    size = sum(len(thought.text) for thought in given) + sum(document.size for document in run.started.documents)
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
        context=tuple(thought.id for thought in given),
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


def _inputs(run: Run) -> list[Thought]:
    """What a synthesis is made from: each agent's latest final thought, in the order of the stages."""
    agents = dict.fromkeys(stage.agent for stage in run.started.workflow.stages)
    return [thought for agent in agents if (thought := run.latest_final(agent))]


def _context(run: Run, stage: StageState) -> list[Thought]:
    spec = stage.spec
    if spec.name == SYNTHESIS:
        return _inputs(run)
    match spec.context:
        case "latest":
            return [thought for thought in _inputs(run) if thought.started.agent != spec.agent]
        case "after":
            finals = [run.stages[name].final_thought for name in spec.after]
            return [run.thoughts[name] for name in finals if name]
        case "none":
            return []


def _missing(run: Run) -> list[Missing]:
    """The agents that a synthesis has nothing of."""
    heard = {thought.started.agent for thought in _inputs(run)}
    missing: dict[str, Missing] = {}
    for stage in run.stages.values():
        agent = stage.spec.agent
        if stage.spec.name != SYNTHESIS and agent not in heard:
            missing[agent] = Missing(agent=agent, why=stage.why or "no final thought")
    return list(missing.values())


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
    turn.emit(StageFinished, run.id, run.last_seq, stage=stage.spec.name, round=1, outcome=outcome, why=why)


def _finish_synthesis(run: Run, stage: StageState, outcome: Outcome, why: str, turn: Turn) -> None:
    final = run.thoughts[stage.final_thought].final if stage.final_thought else None
    if outcome == "final" and final:
        turn.emit(SynthesisFinished, run.id, run.last_seq, thought=final.thought, confidence=final.confidence)
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
    finals = [(thought.final.confidence, thought.final.seq, thought) for thought in _inputs(run) if thought.final]
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
        if stage.ended:
            continue
        if stage.index == len(stage.spec.checkpoints):
            _finish(run, stage, "final", "", turn)
        else:
            outcome: Outcome = "abandoned" if stage.started else "skipped"
            turn.emit(StageFinished, run.id, run.last_seq, stage=stage.spec.name, round=1, outcome=outcome, why=why)
    seconds = _seconds(run, turn)
    if fatal is not None:
        error = f"stage '{fatal.spec.name}' failed: {fatal.why}"
        turn.emit(RunFailed, run.id, run.last_seq, error=error, usage=run.usage(), seconds=seconds)
    else:
        turn.emit(RunCancelled, run.id, run.last_seq, by=by, usage=run.usage(), seconds=seconds)


def _seconds(run: Run, turn: Turn) -> float:
    return round(max(0.0, turn.now - run.started.at), 3)


def _end(run: Run, turn: Turn, limits: Limits) -> None:
    finals = _inputs(run)
    seconds, usage = _seconds(run, turn), run.usage()
    if not finals:
        error = f"no agent finished a thought: {_whys(run)}"
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
        return str(run.thoughts[run.synthesis_finished.thought].text)
    needed = {name for stage in run.started.workflow.stages for name in stage.after}
    last = [s for s in run.stages.values() if s.spec.name not in needed and s.final_thought]
    texts = [(stage.spec.name, str(run.thoughts[stage.final_thought].text)) for stage in last if stage.final_thought]
    if not texts and (best := _best(run)):
        return str(best.text)
    return texts[0][1] if len(texts) == 1 else "\n\n".join(f"## {name}\n\n{text}" for name, text in texts)


def _degraded(run: Run) -> list[str]:
    reasons = [
        f"{stage.spec.agent} stopped at {stage.checkpoint:.1f} ({stage.why})"
        if stage.final_thought
        else f"{stage.spec.agent} is missing ({stage.why or stage.outcome})"
        for stage in run.stages.values()
        if stage.outcome != "final" and stage.spec.name != SYNTHESIS
    ]
    used = _inputs(run)
    if run.synthesis_finished:
        reasons.extend(run.synthesis_finished.degraded)
        used.append(run.thoughts[run.synthesis_finished.thought])
    cut = dict.fromkeys(t.started.agent for t in used if t.final and t.final.truncated)
    reasons.extend(f"the text of {agent} is truncated" for agent in cut)
    return reasons
