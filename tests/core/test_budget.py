"""A budget of tokens: it ends a run politely, with what there is."""

from __future__ import annotations

from plots import answered, begin, pipeline, refused, seven, text_of
from team import Team, Worker

from felixhub.core.events import (
    RunBudgetSpent,
    RunCancelled,
    RunFailed,
    RunFinished,
    SectionReady,
    StageFinished,
    StageReopened,
    SynthesisFinished,
    ThoughtCancelling,
    ThoughtStarted,
    Usage,
)
from felixhub.core.workflow import Stage, Workflow


def chain(**stage: object) -> Workflow:
    return Workflow(
        name="chain",
        stages=(
            Stage(name="plan", agent="planner", section="Plan"),
            Stage.model_validate({"name": "code", "agent": "coder", "after": ("plan",), "section": "Code"} | stage),
        ),
    )


def say(worker: Worker, text: str, tokens: int) -> str:
    """A final thought that the server counted these tokens for."""
    thought = worker.thought
    worker.write(text, tokens=1)
    worker.finalize(thought, usage=Usage(prompt_tokens=tokens - 10, completion_tokens=10))
    return thought


def spent(team: Team) -> tuple[int, int]:
    event = team.last(RunBudgetSpent)
    return event.tokens, event.budget_tokens


def test_what_is_spent_ends_the_run_with_what_there_is() -> None:
    team, workers = begin(chain(), budget_tokens=100)
    say(workers["planner"], "A plan.", 120)
    assert spent(team) == (120, 100)
    assert [event.agent for event in team.of(ThoughtStarted)] == ["planner"]
    end = team.last(RunFinished)
    assert end.result == "A plan."
    assert end.degraded == (
        "the budget of 100 tokens is spent",
        "Code is missing: coder (the budget of 100 tokens is spent)",
    )


def test_what_streams_counts_and_is_stopped_with_its_text_kept() -> None:
    team, workers = begin(seven(), budget_tokens=100)
    for number in range(1, 4):
        say(workers[f"writer-{number}"], "A good text.", 20)
    workers["writer-4"].write("Half", tokens=30)
    assert not team.of(RunBudgetSpent)
    workers["writer-5"].write("Half", tokens=10)
    assert spent(team) == (100, 100)
    assert len(team.of(ThoughtCancelling)) == 4
    for number in range(4, 8):
        workers[f"writer-{number}"].abandon("cancelled")
    end = team.last(RunFinished)
    assert end.usage.completion_tokens == 70
    assert [why for why in end.degraded if "is missing" in why] == [
        f"{title} is missing: writer-{number} (the budget of 100 tokens is spent)"
        for number, title in ((4, "Procedures"), (5, "Alternatives"), (6, "Risks"), (7, "Benefits"))
    ]


def test_what_was_abandoned_is_spent_too() -> None:
    team, workers = begin(chain(), budget_tokens=100)
    workers["planner"].write("Half", tokens=70)
    workers["planner"].abandon("llm_error")
    team.wait(2.0)
    workers["planner"].write("Half", tokens=30)
    assert spent(team) == (100, 100)


def test_a_thought_that_ends_as_it_is_stopped_counts() -> None:
    team, workers = begin(chain(), budget_tokens=100)
    thought = workers["planner"].thought
    workers["planner"].write("A plan.", tokens=100)
    assert team.of(RunBudgetSpent)
    workers["planner"].finalize(thought)
    assert text_of(team, "plan") == "A plan."
    assert team.last(SectionReady).whole
    assert team.last(RunFinished).result == "A plan."


def test_a_run_whose_last_word_spent_the_budget_lacks_nothing() -> None:
    team, workers = begin(chain(), budget_tokens=100)
    say(workers["planner"], "A plan.", 60)
    say(workers["coder"], "Code.", 60)
    assert not team.of(RunBudgetSpent)
    assert team.last(RunFinished).degraded == ()


def test_nothing_at_all_is_a_failure_that_says_so() -> None:
    team, workers = begin(chain(), budget_tokens=5)
    workers["planner"].write("A pl", tokens=6)
    workers["planner"].abandon("cancelled")
    assert team.last(RunFailed).error.startswith("the budget of 5 tokens is spent, and no agent finished a thought")


