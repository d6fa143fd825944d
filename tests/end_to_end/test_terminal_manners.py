"""What people do to a terminal: stop and go on (Ctrl-Z, fg), pull at the window. Nothing is lost, nobody is left."""

from __future__ import annotations

import contextlib
import math
import signal
from collections.abc import Iterator

from shell import MEMO, TASK, Shell, Terminal, until

from felixhub.llm.offline import OfflineModel


@contextlib.contextmanager
def bash(shell: Shell, columns: int = 100) -> Iterator[Terminal]:
    """A shell with job control, as everybody has one."""
    words = ["/bin/bash", "--norc", "--noprofile", "-i"]
    terminal = Terminal(shell, words, shell.project, columns, PS1="$ ")
    try:
        yield terminal
        terminal.type("exit\n")
        terminal.wait(30.0)
    finally:
        terminal.kill()
    assert "Traceback" not in terminal.screen, terminal.screen


def test_a_watch_that_is_stopped_and_goes_on(shell: Shell, model: OfflineModel) -> None:
    model.tokens_per_s, model.first_token_s = 10.0, 0.0
    serving = shell.serve("--view", "none")
    asked = ("run", TASK, "--file", MEMO, "--workflow", "solo", "--llm", model.base_url, "--detach")
    run = shell.run(*asked).lines[0]
    with bash(shell) as terminal:
        terminal.type("felixhub watch\n")
        terminal.until_shown("▸ started")
        terminal.type("\x1a")
        terminal.until_shown("Stopped")
        assert shell.status(run) == "running"
        model.tokens_per_s = math.inf
        until(lambda: shell.status(run) == "finished", 30.0, "nobody waits for a viewer")
        terminal.type("fg\n")
        terminal.until_shown("✓ run finished")
        terminal.type("\x03")
        terminal.type("echo code=$?\n")
        terminal.until_shown("code=130")
    serving.signal(signal.SIGTERM)
    assert serving.wait().code == 0
    shell.until_nothing_is_left()


def test_all_of_it_is_stopped_and_goes_on(shell: Shell, model: OfflineModel) -> None:
    """Ctrl-Z reaches whatever is in the terminal's foreground; afterwards the run goes on to its end."""
    model.tokens_per_s, model.first_token_s = 20.0, 0.0
    with bash(shell) as terminal:
        terminal.type(f"felixhub up '{TASK}' --workflow solo --llm {model.base_url} --out answer.md\n")
        terminal.until_shown("▸ started")
        terminal.type("\x1a")
        terminal.until_shown("Stopped")
        terminal.type("fg\n")
        model.tokens_per_s = math.inf
        terminal.until_shown("✓ run finished", 60.0)
        terminal.type("echo code=$?\n")
        terminal.until_shown("code=0")
    assert (shell.project / "answer.md").read_text()
    shell.until_nothing_is_left()


def test_a_window_that_is_pulled(shell: Shell, model: OfflineModel) -> None:
    model.tokens_per_s, model.first_token_s = 20.0, 0.0
    arguments = ("up", TASK, "--file", MEMO, "--workflow", "solo", "--llm", model.base_url)
    terminal = shell.terminal(*arguments, columns=110)
    terminal.until_shown("▸ started")
    terminal.resize(50)
    before = len(terminal.screen)
    model.tokens_per_s = math.inf
    assert terminal.wait() == 0
    after = terminal.screen[before:].splitlines()
    assert "✓ run finished" in terminal.screen and "Traceback" not in terminal.screen
    assert max(map(len, after[2:])) <= 50, "from there on it fits"
    shell.until_nothing_is_left()
