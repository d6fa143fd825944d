"""Steer, regenerate and cancel: what the next attempt is told, and what becomes of the texts made from the old one."""

from __future__ import annotations

from typing import Any

import pytest
from plots import APPROVED, answered, assignment, begin, code, pipeline, refused, rejected, seven, text_of
from team import Team, Worker

from felixhub.core.events import (
    Feedback,
    RunFailed,
    RunFinished,
    SectionReady,
    SectionReopened,
    SectionStale,
    StageFinished,
    StageReopened,
    ThoughtAbandoned,
    ThoughtCancelling,
    ThoughtStarted,
)
from felixhub.core.limits import Limits
from felixhub.core.messages import Cancel, Ok, Steer
from felixhub.core.workflow import Converge, Stage, Synthesis, Workflow


def chain(*, on_change: Any = "redo", **first: Any) -> Workflow:
    """A text and one that is made from it."""
    return Workflow(
        name="chain",
        stages=(
            Stage(name="plan", agent="planner", section="Plan", instruction="Plan it.", **first),
            Stage(name="code", agent="coder", after=("plan",), section="Code", on_change=on_change),
            Stage(name="docs", agent="documenter", after=("code",), section="Docs"),
        ),
    )


def in_review(workflow: Workflow | None = None, *texts: str) -> tuple[Team, dict[str, Worker]]:
    """A run that a person will approve, in which each agent has said its text."""
    team, workers = begin(workflow or chain(), review=True)
    for text in texts:
        open_one = team.story.open()[0].started
        workers[open_one.agent].finish(text)
    return team, workers


def steer(team: Team, **fields: Any) -> dict[str, Any]:
    reply = team.command("steer", **fields)
    assert isinstance(reply, Ok), reply
    return reply.data


# ---- what the next attempt is told -----------------------------------------------------------------------------------


def test_a_steered_thought_is_superseded_and_the_next_has_request_text_and_feedback() -> None:
    team, workers = begin(chain())
    first = workers["planner"].thought
    workers["planner"].write("Half a pl")
    reply = steer(team, agent="planner", wrong="too long", instead="one page", constraints="no jargon")
    assert reply == {"run": "r1", "stage": "plan", "agent": "planner", "revises": first}
    cancelling = team.last(ThoughtCancelling)
    assert (cancelling.thought, cancelling.reason, cancelling.by) == (first, "superseded", "anna")
    workers["planner"].abandon("superseded", thought=first)
    assert (team.last(ThoughtAbandoned).reason, team.last(ThoughtAbandoned).retry_s) == ("superseded", 0.0)
    told = assignment(team, "planner")
    assert (told.task, told.instruction) == ("Why is the sky blue?", "Plan it.")
    assert told.revises == "Half a pl"
    assert told.feedback == (Feedback(wrong="too long", instead="one page", constraints="no jargon"),)
    started = team.last(ThoughtStarted)
    assert (started.attempt, started.round, started.steered_by, started.revises) == (1, 1, "c1", first)


def test_steered_twice_quickly_both_words_arrive_in_order() -> None:
    team, workers = begin(chain())
    workers["planner"].write("Half a pl")
    thought = workers["planner"].thought
    steer(team, agent="planner", wrong="too long")
    steer(team, thought=thought, instead="one page")
    assert len(team.of(ThoughtCancelling)) == 1
    workers["planner"].abandon("superseded", thought=thought)
    told = assignment(team, "planner")
    assert [(one.wrong, one.instead) for one in told.feedback] == [("too long", ""), ("", "one page")]
    assert told.revises == "Half a pl"
    workers["planner"].finish("A plan.")
    steer(team, section="plan", wrong="too vague")
    assert [one.wrong for one in assignment(team, "planner").feedback] == ["too long", "", "too vague"]


def test_steered_when_final_it_is_a_new_round_on_that_text() -> None:
    team, workers = in_review(None, "A plan.")
    steer(team, agent="planner", wrong="too vague")
    assert [(e.stage, e.round, e.reason) for e in team.of(StageReopened)] == [
        ("plan", 2, "steered"),
        ("code", 1, "changed"),  # It had not ended: this is still its first round.
    ]
    told = assignment(team, "planner")
    assert (told.revises, told.attempt) == ("A plan.", 1)
    assert team.last(ThoughtStarted).round == 2
    workers["planner"].finish("A better plan.")
    assert [(event.version, event.section) for event in team.of(SectionReady)] == [(1, "plan"), (2, "plan")]
    assert text_of(team, "plan") == "A better plan."


