"""`up --review` that waits for approvals: Ctrl-C keeps the run for later instead of cancelling it."""

from __future__ import annotations

import math
import signal

from shell import TASK, Shell, until

from felixhub.llm.offline import OfflineModel

ONE = """name = "one"
[[stages]]
name = "risks"
agent = "research"
section = "Risks"
"""


def test_ctrl_c_while_only_a_person_is_waited_for(shell: Shell, model: OfflineModel) -> None:
    shell.write("config/workflows/one.toml", ONE)
    terminal = shell.terminal("up", TASK, "--workflow", "one", "--review", "--llm", model.base_url, columns=300)
    terminal.until_shown("Ctrl-C keeps it for later")
    terminal.until_shown("waiting for a person")
    terminal.type("\x03")
    assert terminal.wait() == 130
    run = terminal.screen.partition("run one-")[2].split()[0]
    assert f"stopping: run one-{run} waits for you and is kept: felixhub up --serve goes on with it" in terminal.screen
    shell.until_nothing_is_left()
    serving = shell.serve("--view", "none")
    until(lambda: shell.rows()[-1]["awaiting"] == ["risks"], 20.0, "it waits again")
    shell.run("approve", f"one-{run}", "--all")
    until(lambda: shell.status(f"one-{run}") == "finished", 20.0, "it finishes")
    serving.signal(signal.SIGTERM)
    assert serving.wait().code == 0


def test_ctrl_c_while_somebody_writes_cancels_as_ever(shell: Shell, model: OfflineModel) -> None:
    model.tokens_per_s = 4.0
    shell.write("config/workflows/one.toml", ONE)
    terminal = shell.terminal("up", TASK, "--workflow", "one", "--review", "--llm", model.base_url)
    terminal.until_shown("started")
    until(lambda: model.open_requests == 1, 20.0, "it writes")
    terminal.type("\x03")
    assert terminal.wait() == 130
    assert "stopping: the run is being cancelled" in terminal.screen
    model.tokens_per_s = math.inf
    shell.until_nothing_is_left()
    assert shell.script("felixhub hub & sleep 0 && felixhub ps; kill %1; wait").lines[-1].split()[1] == "cancelled"