def test_a_stage_that_must_not_fail_does_not_make_a_failure_of_it() -> None:
    team, workers = begin(chain(on_failure="fail"), budget_tokens=100)
    say(workers["planner"], "A plan.", 90)
    workers["coder"].write("Cod", tokens=20)
    workers["coder"].abandon("cancelled")
    assert [(e.stage, e.outcome) for e in team.of(StageFinished)] == [("plan", "final"), ("code", "abandoned")]
    assert team.last(RunFinished).result == "A plan."


def test_the_synthesis_before_is_the_result_when_there_is_none_left_for_a_new_one() -> None:
    team, workers = begin(answered(when="each"), budget_tokens=100)
    say(workers["coder"], "Code.", 20)
    thought = say(workers["sum"], "Sum of code.", 20)
    say(workers["planner"], "Plan.", 70)
    assert team.last(SynthesisFinished).thought == thought
    end = team.last(RunFinished)
    assert end.result == "Sum of code."
    assert "no new synthesis (the budget of 100 tokens is spent): this is the one before" in end.degraded


def test_a_synthesis_of_all_there_is_stands_when_the_budget_is_spent() -> None:
    team, workers = begin(answered(when="each"), budget_tokens=100)
    say(workers["coder"], "Code.", 20)
    say(workers["sum"], "Sum of code.", 20)
    workers["planner"].write("Pl", tokens=70)
    workers["planner"].abandon("cancelled")
    end = team.last(RunFinished)
    assert end.result == "Sum of code."
    assert end.degraded == (
        "the budget of 100 tokens is spent",
        "planner is missing (the budget of 100 tokens is spent)",
    )


def test_in_review_it_ends_only_what_would_spend_more() -> None:
    team, workers = begin(chain(), budget_tokens=100, review=True)
    say(workers["planner"], "A plan.", 60)
    say(workers["coder"], "Code.", 60)
    assert not team.run().ended
    team.command("approve", section="plan")
    refused(team, "budget_spent", "steer", section="code", wrong="no")
    refused(team, "budget_spent", "regenerate", section="code")
    assert not team.run().ended
    team.command("approve", section="code")
    assert team.last(RunFinished).result == "## Plan\n\nA plan.\n\n## Code\n\nCode."
    assert team.last(RunFinished).degraded == ()


def test_in_review_what_is_whole_can_be_approved_when_it_is_spent() -> None:
    team, workers = begin(chain(), budget_tokens=100, review=True)
    say(workers["planner"], "A plan.", 60)
    workers["coder"].write("Half", tokens=60)
    assert len(team.of(RunBudgetSpent)) == 1
    workers["coder"].abandon("cancelled")
    assert not team.run().ended, "it waits for a person"
    refused(team, "budget_spent", "regenerate", section="code")
    team.restart()
    team.command("edit", section="plan", text="Mine.")
    assert not team.of(StageReopened), "nothing can be done again"
    team.command("approve", section="plan")
    assert team.last(RunFinished).result == "Mine."
    assert any("Code is missing" in reason for reason in team.last(RunFinished).degraded)


def test_while_it_ends_nothing_more_can_be_asked_but_to_cancel() -> None:
    team, workers = begin(pipeline(), budget_tokens=10)
    workers["coder"].write("Half", tokens=20)
    refused(team, "budget_spent", "steer", agent="coder", wrong="no")
    refused(team, "run_ended", "edit", section="code", text="Mine.")
    team.command("pause")
    assert team.run().paused
    team.command("cancel")
    workers["coder"].abandon("cancelled")
    assert team.last(RunCancelled).by == "anna"


def test_it_is_spent_once_whatever_restarts() -> None:
    team, workers = begin(chain(), budget_tokens=10)
    workers["planner"].write("A plan.", tokens=20)
    team.restart()
    assert len(team.of(RunBudgetSpent)) == 1
    team.wait(30.0)
    assert team.run().ended
    assert len(team.of(RunBudgetSpent)) == 1
