"""Restarts change nothing by themselves, and a command is done once however often it is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness import Eye, Place, start_of
from verdict import faults_of

from felixhub.core.events import CommandAccepted
from felixhub.core.limits import Limits
from felixhub.core.messages import CancelRun, Message, Pause, Resume, Snapshot, Start
from felixhub.eventlog.sqlite import SqliteLog
from felixhub.hub.loop import fold_log
from felixhub.transport.control import HubRefused, new_id

pytestmark = pytest.mark.long


def digest(place: Place) -> dict[str, Any]:
    """What the log of a hub that does not run comes to."""
    log = SqliteLog.open(place.data)
    try:
        return fold_log(log, boot="test", limits=Limits()).digest()
    finally:
        log.close()


def snapshot(place: Place, run: str) -> list[bytes]:
    with place.client() as client:
        return client.pages(Snapshot(id=new_id(), run=run))


@pytest.mark.parametrize("politely", [True, False], ids=["stopped", "killed"])
def test_five_restarts_change_nothing(place: Place, politely: bool) -> None:
    place.start_hub()
    team = place.start_team()
    run = place.start_run(1, pieces=400)
    with Eye(place, run) as eye:
        eye.wait_for("thought.partial", count=60)
    place.the_hub.kill()  # In the middle of it: thoughts are open.
    for worker in team.values():
        worker.kill()
    before = digest(place)
    assert len(before[run]["thoughts"]) == 4
    replays, snapshots = [], []
    for _ in range(5):
        place.start_hub()
        replays.append(place.log_of(run))
        snapshots.append(snapshot(place, run))
        if politely:
            place.stop_hub()
        else:
            place.the_hub.kill()
    assert all(replay == replays[0] for replay in replays)
    assert all(lines == snapshots[0] for lines in snapshots)
    assert digest(place) == before
    assert faults_of(replays[0], place.truth, end=None) == []
    place.start_hub()
    place.start_team()
    with Eye(place, run) as eye:
        eye.wait_for("thought.started", count=8)  # And it goes on.


def send_twice(place: Place, message: Message, *, across_a_restart: bool) -> None:
    with place.client() as client:
        first = client.request(message)
    if across_a_restart:
        place.the_hub.kill()
        place.start_hub()
    with place.client() as client:
        assert client.request(message) == first


def accepted(place: Place, run: str) -> list[str]:
    return [event.name for event in place.events_of(run) if isinstance(event, CommandAccepted)]


@pytest.mark.parametrize("across_a_restart", [False, True], ids=["at once", "across a restart"])
def test_every_command_is_done_once(place: Place, across_a_restart: bool) -> None:
    place.start_hub()
    place.start_team()
    start = start_of("run-1", seed=1, pieces=600)

    def twice(message: Message) -> None:
        send_twice(place, message, across_a_restart=across_a_restart)

    twice(start)
    with Eye(place, start.id) as eye:
        eye.wait_for("thought.started", count=4)
        eye.wait_for("thought.partial", count=10)
        twice(CancelRun(id="c1", run=start.id, agent="a1"))
        eye.wait_for("stage.finished")
        twice(Pause(id="c2", run=start.id))
        eye.wait_for("thought.abandoned", count=4)
        twice(Resume(id="c3", run=start.id))
        eye.wait_for("thought.started", count=7)
        twice(CancelRun(id="c4", run=start.id))
        eye.wait_for_end()
    assert accepted(place, start.id) == ["cancel", "pause", "resume", "cancel"]
    assert faults_of(place.log_of(start.id), place.truth, end="run.cancelled") == []
    kinds = eye.kinds()
    assert (kinds["run.started"], kinds["run.paused"], kinds["run.resumed"], kinds["run.cancelled"]) == (1, 1, 1, 1)
    events = [json.loads(line) for line in place.log_of(start.id)]
    ended = {e["reason"] for e in events if e["kind"] == "thought.abandoned"}
    assert ended == {"cancelled", "paused"}
    # All of them once more, when the run has ended: the same answers, and nothing more happens.
    for message in (start, Pause(id="c2", run=start.id), CancelRun(id="c4", run=start.id)):
        twice(message)
    assert [json.loads(line) for line in place.log_of(start.id)] == events


def test_another_command_under_the_same_id_is_refused(place: Place) -> None:
    place.start_hub()
    start = start_of("run-1", seed=1)
    send_twice(place, start, across_a_restart=True)
    other: list[Message] = [
        start.model_copy(update={"task": "another"}),
        CancelRun(id="c1", run=start.id, agent="a2"),
        Pause(id="c1", run=start.id),
    ]
    send_twice(place, CancelRun(id="c1", run=start.id, agent="a1"), across_a_restart=True)
    log = place.log_of(start.id)
    with place.client() as client:
        for message in other:
            with pytest.raises(HubRefused) as refused:
                client.request(message)
            assert refused.value.code == "id_reused"
    assert isinstance(other[0], Start)
    assert place.log_of(start.id) == log
