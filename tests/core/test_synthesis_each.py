"""`when = "each"`: one answer again and again, superseded, never doubled, and in the end from everything."""

from __future__ import annotations

from typing import Any

from plots import answered, assignment, begin
from team import Team, Worker

from felixhub.core.events import (
    RunFinished,
    SectionReady,
    StageFinished,
    SynthesisFinished,
    SynthesisStarted,
    ThoughtAbandoned,
    ThoughtCancelling,
    ThoughtStarted,
)
from felixhub.core.messages import Ok
from felixhub.core.workflow import Stage, Synthesis, Workflow


def each(**synthesis: Any) -> tuple[Team, dict[str, Worker]]:
    """Three agents and a synthesis after each of their thoughts."""
    names = ("coder", "planner", "writer")
    workflow = Workflow(
        name="each",
        stages=tuple(Stage(name=name, agent=name, retries_max=0) for name in names),
        synthesis=Synthesis(**{"agent": "sum", "when": "each", "retries_max": 0, **synthesis}),
    )
    return begin(workflow)


def given(team: Team) -> list[str]:
    return [one.text for one in assignment(team, "sum").context]


def test_it_begins_with_the_first_final_thought() -> None:
    team, workers = each()
    assert team.thought_of("sum") is None
    workers["planner"].finish("Plan.")
    assert given(team) == ["Plan."]
    assert team.last(SynthesisStarted).missing == ()  # The others are not missing: they are thinking.


def test_one_that_is_under_way_is_superseded_not_doubled() -> None:
    team, workers = each()
    workers["planner"].finish("Plan.")
    workers["sum"].write("Sum of pl")
    first = workers["sum"].thought
    workers["coder"].finish("Code.")
    cancelling = team.last(ThoughtCancelling)
    assert (cancelling.thought, cancelling.reason, cancelling.by) == (first, "superseded", "hub")
    assert [event.agent for event in team.of(ThoughtStarted)].count("sum") == 1
    workers["sum"].finalize(first)  # Its end has crossed the word to stop.
    assert team.last(ThoughtAbandoned).reason == "superseded"
    assert given(team) == ["Code.", "Plan."]
    assert team.last(ThoughtStarted).attempt == 2


def test_what_was_said_of_all_so_far_waits_for_more() -> None:
    team, workers = each()
    workers["planner"].finish("Plan.")
    workers["sum"].finish("Sum of plan.")
    assert team.thought_of("sum") is None
    assert team.of(SynthesisFinished) == [] and team.of(SectionReady) == []
    workers["coder"].finish("Code.")
    assert given(team) == ["Code.", "Plan."]


def test_the_final_result_covers_everything() -> None:
    team, workers = each()
    for name in ("planner", "coder", "writer"):
        workers[name].finish(f"{name}.")
        workers["sum"].finish(f"Sum with {name}.")
    assert len(team.of(SynthesisStarted)) == 3
    assert team.last(SynthesisStarted).inputs == tuple(
        event.thought
        for name in ("coder", "planner", "writer")
        for event in team.of(ThoughtStarted)
        if event.agent == name
    )
    assert [(e.section, e.version) for e in team.of(SectionReady)] == [("synthesis", 1)]
    assert (team.last(RunFinished).result, team.last(RunFinished).degraded) == ("Sum with writer.", ())


def test_if_the_last_stage_fails_the_synthesis_that_has_all_is_the_answer() -> None:
    team, workers = each()
    workers["planner"].finish("Plan.")
    workers["coder"].finish("Code.")
    workers["sum"].abandon("superseded")
    workers["sum"].finish("Sum of both.")
    workers["writer"].abandon("llm_error", error="no")
    assert team.last(RunFinished).result == "Sum of both."
    assert team.last(RunFinished).degraded == ("writer is missing (llm_error: no)",)


def test_all_inputs_failing_there_is_nothing_to_say() -> None:
    team, workers = each()
    for name in ("planner", "coder", "writer"):
        workers[name].abandon("llm_error", error="no")
    assert team.run().status == "failed"
    assert {e.stage: e.outcome for e in team.of(StageFinished)}["synthesis"] == "skipped"
    assert team.of(SynthesisStarted) == []


