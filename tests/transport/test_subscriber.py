"""Subscribing through a hub's restarts and moves: real hubs, real sockets."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import felixhub
from felixhub.core.events import Event
from felixhub.core.messages import CancelRun, Start
from felixhub.core.workflow import Card, Stage, Workflow
from felixhub.transport.address import Connection, NoHub, find_hub, write_connection
from felixhub.transport.control import ControlClient, HubRefused, new_id
from felixhub.transport.subscriber import Subscriber, Subscription, subscribe

WORKFLOW = Workflow(name="one", stages=(Stage(name="a", agent="a"),))


@contextmanager
def hub(data: Path, *options: str) -> Iterator[None]:
    """A hub on this directory, up when the block begins and politely stopped at its end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "felixhub", "hub", "--data", str(data), *options], stderr=subprocess.DEVNULL
    )
    try:
        with client(data) as control:
            until(lambda: control.hello()["pid"] == process.pid)
        yield
    finally:
        process.terminate()
        assert process.wait(20) == 0


def client(data: Path) -> ControlClient:
    return ControlClient(lambda: find_hub(str(data), default=data), wait_s=20.0)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "in time"


def start(data: Path, run: str) -> None:
    with client(data) as control:
        control.request(Start(id=run, task="t", workflow=WORKFLOW, agents=(Card(name="a"),)))


def cancel(data: Path, run: str) -> None:
    with client(data) as control:
        control.request(CancelRun(id=new_id(), run=run))


def test_a_subscription_follows_a_hub_to_another_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    events: list[Event] = []
    with Subscription("r1", hub=data, until_done=True) as subscription:

        def more() -> list[Event]:
            events.extend(item for item in subscription.poll(0.2) if isinstance(item, Event))
            return events

        with hub(data):
            start(data, "r1")
            until(lambda: len(more()) >= 2)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "elsewhere"))
        with hub(data):
            cancel(data, "r1")
            until(lambda: bool(more()) and subscription.follower.done)
    kinds = [event.kind for event in events]
    assert kinds[0] == "run.started"
    assert kinds[-1] == "run.cancelled"
    assert len({event.seq for event in events}) == len(events)
    assert [event.prev for event in events] == [0, *(event.seq for event in events[:-1])]


def test_an_old_connection_file_does_not_hide_the_new_hub(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    gone = "ipc:///nowhere/at/all"
    write_connection(data, Connection(ingest=gone, live=gone, control=gone))
    with Subscription("latest", hub=data, wait_s=20.0, until_done=True) as subscription:
        assert subscription.poll(0.3) == []
        with hub(data):
            start(data, "r1")
            cancel(data, "r1")
            assert [event.kind for event in subscription][-1] == "run.cancelled"


def test_both_shells_give_the_same_events(tmp_path: Path) -> None:
    data = tmp_path / "data"

    async def read() -> list[bytes]:
        async with Subscriber("r1", hub=data, until_done=True) as subscriber:
            return [event.raw async for event in subscriber]

    with hub(data):
        start(data, "r1")
        cancel(data, "r1")
        with felixhub.subscribe("r1", hub=data, until_done=True) as subscription:
            lines = [event.raw for event in subscription]
        assert lines == asyncio.run(read())
        with subscribe("all", hub=data, until_done=True) as everything:
            assert [event.raw for event in everything] == lines


def test_without_history_the_board_is_filled_and_only_what_is_new_comes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with hub(data):
        start(data, "r1")
        with Subscription("r1", hub=data, history=False, until_done=True) as subscription:
            until(lambda: subscription.poll(0.1) == [] and "r1" in subscription.board.runs)
            assert subscription.board.runs["r1"].started.task == "t"
            cancel(data, "r1")
            kinds = [event.kind for event in subscription]
        assert "run.started" not in kinds
        assert kinds[-1] == "run.cancelled"


def test_no_hub_and_no_run_are_said(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Subscription("latest", hub=data, wait_s=0.2) as nowhere, pytest.raises(NoHub, match="felixhub up --serve"):
        next(nowhere)
    with hub(data):
        with Subscription("nosuch", hub=data) as missing, pytest.raises(felixhub.RunGone, match="no run 'nosuch'"):
            next(missing)
        with client(data) as control, pytest.raises(HubRefused, match="no unfinished run"):
            control.request(CancelRun(id=new_id(), run="nosuch"))
