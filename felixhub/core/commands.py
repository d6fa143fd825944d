"""What clients command a run. Each is done once; the same id again gets the same reply.

Owns: whether a command is allowed, and the event that records it. Must not: carry it out (`engine.py` does), or know
what a change of a text means for the texts made from it (`revising.py` does).
"""

from __future__ import annotations

import hashlib
from typing import Any

from felixhub.core import revising
from felixhub.core.decision import Answer, Decision
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import CommandAccepted, RunPaused, RunResumed
from felixhub.core.memory import Memory
from felixhub.core.messages import (
    Approve,
    CancelRun,
    Edit,
    Failed,
    Ok,
    Pause,
    Regenerate,
    Reopen,
    Resume,
    RunCommand,
    Steer,
)
from felixhub.core.run import Done, Run
from felixhub.core.starting import id_reused
from felixhub.core.writing import abandon


def command(memory: Memory, request: RunCommand, now: float) -> Decision:
    """Carry a command out once. Raises ProtocolViolation when it is not possible."""
    turn = memory.turn(now)
    for run in memory.runs.values():
        if done := run.commands.get(request.id):
            turn.effect(Answer(repeat_command(request, done)))
            return turn.decision
    run = _commandable(memory, request)
    by = request.by or "someone"
    plan: revising.Plan | None = None
    match request:
        case Steer() | Regenerate():
            plan = revising.plan_revision(run, request)
        case Edit():
            plan = revising.plan_edit(run, request, memory.limits)
        case Approve():
            plan = revising.plan_approval(run, request)
        case Reopen():
            plan = revising.plan_reopening(run, request)
        case CancelRun():
            revising.check_cancel(run, request)
    reply = {"run": run.id} | (plan.reply if plan else {})
    accept = {"id": request.id, "name": request.type, "args": command_args(request), "by": request.by, "reply": reply}
    turn.emit(CommandAccepted, run.id, run.last_seq, **accept)
    match request:
        case Pause():
            turn.emit(RunPaused, run.id, run.last_seq, by=by)
        case Resume():
            turn.emit(RunResumed, run.id, run.last_seq, by=by)
    if plan:
        plan.emit(run, turn, by)
    turn.effect(Answer(Ok(id=request.id, data=reply)))
    return turn.decision


def _commandable(memory: Memory, request: RunCommand) -> Run:
    run = memory.runs.get(request.run)
    if run is None:
        raise ProtocolViolation(
            "unknown_run", f"there is no unfinished run '{request.run}': `felixhub ps` lists them", field="run"
        )
    if run.ended:
        raise ProtocolViolation("run_ended", f"run '{run.id}' has ended already ({run.status})", field="run")
    if (run.is_over_budget or run.budget_spent) and isinstance(request, Steer | Regenerate):
        budget = run.started.settings.budget_tokens
        raise ProtocolViolation("budget_spent", f"the budget of {budget} tokens is spent: nothing more can be written")
    is_closing = run.budget_spent is not None and any(not stage.ended for stage in run.stages.values())
    is_ending = run.cancelled_by is not None or is_closing or run.failed_stage is not None
    if is_ending and not isinstance(request, CancelRun | Pause | Resume):
        raise ProtocolViolation("run_ended", f"run '{run.id}' is ending ({run.status})", field="run")
    match request:
        case Pause() if run.paused:
            raise ProtocolViolation("already_paused", f"run '{run.id}' is paused already", field="run")
        case Resume() if not run.paused:
            raise ProtocolViolation("not_paused", f"run '{run.id}' is not paused", field="run")
    return run


def pause_unfinished(memory: Memory, now: float, *, by: str) -> Decision:
    """After a start that must not go on by itself: pause every running run; nobody streams for it any more."""
    turn = memory.turn(now)
    for run in memory.runs.values():
        if run.ended or run.paused or run.cancelled_by is not None:
            continue
        turn.emit(RunPaused, run.id, run.last_seq, by=by)
        for thought in run.open_thoughts():
            abandon(run, thought, "paused", f"paused by {by}", turn)
    return turn.decision


def command_args(request: RunCommand) -> dict[str, Any]:
    """What a command asks for, beside its id and who asked. An edit's text is in its own event; here is its hash."""
    args = request.model_dump(mode="json", exclude={"id", "by", "type"}, exclude_none=True)
    if isinstance(request, Edit):
        args["text"] = hashlib.sha256(request.text.encode()).hexdigest()
    return args


def repeat_command(request: RunCommand, done: Done) -> Ok | Failed:
    """The same reply to the same command, an error to another one under its id."""
    if (done.name, done.args) == (request.type, command_args(request)):
        return Ok(id=request.id, data=done.reply)
    return id_reused(request.id)
