"""A review: what a reviewing agent must answer, and the strict reading of it.

    {"approved": false, "issues": [{"what": "…", "where": "…", "instead": "…"}]}

The object may stand in a fenced block, an issue may be a plain string; nothing may be missing or of another type. An
issue that says that there is none is no issue. What cannot be read is never an approval.
Owns: the form and its reading. Must not: know stages or rounds.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

ISSUES_MAX = 100
WORDS_MAX = 4_000

FORM = (
    '{"approved": true or false, "issues": [{"what": "what is wrong", "where": "in which place", "instead": "repair"}]}'
)

_NO_ISSUE = re.compile(
    r"\W*(?:(?:there (?:are|is)|i (?:found|see|have)|we found) )?"
    r"(?:no(?: (?:other|further|more|new|major|minor|significant|serious|critical|obvious|real|remaining)){0,2}"
    r" (?:issues?|problems?|defects?|errors?|concerns?|changes?)|none|nothing|n/?a|not applicable)"
    r"(?: (?:(?:was|were|is|are) )?"
    r"(?:found|identified|detected|needed|required|noted|seen|wrong|to (?:report|add|change|fix)))*\W*",
    re.IGNORECASE,
)


class Issue(BaseModel):
    """One thing that is wrong: what, where, and what instead."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    what: str = Field(min_length=1, max_length=WORDS_MAX)
    where: str = Field(default="", max_length=WORDS_MAX)
    instead: str = Field(default="", max_length=WORDS_MAX)


class Verdict(BaseModel):
    """What a review says. `fault` is set when it could not be read; then it approves nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    approved: bool = False
    issues: tuple[Issue, ...] = ()
    fault: str = ""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    approved: bool
    issues: list[Issue | Annotated[str, Field(min_length=1, max_length=WORDS_MAX)]] = Field(max_length=ISSUES_MAX)


def read_review(text: str) -> Verdict:
    """The verdict in a reviewer's whole text. Never raises: a fault is part of the verdict."""
    fenced = _fenced(text)
    candidate = fenced[0] if len(fenced) == 1 else text
    try:
        answer = _Answer.model_validate_json(candidate.strip())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return Verdict(fault=f"{place}: {first['msg']}" if place else first["msg"])
    named = (Issue(what=issue) if isinstance(issue, str) else issue for issue in answer.issues)
    issues = tuple(issue for issue in named if not _NO_ISSUE.fullmatch(issue.what))
    if not answer.approved and not issues:
        return Verdict(fault="it does not approve, and names no issue")
    return Verdict(approved=answer.approved, issues=issues)


def _fenced(text: str) -> list[str]:
    """What stands in fenced blocks that are JSON or do not say what they are. Line by line, so that no text is slow."""
    found: list[str] = []
    inside: list[str] | None = None
    language = ""
    for line in text.split("\n"):
        mark = line.strip()
        if inside is None and mark.startswith("```"):
            inside, language = [], mark[3:].strip().lower()
        elif inside is not None and mark == "```":
            if language in ("", "json"):
                found.append("\n".join(inside))
            inside = None
        elif inside is not None:
            inside.append(line)
    return found
