"""Too few descriptors, too little memory: who is served goes on being served, or the process dies and nothing is lost.

The limits are set from outside, while the process runs, as an operator's `prlimit` does.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Iterator

import pytest
import zmq
from garbage import GREETING, ready, strangers
from harness import ROUNDS, Eye, Place, Process, a_place, start_of, until
from verdict import faults_of, faults_of_record
from vitals import descriptors, limit_descriptors, limit_memory, share_of_a_processor

from felixhub.core.errors import FelixError
from felixhub.core.messages import GivenDocument, Start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are set by Linux alone")

KINDS = ("early", "late")
DESCRIPTORS = 300
CONNECTIONS = 900


@pytest.fixture
def roomy() -> Iterator[Place]:
    with a_place(worker_beat_s=0.3, lease_grace_s=30.0) as one:
        yield one


def check(place: Place, run: str, eye: Eye, watchers: Process) -> None:
    assert watchers.wait(60.0) == 0, watchers.said()
    log = place.log_of(run)
    assert faults_of(log, place.truth) == []
    assert [f for kind in KINDS for f in faults_of_record(place.records, run, kind, log, place.truth)] == []
    assert [event.raw for event in eye.events] == log
    assert eye.resets == 0


def answers(place: Place) -> bool:
    with contextlib.suppress(FelixError), place.client(wait_s=2.0) as client:
        client.hello()
        return True
    return False


@pytest.mark.long
def test_more_connections_than_descriptors(roomy: Place) -> None:
    """Who is in stays in; who comes when there is room again is served; nothing spins or aborts."""
    place = roomy
    place.start_hub(wait=False)
    hub = place.the_hub
    limit_descriptors(hub.pid, DESCRIPTORS)
    place.wait_for_hub()
    place.start_team()
    run = place.start_run(1, pieces=120)
    watchers = place.watch(run, *KINDS)
    connection = place.connection()
    assert connection is not None
    with Eye(place, run) as eye:
        eye.wait_for_count(70)  # `late` is in by then
        before = descriptors(hub.pid)
        openings = [GREETING + ready(b"DEALER"), GREETING + ready(b"DEALER"), GREETING + ready(b"SUB")]
        addresses = (connection.ingest, connection.control, connection.live)
        with strangers(addresses, CONNECTIONS, openings):
            count = len(eye.look())
            eye.wait_for_count(count + 40)
            eye.wait_for_end()
            assert hub.exit is None, hub.said()
            until(lambda: share_of_a_processor(hub.pid, 1.0) < 0.5, 20.0, "the hub rests")
        until(lambda: answers(place), 20.0, "who comes now is served")
        until(lambda: descriptors(hub.pid) <= before + 10, 20.0, f"descriptors are given back: {before}")
        check(place, run, eye, watchers)
    assert place.counters().get("refused.connections", 0) > 0, "there was room for all: this shows nothing"
    assert hub.exit is None
    assert "Assertion failed" not in hub.said()


@pytest.mark.parametrize("more", [6_000_000, 500_000, 24_000_000][:ROUNDS])
def test_a_hub_without_memory_dies_or_lives_but_never_half(roomy: Place, more: int) -> None:
    """Large starts until there is no memory. Whatever it could not allocate, what it said is in the log."""
    place = roomy
    place.start_hub()
    hub = place.the_hub
    place.start_team()
    run = place.start_run(2, pieces=60)
    watchers = place.watch(run, *KINDS)
    with Eye(place, run) as eye:
        eye.wait_for("thought.partial", count=20)
        limit_memory(hub.pid, more)
        unanswered = sum(not is_answered(place, large_start(number)) for number in range(6))
        assert unanswered, "it had memory enough: this shows nothing"
        until(lambda: hub.exit is not None or answers(place), 20.0, "it is dead, or it answers")
        if hub.exit is None:
            limit_memory(hub.pid, None)

        def over() -> bool:
            eye.look()
            if place.the_hub.exit is not None:  # Then, or only now.
                assert place.the_hub is hub, place.the_hub.said()
                assert hub.exit != 0
                place.start_hub()
            return eye.ended

        until(over, 60.0, f"the run ends; there are {eye.kinds()}")
        check(place, run, eye, watchers)


def large_start(number: int) -> Start:
    document = GivenDocument(name="d", text=f"{number} " * 400_000)
    return start_of(f"large-{number}", agents=("nobody",), seed=0).model_copy(update={"documents": (document,)})


def is_answered(place: Place, start: Start) -> bool:
    """Whether anything comes back, with less patience than a client of ours has."""
    connection = place.connection()
    if connection is None or place.the_hub.exit is not None:
        return False
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context, context.socket(zmq.DEALER) as one:
        one.setsockopt(zmq.LINGER, 0)
        one.connect(connection.control)
        one.send(start.encode())
        deadline = time.monotonic() + 2.0
        while place.the_hub.exit is None and time.monotonic() < deadline:
            if one.poll(20):
                return True
    return False


def test_a_worker_without_descriptors_tries_again_when_it_has_some(roomy: Place) -> None:
    place = roomy
    place.start_hub()
    team = place.start_team()
    warm = place.start_run(3, pieces=3)
    with Eye(place, warm) as eye:
        eye.wait_for_end()
    poor = team["a1"]
    soft, hard = resource.prlimit(poor.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(poor.pid, resource.RLIMIT_NOFILE, (descriptors(poor.pid), hard))
    run = place.start_run(4, pieces=20)
    watchers = place.watch(run, *KINDS)
    with Eye(place, run) as eye:
        failed = eye.wait_for("thought.abandoned", agent="a1")
        assert getattr(failed, "reason", "") == "agent_error"
        resource.prlimit(poor.pid, resource.RLIMIT_NOFILE, (soft, hard))
        eye.wait_for_end()
        check(place, run, eye, watchers)
    assert poor.exit is None, poor.said()


def test_a_worker_without_memory_dies_or_lives_and_its_thoughts_are_made_whole(roomy: Place) -> None:
    place = roomy
    place.start_hub()
    team = place.start_team()
    run = place.start_run(5, pieces=40, words=4_000)
    watchers = place.watch(run, *KINDS)
    poor = team["a1"]
    with Eye(place, run) as eye:
        eye.wait_for("thought.partial", agent="a1", count=3)
        limit_memory(poor.pid, 100_000)
        enough = len(eye.events) + 40

        def has_shown() -> bool:
            return bool(eye.look()) and (poor.exit is not None or len(eye.events) > enough)

        until(has_shown, 30.0, "what comes of it")
        if poor.exit is None:
            limit_memory(poor.pid, None)
        replaced = False

        def over() -> bool:
            nonlocal replaced
            eye.look()
            if poor.exit is not None and not replaced:
                assert poor.exit > 0, f"it ended by signal {-poor.exit}: {poor.said()}"
                replaced = True
                place.start_worker("a1")
            return eye.ended

        until(over, 60.0, f"the run ends; there are {eye.kinds()}")
        check(place, run, eye, watchers)
