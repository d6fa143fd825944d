"""What workers send through real sockets, taken in: joined where it follows, refused with a reason, in bounds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq

from felixhub.core.central_post import CentralPost
from felixhub.core.decision import Decision
from felixhub.core.events import Event, ThoughtAbandoned, ThoughtPartial, WorkerInfo
from felixhub.core.limits import DEFAULT_LIMITS, Limits
from felixhub.core.messages import Beat, Finalize, Hello, IngestMessage, Partial, Reject, Start, parse_worker_bound
from felixhub.core.workflow import Card, RunSettings, Stage, Workflow
from felixhub.hub.door import Arrived, Door
from felixhub.hub.doors import Doors
from felixhub.hub.intake import Intake
from felixhub.hub.outbox import WorkerOutbox
from felixhub.transport.address import local_endpoints
from felixhub.transport.sockets import worker_dealer

AGENTS = ("ada", "ben")


class PatientDoor(Door):
    """What was sent is all there before a turn begins: what a hub that has fallen behind finds."""

    waiting: list[Arrived]

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.ingest.poll(5_000), "nothing came"
            self.waiting.append(super().receive(self.ingest))

    def receive(self, router: zmq.Socket[bytes]) -> Arrived:  # noqa: ARG002
        if not self.waiting:
            raise zmq.Again
        return self.waiting.pop(0)


class Hub:
    """A hub's way in, without a log: what is decided is applied and kept."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], where: Any, limits: Limits) -> None:
        self.events: list[Event] = []
        self.fault: Exception | None = None
        self.now = 1.0
        self.door = PatientDoor(0, context, where, limits, connections_max=10)
        self.door.waiting = []
        self.door.open()
        self.doors = Doors([self.door])
        self.counters: Counter[str] = Counter()
        self.outbox = WorkerOutbox(self.doors.send_worker, self.counters)
        self.post = CentralPost(boot="boot", limits=limits)
        self.intake = Intake(
            outbox=self.outbox,
            doors=self.doors,
            carry_out=self.carry_out,
            limits=limits,
            clock=lambda: self.now,
            counters=self.counters,
        )
        stages = tuple(Stage(name=agent, agent=agent) for agent in AGENTS)
        cards = tuple(Card(name=agent) for agent in AGENTS)
        workflow, settings = Workflow(name="two", stages=stages), RunSettings()
        self.carry_out(
            self.post.start(Start(id="r", task="t", workflow=workflow, agents=cards, settings=settings), 1.0)
        )

    def carry_out(self, decision: Decision) -> None:
        for event in decision.events:
            if self.fault is not None and isinstance(event, ThoughtPartial):
                raise self.fault
            self.post.apply(event)
            self.events.append(event)

    def turn(self, count: int = 0) -> bool:
        """A turn, once so many more messages are there."""
        self.door.wait_for(count)
        drained = self.intake.drain(self.door, self.post, self.now)
        while (decision := self.post.advance(self.now)).events:
            self.carry_out(decision)
        self.outbox.flush()
        return drained

    def partials(self) -> list[tuple[str, int, str]]:
        return [(e.agent, e.offset, e.text) for e in self.events if isinstance(e, ThoughtPartial)]


class Worker:
    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], hub: Hub, session: str, *agents: str) -> None:
        self.hub = hub
        self.session = session
        self.agents = agents
        self.socket = worker_dealer(context, DEFAULT_LIMITS)
        self.socket.connect(hub.door.where.ingest)

    def say(self, *messages: IngestMessage) -> None:
        for message in messages:
            self.socket.send(message.encode())

    def hello(self) -> None:
        self.say(Hello(worker=WorkerInfo(session=self.session), agents=self.agents))

    @property
    def thought(self) -> str:
        (found,) = [t.id for t in self.hub.post.runs["r"].thoughts.values() if t.started.session == self.session]
        return found

    def partial(self, offset: int, text: str, **more: Any) -> Partial:
        return Partial(thought=self.thought, offset=offset, text=text, **more)

    def heard(self, kind: type[Any]) -> list[Any]:
        found = []
        while self.socket.poll(200):
            found.append(parse_worker_bound(self.socket.recv()))
        return [one for one in found if isinstance(one, kind)]


@pytest.fixture
def limits() -> Limits:
    return DEFAULT_LIMITS


