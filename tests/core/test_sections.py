"""Sections: their versions, who approves which, gates, and when a run with review is over."""

from __future__ import annotations

from typing import Any

import pytest
from plots import answered, assignment, begin, pipeline, refused, rejected, seven, text_of
from team import Team, Worker

from felixhub.core.events import (
    RunFinished,
    SectionApproved,
    SectionEdited,
    SectionReady,
    SectionReopened,
    StageFinished,
    StageReopened,
    ThoughtAbandoned,
    ThoughtCancelling,
)
from felixhub.core.limits import Limits
from felixhub.core.messages import Ok
from felixhub.core.workflow import Stage, Workflow


def two(**first: Any) -> Workflow:
    """A section and one that is made from it."""
    return Workflow(
        name="two",
        stages=(
            Stage(name="plan", agent="planner", section="Plan", retries_max=0, **first),
            Stage(name="code", agent="coder", after=("plan",), section="Code", retries_max=0),
        ),
    )


def reviewed(workflow: Workflow | None = None, **settings: Any) -> tuple[Team, dict[str, Worker]]:
    """A run with review whose first section is written."""
    team, workers = begin(workflow or two(), review=True, **settings)
    workers["planner"].finish("A plan.")
    return team, workers


def do(team: Team, name: str, **fields: Any) -> dict[str, Any]:
    reply = team.command(name, **fields)
    assert isinstance(reply, Ok), reply
    return reply.data


def awaiting(team: Team) -> tuple[str, ...]:
    return team.post.run_beat(team.run(), team.now).awaiting


# ---- approval --------------------------------------------------------------------------------------------------------


def test_without_review_whole_sections_are_approved_by_auto_and_nobody_is_asked() -> None:
    team, workers = begin(two())
    workers["planner"].finish("A plan.")
    workers["coder"].finish("Code.")
    assert [(e.section, e.version, e.by) for e in team.of(SectionApproved)] == [
        ("plan", 1, "auto"),
        ("code", 1, "auto"),
    ]
    assert team.last(RunFinished).result == "## Plan\n\nA plan.\n\n## Code\n\nCode."
    team, _ = begin(two())
    assert "no approval" in refused(team, "no_review", "approve")
    refused(team, "not_approved", "reopen", section="plan")


def test_a_run_with_review_ends_when_a_person_has_approved_everything() -> None:
    team, workers = reviewed()
    assert awaiting(team) == ("plan",)
    workers["coder"].finish("Code.")
    assert awaiting(team) == ("plan", "code")
    assert not team.run().ended
    assert do(team, "approve", section="plan")["approved"] == ["plan"]
    assert not team.run().ended
    do(team, "approve", section="code", version=1)
    assert team.last(RunFinished).degraded == ()
    assert [e.by for e in team.of(SectionApproved)] == ["anna", "anna"]


def test_approve_all_approves_what_can_be_and_says_why_the_rest_cannot() -> None:
    team, workers = reviewed()
    reply = do(team, "approve")
    assert reply["approved"] == ["plan"]
    assert "coder is not done with it" in reply["refused"]["code"]
    assert "approved already" in refused(team, "cannot_approve", "approve")
    workers["coder"].finish("Code.")
    do(team, "approve")
    assert team.run().status == "finished"


def test_only_the_version_that_was_looked_at_is_approved() -> None:
    team, _ = reviewed()
    do(team, "edit", section="plan", text="My plan.", version=1)
    assert "at version 2 by now, not 1" in refused(team, "version_changed", "approve", section="plan", version=1)
    refused(team, "version_changed", "edit", section="plan", text="Yours.", version=1)
    do(team, "approve", section="plan", version=2)


