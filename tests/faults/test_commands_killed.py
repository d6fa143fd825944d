"""The hub is killed when a command is durable and nothing has come of it yet: it is done once, after the restart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import AGENTS, Eye, Place, a_place, task_of, until
from verdict import faults_of

from felixhub.core.events import (
    CommandAccepted,
    Event,
    SectionApproved,
    SectionEdited,
    SectionReopened,
    StageReopened,
    ThoughtAbandoned,
    ThoughtStarted,
)
from felixhub.core.messages import (
    Approve,
    CancelRun,
    Edit,
    Message,
    Pause,
    Regenerate,
    Reopen,
    Resume,
    Start,
    Steer,
)
from felixhub.core.workflow import Card, RunSettings, Stage, Workflow
from felixhub.transport.control import new_id

pytestmark = pytest.mark.long


@pytest.fixture
def quick_place() -> Iterator[Place]:
    with a_place(worker_beat_s=0.3, lease_grace_s=20.0) as place:
        yield place


def start(place: Place, run: str, *, pieces: int) -> None:
    """Four sections, written by four agents; a person must approve them."""
    stages = tuple(
        Stage(name=agent, agent=agent, section=agent.upper(), context="none", retries_max=5, retry_s=0.1)
        for agent in AGENTS
    )
    request = Start(
        id=run,
        task=task_of(seed=7, pieces=pieces),
        workflow=Workflow(name="four", stages=stages),
        agents=tuple(Card(name=agent, program=True) for agent in AGENTS),
        settings=RunSettings(batch_interval_s=0.03, review=True),
    )
    with place.client() as client:
        client.request(request)


def hub_that_dies_of_the_next_command(place: Place) -> None:
    place.the_hub.kill()
    place.start_hub(failpoint="hub.after_command")


def send(place: Place, message: Message) -> None:
    """Send a command, see the hub die of it, start another one, and get the answer."""
    with place.client(wait_s=0.5) as client, pytest.raises(Exception, match="no hub"):
        client.request(message)
    until(lambda: place.the_hub.exit is not None, 30.0, "the hub dies")
    assert place.the_hub.exit == -9
    place.start_hub()
    with place.client() as client:
        first = client.request(message)
        assert client.request(message) == first


def of(place: Place, run: str, kind: type[Event]) -> list[Event]:
    return [event for event in place.events_of(run) if isinstance(event, kind)]


def check_once(place: Place, run: str, name: str) -> None:
    accepted = [event.name for event in of(place, run, CommandAccepted)]  # type: ignore[attr-defined]
    assert accepted.count(name) == 1


def finish(place: Place, run: str, eye: Eye) -> None:
    """Approve what there is until the run has ended."""

    def approved() -> bool:
        row = next(row for row in rows(place) if row["run"] == run)
        if row["status"] != "running":
            return True
        if row["awaiting"] and not row["open"]:
            with place.client() as client:
                client.request(Approve(id=new_id(), run=run))
        return False

    until(approved, 30.0, "the run ends")
    eye.wait_for_end()
    assert faults_of(place.log_of(run), place.truth, end="run.finished") == []


def rows(place: Place) -> list[dict[str, object]]:
    from felixhub.core.messages import Runs

    with place.client() as client:
        found: list[dict[str, object]] = client.request(Runs(id=new_id()))["runs"]
        return found


@pytest.mark.parametrize("name", ["steer", "regenerate", "cancel agent", "cancel thought", "cancel section"])
def test_while_it_thinks(quick_place: Place, name: str) -> None:
    place = quick_place
    place.start_hub()
    place.start_team()
    start(place, "r1", pieces=250)
    with Eye(place, "r1") as eye:
        eye.wait_for("thought.partial", count=3, agent="a1")
        hub_that_dies_of_the_next_command(place)
        eye.wait_for("thought.partial", count=8, agent="a1")
        thought = eye.wait_for("thought.started", agent="a1").thought  # type: ignore[attr-defined]
        command: Message = {
            "steer": Steer(id="c1", run="r1", agent="a1", wrong="too loud"),
            "regenerate": Regenerate(id="c1", run="r1", thought=thought),
            "cancel agent": CancelRun(id="c1", run="r1", agent="a1"),
            "cancel thought": CancelRun(id="c1", run="r1", thought=thought),
            "cancel section": CancelRun(id="c1", run="r1", section="a1"),
        }[name]
        send(place, command)
        ended = eye.wait_for("thought.abandoned", agent="a1")
        again = name in ("steer", "regenerate")
        assert isinstance(ended, ThoughtAbandoned)
        assert (ended.thought, ended.reason) == (thought, "superseded" if again else "cancelled")
        check_once(place, "r1", name.split()[0])
        if again:
            second = eye.wait_for("thought.started", count=2, agent="a1")
            assert isinstance(second, ThoughtStarted)
            assert second.revises == (thought if name == "steer" else None)
            assert second.steered_by == ("c1" if name == "steer" else None)
        assert len(of(place, "r1", StageReopened)) == int(again)
        finish(place, "r1", eye)
    others = [e for e in of(place, "r1", ThoughtAbandoned) if e.agent_name != "a1"]
    assert others == [], "the others went on"


@pytest.mark.parametrize("name", ["approve", "reopen", "edit", "regenerate", "pause", "resume"])
def test_while_it_waits_for_a_person(quick_place: Place, name: str) -> None:
    place = quick_place
    place.start_hub()
    place.start_team()
    start(place, "r1", pieces=5)
    with Eye(place, "r1") as eye:
        eye.wait_for("section.ready", count=4)
        with place.client() as client:
            if name == "reopen":
                client.request(Approve(id="c0", run="r1", section="a1"))
            if name == "resume":
                client.request(Pause(id="c0", run="r1"))
        hub_that_dies_of_the_next_command(place)
        command: Message = {
            "approve": Approve(id="c1", run="r1", section="a1"),
            "reopen": Reopen(id="c1", run="r1", section="a1"),
            "edit": Edit(id="c1", run="r1", section="a1", text="By hand. 漢字\n", version=1),
            "regenerate": Regenerate(id="c1", run="r1", section="a1"),
            "pause": Pause(id="c1", run="r1"),
            "resume": Resume(id="c1", run="r1"),
        }[name]
        send(place, command)
        check_once(place, "r1", name)
        expected: dict[str, tuple[type[Event], int]] = {
            "approve": (SectionApproved, 1),
            "reopen": (SectionReopened, 1),
            "edit": (SectionEdited, 1),
            "regenerate": (StageReopened, 1),
        }
        if name in expected:
            kind, count = expected[name]
            assert len(of(place, "r1", kind)) == count
        if name == "pause":
            assert place.status("r1") == "paused"
            with place.client() as client:
                client.request(Resume(id="c2", run="r1"))
        if name == "regenerate":
            eye.wait_for("section.ready", count=5)
        finish(place, "r1", eye)
    result = eye.events[-1].result  # type: ignore[attr-defined]
    assert ("By hand. 漢字" in result) == (name == "edit")


def test_the_whole_run(quick_place: Place) -> None:
    place = quick_place
    place.start_hub()
    place.start_team()
    start(place, "r1", pieces=120)
    with Eye(place, "r1") as eye:
        eye.wait_for("thought.partial", count=3, agent="a1")
        hub_that_dies_of_the_next_command(place)
        eye.wait_for("thought.partial", count=8, agent="a1")
        send(place, CancelRun(id="c1", run="r1"))
        eye.wait_for_end()
    check_once(place, "r1", "cancel")
    assert faults_of(place.log_of("r1"), place.truth, end="run.cancelled") == []
