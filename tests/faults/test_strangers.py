"""Nobody without permission reads or writes: wrong keys, wrong roles, revoked keys, and how much one key can do.

A real hub that listens with CURVE, real clients, and bare sockets for whoever does not keep to the protocol.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from harness import AGENTS, WRITER, Eye, Place, a_place, start_of, until
from ports import free_ports
from verdict import faults_of

from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.core.messages import CancelRun, ClientHello, Replay, Runs, Snapshot
from felixhub.transport.address import Connection, KeyRefused, find_hub, write_key_file
from felixhub.transport.control import ControlClient, HubRefused, new_id
from felixhub.transport.keys import Curve, Keys, grant_of, hub_key, new_pair
from felixhub.transport.sockets import client_dealer, live_sub, worker_dealer
from felixhub.transport.subscriber import Subscription


class Guarded:
    """A place whose hub listens on the network, and the keys to it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.address = f"tcp://127.0.0.1:{free_ports()}"
        place.hub_flags = ("--listen", self.address)
        place.data.mkdir(mode=0o700, exist_ok=True)
        self.keys = Keys(place.data)

    def key(self, name: str, role: Any, **scope: tuple[str, ...]) -> Path:
        """Give out a key; the file it leaves with."""
        secret = self.keys.add(grant_of(name, role, **scope))
        file = self.place.folder / f"{name}.json"
        public = self.keys.peer(name).public
        write_key_file(
            file, address=self.address, key=name, curve=Curve(server=self.server, public=public, secret=secret)
        )
        return file

    @property
    def server(self) -> str:
        return hub_key(self.place.data).public

    def stranger(self) -> Path:
        """A key that this hub has never given out."""
        public, secret = new_pair()
        file = self.place.folder / "stranger.json"
        curve = Curve(server=self.server, public=public, secret=secret)
        write_key_file(file, address=self.address, key="stranger", curve=curve)
        return file

    def client(self, file: Path, *, wait_s: float = 10.0) -> ControlClient:
        return ControlClient(lambda: find_hub(str(file), default=file), wait_s=wait_s)

    def watch(self, run: str, file: Path) -> Subscription:
        return Subscription(run, hub=file, wait_s=10.0, until_done=True)

    def counters(self) -> dict[str, int]:
        return self.place.counters()


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    with a_place(
        worker_beat_s=0.3,
        lease_grace_s=20.0,
        connections_max=60,
        subscriptions_max=20,
        peer_messages_per_s_max=300,
        turn_messages_max=500,
    ) as place:
        yield Guarded(place)


def refused_with(client: ControlClient, request: Any) -> str:
    with client, pytest.raises(HubRefused) as refused:
        client.request(request)
    return refused.value.code


def connection_of(file: Path) -> Connection:
    return find_hub(str(file), default=file)


# ---- who gets in -----------------------------------------------------------------------------------------------------


def test_a_stranger_gets_in_nowhere_and_hears_why(guarded: Guarded) -> None:
    stranger, anna = guarded.stranger(), guarded.key("anna", "viewer")
    guarded.place.start_hub()
    with guarded.client(stranger) as client, pytest.raises(KeyRefused, match="does not know the key 'stranger'"):
        client.hello()
    with guarded.watch("all", stranger) as watching, pytest.raises(KeyRefused, match="does not know the key"):
        until(lambda: watching.poll(0.2), 10.0, "it is refused")
    keyless = ControlClient(lambda: find_hub(guarded.address, default=Path()))
    with keyless as client, pytest.raises(KeyRefused, match="asks for a key: on its machine `felixhub keys new"):
        client.hello()
    worker = guarded.place.start_worker("a1", hub=stranger)
    assert worker.wait(20.0) == 1
    assert "does not know the key 'stranger'" in worker.said()
    with guarded.client(anna) as client:
        assert client.hello()["endpoints"]["control"] == guarded.address
    assert guarded.counters()["refused.unknown_key"] >= 3


def test_a_key_that_is_made_while_the_hub_runs_is_good_at_once(guarded: Guarded) -> None:
    guarded.place.start_hub()
    for number in range(5):
        with guarded.client(guarded.key(f"late-{number}", "viewer")) as client:
            assert client.runs() == []


