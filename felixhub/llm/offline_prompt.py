"""The offline model's reading of a prompt: who it is asked to be, what the task is, what there is to read.

Owns: the headings that the worker writes, the detection of a role. Must not: rank or write anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal[
    "research",
    "analysis",
    "critic",
    "synthesizer",
    "outline",
    "review",
    "writer",
    "section",
    "brief",
    "architecture",
    "implementation",
    "tests",
    "documentation",
    "answer",
]

TASK = "task"
DOCUMENTS = "documents"
THOUGHTS = "thoughts of the others"
EARLIER = "your earlier thought"
SO_FAR = "the text so far"
FEEDBACK = "feedback"
WANTED = "what to write"
_SECTIONS = (TASK, DOCUMENTS, THOUGHTS, EARLIER, SO_FAR, FEEDBACK, WANTED)  # in the order in which they come

_HEADING = re.compile(r"#\s+(.+?)\s*#*\s*")
_NAME = re.compile(r"##\s+(.+?)\s*#*\s*")
_TITLE = re.compile(r"\"([^\"\n]{2,80})\"|“([^”\n]{2,80})”")
_ADDED = re.compile(
    r"You are at t=|Use the thoughts of|Carry your earlier|Your earlier thought is|Revise the text so far"
    r"|Follow the feedback|The text to review is"
    r"|Cut off before|Missing:|Your answer is only|\{\"approved|Approve when|Your previous answer"
)
_PIECE = re.compile(r"(?:(\d{1,4})\. )?(What is wrong|What instead|Constraints): (.*)")
_FIELDS = {"What is wrong": "wrong", "What instead": "instead", "Constraints": "constraints"}
_PROGRESS = re.compile(r"\bt\s*=\s*([01](?:\.\d+)?)")
_ROLE_WORDS: tuple[tuple[Role, re.Pattern[str]], ...] = (
    ("synthesizer", re.compile(r"synthesi[sz]|arbiter")),
    ("critic", re.compile(r"\bcriti|sceptic|skeptic|devil's advocate")),
    ("analysis", re.compile(r"\banaly")),
    ("research", re.compile(r"\bresearch|\bexplor|\binvestigat|\bdrone")),
    ("outline", re.compile(r"\boutline|\bplanner|\barchitect")),
    (
        "writer",
        re.compile(r"\bwriter|\bwrite (one|a|the) section|\beditor|\bcoder|\bdocument(er|alist)|\brefine|\btester"),
    ),
)


@dataclass(frozen=True, slots=True)
class Source:
    """A document, or another agent's thought."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of feedback."""

    wrong: str = ""
    instead: str = ""
    constraints: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One prompt, taken apart. `progress` is t on the helix, in [0, 1]; `agent` is empty when nobody is named."""

    role: Role
    task: str
    documents: tuple[Source, ...]
    thoughts: tuple[Source, ...]
    earlier: str
    wanted: str
    progress: float
    agent: str = ""
    so_far: str = ""
    feedback: tuple[Piece, ...] = ()

    @property
    def instruction(self) -> str:
        """What is wanted, without the sentences that the worker adds to it."""
        paragraphs = self.wanted.split("\n\n")
        return "\n\n".join(paragraph for paragraph in paragraphs if not _ADDED.match(paragraph))

    @property
    def title(self) -> str:
        """What the text is called that is wanted: the first name in quotation marks."""
        found = _TITLE.search(self.instruction)
        return found[1] or found[2] if found else ""


def read_prompt(messages: Sequence[Mapping[str, str]]) -> Assignment:
    """Take the messages of a request apart."""
    system = "\n".join(message["content"] for message in messages if message["role"] in ("system", "developer"))
    user = "\n\n".join(message["content"] for message in messages if message["role"] == "user")
    sections = _sections(user)
    wanted = sections[WANTED]
    task = sections[TASK].strip()
    documents = _sources(sections[DOCUMENTS], "the document")
    if not task:  # Not a prompt of our worker's: a short one is a task, a long one is something to read.
        task, _, rest = user.strip().partition("\n")
        if len(rest.split()) >= 40:
            documents = (*documents, Source("the prompt", rest))
        else:
            task = user.strip()
    found = _PROGRESS.search(wanted) or _PROGRESS.search(system) or _PROGRESS.search(user)
    so_far = sections[SO_FAR].strip()
    return Assignment(
        role=_role(system, wanted or user, revises=bool(so_far)),
        task=task,
        documents=documents,
        thoughts=_sources(sections[THOUGHTS], "another agent"),
        earlier=sections[EARLIER].strip(),
        wanted=wanted.strip(),
        progress=min(1.0, float(found[1])) if found else 0.0,
        agent=_agent(system),
        so_far=so_far,
        feedback=_pieces(sections[FEEDBACK]),
    )


def _sections(text: str) -> dict[str, str]:
    """The text under each known heading. One that comes out of order belongs to a document."""
    lines: dict[str, list[str]] = {name: [] for name in _SECTIONS}
    place = -1
    for line in text.splitlines():
        heading = _HEADING.fullmatch(line)
        name = heading[1].lower().rstrip(":") if heading else ""
        if name in _SECTIONS and _SECTIONS.index(name) > place:
            place = _SECTIONS.index(name)
        elif place >= 0:
            lines[_SECTIONS[place]].append(line)
    return {name: "\n".join(found) for name, found in lines.items()}


def _sources(text: str, unnamed: str) -> tuple[Source, ...]:
    sources: list[tuple[str, list[str]]] = [(unnamed, [])]
    for line in text.splitlines():
        heading = _NAME.fullmatch(line)
        if heading:
            sources.append((heading[1], []))
        else:
            sources[-1][1].append(line)
    return tuple(Source(name, "\n".join(lines)) for name, lines in sources if "".join(lines).strip())


def _pieces(text: str) -> tuple[Piece, ...]:
    """The numbered pieces of the feedback; a line without a field goes on with the one before it."""
    pieces: list[dict[str, list[str]]] = []
    lines: list[str] = []
    for line in text.strip().splitlines():
        found = _PIECE.fullmatch(line)
        if found and (found[1] == str(len(pieces) + 1) or (not found[1] and pieces)):
            if found[1]:
                pieces.append({})
            lines = pieces[-1].setdefault(_FIELDS[found[2]], [])
            lines.append(found[3])
        else:
            lines.append(line)
    return tuple(Piece(**{name: "\n".join(said).strip() for name, said in piece.items()}) for piece in pieces)


_BY_AGENT: dict[str, Role] = {  # the agents of the workflows that ship, numbered or with a word before or after
    "writer": "section",
    "planner": "brief",
    "architect": "architecture",
    "coder": "implementation",
    "refiner": "implementation",
    "tester": "tests",
    "documenter": "documentation",
    "drone": "answer",
    "arbiter": "synthesizer",
}
_BY_NAME: dict[str, Role] = {
    "research": "research",
    "analysis": "analysis",
    "critic": "critic",
    "synthesis": "synthesizer",
}
_NAMED_ROLE = re.compile(r"\bin the role of (research|analysis|critic|synthesis)\b")  # as our worker says it
_AGENT = re.compile(r"^You are ([a-z0-9][a-z0-9_-]{0,63}), in the role of ", re.MULTILINE)


def _agent(system: str) -> str:
    found = _AGENT.findall(system)
    return found[-1] if found else ""  # The card comes first, our worker's line last.


def _role(system: str, wanted: str, *, revises: bool) -> Role:
    both = (wanted if revises else f"{system}\n{wanted}").lower()
    if "json" in both and ("approved" in both or "issues" in both):
        return "review"
    if re.search(r"\boutline\b", wanted.lower()):
        return "outline"
    for part in re.split(r"[-_]", _agent(system)):
        if part in _BY_AGENT:
            return _BY_AGENT[part]
    named = _NAMED_ROLE.search(system)
    if named:
        return _BY_NAME[named[1]]
    # The card comes first: what is wanted may name a phase of the helix, which is not who is asked.
    for text in (system.lower(), wanted.lower()):
        found = [(match.start(), role) for role, words in _ROLE_WORDS if (match := words.search(text))]
        if found:
            return min(found)[1]
    return "writer"
