"""The wall clock is set forward or backward under everybody, in the middle of a run and across a restart of the hub.

Nobody is thought lost, nothing waits for a time that is a day away, nothing is removed, no order comes from a clock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from faulty import Faulty, why_not
from harness import Eye, Place, a_place, start_of
from verdict import faults_of, faults_of_record

from felixhub.core.messages import CancelRun
from felixhub.transport.control import new_id

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

HOUR, DAY = 3_600, 86_400


@pytest.fixture
def clocked() -> Iterator[tuple[Place, Faulty]]:
    """A place whose processes all look at a clock of the test's. A lease is shorter than any jump."""
    with a_place(worker_beat_s=0.3, lease_grace_s=25.0) as place:
        clock = Faulty(place.folder / "faulty")
        place.environ |= clock.environ
        yield place, clock
        clock.close()


def check(place: Place, run: str, eye: Eye) -> list[dict[str, Any]]:
    """The verdict on all who watched; the run's events."""
    log = place.log_of(run)
    assert faults_of(log, place.truth) == []
    assert [f for one in ("early", "late") for f in faults_of_record(place.records, run, one, log, place.truth)] == []
    assert [event.raw for event in eye.events] == log
    assert eye.resets == 0
    events: list[dict[str, Any]] = [json.loads(line) for line in log]
    kinds = {event["kind"] for event in events}
    assert not kinds & {"agent.lost", "thought.abandoned"}, "somebody was given up because of a clock"
    thoughts = [event["thought"] for event in events if event["kind"] == "thought.started"]
    assert len(set(thoughts)) == len(thoughts) == 5
    return events


def test_a_clock_that_jumps_during_a_run_changes_nothing(clocked: tuple[Place, Faulty]) -> None:
    place, clock = clocked
    place.start_hub()
    place.start_team()
    earlier = place.start_run(1, pieces=3)
    with Eye(place, earlier) as eye:
        eye.wait_for_end()
    before = place.log_of(earlier)
    began = time.time()
    run = place.start_run(2, pieces=40)
    watchers = place.watch(run, "early", "late")
    with Eye(place, run) as eye:
        for seen, offset in ((15, HOUR), (40, HOUR - DAY), (70, 0), (100, -DAY)):
            eye.wait_for_count(seen)
            clock.jump(offset)
        eye.wait_for_end()
        took_s = time.time() - began
        assert watchers.wait(60.0) == 0, watchers.said()
        events = check(place, run, eye)
    at = [event["at"] for event in events]
    assert at == sorted(at), "within one life of the hub its clock is steady"
    assert at[-1] - at[0] <= took_s
    assert 0.0 <= events[-1]["seconds"] <= took_s
    assert "run_pruned" not in place.the_hub.said()
    assert "slow_turn" not in place.the_hub.said()
    assert place.log_of(earlier) == before


@pytest.mark.parametrize("offset", [-DAY, HOUR])
def test_a_hub_that_starts_with_another_clock_goes_on_at_once(clocked: tuple[Place, Faulty], offset: int) -> None:
    place, clock = clocked
    place.start_hub()
    place.start_team()
    run = place.start_run(3, pieces=40)
    watchers = place.watch(run, "early", "late")
    with Eye(place, run) as eye:
        eye.wait_for("thought.partial", count=20)
        place.the_hub.kill()
        clock.jump(offset)
        place.start_hub()
        eye.wait_for("thought.partial", count=45)
        place.the_hub.kill()
        clock.jump(0)
        place.start_hub()
        eye.wait_for_end(40.0)
        assert watchers.wait(60.0) == 0, watchers.said()
        events = check(place, run, eye)
    assert events[-1]["seconds"] >= 0.0
    at = [event["at"] for event in events]
    assert max(at) - min(at) > HOUR - 120, "the hub never saw that clock: this shows nothing"
    seqs = [event["seq"] for event in events]
    assert seqs == sorted(seqs), "positions go on, whatever the clock says"


def test_a_wait_that_began_before_the_clock_was_set_back_is_no_longer_for_it(clocked: tuple[Place, Faulty]) -> None:
    """How long a stop has been under way is told by the time of an event, and that now lies a day ahead."""
    place, clock = clocked
    place.start_hub()
    start = start_of("waits", agents=("a1", "a2"), seed=4, pieces=400, pace_s=0.05)
    with place.client() as client:
        client.request(start)
    first = place.start_worker("a1")
    place.start_worker("writer")
    deaf = place.start_worker("a2")
    with Eye(place, "waits") as eye:
        eye.wait_for("thought.partial", agent="a1")
        eye.wait_for("thought.partial", agent="a2")
        # a1 is lost and tried again; a2 is to stop and cannot hear it; then the hub dies and the clock goes back.
        first.kill()
        deaf.kill()
        cancel(place, "waits", "a2")
        place.the_hub.kill()
        clock.jump(-DAY)
        place.start_hub()
        place.start_worker("a1")
        ended = eye.wait_for("thought.abandoned", agent="a2", seconds=15.0)
        assert getattr(ended, "reason", "") == "cancelled"
        eye.wait_for("thought.abandoned", agent="a1", seconds=15.0)
        eye.wait_for("thought.started", agent="a1", count=2, seconds=15.0)
        cancel(place, "waits", None)
        assert eye.wait_for_end(20.0).kind == "run.cancelled"
    log = place.log_of("waits")
    assert faults_of(log, place.truth, end="run.cancelled") == []
    assert [event.raw for event in eye.events] == log


def cancel(place: Place, run: str, agent: str | None) -> None:
    with place.client() as client:
        client.request(CancelRun(id=new_id(), run=run, agent=agent))
