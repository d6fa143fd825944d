"""What a verdict does: a loop of review and revision, its limit, and a stage that runs only when asked for."""

from __future__ import annotations

from typing import Any

import pytest
from plots import APPROVED, assignment, begin, pipeline, rejected, text_of
from team import Team, Worker

from felixhub.core.events import SectionApproved, SectionReady, StageFinished, ThoughtFinalized, ThoughtStarted
from felixhub.core.workflow import Stage, Workflow


def written(**fields: Any) -> tuple[Team, dict[str, Worker]]:
    """A pipeline whose first text is there."""
    team, workers = begin(pipeline(**fields.pop("flow", {})), **fields)
    workers["coder"].finish("First text.")
    return team, workers


def outcomes(team: Team) -> dict[str, str]:
    return {event.stage: event.outcome for event in team.of(StageFinished)}


def test_an_approval_ends_the_loop() -> None:
    team, workers = written()
    workers["reviewer"].finish(APPROVED)
    assert [outcomes(team)[name] for name in ("refine", "review-2", "refine-2", "review-3")] == ["skipped"] * 4
    assert team.last(SectionApproved).section == "code"
    workers["documenter"].finish("Read me.")
    assert team.run().status == "finished"
    assert team.run().ended.degraded == ()
    assert team.run().ended.result == "## Code\n\nFirst text.\n\n## Documentation\n\nRead me."


def test_a_rejection_is_answered_with_the_text_the_issues_and_nothing_else() -> None:
    team, workers = written()
    review = workers["reviewer"].finish(rejected("It is too short."))
    told = assignment(team, "refiner")
    assert told.revises == "First text."
    assert [(given.thought, given.agent) for given in told.context] == [(review, "reviewer")]
    assert "too short" in told.context[0].text


def test_the_next_review_is_given_the_revised_text() -> None:
    team, workers = written()
    workers["reviewer"].finish(rejected("It is too short."))
    workers["refiner"].finish("Second, longer text.")
    told = assignment(team, "reviewer")
    assert told.review
    assert [given.text for given in told.context] == ["Second, longer text."]
    workers["reviewer"].finish(APPROVED)
    assert text_of(team, "code") == "Second, longer text."
    assert (team.last(SectionApproved).version, team.last(SectionApproved).by) == (2, "auto")


def test_the_round_limit_ends_the_loop_and_says_what_is_left() -> None:
    team, workers = written()
    for number in range(2):
        workers["reviewer"].finish(rejected("It is too short."))
        workers["refiner"].finish(f"Longer text {number}.")
    workers["reviewer"].finish(rejected("It is too short.", "It is wrong."))
    assert not team.of(SectionApproved)
    workers["documenter"].finish()
    assert team.run().ended.degraded == ("Code is not approved by its review: 2 issues left",)
    assert "Longer text 1." in team.run().ended.result
    assert [version.number for version in team.run().sections["code"].versions] == [1, 2, 3]


def test_a_reviewers_error_is_not_an_approval() -> None:
    team, workers = written()
    workers["reviewer"].abandon("llm_error", error="refused")
    assert outcomes(team)["review"] == "abandoned"
    assert outcomes(team)["refine"] == "skipped"
    workers["documenter"].finish()
    assert not [event for event in team.of(SectionApproved) if event.section == "code"]
    assert team.run().ended.degraded == ("Code is not reviewed (llm_error: refused)",)


def test_what_could_not_be_read_is_repaired_once_with_the_fault_told() -> None:
    team, workers = written()
    assert assignment(team, "reviewer").repair == ""
    workers["reviewer"].finish("I approve of this.")
    told = assignment(team, "reviewer")
    assert told.review and "JSON" in told.repair and told.attempt == 2
    assert [event.verdict.fault != "" for event in team.of(ThoughtFinalized) if event.verdict] == [True]
    workers["reviewer"].finish(APPROVED)
    assert team.last(SectionApproved).section == "code"


def test_a_review_that_cannot_be_read_twice_fails_its_stage() -> None:
    team, workers = written()
    workers["reviewer"].finish("I approve of this.")
    workers["reviewer"].finish("Really, I do.")
    assert outcomes(team)["review"] == "abandoned"
    assert not [event for event in team.of(SectionApproved) if event.section == "code"]
    workers["documenter"].finish()
    assert "Code is not reviewed (its review could not be read" in team.run().ended.degraded[0]


