"""`felixhub logs`: every process has a file, each life is a line, and all of them are read as one."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from shell import TASK, Done, Shell

from felixhub.llm.offline import OfflineModel


def entries(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.lines]


def write(shell: Shell, name: str, *lines: dict[str, Any], mode: str = "a") -> Path:
    folder = shell.data / "logs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / name).open(mode) as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    return folder / name


def line(second: int, event: str, level: str = "info", **more: Any) -> dict[str, Any]:
    return {"event": event, "level": level, "timestamp": f"2026-11-21T12:00:{second:02}.000000Z", **more}


# ---- what is written -----------------------------------------------------------------------------------------------


def test_a_run_leaves_a_line_for_each_life(shell: Shell, model: OfflineModel) -> None:
    shell.run("up", TASK, "--workflow", "solo", "--llm", model.base_url, "--view", "none")
    told = entries(shell.run("logs"))
    events = [one["event"] for one in told]
    for event in ("hub_started", "worker_started", "run_started", "thought_ended", "run_ended", "worker_ended"):
        assert events.count(event) == 1, (event, events)
    assert "hub_stopped" in events
    assert [one["timestamp"] for one in told] == sorted(one["timestamp"] for one in told)
    (ended,) = [one for one in told if one["event"] == "run_ended"]
    assert ended["outcome"] == "finished" and ended["tokens"] > 0 and ended["process"] == "hub"
    files = list((shell.data / "logs").iterdir())
    assert {path.name for path in files} >= {"hub.log", "research.log"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((shell.data / "logs").stat().st_mode) == 0o700
    assert len(events) < 15, "no line for each token"


def test_a_hub_alone_logs_to_both(shell: Shell) -> None:
    hub = shell.start("hub")
    hub.until_printed("hub_started", err=True)
    hub.signal(signal.SIGTERM)
    assert hub.wait().code == 0
    assert [json.loads(one)["event"] for one in hub.err.splitlines()][-1] == "hub_stopped"
    assert [one["event"] for one in entries(shell.run("logs", "hub"))][-1] == "hub_stopped"
    assert stat.S_IMODE(shell.data.stat().st_mode) == 0o700, "the log did not make it first, open to others"


def test_a_hub_on_a_terminal_is_pretty_there_and_json_in_the_file(shell: Shell) -> None:
    hub = shell.terminal("hub")
    hub.until_shown("hub_started")
    assert '"event"' not in hub.screen
    hub.type("\x03")
    hub.wait()
    assert entries(shell.run("logs", "hub"))[0]["event"] == "hub_started"


def test_a_file_that_is_full_is_put_aside_and_three_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "hub.log"
    code = f"""
from pathlib import Path
from felixhub import logs
logs.FILE_BYTES_MAX = 2_000
logs.configure_logs(file=Path({str(file)!r}))
for number in range(200):
    logs.get_log("hub").info("life", number=number)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == done.stderr == ""
    found = sorted(tmp_path.iterdir())
    assert [path.name for path in found] == ["hub.log", "hub.log.1", "hub.log.2", "hub.log.3"]
    assert all(path.stat().st_size <= 2_000 and stat.S_IMODE(path.stat().st_mode) == 0o600 for path in found)
    lines = [json.loads(one) for path in reversed(found) for one in path.read_text().splitlines()]
    numbers = [one["number"] for one in lines]
    assert numbers == list(range(numbers[0], 200)), "in order, and the latest are there"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk to try")