def test_steered_before_it_began_it_is_told_when_it_does() -> None:
    team, workers = begin(chain())
    assert steer(team, agent="coder", instead="in one file")["revises"] is None
    assert team.of(ThoughtCancelling) == []
    workers["planner"].finish("A plan.")
    told = assignment(team, "coder")
    assert [one.instead for one in told.feedback] == ["in one file"]
    assert (told.revises, told.attempt) == ("", 1)
    assert [given.text for given in told.context] == ["A plan."]


def test_steer_and_finalize_that_cross_the_text_is_superseded_not_final() -> None:
    team, workers = begin(chain())
    workers["planner"].write("A whole plan.")
    thought = workers["planner"].thought
    steer(team, agent="planner", wrong="too long")
    workers["planner"].finalize(thought)
    assert team.thought(thought).state == "abandoned"
    assert team.last(ThoughtAbandoned).reason == "superseded"
    assert team.of(SectionReady) == []
    assert assignment(team, "planner").revises == "A whole plan."


def test_steered_while_a_pause_stops_it_the_old_text_is_not_final_either() -> None:
    team, workers = begin(chain())
    workers["planner"].write("A whole plan.")
    thought = workers["planner"].thought
    team.command("pause")
    steer(team, agent="planner", wrong="too long")
    workers["planner"].finalize(thought)
    assert team.thought(thought).state == "abandoned"
    team.command("resume")
    told = assignment(team, "planner")
    assert [one.wrong for one in told.feedback] == ["too long"]
    assert told.revises == "A whole plan."


def test_steered_while_it_waits_to_try_again_the_good_text_is_revised_not_the_broken_one() -> None:
    team, workers = in_review(None, "A plan.")
    steer(team, agent="planner", wrong="too vague")
    workers["planner"].write("A bro")
    workers["planner"].abandon("llm_error")
    steer(team, agent="planner", wrong="too long")
    assert assignment(team, "planner").revises == "A plan."


def test_regenerate_without_feedback_is_the_original_request_again() -> None:
    team, workers = in_review(None, "A plan.")
    steer(team, agent="planner", wrong="too vague")
    workers["planner"].finish("A better plan.")
    assert isinstance(team.command("regenerate", section="plan"), Ok)
    told = assignment(team, "planner")
    assert (told.revises, told.feedback, told.instruction) == ("", (), "Plan it.")
    assert team.last(ThoughtStarted).steered_by is None
    assert text_of(team, "plan") == "A better plan."


def test_regenerate_with_feedback_revises_the_current_text() -> None:
    team, _ = in_review(None, "A plan.")
    assert isinstance(team.command("regenerate", section="plan", wrong="too vague"), Ok)
    told = assignment(team, "planner")
    assert (told.revises, [one.wrong for one in told.feedback]) == ("A plan.", ["too vague"])


def test_regenerate_while_the_steered_attempt_has_not_begun_again() -> None:
    team, workers = in_review(None, "A plan.")
    workers["planner"].bye()
    steer(team, agent="planner", wrong="too vague")
    assert isinstance(team.command("regenerate", agent="planner"), Ok)
    team.worker("planner")
    assert assignment(team, "planner").feedback == ()


def test_an_abandoned_stage_is_regenerated() -> None:
    team, workers = in_review(chain(retries_max=0))
    workers["planner"].write("Half a pl")
    workers["planner"].abandon("llm_error")
    assert team.last(StageFinished).outcome == "abandoned"
    assert isinstance(team.command("regenerate", agent="planner", wrong="it broke off"), Ok)
    assert assignment(team, "planner").revises == "Half a pl"
    workers["coder"].abandon("superseded")  # It had begun without a plan.
    workers["planner"].finish("A whole plan.")
    assert text_of(team, "plan") == "A whole plan."
    workers["coder"].finish()
    workers["documenter"].finish()
    team.command("approve")
    assert team.last(RunFinished).degraded == ()


def test_a_failed_attempt_at_a_better_text_leaves_the_good_one() -> None:
    team, workers = in_review(chain(retries_max=0), "A plan.")
    steer(team, section="plan", wrong="too vague")
    workers["planner"].write("A bro")
    workers["planner"].abandon("llm_error")
    assert text_of(team, "plan") == "A plan."
    assert [given.text for given in assignment(team, "coder").context] == ["A plan."]


def test_a_place_on_the_helix_is_steered_where_it_is() -> None:
    workflow = Workflow(
        name="down", stages=(Stage(name="dive", agent="coder", section="Dive", checkpoints=(0.0, 0.5, 0.9)),)
    )
    team, workers = begin(workflow)
    workers["coder"].finish("Wide.")
    workers["coder"].write("Narr")
    steer(team, agent="coder", wrong="too narrow")
    workers["coder"].abandon("superseded")
    told = assignment(team, "coder")
    assert (told.checkpoint, told.own, told.revises) == (0.5, "Wide.", "Narr")
    assert team.last(ThoughtStarted).checkpoint == 0.5


