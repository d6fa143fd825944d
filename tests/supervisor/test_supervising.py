"""`felixhub up` whose children stop, die and are taken over. Nobody waits for ever and nobody is left behind."""

from __future__ import annotations

import os
import signal
import time

import pytest
from supervised import Place, until


def end(place: Place, process: object, number: int, code: int) -> None:
    process.send_signal(number)  # type: ignore[attr-defined]
    assert process.wait(60.0) == code, place.said(process)  # type: ignore[attr-defined,arg-type]
    place.until_nobody_is_left()


def test_a_stopped_worker_is_replaced_and_a_signal_ends_a_service_well(place: Place) -> None:
    up = place.serve()
    run = place.begin("wait", "a")
    until(lambda: "thought.partial" in place.kinds(run), 30.0, "it streams")
    first = place.worker("a")
    assert first > 0
    os.kill(first, signal.SIGSTOP)
    until(lambda: place.worker("a") not in (0, first), 30.0, lambda: place.log("supervisor"))
    assert "worker_lost" in place.log("supervisor")
    (place.folder / "go").touch()
    place.until_status(run, "finished")
    end(place, up, signal.SIGTERM, 0)


def test_a_worker_that_was_taken_over_is_hired_again_once_the_other_has_left(place: Place) -> None:
    up = place.serve()
    run = place.begin("wait", "a")
    until(lambda: place.worker("a"), 30.0, "a worker")
    until(lambda: "thought.partial" in place.kinds(run), 30.0, "it streams")
    other = place.start("agent", "a")
    until(lambda: not place.worker("a"), 30.0, lambda: f"ours is fenced: {place.said(other)}")
    third = place.start("agent", "a")
    assert other.wait(60.0) == 1
    assert "felixhub: another worker has taken over (a)" in place.said(other).splitlines()[-1]
    time.sleep(1.0)
    assert not place.worker("a"), "hired while another one does the work"
    third.terminate()
    assert third.wait(60.0) == 0
    until(lambda: place.worker("a"), 30.0, "a worker again")
    (place.folder / "go").touch()
    place.until_status(run, "finished")
    end(place, up, signal.SIGINT, 130)


def test_an_agent_that_kills_its_workers_is_cancelled_in_every_run_that_wants_it(place: Place) -> None:
    up = place.serve()
    first = place.begin("die", "a")
    until(lambda: place.status(first) not in ("running", "cancelling"), 30.0, lambda: str(place.kinds(first)))
    assert place.log("supervisor").count("worker_restarted") == 5
    second = place.begin("fine", "a")  # Within the minute.
    until(lambda: place.status(second) not in ("running", "cancelling"), 30.0, lambda: str(place.kinds(second)))
    assert place.log("supervisor").count("worker_restarted") == 5, "nobody was hired for it again"
    commands = [event for event in place.events(second) if event.kind == "command.accepted"]
    assert [event.by for event in commands] == ["supervisor (its worker keeps dying)"]  # type: ignore[attr-defined]
    third = place.begin("fine", "b")
    place.until_status(third, "finished")
    end(place, up, signal.SIGTERM, 0)


def test_agents_that_take_turns_share_one_place(place: Place) -> None:
    place.configure(workers_max=1)
    up = place.serve()
    first = place.begin("fine", "a")
    place.until_status(first, "finished")
    second = place.begin("fine", "b")
    place.until_status(second, "finished")
    assert place.log("supervisor").count("worker_let_go") == 1
    end(place, up, signal.SIGTERM, 0)


def test_a_hub_that_dies_soon_after_each_start_is_given_up(place: Place) -> None:
    """It binds, and dies of the first thing that it writes down."""
    began = time.monotonic()
    up = place.start("up", "talk", "--workflow", "one", "--view", "none", FELIXHUB_FAILPOINT="hub.after_commit")
    assert up.wait(60.0) == 1, place.said(up)
    assert "felixhub: the hub died too often" in place.said(up)
    # One that lived for five seconds, on a busy machine, is no such death.
    assert place.log("supervisor").count('"early": true') == 6
    assert time.monotonic() - began > 3.7  # It was not started at full speed.
    place.until_nobody_is_left()


@pytest.mark.parametrize("after_s", [0.3, 0.6, 1.0])
def test_ctrl_c_while_it_starts(place: Place, after_s: float) -> None:
    up = place.start("up", "--serve", "--view", "none")
    time.sleep(after_s)
    os.killpg(up.pid, signal.SIGINT)
    assert up.wait(60.0) in (130, -signal.SIGINT), place.said(up)
    place.until_nobody_is_left()
    if up.returncode == 130:
        assert "Traceback" not in place.said(up), place.said(up)


def test_a_view_that_nobody_reads_any_more(place: Place) -> None:
    """With --out the run goes on and its result is written; else it was for the reader alone."""
    read, write = os.pipe()
    wanted = ("up", "wait", "--workflow", "one", "--view", "json")
    out = place.folder / "answer.md"
    up = place.start(*wanted, "--out", str(out), stdout=write)
    os.close(write)
    assert os.read(read, 10)
    os.close(read)
    time.sleep(0.5)
    (place.folder / "go").touch()
    assert up.wait(60.0) == 0, place.said(up)
    assert out.read_text() == "said. done."

    (place.folder / "go").unlink()
    read, write = os.pipe()
    up = place.start(*wanted, stdout=write)
    os.close(write)
    assert os.read(read, 10)
    os.close(read)
    assert up.wait(60.0) == 1, place.said(up)
    assert "nobody reads this any more" in place.said(up) and "cancelled by up" in place.said(up)
    place.until_nobody_is_left()


def test_names_are_checked_before_anything_starts(place: Place) -> None:
    assert "felixhub: 'Foo Bar' is no agent's name" in place.run("agent", "Foo Bar", code=2)
    assert "felixhub: 'hub' is the hub's own name" in place.run("agent", "a", "hub", code=2)
    assert "write it like http://localhost:1234/v1" in place.run("agent", "a", "--offline-url", "nowhere", code=2)
