"""A hub that stays, and the commands that are typed at it from other terminals.

One hub for all: each test starts its own run and leaves none going. A thought lasts until a test makes the model fast.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator

import pytest
from shell import MEMO, TASK, Command, Shell, a_shell, until
from texts import check_chain, of_kind, thoughts

from felixhub.core.events import RunFinished, ThoughtAbandoned, ThoughtFinalized, parse_event
from felixhub.llm.offline import OfflineModel

SOME = """name = "some"
[[stages]]
name = "research"
agent = "research"
checkpoints = [0.0, 0.5]
context = "latest"
[[stages]]
name = "critic"
agent = "critic"
context = "latest"
[synthesis]
agent = "synthesizer"
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Shell]:
    """`felixhub up --serve`, stopped at the end as a service manager does."""
    with a_shell() as shell:
        shell.write("config/workflows/some.toml", SOME)
        serving = shell.serve("--view", "none")
        yield shell
        serving.signal(signal.SIGTERM)
        done = serving.wait(30.0)
        assert done.code == 0, done.err
        assert done.out == b"" and "Traceback" not in done.err, done.err
        shell.until_nothing_is_left()


@pytest.fixture
def slow(model: OfflineModel) -> OfflineModel:
    """It writes a few words a second until it is told to be quick."""
    model.tokens_per_s, model.first_token_s = 8.0, 0.0
    return model


def hurry(model: OfflineModel) -> None:
    model.tokens_per_s = math.inf


def start(shell: Shell, model: OfflineModel, *more: str) -> tuple[Command, str]:
    """`felixhub run` in another terminal, and its run's id."""
    command = shell.start("run", TASK, "--file", MEMO, "--workflow", "some", "--llm", model.base_url, *more)
    command.until_printed("run some-", err=True)
    return command, command.err.split()[1]


def until_all_write(shell: Shell, run: str) -> None:
    for agent in ("research", "critic"):
        shell.until_event(run, "thought.partial", agent=agent)


# ---- run, ps -------------------------------------------------------------------------------------------------------


def test_run_shows_it_and_writes_the_result(hub: Shell, model: OfflineModel) -> None:
    answer = hub.project / "answer.md"
    command, run = start(hub, model, "--out", str(answer))
    done = command.wait()
    assert done.code == 0, done.err
    finished = of_kind(hub.events(run), RunFinished)[0]
    assert answer.read_bytes() == finished.result.encode()
    assert "▸ started   t=0.00" in done.text and "✓ run finished in" in done.text
    assert all(line in done.text for line in finished.result.splitlines())
    assert done.err == f"run {run}\n"


def test_run_json_is_the_log(hub: Shell, model: OfflineModel) -> None:
    command, run = start(hub, model, "--json")
    done = command.wait()
    assert done.code == 0, done.err
    check_chain([parse_event(line) for line in done.out.splitlines()])
    assert done.out == hub.run("export", run, "--format", "jsonl").out


def test_detached_runs_are_listed_and_watched_later(hub: Shell, slow: OfflineModel) -> None:
    asked = ("run", "Two words", "--workflow", "some", "--llm", slow.base_url, "--detach")
    plain = hub.run(*asked)
    assert plain.err == "" and len(plain.lines) == 1
    first = plain.lines[0]
    second = hub.run(*asked, "--json").json["run"]
    assert second != first

    hub.until_event(first, "thought.partial", agent="critic")
    rows = {row["run"]: row for row in hub.run("ps", "--json").json}
    assert rows[first]["status"] == "running"
    assert rows[first]["task"] == "Two words"
    assert sorted(rows[first]["open"]) == ["critic", "research"]
    assert list(rows)[-2:] == [first, second]  # Newest last.
    table = hub.run("ps").lines
    assert table[0].split() == ["RUN", "STATUS", "AGE", "WORKFLOW", "BUSY", "TASK"]
    (row,) = [line for line in table if line.startswith(first)]
    assert row.split()[1] == "running" and "critic" in row and row.endswith("Two words")

    watching = [hub.start("watch", "--run", run, "--until-done") for run in (first, second)]
    hurry(slow)
    for command in watching:
        done = command.wait()
        assert done.code == 0, done.err
        assert "✓ run finished" in done.text
    assert hub.status(first) == hub.status(second) == "finished"


