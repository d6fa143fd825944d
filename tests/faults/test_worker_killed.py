"""Workers that are killed, or stopped until another has taken their place: their text is kept, the stage goes on with
the next attempt, and nobody else notices."""

from __future__ import annotations

import signal
import time

import pytest
from harness import AGENTS, Eye, Place
from verdict import faults_of

from felixhub.core.events import AgentLost, Event, ThoughtAbandoned, ThoughtFinalized, ThoughtPartial, ThoughtStarted


def thoughts_of(events: list[Event], agent: str) -> list[ThoughtStarted]:
    return [event for event in events if isinstance(event, ThoughtStarted) and event.agent == agent]


def ends_of(events: list[Event], agent: str) -> list[ThoughtFinalized | ThoughtAbandoned]:
    return [e for e in events if isinstance(e, ThoughtFinalized | ThoughtAbandoned) and e.agent == agent]


def check_second_attempt(place: Place, run: str, agent: str) -> list[Event]:
    """The agent's first thought is abandoned with its text, its second is final, the others needed one each."""
    log = place.log_of(run)
    assert faults_of(log, place.truth) == []
    events = place.events_of(run)
    assert [thought.attempt for thought in thoughts_of(events, agent)] == [1, 2]
    first, second = ends_of(events, agent)
    assert isinstance(first, ThoughtAbandoned)
    assert first.reason == "agent_lost"
    assert isinstance(second, ThoughtFinalized)
    for other in set(AGENTS) - {agent}:
        assert [type(end) for end in ends_of(events, other)] == [ThoughtFinalized]
        assert len(thoughts_of(events, other)) == 1
    return events


@pytest.mark.parametrize("failpoint", ["worker.before_first_text", "worker.mid_stream:12", "worker.before_finalize"])
def test_a_worker_is_killed_and_its_successor_begins_anew(place: Place, failpoint: str) -> None:
    place.start_hub()
    doomed = place.start_worker("a1", failpoint=failpoint)
    for agent in ("a2", "a3", "a4", "writer"):
        place.start_worker(agent)
    run = place.start_run(1, pieces=40)
    with Eye(place, run) as eye:
        eye.wait_for("thought.started", agent="a1")
        assert doomed.wait(30.0) == -signal.SIGKILL
        place.start_worker("a1")
        eye.wait_for_end()
    events = check_second_attempt(place, run, "a1")
    first = ends_of(events, "a1")[0]
    kept = [e for e in events if isinstance(e, ThoughtPartial) and e.thought == first.thought]
    said = (place.truth / f"{first.thought}.txt").read_bytes()
    match failpoint:
        case "worker.before_first_text":
            assert first.length == 0
        case "worker.mid_stream:12":
            assert 0 < first.length < len(said)
            assert len(kept) >= 10
        case _:
            assert first.length == len(said)  # All of it was there; only its end was never said.


def test_a_worker_that_nobody_replaces_loses_its_thought_when_its_lease_is_over(strict_place: Place) -> None:
    place = strict_place
    place.start_hub()
    team = place.start_team()
    run = place.start_run(2, pieces=40)
    with Eye(place, run) as eye:
        eye.wait_for("thought.partial", count=3, agent="a1")
        team["a1"].kill()
        eye.wait_for("thought.abandoned", agent="a1")
        for agent in ("a2", "a3", "a4"):
            eye.wait_for("thought.finalized", agent=agent)
        place.start_worker("a1")
        eye.wait_for_end()
    events = check_second_attempt(place, run, "a1")
    assert [event.agent for event in events if isinstance(event, AgentLost)] == ["a1"]


def test_a_worker_that_comes_back_too_late_cannot_write(strict_place: Place) -> None:
    place = strict_place
    place.start_hub()
    team = place.start_team()
    run = place.start_run(3, pieces=60)
    with Eye(place, run) as eye:
        eye.wait_for("thought.partial", count=5, agent="a1")
        team["a1"].signal(signal.SIGSTOP)
        lost = eye.wait_for("thought.abandoned", agent="a1")
        place.start_worker("a1")
        eye.wait_for("thought.partial", count=15, agent="a1")
        team["a1"].signal(signal.SIGCONT)
        assert team["a1"].wait(20.0) == 1, team["a1"].said()
        assert "another worker has taken over (a1)" in team["a1"].said()
        eye.wait_for_end()
    events = check_second_attempt(place, run, "a1")
    assert isinstance(lost, ThoughtAbandoned)
    late = [e for e in events if e.seq > lost.seq and getattr(e, "thought", "") == lost.thought]
    assert late == [], "it wrote after it had been shut out"
    sessions = {thought.session for thought in thoughts_of(events, "a1")}
    assert len(sessions) == 2


def test_a_worker_that_was_stopped_within_its_lease_goes_on_as_if_nothing_had_been(place: Place) -> None:
    place.start_hub()
    team = place.start_team()
    run = place.start_run(4, pieces=40)
    with Eye(place, run) as eye:
        eye.wait_for("thought.partial", count=5, agent="a1")
        team["a1"].signal(signal.SIGSTOP)
        stopped_at = time.monotonic()
        for agent in ("a2", "a3", "a4"):
            eye.wait_for("thought.finalized", agent=agent)
        assert time.monotonic() > stopped_at
        team["a1"].signal(signal.SIGCONT)
        eye.wait_for_end()
    assert faults_of(place.log_of(run), place.truth) == []
    assert len(thoughts_of(place.events_of(run), "a1")) == 1
