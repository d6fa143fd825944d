"""Whatever is sent to a hub's sockets: a clear rejection with a code, a counter, nothing changed, nothing down, and a
legal run finishes meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from harness import Eye, Place, Process, a_place, start_of, until
from verdict import faults_of

from felixhub.core.messages import Snapshot, Text
from felixhub.transport.control import new_id

RUN = "raw"  # a run whose only agent is played by this test
CONTROL_BYTES_MAX = 200_000
PARTIAL_BYTES_MAX = 2_000
FRAME_BYTES_MAX = 2 * CONTROL_BYTES_MAX
EMPTY_SHA = hashlib.sha256(b"").hexdigest()
MINE = {"worker": {"session": "mine"}, "agents": ["b1"]}


class Raw:
    """A socket that says whatever it is told to."""

    def __init__(self, address: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)

    def say(self, *frames: bytes) -> None:
        self.socket.send_multipart(list(frames))

    def tell(self, **message: Any) -> None:
        self.say(json.dumps(message).encode())

    def hear(self, kind: str, seconds: float = 30.0) -> dict[str, Any]:
        """The next message of this type; others are passed over."""

        def heard() -> dict[str, Any] | None:
            if not self.socket.poll(20):
                return None
            message: dict[str, Any] = json.loads(self.socket.recv_multipart()[0])
            return message if message["type"] == kind else None

        return until(heard, seconds, f"a {kind}")

    def close(self) -> None:
        self.socket.close()
        self._context.term()


@contextlib.contextmanager
def raw(address: str) -> Iterator[Raw]:
    one = Raw(address)
    try:
        yield one
    finally:
        one.close()


class Attacked:
    """A hub with a legal run under way, and one whose agent is the attacker."""

    def __init__(self, place: Place) -> None:
        self.place = place
        place.start_hub()
        place.start_team()
        connection = place.connection()
        assert connection is not None
        self.ingest, self.control, self.live = connection.ingest, connection.control, connection.live
        self.worker = Raw(self.ingest)
        self.worker.tell(type="hello", **MINE)
        self.worker.hear("welcome")
        with place.client() as client:
            client.request(start_of(RUN, agents=("b1",), seed=0))
        self.thought = str(self.worker.hear("assign")["thought"])
        until(lambda: b'"agent":"writer"' in b"".join(place.log_of(RUN)[1:]), 20.0, "the writer has joined it too")
        self.worker.tell(type="partial", thought=self.thought, offset=0, text="Öl")
        assert self.worker.hear("ack")["lengths"] == [{"thought": self.thought, "channel": "text", "length": 3}]

    def state(self) -> tuple[list[bytes], list[bytes], object]:
        """All that a hub knows of the attacker's run, from its log and from its memory."""
        with self.place.client() as client:
            log = self.place.log_of(RUN)
            snapshot = client.pages(Snapshot(id=new_id(), run=RUN))
            return log, snapshot, client.request(Text(id=new_id(), run=RUN, thought=self.thought))

    def rejected(self, code: str) -> int:
        return self.place.counters().get(f"rejected.{code}", 0)


@pytest.fixture(scope="module")
def attacked() -> Iterator[Attacked]:
    limits = {
        "worker_beat_s": 0.5,
        "lease_grace_s": 100.0,
        "control_bytes_max": CONTROL_BYTES_MAX,
        "partial_bytes_max": PARTIAL_BYTES_MAX,
        "agents_per_session_max": 50,
        "pages_open_max": 4,
    }
    with a_place(**limits) as place:
        one = Attacked(place)
        try:
            yield one
        finally:
            one.worker.close()


@pytest.fixture(autouse=True)
def nothing_changes(attacked: Attacked) -> Iterator[None]:
    """Around every test here: the same state before and after, the same hub, and a legal run that finishes."""
    before, pid = attacked.state(), attacked.place.the_hub.pid
    run = attacked.place.start_run(attacked.place.started, pieces=8)
    attacked.place.started += 1
    yield
    with Eye(attacked.place, run) as eye:
        eye.wait_for_end()
    assert attacked.place.the_hub.exit is None, attacked.place.the_hub.said()
    assert attacked.place.the_hub.pid == pid
    assert "Traceback" not in attacked.place.the_hub.log.read_text()
    assert attacked.place.counters().get("rejected.internal", 0) == 0
    assert attacked.state() == before
    assert faults_of(attacked.place.log_of(run), attacked.place.truth) == []


