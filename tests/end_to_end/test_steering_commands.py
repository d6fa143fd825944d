"""Steering, review and the options of a run, as they are typed: one hub that stays, a run for each test."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from shell import ESCAPE_CODE, MEMO, TASK, Command, Shell, a_shell, until
from texts import of_kind, thoughts

from felixhub.core.events import (
    RunFinished,
    RunStarted,
    SectionApproved,
    SectionEdited,
    StageFinished,
    StageReopened,
    ThoughtAbandoned,
    ThoughtStarted,
)
from felixhub.llm.offline import OfflineModel

DUO = """name = "duo"
[[stages]]
name = "risks"
agent = "writer-a"
section = "Known risks"
instruction = "Say what could go wrong: the grid connection, the grant, the staff, the noise, the cost of each option."
[[stages]]
name = "gains"
agent = "writer-b"
section = "Gains"
instruction = "Say what is gained: lower running cost, less noise, fewer emissions, a grant for each option."
[[stages]]
name = "notes"
agent = "writer-b"
section = "Notes"
optional = true
"""

CARD = """---
name: {name}
about: writes a section
---
Write your section from the documents.
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Shell]:
    with a_shell() as shell:
        shell.write("config/workflows/duo.toml", DUO)
        for name in ("writer-a", "writer-b"):
            shell.write(f"agents/{name}.md", CARD.format(name=name))
        serving = shell.serve("--view", "none")
        yield shell
        serving.signal(signal.SIGTERM)
        done = serving.wait(30.0)
        assert done.code == 0, done.err
        assert "Traceback" not in done.err, done.err
        shell.until_nothing_is_left()


@pytest.fixture
def slow(model: OfflineModel) -> OfflineModel:
    model.tokens_per_s, model.first_token_s = 4.0, 0.0
    return model


def start(shell: Shell, model: OfflineModel, *more: str) -> tuple[Command, str]:
    """`felixhub run` in another terminal, and its run's id."""
    command = shell.start("run", TASK, "--file", MEMO, "--workflow", "duo", "--llm", model.base_url, *more)
    command.until_printed("run duo-", err=True)
    return command, next(line for line in command.err.splitlines() if line.startswith("run duo-")).split()[1]


def statuses(shell: Shell, run: str) -> dict[str, str]:
    return {row["section"]: row["status"] for row in shell.run("sections", run, "--json").json["sections"]}


def until_ready(shell: Shell, run: str, *sections: str) -> None:
    def look() -> bool:
        found = statuses(shell, run)
        return all(found[name] == "ready" for name in sections)

    until(look, 20.0, lambda: str(statuses(shell, run)))


def reviewed(shell: Shell, model: OfflineModel, *more: str) -> tuple[Command, str]:
    """A run that waits for a person to approve its two sections."""
    command, run = start(shell, model, "--review", *more)
    until_ready(shell, run, "risks", "gains")
    return command, run


def finish(shell: Shell, command: Command, run: str) -> None:
    shell.run("approve", run, "--all")
    done = command.wait()
    assert done.code == 0, done.text + done.err


# ---- review --------------------------------------------------------------------------------------------------------


def test_a_run_with_review_waits_and_says_what_to_do(hub: Shell, model: OfflineModel) -> None:
    command, run = reviewed(hub, model)
    command.until_printed(f"0 of 2 approved · felixhub approve {run} --all · felixhub sections {run}", err=True)
    command.until_printed("waiting for a person: 'Known risks', 'Gains' · 0 of 2 approved")
    (row,) = [line for line in hub.run("ps").lines if line.startswith(run)]
    assert row.split()[1] == "awaiting"
    table = hub.run("sections", run).lines
    assert table[0].split() == ["SECTION", "STATUS", "VERSION", "WORDS", "BY", "TITLE"]
    assert table[1].split()[:3] == ["risks", "ready", "1"] and table[1].endswith("writer-a  Known risks")
    assert table[3].split()[:2] == ["notes", "skipped"], "nobody has asked for them"
    assert table[-1] == "0 of 2 approved"

    assert hub.run("approve", run, "KNOWN RISKS").text == "approved 'Known risks' version 1: 1 of 2 approved\n"
    assert hub.run("reopen", run, "risks").text.startswith(f"reopened 'Known risks' of {run}: version 1")
    assert statuses(hub, run)["risks"] == "ready"
    assert hub.run("approve", run, "writer-a", "--version", "1").lines == [
        "approved 'Known risks' version 1: 1 of 2 approved"
    ]
    done = hub.run("approve", run, "--all")
    assert done.text == "approved 'Gains' version 1: 2 of 2 approved\n"
    assert command.wait().code == 0
    assert hub.status(run) == "finished"
    assert [one.by for one in of_kind(hub.events(run), SectionApproved)] == ["ann", "ann", "ann"]
    assert hub.run("approve", run, "--all").text == "nothing to approve: 2 of 2 approved\n"