def test_a_key_that_others_can_change_lets_nobody_in(guarded: Guarded) -> None:
    bad, good = guarded.key("bad", "viewer"), guarded.key("good", "viewer")
    (guarded.place.data / "keys" / "peers" / "bad.json").chmod(0o644)
    (guarded.place.data / "keys" / "peers" / "torn.json").write_text('{"public": "')
    guarded.place.start_hub()
    with guarded.client(bad) as client, pytest.raises(KeyRefused):
        client.hello()
    with guarded.client(good) as client:
        client.hello()
    assert "others may read or change it" in guarded.place.the_hub.said()


@pytest.mark.parametrize("lock", ["admits_all", "refuses_all", "raises", "dead"])
def test_a_hub_whose_lock_is_broken_finds_it_out_before_it_serves(guarded: Guarded, lock: str) -> None:
    guarded.place.start_hub(script="broken_lock_hub.py", wait=False, FAULT_LOCK=lock)
    assert guarded.place.the_hub.wait(20.0) == 2
    assert "the hub's lock does not work" in guarded.place.the_hub.said()
    assert not (guarded.place.data / "connection.json").exists()


# ---- what each may do ------------------------------------------------------------------------------------------------


def test_each_role_does_what_it_may_and_nothing_else(guarded: Guarded) -> None:
    viewer, operator = guarded.key("anna", "viewer"), guarded.key("ops", "operator")
    box, other = guarded.key("box", "worker"), guarded.key("other", "worker", agents=("zed",))
    guarded.place.start_hub()
    for agent in (*AGENTS, WRITER):
        guarded.place.start_worker(agent, hub=box)
    refused = guarded.place.start_worker("a1", hub=other)
    assert refused.wait(20.0) == 1
    assert "the key 'other' is not for a1: it is for zed" in refused.said()
    assert guarded.place.start_worker("a1", hub=viewer).wait(20.0) == 1

    start = start_of("run-1", seed=1, pieces=40)
    assert refused_with(guarded.client(viewer), start) == "forbidden"
    assert refused_with(guarded.client(box), ClientHello(id="1")) == "forbidden"
    with guarded.client(operator) as client:
        client.request(start)
    with guarded.watch("run-1", viewer) as watching, Eye(guarded.place, "run-1") as local:
        assert refused_with(guarded.client(viewer), CancelRun(id=new_id(), run="run-1")) == "forbidden"
        events = [event.raw for event in watching]
        local.wait_for_end()
    log = guarded.place.log_of("run-1")
    assert events == log
    assert faults_of(log, guarded.place.truth) == []
    with guarded.client(operator) as client:
        client.request(start_of("run-2", seed=2, pieces=400))
        client.cancel("run-2", by="the boss")
    accepted = [
        event for event in map(json.loads, guarded.place.log_of("run-2")) if event["kind"] == "command.accepted"
    ]
    assert [event["by"] for event in accepted] == ["ops: the boss"]


def test_nobody_takes_over_the_session_of_another_key(guarded: Guarded) -> None:
    """Sessions are told to every viewer. Knowing one is no permission."""
    box, other = guarded.key("box", "worker", agents=("a1",)), guarded.key("other", "worker", agents=("zed",))
    guarded.place.start_hub()
    guarded.place.start_worker("a1", hub=box)
    guarded.place.start_run(3, pieces=300)
    with Eye(guarded.place, "run-3") as eye:
        session = eye.wait_for("agent.joined", agent="a1").worker.session  # type: ignore[attr-defined]
        thought = eye.wait_for("thought.partial", agent="a1").thought  # type: ignore[attr-defined]
        thief = Bare(connection_of(other))
        hello = {"type": "hello", "worker": {"session": session, "pid": 1, "host": "x"}}
        assert thief.ask(hello | {"agents": ["a1"]})["sentence"] == "the key 'other' is not for a1: it is for zed"
        assert "came with another key" in thief.ask(hello | {"agents": ["zed"]})["sentence"]
        twin = Bare(connection_of(guarded.key("twin", "worker")))  # It may have the agent, and not this session.
        assert "came with another key" in twin.ask(hello | {"agents": ["a1"]})["sentence"]
        mine = {"type": "hello", "worker": {"session": "mine", "pid": 1, "host": "x"}, "agents": ["b"]}
        assert twin.ask(mine)["type"] == "welcome"
        assert "speaks for one session" in twin.ask(mine | {"worker": {"session": "more", "pid": 1}})["sentence"]
        twin.close()
        partial = {"type": "partial", "thought": thought, "offset": 0, "text": "stolen", "tokens": 1}
        assert thief.ask(partial)["code"] == "unknown_session"
        thief.close()
        before = len(eye.events)
        until(lambda: len(eye.look()) > before + 20, 20.0, "the worker goes on")
        assert "agent.lost" not in eye.kinds()
    assert b"stolen" not in b"".join(guarded.place.log_of("run-3"))


