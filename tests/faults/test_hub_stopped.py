"""A hub that stands still for longer than any lease: nobody pays for it but in time."""

from __future__ import annotations

import signal
import statistics
import time

from harness import Eye, Place, a_place, until
from verdict import faults_of, faults_of_record

from felixhub.core.events import ThoughtPartial

LEASE_S = 3.0
STOPPED_S = 4.0


def test_a_hub_that_stood_still_loses_no_worker_and_doubles_no_text() -> None:
    with a_place(worker_beat_s=0.2, lease_grace_s=LEASE_S - 3 * 0.2) as place:
        stand_still(place)


def stand_still(place: Place) -> None:
    place.start_hub()
    place.start_team()
    run = place.start_run(1, pieces=70)
    watchers = place.watch(run, "early", "slow")
    with Eye(place, run) as eye:
        for count in (40, 120):
            eye.wait_for("thought.partial", count=count)
            place.the_hub.signal(signal.SIGSTOP)
            over = time.monotonic() + STOPPED_S
            until(lambda: time.monotonic() > over, STOPPED_S + 1.0, "time passes")  # noqa: B023
            place.the_hub.signal(signal.SIGCONT)
        eye.wait_for_end()
    assert watchers.wait(60.0) == 0, watchers.said()
    log = place.log_of(run)
    assert faults_of(log, place.truth) == []
    for kind in ("early", "slow"):
        assert faults_of_record(place.records, run, kind, log, place.truth) == []
    sizes = [len(event.text) for event in place.events_of(run) if isinstance(event, ThoughtPartial)]
    assert max(sizes) > 4 * statistics.median(sizes), "what had waited meanwhile was not joined"
    kinds = eye.kinds()
    assert kinds["thought.started"] == 5, "somebody had to think again"
    assert "agent.lost" not in kinds