def test_without_review_nobody_is_asked(hub: Shell, model: OfflineModel) -> None:
    command, run = start(hub, model)
    done = command.wait()
    assert done.code == 0 and "waiting for a person" not in done.text
    assert done.err == f"run {run}\n"
    assert set(statuses(hub, run).values()) == {"final", "skipped"}


def test_approving_what_is_not_done_is_refused(hub: Shell, slow: OfflineModel) -> None:
    command, run = start(hub, slow, "--review")
    hub.until_event(run, "thought.partial", agent="writer-a")
    assert "'Known risks' cannot be approved" in hub.run("approve", run, "risks", code=2).complaint
    assert statuses(hub, run)["risks"] == "writing"
    hub.run("cancel", run)
    assert command.wait(30.0).code == 1


# ---- steer, regenerate, cancel -------------------------------------------------------------------------------------


def test_steering_an_agent_that_writes(hub: Shell, slow: OfflineModel) -> None:
    command, run = start(hub, slow)
    hub.until_event(run, "thought.partial", agent="writer-a")
    hub.until_event(run, "thought.partial", agent="writer-b")
    words = ("--wrong", "it names no owner", "--instead", "name one", "--constraints", "one page")
    done = hub.run("steer", run, "writer-a", *words)
    (superseded,) = [
        one.started.thought for one in thoughts(hub.events(run)).values() if one.started.agent == "writer-a"
    ][:1]
    assert done.text == f"steering writer-a ({superseded}): version 1 of 'Known risks' follows\n"
    slow.tokens_per_s = math.inf
    watched = command.wait()
    assert watched.code == 0, watched.text
    assert "↻ 'Known risks' is steered by ann · wrong: it names no owner · instead: name one" in watched.text
    assert "steered by ann" in next(line for line in watched.lines if f"revises {superseded}" in line)
    events = hub.events(run)
    (end,) = of_kind(events, ThoughtAbandoned)
    assert (end.thought, end.reason) == (superseded, "superseded"), "the other one has gone on"
    assert of_kind(events, StageReopened)[0].by == "ann"


def test_regenerate_and_diff(hub: Shell, model: OfflineModel) -> None:
    command, run = reviewed(hub, model)
    assert (
        hub.run("diff", run, "risks").err
        == "'Known risks' has one version only, by writer-a: there is nothing to compare\n"
    )
    words = ("--wrong", "it names no owner", "--constraints", "one page")
    done = hub.run("regenerate", run, "Known Risks", *words)
    assert done.text.startswith("regenerating writer-a (") and "version 2 of 'Known risks' follows" in done.text
    until(lambda: hub.run("sections", run, "--json").json["sections"][0]["version"] == 2, 20.0, "version 2")
    done = hub.run("regenerate", run, "gains")
    assert done.text == "regenerating writer-b from the original request: version 2 of 'Gains' follows\n"
    lines = hub.run("diff", run, "risks").lines
    file = hub.project / "risks.diff"
    done = hub.run("diff", run, "risks", "-o", file)
    assert (done.out, done.err) == (b"", f"written to {file}\n")
    assert file.read_text(encoding="utf-8").splitlines() == lines
    assert lines[0].startswith("--- Known risks, version 1 by writer-a (offline-extractive), ")
    assert lines[1].startswith("+++ Known risks, version 2 by writer-a (offline-extractive), ")
    assert any(line.startswith("+") and "it names no owner" in line for line in lines[2:])
    told = hub.run("diff", run, "risks", "2", "1", "--json").json
    assert (told["from"]["version"], told["to"]["version"]) == (2, 1)
    assert told["diff"].startswith("--- Known risks, version 2")
    file = hub.project / "risks.diff"
    assert hub.run("diff", run, "risks", "1", "-o", file).out == b""
    assert file.read_text().splitlines() == lines
    assert "has no version 7: it has versions 1 to 2" in hub.run("diff", run, "risks", "7", code=2).complaint
    until_ready(hub, run, "risks", "gains")
    finish(hub, command, run)


