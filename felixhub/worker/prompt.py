"""The messages for a model, made from an assignment. Pure.

The user's message is Markdown under fixed headings, which the offline model parses:

    # Task   # Documents (## name)   # Thoughts of the others (## agent)   # Your earlier thought   # What to write

Owns: the headings, their order, what is asked by default, whether it fits. Must not: change or shorten a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from felixhub.core.errors import ModelFailed
from felixhub.core.helix import Role, phase
from felixhub.core.messages import Assign
from felixhub.worker.tokens import estimate_tokens

__all__ = ["ChatMessage", "build_prompt", "check_fits", "estimate_prompt_tokens", "estimate_tokens"]

ChatMessage = dict[str, str]  # {"role": …, "content": …}
Phase = Literal["exploration", "analysis", "synthesis"]

TASK = "# Task"
DOCUMENTS = "# Documents"
THOUGHTS = "# Thoughts of the others"
OWN = "# Your earlier thought"
ASSIGNMENT = "# What to write"

MESSAGE_TOKENS = 4  # what a chat template adds to each message, roughly

_BY_PHASE: dict[Phase, str] = {
    "exploration": "Go wide: several directions, each in a few sentences",
    "analysis": "Go deeper: keep what holds, drop what does not, and say why",
    "synthesis": "Come to the point: what is certain, what follows from it, what stays open",
}
_BY_ROLE: dict[Role, str] = {
    "research": "Write findings on the task: facts, with where they come from, and the questions that they raise.",
    "analysis": "Write an analysis of the task: how the findings fit together, what they imply and how sure that is.",
    "critic": "Write a review: what is wrong, missing or unfounded so far, and how to put it right.",
    "synthesis": "Write the answer to the task as one text, from everything above. Settle what contradicts itself.",
}


def build_prompt(assign: Assign) -> list[ChatMessage]:
    """The system message and the user's message, in that order."""
    return [{"role": "system", "content": _system(assign)}, {"role": "user", "content": _user(assign)}]


def _system(assign: Assign) -> str:
    line = f"You are {assign.agent}, in the role of {assign.card.role}, {_place(assign)}."
    return f"{assign.card.prompt}\n\n{line}" if assign.card.prompt else line


def _place(assign: Assign) -> str:
    return f"at t={assign.checkpoint:.2f} of the helix (phase: {phase(assign.checkpoint)})"


def _user(assign: Assign) -> str:
    sections = [f"{TASK}\n\n{assign.task}"]
    if assign.documents:
        sections.append(_titled(DOCUMENTS, [(document.name, document.text) for document in assign.documents]))
    if assign.context:
        sections.append(_titled(THOUGHTS, [(thought.agent, thought.text) for thought in assign.context]))
    if assign.own:
        sections.append(f"{OWN}\n\n{assign.own}")
    sections.append(f"{ASSIGNMENT}\n\n{_assignment(assign)}")
    return "\n\n".join(sections)


def _titled(heading: str, parts: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join([heading, *(f"## {name}\n\n{text}" for name, text in parts)])


def _assignment(assign: Assign) -> str:
    role: Role = "synthesis" if assign.synthesis else assign.card.role
    place = f"You are {_place(assign)}."
    if assign.instruction:
        asked = [assign.instruction, place]
    else:
        asked = [_BY_ROLE[role], f"{place} {_BY_PHASE[phase(assign.checkpoint)]}."]
    if assign.context and not assign.synthesis:
        asked.append("Use the thoughts of the others, name whom you answer, and do not repeat them.")
    if assign.own:
        asked.append("Carry your earlier thought forward: what you write replaces it.")
    return "\n\n".join([*asked, *_lacks(assign)])


def _lacks(assign: Assign) -> list[str]:
    """What is not whole among the thoughts of the others. Not under their heading: nobody said it."""
    cut = [thought.agent for thought in assign.context if thought.truncated]
    lacks = [f"Cut off before its end: {', '.join(cut)}."] if cut else []
    if assign.missing:
        missing = "; ".join(f"{one.agent} ({one.why})" for one in assign.missing)
        lacks.append(f"Missing: {missing}. Say what could not be covered because of that.")
    return lacks


def estimate_prompt_tokens(messages: Sequence[ChatMessage]) -> int:
    """UTF-8 bytes / 3.5 rounded up, and 4 for each message: a heuristic, not a count."""
    return sum(estimate_tokens(message["content"]) + MESSAGE_TOKENS for message in messages)


def check_fits(
    messages: Sequence[ChatMessage], *, context_tokens: int, reserve: int, model: str, endpoint: str
) -> None:
    """Raise ModelFailed("context_exceeded") when prompt and answer cannot both fit. Nothing is ever cut silently."""
    needed = estimate_prompt_tokens(messages)
    if needed + reserve > context_tokens:
        raise ModelFailed(
            "context_exceeded",
            f"the prompt needs about {needed} tokens and {reserve} are kept for the answer, but {model} at {endpoint} "
            f"takes {context_tokens}: use a model with a larger window or a smaller document",
            lasting=True,
        )