@pytest.mark.parametrize("how", ["abandoned", "truncated"])
def test_a_refinement_that_went_wrong_leaves_the_good_text(how: str) -> None:
    team, workers = written()
    workers["reviewer"].finish(rejected("It is too short."))
    if how == "abandoned":
        workers["refiner"].write("Half a te")
        workers["refiner"].abandon("llm_error")
        assert outcomes(team)["review-2"] == "skipped"
        assert [event.version for event in team.of(SectionReady)] == [1]
    else:
        thought = workers["refiner"].thought
        workers["refiner"].write("Half a te")
        workers["refiner"].finalize(thought, finish_reason="length", truncated=True)
        workers["reviewer"].finish(rejected("It is too short."))
        workers["refiner"].abandon("llm_error")
    assert text_of(team, "code") == "First text."
    workers["documenter"].finish()
    assert "First text." in team.run().ended.result
    assert "Code is not approved by its review: 1 issue left" in team.run().ended.degraded
    assert not [event for event in team.of(SectionApproved) if event.section == "code"]


def test_the_tester_runs_only_when_asked_for() -> None:
    team, workers = written()
    workers["reviewer"].finish(APPROVED)
    assert outcomes(team)["tests"] == "skipped"
    assert assignment(team, "documenter")
    team, workers = written(include=("tests",))
    workers["reviewer"].finish(APPROVED)
    assert team.thought_of("documenter") is None
    workers["tester"].finish("They pass.")
    assert {given.text for given in assignment(team, "documenter").context} == {"First text.", "They pass."}
    workers["documenter"].finish()
    assert team.run().ended.degraded == ()


def test_a_second_reviewer_judges_though_the_first_one_approved_at_once() -> None:
    second = Workflow(
        name="twice",
        stages=(
            Stage(name="code", agent="coder", section="Code"),
            Stage(name="style", agent="reviewer", after=("code",), reviews="code", instruction="Style."),
            Stage(name="polish", agent="refiner", after=("style",), revises="code"),
            Stage(name="safety", agent="reviewer", after=("polish",), reviews="code", instruction="Safety."),
            Stage(name="mend", agent="refiner", after=("safety",), revises="code"),
        ),
    )
    team, workers = begin(second)
    workers["coder"].finish("First text.")
    workers["reviewer"].finish(APPROVED)
    assert assignment(team, "reviewer").instruction == "Safety."
    workers["reviewer"].finish(rejected("It is not safe."))
    assert assignment(team, "refiner").stage == "mend"
    workers["refiner"].abandon("llm_error", lasting=True)
    assert not team.of(SectionApproved)
    assert team.run().ended.degraded[-1] == "Code is not approved by its review: 1 issue left"


def test_two_reviews_side_by_side_must_both_approve() -> None:
    both = Workflow(
        name="both",
        stages=(
            Stage(name="code", agent="coder", section="Code"),
            Stage(name="safety", agent="tester", after=("code",), reviews="code"),
            Stage(name="style", agent="reviewer", after=("code",), reviews="code"),
        ),
    )
    team, workers = begin(both)
    workers["coder"].finish("First text.")
    workers["tester"].finish(rejected("It is not safe."))
    workers["reviewer"].finish(APPROVED)
    assert not team.of(SectionApproved)
    assert team.run().ended.degraded == ("Code is not approved by its review: 1 issue left",)


@pytest.mark.parametrize("context", ["latest", "after", "none"])
def test_a_review_is_given_what_it_reviews_and_a_revision_what_was_found_whatever_else_is_given(context: Any) -> None:
    through = Workflow(
        name="through",
        stages=(
            Stage(name="code", agent="coder", section="Code"),
            Stage(name="docs", agent="documenter", after=("code",), section="Documentation"),
            Stage(name="review", agent="coder", after=("docs",), reviews="code", context=context),
            Stage(name="refine", agent="refiner", after=("review",), revises="code", context=context),
        ),
    )
    team, workers = begin(through)
    workers["coder"].finish("First text.")
    workers["documenter"].finish("Read me.")
    assert [given.text for given in assignment(team, "coder").context].count("First text.") == 1
    found = workers["coder"].finish(rejected("It is too short."))
    told = assignment(team, "refiner")
    assert told.revises == "First text."
    assert "First text." not in [given.text for given in told.context]
    assert [given.thought for given in told.context].count(found) == 1


def test_the_writer_may_be_the_one_who_revises() -> None:
    own = Workflow(
        name="own",
        stages=(
            Stage(name="code", agent="coder", section="Code"),
            Stage(name="review", agent="reviewer", after=("code",), reviews="code"),
            Stage(name="refine", agent="coder", after=("review",), revises="code"),
        ),
    )
    team, workers = begin(own)
    workers["coder"].finish("First text.")
    workers["reviewer"].finish(rejected("It is too short."))
    assert assignment(team, "coder").revises == "First text."
    workers["coder"].finish("Second text.")
    workers["reviewer"].finish(APPROVED)
    assert team.run().ended.result == "Second text."
    assert [event.agent for event in team.of(ThoughtStarted)] == ["coder", "reviewer", "coder", "reviewer"]
