"""The first minutes: the command of the README on a terminal, the help meanwhile, and Ctrl-C."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator

import pytest
from shell import BIN, ESCAPE_CODE, MEMO, ROOT, RUN_HUB, TASK, Shell, Terminal, a_shell, until

from felixhub.llm.offline import OfflineModel
from felixhub.version import __version__

COMMANDS = [
    *("up", "run", "ps", "show", "pause", "resume", "cancel", "export", "rm", "prune", "watch"),
    *("top", "web", "replay", "steer"),
    *("regenerate", "sections", "approve", "reopen", "edit", "diff", "hub"),
    *("agent", "offline-model", "doctor", "init", "logs", "completion", "workflows", "keys", "config"),
]
SLOW_TO_IMPORT = {"asyncio", "httpx2", "nh3", "openai", "pypdf", "sqlite3", "structlog", "typst", "yaml", "zmq"}


@pytest.fixture(scope="module", autouse=True)
def first_run() -> Iterator[tuple[Shell, Terminal]]:
    """`python run_hub.py TASK --file MEMO --llm offline` on a terminal; it goes on while the help is read."""
    with a_shell() as shell:
        data = shell.folder / "data"
        arguments = (TASK, "--file", MEMO, "--llm", "offline", "--out", "answer.md", "--data", data)
        yield shell, shell.terminal(*arguments, run_hub=True)


def test_help_of_all(shell: Shell) -> None:
    for arguments in (["--help"], ["-h"], []):
        done = shell.run(*arguments)
        assert done.err == ""
        assert done.text.index("Examples:") < done.text.index("felixhub watch") < done.text.index("Options:")
        assert re.findall(r"^  ([a-z][a-z-]+)  ", done.text, re.MULTILINE) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(shell: Shell, command: str) -> None:
    done = shell.run(command, "--help")
    assert done.err == "" and not shell.data.exists()
    lines = done.lines
    assert lines[0].startswith(f"Usage: felixhub {command}")
    # Examples come first, each a whole command line.
    examples = [line.strip() for line in lines if line.startswith("  felixhub ")]
    assert any(line.startswith(f"felixhub {command}") for line in examples)
    assert done.text.index(examples[0]) < done.text.index("Options:")
    # No type of Python's in place of a word: FILE, not <list[Path]>; and `show RUN`, not `show {RUN}`.
    parts = [done.text[done.text.index("Options:") :], done.text.partition("Arguments:")[2]]
    assert not re.search(r"<[a-z]+", "".join(parts))
    usage = done.text.partition("\n\n")[0]
    assert not re.search(r"[{}]|\[\[", usage)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["export", "--help"]])
def test_help_comes_at_once(shell: Shell, arguments: list[str]) -> None:
    """It imports nothing that takes its time."""
    told = shell.run(*arguments, PYTHONPROFILEIMPORTTIME="1").err
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in told.splitlines()}
    assert "felixhub" in imported
    assert imported & SLOW_TO_IMPORT == set()


def test_help_of_run_hub(shell: Shell) -> None:
    done = shell.start_run_hub("--help").wait()
    assert (done.code, done.err) == (0, "")
    assert "--file" in done.text and "Exit codes: 0 ok, 1 failed" in " ".join(done.text.split())


def test_version(shell: Shell) -> None:
    assert shell.run("--version").text == f"felixhub {__version__}\n"
    assert shell.start_run_hub("--version").wait().text == f"felixhub {__version__}\n"


def test_python_without_the_package_is_told_what_to_do(shell: Shell) -> None:
    done = shell.script(f"cd / && {sys.executable} -I -S {RUN_HUB}")
    assert done.code == 1
    assert "make setup" in done.err and "Traceback" not in done.err


# ---- Ctrl-C --------------------------------------------------------------------------------------------------------


def going(shell: Shell, model: OfflineModel, *more: str) -> Terminal:
    """`felixhub up` on a terminal, with a run that would go on for a long time."""
    model.tokens_per_s = 8.0
    terminal = shell.terminal("up", TASK, "--file", MEMO, "--llm", model.base_url, *more)
    until(lambda: model.open_requests == 3, 20.0, "all three are asked")
    return terminal


def test_ctrl_c_once_ends_politely(shell: Shell, model: OfflineModel) -> None:
    terminal = going(shell, model)
    terminal.type("\x03")
    assert terminal.wait(30.0) == 130
    assert "stopping: the run is being cancelled" in terminal.screen
    assert "■ run cancelled by up" in terminal.screen
    assert terminal.screen.count("■ cancelled by up") == 3  # Nobody but us heard the Ctrl-C.
    assert "lost" not in terminal.screen and "again in" not in terminal.screen
    assert "Traceback" not in terminal.screen
    shell.until_nothing_is_left()
    assert model.open_requests == 0 and model.abandoned_requests == 3


def test_ctrl_c_twice_ends_at_once(shell: Shell, model: OfflineModel) -> None:
    terminal = going(shell, model)
    terminal.type("\x03\x03")
    assert terminal.wait(30.0) == 130
    assert "Traceback" not in terminal.screen
    until(lambda: not shell.kin(), 20.0, lambda: f"everything ends; there are {shell.kin()}")
    until(lambda: model.open_requests == 0, 20.0, "the connections are closed")
    for path in shell.runtime.rglob("*"):  # The hub was killed: its sockets are there for the next one to take.
        if path.is_socket():
            path.unlink()


def test_ctrl_c_of_a_hub_that_waits(shell: Shell) -> None:
    terminal = shell.terminal("up", "--llm", "offline", columns=120)
    terminal.until_shown("Ctrl-C stops")
    terminal.until_shown("there is no run on this hub yet; waiting for one")
    terminal.type("\x03")
    assert terminal.wait(30.0) == 130
    assert "Traceback" not in terminal.screen
    shell.until_nothing_is_left()


def test_a_closed_window_leaves_nothing_running(shell: Shell, model: OfflineModel) -> None:
    terminal = going(shell, model)
    terminal.hang_up()
    until(lambda: not shell.kin(), 20.0, lambda: f"everything ends; there are {shell.kin()}")
    assert terminal.wait(20.0) in (130, -signal.SIGHUP)
    shell.until_nothing_is_left()
    until(lambda: model.open_requests == 0, 20.0, "the connections are closed")


def test_a_reader_who_leaves_ends_the_run(shell: Shell, model: OfflineModel) -> None:
    """`python run_hub.py TASK | head -3`: nobody is left whom the run is for; it says so."""
    model.tokens_per_s = 8.0
    line = f"{sys.executable} {RUN_HUB} '{TASK}' --llm {model.base_url} | head -3; echo ${{PIPESTATUS[0]}}"
    done = shell.script(line)
    assert len(done.lines) == 4 and done.lines[-1] == "1"
    assert "nobody reads this any more; the run is being cancelled" in done.err
    assert "Traceback" not in done.err and "BrokenPipe" not in done.err
    shell.until_nothing_is_left()
    hub = shell.start("hub", "--pause-unfinished")
    (row,) = shell.rows()
    assert row["status"] == "cancelled"
    hub.interrupt()
    assert hub.wait(30.0).code == 0


def test_a_reader_who_leaves_is_not_missed_when_there_is_a_file(shell: Shell, model: OfflineModel) -> None:
    answer = shell.project / "answer.md"
    asked = f"felixhub up '{TASK}' --workflow solo --llm {model.base_url} --out {answer}"
    done = shell.script(f"{asked} | head -1; echo ${{PIPESTATUS[0]}}")
    assert done.lines[-1] == "0" and "felixhub: " not in done.err
    assert answer.read_text().startswith("**What to find out")
    shell.until_nothing_is_left()


def test_a_run_that_was_left_is_named_and_can_be_gone_on_with(shell: Shell, model: OfflineModel) -> None:
    """A hub that ends leaves its runs; the next `up` says so, and the commands that it names work."""
    model.tokens_per_s = 8.0
    hub, worker = shell.start("hub"), shell.start("agent", "research")
    left = shell.run("run", TASK, "--workflow", "solo", "--llm", model.base_url, "--detach").text.strip()
    until(lambda: model.open_requests == 1, 20.0, "it is asked")
    for process in (worker, hub):
        process.interrupt()
        assert process.wait(30.0).code == 0
    model.tokens_per_s = 1e6

    done = shell.run("up", "Another task", "--workflow", "solo", "--llm", model.base_url, "--view", "none")
    found = re.search(r"unfinished run (\S+) is paused \((.*)\): to go on with it, (.*), then (.*)\n", done.err)
    assert found and found[1] == left and TASK.startswith(found[2])
    assert found[3] == "felixhub up --serve" and found[4] == f"felixhub resume {left}"
    serving = shell.start(*found[3].split()[1:], "--llm", model.base_url, "--view", "none")
    serving.until_printed("Ctrl-C stops", err=True)
    assert shell.status(left) == "paused"  # It waits for a word.
    assert shell.run(*found[4].split()[1:]).text == f"{left} goes on\n"
    until(lambda: shell.status(left) == "finished", 20.0, lambda: f"it finishes: {shell.rows()}")


def test_the_readme_names_commands_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    assert set(re.findall(r"^felixhub ([a-z-]+)", text, re.MULTILINE)) <= set(COMMANDS)
    assert (BIN / "felixhub").exists()


# ---- and the first run has ended ------------------------------------------------------------------------------------


def test_the_first_run_on_the_offline_model(first_run: tuple[Shell, Terminal]) -> None:
    shell, terminal = first_run
    assert terminal.wait(60.0) == 0
    screen = terminal.screen
    assert "offline model, extractive" in screen
    assert screen.startswith(f"hub at {shell.data}\n")
    assert re.search(r"in another terminal: felixhub watch --hub \S+ · felixhub cancel helix-\w+ \[AGENT\]", screen)
    for agent in ("research", "analysis", "critic", "synthesizer"):
        assert re.search(rf"{agent} +▸ started .* offline model, extractive  attempt 1", screen)
    assert "◆ synthesis from 3 thoughts" in screen and "✓ run finished in" in screen
    assert "abandoned" not in screen
    answer = (shell.project / "answer.md").read_text()
    assert answer.startswith("# Should the city convert") and "## Open questions" in answer
    result = screen[screen.index("─── result ") :]
    assert "".join(answer.split()) in "".join(result.split())
    assert "\x1b" not in ESCAPE_CODE.sub("", terminal.received.decode())
    shell.until_nothing_is_left()
