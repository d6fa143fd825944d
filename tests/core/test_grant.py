"""What each role may do, and what a subscription becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import WorkerInfo
from felixhub.core.grant import Grant, Role
from felixhub.core.messages import (
    Approve,
    CancelRun,
    ClientHello,
    ControlRequest,
    Edit,
    Hello,
    Pause,
    Regenerate,
    Remove,
    Reopen,
    Replay,
    Resume,
    Runs,
    Shutdown,
    Snapshot,
    Start,
    Steer,
    Text,
)
from felixhub.core.names import HUB_BEAT_TOPIC, event_topic, run_beat_topic
from felixhub.core.workflow import Card, Stage, Workflow

READING: list[ControlRequest] = [
    ClientHello(id="1"),
    Runs(id="1"),
    Snapshot(id="1", run="memo-1"),
    Text(id="1", run="memo-1", thought="t1"),
    Replay(id="1", run="memo-1"),
]
COMMANDS: list[ControlRequest] = [
    Start(
        id="memo-1",
        task="x",
        workflow=Workflow(name="w", stages=(Stage(name="a", agent="a"),)),
        agents=(Card(name="a"),),
    ),
    CancelRun(id="1", run="memo-1"),
    Pause(id="1", run="memo-1"),
    Resume(id="1", run="memo-1"),
    Steer(id="1", run="memo-1", agent="a", wrong="x"),
    Regenerate(id="1", run="memo-1", agent="a"),
    Approve(id="1", run="memo-1"),
    Reopen(id="1", run="memo-1", section="a"),
    Edit(id="1", run="memo-1", section="a", text="x"),
    Remove(id="1", run="memo-1"),
    Shutdown(id="1"),
]
MAY: dict[Role, list[ControlRequest]] = {"worker": [], "viewer": READING, "operator": READING + COMMANDS}


def test_every_request_is_here() -> None:
    kinds = set(ControlRequest.__args__)  # type: ignore[attr-defined]
    assert {type(request) for request in READING + COMMANDS} == kinds


@pytest.mark.parametrize("role", MAY)
def test_each_role_may_ask_for_what_it_may(role: Role) -> None:
    grant = Grant(name="k", role=role)
    for request in READING + COMMANDS:
        if request in MAY[role]:
            grant.check_request(request)
        else:
            with pytest.raises(ProtocolViolation, match=r"the key .k. is an? ") as refused:
                grant.check_request(request)
            assert refused.value.code == "forbidden"


def hello(*agents: str) -> Hello:
    return Hello(worker=WorkerInfo(session="s", pid=1, host="h"), agents=agents)


def test_a_worker_takes_its_agents_and_no_others() -> None:
    grant = Grant(name="k", role="worker", agents=("research", "sec-*"))
    grant.check_hello(hello("research", "sec-1", "sec-risks"))
    for agents in (("writer",), ("research", "writer"), ("sec",), ("researcher",)):
        with pytest.raises(ProtocolViolation, match=f"is not for {agents[-1]}: it is for research, sec-") as refused:
            grant.check_hello(hello(*agents))
        assert (refused.value.code, refused.value.field) == ("forbidden", "agents")


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_a_worker_takes_agents(role: Role) -> None:
    with pytest.raises(ProtocolViolation, match="a worker needs a worker's"):
        Grant(name="k", role=role).check_hello(hello("a"))


def test_a_viewer_of_some_runs_reads_no_others() -> None:
    grant = Grant(name="k", role="viewer", runs=("memo-*", "one"))
    for run in ("memo-1", "memo-", "one"):
        grant.check_request(Snapshot(id="1", run=run))
    for run in ("memo", "one-1", "other"):
        with pytest.raises(ProtocolViolation, match=f"is not for run '{run}'"):
            grant.check_request(Replay(id="1", run=run))
        assert not grant.may_read(run)


names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,3}", fullmatch=True)
patterns = st.one_of(names, names.map(lambda name: name + "*"))
asked = st.one_of(
    names.map(lambda name: f"run/{name}/".encode()),
    names.map(lambda name: f"run/{name}".encode()),
    st.sampled_from([b"", b"r", b"run/", b"hub/", b"hub/beat/", b"hub/beat/x", b"other"]),
)


@given(st.lists(patterns, min_size=1, max_size=4), asked, names, names)
def test_a_subscription_becomes_exactly_what_may_be_read(runs: list[str], topic: bytes, run: str, agent: str) -> None:
    """What ZeroMQ then lets through is what was asked for and may be read: no less, no more."""
    grant = Grant(name="k", role="viewer", runs=tuple(runs))
    granted = grant.topics(topic)
    for sent, readable in (
        (event_topic(run, agent, "thought.partial"), grant.may_read(run)),
        (run_beat_topic(run), grant.may_read(run)),
        (HUB_BEAT_TOPIC, True),
    ):
        arrives = any(sent.startswith(one) for one in granted)
        assert arrives == (sent.startswith(topic) and readable)


def test_other_roles_subscriptions() -> None:
    assert Grant(name="k", role="worker").topics(b"hub/beat/") == []
    assert Grant(name="k", role="operator").topics(b"") == [b""]
    assert Grant(name="k", role="viewer").topics(b"run/") == [b"run/"]


def test_who_asked_is_the_key_whatever_it_calls_itself() -> None:
    grant = Grant(name="laptop", role="operator")
    assert grant.signed("") == "laptop"
    assert grant.signed("the boss") == "laptop: the boss"
    assert len(grant.signed("x" * 200)) == 200