def test_one_that_failed_on_a_part_is_tried_again_on_more_with_all_its_attempts() -> None:
    team, workers = each(retries_max=1, retry_s=0.0)
    workers["planner"].finish("Plan.")
    workers["sum"].abandon("llm_error")
    workers["sum"].abandon("llm_error")
    assert team.thought_of("sum") is None
    assert "synthesis" not in {event.stage for event in team.of(StageFinished)}
    workers["coder"].finish("Code.")
    workers["sum"].abandon("llm_error")
    assert given(team) == ["Code.", "Plan."]
    workers["writer"].finish("Text.")
    workers["sum"].abandon("superseded")
    workers["sum"].finish("Sum of all.")
    assert (team.last(RunFinished).result, team.last(RunFinished).degraded) == ("Sum of all.", ())


def test_one_that_fails_on_the_last_leaves_the_one_before() -> None:
    team, workers = each()
    workers["planner"].finish("Plan.")
    workers["sum"].finish("Sum of plan.")
    workers["coder"].finish("Code.")
    workers["writer"].finish("Text.")
    workers["sum"].abandon("superseded")
    workers["sum"].abandon("llm_error", error="no")
    end = team.last(RunFinished)
    assert end.result == "Sum of plan."
    assert end.degraded == ("no new synthesis (llm_error: no): this is the one before",)
    assert [(e.section, e.version) for e in team.of(SectionReady)] == [("synthesis", 1)]


def test_one_that_never_succeeds_leaves_the_best_final_thought() -> None:
    team, workers = each()
    workers["planner"].finish("Plan.")
    workers["sum"].abandon("llm_error", error="no")
    workers["coder"].finish("Code, " * 200)
    workers["sum"].abandon("llm_error", error="no")
    workers["writer"].finish("Text.")
    workers["sum"].abandon("llm_error", error="no")
    end = team.last(RunFinished)
    assert end.result == "Code, " * 200
    assert end.degraded == ("no synthesis (llm_error: no): this is the best final thought, by coder",)


def test_a_cancelled_synthesizer_does_not_end_the_run_early() -> None:
    team, workers = each()
    workers["planner"].finish("Plan.")
    assert isinstance(team.command("cancel", agent="sum"), Ok)
    workers["sum"].abandon("cancelled")
    assert team.of(SynthesisFinished) == []
    workers["coder"].finish("Code, " * 200)
    workers["writer"].finish("Text.")
    assert team.thought_of("sum") is None
    assert team.last(RunFinished).result == "Code, " * 200


def test_steering_an_input_makes_the_answer_again_once_that_is_there() -> None:
    team, workers = begin(answered(when="each"), review=True)
    workers["coder"].finish("Code.")
    workers["planner"].finish("Plan.")
    workers["sum"].abandon("superseded")
    workers["sum"].finish("Sum of both.")
    asked = len(team.of(SynthesisStarted))
    team.command("steer", agent="coder", wrong="no")
    assert len(team.of(SynthesisStarted)) == asked, "there is nothing new to say yet"
    workers["coder"].finish("Better code.")
    assert given(team) == ["Better code.", "Plan."]
    workers["sum"].finish("Sum of better code.")
    team.command("approve")
    assert team.last(RunFinished).result == "Sum of better code."


def test_steering_somebody_who_has_said_nothing_yet_leaves_the_answer_alone() -> None:
    team, workers = each()
    workers["planner"].finish("Plan.")
    thought = workers["sum"].thought
    team.command("steer", agent="coder", wrong="no")
    assert [event.agent for event in team.of(ThoughtCancelling)] == ["coder"]
    assert workers["sum"].thought == thought


def test_steering_the_answer_itself_begins_at_once() -> None:
    team, workers = begin(answered(when="each"))
    workers["coder"].finish("Code.")
    workers["sum"].finish("Sum of code.")
    team.command("steer", agent="sum", wrong="too short")
    assert assignment(team, "sum").revises == "Sum of code."
    workers["sum"].finish("A longer sum of code.")
    assert team.thought_of("sum") is None
    workers["planner"].finish("Plan.")
    workers["sum"].finish("Sum of both.")
    assert team.last(RunFinished).result == "Sum of both."


def test_an_answer_that_a_restart_interrupted_is_made_once() -> None:
    team, workers = each()
    workers["planner"].finish("Plan.")
    workers["sum"].write("Sum of")
    for _ in range(3):
        team.restart()
        for worker in workers.values():
            worker.hello()
    assert len(team.of(SynthesisStarted)) == 1
    workers["sum"].write(" plan.")
    workers["sum"].finalize()
    assert team.thought_of("sum") is None