def test_a_truncated_text_cannot_be_approved() -> None:
    team, workers = begin(two(), review=True)
    workers["planner"].write("Half a pl")
    workers["planner"].finalize(finish_reason="length", truncated=True)
    assert [(e.version, e.whole) for e in team.of(SectionReady)] == [(1, False)]
    assert "truncated" in refused(team, "cannot_approve", "approve", section="plan")
    workers["coder"].finish("Code.")
    assert awaiting(team) == ("plan", "code")
    assert "truncated" in do(team, "approve")["refused"]["plan"]
    do(team, "edit", section="plan", text="Half a plan is enough.")
    workers["coder"].finish("Code.")
    do(team, "approve")
    assert team.last(RunFinished).degraded == ()


def test_a_truncated_text_is_not_approved_by_auto_either_and_degrades_the_run() -> None:
    team, workers = begin(two())
    workers["planner"].write("Half a pl")
    workers["planner"].finalize(finish_reason="length", truncated=True)
    workers["coder"].finish("Code.")
    assert [e.section for e in team.of(SectionApproved)] == ["code"]
    assert team.last(RunFinished).degraded == ("the text of planner is truncated",)


def test_a_truncated_version_never_takes_the_place_of_good_text() -> None:
    team, workers = reviewed()
    do(team, "regenerate", section="plan")
    workers["planner"].write("Half a pl")
    workers["planner"].finalize(finish_reason="length", truncated=True)
    assert text_of(team, "plan") == "A plan."
    assert do(team, "approve", section="plan")["approved"] == ["plan"]
    assert team.last(SectionApproved).version == 1


def test_an_abandoned_section_cannot_be_approved_and_is_written_given_up_or_done_again() -> None:
    team, workers = begin(two(), review=True)
    workers["planner"].abandon("llm_error", error="refused")
    assert "it has no text (llm_error: refused)" in refused(team, "cannot_approve", "approve", section="plan")
    workers["coder"].finish("Code.")
    do(team, "approve", section="code")
    assert not team.run().ended
    assert awaiting(team) == ("plan",)
    do(team, "cancel", section="plan")
    assert team.last(RunFinished).degraded == ("Plan is missing: planner (llm_error: refused)",)


def test_a_section_that_is_given_up_is_not_waited_for_and_named() -> None:
    team, workers = reviewed()
    workers["coder"].finish("Code.")
    do(team, "approve", section="plan")
    do(team, "cancel", section="code")
    assert team.last(RunFinished).degraded == ("Code is left out: given up by anna",)
    assert "Code." not in team.last(RunFinished).result


def test_reopened_it_waits_again() -> None:
    team, workers = reviewed()
    refused(team, "not_approved", "reopen", section="plan")
    do(team, "approve", section="plan")
    do(team, "reopen", section="plan")
    assert (team.last(SectionReopened).section, team.last(SectionReopened).version) == ("plan", 1)
    workers["coder"].finish("Code.")
    assert awaiting(team) == ("plan", "code")
    do(team, "approve")
    assert team.run().status == "finished"


def test_a_rejected_section_can_be_approved_by_a_person_and_that_settles_it() -> None:
    team, workers = begin(pipeline(rounds_max=1), review=True)
    workers["coder"].finish("First text.")
    assert "reviewer is not done with it" in refused(team, "cannot_approve", "approve", section="code")
    workers["reviewer"].finish(rejected("too short"))
    workers["refiner"].abandon("llm_error")
    workers["documenter"].finish("Docs.")
    do(team, "approve")
    assert team.last(RunFinished).degraded == ()


# ---- gates -----------------------------------------------------------------------------------------------------------


def test_a_gate_holds_what_comes_after_until_a_person_approves() -> None:
    team, _ = reviewed(two(gate=True))
    assert team.thought_of("coder") is None
    assert awaiting(team) == ("plan",)
    do(team, "approve", section="plan")
    assert [given.text for given in assignment(team, "coder").context] == ["A plan."]


def test_a_gate_holds_nothing_without_review() -> None:
    team, workers = begin(two(gate=True))
    workers["planner"].finish("A plan.")
    assert team.thought_of("coder")