@pytest.fixture
def sockets(tmp_path: Path, limits: Limits) -> Iterator[tuple[Hub, Any]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    hub = Hub(context, local_endpoints(tmp_path), limits)
    made: list[Worker] = []

    def worker(session: str, *agents: str) -> Worker:
        one = Worker(context, hub, session, *agents)
        made.append(one)
        one.hello()
        hub.turn(1)
        return one

    yield hub, worker
    for one in made:
        one.socket.close(linger=0)
    hub.doors.close()
    context.term()


def test_what_waits_together_is_one_for_each_thought(sockets: tuple[Hub, Any]) -> None:
    hub, worker = sockets
    ada, ben = worker("s1", "ada"), worker("s2", "ben")
    for number in range(10):
        ada.say(ada.partial(number, "a"))
        ben.say(ben.partial(2 * number, "bb"), Beat(holding=(ben.thought,)))
    assert hub.turn(30)
    joined = [text for agent, _, text in hub.partials() if agent == "ada"]
    assert joined == ["a" * 10], "another one's beat came between"
    assert len([one for one in hub.partials() if one[0] == "ben"]) == 10, (
        "its own beat is told after the text before it"
    )


def test_the_end_comes_after_the_text(sockets: tuple[Hub, Any]) -> None:
    hub, worker = sockets
    ada = worker("s1", "ada")
    sha256 = hashlib.sha256(b"abc").hexdigest()
    ada.say(*(ada.partial(number, text) for number, text in enumerate("abc")))
    ada.say(Finalize(thought=ada.thought, length=3, sha256=sha256))
    hub.turn(4)
    thought = hub.post.runs["r"].thoughts[ada.thought]
    assert (thought.state, str(thought.text), ada.heard(Reject)) == ("final", "abc", [])


def test_what_was_said_before_another_took_over_is_kept(sockets: tuple[Hub, Any]) -> None:
    hub, worker = sockets
    ada = worker("s1", "ada")
    ada.say(ada.partial(0, "so far"))
    hub.door.wait_for(1)
    thought = hub.post.runs["r"].thoughts[ada.thought]
    worker("s2", "ada")
    assert (str(thought.text), thought.abandon_reason) == ("so far", "agent_lost")
    assert any(isinstance(event, ThoughtAbandoned) for event in hub.events)


def test_what_is_wrong_with_a_text_is_told_once_it_is_decided(sockets: tuple[Hub, Any]) -> None:
    hub, worker = sockets
    ada, ben = worker("s1", "ada"), worker("s2", "ben")
    ben.say(ada.partial(0, "not "), ada.partial(4, "mine"), ben.partial(0, "mine"))
    hub.turn(3)
    assert [(one.code, one.thought) for one in ben.heard(Reject)] == [("not_yours", ada.thought)]
    assert hub.counters["rejected.not_yours"] == 1
    assert hub.partials() == [("ben", 0, "mine")]


def test_a_fault_of_ours_is_nobodys_message(sockets: tuple[Hub, Any]) -> None:
    """Memory is half changed then: the hub must end and fold its log, not go on."""
    hub, worker = sockets
    ada = worker("s1", "ada")
    hub.fault = RuntimeError("a disk that is no disk")
    ada.say(ada.partial(0, "abc"), Beat(holding=(ada.thought,)))
    with pytest.raises(RuntimeError, match="no disk"):
        hub.turn(2)


@pytest.mark.parametrize(
    "limits",
    [replace(DEFAULT_LIMITS, turn_messages_max=3), replace(DEFAULT_LIMITS, turn_bytes_max=250)],
    ids=["messages", "bytes"],
)
def test_a_turn_takes_no_more_than_it_may(sockets: tuple[Hub, Any]) -> None:
    hub, worker = sockets
    ada = worker("s1", "ada")
    ada.say(*(ada.partial(number, "x") for number in range(10)))
    assert not hub.turn(10)
    assert hub.partials() == [("ada", 0, "xxx")]
    while not hub.turn():
        pass
    assert "".join(text for _, _, text in hub.partials()) == "x" * 10


def test_who_holds_the_hub_up_waits_for_the_next_turn(sockets: tuple[Hub, Any]) -> None:
    hub, worker = sockets
    ada = worker("s1", "ada")
    ada.say(*(ada.partial(number, "x") for number in range(10)))
    hub.door.wait_for(10)
    moments = iter(range(100))
    hub.intake._clock = lambda: next(moments)  # Every look at the clock is a second later.
    assert not hub.turn()
    assert hub.partials() == []
