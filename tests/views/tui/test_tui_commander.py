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
    assert commander.ask(Job(fails, said.put))
    outcome = said.get(timeout=PATIENCE_S)
    assert not outcome.ok and "open files" in outcome.sentence
    assert commander.ask(Job(lambda _: Outcome("done"), said.put))
    assert said.get(timeout=PATIENCE_S) == Outcome("done")
    commander.close()
    for thread in threading.enumerate():
        if thread.name == "commands":
            thread.join(PATIENCE_S)