def test_a_gate_opens_for_a_section_that_is_given_up() -> None:
    team, workers = begin(two(gate=True), review=True)
    workers["planner"].abandon("llm_error")
    assert team.thought_of("coder") is None
    do(team, "cancel", section="plan")
    assert assignment(team, "coder").context == ()


def test_who_works_on_the_gated_text_itself_need_not_wait() -> None:
    team, workers = begin(pipeline(rounds_max=1, gate=True), review=True)
    workers["coder"].finish("First text.")
    workers["reviewer"].finish(rejected("too short"))
    workers["refiner"].finish("Longer text.")
    workers["reviewer"].finish(rejected("still too short"))
    assert team.thought_of("documenter") is None
    do(team, "approve", section="code")
    assert workers["documenter"].is_thinking


def test_a_gate_closes_again_for_what_has_to_be_done_again() -> None:
    team, workers = reviewed(two(gate=True))
    do(team, "approve", section="plan")
    do(team, "steer", section="plan", wrong="too vague")
    workers["coder"].abandon("superseded")
    workers["planner"].finish("A better plan.")
    assert team.thought_of("coder") is None
    do(team, "approve", section="plan")
    assert [given.text for given in assignment(team, "coder").context] == ["A better plan."]


# ---- editing ---------------------------------------------------------------------------------------------------------


def test_an_edit_is_a_version_by_a_person_and_what_follows_is_made_from_it() -> None:
    team, workers = reviewed()
    old = workers["coder"].thought
    assert do(team, "edit", section="plan", text="My plan.") == {"run": "r1", "section": "plan", "version": 2}
    edited = team.last(SectionEdited)
    assert (edited.version, edited.by, edited.text) == (2, "anna", "My plan.")
    assert [(e.stage, e.reason) for e in team.of(StageReopened)] == [("code", "changed")]
    assert team.last(ThoughtCancelling).thought == old
    workers["coder"].abandon("superseded", thought=old)
    given = assignment(team, "coder").context
    assert [(one.thought, one.agent, one.text, one.confidence) for one in given] == [
        ("plan@2", "anna", "My plan.", 1.0)
    ]
    workers["coder"].finish("Code.")
    do(team, "approve")
    assert team.last(RunFinished).result == "## Plan\n\nMy plan.\n\n## Code\n\nCode."


def test_reviews_and_revisions_of_a_text_stand_when_a_person_edits_it() -> None:
    team, workers = begin(pipeline(rounds_max=1), review=True)
    workers["coder"].finish("First text.")
    assert "reviewer is not done with 'Code'" in refused(team, "section_busy", "edit", section="code", text="Mine.")
    workers["reviewer"].finish(rejected("too short"))
    assert "refiner is not done with 'Code'" in refused(team, "section_busy", "edit", section="code", text="Mine.")
    workers["refiner"].finish("Longer text.")
    workers["reviewer"].finish(rejected("still too short"))
    do(team, "edit", section="code", text="Mine.")
    assert [e.stage for e in team.of(StageReopened)] == ["docs"]
    workers["documenter"].abandon("superseded")
    workers["documenter"].finish("Docs.")
    do(team, "approve")
    assert team.last(RunFinished).degraded == ()  # The last word is a person's, whatever the review said.
    assert "Mine." in team.last(RunFinished).result


def test_without_review_a_persons_text_is_approved_whatever_a_review_said_of_the_one_before() -> None:
    team, workers = begin(pipeline(rounds_max=1))
    workers["coder"].finish("First text.")
    workers["reviewer"].finish(rejected("too short"))
    workers["refiner"].finish("Longer text.")
    workers["reviewer"].finish(rejected("still too short"))
    assert team.of(SectionApproved) == []
    do(team, "edit", section="code", text="Mine.")
    assert (team.last(SectionApproved).version, team.last(SectionApproved).by) == (3, "auto")