def message(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


PARTIAL = {"type": "partial", "thought": "THOUGHT", "offset": 3, "text": "x"}
FINALIZE = {"type": "finalize", "thought": "THOUGHT", "length": 3, "sha256": hashlib.sha256("Öl".encode()).hexdigest()}

BAD_ANYWHERE: list[tuple[str, bytes, str]] = [
    ("empty", b"", "not_json"),
    ("not JSON", b"hello?", "not_json"),
    ("half", b'{"type":"beat"', "not_json"),
    ("two", b'{"type":"beat"}{"type":"beat"}', "not_json"),
    ("not UTF-8", b'{"type":"beat","x":"\xff\xfe"}', "not_json"),
    ("overlong UTF-8", b'{"type":"beat","x":"\xc0\xaf"}', "not_json"),
    ("a surrogate in UTF-8", b'{"type":"beat","x":"\xed\xa0\x80"}', "not_json"),
    ("raw NUL", b'{"type":"be\x00at"}', "not_json"),
    ("deep", b"[" * 100_000, "not_json"),
    ("UTF-16", '{"type":"beat"}'.encode("utf-16"), "not_json"),
    ("a list", b"[]", "bad_message"),
    ("null", b"null", "bad_message"),
    ("a number", b"17", "bad_message"),
    ("no type", b"{}", "unknown_type"),
    ("unknown type", message(type="partials"), "unknown_type"),
    ("a type of another type", message(type=["partial"]), "unknown_type"),
]
BAD_INGEST: list[tuple[str, bytes, str]] = [
    *BAD_ANYWHERE,
    ("lone surrogate", b'{"type":"partial","thought":"THOUGHT","offset":3,"text":"\\ud800"}', "not_json"),
    ("missing field", message(type="partial", thought="THOUGHT", offset=3), "bad_message"),
    ("offset as text", message(**{**PARTIAL, "offset": "3"}), "bad_message"),
    ("offset as fraction", message(**{**PARTIAL, "offset": 3.5}), "bad_message"),
    ("offset as bool", message(**{**PARTIAL, "offset": True}), "bad_message"),
    ("offset below 0", message(**{**PARTIAL, "offset": -1}), "bad_message"),
    ("offset beyond all", message(**{**PARTIAL, "offset": 2**70}), "bad_message"),
    ("text null", message(**{**PARTIAL, "text": None}), "bad_message"),
    (
        "tokens not a number",
        b'{"type":"partial","thought":"THOUGHT","offset":3,"text":"x","tokens":NaN}',
        "bad_message",
    ),
    ("channel", message(**{**PARTIAL, "channel": "song"}), "bad_message"),
    ("NUL in a name", message(**{**PARTIAL, "thought": "a\x00b"}), "bad_message"),
    ("line end in a name", message(**{**PARTIAL, "thought": "THOUGHT\n"}), "bad_message"),
    ("long name", message(**{**PARTIAL, "thought": "t" * 65}), "bad_message"),
    ("unknown thought", message(**{**PARTIAL, "thought": "t999-none"}), "unknown_thought"),
    ("too large", message(**{**PARTIAL, "text": "x" * (PARTIAL_BYTES_MAX + 1)}), "too_large"),
    ("a hole", message(**{**PARTIAL, "offset": 4}), "gap"),
    ("wrong hash", message(**{**FINALIZE, "sha256": EMPTY_SHA}), "wrong_hash"),
    ("no hash", message(**{**FINALIZE, "sha256": "ABC"}), "bad_message"),
    ("too short", message(**{**FINALIZE, "length": 2}), "wrong_length"),
    ("too long", message(**{**FINALIZE, "length": 5}), "gap"),
    ("reasoning that never was", message(**{**FINALIZE, "reasoning_sha256": "0" * 64}), "wrong_hash"),
    ("finalize of nothing", message(**{**FINALIZE, "thought": "t999-none"}), "unknown_thought"),
    ("abandon without a reason", message(type="abandon", thought="THOUGHT", length=3), "bad_message"),
    (
        "abandon for a reason of its own",
        message(type="abandon", thought="THOUGHT", length=3, reason="x"),
        "bad_message",
    ),
    ("another version", message(type="hello", version=2, **MINE), "version"),
    ("an agent called hub", message(type="hello", worker={"session": "other"}, agents=["hub"]), "reserved"),
    ("a malformed agent", message(type="hello", worker={"session": "other"}, agents=["../x"]), "bad_message"),
    ("a malformed session", message(type="hello", worker={"session": "a/b"}, agents=["x"]), "bad_message"),
    ("no agents", message(type="hello", worker={"session": "other"}, agents=[]), "bad_message"),
    (
        "many agents",
        message(type="hello", worker={"session": "other"}, agents=[f"x{n}" for n in range(51)]),
        "too_many",
    ),
    ("fewer agents", message(type="hello", worker={"session": "mine"}, agents=["b2"]), "agents_changed"),
]


def test_bad_messages_of_a_worker(attacked: Attacked) -> None:
    counted = attacked.place.counters()
    wrong = []
    for name, body, code in BAD_INGEST:
        attacked.worker.say(body.replace(b"THOUGHT", attacked.thought.encode()))
        said = attacked.worker.hear("reject")
        if said["code"] != code or not said["sentence"]:
            wrong.append((name, said))
        if code == "gap":
            assert said["length"] == 3
            attacked.worker.say(message(**{**PARTIAL, "thought": attacked.thought, "offset": 0, "text": "Öl"}))
            attacked.worker.hear("ack")  # A repeat; the same hole would not be told of twice.
    assert wrong == []
    now = attacked.place.counters()
    for code in {code for _, _, code in BAD_INGEST} - {"gap"}:
        expected = sum(one == code for _, _, one in BAD_INGEST)
        assert now[f"rejected.{code}"] - counted.get(f"rejected.{code}", 0) >= expected, code


def test_bad_frames_of_a_worker(attacked: Attacked) -> None:
    for frames in ([b"", b'{"type":"beat"}'], [b'{"type":"beat"}', b"{}"], [b"x"] * 500):
        attacked.worker.say(*frames)
        assert attacked.worker.hear("reject")["code"] == "bad_frames"


def test_fields_that_nobody_knows_are_no_fault(attacked: Attacked) -> None:
    before = attacked.place.counters()
    attacked.worker.tell(type="beat", holding=[attacked.thought], colour="blue", type2={"a": [1]})
    attacked.worker.say(message(**{**PARTIAL, "thought": attacked.thought, "offset": 0, "text": "Öl", "x": None}))
    assert attacked.worker.hear("ack")["lengths"]
    rejected = {name: count for name, count in attacked.place.counters().items() if name.startswith("rejected.")}
    assert rejected == {name: count for name, count in before.items() if name.startswith("rejected.")}


def test_a_stranger_cannot_write(attacked: Attacked) -> None:
    with raw(attacked.ingest) as stranger:
        stranger.say(message(**{**PARTIAL, "thought": attacked.thought}))
        assert stranger.hear("reject")["code"] == "unknown_session"
        stranger.tell(type="hello", worker={"session": "stranger"}, agents=["x1"])
        stranger.hear("welcome")
        for body in (PARTIAL, FINALIZE, {"type": "abandon", "length": 3, "reason": "llm_error"}):
            stranger.say(message(**{**body, "thought": attacked.thought}))
            assert stranger.hear("reject")["code"] == "not_yours"
        stranger.tell(type="bye")


CIRCLE = [{"name": "s1", "agent": "b1", "after": ["s2"]}, {"name": "s2", "agent": "b1", "after": ["s1"]}]


def a_start(**changed: Any) -> bytes:
    start = json.loads(start_of("bad-start", agents=("b1",), seed=0).encode())
    return message(**{**start, **changed})


BAD_CONTROL: list[tuple[str, bytes, str]] = [
    *BAD_ANYWHERE,
    ("lone surrogate", b'{"type":"runs","id":"\\udfff"}', "not_json"),
    ("no id", message(type="runs"), "bad_message"),
    ("id of another type", message(type="runs", id=7), "bad_message"),
    ("malformed id", message(type="runs", id="a b"), "bad_message"),
    ("NUL in an id", message(type="runs", id="a\x00"), "bad_message"),
    ("another version", message(type="hello", id="a", version=99), "version"),
    ("unknown run", message(type="replay", id="a", run="none"), "unknown_run"),
    ("malformed run", message(type="replay", id="a", run="NONE/../x"), "bad_message"),
    ("a position of no life", message(type="replay", id="a", run=RUN, after=1, boot="none"), "reset"),
    ("a position without a life", message(type="replay", id="a", run=RUN, after=1), "reset"),
    ("a negative position", message(type="replay", id="a", run=RUN, after=-1), "bad_message"),
    ("unknown thought", message(type="text", id="a", run=RUN, thought="none"), "unknown_thought"),
    ("unknown channel", message(type="text", id="a", run=RUN, thought="none", channel="x"), "bad_message"),
    ("snapshot of nothing", message(type="snapshot", id="a", run="none"), "unknown_run"),
    ("cancel of nothing", message(type="cancel", id="a", run="none"), "unknown_run"),
    ("cancel of a stranger", message(type="cancel", id="a", run=RUN, agent="zz"), "unknown_agent"),
    ("cancel of no thought", message(type="cancel", id="a", run=RUN, thought="t0"), "thought_ended"),
    ("resume of what runs", message(type="resume", id="a", run=RUN), "not_paused"),
    ("start of a malformed run", a_start(id="Bad Start"), "bad_message"),
    ("start without a task", a_start(task=""), "bad_message"),
    ("start in a circle", a_start(workflow={"name": "w", "stages": CIRCLE}), "bad_workflow"),
    ("start with nobody", a_start(agents=[]), "bad_message"),
    ("start with strangers", a_start(agents=[{"name": "zz"}]), "bad_workflow"),
    (
        "start with an agent called hub",
        a_start(workflow={"name": "w", "stages": [{"name": "s", "agent": "hub"}]}, agents=[{"name": "hub"}]),
        "bad_workflow",
    ),
    ("too many documents", a_start(documents=[{"name": f"d{n}", "text": ""} for n in range(101)]), "too_many"),
    ("an id that was used", a_start(id=RUN, task="other"), "id_reused"),
    ("too large", message(type="runs", id="a", x="x" * CONTROL_BYTES_MAX), "too_large"),
]


def test_bad_requests_of_a_client(attacked: Attacked) -> None:
    wrong = []
    with raw(attacked.control) as client:
        for name, body, code in BAD_CONTROL:
            before = attacked.rejected(code)
            client.say(body)
            said = client.hear("error")
            if said["code"] != code or not said["sentence"]:
                wrong.append((name, said))
            elif code != "id_reused" and attacked.rejected(code) <= before:
                wrong.append((name, "not counted"))
        for frames in ([b"", message(type="runs", id="a")], [message(type="runs", id="a"), b"x"], [b"x"] * 500):
            client.say(*frames)
            assert client.hear("error")["code"] == "bad_frames"
    assert wrong == []


def test_frames_beyond_every_limit_end_the_connection_and_nothing_else(attacked: Attacked) -> None:
    for address in (attacked.ingest, attacked.control):
        with raw(address) as one:
            one.say(b"x" * (FRAME_BYTES_MAX + 1))
            one.say(message(type="runs", id="after"))  # On the next connection, made by ZeroMQ itself.
            kind = "reject" if address == attacked.ingest else "ok"
            one.hear(kind)


def test_bad_subscriptions(attacked: Attacked) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context:
        bad = context.socket(zmq.XSUB)
        bad.setsockopt(zmq.LINGER, 0)
        bad.connect(attacked.live)
        for frames in ([b""], [b"\x01"], [b"\x07junk"], [b"\x01a", b"\x01b"], [b"\x00never"], [b"\x01" + b"x" * 3_000]):
            bad.send_multipart(frames)
        for number in range(5_000):
            bad.send(b"\x01run/%d/" % number)
        bad.send(b"\x01" + b"x" * 100_000)  # Beyond the limit: it is cut off, and comes back.
        until(lambda: bad.poll(20) and bad.recv_multipart(), 20.0, "it hears something all the same")
        bad.close()


def test_too_many_long_answers_at_once(attacked: Attacked) -> None:
    """`pages_open_max` is 4 here; whoever asks for more is told to wait, and all others get theirs."""
    with contextlib.ExitStack() as stack:
        # One each: a client's new question about the same run replaces its old one.
        clients = [stack.enter_context(raw(attacked.control)) for _ in range(40)]

        def refused() -> list[dict[str, Any]]:
            for number, client in enumerate(clients):
                client.tell(type="replay", id=f"many-{number}", run=RUN)
            answers = []
            for client in clients:
                while client.socket.poll(50):
                    answers.append(json.loads(client.socket.recv_multipart()[0]))
            assert any(answer["type"] == "page" for answer in answers)
            return [answer for answer in answers if answer["type"] == "error"]

        assert {answer["code"] for answer in until(refused, 30.0, "a refusal")} == {"busy"}
        clients[0].tell(type="replay", id="alone", run=RUN)
        assert until(lambda: clients[0].hear("page")["id"] == "alone", 30.0, "an answer afterwards")


def test_thousands_of_connections(attacked: Attacked) -> None:
    connections = []
    try:
        for address in (attacked.ingest, attacked.control, attacked.live):
            for number in range(500):
                one = socket.socket(socket.AF_UNIX)
                one.setblocking(False)
                connections.append(one)
                with contextlib.suppress(BlockingIOError):
                    one.connect(address.removeprefix("ipc://"))
                    one.send(
                        (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, b"\xff\0\0\0\0\0\0\0\1\x7f\3\1NULL")[number % 4]
                    )
        assert attacked.place.counters()
    finally:
        for one in connections:
            one.close()


def test_a_thousand_workers_say_hello(attacked: Attacked) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context:
        workers = []
        for number in range(1_000):
            worker = context.socket(zmq.DEALER)
            worker.setsockopt(zmq.LINGER, 0)
            worker.connect(attacked.ingest)
            agents = [f"w{number}-{n}" for n in range(50)]
            worker.send(message(type="hello", worker={"session": f"many-{number}"}, agents=agents))
            workers.append(worker)
        for worker in workers:
            said = until(lambda: worker.poll(20) and worker.recv(), 30.0, "a welcome")  # noqa: B023
            assert json.loads(said)["type"] == "welcome"
            worker.send(message(type="bye"))
        for worker in workers:
            worker.close()


FLOOD = """
import contextlib, sys, zmq
context = zmq.Context()
sockets = [context.socket(zmq.DEALER) for _ in range(int(sys.argv[2]))]
for one in sockets:
    one.setsockopt(zmq.SNDHWM, 20_000)
    one.connect(sys.argv[1])
while True:
    for one in sockets:
        with contextlib.suppress(zmq.Again):
            one.send(b'{"type":"beat"}', zmq.DONTWAIT)
"""
FLOODS = 8  # with 10,000 messages waiting of each, it takes the hub longer than the second between two heartbeats


def test_whoever_floods_the_hub_and_dies_takes_nobody_along(attacked: Attacked) -> None:
    """libzmq's own heartbeats end the hub here: it must not use them."""
    before = attacked.rejected("unknown_session")
    flooder = Process(attacked.place, "flood", ["-c", FLOOD, attacked.ingest, str(FLOODS)])
    until(lambda: attacked.rejected("unknown_session") > before + 25_000, 60.0, "it is flooded")
    flooder.kill()
    seen = [0]

    def quiet() -> bool:
        seen.append(attacked.rejected("unknown_session"))
        return seen[-1] == seen[-2]

    until(quiet, 60.0, "what was sent is taken")
