"""The thread of the commands: whatever becomes of one, the next has its turn."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import zmq

from felixhub.transport.control import ControlClient, connect
from felixhub.views.tui.commander import Commander, Job, Outcome

PATIENCE_S = 30.0


def test_a_fault_in_one_command_is_said_and_the_next_is_done(tmp_path: Path) -> None:
    said: queue.Queue[Outcome] = queue.Queue()

    def fails(_: ControlClient) -> Outcome:
        raise zmq.ZMQError(24)  # Too many open files: no error of ours.

    commander = Commander(lambda: connect(tmp_path))
    assert commander.ask(Job("one", fails, said.put))
    outcome = said.get(timeout=PATIENCE_S)
    assert not outcome.ok and "open files" in outcome.sentence
    assert commander.ask(Job("two", lambda _: Outcome("done"), said.put))
    assert said.get(timeout=PATIENCE_S) == Outcome("done")
    assert commander.close(PATIENCE_S) == []


def test_what_was_not_answered_when_it_closes_is_named(tmp_path: Path) -> None:
    begun, may_end = threading.Event(), threading.Event()
    said: queue.Queue[Outcome] = queue.Queue()

    def waits(_: ControlClient) -> Outcome:
        begun.set()
        may_end.wait(PATIENCE_S)
        return Outcome("done")

    commander = Commander(lambda: connect(tmp_path))
    for name in ("pause r1", "", "stop r1"):
        assert commander.ask(Job(name, waits, said.put))
    assert begun.wait(PATIENCE_S)
    assert commander.close(0.01) == ["pause r1", "stop r1"]
    assert not commander.ask(Job("late", waits, said.put))
    may_end.set()
    for _ in range(3):  # What was taken is still done, if the process lives so long.
        assert said.get(timeout=PATIENCE_S) == Outcome("done")