class Bare:
    """A worker's or client's socket that says what it likes."""

    def __init__(self, where: Connection, *, control: bool = False) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        make = client_dealer if control else worker_dealer
        self.socket = make(self._context, DEFAULT_LIMITS, where.curve)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(where.control if control else where.ingest)

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self.socket.send(json.dumps(message).encode())
        assert self.socket.poll(10_000), f"no answer to {message}"
        answer: dict[str, Any] = json.loads(self.socket.recv_multipart()[0])
        return answer

    def close(self) -> None:
        self.socket.close()
        self._context.term()


def test_a_viewer_of_some_runs_hears_of_no_others(guarded: Guarded) -> None:
    some = guarded.key("some", "viewer", runs=("run-1",))
    guarded.place.start_hub()
    guarded.place.start_team()
    where = connection_of(some)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    heard: set[str] = set()
    with context, live_sub(context, DEFAULT_LIMITS, where.curve) as eavesdropper:
        for topic in (b"", b"run/", b"run/run-1", b"run/run-12/", b"hub/beat/"):
            eavesdropper.subscribe(topic)
        eavesdropper.connect(where.live)
        assert eavesdropper.poll(10_000), "a beat"
        for seed in (1, 12):
            guarded.place.start_run(seed, pieces=5)
        with Eye(guarded.place, "run-1") as one, Eye(guarded.place, "run-12") as twelve:
            one.wait_for_end()
            twelve.wait_for_end()
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline and "run.finished" not in heard:
            if eavesdropper.poll(100):
                topic = eavesdropper.recv_multipart()[0].decode()
                assert topic == "hub/beat/" or topic.startswith("run/run-1/"), topic
                heard.add(topic.split("/")[-2])
    assert "thought.partial" in heard
    with guarded.client(some) as client:
        assert [row["run"] for row in client.runs()] == ["run-1"]
    for request in (Replay(id="1", run="run-12"), Snapshot(id="1", run="run-12"), CancelRun(id="1", run="run-1")):
        assert refused_with(guarded.client(some), request) == "forbidden"
    with guarded.watch("run-1", some) as watching:
        assert [event.raw for event in watching] == guarded.place.log_of("run-1")


# ---- who is no longer welcome ----------------------------------------------------------------------------------------


def test_a_revoked_key_is_shut_out_and_the_others_lose_nothing(guarded: Guarded) -> None:
    gone, stays, box = guarded.key("gone", "viewer"), guarded.key("stays", "viewer"), guarded.key("box", "worker")
    guarded.place.start_hub()
    for agent in (*AGENTS, WRITER):
        guarded.place.start_worker(agent, hub=box)
    run = guarded.place.start_run(5, pieces=120)
    with guarded.watch(run, gone) as leaving, guarded.watch(run, stays) as staying:
        events: list[bytes] = []

        def look() -> int:
            events.extend(getattr(item, "raw", b"?") for item in staying.poll(0.05))
            return len(events)

        seen = [0]

        def watch_both() -> bool:
            seen[0] += len(leaving.poll(0.05))
            return seen[0] > 20 and look() > 20

        until(watch_both, 20.0, "both watch")
        assert guarded.keys.revoke("gone")
        revoked_at = time.monotonic()
        with pytest.raises(KeyRefused, match="does not know the key 'gone'"):
            until(lambda: leaving.poll(0.05) and look() < 0, 20.0, "it is shut out")
        assert time.monotonic() - revoked_at < 10.0
        until(lambda: look() and staying.follower.done, 60.0, "the other sees the end")
    log = guarded.place.log_of(run)
    assert events == log
    assert faults_of(log, guarded.place.truth) == []
    assert [json.loads(line)["kind"] for line in log].count("thought.abandoned") == 0, "no worker was lost"


