"""A run's document: what it contains and in which order, and the same as Markdown. Pure: a run in, text out.

Owns: the parts of the document and what is said about them. Must not: change what the agents wrote, but for the level
of a section's headings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from felixhub.core.events import RunCancelled, RunFailed, RunFinished
from felixhub.core.run import Run
from felixhub.core.section import Section
from felixhub.core.workflow import SYNTHESIS
from felixhub.documents.appendix import appendix_of
from felixhub.documents.tokens import WORK_MAX, Node, Reader, as_written, below, cut, ending, escaped, visible

TITLE_CHARACTERS_MAX = 200
CONTENTS_MIN = 3  # fewer sections need no contents
CHARACTERS_MAX = 8 * 1024 * 1024  # what is laid out; the Markdown has all
NODES_MAX = 300_000  # 4 MiB of ordinary prose have 90,000


@dataclass(frozen=True, slots=True)
class Part:
    """A text in Markdown under a title, with what is to be said of it. Without a title it is the whole document."""

    text: str
    title: str = ""
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """`status` says what an unfinished run is, `about` what the document was made from; both are Markdown, as are the
    `degraded` reasons and the `appendix`. `started_at` is in Unix seconds.
    """

    title: str
    started_at: float
    about: str
    parts: tuple[Part, ...]
    status: str = ""
    degraded: tuple[str, ...] = ()
    appendix: str = ""

    @property
    def date(self) -> str:
        """The day in UTC, for people."""
        day = datetime.fromtimestamp(self.started_at, UTC)
        return f"{day.day} {day:%B %Y}"

    @property
    def has_own_title(self) -> bool:
        """The result of a finished run that begins with a title of its own keeps it."""
        return not self.status and len(self.parts) == 1 and _OWN_TITLE.match(self.parts[0].text) is not None


_OWN_TITLE = re.compile(r"# .*\S")


def document_of(run: Run, *, appendix: bool = False) -> Document:
    """The document of a run. An unfinished run gives what is written so far, and says so."""
    started = run.started
    documents = ", ".join(escaped(document.name) for document in started.documents)
    about = f"run {run.id} · workflow {started.workflow.name} · {len(run.cards)} agents"
    return Document(
        title=title_of(started.task),
        started_at=started.at,
        about=f"{about}{f' · from {documents}' if documents else ''}",
        parts=_parts(run),
        status=_status(run),
        degraded=_degraded(run),
        appendix=appendix_of(run) if appendix else "",
    )


def title_of(task: str) -> str:
    """The task on one line, within a limit."""
    line = " ".join(task.split())
    return line if len(line) <= TITLE_CHARACTERS_MAX else line[: TITLE_CHARACTERS_MAX - 1].rstrip() + "…"


def _status(run: Run) -> str:
    match run.ended:
        case RunFinished():
            return ""
        case RunFailed() as failed:
            return f"The run failed: {escaped(failed.error)}"
        case RunCancelled() as cancelled:
            return f"The run was cancelled by {escaped(cancelled.by)}. What was final by then:"
    return f"The run is {run.status}. What is final so far:"


def _degraded(run: Run) -> tuple[str, ...]:
    """Why it is less than was asked for, as Markdown. A finished run says the same of sections that were given up."""
    said = list(run.ended.degraded) if isinstance(run.ended, RunFinished) else []
    given_up = [name for name in run.sections if name != SYNTHESIS and run.is_given_up(name)]
    said += [
        f"{run.sections[name].title} is left out: given up by {run.stages[name].cancelled_by}" for name in given_up
    ]
    return tuple(map(escaped, dict.fromkeys(said)))


# ---- the body --------------------------------------------------------------------------------------------------------


def _parts(run: Run) -> tuple[Part, ...]:
    """The answer of the synthesis, else the sections, else the result, else what each agent has finished."""
    answer = run.sections.get(SYNTHESIS)
    if answer is not None and answer.current is not None:
        return (Part(run.text_of(answer.current.source), marks=_marks(run, answer)),)
    wanted = [section for section in run.sections.values() if section.name != SYNTHESIS and _is_wanted(run, section)]
    if any(section.current for section in wanted):
        parts = tuple(_part(run, section) for section in wanted)
        return parts if len(parts) > 1 else (Part(parts[0].text, marks=parts[0].marks),)
    if isinstance(run.ended, RunFinished):
        return (Part(run.ended.result),)
    finals = [(agent, run.latest_final(agent)) for agent in run.cards]
    return tuple(Part(str(thought.text), agent) for agent, thought in finals if thought is not None)


def _is_wanted(run: Run, section: Section) -> bool:
    """An optional section that was not asked for is no part of the document, nor is one that was given up."""
    stage = run.stages[section.name]
    if run.is_given_up(section.name):
        return False
    return section.current is not None or not (stage.outcome == "skipped" and stage.spec.optional)


def _part(run: Run, section: Section) -> Part:
    text = run.text_of(section.current.source) if section.current else ""
    return Part(text, section.title, _marks(run, section))


def _marks(run: Run, section: Section) -> tuple[str, ...]:
    """What a reader must know about a section, in Markdown."""
    current, stage = section.current, run.stages[section.name]
    if current is None:
        if stage.ended:
            return (f"This section is missing: {escaped(stage.why) or stage.outcome}.",)
        return ("This section is not written yet.",)
    marks = []
    if not current.whole:
        marks.append("This text is truncated: the model stopped before its end.")
    if section.stale:
        marks.append("A text that this was made from has changed since.")
    if current.by_person:
        marks.append(f"Version {current.number}, written by {escaped(current.by)}.")
    if stage.ended and stage.outcome != "final" and not current.by_person:
        marks.append(f"This is not the newest: {escaped(stage.why) or stage.outcome}.")
    if run.started.settings.review and not section.is_approved:
        marks.append("Nobody has approved this.")
    return tuple(marks)


# ---- as Markdown -----------------------------------------------------------------------------------------------------


def markdown(document: Document) -> str:
    """The document as Markdown. The text of a single part comes as it is, to the byte."""
    reader = Reader()
    blocks: list[str] = []
    if not document.has_own_title:
        blocks.append(f"# {escaped(document.title)}")
    if document.status:
        blocks.append(f"> {document.status}")
    titles = [part.title for part in document.parts if part.title]
    if len(titles) >= CONTENTS_MIN:
        blocks.append("\n".join(f"{number}. {escaped(title)}" for number, title in enumerate(titles, 1)))
    for part in document.parts:
        blocks.extend(_blocks(part, reader))
    if document.degraded:
        blocks.append(
            "\n".join(["> This result is degraded:", ">", *(f"> - {reason}" for reason in document.degraded)])
        )
    blocks += ["---", f"*{document.about}*"]
    if document.appendix:
        blocks.append(document.appendix)
    return "\n\n".join(blocks) + "\n"


def _blocks(part: Part, reader: Reader) -> list[str]:
    marks = "\n>\n".join(f"> {mark}" for mark in part.marks)
    text = below(_without_title(part), 3, reader) if part.title else part.text
    blocks = [f"## {escaped(part.title)}", marks, text] if part.title else [text, marks]
    if closing := ending(text, reader):
        blocks.insert(blocks.index(text) + 1, closing)
    return [block for block in blocks if block]


def _without_title(part: Part) -> str:
    """A section that begins with its own title has it once."""
    first, end, rest = part.text.lstrip().partition("\n")
    words = first.strip().strip("#*").strip().rstrip(":")
    is_heading = first.startswith(("#", "**"))
    return rest.lstrip("\r\n") if end and is_heading and words.casefold() == part.title.casefold() else part.text


# ---- as nodes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """A document to lay out. `task` is set where the title is another. Headings have anchors, and levels from 2 on."""

    title: str
    task: str
    date: str
    started_at: float
    about: str
    nodes: tuple[Node, ...]

    @property
    def headings(self) -> list[Node]:
        return [node for node in self.nodes if node.kind == "heading"]


def page_of(
    document: Document,
    *,
    characters_max: int = CHARACTERS_MAX,
    nodes_max: int = NODES_MAX,
    work_max: int = WORK_MAX,
) -> Page:
    """The document as nodes. Each text is read on its own, so that nothing in one reaches into the next."""
    share = work_max // max(1, len(document.parts))
    nodes: list[Node] = []
    title = visible(document.title)
    if document.status:
        nodes.append(_note([document.status]))
    characters, room = characters_max, nodes_max
    for part in document.parts:
        text = _without_title(part) if part.title else part.text
        shown = text[:characters]
        characters -= len(shown)
        body = Reader(share).read(shown)
        marks = list(part.marks)
        if body is None:
            body = as_written(shown)
            marks.append("This text is too long or too entangled to be laid out: it is shown as it was written.")
        room = cut(body, room)
        if len(shown) < len(text) or room < 0:
            room = max(room, 0)
            marks.append("This text is cut, it is too long to be laid out: the Markdown export has all of it.")
        if document.has_own_title and body and body[0].kind == "heading":
            title = body.pop(0).words() or title
        _move(body, 3 if part.title else 2)
        if part.title:
            nodes.append(Node("heading", [Node("text", text=visible(part.title))], number=2))
        note = [_note(marks)] if marks else []
        nodes += [*note, *body] if part.title else [*body, *note]
    if document.degraded:
        reasons = "\n".join(f"- {reason}" for reason in document.degraded)
        nodes.append(_note([f"This result is degraded:\n\n{reasons}"]))
    if document.appendix:
        nodes += Reader().read(document.appendix) or as_written(document.appendix)
    for number, node in enumerate((node for node in nodes if node.kind == "heading"), 1):
        node.text = f"part-{number}"
    about = "".join(node.words() for node in Reader().read(document.about) or ())
    task = visible(document.title)
    is_other = re.findall(r"\w+", task.casefold()) != re.findall(r"\w+", title.casefold())
    return Page(title, task if is_other else "", document.date, document.started_at, about, tuple(nodes))


def _note(texts: list[str]) -> Node:
    """What we say, not the agents. It is short, and never goes without."""
    text = "\n\n".join(texts)
    return Node("note", Reader().read(text) or as_written(text))


def _move(nodes: list[Node], level: int) -> None:
    """As `below`, for nodes."""
    headings = [node for node in nodes if node.kind == "heading"]
    deeper = max(0, level - min((node.number for node in headings), default=level))
    for node in headings:
        node.number = min(6, node.number + deeper)