# ---- cancel --------------------------------------------------------------------------------------------------------


def test_cancel_run_closes_every_connection(hub: Shell, slow: OfflineModel) -> None:
    command, run = start(hub, slow)
    until_all_write(hub, run)
    assert slow.open_requests == 2
    done = hub.run("cancel", run)
    assert done.text == f"cancelling {run}\n"
    until(lambda: slow.open_requests == 0, 20.0, "the connections are closed")
    until(lambda: slow.abandoned_requests == 2, 20.0, "the model has noticed")
    watched = command.wait(30.0)
    assert watched.code == 1
    assert "■ run cancelled by ann" in watched.text
    assert watched.complaint == "the run was cancelled by ann"
    told = thoughts(hub.events(run))
    ends = of_kind(hub.events(run), ThoughtAbandoned)
    assert {end.agent: end.reason for end in ends} == {"research": "cancelled", "critic": "cancelled"}
    assert all(one.text and one.end.length == len(one.text.encode()) for one in told.values())  # type: ignore[union-attr]
    assert hub.status(run) == "cancelled"
    assert f"run '{run}'" in hub.run("cancel", run, code=2).complaint  # It has ended.


def test_cancel_one_agent_and_the_others_go_on(hub: Shell, slow: OfflineModel) -> None:
    command, run = start(hub, slow)
    until_all_write(hub, run)
    done = hub.run("cancel", run, "critic")
    assert done.text == f"cancelling critic of {run}\n"
    until(lambda: slow.abandoned_requests == 1, 20.0, "its connection is closed")
    assert slow.open_requests == 1  # The other one's.
    (end,) = of_kind(hub.events(run), ThoughtAbandoned)
    assert (end.agent, end.reason) == ("critic", "cancelled")
    hurry(slow)
    watched = command.wait()
    assert watched.code == 4, watched.text
    events = hub.events(run)
    finals = [end.agent for end in of_kind(events, ThoughtFinalized)]
    assert finals == ["research", "research", "synthesizer"]
    assert of_kind(events, RunFinished)[0].degraded == ("critic is missing (cancelled by ann)",)
    assert "Missing: critic (cancelled by ann)" in slow.requests[-1].body["messages"][1]["content"]
    assert watched.complaint == "the result is degraded: critic is missing (cancelled by ann)"
    assert "■ cancelled by ann" in watched.text and "⚠ run finished degraded" in watched.text


def test_cancel_while_the_model_is_silent(hub: Shell, slow: OfflineModel) -> None:
    slow.first_token_s = 60.0
    command, run = start(hub, slow)
    until(lambda: slow.open_requests == 2, 20.0, "both have asked")
    hub.run("cancel", run)
    until(lambda: slow.open_requests == 0, 20.0, "the connections are closed")
    assert command.wait(30.0).code == 1


def test_commands_that_make_no_sense_say_so(hub: Shell, slow: OfflineModel) -> None:
    command, run = start(hub, slow)
    assert f"run '{run}' has no agent 'nobody'" in hub.run("cancel", run, "nobody", code=2).complaint
    assert "there is no unfinished run 'other'" in hub.run("cancel", "other", code=2).complaint
    assert f"run '{run}' is not paused" in hub.run("resume", run, code=2).complaint
    assert "'other'" in hub.run("export", "other", code=2).complaint
    assert "'other'" in hub.run("watch", "--run", "other", "--no-follow", code=2).complaint
    hub.run("cancel", "latest")
    assert command.wait(30.0).code == 1


# ---- pause, resume -------------------------------------------------------------------------------------------------


