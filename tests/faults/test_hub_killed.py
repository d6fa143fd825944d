"""kill -9 of the hub, at random and at each named place, while agents talk and four subscribers watch.

Nobody loses a byte or sees one twice, the run goes on and finishes once, and no subscriber waits for an end it missed.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator

import pytest
from harness import Eye, Place, Process, a_place, seeds, until
from verdict import faults_of, faults_of_record

KINDS = ("early", "late", "slow", "stopped")
STOPPED_S = 3.0
FAILPOINTS = {  # how often it is passed before the hub dies there
    "hub.after_receive": (30, 90),
    "hub.in_transaction": (10, 60),
    "hub.after_commit": (10, 60),
    "hub.after_publish": (10, 60),
    "hub.after_acknowledge": (10, 60),
    "hub.while_paging": (2, 4),
}


@pytest.fixture(scope="module")
def team() -> Iterator[Place]:
    """One place for all rounds: its workers live through every kill of the hub. Each subscriber may be sent 20 messages
    that it has not taken, so that the slow ones really lose some."""
    with a_place(worker_beat_s=0.3, lease_grace_s=20.0, live_messages_max=20) as place:
        place.start_hub()
        place.start_team()
        yield place


class Stopping:
    """A watcher that is stopped for a while, without anybody waiting for it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._stopped_at: float | None = None
        self.over = False

    def move(self, *, begin: bool) -> None:
        now = time.monotonic()
        if self._stopped_at is None and begin:
            self._process.signal(signal.SIGSTOP)
            self._stopped_at = now
        elif self._stopped_at is not None and not self.over and now >= self._stopped_at + STOPPED_S:
            self._process.signal(signal.SIGCONT)
            self.over = True


def run_through(place: Place, run: str, kills: list[int]) -> Eye:
    """Watch a run to its end by all kinds of subscribers, and kill the hub when so many events have been seen. A hub
    that died by itself, at a failpoint, is started again as well."""
    watchers = place.watch(run, "early", "late", "slow")
    stopped = place.watch(run, "stopped")
    stopping = Stopping(stopped)
    waiting = list(kills)
    deadline = time.monotonic() + 90.0
    with Eye(place, run) as eye:
        while not (eye.ended and stopping.over):
            assert time.monotonic() < deadline, f"the run does not end: {eye.kinds()}"
            seen = len(eye.look())
            stopping.move(begin=seen >= 40)
            if waiting and seen >= waiting[0]:
                waiting.pop(0)
                place.the_hub.kill()
            if place.the_hub.exit is not None:
                place.start_hub()
        for process in (watchers, stopped):
            assert process.wait(60.0) == 0, process.said()
    return eye


def check(place: Place, run: str, eye: Eye) -> None:
    log = place.log_of(run)
    assert faults_of(log, place.truth) == []
    assert [fault for kind in KINDS for fault in faults_of_record(place.records, run, kind, log, place.truth)] == []
    assert [event.raw for event in eye.events] == log
    assert eye.resets == 0


@pytest.mark.parametrize("seed", seeds("random"))
def test_the_hub_is_killed_at_random_moments(team: Place, seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    run = team.start_run(seed, pieces=100)
    eye = run_through(team, run, kills=sorted(dice.sample(range(10, 300), 4)))
    check(team, run, eye)
    slow = json.loads((team.records / f"{run}.slow.json").read_text())
    assert slow["gaps_repaired"] > 0, "the slow subscriber lost nothing: this shows nothing"


@pytest.mark.parametrize("seed", seeds("failpoints"))
@pytest.mark.parametrize("name", FAILPOINTS)
def test_the_hub_dies_at_a_named_place(team: Place, name: str, seed: int) -> None:
    passing = random.Random(f"{seed}/{name}").randint(*FAILPOINTS[name])
    print(f"seed {seed}: {name}:{passing}")
    team.the_hub.kill()
    team.start_hub(failpoint=f"{name}:{passing}")
    doomed = team.the_hub
    run = team.start_run(seed + 1_000_000 * (1 + list(FAILPOINTS).index(name)), pieces=45)
    eye = run_through(team, run, kills=[])
    assert doomed.exit == -signal.SIGKILL, f"the hub never came to {name}: this shows nothing"
    check(team, run, eye)


def test_the_end_of_a_run_is_published_by_a_hub_that_dies_at_once(team: Place) -> None:
    """The last events of all: a subscriber that misses them has no gap to see, only the beats of the next hub."""
    run = team.start_run(7, pieces=10)
    with Eye(team, run) as eye:
        eye.wait_for("synthesis.started")
        team.watch(run, *KINDS)
        eye.wait_for_end()
        team.the_hub.kill()
        team.start_hub()
    until(lambda: all((team.records / f"{run}.{kind}.json").exists() for kind in KINDS), 60.0, "all watchers end")
    log = team.log_of(run)
    assert [fault for kind in KINDS for fault in faults_of_record(team.records, run, kind, log, team.truth)] == []
