"""Approval: whether a section waits for a person, is approved by itself, or holds back what comes after it.

Owns: which judgements of a text count, gates, and what may be approved. Must not: write, assign or end anything.
"""

from __future__ import annotations

from felixhub.core.decision import Turn
from felixhub.core.events import SectionApproved
from felixhub.core.run import Run, StageState
from felixhub.core.section import Section


def awaiting(run: Run) -> list[str]:
    """The sections that wait for a person: nothing more is written of them, and they are neither approved nor given up.

    Empty without review. A section that failed or is truncated waits too: to be written anew, edited or cancelled.
    """
    if not run.started.settings.review:
        return []
    return [
        section.name for section in run.sections.values() if unfinished(run, section) is None and holds(run, section)
    ]


def holds(run: Run, section: Section) -> bool:
    """Whether the document waits for this section."""
    if section.is_approved or run.is_given_up(section.name) or run.stages[section.name].outcome == "skipped":
        return False
    # When the budget is spent, only what is whole can still become something.
    return run.budget_spent is None or (section.current is not None and section.current.whole)


def unfinished(run: Run, section: Section) -> StageState | None:
    """The first stage that writes, reviews or revises it and has not ended."""
    return next((stage for stage in run.writers[section.name] if not stage.ended), None)


def is_past_gate(run: Run, stage: StageState, other: StageState) -> bool:
    """A person has approved what the other one wrote, or given it up; who works on that text itself need not wait."""
    section = run.sections.get(other.target)
    if section is None or stage.target == section.name or not run.started.settings.review:
        return True
    return not run.stages[section.name].spec.gate or not holds(run, section)


def approve_by_itself(run: Run, turn: Turn) -> bool:
    """Without review, whole sections that no review rejects are approved by `auto`, once nothing writes on them."""
    if run.started.settings.review:
        return False
    due = False
    for section in run.sections.values():
        current = section.current
        if section.is_approved or current is None or not current.whole or unfinished(run, section):
            continue
        if current.by_person or all(approves(review) for review in judgements(run, section.name)):
            turn.emit(SectionApproved, run.id, run.last_seq, section=section.name, version=current.number, by="auto")
            due = True
    return due


def judgements(run: Run, target: str) -> list[StageState]:
    """The reviews of this text that count: they were not passed over, and no revision has followed them."""
    writers = run.writers[target]
    answered = {name for one in writers if one.spec.revises and one.outcome == "final" for name in one.spec.after}
    return [
        one
        for one in writers
        if one.spec.reviews and one.outcome in ("final", "abandoned") and one.spec.name not in answered
    ]


def approves(review: StageState) -> bool:
    """An error, or what could not be read, is not an approval."""
    return review.outcome == "final" and review.verdict is not None and review.verdict.approved


def why_not(run: Run, section: Section) -> str | None:
    """Why a person cannot approve a section now."""
    current, stage = section.current, run.stages[section.name]
    if current is not None and section.is_approved and not section.stale:
        return "it is approved already"
    busy = unfinished(run, section)
    if busy is not None:
        return f"{busy.spec.agent} is not done with it"
    if current is None:
        return f"it has no text ({stage.why or stage.outcome}): regenerate it, edit it or cancel it"
    if not current.whole:
        return "its text is truncated: regenerate or edit it"
    return None