def test_a_worker_whose_key_is_revoked_writes_no_more(guarded: Guarded) -> None:
    box = guarded.key("box", "worker")
    guarded.place.start_hub()
    worker = guarded.place.start_worker("a1", hub=box)
    run = guarded.place.start_run(6, pieces=1_000)
    with Eye(guarded.place, run) as eye:
        eye.wait_for("thought.partial", agent="a1", count=5)
        guarded.keys.revoke("box")
        assert worker.wait(20.0) == 1
        assert "does not know the key 'box'" in worker.said()


# ---- how much one key can do -----------------------------------------------------------------------------------------


def test_a_worker_that_sends_too_much_is_slowed_down_and_nobody_else_is(guarded: Guarded) -> None:
    box, pest = guarded.key("box", "worker"), guarded.key("pest", "worker", agents=("pest",))
    guarded.place.start_hub()
    for agent in (*AGENTS, WRITER):
        guarded.place.start_worker(agent, hub=box)
    bare = Bare(connection_of(pest))
    hello = {"type": "hello", "worker": {"session": "pest", "pid": 1, "host": "x"}, "agents": ["pest"]}
    assert bare.ask(hello)["type"] == "welcome"
    run = guarded.place.start_run(8, pieces=40)
    with Eye(guarded.place, run) as eye:
        said = set()
        while not eye.ended:
            for _ in range(40):  # About two thousand a second: seven times what it may, and no flood yet.
                bare.socket.send(b'{"type":"beat"}')
            time.sleep(0.02)
            eye.look()
            while bare.socket.poll(0):
                said.add(json.loads(bare.socket.recv()).get("sentence"))
    assert "the key 'pest' may send 300 messages a second, and this was more: send it again in a moment" in said
    counters = guarded.counters()
    assert counters["refused.too_many_messages"] > 500
    assert "suspended" not in counters
    log = guarded.place.log_of(run)
    assert faults_of(log, guarded.place.truth) == []
    assert len([line for line in log if b'"kind":"thought.started"' in line]) == 5, "nobody had to think again"

    def is_heard() -> bool:
        bare.socket.send(b'{"type":"beat","holding":["t1"]}')
        return bool(bare.socket.poll(500)) and json.loads(bare.socket.recv())["type"] == "ack"

    until(is_heard, 20.0, "it is heard again")
    bare.close()


@pytest.mark.parametrize("port", ["ingest", "control"])
def test_a_flood_is_cut_off_and_the_others_lose_nothing(guarded: Guarded, port: str) -> None:
    box, anna = guarded.key("box", "worker"), guarded.key("anna", "viewer")
    pest = guarded.key("pest", "worker" if port == "ingest" else "viewer")
    guarded.place.start_hub()
    for agent in (*AGENTS, WRITER):
        guarded.place.start_worker(agent, hub=box)
    run = guarded.place.start_run(8, pieces=80)
    bare = Bare(connection_of(pest), control=port == "control")
    with guarded.watch(run, anna) as watching:
        events = [next(watching).raw for _ in range(5)]
        deadline = time.monotonic() + 30.0
        while "key_suspended" not in guarded.place.the_hub.said():
            assert time.monotonic() < deadline, "the flood is not noticed"
            with contextlib.suppress(zmq.Again):
                for _ in range(2_000):
                    bare.socket.send(b'{"type":"runs","id":"1"}', zmq.DONTWAIT)
        events += [event.raw for event in watching]
    bare.close()
    log = guarded.place.log_of(run)
    assert events == log
    assert faults_of(log, guarded.place.truth) == []


