"""The result: what a run comes to, and what is not as it should be.

Owns: the text and the sentences of `degraded`. Must not: decide when a run ends (`engine.py` does).
"""

from __future__ import annotations

from felixhub.core.approval import approves, judgements
from felixhub.core.material import best, inputs, was_not_wanted
from felixhub.core.run import Run, StageState
from felixhub.core.section import Section
from felixhub.core.workflow import SYNTHESIS


def whys(run: Run) -> str:
    """Why the stages did not end final, agents with the same reason together."""
    agents: dict[str, list[str]] = {}
    for stage in run.stages.values():
        if stage.why and stage.spec.name != SYNTHESIS:
            agents.setdefault(stage.why, []).append(stage.spec.agent)
    return "; ".join(f"{', '.join(dict.fromkeys(names))}: {why}" for why, names in agents.items())


def result(run: Run) -> str:
    """The synthesis; without one the document: its sections in order, each under its title."""
    if run.synthesis_finished:
        return run.text_of(run.source_of(SYNTHESIS) or run.synthesis_finished.thought)
    kept = [section for section in run.sections.values() if not run.is_given_up(section.name)]
    written = [(section.title, section.current) for section in kept if section.current]
    if not written:
        thought = best(run)
        return str(thought.text) if thought else ""
    texts = [(title, run.text_of(version.source)) for title, version in written]
    return texts[0][1] if len(texts) == 1 else "\n\n".join(f"## {title}\n\n{text.strip()}" for title, text in texts)


def degraded(run: Run) -> list[str]:
    """What is not as it should be, one sentence each."""
    reasons = []
    if run.budget_spent:
        reasons.append(f"the budget of {run.budget_spent.budget_tokens} tokens is spent")
    for stage in run.stages.values():
        if stage.outcome != "final" and stage.spec.name != SYNTHESIS and not was_not_wanted(stage):
            reasons.extend(_shortcomings_of_stage(run, stage))
    for section in run.sections.values():
        reasons.extend(_shortcomings_of_section(run, section))
    used = inputs(run)
    if run.synthesis_finished:
        answer = run.sections.get(SYNTHESIS)
        if answer is None or not _is_settled_by_person(run, answer):
            reasons.extend(run.synthesis_finished.degraded)
        used = [*used, run.source_of(SYNTHESIS) or run.synthesis_finished.thought]
    thoughts = [run.thoughts[source] for source in used if source in run.thoughts]
    cut = dict.fromkeys(thought.started.agent for thought in thoughts if thought.final and thought.final.truncated)
    reasons.extend(f"the text of {agent} is truncated" for agent in cut)
    return list(dict.fromkeys(reasons))


def _shortcomings_of_stage(run: Run, stage: StageState) -> list[str]:
    """What a stage that did not end well means for the result; nothing if a person has settled its text since."""
    spec, why = stage.spec, stage.why or str(stage.outcome)
    section = run.sections.get(stage.target)
    if section is not None and _is_settled_by_person(run, section):
        return []
    if (spec.reviews or spec.revises) and run.source_of(stage.target) is None:
        return []  # That its text is missing is said of who should have written it.
    if spec.reviews:
        return [f"{_titled(run, spec.reviews)} is not reviewed ({why})"]
    if spec.revises:
        return [f"{_titled(run, spec.revises)} is not revised ({why})"]
    if section is not None and section.current is None:
        return [f"{section.title} is missing: {spec.agent} ({why})"]
    if stage.final_thought and len(spec.checkpoints) > 1:
        return [f"{spec.agent} stopped at {stage.checkpoint:.1f} ({why})"]
    if section is not None:
        return [f"{section.title} is not the newest: {spec.agent} ({why})"]
    if stage.final_thought:
        return [f"{spec.agent} stopped at {stage.checkpoint:.1f} ({why})"]
    return [f"{spec.agent} is missing ({why})"]


def _is_settled_by_person(run: Run, section: Section) -> bool:
    """Whether a person wrote its current text, or approved it."""
    current = section.current
    return current is not None and (current.by_person or (run.started.settings.review and section.is_approved))


def _shortcomings_of_section(run: Run, section: Section) -> list[str]:
    if section.current is None:
        return []
    if run.is_given_up(section.name):
        return [f"{section.title} is left out: given up by {run.stages[section.name].cancelled_by}"]
    found = []
    rejecting = [review for review in judgements(run, section.name) if review.verdict and not approves(review)]
    count = sum(len(review.verdict.issues) for review in rejecting if review.verdict)
    if count and not _is_settled_by_person(run, section):
        issues = "1 issue" if count == 1 else f"{count} issues"
        found.append(f"{section.title} is not approved by its review: {issues} left")
    if run.started.settings.review and not section.is_approved:
        found.append(f"{section.title} is not approved")
    if section.stale:
        found.append(f"{section.title} is made from an earlier text")
    return found


def _titled(run: Run, stage: str) -> str:
    section = run.sections.get(stage)
    return section.title if section else stage