@pytest.mark.parametrize("name", ["steer", "regenerate"])
def test_what_cannot_be_steered_is_refused_without_a_trace(name: str) -> None:
    team, workers = begin(pipeline())
    words = {"wrong": "no"}
    assert "exactly one" in refused(team, "bad_message", name, **words)
    assert "exactly one" in refused(team, "bad_message", name, agent="coder", section="code", **words)
    assert "coder" in refused(team, "unknown_agent", name, agent="nobody", **words)
    refused(team, "unknown_thought", name, thought="t0", **words)
    refused(team, "unknown_section", name, section="nothing", **words)
    refused(team, "unknown_run", name, run="r9", agent="coder", **words)
    team.command("cancel", agent="coder")
    refused(team, "being_cancelled", name, agent="coder", **words)
    workers["coder"].abandon("cancelled")
    team.command("cancel")
    refused(team, "run_ended", name, agent="coder", **words)


def test_steer_needs_a_word_and_regenerate_something_that_began() -> None:
    team, _ = begin(chain())
    assert "say what is wrong" in refused(team, "bad_message", "steer", agent="planner", constraints="short")
    refused(team, "bad_message", "steer", agent="planner", wrong="  ")
    refused(team, "not_begun", "regenerate", agent="coder")


def test_who_was_passed_over_cannot_be_steered_into_thinking() -> None:
    team, workers = begin(pipeline(), review=True)
    workers["coder"].finish("First text.")
    workers["reviewer"].finish(APPROVED)
    assert "not asked for" in refused(team, "not_begun", "steer", agent="tester", wrong="no")
    assert "the review approves code" in refused(team, "not_begun", "regenerate", agent="refiner")


def test_words_without_end_are_refused_by_the_size_of_the_assignment() -> None:
    team, workers = begin(chain(), review=True)
    workers["planner"].finish("A plan.")
    team.post.memory.limits = Limits(assignment_bytes_max=50_000)
    for _ in range(3):
        steer(team, section="plan", wrong="x" * 20_000)
        team.wait(2.0)
    assert team.last(StageFinished).why.startswith("context_exceeded: it would be given 60")
    assert text_of(team, "plan") == "A plan."


def test_a_run_that_is_failing_takes_no_more_words() -> None:
    workflow = Workflow(
        name="strict",
        stages=(
            Stage(name="plan", agent="planner", on_failure="fail"),
            Stage(name="code", agent="coder"),
        ),
    )
    team, workers = begin(workflow)
    workers["planner"].abandon("llm_error")
    assert not team.of(RunFailed)  # The coder is being stopped.
    refused(team, "run_ended", "regenerate", agent="planner")
    workers["coder"].abandon("cancelled")
    assert team.last(RunFailed)


# ---- what depends on it ----------------------------------------------------------------------------------------------


def test_whatever_was_made_from_a_steered_text_is_made_again_in_order() -> None:
    team, workers = in_review(None, "A plan.", "Code.", "Docs.")
    team.command("approve")
    assert team.run().status == "finished"
    team, workers = in_review(None, "A plan.", "Code.", "Docs.")
    team.command("approve", section="code")
    steer(team, section="plan", wrong="too vague")
    assert [(e.stage, e.round, e.reason) for e in team.of(StageReopened)] == [
        ("plan", 2, "steered"),
        ("code", 2, "changed"),
        ("docs", 2, "changed"),
    ]
    assert [(e.section, e.version) for e in team.of(SectionReopened)] == [("code", 1)]
    assert [e.agent for e in team.of(ThoughtStarted)][3:] == ["planner"]
    workers["planner"].finish("A better plan.")
    assert [given.text for given in assignment(team, "coder").context] == ["A better plan."]
    assert assignment(team, "coder").revises == ""  # Made anew, not mended.
    workers["coder"].finish("Better code.")
    workers["documenter"].finish("Better docs.")
    team.command("approve")
    assert (
        team.last(RunFinished).result
        == "## Plan\n\nA better plan.\n\n## Code\n\nBetter code.\n\n## Docs\n\nBetter docs."
    )


