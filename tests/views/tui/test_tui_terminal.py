"""`felixhub top` and `felixhub up --view tui` as a person has them: on a terminal of their own, with real keys."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from shell import Shell, Terminal, a_shell, until

ALTERNATE, BACK = b"\x1b[?1049h", b"\x1b[?1049l"
CURSOR_SHOWN = b"\x1b[?25h"
MOUSE_OFF = b"\x1b[?1000l"
SLOW = "--tokens-per-s"
BROKEN = """
import sys
from felixhub.cli.main import main
from felixhub.views.tui.pane import Pane

def broken(self, *_, **__):
    raise RuntimeError("not drawn")

Pane.show = broken
sys.exit(main(["top"]))
"""


@pytest.fixture
def shell() -> Iterator[Shell]:
    with a_shell() as one:
        yield one


def _started(shell: Shell) -> str:
    """A hub that serves, and a run on it that waits for approval."""
    shell.serve()
    return _waiting(shell)


def _waiting(shell: Shell) -> str:
    run = shell.run("run", "Why?", "--workflow", "solo", "--review", "--llm", "offline", "--detach").text.strip()
    shell.until_event(run, "section.ready")
    return run


def _is_restored(terminal: Terminal) -> bool:
    received = terminal.received
    last = received.rfind(ALTERNATE)
    return last >= 0 and all(received.rfind(code) > last for code in (BACK, CURSOR_SHOWN, MOUSE_OFF))


def test_q_leaves_and_the_run_goes_on(shell: Shell) -> None:
    run = _started(shell)
    top = shell.terminal("top", columns=120)
    top.until_shown("0 of 1 approved")
    top.type("q")
    assert top.wait() == 0
    assert _is_restored(top)
    assert shell.status(run) == "running"


def test_what_was_asked_just_before_q_is_done(shell: Shell) -> None:
    run = _started(shell)
    top = shell.terminal("top", columns=120)
    top.until_shown("0 of 1 approved")
    top.type("pq")
    assert top.wait() == 0
    assert shell.status(run) == "paused"
    assert "had not answered" not in top.screen


def test_what_the_hub_had_not_answered_is_told_to_who_leaves(shell: Shell) -> None:
    hub = shell.serve()
    run = _waiting(shell)
    top = shell.terminal("top", columns=120)
    top.until_shown("0 of 1 approved")
    hub.signal(signal.SIGKILL)
    hub.popen.wait(30.0)
    top.type("pq")
    assert top.wait() == 0
    assert _is_restored(top)
    top.until_shown(f"the hub had not answered when you left: pause {run}")


@pytest.mark.parametrize(
    "how", ["ctrl-c", *(pytest.param(one, marks=pytest.mark.long) for one in ("sigterm", "sighup"))]
)
def test_ctrl_c_and_signals_leave_at_once_with_the_terminal_restored(shell: Shell, how: str) -> None:
    run = _started(shell)
    top = shell.terminal("top", run, columns=120)
    top.until_shown("0 of 1 approved")
    if how == "ctrl-c":
        top.type("\x03")
    else:
        top.popen.send_signal(signal.SIGTERM if how == "sigterm" else signal.SIGHUP)
    assert top.wait() == 130
    assert _is_restored(top)
    assert shell.status(run) == "running"


@pytest.mark.long
def test_ctrl_c_leaves_from_within_a_form_too(shell: Shell) -> None:
    _started(shell)
    top = shell.terminal("top", columns=120)
    top.until_shown("0 of 1 approved")
    top.type("s")
    top.until_shown("What is wrong?")
    top.type("half a word\x03")
    assert top.wait() == 130
    assert _is_restored(top)


def test_a_fault_of_ours_is_one_sentence_on_a_restored_terminal(shell: Shell) -> None:
    _started(shell)
    top = Terminal(shell, [sys.executable, "-c", BROKEN], shell.project, 120)
    try:
        assert top.wait() == 1
        assert _is_restored(top)
        assert "this is a fault of ours: RuntimeError: not drawn" in top.screen
        assert "Traceback" not in top.screen
    finally:
        top.kill()


def test_without_a_terminal_it_says_what_to_use(shell: Shell) -> None:
    assert "needs a terminal" in shell.run("top", code=2).complaint
    assert "needs a terminal" in shell.run("up", "Why?", "--view", "tui", code=2).complaint


@pytest.mark.long
def test_without_a_hub_or_the_run_nothing_is_drawn(shell: Shell) -> None:
    top = shell.terminal("top")
    assert top.wait() == 3
    assert "no hub" in top.screen and ALTERNATE not in top.received
    shell.serve()
    top = shell.terminal("top", "nosuch-1")
    assert top.wait() == 2
    assert "there is no run 'nosuch-1' on this hub" in top.screen
    assert _is_restored(top)


def test_up_shows_the_grid_and_prints_the_result_when_it_is_closed(shell: Shell) -> None:
    out = shell.project / "answer.md"
    up = shell.terminal(
        "up", "Why?", "--workflow", "solo", "--llm", "offline", "--view", "tui", "--out", out, columns=120
    )
    up.until_shown("✓ final")
    up.type("q")
    assert up.wait() == 0
    assert _is_restored(up)
    after = up.received[up.received.rfind(BACK) :].decode()
    assert out.read_text(encoding="utf-8").split("\n")[0] in after
    shell.until_nothing_is_left()


def test_ctrl_c_in_the_grid_of_up_stops_the_run_politely(shell: Shell) -> None:
    up = shell.terminal(
        "up", "Why?", "--workflow", "solo", "--review", "--llm", "offline", "--view", "tui", columns=120
    )
    up.until_shown("0 of 1 approved")
    up.type("\x03")
    assert up.wait() == 130
    assert _is_restored(up)
    assert "stopping: the run is being cancelled" in up.screen
    shell.until_nothing_is_left()


@pytest.mark.long
def test_a_replay_is_watched_and_says_that_it_cannot_be_steered(shell: Shell) -> None:
    run = _started(shell)
    recording = shell.project / "run.jsonl"
    shell.run("export", run, "--format", "jsonl", "-o", recording)
    replay = shell.start("replay", recording, "--view", "none", "--speed", "max", "--data", shell.project / "played")
    until(lambda: (shell.project / "played" / "connection.json").exists(), 30.0, lambda: replay.err)
    top = shell.terminal("top", "--hub", Path("played"), columns=120)
    top.until_shown("0 of 1 approved")
    top.type("a")
    top.until_shown("this is a recording: it can be watched, not steered".capitalize()[:20])
    top.type("q")
    assert top.wait() == 0
