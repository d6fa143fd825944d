"""Steering, regenerating, editing and approving: what a person does to a text, and what that means for the others.

A plan is made before anything is recorded, so that a command that cannot be done leaves no trace.
Owns: which stage is meant, what is done again because of it, what may be approved. Must not: assign (`engine.py` does).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from felixhub.core.approval import unfinished, why_not
from felixhub.core.decision import Turn
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import (
    Feedback,
    SectionApproved,
    SectionEdited,
    SectionReopened,
    SectionStale,
    StageReopened,
)
from felixhub.core.limits import Limits
from felixhub.core.messages import Approve, CancelRun, Edit, Regenerate, Reopen, Steer
from felixhub.core.run import Run, StageState
from felixhub.core.section import Section
from felixhub.core.thought import Thought
from felixhub.core.workflow import SYNTHESIS


@dataclass(frozen=True, slots=True)
class Again:
    """One stage that thinks again, from this checkpoint on, working on the text that `revises` names."""

    stage: StageState
    reason: Literal["steered", "regenerated", "changed"]
    checkpoint: float
    command: str
    feedback: Feedback | None = None
    revises: str | None = None
    fresh: bool = False


@dataclass(slots=True)
class Plan:
    """What a command will do, and what is answered."""

    reply: dict[str, Any]
    again: list[Again] = field(default_factory=list)
    stale: list[Section] = field(default_factory=list)
    reopened: list[Section] = field(default_factory=list)
    approved: list[Section] = field(default_factory=list)
    edited: tuple[Section, str] | None = None

    def emit(self, run: Run, turn: Turn, by: str) -> None:
        """The events of the plan, after the one that records the command."""
        for section in self.approved:
            assert section.current is not None, "checked when it was planned"
            turn.emit(
                SectionApproved,
                run.id,
                run.last_seq,
                section=section.name,
                version=section.current.number,
                by=by,
            )
        for section in self.reopened:
            assert section.approved is not None, "checked when it was planned"
            turn.emit(SectionReopened, run.id, run.last_seq, section=section.name, version=section.approved, by=by)
        if self.edited:
            section, text = self.edited
            turn.emit(
                SectionEdited, run.id, run.last_seq, section=section.name, version=section.next_number, by=by, text=text
            )
        for again in self.again:
            _emit_again(again, run, turn, by)
        for section in self.stale:
            assert section.current is not None, "only what was written can be stale"
            turn.emit(SectionStale, run.id, run.last_seq, section=section.name, version=section.current.number, by=by)


def _emit_again(again: Again, run: Run, turn: Turn, by: str) -> None:
    stage = again.stage
    turn.emit(
        StageReopened,
        run.id,
        run.last_seq,
        stage=stage.spec.name,
        round=stage.round + 1 if stage.ended else stage.round,
        reason=again.reason,
        by=by,
        checkpoint=again.checkpoint,
        command=again.command,
        feedback=again.feedback,
        revises=again.revises,
        fresh=again.fresh,
    )
    thought = _open_thought(run, stage)
    if thought is not None and thought.cancelling is None:
        turn.cancel_thought(run, thought.id, by=by, reason="superseded")


# ---- steering --------------------------------------------------------------------------------------------------------


def plan_revision(run: Run, request: Steer | Regenerate) -> Plan:
    """A text written again: the open thought of whom it names, else the latest final one. Raises ProtocolViolation."""
    feedback = Feedback(wrong=request.wrong, instead=request.instead, constraints=request.constraints)
    is_steer = isinstance(request, Steer)
    if is_steer and not (request.wrong.strip() or request.instead.strip()):
        raise ProtocolViolation("bad_message", "say what is wrong, or what instead", field="wrong")
    fresh = not is_steer and feedback == Feedback()
    stage = _stage_meant(run, request)
    thought = _open_thought(run, stage)
    if stage.cancelled_by is not None and not stage.ended:
        raise ProtocolViolation("being_cancelled", f"{stage.spec.agent} is being cancelled: wait until it has ended")
    if stage.outcome == "skipped":
        sentence = f"{stage.spec.agent} was passed over ({stage.why}): what it depends on must change first"
        raise ProtocolViolation("not_begun", sentence)
    checkpoint, revises = _where(run, stage)
    has_begun = stage.ended or stage.index or stage.last_abandoned or stage.final_thought or stage.feedback
    if not is_steer and thought is None and not has_begun:
        raise ProtocolViolation("not_begun", f"{stage.spec.agent} has not begun: there is nothing to regenerate")
    first = Again(
        stage,
        "steered" if is_steer else "regenerated",
        checkpoint,
        request.id,
        feedback=None if fresh else feedback,
        revises=None if fresh else revises,
        fresh=fresh,
    )
    plan = Plan({"stage": stage.spec.name, "agent": stage.spec.agent, "revises": first.revises}, again=[first])
    _add_followers(plan, run, stage, request.id)
    plan.reopened = _unapproved_by(plan, run)
    return plan


def _unapproved_by(plan: Plan, run: Run) -> list[Section]:
    """The approved sections on which somebody will write again."""
    targets = {one.stage.target for one in plan.again}
    return [section for section in run.sections.values() if section.is_approved and section.name in targets]


def _where(run: Run, stage: StageState) -> tuple[float, str | None]:
    """The checkpoint that is meant, and the text so far there."""
    marks = stage.spec.checkpoints
    thought = _open_thought(run, stage)
    if thought is not None:
        return thought.started.checkpoint, thought.id if len(thought.text) else stage.revises
    if stage.index:
        source = run.source_of(stage.spec.name) if stage.index >= len(marks) else stage.final_thought
        return marks[min(stage.index, len(marks)) - 1], source
    last, current = stage.last_abandoned, stage.revises or run.source_of(stage.spec.name)
    if current is None and last is not None and len(run.thoughts[last.thought].text):
        return marks[0], last.thought  # Better than nothing, but never in the place of good text.
    return marks[0], current


def _stage_meant(run: Run, request: Steer | Regenerate) -> StageState:
    named = [name for name in (request.agent, request.thought, request.section) if name is not None]
    if len(named) != 1:
        raise ProtocolViolation("bad_message", "name exactly one of agent, thought and section", field="agent")
    if request.thought is not None:
        thought = run.thoughts.get(request.thought)
        if thought is None:
            raise ProtocolViolation(
                "unknown_thought", f"run '{run.id}' has no thought '{request.thought}'", field="thought"
            )
        return run.stages[thought.started.stage]
    if request.section is not None:
        return run.stages[_section(run, request.section).name]
    return _stage_of_agent(run, request.agent or "")


def _stage_of_agent(run: Run, agent: str) -> StageState:
    """Where the agent thinks now, else where it thought last, else where it will think first."""
    check_agent(run, agent)
    stages = [stage for stage in run.stages.values() if stage.spec.agent == agent]
    thinking = next((stage for stage in stages if stage.open_thought), None)
    thoughts = [thought for thought in run.thoughts.values() if thought.started.agent == agent]
    finals = [thought for thought in thoughts if thought.final] or thoughts
    return thinking or (run.stages[finals[-1].started.stage] if finals else stages[0])


def check_agent(run: Run, agent: str) -> None:
    if agent not in run.cards:
        raise ProtocolViolation(
            "unknown_agent", f"run '{run.id}' has no agent '{agent}': it has {', '.join(run.cards)}", field="agent"
        )


def _open_thought(run: Run, stage: StageState) -> Thought | None:
    return run.thoughts[stage.open_thought] if stage.open_thought else None


# ---- what depends on a text ------------------------------------------------------------------------------------------


def _add_followers(plan: Plan, run: Run, changed: StageState, command: str, *, but: str | None = None) -> None:
    """Whatever was made from a text that changes is done again, or marked stale, by the workflow's word.

    `but` leaves out what works on that same text. A stage that has not begun needs nothing. When the budget is spent
    nothing can be done again.
    """
    is_spent = run.budget_spent is not None or run.is_over_budget
    reached = {changed.spec.name}
    for stage in _in_order(run, changed):
        if not reached.intersection(stage.spec.after) or not (stage.started or stage.ended):
            continue
        if but is not None and stage.target == but:
            reached.add(stage.spec.name)
            continue
        # Who was given up stays so, unless the text it works on was given up with it and is wanted again.
        is_given_up = stage.cancelled_by is not None
        is_wanted_again = changed.cancelled_by is not None and stage.target == changed.target
        if (is_given_up and not is_wanted_again) or _was_not_asked_for(run, stage):
            continue
        if stage.spec.name == SYNTHESIS and run.synthesizes_each and not stage.ended:
            continue  # It follows every change by itself.
        if is_spent or (stage.spec.on_change == "stale" and stage.outcome in ("final", "abandoned")):
            section = run.sections.get(stage.spec.name)
            if section is not None and section.current is not None:
                plan.stale.append(section)
            continue
        reached.add(stage.spec.name)
        plan.again.append(Again(stage, "changed", stage.spec.checkpoints[0], command))


def _in_order(run: Run, changed: StageState) -> Iterator[StageState]:
    """The other stages, each after those that it comes after."""
    waits = {name: len(set(stage.spec.after)) for name, stage in run.stages.items()}
    followers: dict[str, list[str]] = {}
    for name, stage in run.stages.items():
        for other in set(stage.spec.after):
            followers.setdefault(other, []).append(name)
    ready = [name for name, count in waits.items() if count == 0]
    for name in ready:  # It grows on the way.
        if run.stages[name] is not changed:
            yield run.stages[name]
        for follower in followers.get(name, ()):
            waits[follower] -= 1
            if waits[follower] == 0:
                ready.append(follower)


def _was_not_asked_for(run: Run, stage: StageState) -> bool:
    return stage.spec.optional and stage.spec.name not in run.started.settings.include


# ---- sections --------------------------------------------------------------------------------------------------------


def plan_edit(run: Run, request: Edit, limits: Limits) -> Plan:
    """A new version by a person. Reviews and revisions of that text stand: a person has the last word on it."""
    section = _section(run, request.section)
    if busy := unfinished(run, section):
        sentence = f"{busy.spec.agent} is not done with '{section.title}': wait for it, or cancel it first"
        raise ProtocolViolation("section_busy", sentence, field="section")
    size = len(request.text.encode())
    if size > limits.thought_bytes_max:
        raise ProtocolViolation(
            "too_large", f"a section holds at most {limits.thought_bytes_max} bytes, this one {size}", field="text"
        )
    _check_version(section, request.version)
    plan = Plan({"section": section.name, "version": section.next_number}, edited=(section, request.text))
    _add_followers(plan, run, run.stages[section.name], request.id, but=section.name)
    plan.reopened = _unapproved_by(plan, run)
    return plan


def plan_approval(run: Run, request: Approve) -> Plan:
    """One section, or every one that can be. Raises ProtocolViolation when there is nothing to approve."""
    if not run.started.settings.review:
        raise ProtocolViolation(
            "no_review", f"run '{run.id}' was started without review: its sections need no approval", field="run"
        )
    if request.section is not None:
        section = _section(run, request.section)
        _check_version(section, request.version)
        if why := why_not(run, section):
            raise ProtocolViolation("cannot_approve", f"'{section.title}' cannot be approved: {why}", field="section")
        return _approving(section)
    refused = {section.name: why for section in run.sections.values() if (why := _why_not_with_all(run, section))}
    approved = [section for section in run.sections.values() if section.name not in refused]
    if not approved:
        listed = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise ProtocolViolation("cannot_approve", f"no section can be approved now ({listed})", field="section")
    return _approving(*approved, refused=refused)


def _approving(*sections: Section, refused: dict[str, str] | None = None) -> Plan:
    versions = {section.name: section.current.number for section in sections if section.current}
    return Plan({"approved": list(versions), "versions": versions, "refused": refused or {}}, approved=list(sections))


def _why_not_with_all(run: Run, section: Section) -> str | None:
    """Why a section is not among all that are approved together: one that was given up is approved by name only.

    A person who has written it since has not given it up.
    """
    if run.is_given_up(section.name):
        return f"it was given up by {run.stages[section.name].cancelled_by}"
    return why_not(run, section)


def plan_reopening(run: Run, request: Reopen) -> Plan:
    section = _section(run, request.section)
    if not section.is_approved or not run.started.settings.review:
        raise ProtocolViolation("not_approved", f"'{section.title}' is not approved by a person", field="section")
    return Plan({"section": section.name, "version": section.approved}, reopened=[section])


def check_cancel(run: Run, request: CancelRun) -> None:
    """Raise ProtocolViolation when there is nothing to cancel."""
    if request.thought is not None:
        thought = run.thoughts.get(request.thought)
        if thought is None or not thought.is_open:
            raise ProtocolViolation(
                "thought_ended", f"'{request.thought}' is no open thought of this run", field="thought"
            )
        return
    if request.agent is not None:
        check_agent(run, request.agent)
        meant = [stage for stage in run.stages.values() if stage.spec.agent == request.agent]
        who, field_name = request.agent, "agent"
    elif request.section is not None:
        section = _section(run, request.section)
        meant = run.writers[section.name]
        who, field_name = section.title, "section"
        if run.started.settings.review and not section.is_approved and run.stages[section.name].cancelled_by is None:
            return  # It is given up: the document goes without its approval.
    else:
        return
    if all(stage.ended and (stage.outcome == "final" or not run.started.settings.review) for stage in meant):
        raise ProtocolViolation("nothing_to_cancel", f"{who} has nothing under way: it has ended", field=field_name)


def _section(run: Run, name: str) -> Section:
    section = run.sections.get(name)
    if section is None:
        listed = ", ".join(run.sections) or "none"
        raise ProtocolViolation(
            "unknown_section", f"run '{run.id}' has no section '{name}': it has {listed}", field="section"
        )
    return section


def _check_version(section: Section, version: int | None) -> None:
    latest = section.current.number if section.current else 0
    if version is not None and version != latest:
        raise ProtocolViolation(
            "version_changed",
            f"'{section.title}' is at version {latest} by now, not {version}: look at it again",
            field="version",
        )