def test_who_thinks_on_an_old_text_is_superseded() -> None:
    team, workers = in_review(None, "A plan.")
    thought = workers["coder"].thought
    workers["coder"].write("Old c")
    steer(team, section="plan", wrong="too vague")
    assert {event.thought for event in team.of(ThoughtCancelling)} == {thought}
    workers["coder"].finalize(thought)
    assert team.thought(thought).state == "abandoned"
    assert team.thought_of("coder") is None
    workers["planner"].finish("A better plan.")
    assert [given.text for given in assignment(team, "coder").context] == ["A better plan."]
    assert assignment(team, "coder").revises == ""


def test_by_the_workflows_word_it_is_only_marked_stale_and_what_comes_after_that_stands() -> None:
    team, workers = in_review(chain(on_change="stale"), "A plan.", "Code.", "Docs.")
    steer(team, section="plan", wrong="too vague")
    assert [event.stage for event in team.of(StageReopened)] == ["plan"]
    assert [(event.section, event.version) for event in team.of(SectionStale)] == [("code", 1)]
    workers["planner"].finish("A better plan.")
    team.command("approve")
    assert team.run().status == "finished"
    assert team.last(RunFinished).degraded == ()  # Whoever approved the stale one has seen that it is.
    team, workers = in_review(chain(on_change="stale"), "A plan.", "Code.", "Docs.")
    team.command("approve", section="code")
    steer(team, section="plan", wrong="too vague")
    workers["planner"].finish("A better plan.")
    team.command("approve", section="plan")
    team.command("approve", section="docs")
    assert team.last(RunFinished).degraded == ("Code is made from an earlier text",)


def test_what_is_still_being_made_from_the_old_text_is_made_anew_even_so() -> None:
    team, workers = in_review(chain(on_change="stale"), "A plan.")
    assert workers["coder"].is_thinking
    steer(team, section="plan", wrong="too vague")
    assert [event.stage for event in team.of(StageReopened)] == ["plan", "code"]
    assert team.of(SectionStale) == []


def test_a_steered_writer_is_reviewed_again_from_the_first_round() -> None:
    team, workers = begin(pipeline(rounds_max=1), review=True)
    workers["coder"].finish("First text.")
    workers["reviewer"].finish(rejected("It is too short."))
    workers["refiner"].finish("Longer text.")
    workers["reviewer"].finish(APPROVED)
    steer(team, section="code", wrong="another language")
    workers["documenter"].abandon("superseded")
    assert assignment(team, "coder").revises == "Longer text."
    workers["coder"].finish("Another text.")
    assert [given.text for given in assignment(team, "reviewer").context] == ["Another text."]
    workers["reviewer"].finish(APPROVED)
    assert [e.outcome for e in team.of(StageFinished) if e.stage == "refine"] == ["final", "skipped"]
    assert [e.outcome for e in team.of(StageFinished) if e.stage == "review-2"] == ["final", "skipped"]
    workers["documenter"].finish()
    team.command("approve")
    assert team.last(RunFinished).degraded == ()


def test_who_was_given_up_is_not_woken_by_a_change() -> None:
    team, workers = in_review(None, "A plan.", "Code.")
    team.command("cancel", agent="documenter")
    workers["documenter"].abandon("cancelled")
    steer(team, section="plan", wrong="too vague")
    assert [event.stage for event in team.of(StageReopened)] == ["plan", "code"]


def test_a_synthesis_is_made_again_from_a_steered_text() -> None:
    team, workers = begin(answered(section="{title}"), review=True)
    workers["coder"].finish("Code.")
    workers["planner"].finish("Plan.")
    workers["sum"].finish("Sum of code and plan.")
    steer(team, agent="coder", wrong="no")
    assert [event.stage for event in team.of(StageReopened)] == ["code", "synthesis"]
    workers["coder"].finish("Better code.")
    assert [given.text for given in assignment(team, "sum").context] == ["Better code.", "Plan."]
    workers["sum"].finish("A better sum.")
    team.command("approve")
    assert team.last(RunFinished).result == "A better sum."
    assert team.last(RunFinished).degraded == ()


def test_a_steered_stage_thinks_again_though_the_team_has_converged() -> None:
    workflow = Workflow(
        name="helix",
        stages=(
            Stage(name="code", agent="coder", section="Code", checkpoints=(0.0, 0.5, 0.9)),
            Stage(name="plan", agent="planner", section="Plan", checkpoints=(0.5,)),
        ),
        synthesis=Synthesis(agent="sum", converge=Converge(progress=0.5, confidence=0.0)),
    )
    team, workers = begin(workflow, review=True)
    workers["planner"].finish("Plan.")
    workers["coder"].finish("Wide.")
    workers["coder"].finish("Narrower.")
    assert team.last(StageFinished).why.startswith("the team has converged")
    steer(team, agent="coder", wrong="too vague")
    assert assignment(team, "coder").checkpoint == 0.5
    workers["coder"].finish("Narrower and better.")
    assert text_of(team, "code") == "Narrower and better."


