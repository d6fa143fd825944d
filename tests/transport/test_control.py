"""A client's calls against a real hub: each command is a method, and what it raises says what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import felixhub
from felixhub.core.errors import ConfigError
from felixhub.core.messages import Document
from felixhub.core.workflow import Card, RunSettings, Stage, Workflow
from felixhub.transport.address import NoHub
from felixhub.transport.control import ControlClient, HubRefused

WORKFLOW = Workflow(
    name="two",
    stages=(
        Stage(name="risks", agent="writer-1", section="Risks"),
        Stage(name="gains", agent="writer-2", section="Gains"),
    ),
)
CARDS = (Card(name="writer-1"), Card(name="writer-2"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a hub that is up, without any agent."""
    folder = tmp_path_factory.mktemp("control") / "data"
    process = subprocess.Popen(
        [sys.executable, "-m", "felixhub", "hub", "--data", str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        with felixhub.connect(folder, wait_s=30.0) as control:
            assert control.hello()["pid"] == process.pid
        yield folder
    finally:
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture
def client(data: Path) -> Iterator[ControlClient]:
    with felixhub.connect(data, wait_s=20.0) as control:
        yield control


def begin(client: ControlClient) -> str:
    """A run whose risks are left to a person; nobody comes to write the gains."""
    settings = RunSettings(review=True)
    run = str(client.start("Write it.", workflow=WORKFLOW, agents=CARDS, settings=settings, by="ann")["run"])
    client.cancel(run, agent="writer-1")
    return run


def test_a_run_from_start_to_cancel(client: ControlClient) -> None:
    documents = [Document(name="memo.md", text="A memo.")]
    run = client.start("Why?", workflow=WORKFLOW, agents=CARDS, documents=documents, by="ann")["run"]
    assert run.startswith("two-")
    assert client.start("Why?", workflow=WORKFLOW, agents=CARDS, documents=documents, id=run)["run"] == run
    row = client.runs()[-1]
    assert (row["run"], row["status"], row["task"]) == (run, "running", "Why?")
    assert client.pause(run, by="bo") == {"run": run}
    state = client.snapshot(run)
    assert state.status == "paused" and state.paused is not None and state.paused.by == "bo"
    assert [one.name for one in state.started.documents] == ["memo.md"]
    client.resume(run)
    client.cancel(run, by="ann")
    ended = client.snapshot(run)  # From the log by now, or soon.
    assert ended.status in ("cancelling", "cancelled")


def test_edit_approve_and_reopen(client: ControlClient) -> None:
    run = begin(client)
    reply = client.edit(run, "risks", "It may rain.", by="ann")
    assert reply == {"run": run, "section": "risks", "version": 1}
    section = client.snapshot(run).sections["risks"]
    assert [(one.by, one.text) for one in section.versions] == [("ann", "It may rain.")]
    with pytest.raises(HubRefused, match="version 1 by now, not 7") as refused:
        client.edit(run, "risks", "It may snow.", version=7)
    assert (refused.value.code, refused.value.field) == ("version_changed", "version")
    assert client.edit(run, "risks", "It may snow.", version=1)["version"] == 2
    assert client.snapshot(run).text_of("risks@2") == "It may snow."
    with pytest.raises(HubRefused, match="'Gains' cannot be approved: writer-2 is not done with it"):
        client.approve(run, "gains")
    reply = client.approve(run, by="bo")
    assert reply["approved"] == ["risks"] and "writer-2 is not done with it" in reply["refused"]["gains"]
    assert client.snapshot(run).sections["risks"].approved_by == "bo"
    assert client.reopen(run, "risks") == {"run": run, "section": "risks", "version": 2}
    assert client.approve(run, "risks", version=2)["approved"] == ["risks"]
    client.cancel(run)


def test_the_same_id_is_done_once(client: ControlClient) -> None:
    run = begin(client)
    once = [client.edit(run, "risks", "It may rain.", id="e-1") for _ in range(2)]
    assert once[0] == once[1] == {"run": run, "section": "risks", "version": 1}
    assert len(client.snapshot(run).sections["risks"].versions) == 1
    with pytest.raises(HubRefused, match="earlier, different command"):
        client.edit(run, "risks", "Something else.", id="e-1")
    client.cancel(run)


def test_steer_and_regenerate_name_what_is_worked_on(client: ControlClient) -> None:
    run = begin(client)
    assert client.edit(run, "risks", "It may rain.")["version"] == 1
    reply = client.steer(run, agent="writer-1", wrong="too short", constraints="one page", by="ann")
    assert (reply["run"], reply["stage"], reply["agent"], reply["revises"]) == (run, "risks", "writer-1", "risks@1")
    ((command, said),) = client.snapshot(run).stages["risks"].feedback
    assert (said.wrong, said.instead, said.constraints) == ("too short", "", "one page")
    assert client.snapshot(run).commands[command].name == "steer"
    with pytest.raises(HubRefused, match="what is wrong"):
        client.steer(run, section="risks", constraints="one page")
    with pytest.raises(HubRefused, match="exactly one"):
        client.steer(run, section="risks", agent="writer-1", wrong="dull")
    with pytest.raises(HubRefused, match="nothing to regenerate"):
        client.regenerate(run, section="gains")
    client.cancel(run)


def test_what_no_hub_would_take_is_said_before_it_is_sent(client: ControlClient) -> None:
    for wrong in (
        lambda: client.cancel("Not A Name"),
        lambda: client.steer("r1", agent="a", wrong="x" * 20_001),
        lambda: client.edit("r1", "risks", ""),
        lambda: client.start("", workflow=WORKFLOW, agents=CARDS),
        lambda: client.approve("r1", "risks", version=-1),
    ):
        with pytest.raises(ConfigError):
            wrong()
    with pytest.raises(HubRefused, match="there is no run 'nosuch'") as refused:
        client.snapshot("nosuch")
    assert refused.value.code == "unknown_run"
    with pytest.raises(HubRefused, match="no thought 'nosuch'"):
        client.text(begin(client), "nosuch")


def test_connect_finds_the_hub_as_subscribe_does(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FELIXHUB_HUB", str(data))
    with felixhub.connect() as control:
        assert control.hello()["pid"] != os.getpid()
    monkeypatch.delenv("FELIXHUB_HUB")
    monkeypatch.setenv("FELIXHUB_DATA", str(data))
    with felixhub.connect() as control:
        assert control.hello()["pid"] != os.getpid()
    with felixhub.connect(tmp_path / "nowhere", wait_s=0.1) as control, pytest.raises(NoHub, match="felixhub up"):
        control.runs()