def test_cancel_by_agent_section_or_thought(hub: Shell, slow: OfflineModel) -> None:
    command, run = start(hub, slow)
    hub.until_event(run, "thought.partial", agent="writer-a")
    complaint = hub.run("cancel", run, "writer-z", code=2).complaint
    assert f"run '{run}' has no agent 'writer-z'" in complaint and "did you mean 'writer-" in complaint
    assert "sections: risks ('Known risks'), gains" in complaint
    assert hub.run("cancel", run, "Known Risks").text == f"cancelling 'Known risks' of {run}\n"
    hub.until_event(run, "thought.partial", agent="writer-b")
    (thought,) = [one.started.thought for one in thoughts(hub.events(run)).values() if one.started.agent == "writer-b"]
    assert f"open thoughts: {thought}" in hub.run("cancel", run, "nobody", code=2).complaint
    assert hub.run("cancel", run, thought).text == f"cancelling {thought} of {run}\n"
    assert command.wait().code in (1, 4)
    ends = of_kind(hub.events(run), ThoughtAbandoned)
    assert {end.agent: end.reason for end in ends} == {"writer-a": "cancelled", "writer-b": "cancelled"}


# ---- edit ----------------------------------------------------------------------------------------------------------


def test_edit_from_a_file_from_standard_input_and_in_an_editor(hub: Shell, model: OfflineModel) -> None:
    command, run = reviewed(hub, model)
    file = hub.write("risks.md", "It may rain.")
    assert hub.run("edit", run, "risks", "--file", file).text == f"edited 'Known risks' of {run}: version 2, 3 words\n"
    same = hub.run("edit", run, "risks", "--file", "-", stdin="It may rain.")
    assert same.text == "unchanged: 'Known risks' stays at version 2\n"
    hub.run("edit", run, "risks", "--file", "-", stdin="It may snow.")
    editor = hub.write("edit.sh", 'grep -q snow "$1" && sed -i s/snow/hail/ "$1"')
    done = hub.run("edit", run, "risks", EDITOR=f"bash {editor}")
    assert done.text == f"edited 'Known risks' of {run}: version 4, 3 words\n"
    texts = [one.text for one in of_kind(hub.events(run), SectionEdited)]
    assert texts == ["It may rain.", "It may snow.", "It may hail."], "an editor's last line end is not the text's"
    assert "stays at version 4" in hub.run("edit", run, "risks", EDITOR="true").text
    assert (
        "the editor false ended with 1: nothing is changed"
        in hub.run("edit", run, "risks", VISUAL="false", EDITOR="true", code=2).complaint
    )
    assert "cannot start the editor /no/such" in hub.run("edit", run, "risks", EDITOR="/no/such", code=2).complaint
    for name, data, sentence in (
        ("empty.md", b" \n", "empty.md: this text is empty"),
        ("latin.md", b"one\n\xe9t\xe9", "latin.md:2: this is not UTF-8"),
        ("long.md", b"x" * (3 * 1024 * 1024 + 1), "a section takes no more"),
    ):
        (hub.project / name).write_bytes(data)
        assert sentence in hub.run("edit", run, "risks", "--file", name, code=2).complaint
    assert "cannot read this text" in hub.run("edit", run, "risks", "--file", "nosuch.md", code=2).complaint
    finish(hub, command, run)
    assert "It may hail." in hub.run("export", run).text


def test_an_edit_that_comes_too_late_keeps_the_text(hub: Shell, model: OfflineModel) -> None:
    command, run = reviewed(hub, model)
    meanwhile = f"echo 'It may snow.' | felixhub edit {run} risks --file - && echo 'It may hail.' > \"$1\""
    editor = hub.write("late.sh", meanwhile)
    complaint = hub.run("edit", run, "risks", EDITOR=f"bash {editor}", code=2).complaint
    assert "at version 2 by now, not 1" in complaint and "your text is kept in /" in complaint
    kept = Path(complaint.rpartition("kept in ")[2].rstrip(")"))
    assert kept.read_text() == "It may hail.\n" and kept.parent.stat().st_mode & 0o077 == 0
    kept.unlink()
    kept.parent.rmdir()
    finish(hub, command, run)