def test_a_text_that_is_still_to_be_written_cannot_be_edited_under_the_writers_hands() -> None:
    team, workers = begin(two(), review=True)
    assert "planner is not done with 'Plan'" in refused(team, "section_busy", "edit", section="plan", text="Mine.")
    assert "coder is not done with 'Code'" in refused(team, "section_busy", "edit", section="code", text="Mine.")
    workers["planner"].abandon("llm_error")
    do(team, "edit", section="plan", text="Mine.")
    assert text_of(team, "plan") == "Mine."


def test_an_edit_of_a_failed_section_makes_the_document_whole() -> None:
    team, workers = begin(seven(), review=True)
    workers["writer-7"].abandon("llm_error")
    for number in range(1, 7):
        workers[f"writer-{number}"].finish("A good text.")
    do(team, "edit", section="benefits", text="There are some.")
    do(team, "approve")
    assert team.last(RunFinished).degraded == ()
    assert team.last(RunFinished).result.endswith("## Benefits\n\nThere are some.")


def test_an_edit_has_a_limit_and_leaves_only_its_hash_with_the_command() -> None:
    team, _ = reviewed()
    small = Team(limits=Limits(thought_bytes_max=10))
    team.post.memory.limits = small.limits
    assert "at most 10 bytes" in refused(team, "too_large", "edit", section="plan", text="x" * 11)
    do(team, "edit", section="plan", text="short")
    args = next(event for event in reversed(team.log) if event.kind == "command.accepted").args
    assert len(args["text"]) == 64 and args["section"] == "plan"


def test_an_edited_answer_is_the_result() -> None:
    team, workers = begin(answered(), review=True)
    workers["coder"].finish("Code.")
    workers["planner"].finish("Plan.")
    workers["sum"].write("Half an ans")
    workers["sum"].finalize(truncated=True, finish_reason="length")
    do(team, "edit", section="synthesis", text="The answer.")
    do(team, "approve")
    assert (team.last(RunFinished).result, team.last(RunFinished).degraded) == ("The answer.", ())


# ---- what a stage leaves ---------------------------------------------------------------------------------------------


def test_a_stage_that_fails_on_the_way_down_leaves_its_last_final_text() -> None:
    team, workers = begin(two(checkpoints=(0.0, 0.5)))
    workers["planner"].finish("A wide plan.")
    workers["planner"].abandon("llm_error", error="no")
    assert (team.last(StageFinished).outcome, text_of(team, "plan")) == ("abandoned", "A wide plan.")
    workers["coder"].finish("Code.")
    assert team.last(RunFinished).degraded == ("planner stopped at 0.5 (llm_error: no)",)
    assert "A wide plan." in team.last(RunFinished).result


# ---- pause -----------------------------------------------------------------------------------------------------------


def test_paused_while_it_is_reviewed() -> None:
    team, workers = reviewed(two(gate=True))
    do(team, "pause")
    do(team, "approve", section="plan")
    assert team.thought_of("coder") is None
    do(team, "resume")
    workers["coder"].finish("Code.")
    do(team, "pause")
    do(team, "approve", section="code")
    assert not team.run().ended
    do(team, "resume")
    assert team.run().status == "finished"


def test_two_sections_that_ended_during_a_pause_are_both_ready_after_it() -> None:
    team, workers = begin(seven(), review=True)
    thoughts = {name: worker.thought for name, worker in workers.items()}
    for worker in workers.values():
        worker.write("A good text.")
    do(team, "pause")
    for name, worker in workers.items():
        worker.finalize(thoughts[name])
    assert team.of(SectionReady) == []
    do(team, "resume")
    assert len(team.of(SectionReady)) == 7
    assert team.of(ThoughtAbandoned) == []
    do(team, "approve")
    assert team.run().status == "finished"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("approve", {"section": "nothing"}),
        ("reopen", {"section": "nothing"}),
        ("edit", {"section": "nothing", "text": "x"}),
        ("cancel", {"section": "nothing"}),
    ],
)
def test_a_section_that_is_not_there(name: str, fields: dict[str, Any]) -> None:
    team, _ = reviewed()
    assert "it has plan, code" in refused(team, "unknown_section", name, **fields)