def test_what_is_no_subscription_gives_nobody_what_others_may_read(guarded: Guarded) -> None:
    """ZeroMQ forgets whose a subscription is after a message that is none: the next one would be given to another."""
    anna, thief = guarded.key("anna", "viewer"), guarded.key("thief", "viewer", runs=("nothing",))
    guarded.place.start_hub()
    guarded.place.start_team()
    run = guarded.place.start_run(11, pieces=80)
    hub = guarded.place.the_hub
    theirs, hers = connection_of(thief), connection_of(anna)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context, context.socket(zmq.XSUB) as spy, live_sub(context, DEFAULT_LIMITS, hers.curve) as honest:
        assert theirs.curve is not None
        spy.curve_serverkey, spy.curve_publickey = theirs.curve.server.encode(), theirs.curve.public.encode()
        spy.curve_secretkey = theirs.curve.secret.get_secret_value().encode()
        for one, where in ((spy, theirs), (honest, hers)):
            one.connect(where.live)
        spy.send(b"\x01hub/beat/")
        assert spy.poll(10_000), "it is inside"
        hub.signal(signal.SIGSTOP)  # So that all of this waits for the hub at once.
        for _ in range(3):
            spy.send(b"\x02junk")
            spy.send(b"\x01run/nothing/")
        honest.subscribe(f"run/{run}/".encode())
        time.sleep(0.5)
        hub.signal(signal.SIGCONT)
        until(lambda: "it sends what is no subscription" in hub.said(), 10.0, "it is noticed")
        topics = []
        deadline = time.monotonic() + 10.0
        while spy.poll(1_000) and time.monotonic() < deadline:
            topics.append(spy.recv_multipart()[0])
        assert {topic for topic in topics if topic != b"hub/beat/"} == set()
        assert not spy.poll(1_000), "it is still inside"
        assert honest.poll(10_000), "who may read is served again"


def test_a_client_that_asks_too_much_is_answered_again_when_it_asks_less(guarded: Guarded) -> None:
    guarded.place.start_hub()
    bare = Bare(connection_of(guarded.key("anna", "viewer")), control=True)
    kinds: list[str] = []

    def take(wait_ms: int) -> None:
        while bare.socket.poll(wait_ms):
            answer = json.loads(bare.socket.recv_multipart()[0])
            kinds.append(answer.get("code", answer["type"]))

    deadline = time.monotonic() + 30.0
    while "busy" not in kinds:  # Faster than allowed, and it reads its answers: those of who does not are not kept.
        assert time.monotonic() < deadline, "it is never too much"
        for _ in range(20):
            bare.socket.send(Runs(id="1").encode())
        take(5)  # At most four thousand a second: more than allowed, less than a flood.
    take(1_000)
    assert kinds.count("ok") > 0
    assert kinds.count("busy") < 20, "a flood of requests is no flood of refusals"
    assert bare.ask({"type": "runs", "id": "2"})["type"] == "ok"
    bare.close()


def test_a_subscriber_that_subscribes_without_end_is_cut_off(guarded: Guarded) -> None:
    anna, pest = guarded.key("anna", "viewer"), guarded.key("pest", "viewer")
    guarded.place.start_hub()
    guarded.place.start_team()
    run = guarded.place.start_run(9, pieces=60)
    where = connection_of(pest)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with guarded.watch(run, anna) as watching, context, live_sub(context, DEFAULT_LIMITS, where.curve) as sub:
        events = [next(watching).raw for _ in range(10)]
        sub.connect(where.live)
        for number in range(300):
            sub.subscribe(f"run/r{number}/".encode())
        until(lambda: "key_suspended" in guarded.place.the_hub.said(), 10.0, "it is noticed")
        sub.subscribe(b"hub/beat/")
        deadline = time.monotonic() + 2.0
        while sub.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            sub.recv_multipart()
        events += [event.raw for event in watching]
        assert not sub.poll(100), "it is still served"
    assert events == guarded.place.log_of(run)
    assert guarded.counters()["suspended"] == 1


def test_more_connections_than_may_be_are_hung_up_on_and_those_inside_go_on(guarded: Guarded) -> None:
    """Whoever only connects, and says nothing, keeps others out for no longer than a handshake may take."""
    anna = guarded.key("anna", "viewer")
    guarded.place.start_hub()
    guarded.place.start_team()
    run = guarded.place.start_run(10, pieces=100)
    hub = guarded.place.the_hub
    host, port = "127.0.0.1", int(guarded.address.rpartition(":")[2])
    with guarded.watch(run, anna) as watching, contextlib.ExitStack() as stack:
        events = [next(watching).raw for _ in range(5)]
        for number in range(300):
            stack.enter_context(socket.create_connection((host, port + number % 3), timeout=5.0))
        until(lambda: guarded.counters().get("refused.connections", 0) >= 100, 10.0, "they are hung up on")
        files = Path(f"/proc/{hub.pid}/fd")
        until(lambda: len(list(files.iterdir())) < 3 * 60 + 100, 10.0, "what they held is let go of")
        with guarded.client(anna, wait_s=20.0) as client:  # Once the silent ones' time is over.
            assert client.hello()["pid"] == hub.pid
        events += [event.raw for event in watching]
    assert events == guarded.place.log_of(run)