def test_what_was_written_is_never_obeyed_by_the_terminal(hub: Shell, model: OfflineModel) -> None:
    command, run = reviewed(hub, model)
    hub.run("edit", run, "risks", "--file", "-", stdin="one\x1b]0;title\x07\n--- not a header\n")
    hub.run("edit", run, "risks", "--file", "-", stdin="two\x1b[2J\x9b\n+++ nor this\n")
    terminal = hub.terminal("diff", run, "risks")
    assert terminal.wait() == 0
    text = terminal.received.decode()
    assert "\x1b[31m-one␛]0;title␇\x1b[0m" in text and "\x1b[32m+two␛[2J\\x9b\x1b[0m" in text
    assert "\x1b[31m---- not a header\x1b[0m" in text, "only the first two lines are the head"
    assert not any(ord(char) < 32 and char not in "\r\n" for char in ESCAPE_CODE.sub("", text))
    piped = hub.run("diff", run, "risks").text
    assert "-one\x1b]0;title\x07\n" in piped and "\x1b[3" not in piped
    finish(hub, command, run)


# ---- options of a run ----------------------------------------------------------------------------------------------


def test_a_budget_ends_the_run(hub: Shell, model: OfflineModel) -> None:
    command, run = start(hub, model, "--budget-tokens", "5")
    done = command.wait()
    assert done.code in (1, 4), done.text
    assert "⚠ the budget is spent:" in done.text and "of 5 tokens" in done.text
    status = "degraded" if done.code == 4 else "failed"
    (row,) = [line for line in hub.run("ps").lines if line.startswith(run)]
    assert row.split()[1] == status


def test_after_and_with(hub: Shell, model: OfflineModel) -> None:
    command, first = start(hub, model)
    assert command.wait().code == 0
    skipped = [one.stage for one in of_kind(hub.events(first), StageFinished) if one.outcome == "skipped"]
    assert skipped == ["notes"]
    command, second = start(hub, model, "--after", "latest", "--with", "notes")
    assert command.wait().code == 0
    (started,) = of_kind(hub.events(second), RunStarted)
    assert started.after == first and started.settings.include == ("notes",)
    assert {one.stage for one in of_kind(hub.events(second), ThoughtStarted)} == {"risks", "gains", "notes"}
    assert of_kind(hub.events(second), RunFinished)

    asked = ("run", TASK, "--workflow", "duo", "--llm", model.base_url)
    assert (
        "no optional stage of that name: did you mean 'notes'? (optional: notes)"
        in hub.run(*asked, "--with", "note", code=2).complaint
    )
    assert "is not optional" in hub.run(*asked, "--with", "risks", code=2).complaint
    assert "'nosuch'" in hub.run(*asked, "--after", "nosuch", code=2).complaint
    assert "this is no run's id" in hub.run(*asked, "--after", "No Run", code=2).complaint


def test_a_task_from_standard_input(hub: Shell, model: OfflineModel) -> None:
    asked = ("run", "-", "--workflow", "duo", "--llm", model.base_url, "--detach")
    run = hub.run(*asked, stdin="  What is due?\n").lines[0]
    assert of_kind(hub.events(run), RunStarted)[0].task == "What is due?"
    assert "standard input held no text" in hub.run(*asked, stdin=" \n", code=2).complaint
    hub.until_event(run, "run.finished")


# ---- before any hub is asked ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("steer", "r1", "a"), "say what is wrong (--wrong TEXT) or what you want instead (--instead TEXT)"),
        (("steer", "r1", "a", "--constraints", "short"), "say what is wrong"),
        (("steer", "r1", "a", "--wrong", "x" * 20_001), "--wrong has 20,001 characters, at most 20,000"),
        (("regenerate", "r1", "a", "--constraints", "short"), "--constraints goes with"),
        (("approve", "r1"), "name one section, or --all"),
        (("approve", "r1", "risks", "--all"), "name one section, or --all"),
        (("approve", "r1", "--all", "--version", "1"), "--version goes with one section"),
        (("diff", "r1", "risks", "1", "2", "3"), "at most two versions"),
        (("up", "--review", "--with", "notes"), "--review, --budget-tokens, --after and --with go with a task"),
        (("export", "r1", "--format", "jsonl", "--appendix"), "the events have no appendix"),
        (("up", "-"), "standard input held no text"),
        (("run", "T", "--budget-tokens", "0"), "--budget-tokens"),
    ],
)
def test_usage_errors_need_no_hub(shell: Shell, arguments: tuple[str, ...], sentence: str) -> None:
    done = shell.run(*arguments, code=2)
    assert sentence in done.complaint
    assert done.out == b""


def test_what_is_no_run(hub: Shell) -> None:
    for command in ("sections", "reopen", "diff", "edit"):
        more = () if command == "sections" else ("risks",)
        assert "no run 'nosuch'" in hub.run(command, "nosuch", *more, code=2).complaint
        assert "is no run's id" in hub.run(command, "No Run", *more, code=2).complaint
    assert json.loads(hub.run("ps", "--json").out) is not None
