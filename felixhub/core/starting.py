"""The start of a run: its workflow written out, its documents sorted, everything by value in one event.

Owns: whether a start is allowed, and what `run.started` says. Must not: search documents (the shell does, if asked).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from felixhub.core.decision import Answer, Decision
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import DocumentInfo, Passage, RunStarted, StagePassages, parse_event
from felixhub.core.expansion import expand
from felixhub.core.limits import Limits
from felixhub.core.memory import Memory
from felixhub.core.messages import Failed, Ok, Start
from felixhub.core.names import SELECTIONS
from felixhub.core.soundness import faults
from felixhub.core.workflow import Card, RunSettings, Workflow

EARLIER = "result of {run}.md"  # the name under which the result of an earlier run is given


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the shell found out before a start: passages for each stage, and the result of the run it continues."""

    passages: Mapping[str, tuple[Passage, ...]] = field(default_factory=dict)
    earlier: str | None = None


QUERIES_MAX = 100  # a search takes up to 0.2 s; with more different ones, every stage gets what the task asks for
UNPREPARED = Prepared()


@dataclass(frozen=True, slots=True)
class Search:
    """What must be searched: documents by name and text, and for each stage the words to look for."""

    documents: tuple[tuple[str, str], ...]
    queries: dict[str, str]


def start(memory: Memory, request: Start, now: float, prepared: Prepared) -> Decision:
    """Start a run. Raises ProtocolViolation with the field at fault."""
    turn = memory.turn(now)
    known = memory.runs.get(request.id)
    if known:
        turn.effect(Answer(repeat_start(known.started, request)))
        return turn.decision
    check(memory, request)
    workflow, cards, settings = _resolved(request)
    contents = _contents(request, prepared.earlier)
    whole = _whole(contents, memory.limits)
    infos = tuple(
        DocumentInfo(name=name, size=len(data), sha256=hashlib.sha256(data).hexdigest(), whole=name in whole)
        for name, data in contents
    )
    started = turn.emit(
        RunStarted,
        request.id,
        0,
        task=request.task,
        workflow=workflow,
        agents=cards,
        settings=settings,
        documents=infos,
        passages=tuple(StagePassages(stage=stage, passages=found) for stage, found in prepared.passages.items()),
        after=request.after,
        by=request.by,
    )
    try:  # Whatever is in the log must be readable for ever: what a start is made into is read once before.
        parse_event(started.encode())
    except ProtocolViolation as error:
        raise ProtocolViolation("bad_workflow", error.sentence, field="workflow") from None
    turn.decision.blobs.update({info.sha256: data for info, (_, data) in zip(infos, contents, strict=True)})
    turn.effect(Answer(Ok(id=request.id, data={"run": request.id})))
    return turn.decision


def check(memory: Memory, request: Start) -> None:
    """Raise ProtocolViolation if the run cannot be started."""
    limits = memory.limits
    if request.id in SELECTIONS:
        raise ProtocolViolation("bad_message", f"a run cannot be called '{request.id}': that selects runs", field="id")
    if sum(run.ended is None for run in memory.runs.values()) >= limits.open_runs_max:
        raise ProtocolViolation("too_many_runs", f"{limits.open_runs_max} runs are unfinished: wait, or cancel one")
    if len(request.documents) > limits.documents_max:
        raise ProtocolViolation("too_many", f"at most {limits.documents_max} documents", field="documents")
    titles = [document.name for document in request.documents]
    if len(set(titles)) < len(titles):
        raise ProtocolViolation("bad_message", "two documents have the same name", field="documents")
    names = [card.name for card in request.agents]
    if len(set(names)) < len(names):
        raise ProtocolViolation("bad_workflow", "two cards have the same name", field="agents")
    wrong = faults(request.workflow, {card.name: card for card in request.agents})
    if wrong:
        raise ProtocolViolation("bad_workflow", "; ".join(sentence for _, sentence in wrong), field="workflow")
    optional = [stage.name for stage in request.workflow.stages if stage.optional]
    for name in request.settings.include:
        if name not in optional:
            listed = ", ".join(optional) or "none"
            raise ProtocolViolation(
                "bad_workflow", f"'{name}' is no optional stage of this workflow: it has {listed}", field="settings"
            )


def to_search(request: Start, limits: Limits, earlier: str | None) -> Search | None:
    """What the shell must search before this start can be decided; None when every document fits into the prompts."""
    contents = _contents(request, earlier)
    whole = _whole(contents, limits)
    documents = tuple((name, data.decode()) for name, data in contents if name not in whole)
    if not documents:
        return None
    workflow, cards, _ = _resolved(request)
    about = {card.name: card.about for card in cards}
    queries = {
        stage.name: "\n".join((request.task, stage.section, stage.instruction, about.get(stage.agent, "")))
        for stage in workflow.all_stages()
    }
    if len(set(queries.values())) > QUERIES_MAX:
        queries = dict.fromkeys(queries, request.task)
    return Search(documents, queries)


def repeat_start(started: RunStarted, request: Start) -> Ok | Failed:
    """The same reply to the same start, an error to another one under its id."""
    workflow, cards, settings = _resolved(request)
    same = (started.task, started.workflow, started.agents, started.settings, started.after)
    documents = [(info.name, info.sha256) for info in started.documents]
    if started.after is not None:
        documents = [(name, sha256) for name, sha256 in documents if name != EARLIER.format(run=started.after)]
    asked = [(name, hashlib.sha256(data).hexdigest()) for name, data in _contents(request, None)]
    if (request.task, workflow, cards, settings, request.after) == same and documents == asked:
        return Ok(id=request.id, data={"run": started.run})
    return id_reused(request.id)


def id_reused(name: str) -> Failed:
    return Failed(
        id=name,
        code="id_reused",
        sentence=f"the id '{name}' belongs to an earlier, different command: choose a new one",
        field="id",
    )


def _resolved(request: Start) -> tuple[Workflow, tuple[Card, ...], RunSettings]:
    """Lists and loops written out; the optional stages that are asked for under their new names."""
    workflow, cards, origins = expand(request.workflow, request.agents)
    wanted = tuple(name for name, origin in origins.items() if origin in request.settings.include)
    return workflow, cards, request.settings.model_copy(update={"include": wanted})


def _contents(request: Start, earlier: str | None) -> list[tuple[str, bytes]]:
    contents = [(document.name, document.text.encode()) for document in request.documents]
    if earlier is not None:
        contents.append((EARLIER.format(run=request.after), earlier.encode()))
    return contents


def _whole(contents: list[tuple[str, bytes]], limits: Limits) -> set[str]:
    """The documents that go into every prompt: the smallest ones, as many as fit."""
    room, whole = limits.documents_whole_bytes_max, set()
    for name, data in sorted(contents, key=lambda content: len(content[1])):
        room -= len(data)
        if room < 0:
            break
        whole.add(name)
    return whole
