"""What a screen shows of a run: one word for what each agent does, and the figures beside it."""

from __future__ import annotations

from typing import Any

import pytest
from plots import begin, seven
from team import Team, Worker

from felixhub.core.board import Board
from felixhub.core.briefing import STALLED_S
from felixhub.core.events import parse_event
from felixhub.core.messages import RunBeat
from felixhub.core.meter import Meter
from felixhub.core.overview import BEAT_S_MAX, AgentView, Overview, overview
from felixhub.core.workflow import Stage, Workflow


def chain() -> Workflow:
    return Workflow(
        name="chain",
        stages=(
            Stage(name="plan", agent="planner", section="Plan", retries_max=1, retry_s=5.0),
            Stage(name="code", agent="coder", after=("plan",), section="Code"),
        ),
    )


def seen(team: Team, *, beat: bool = True, later_s: float = 0.0) -> Overview:
    """As a subscriber that has followed all sees it, with the hub's beat of now."""
    run = team.run()
    meter = Meter()
    for event in team.log:
        meter.take(parse_event(event.encode()))
    said: RunBeat | None = team.post.run_beat(run, team.now) if beat else None
    return overview(run, meter, beat=said, beat_at=team.now if beat else None, now=team.now + later_s)


def agent(team: Team, name: str, **given: Any) -> AgentView:
    return next(one for one in seen(team, **given).agents if one.agent == name)


def states(team: Team) -> dict[str, str]:
    return {one.agent: one.state for one in seen(team).agents}


def begun(**settings: Any) -> tuple[Team, dict[str, Worker]]:
    return begin(chain(), **settings)


def test_an_agent_from_its_first_silence_to_its_approval() -> None:
    team, workers = begun(review=True)
    assert states(team) == {"planner": "thinking", "coder": "waiting"}
    assert agent(team, "planner", later_s=2.0).silence_s == pytest.approx(2.0, abs=0.01)
    workers["planner"].write("Two wor", tokens=2)
    workers["planner"].write("ds", tokens=3)
    view = agent(team, "planner")
    assert (view.state, view.words, view.characters, view.tokens, view.tokens_estimated) == ("streaming", 2, 9, 3, True)
    assert (view.section, view.attempt, view.rate) == ("plan", 1, 1.0)
    workers["planner"].finalize()
    assert states(team) == {"planner": "final", "coder": "thinking"}
    team.command("approve", section="plan")
    shown = seen(team)
    assert states(team)["planner"] == "approved"
    assert (shown.approved, shown.sections_wanted) == (1, 2)
    assert [(one.name, one.status, one.current) for one in shown.sections] == [
        ("plan", "approved", 1),
        ("code", "writing", None),
    ]


def test_without_review_nobody_has_approved_anything() -> None:
    team, workers = begun()
    workers["planner"].finish()
    assert states(team)["planner"] == "final"


def test_a_steered_agent_regenerates_and_its_old_text_is_shown_until_then() -> None:
    team, workers = begun(review=True)
    first = workers["planner"].finish("One text.")
    assert agent(team, "planner").thought == first
    team.command("steer", section="plan", wrong="too short")
    assert agent(team, "planner").state == "thinking"
    workers["planner"].write("Another")
    view = agent(team, "planner")
    assert (view.state, view.round) == ("regenerating", 2)
    assert view.thought != first


def test_who_fails_tries_again_and_then_says_why() -> None:
    team, workers = begun()
    workers["planner"].write("So far")
    thought = workers["planner"].thought
    workers["planner"].abandon(error="the server hung up")
    view = agent(team, "planner")
    assert (view.state, view.why, view.thought) == ("backing_off", "the server hung up", thought)
    team.wait(10.0)
    workers["planner"].abandon(error="no such model", lasting=True)
    view = agent(team, "planner")
    assert view.state == "failed"
    assert view.thought == thought, "an attempt without a text hides none"


def test_a_person_stops_it() -> None:
    team, workers = begun()
    workers["planner"].write("So far")
    team.command("pause")
    assert states(team)["planner"] == "cancelling"
    workers["planner"].abandon("paused")
    shown = seen(team)
    assert (shown.status, {one.state for one in shown.agents}) == ("paused", {"paused"})
    team.command("resume")
    team.command("cancel", agent="planner", by="ana")
    workers["planner"].abandon("cancelled")
    view = agent(team, "planner")
    assert (view.state, view.why) == ("cancelled", "by ana")


def test_an_old_beat_says_nothing_about_now() -> None:
    team, workers = begun()
    while team.now < team.run().started.at + STALLED_S + 1.0:
        team.wait(1.0)
        workers["planner"].beat(workers["planner"].thought)
    assert agent(team, "planner").state == "stalled"
    late = seen(team, later_s=BEAT_S_MAX + 1.0)
    assert late.heard_s == pytest.approx(BEAT_S_MAX + 1.0)
    assert late.agents[0].state == "thinking"
    assert seen(team, beat=False).heard_s is None


def test_the_timeline_has_a_bar_for_each_thought() -> None:
    team, workers = begun()
    began = team.now
    team.wait(2.0)
    workers["planner"].write("So far", tokens=2)
    team.wait(1.0)
    bar = seen(team).timeline[0]
    assert (bar.agent, bar.outcome, bar.end) == ("planner", "open", None)
    assert bar.first_token is not None
    assert bar.first_token - bar.start == pytest.approx(2.0, abs=0.01)
    workers["planner"].finalize(first_token_s=1.5, seconds=3.0)
    bar = seen(team).timeline[0]
    assert (bar.outcome, bar.first_token, bar.end) == (
        "final",
        bar.start + 1.5,
        pytest.approx(team.now - began, abs=0.01),
    )
    assert seen(team).first_token_p50_s == 1.5


def test_who_comes_late_knows_when_the_first_token_came() -> None:
    team, workers = begun()
    team.wait(2.0)
    workers["planner"].write("So far", tokens=2)
    marks, texts, position = team.snapshot("r1")
    thought = team.thought(workers["planner"].thought)
    texts = [one.model_copy(update={"first_at": thought.first_at, "last_at": thought.last_token_at}) for one in texts]
    board = Board()
    board.follow("r1")
    board.load("r1", marks=marks, texts=texts, position=position)
    late = overview(board.runs["r1"], Meter.over(board.runs["r1"]), beat=None, beat_at=None, now=team.now + 4.0)
    assert late.timeline == seen(team).timeline
    assert (late.agents[0].state, round(late.agents[0].silence_s, 1)) == ("streaming", 4.0)


def test_a_run_of_seven_to_its_end() -> None:
    team, workers = begin(seven())
    assert len(seen(team).agents) == len(workers)
    while team.run().ended is None:
        next(worker for worker in workers.values() if worker.is_thinking).finish()
    shown = seen(team, later_s=1_000.0)
    assert (shown.status, shown.heard_s, shown.rate) == ("finished", None, 0.0)
    assert shown.elapsed_s == pytest.approx(team.now - team.run().started.at, abs=0.01)
    assert {one.state for one in shown.agents} == {"final"}
    assert Overview.model_validate_json(shown.model_dump_json()) == shown
