"""`run_hub.py` whose parts are killed in turn, and Ctrl-C. Nobody is left behind and no event is doubled."""

from __future__ import annotations

import os
import re
import signal
import time

from harness import ROOT, Eye, Place, Process, task_of, until
from verdict import faults_of

from felixhub.cli.up import POLITE_S_MAX
from felixhub.core.events import AgentJoined


def run_hub(place: Place, *, seed: int, pieces: int = 50, view: str = "json") -> Process:
    task = task_of(seed=seed, pieces=pieces)
    options = ("--workflow", "team", "--llm", "offline", "--view", view, "--data", str(place.data))
    return Process(place, "run_hub", [str(ROOT / "run_hub.py"), task, *options])


def run_of(supervisor: Process) -> str:
    """The run's id, which it says first of all."""
    found = until(lambda: re.search(r"^run (\S+) ·", supervisor.said(), re.M), 30.0, f"a run: {supervisor.said()}")
    return found[1]


def check_view(place: Place, supervisor: Process, run: str, *, end: str = "run.finished") -> None:
    """What was printed is the log: every event once, in order, one JSON object a line."""
    printed = supervisor.out.read_bytes().splitlines()
    assert faults_of(printed, place.truth, end=end) == []
    assert printed == place.stored(run)


def check_nobody_left(place: Place) -> None:
    until(lambda: not place.kin(), 30.0, f"everybody ends: {place.kin()}")


def test_one_worker_is_killed(place: Place) -> None:
    supervisor = run_hub(place, seed=1)
    run = run_of(supervisor)
    with Eye(place, run) as eye:
        joined = eye.wait_for("agent.joined", agent="a2")
        assert isinstance(joined, AgentJoined)
        eye.wait_for("thought.partial", agent="a2", count=3)
        os.kill(joined.worker.pid, signal.SIGKILL)
        eye.wait_for("thought.abandoned", agent="a2")
        eye.wait_for("thought.started", agent="a2", count=2)
    assert supervisor.wait(60.0) == 0, supervisor.said()
    check_nobody_left(place)
    check_view(place, supervisor, run)
    assert place.left_open() == []


def test_the_hub_is_killed_and_the_run_goes_on_by_itself(place: Place) -> None:
    supervisor = run_hub(place, seed=2)
    run = run_of(supervisor)
    with Eye(place, run) as eye:
        for count in (20, 60):
            eye.wait_for("thought.partial", count=count)
            first = place.connection()
            assert first is not None
            os.kill(first.pid, signal.SIGKILL)
            until(lambda: (now := place.connection()) and now.pid != first.pid, 20.0, "another hub")  # noqa: B023
    assert supervisor.wait(60.0) == 0, supervisor.said()
    check_nobody_left(place)
    check_view(place, supervisor, run)
    assert place.left_open() == []


def test_the_supervisor_is_killed_and_the_run_waits_for_resume(place: Place) -> None:
    first = run_hub(place, seed=3)
    old = run_of(first)
    with Eye(place, old) as eye:
        eye.wait_for("thought.partial", count=20)
        first.kill()
    check_nobody_left(place)

    second = run_hub(place, seed=4, pieces=10)
    new = run_of(second)
    assert second.wait(60.0) == 0, second.said()
    assert f"unfinished run {old} is paused" in second.said()
    assert f"felixhub resume {old}" in second.said()
    check_view(place, second, new)
    kinds = [line.split(b'"', 4)[3] for line in place.stored(old)]
    assert b"run.paused" in kinds
    assert kinds.count(b"thought.started") == 4, "it went on without having been asked to"

    serving = Process(place, "up", ["-m", "felixhub", "up", "--serve", "--view", "none", "--data", str(place.data)])
    until(lambda: "hub at" in serving.said(), 30.0, f"it serves: {serving.said()}")
    assert place.status(old) == "paused"
    resume = Process(place, "resume", ["-m", "felixhub", "resume", old, "--hub", str(place.data)])
    assert resume.wait(20.0) == 0, resume.said()
    with Eye(place, old) as eye:
        eye.wait_for_end()
    serving.interrupt()
    assert serving.wait(20.0) in (0, 130), serving.said()
    check_nobody_left(place)
    assert faults_of(place.stored(old), place.truth) == []
    assert place.left_open() == []


def test_ctrl_c_once_cancels_the_run_and_leaves_nothing_behind(place: Place) -> None:
    supervisor = run_hub(place, seed=5, pieces=2_000)
    run = run_of(supervisor)
    with Eye(place, run) as eye:
        eye.wait_for("thought.partial", count=20)
        supervisor.interrupt()
        assert supervisor.wait(20.0) == 130, supervisor.said()
    check_nobody_left(place)
    check_view(place, supervisor, run, end="run.cancelled")
    assert place.left_open() == []


def test_ctrl_c_twice_ends_at_once(place: Place) -> None:
    supervisor = run_hub(place, seed=6, pieces=2_000)
    run = run_of(supervisor)
    with Eye(place, run) as eye:
        eye.wait_for("thought.partial", count=20)
        hub = place.connection()
        assert hub is not None
        os.kill(hub.pid, signal.SIGSTOP)  # A hub that does not answer: being polite would take its time.
        supervisor.interrupt()
        until(lambda: "Ctrl-C again" in supervisor.said(), 30.0, "it says what a second one does")
        began = time.monotonic()
        supervisor.interrupt()
        assert supervisor.wait(20.0) == 130, supervisor.said()
        assert time.monotonic() - began < 2 * POLITE_S_MAX, "as long as being polite takes"
    check_nobody_left(place)
    assert faults_of(place.stored(run), place.truth, end=None) == []
