"""The ends: of a stage, which leaves a text or none, and of a run, whatever ends it.

Owns: what is said when a stage or a run ends. Must not: begin or assign anything (`engine.py` does).
"""

from __future__ import annotations

from felixhub.core.approval import awaiting
from felixhub.core.decision import Turn
from felixhub.core.events import (
    Outcome,
    RunCancelled,
    RunFailed,
    RunFinished,
    SectionReady,
    StageFinished,
    SynthesisFinished,
    Usage,
)
from felixhub.core.limits import Limits
from felixhub.core.material import best, inputs
from felixhub.core.result import degraded, result, whys
from felixhub.core.run import Run, StageState
from felixhub.core.section import Section
from felixhub.core.workflow import SYNTHESIS

# ---- a stage ---------------------------------------------------------------------------------------------------------


def finish(run: Run, stage: StageState, outcome: Outcome, why: str, turn: Turn) -> None:
    """End a stage in its present round. Its text, if there is a new one, is a new version of its section."""
    if stage.spec.name == SYNTHESIS:
        _finish_synthesis(run, stage, outcome, why, turn)
    section = run.sections.get(stage.target)
    has_text = stage.final_thought is not None and stage.spec.reviews is None
    # A stage that fails after a final text leaves that, unless there is a version already.
    if section is not None and has_text and (outcome == "final" or _has_no_version(section, stage)):
        assert stage.final_thought is not None
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


def _has_no_version(section: Section, stage: StageState) -> bool:
    return section.current is None and stage.spec.revises is None


def _finish_synthesis(run: Run, stage: StageState, outcome: Outcome, why: str, turn: Turn) -> None:
    """Say what the synthesis is: the one that was made, else the one before, else the best final thought."""
    degraded: tuple[str, ...] = ()
    thought = run.thoughts[stage.final_thought] if stage.final_thought else None
    if thought is not None and outcome != "final":
        degraded = (f"no new synthesis ({why}): this is the one before",)
    if thought is None:
        thought = best(run)
        by = thought.started.agent if thought else ""
        degraded = (f"no synthesis ({why}): this is the best final thought, by {by}",)
    if thought is None or thought.final is None:
        return
    turn.emit(
        SynthesisFinished,
        run.id,
        run.last_seq,
        thought=thought.id,
        confidence=thought.final.confidence,
        degraded=degraded,
    )


def is_whole(run: Run, stage: StageState) -> bool:
    """Whether all of its text is there; a synthesis after each thought must be made from all that there is now."""
    if stage.index < len(stage.spec.checkpoints) or stage.last_abandoned is not None:
        return False
    is_each = stage.spec.name == SYNTHESIS and run.synthesizes_each
    return not is_each or given_last(run, stage) == inputs(run)


def given_last(run: Run, stage: StageState) -> list[str]:
    """What a synthesis was last given, if that ended well or for good, and nobody wants it otherwise."""
    if stage.last_abandoned is not None:
        last: str | None = stage.last_abandoned.thought if stage.last_abandoned.retry_s is None else None
    elif stage.reopened is not None and stage.reopened.reason != "changed":
        last = None
    else:
        last = stage.final_thought
    return list(run.thoughts[last].started.context) if last else []


def _break_off(run: Run, stage: StageState, why: str, turn: Turn) -> None:
    """End a stage where it is; if all of its text is there, as final."""
    if is_whole(run, stage):
        finish(run, stage, "final", "", turn)
    elif stage.final_thought:
        finish(run, stage, "abandoned", why, turn)
    else:
        _end_stage(run, stage, why, turn)


def _end_stage(run: Run, stage: StageState, why: str, turn: Turn) -> None:
    outcome: Outcome = "abandoned" if stage.started else "skipped"
    turn.emit(StageFinished, run.id, run.last_seq, stage=stage.spec.name, round=stage.round, outcome=outcome, why=why)


# ---- a run -----------------------------------------------------------------------------------------------------------


def end(run: Run, turn: Turn, limits: Limits) -> None:
    """End a run in which nothing is left to do: with a result, or failed when nobody has said anything."""
    seconds, usage = _seconds(run, turn), run.usage()
    if not inputs(run):
        spent = f"the budget of {run.budget_spent.budget_tokens} tokens is spent, and " if run.budget_spent else ""
        error = f"{spent}no agent finished a thought: {whys(run)}"
        turn.emit(RunFailed, run.id, run.last_seq, error=error[:4_000], usage=usage, seconds=seconds)
        return
    text, cut = result(run), []
    if len(text.encode()) > limits.result_bytes_max:
        text = text.encode()[: limits.result_bytes_max].decode(errors="ignore")
        cut = [f"the result is cut at {limits.result_bytes_max} bytes; its stages hold the whole text"]
    turn.emit(
        RunFinished,
        run.id,
        run.last_seq,
        result=text,
        degraded=tuple(degraded(run) + cut),
        usage=usage,
        seconds=seconds,
    )


def close(run: Run, turn: Turn, limits: Limits) -> None:
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
    if not unfinished and not awaiting(run):  # To approve what there is costs nothing.
        end(run, turn, limits)


def wind_down(run: Run, turn: Turn) -> None:
    """Cancelled, or a stage failed that must not: stop what streams, then end every stage, then the run."""
    fatal = run.failed_stage
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


def _seconds(run: Run, turn: Turn) -> float:
    return round(max(0.0, turn.now - run.started.at), 3)