def test_a_log_that_cannot_be_written_ends_nobody() -> None:
    code = """
import os, sys
from felixhub import logs
os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
logs.configure_logs()
logs.get_log("hub").info("life")
print("it goes on")
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-u", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "it goes on\n"


# ---- what is read --------------------------------------------------------------------------------------------------


def test_the_last_lines_of_all_processes_in_the_order_of_time(shell: Shell) -> None:
    write(shell, "hub.log", line(1, "a"), line(3, "c"), line(5, "e", "warning"))
    write(shell, "critic.log", line(2, "b"), line(4, "d", "error"))
    events = lambda *more: [one["event"] for one in entries(shell.run("logs", *more))]  # noqa: E731
    assert events() == list("abcde")
    assert events("-n", "2") == list("de")
    assert events("--lines", "0") == []
    assert events("critic") == list("bd")
    assert events("hub", "critic", "-n", "3") == list("cde")
    assert events("--level", "warning") == list("de")
    assert events("--level", "error") == list("d")


def test_lines_that_were_put_aside_count_too(shell: Shell) -> None:
    write(shell, "hub.log.2", line(1, "a"))
    write(shell, "hub.log.1", line(2, "b"), line(3, "c"))
    write(shell, "hub.log", line(4, "d"))
    assert [one["event"] for one in entries(shell.run("logs", "-n", "3"))] == list("bcd")
    assert [one["event"] for one in entries(shell.run("logs"))] == list("abcd")


def test_what_is_no_json_is_shown_as_it_is(shell: Shell) -> None:
    file = write(shell, "hub.log", line(1, "a"))
    with file.open("ab") as out:
        out.write(b"Fatal Python error: \xff\n[1, 2]\n\n")
    assert "Fatal Python error: " in shell.run("logs").text


def test_on_a_terminal_it_is_pretty_and_nothing_is_obeyed(shell: Shell) -> None:
    write(shell, "hub.log", line(1, "sly", why="\x1b]0;owned\x07 \u202e", agent="critic"))
    write(shell, "critic.log", line(3, "thought_ended", agent="critic", reason=None, tokens=0, about=""))
    write(shell, "hub.log", line(2, "bad", "error", exception="Traceback\n  \x1b[2Jline"))
    terminal = shell.terminal("logs", TZ="UTC")
    assert terminal.wait() == 0
    assert "12:00:01 hub          sly why=" in terminal.screen and "agent=critic" in terminal.screen
    assert "12:00:02 hub          error: bad" in terminal.screen and "    ␛[2Jline" in terminal.screen
    assert terminal.screen.rstrip().endswith('12:00:03 critic       thought_ended tokens=0 about=""')
    assert b"\x1b]" not in terminal.received and b"\x1b[2J" not in terminal.received
    assert "\u202e" not in terminal.screen
    terminal = shell.terminal("logs", "--json")
    assert terminal.wait() == 0
    assert [json.loads(one)["event"] for one in terminal.screen.splitlines()] == ["sly", "bad", "thought_ended"]


def test_following_across_a_file_that_was_put_aside_and_a_new_one(shell: Shell) -> None:
    file = write(shell, "hub.log", line(1, "first"))
    following = shell.start("logs", "-f")
    following.until_printed("first")
    write(shell, "hub.log", line(2, "second"))
    following.until_printed("second")
    with file.open("a") as half:  # A line is shown when it is whole.
        half.write('{"event": "thi')
        half.flush()
        write(shell, "critic.log", line(3, "another"))
        following.until_printed("another")
        assert b"thi" not in following.out
        half.write('rd", "level": "info"}\n')
    following.until_printed("third")
    file.replace(file.with_name("hub.log.1"))
    write(shell, "hub.log.1", line(4, "last_of_the_old"))
    write(shell, "hub.log", line(5, "first_of_the_new"))
    following.until_printed("first_of_the_new")
    following.interrupt()
    assert following.wait().code == 130
    events = [json.loads(one)["event"] for one in following.out.splitlines()]
    assert events == ["first", "second", "another", "third", "last_of_the_old", "first_of_the_new"]


def test_following_what_is_not_there_yet(shell: Shell) -> None:
    following = shell.start("logs", "-f", "hub")
    hub = shell.start("hub")
    following.until_printed("hub_started")
    following.interrupt()
    assert following.wait().code == 130
    hub.signal(signal.SIGTERM)
    assert hub.wait().code == 0


def test_a_reader_that_leaves(shell: Shell) -> None:
    write(shell, "hub.log", *(line(number % 60, "many") for number in range(3_000)))
    done = shell.script("felixhub logs -n 3000 | head -n 1")
    assert done.code == 0 and len(done.lines) == 1 and done.err == ""


def test_no_logs_and_wrong_words(shell: Shell) -> None:
    said = shell.run("logs", code=2).complaint
    assert said.startswith(f"there are no logs in {shell.data / 'logs'}") and "felixhub up" in said
    write(shell, "critic.log", line(1, "a"))
    said = shell.run("logs", "critik", code=2).complaint
    assert said == "there is no log of 'critik': did you mean 'critic'? (there are: critic)"
    assert "did you mean 'warning'?" in shell.run("logs", "--level", "waning", code=2).complaint