def test_pause_stops_what_streams_and_resume_does_only_that_again(hub: Shell, slow: OfflineModel) -> None:
    command, run = start(hub, slow)
    until_all_write(hub, run)
    assert hub.run("pause", run).text == f"pausing {run}\n"
    until(lambda: slow.open_requests == 0, 20.0, "the connections are closed")
    until(lambda: hub.status(run) == "paused", 20.0, "it is paused")
    asked = len(slow.requests)
    assert f"run '{run}' is paused already" in hub.run("pause", run, code=2).complaint
    (row,) = [row for row in hub.run("ps", "--json").json if row["run"] == run]
    assert row["status"] == "paused" and row["open"] == []
    assert len(slow.requests) == asked
    hurry(slow)
    assert hub.run("resume", run).text == f"{run} goes on\n"
    watched = command.wait()
    assert watched.code == 0, watched.text
    assert "‖ paused by ann" in watched.text and "▸ resumed by ann" in watched.text
    told = thoughts(hub.events(run)).values()
    assert [(t.started.agent, t.started.checkpoint, t.started.attempt) for t in told if t.is_final] == [
        ("research", 0.0, 2),
        ("critic", 0.0, 2),
        ("research", 0.5, 1),
        ("synthesizer", 1.0, 1),
    ]
    assert all(t.text for t in told)  # The partial texts are kept.


# ---- export --------------------------------------------------------------------------------------------------------


def test_export(hub: Shell, model: OfflineModel) -> None:
    command, run = start(hub, model)
    assert command.wait().code == 0
    result = of_kind(hub.events(run), RunFinished)[0].result
    markdown = hub.run("export", run).out
    assert hub.run("export", "latest", "--format", "md").out == markdown
    assert hub.run("export", run, "-o", "-").out == markdown
    assert markdown.decode().startswith(result)  # It has a title of its own.
    assert f"run {run} · workflow some · 3 agents · from {MEMO.name}" in markdown.decode()
    for name, kind, option in (("run.md", "md", "--out"), ("run.jsonl", "jsonl", "-o")):
        file = hub.project / name
        done = hub.run("export", run, "--format", kind, option, file)
        assert (done.out, done.err) == (b"", f"written to {file}\n")
        assert file.read_bytes() == hub.run("export", run, "--format", kind).out
    lines = (hub.project / "run.jsonl").read_bytes().splitlines()
    check_chain([parse_event(line) for line in lines])
    assert "cannot write the export" in hub.run("export", run, "-o", "no/such/folder/run.md", code=2).complaint


def test_export_of_a_run_that_goes_on_says_so(hub: Shell, slow: OfflineModel) -> None:
    command, run = start(hub, slow)
    until_all_write(hub, run)
    assert f"# {TASK}" in hub.run("export", run).text
    assert "> The run is running. What is final so far:" in hub.run("export", run).text
    hub.run("cancel", run)
    assert command.wait(30.0).code == 1
    assert "> The run was cancelled by ann." in hub.run("export", run).text


# ---- where the hub is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["directory", "file", "variable", "relative"])
def test_the_ways_to_name_a_hub(hub: Shell, where: str) -> None:
    elsewhere = {"FELIXHUB_DATA": str(hub.folder / "nowhere")}
    match where:
        case "directory":
            done = hub.run("ps", "--json", "--hub", hub.data, **elsewhere)
        case "file":
            done = hub.run("ps", "--json", "--hub", hub.data / "connection.json", **elsewhere)
        case "variable":
            done = hub.run("ps", "--json", FELIXHUB_HUB=str(hub.data), **elsewhere)
        case _:
            done = hub.run("ps", "--json", "--hub", os.path.relpath(hub.data, hub.project), **elsewhere)
    assert [row["run"] for row in done.json] == [row["run"] for row in hub.rows()]


def test_a_second_hub_on_the_same_directory_is_refused(hub: Shell) -> None:
    for arguments in (("up", "A task", "--llm", "offline"), ("hub",)):
        done = hub.run(*arguments, code=2)
        assert str(hub.data) in done.complaint and "another hub" in done.complaint
        assert done.out == b""
    assert hub.rows() is not None  # The first one lives.
