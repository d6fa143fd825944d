"""`felixhub rm` and `felixhub prune`: what has ended goes for good, and nothing else does."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from shell import Shell, a_shell, until

from felixhub.core.workflow import Card, Stage, Workflow
from felixhub.transport.control import HubRefused

WORKFLOW = Workflow(name="one", stages=(Stage(name="one", agent="nobody"),))


@pytest.fixture(scope="module")
def hub() -> Iterator[Shell]:
    """A hub without agents: a run goes on until it is cancelled."""
    with a_shell() as shell:
        serving = shell.start("hub")
        yield shell
        serving.signal(signal.SIGTERM)
        assert serving.wait(30.0).code == 0
        shell.until_nothing_is_left()


@pytest.fixture
def runs(hub: Shell) -> list[str]:
    """Three runs that have ended, oldest first, and no other."""
    with hub.client() as client:
        for row in client.runs():
            client.remove(row["run"])
    made = [begin(hub, f"Task {number}") for number in range(3)]
    for run in made:
        end(hub, run)
    assert listed(hub) == made
    return made


def listed(hub: Shell) -> list[str]:
    return [row["run"] for row in hub.rows()]


def begin(hub: Shell, task: str = "It goes on") -> str:
    with hub.client() as client:
        return str(client.start(task, workflow=WORKFLOW, agents=(Card(name="nobody"),))["run"])


def end(hub: Shell, run: str) -> None:
    with hub.client() as client:
        client.cancel(run)
    until(lambda: hub.status(run) == "cancelled", 20.0, "it has ended")


# ---- rm ------------------------------------------------------------------------------------------------------------


def test_rm_removes_what_it_names_and_nothing_else(hub: Shell, runs: list[str]) -> None:
    done = hub.run("rm", runs[1], "--yes")
    assert done.text == f"removed {runs[1]}\n"
    assert listed(hub) == [runs[0], runs[2]]
    assert f"there is no run '{runs[1]}'" in hub.run("show", runs[1], code=2).complaint
    assert "■ run cancelled" in hub.run("watch", "--run", runs[0], "--no-follow", "--tail", "all").text
    done = hub.run("rm", "latest", runs[0], runs[0], "-y")
    assert done.lines == [f"removed {runs[2]}", f"removed {runs[0]}"] and "removed 2 runs" in done.err
    assert listed(hub) == []


def test_rm_of_several_is_all_or_none(hub: Shell, runs: list[str]) -> None:
    said = hub.run("rm", runs[0], "nosuch", "--yes", code=2).complaint
    assert said == "there is no run 'nosuch' on this hub: `felixhub ps` lists them"
    going = begin(hub)
    said = hub.run("rm", runs[0], going, "--yes", code=2).complaint
    assert said == f"run '{going}' has not ended: `felixhub cancel {going}` first"
    with hub.client() as client, pytest.raises(HubRefused, match="has not ended: cancel it first") as refused:
        client.remove(going)
    assert refused.value.code == "not_ended"
    assert listed(hub) == [*runs, going]
    end(hub, going)


def test_rm_asks_where_somebody_can_answer(hub: Shell, runs: list[str]) -> None:
    assert "say --yes where nobody can be asked" in hub.run("rm", runs[0], code=2).complaint
    for answer, code in (("\r", 1), ("no\r", 1), ("y\r", 0)):
        assert runs[0] in listed(hub)
        terminal = hub.terminal("rm", runs[0])
        terminal.until_shown("for good? [y/N]")
        assert "Task 0" in terminal.screen
        terminal.type(answer)
        assert terminal.wait() == code
    assert listed(hub) == runs[1:]
    terminal = hub.terminal("rm", runs[1])
    terminal.until_shown("[y/N]")
    terminal.type("\x03")  # Ctrl-C
    assert terminal.wait() == 130
    assert listed(hub) == runs[1:]


def test_removing_again_is_no_error(hub: Shell, runs: list[str]) -> None:
    """So a client may send it again when it heard no answer."""
    with hub.client() as client:
        assert client.remove(runs[0]) is True
        assert client.remove(runs[0]) is False
        assert client.remove("never-there") is False


def test_what_was_removed_stays_removed_after_a_restart() -> None:
    with a_shell() as shell:
        serving = shell.start("hub")
        gone, kept = begin(shell), begin(shell)
        end(shell, gone)
        shell.run("rm", gone, "--yes")
        serving.signal(signal.SIGTERM)
        assert serving.wait(30.0).code == 0
        shell.start("hub")
        assert listed(shell) == [kept]


# ---- prune ---------------------------------------------------------------------------------------------------------


def test_prune_keeps_the_newest(hub: Shell, runs: list[str]) -> None:
    going = begin(hub)
    done = hub.run("prune", "--keep", "2", "--dry-run")
    assert [line.split()[0] for line in done.lines] == ["RUN", runs[0]] and "would remove 1 run" in done.err
    assert listed(hub) == [*runs, going]
    assert "say --yes" in hub.run("prune", "--keep", "2", code=2).complaint
    assert hub.run("prune", "--keep", "2", "--yes").text == f"removed {runs[0]}\n"
    assert listed(hub) == [*runs[1:], going]
    done = hub.run("prune", "--keep", "0", "--yes")
    assert done.lines == [f"removed {run}" for run in runs[1:]]
    assert listed(hub) == [going], "it goes on"
    assert "nothing to prune" in hub.run("prune", "--keep", "0", "--yes").err
    end(hub, going)


def test_prune_by_age(hub: Shell, runs: list[str]) -> None:
    assert "nothing to prune" in hub.run("prune", "--older-than", "1h", "--yes").err
    assert listed(hub) == runs
    done = hub.run("prune", "--older-than", "0", "--keep", "1", "--yes")
    assert done.lines == [f"removed {run}" for run in runs[:2]]
    assert listed(hub) == runs[2:]


def test_prune_wants_to_know_which(hub: Shell) -> None:
    assert "say which runs: --older-than AGE, --keep N" in hub.run("prune", code=2).complaint
    said = hub.run("prune", "--older-than", "soon", code=2).complaint
    assert said == "--older-than soon: write 30s, 10m, 2h or 1d"


def test_runs_are_listed_page_by_page(hub: Shell, runs: list[str]) -> None:
    with hub.client() as client:
        assert [row["run"] for row in client.runs(before=runs[2])] == runs[:2]
        assert client.runs(before=runs[0]) == []
        with pytest.raises(HubRefused, match="there is no run 'nosuch'"):
            client.runs(before="nosuch")
