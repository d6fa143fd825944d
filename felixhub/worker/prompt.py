"""The messages for a model, made from an assignment. Pure.

The user's message is Markdown under fixed headings, which the offline model parses:

    # Task   # Documents (## name)   # Thoughts of the others (## agent)   # Your earlier thought
    # The text so far   # Feedback (numbered)   # What to write

Owns: the headings, their order, what is asked by default, whether it fits. Must not: change or shorten a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from felixhub.core.errors import ModelFailed
from felixhub.core.events import Feedback
from felixhub.core.helix import Role, phase
from felixhub.core.messages import Assign
from felixhub.core.review import FORM
from felixhub.worker.tokens import estimate_tokens

__all__ = ["ChatMessage", "build_prompt", "check_fits", "estimate_prompt_tokens", "estimate_tokens"]

ChatMessage = dict[str, str]  # {"role": …, "content": …}
Phase = Literal["exploration", "analysis", "synthesis"]

TASK = "# Task"
DOCUMENTS = "# Documents"
THOUGHTS = "# Thoughts of the others"
OWN = "# Your earlier thought"
SO_FAR = "# The text so far"
FEEDBACK = "# Feedback"
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
_REVISED = (
    "Revise the text so far so that every issue of the review, which stands in the thoughts of the others, is put"
    " right. Keep what is good. Write the whole text, not a comment on it."
)
_STEERED = (
    "Follow the feedback: put right what is wrong, write what is wanted instead, keep to the constraints. Where two"
    " pieces contradict each other, the later one counts. Write the whole text, not a comment on it."
)
_STEERED_SO_FAR = "The text so far is what the feedback was given on; it may break off. Keep what is good in it."
_JUDGED = (
    "Your answer is only one JSON object of this form, with no text before or after it:",
    FORM,
    'Approve when nothing has to be put right; then "issues" is []. Otherwise name each issue. Quote the place in “ ”,'
    " word for word, and word the repair so that it can stand there instead.",
)


def build_prompt(assign: Assign) -> list[ChatMessage]:
    """The system message and the user's message, in that order."""
    return [{"role": "system", "content": _system(assign)}, {"role": "user", "content": _user(assign)}]


def _system(assign: Assign) -> str:
    place = f", {_place(assign)}" if _on_helix(assign) else ""
    line = f"You are {assign.agent}, in the role of {assign.card.role}{place}."
    return f"{assign.card.prompt}\n\n{line}" if assign.card.prompt else line


def _on_helix(assign: Assign) -> bool:
    """At its very top a stage that is told what to do is told nothing of the helix: few such stages descend it."""
    told = assign.instruction or assign.review or assign.revises or assign.feedback
    return assign.checkpoint > 0.0 or not told


def _place(assign: Assign) -> str:
    return f"at t={assign.checkpoint:.2f} of the helix (phase: {phase(assign.checkpoint)})"


def _user(assign: Assign) -> str:
    sections = [f"{TASK}\n\n{assign.task}"]
    if assign.documents:
        sections.append(_titled(DOCUMENTS, [(document.name, document.text) for document in assign.documents]))
    if assign.context:
        sections.append(_titled(THOUGHTS, [(thought.agent, thought.text) for thought in assign.context]))
    if _earlier(assign):
        sections.append(f"{OWN}\n\n{assign.own}")
    if assign.revises:
        sections.append(f"{SO_FAR}\n\n{assign.revises}")
    if assign.feedback:
        pieces = [f"{number}. {_piece(piece)}" for number, piece in enumerate(assign.feedback, 1)]
        sections.append("\n\n".join([FEEDBACK, *pieces]))
    sections.append(f"{ASSIGNMENT}\n\n{_assignment(assign)}")
    return "\n\n".join(sections)


def _earlier(assign: Assign) -> bool:
    """Whether its earlier thought is shown: not a second time when that is the text to be revised."""
    return bool(assign.own) and assign.own != assign.revises


def _piece(feedback: Feedback) -> str:
    fields = (
        ("What is wrong", feedback.wrong),
        ("What instead", feedback.instead),
        ("Constraints", feedback.constraints),
    )
    return "\n".join(f"{name}: {text}" for name, text in fields if text)


def _titled(heading: str, parts: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join([heading, *(f"## {name}\n\n{text}" for name, text in parts)])


def _assignment(assign: Assign) -> str:
    asked = _asked(assign)
    if assign.feedback:
        asked.append(f"{_STEERED} {_STEERED_SO_FAR}" if assign.revises else _STEERED)
    elif assign.revises:
        asked.append(_REVISED)
    elif assign.context and not assign.synthesis and not assign.review:
        asked.append("Use the thoughts of the others, name whom you answer, and do not repeat them.")
    if _earlier(assign) and not assign.revises:
        asked.append("Carry your earlier thought forward: what you write replaces it.")
    if assign.review and len(assign.context) > 1:  # What is judged is given last.
        asked.append(f"The text to review is the last of the thoughts of the others, {assign.context[-1].agent}'s.")
    asked.extend(_lacks(assign))
    if assign.review:
        asked.extend(_JUDGED)
    if assign.repair:
        asked.append(f"Your previous answer could not be read as that object: {assign.repair}. Answer again.")
    return "\n\n".join(asked)


def _asked(assign: Assign) -> list[str]:
    """What the stage asks for, and the place on the helix."""
    role: Role = "synthesis" if assign.synthesis else assign.card.role
    place = f"You are {_place(assign)}."
    if assign.instruction:
        return [assign.instruction, place] if _on_helix(assign) else [assign.instruction]
    if assign.review:
        return ["Review the text under the thoughts of the others against the task and the documents."]
    if not _on_helix(assign):
        return [_BY_ROLE[role]]
    return [_BY_ROLE[role], f"{place} {_BY_PHASE[phase(assign.checkpoint)]}."]


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
