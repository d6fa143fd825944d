"""Every viewer on a terminal that is treated badly: Ctrl-C again and again, a closed window, a pulled one, Ctrl-Z.

No traceback, nobody left behind, no stale file; the hub and its run never notice. `up` is in test_newcomer.py and
test_terminal_manners.py.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from shell import TASK, Shell, Terminal, a_shell, until

from felixhub.llm.offline import OfflineModel

pytestmark = pytest.mark.long

VIEWERS = {
    "watch": (["watch"], "▸ started"),
    "replay": (["replay", "run.jsonl", "--speed", "max", "--stay"], "▸ started"),
    "top": (["top"], "FelixHub"),
    "web": (["web", "--port", "0", "--no-open"], "felixhub web at"),
}
each_viewer = pytest.mark.parametrize("name", VIEWERS)


@dataclass
class Place:
    shell: Shell
    run: str
    kin: set[int]  # the hub's and the worker's processes: all that may be there afterwards
    sockets: set[str]

    def open(self, name: str) -> Terminal:
        words, shown = VIEWERS[name]
        terminal = self.shell.terminal(*words)
        terminal.until_shown(shown)
        return terminal

    def is_as_before(self, *terminals: Terminal) -> None:
        for terminal in terminals:
            assert "Traceback" not in terminal.screen and "Exception ignored" not in terminal.screen, terminal.screen
        until(lambda: set(self.shell.kin()) <= self.kin, 30.0, lambda: f"its processes end: {self.shell.kin()}")
        assert self.shell.status(self.run) == "running"
        left = [*self.shell.data.glob("web*"), *(self.shell.folder / "tmp").glob("felixhub*")]
        assert not left and set(self.shell.sockets()) == self.sockets


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A hub, and a run on it that has said a little and goes on for ever."""
    model = OfflineModel(tokens_per_s=50.0, first_token_s=0.0)
    model.start()
    with a_shell() as shell:
        (shell.folder / "tmp").mkdir()
        shell.environ["TMPDIR"] = str(shell.folder / "tmp")
        shell.serve("--view", "none")
        run = shell.run("run", TASK, "--workflow", "solo", "--llm", model.base_url, "--detach").lines[0]
        shell.until_event(run, "thought.partial")
        model.tokens_per_s = 0.001
        shell.run("export", run, "--format", "jsonl", "-o", "run.jsonl")
        yield Place(shell, run, set(shell.kin()), set(shell.sockets()))
        shell.run("cancel", run)
        until(lambda: shell.status(run) == "cancelled", 30.0, "it is cancelled")
    model.stop()


@each_viewer
@pytest.mark.parametrize("times", [1, 2, 5])
def test_ctrl_c(place: Place, name: str, times: int) -> None:
    terminal = place.open(name)
    terminal.type("\x03" * times)
    assert terminal.wait(30.0) in (130, -signal.SIGINT)
    place.is_as_before(terminal)


@each_viewer
def test_ctrl_c_before_anything_is_shown(place: Place, name: str) -> None:
    terminal = place.shell.terminal(*VIEWERS[name][0])
    until(lambda: terminal.popen.pid in place.shell.kin(), 30.0, "it has begun")
    terminal.popen.send_signal(signal.SIGINT)
    assert terminal.wait(30.0) in (130, -signal.SIGINT)
    place.is_as_before(terminal)


@each_viewer
def test_a_closed_window(place: Place, name: str) -> None:
    terminal = place.open(name)
    terminal.hang_up()
    terminal.wait(30.0)
    place.is_as_before(terminal)


@pytest.mark.parametrize("words", ["hub --data other", "replay run.jsonl --view none --data show"])
def test_a_closed_window_of_one_that_serves(place: Place, words: str) -> None:
    """It takes its sockets along, and the file that leads to them."""
    terminal = place.shell.terminal(*words.split())
    leads = place.shell.project / words.split()[-1] / "connection.json"
    until(leads.exists, 30.0, lambda: terminal.screen)
    terminal.hang_up()
    terminal.wait(30.0)
    place.is_as_before(terminal)
    assert not leads.exists()


@each_viewer
def test_a_pulled_window(place: Place, name: str) -> None:
    terminal = place.open(name)
    for columns, rows in ((30, 5), (1, 1), (300, 100), (100, 40)):
        terminal.resize(columns, rows)
    assert terminal.popen.poll() is None
    terminal.type("\x03")
    assert terminal.wait(30.0) == 130
    place.is_as_before(terminal)


@each_viewer
def test_stopped_and_gone_on_with(place: Place, name: str) -> None:
    """Ctrl-Z, `fg`, Ctrl-C."""
    words, shown = VIEWERS[name]
    environ = {"PS1": "$ ", "HISTFILE": ""}
    terminal = Terminal(
        place.shell, ["/bin/bash", "--norc", "--noprofile", "-i"], place.shell.project, 100, rows=40, **environ
    )
    try:
        terminal.type(f"felixhub {' '.join(words)}\n")
        terminal.until_shown(shown)
        terminal.type("\x1a")
        terminal.until_shown("Stopped")
        assert place.shell.status(place.run) == "running"
        terminal.type("fg\n")
        until(lambda: terminal.screen.count(f"felixhub {words[0]}") >= 3, 30.0, lambda: terminal.screen)
        until(lambda: os.tcgetpgrp(terminal.master) != terminal.popen.pid, 30.0, "it is in front again")
        terminal.type("\x03")
        until(lambda: os.tcgetpgrp(terminal.master) == terminal.popen.pid, 30.0, lambda: terminal.screen)
        terminal.type("echo code=$?\n")
        terminal.until_shown("code=130")
        terminal.type("exit\n")
        terminal.wait(30.0)
        place.is_as_before(terminal)
    finally:
        terminal.kill()
