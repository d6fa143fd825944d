"""What goes wrong in the supervisor's own thread: it is said, and it never ends in silence."""

from __future__ import annotations

import errno
import sys
import time
from typing import Any

import pytest
from supervised import until

from felixhub.core.messages import RunBeat, Wanted
from felixhub.supervisor.supervisor import Plan, Supervisor
from felixhub.transport.address import Connection, NoHub


def no_hub() -> Connection:
    raise NoHub("no hub")


class Child:
    """A child that lives until it is told not to."""

    pid = 1
    exitcode: int | None = None


@pytest.fixture
def supervisor() -> Supervisor:
    def nothing(*_: object) -> None: ...

    plan = Plan(
        find=no_hub,
        hub_command=lambda _first: [sys.executable, "-c", ""],
        worker_entry=nothing,
        offline_entry=nothing,
        preload=(),
        fenced_exit=3,
        refused_exit=4,
    )
    return Supervisor(plan)


def test_an_unexpected_fault_ends_it_with_a_sentence(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault() -> None:
        raise KeyError("something of ours")

    monkeypatch.setattr(supervisor, "_mind", fault)
    supervisor._thread.start()
    until(lambda: supervisor.failed, 20.0, "it says so")
    assert supervisor.failed is not None and "KeyError: 'something of ours'" in supervisor.failed
    supervisor.stop()


def want(supervisor: Supervisor, *agents: str) -> None:
    beat = RunBeat(run="r", seq=1, status="running", wanted=tuple(Wanted(agent=agent) for agent in agents))
    supervisor._wants.take(beat, time.monotonic())


def test_a_child_that_cannot_be_started_now_is_started_later(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[float] = []

    def start(*_: Any, **__: Any) -> Child:
        tried.append(time.monotonic())
        if len(tried) < 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return Child()

    monkeypatch.setattr(supervisor, "_start_child", start)

    def turn() -> int:
        want(supervisor, "a")
        supervisor._mind_workers()
        supervisor._hire()
        return len(tried)

    until(lambda: turn() == 3, 20.0, "the third time")
    assert tried[2] - tried[1] >= 0.19  # Ever slower.
    assert turn() == 3  # It lives.


def test_a_child_that_can_never_be_started_is_given_up(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("felixhub.supervisor.restarts.PAUSES_S", (0.0,))

    def start(*_: Any, **__: Any) -> Child:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor, "_start_child", start)
    want(supervisor, "a")
    supervisor._hire()
    assert not supervisor._workers
    assert supervisor._given_up.has("a", time.monotonic())


def test_a_worker_that_the_hub_refuses_is_given_up(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child()
    monkeypatch.setattr(supervisor, "_start_child", lambda *_, **__: child)
    want(supervisor, "a")
    supervisor._hire()
    child.exitcode = 4
    supervisor._mind_workers()
    assert not supervisor._workers
    now = time.monotonic()
    assert supervisor._given_up.to_tell([("r", "a")], now) == [("r", "a", "the hub refuses its worker")]