# ---- cancel ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fails", "stalls", "agent", "thought", "section", "lost"])
def test_one_of_seven_sections_never_delays_the_six_others_and_is_named(how: str) -> None:
    team, workers = begin(seven())
    seventh = workers["writer-7"]
    others = [workers[f"writer-{number}"] for number in range(1, 7)]
    for worker in others[:3]:
        worker.finish("A good text.")
    seventh.write("Half")
    match how:
        case "fails":
            seventh.abandon("llm_error", error="no answer")
        case "stalls":
            seventh.abandon("stalled", error="silent for 300 s")
        case "lost":
            team.now += 15.0
            for worker in others:
                worker.beat()
            team.wait(5.0)
        case "agent" | "thought" | "section":
            target = {"agent": "writer-7", "thought": seventh.thought, "section": "benefits"}[how]
            assert isinstance(team.command("cancel", **{how: target}), Ok)
            seventh.abandon("cancelled")
    for worker in others[3:]:
        assert worker.is_thinking
        worker.finish("A good text.")
    end = team.last(RunFinished)
    assert len(end.degraded) == 1
    assert end.degraded[0].startswith("Benefits is missing: writer-7 (")
    assert end.result.count("A good text.") == 6
    assert "Half" not in end.result


def test_cancel_of_what_is_being_steered_ends_it() -> None:
    team, workers = begin(seven())
    workers["writer-1"].write("Half")
    steer(team, agent="writer-1", wrong="no")
    team.command("cancel", agent="writer-1")
    workers["writer-1"].abandon("superseded")
    assert (team.last(StageFinished).outcome, team.last(StageFinished).why) == ("abandoned", "cancelled by anna")
    assert not workers["writer-1"].is_thinking


def test_a_section_that_was_given_up_and_is_wanted_again_is_reviewed_too() -> None:
    team, workers = begin(pipeline(), review=True)
    workers["coder"].write("Half")
    team.command("cancel", section="code")
    workers["coder"].abandon("cancelled")
    steer(team, section="code", instead="try again")
    assert team.thought_of("documenter") is None or team.of(ThoughtCancelling)[-1].agent == "documenter"
    workers["coder"].finish("First text.")
    assert [given.text for given in assignment(team, "reviewer").context] == ["First text."]


def test_a_cancelled_stage_can_be_steered_back() -> None:
    team, workers = begin(seven())
    team.command("cancel", agent="writer-1")
    workers["writer-1"].abandon("cancelled")
    steer(team, agent="writer-1", instead="try again")
    assert team.last(ThoughtStarted).agent == "writer-1"
    for worker in workers.values():
        worker.finish("A good text.")
    assert team.last(RunFinished).degraded == ()


# ---- once ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("steer", {"agent": "planner", "wrong": "too vague"}),
        ("regenerate", {"section": "plan"}),
        ("approve", {"section": "plan"}),
        ("edit", {"section": "plan", "text": "My plan."}),
        ("cancel", {"section": "docs"}),
        ("pause", {}),
    ],
)
def test_a_command_is_done_once_across_a_restart(name: str, fields: dict[str, Any]) -> None:
    team, _ = in_review(None, "A plan.", "Code.", "Docs.")
    first = team.command(name, id="once", **fields)
    assert isinstance(first, Ok), first
    team.restart()
    at = len(team.log)
    assert team.command(name, id="once", **fields) == first
    assert team.command(name, id="once", **{**fields, "by": "bert"}) == first  # Who asks again does not matter.
    assert code(team.command("reopen", id="once", section="code")) == "id_reused"
    if name == "edit":
        assert code(team.command(name, id="once", section="plan", text="Another plan.")) == "id_reused"
    assert len(team.log) == at


def test_hub_killed_between_a_steer_and_its_effect() -> None:
    team, workers = begin(chain())
    workers["planner"].write("Half a pl")
    thought = workers["planner"].thought
    team.send(Steer(id="s", run="r1", agent="planner", wrong="too long"), fails=True)
    assert team.of(StageReopened) == []  # Not committed, so it has not happened; the client asks again.
    assert isinstance(team.send(Steer(id="s", run="r1", agent="planner", wrong="too long")), Ok)
    team.restart(settle=False)
    workers["planner"].hello(thought)
    assert [cancel.reason for cancel in workers["planner"].got(Cancel)] == ["superseded"]
    workers["planner"].abandon("superseded", thought=thought)
    assert len(assignment(team, "planner").feedback) == 1
