"""Material: which texts a thought is given, by name, and which are missing.

Owns: what is chosen. Must not: hold or cut a text (`run.py` has them), or decide who thinks.
"""

from __future__ import annotations

from felixhub.core.events import Missing
from felixhub.core.run import Run, StageState
from felixhub.core.thought import Thought
from felixhub.core.workflow import SYNTHESIS, Stage


def inputs(run: Run) -> list[str]:
    """What a synthesis is made from, by name: each section's current text, and each other agent's latest final thought.

    In the order of the stages. What reviews or revises a text is not an input: that text is.
    """
    found: list[str | None] = []
    for spec in run.started.workflow.stages:
        if spec.reviews or spec.revises:
            continue
        found.append(run.source_of(spec.name) if spec.section else _latest(run, spec))
    return list(dict.fromkeys(source for source in found if source))


def _latest(run: Run, spec: Stage) -> str | None:
    """The agent's latest final thought, or the stage's when the agent has reviewed or revised something since."""
    latest = run.latest_final(spec.agent)
    if latest is None:
        return None
    last = run.stages[latest.started.stage].spec
    return run.stages[spec.name].final_thought if last.reviews or last.revises or last.section else latest.id


def context(run: Run, stage: StageState) -> list[str]:
    """The texts that a stage is given; what it revises is given apart."""
    spec = stage.spec
    if spec.name == SYNTHESIS:
        return inputs(run)
    found: list[str | None] = []
    match spec.context:
        case "latest":
            found.extend(source for source in inputs(run) if run.author_of(source) != spec.agent)
        case "after":
            found.extend(run.source_of(run.stages[name].target) for name in spec.after)
    if spec.reviews:  # Last, whatever else it is given: this is what it judges.
        judged = run.source_of(spec.reviews)
        found = [*(source for source in found if source != judged), judged]
    if spec.revises:
        revised = run.source_of(spec.revises)
        found = [source for source in found if source != revised]
        found.extend(review.final_thought for review in reviews_before(run, stage))
    return list(dict.fromkeys(source for source in found if source))


def reviews_before(run: Run, stage: StageState) -> list[StageState]:
    """The reviews that a revising stage comes right after and that were made."""
    before = (run.stages[name] for name in stage.spec.after)
    return [other for other in before if other.spec.reviews == stage.spec.revises and other.outcome == "final"]


def missing(run: Run) -> list[Missing]:
    """The agents that a synthesis has nothing of."""
    found: dict[str, Missing] = {}
    for spec in run.started.workflow.stages:
        stage = run.stages[spec.name]
        if spec.reviews or spec.revises or was_not_wanted(stage) or run.latest_final(spec.agent):
            continue
        if run.source_of(spec.name) is None and stage.ended:
            found[spec.agent] = Missing(agent=spec.agent, why=stage.why or "no final thought")
    return list(found.values())


def was_not_wanted(stage: StageState) -> bool:
    """Passed over as its workflow means it: nobody asked for it, or there was nothing to do."""
    spec = stage.spec
    return stage.outcome == "skipped" and (spec.optional or bool(spec.reviews) or bool(spec.revises))


def best(run: Run) -> Thought | None:
    """The final thought with the highest confidence, the latest of equals."""
    thoughts = [run.thoughts[source] for source in inputs(run) if source in run.thoughts]
    finals = [(thought.final.confidence, thought.final.seq, thought) for thought in thoughts if thought.final]
    return max(finals)[2] if finals else None
