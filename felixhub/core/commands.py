"""What clients command: start, cancel, pause and resume. Each is done once; the same id again gets the same reply.

Owns: whether a command is allowed, and the events that record it. Must not: carry it out (`engine.py` does).
"""

from __future__ import annotations

import hashlib
from typing import Any

from felixhub.core.decision import Answer, Decision
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import CommandAccepted, DocumentInfo, RunPaused, RunResumed, RunStarted
from felixhub.core.memory import Memory
from felixhub.core.messages import CancelRun, Failed, Ok, Pause, Resume, RunCommand, Start
from felixhub.core.run import Done, Run
from felixhub.core.workflow import faults
from felixhub.core.writing import abandon


def start(memory: Memory, request: Start, now: float) -> Decision:
    """Start a run. Raises ProtocolViolation with the field at fault."""
    turn = memory.turn(now)
    documents = [(d, d.text.encode()) for d in request.documents]
    infos = tuple(
        DocumentInfo(name=d.name, size=len(data), sha256=hashlib.sha256(data).hexdigest()) for d, data in documents
    )
    known = memory.runs.get(request.id)
    if known:
        turn.effect(Answer(repeat_start(known.started, request, infos)))
        return turn.decision
    if sum(run.ended is None for run in memory.runs.values()) >= memory.limits.open_runs_max:
        raise ProtocolViolation(
            "too_many_runs", f"{memory.limits.open_runs_max} runs are unfinished: wait, or cancel one"
        )
    if len(documents) > memory.limits.documents_max:
        raise ProtocolViolation("too_many", f"at most {memory.limits.documents_max} documents", field="documents")
    names = [card.name for card in request.agents]
    if len(set(names)) < len(names):
        raise ProtocolViolation("bad_workflow", "two cards have the same name", field="agents")
    wrong = faults(request.workflow, {card.name: card for card in request.agents})
    if wrong:
        raise ProtocolViolation("bad_workflow", "; ".join(sentence for _, sentence in wrong), field="workflow")
    turn.emit(
        RunStarted,
        request.id,
        0,
        task=request.task,
        workflow=request.workflow,
        agents=request.agents,
        settings=request.settings,
        documents=infos,
        after=request.after,
        by=request.by,
    )
    turn.decision.blobs.update({info.sha256: data for info, (_, data) in zip(infos, documents, strict=True)})
    turn.effect(Answer(Ok(id=request.id, data={"run": request.id})))
    return turn.decision


def command(memory: Memory, request: RunCommand, now: float) -> Decision:
    """Cancel, pause or resume. The same id again gets the same reply and does nothing."""
    turn = memory.turn(now)
    name, args = request.type, command_args(request)
    for run in memory.runs.values():
        if done := run.commands.get(request.id):
            turn.effect(Answer(repeat_command(request, done)))
            return turn.decision
    run = _commandable(memory, request)
    reply = {"run": run.id}
    accept = {"id": request.id, "name": name, "args": args, "by": request.by, "reply": reply}
    turn.emit(CommandAccepted, run.id, run.last_seq, **accept)
    match request:
        case Pause():
            turn.emit(RunPaused, run.id, run.last_seq, by=request.by or "someone")
        case Resume():
            turn.emit(RunResumed, run.id, run.last_seq, by=request.by or "someone")
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
    match request:
        case Pause() if run.paused:
            raise ProtocolViolation("already_paused", f"run '{run.id}' is paused already", field="run")
        case Resume() if not run.paused:
            raise ProtocolViolation("not_paused", f"run '{run.id}' is not paused", field="run")
        case CancelRun(thought=str() as name):
            thought = run.thoughts.get(name)
            if thought is None or not thought.is_open:
                raise ProtocolViolation("thought_ended", f"'{name}' is no open thought of this run", field="thought")
        case CancelRun(agent=str() as agent) if agent not in run.cards:
            raise ProtocolViolation(
                "unknown_agent",
                f"run '{run.id}' has no agent '{agent}': it has {', '.join(run.cards)}",
                field="agent",
            )
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
    """What a command asks for, beside its id and who asked."""
    return request.model_dump(mode="json", exclude={"id", "by", "type"}, exclude_none=True)


def repeat_command(request: RunCommand, done: Done) -> Ok | Failed:
    """The same reply to the same command, an error to another one under its id."""
    if (done.name, done.args) == (request.type, command_args(request)):
        return Ok(id=request.id, data=done.reply)
    return _id_reused(request.id)


def repeat_start(started: RunStarted, request: Start, documents: tuple[DocumentInfo, ...]) -> Ok | Failed:
    same = (started.task, started.workflow, started.agents, started.settings, started.documents, started.after)
    if same == (request.task, request.workflow, request.agents, request.settings, documents, request.after):
        return Ok(id=request.id, data={"run": started.run})
    return _id_reused(request.id)


def _id_reused(name: str) -> Failed:
    return Failed(
        id=name,
        code="id_reused",
        sentence=f"the id '{name}' belongs to an earlier, different command: choose a new one",
        field="id",
    )
