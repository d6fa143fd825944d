"""What the hub tells others of a run: the assignment of a thought, and the state in a run's beat.

Owns: putting these together. Must not: change or decide anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from felixhub.core import helix
from felixhub.core.approval import awaiting
from felixhub.core.engine import Waiting
from felixhub.core.events import Passage, ThoughtStarted
from felixhub.core.memory import Memory
from felixhub.core.messages import AgentState, Assign, BusyAgent, GivenThought, RunBeat, Wanted
from felixhub.core.presence import Presence
from felixhub.core.run import Run
from felixhub.core.thought import Thought
from felixhub.core.workflow import SYNTHESIS, Stage

STALLED_S = 20.0  # shown as stalled after this much silence; only the worker's own watchdog ends a thought


def assignment(memory: Memory, thought: str) -> tuple[Assign, Run, tuple[Passage, ...]] | None:
    """The assignment of an open thought without its documents, its run, and the passages that belong in it."""
    held = memory.open.get(thought)
    if held is None:
        return None
    run, started = memory.run_of[thought], held.started
    stage = run.stages[started.stage].spec
    message = Assign(
        run=run.id,
        thought=thought,
        agent=started.agent,
        attempt=started.attempt,
        stage=started.stage,
        checkpoint=started.checkpoint,
        card=run.cards[started.agent],
        task=run.started.task,
        instruction=stage.instruction,
        endpoint=started.endpoint,
        model=started.model,
        temperature=started.temperature,
        batch_interval_s=run.started.settings.batch_interval_s,
        streaming=run.started.settings.streaming,
        own=_own(run, stage, started),
        context=tuple(_given(run, source) for source in started.context),
        missing=run.synthesis_started.missing if run.synthesis_started and stage.name == SYNTHESIS else (),
        revises=run.text_of(started.revises) if started.revises else "",
        feedback=tuple(feedback for _, feedback in run.stages[stage.name].feedback),
        repair=_repair(run, stage),
        review=stage.reviews is not None,
        synthesis=stage.name == SYNTHESIS,
    )
    return message, run, started.passages


def _own(run: Run, stage: Stage, started: ThoughtStarted) -> str:
    """The text of the agent's thought at the checkpoint before this one."""
    if len(stage.checkpoints) == 1:
        return ""
    finals = [
        thought
        for thought in run.thoughts.values()
        if thought.final and thought.started.stage == stage.name and thought.started.checkpoint < started.checkpoint
    ]
    return str(finals[-1].text) if finals else ""


def _repair(run: Run, stage: Stage) -> str:
    """Why the review before this one could not be read."""
    verdict = run.stages[stage.name].verdict
    return verdict.fault if verdict is not None else ""


def run_beat(run: Run, presence: Presence, waiting: Sequence[Waiting], now: float) -> RunBeat:
    """The state of a run for its beat: who is wanted, and what each busy agent does."""
    busy = [
        BusyAgent(
            agent=thought.started.agent,
            thought=thought.id,
            progress=helix.progress(thought.started.checkpoint, thought.tokens),
            state=_agent_state(thought, now),
            silence_s=round(max(0.0, now - (thought.last_token_at or thought.started.at)), 1),
        )
        for thought in run.open_thoughts()
    ]
    queued = [
        BusyAgent(
            agent=one.agent,
            state="waiting" if one.why == "no_worker" else one.why,
            silence_s=0.0,
            place=one.place,
        )
        for one in waiting
    ]
    return RunBeat(
        run=run.id,
        seq=run.last_seq,
        status=run.status,
        wanted=_wanted(run, presence, now),
        agents=(*busy, *queued),
        awaiting=() if run.ended else tuple(awaiting(run)),
        tokens=run.tokens_spent(),
    )


def _wanted(run: Run, presence: Presence, now: float) -> tuple[Wanted, ...]:
    """Every agent of an unfinished run without a worker, needed now or later: starting one takes time."""
    if run.ended or run.paused or run.cancelled_by is not None:
        return ()
    agents = dict.fromkeys(stage.spec.agent for stage in run.stages.values() if not stage.ended)
    return tuple(
        Wanted(
            agent=name,
            program=run.cards[name].program,
            endpoint=run.cards[name].endpoint or run.started.settings.endpoint,
        )
        for name in agents
        if not presence.may_come(name, now)
    )


def _given(run: Run, source: str) -> GivenThought:
    thought = run.thoughts.get(source)
    if thought is None:  # A person wrote it.
        return GivenThought(thought=source, agent=run.author_of(source), confidence=1.0, text=run.text_of(source))
    final = thought.final
    assert final is not None, "only final thoughts are given"
    return GivenThought(
        thought=thought.id,
        agent=thought.started.agent,
        confidence=final.confidence,
        truncated=final.truncated,
        text=str(thought.text),
    )


def _agent_state(thought: Thought, now: float) -> AgentState:
    if thought.cancelling:
        return "cancelling"
    if now - (thought.last_token_at or thought.started.at) >= STALLED_S:
        return "stalled"
    return "thinking" if thought.last_token_at is None else "streaming"
