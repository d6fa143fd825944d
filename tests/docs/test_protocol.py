"""docs/protocol.md against the code: every example parses, nothing in the models is left out, the tables are right."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import zmq
from pydantic import BaseModel
from zmq.utils.monitor import recv_monitor_message

from felixhub.core import events, messages, review, workflow
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import UnknownEvent, parse_event
from felixhub.core.grant import Grant, Role
from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.core.messages import (
    SnapshotText,
    parse_beat,
    parse_client_bound,
    parse_ingest,
    parse_request,
    parse_worker_bound,
)
from felixhub.transport import sockets
from felixhub.transport.address import Connection, Network, write_connection, write_key_file
from felixhub.transport.keys import Curve

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")

FAMILIES: dict[str, Any] = {
    "event": parse_event,
    "ingest": parse_ingest,
    "worker-bound": parse_worker_bound,
    "request": parse_request,
    "reply": parse_client_bound,
    "beat": parse_beat,
    "snapshot line": SnapshotText.model_validate_json,
    "connection": Connection.model_validate_json,
    "key file": Connection.model_validate_json,
}
WRITTEN_WHOLE = {"event", "worker-bound", "beat", "snapshot line"}  # by the hub, which omits no field

EVENTS = get_args(get_args(events.KnownEvent)[0])
INGEST = get_args(messages.IngestMessage)
WORKER_BOUND = get_args(messages.WorkerBound)
REQUESTS = get_args(messages.ControlRequest)
REPLIES = get_args(messages.ClientBound)
BEATS = (messages.HubBeat, messages.RunBeat)
COMMON = set(events.Event.model_fields)

# Headings that are not simply the kind, the type, or the name of the value.
HEADINGS: dict[type[BaseModel], str] = {
    messages.Hello: "`hello` from a worker",
    messages.Beat: "`beat` from a worker",
    messages.Cancel: "`cancel` to a worker",
}


class Example(NamedTuple):
    line: int
    family: str
    about: str  # what a reply is an answer to
    text: str

    @property
    def value(self) -> Any:
        return json.loads(self.text)


def _examples() -> list[Example]:
    found = []
    for match in re.finditer(r"(?:^<!-- ([^>]*) -->\n)?^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        family, _, about = (match[1] or "").partition(": ")
        found.append(Example(PAGE[: match.start()].count("\n") + 1, family, about, match[2]))
    return found


EXAMPLES = _examples()


def _sections() -> dict[str, str]:
    parts = re.split(r"^#{2,4} (.+)$", PAGE, flags=re.MULTILINE)
    titles = parts[1::2]
    assert len(titles) == len(set(titles)), "a heading is there twice"
    return dict(zip(titles, parts[2::2], strict=True))


SECTIONS = _sections()


def _table(section: str, first: str) -> list[list[str]]:
    """The cells of the first table in a section whose head begins with `first`."""
    lines = SECTIONS[section].splitlines()
    head = next(index for index, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def _tag(model: type[BaseModel]) -> str:
    return str(model.model_fields["kind" if "kind" in model.model_fields else "type"].default)


def _values() -> list[type[BaseModel]]:
    """What the messages and events are made of."""
    inner = [one for one in vars(workflow).values() if isinstance(one, type) and issubclass(one, workflow.Value)]
    inner += [events.Usage, events.DocumentInfo, events.WorkerInfo, events.Missing]
    inner += [events.Passage, events.StagePassages, events.Feedback, review.Verdict, review.Issue]
    inner += [messages.Held, messages.Ended, messages.Acked, messages.GivenThought, messages.GivenDocument]
    inner += [messages.Document, messages.Wanted, messages.BusyAgent]
    return [one for one in inner if one is not workflow.Value]


MODELS = [*EVENTS, *INGEST, *WORKER_BOUND, *REQUESTS, *REPLIES, *BEATS, messages.SnapshotText, *_values()]


def _heading(model: type[BaseModel]) -> str:
    if model in HEADINGS:
        return HEADINGS[model]
    return f"`{_tag(model)}`" if {"kind", "type"} & set(model.model_fields) else model.__name__


def test_no_model_is_left_out_of_this_test() -> None:
    defined = {
        one
        for module in (events, messages, review, workflow)
        for name, one in vars(module).items()
        if isinstance(one, type) and issubclass(one, BaseModel) and one.__module__ == module.__name__
        if not name.startswith("_")
    }
    bases = {events.Event, UnknownEvent, messages.Message, messages.Request, workflow.Value}
    assert defined - bases == set(MODELS)


# ---- examples --------------------------------------------------------------------------------------------------------


def test_every_block_of_json_says_what_it_is() -> None:
    assert len(EXAMPLES) == PAGE.count("```json")
    assert {example.family for example in EXAMPLES} == set(FAMILIES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"line{example.line}")
def test_an_example_is_what_the_code_understands(example: Example) -> None:
    parsed = FAMILIES[example.family](example.text.encode())
    assert not isinstance(parsed, UnknownEvent)
    _no_field_is_unknown(parsed, example.value)
    if example.family in WRITTEN_WHOLE:
        written = json.loads(parsed.model_dump_json())
        assert written == example.value, "the hub would write it otherwise"


def _no_field_is_unknown(model: BaseModel, value: dict[str, Any]) -> None:
    known = type(model).model_fields
    assert set(value) <= set(known)
    for name, given in value.items():
        inner = getattr(model, name)
        pairs = [(inner, given)]
        if isinstance(inner, tuple):
            pairs = list(zip(inner, given, strict=True))
        elif isinstance(inner, dict):
            pairs = [(inner[key], given[key]) for key in given]
        for one, part in pairs:
            if isinstance(one, BaseModel):
                _no_field_is_unknown(one, part)


def _shown_connection(family: str) -> Connection:
    (example,) = [one for one in EXAMPLES if one.family == family]
    return Connection.model_validate_json(example.text)


def test_the_connection_files_are_as_they_are_written(tmp_path: Path) -> None:
    hub, key = _shown_connection("connection"), _shown_connection("key file")
    write_connection(tmp_path, hub)
    assert key.key is not None and key.curve is not None
    write_key_file(tmp_path / "key.json", address=key.control, key=key.key, curve=key.curve)
    for file, family in (("connection.json", "connection"), ("key.json", "key file")):
        (example,) = [one for one in EXAMPLES if one.family == family]
        assert json.loads((tmp_path / file).read_bytes()) == example.value
    assert hub.network is not None and hub.network.server == key.curve.server, "the page shows one hub"


@pytest.mark.parametrize(
    ("family", "models"),
    [
        ("event", EVENTS),
        ("ingest", INGEST),
        ("worker-bound", WORKER_BOUND),
        ("request", REQUESTS),
        ("reply", REPLIES),
        ("beat", BEATS),
        ("snapshot line", (messages.SnapshotText,)),
    ],
)
def test_everything_has_an_example(family: str, models: tuple[type[BaseModel], ...]) -> None:
    shown = {example.value.get("kind", example.value.get("type")) for example in EXAMPLES if example.family == family}
    assert shown == {_tag(model) for model in models}


def test_the_hashes_in_examples_are_those_of_their_texts() -> None:
    hashes = set(re.findall(r"\b[0-9a-f]{64}\b", PAGE))
    assert hashes == {hashlib.sha256(text).hexdigest() for text in (b"", b"hello", b"It is eight", b"It is eight.")}


# ---- fields ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_described_and_no_other(model: type[BaseModel]) -> None:
    rows = [row[0].strip("`") for row in _table(_heading(model), "field")]
    common = COMMON if issubclass(model, events.Event) else set()
    assert len(rows) == len(set(rows))
    assert set(rows) == set(model.model_fields) - common


def test_the_common_fields_are_described() -> None:
    assert {row[0].strip("`") for row in _table("Common fields", "field")} == COMMON
    for section, model in (("Finding a hub", Connection), ("Network", Network), ("Curve", Curve)):
        assert {row[0].strip("`") for row in _table(section, "field")} == set(model.model_fields)


@pytest.mark.parametrize("model", [*_values()], ids=lambda model: model.__name__)
def test_defaults_are_right(model: type[BaseModel]) -> None:
    for row in _table(_heading(model), "field"):
        if len(row) < 4:
            return
        field = model.model_fields[row[0].strip("`")]
        shown = row[2].strip("`")
        if field.is_required():
            assert shown == "", row
            continue
        default = field.get_default(call_default_factory=True)
        words = {None: "null", "": "empty", (): "[]", True: "true", False: "false"}
        unusual = default is None or default == "" or default == () or isinstance(default, bool)
        expected = words[default] if unusual else "[0.0]" if default == (0.0,) else str(default)
        assert shown == expected, row


def test_reasons_and_states_are_complete() -> None:
    assert {row[0].strip("`") for row in _table("`thought.abandoned`", "reason")} == set(get_args(events.Reason))
    states = SECTIONS["BusyAgent"].partition("States:")[2]
    assert set(re.findall(r"`(\w+)`", states)) == set(get_args(messages.AgentState))


# ---- error codes -----------------------------------------------------------------------------------------------------

OF_ITSELF = {zmq.FD, zmq.EVENTS, zmq.THREAD_SAFE, zmq.ROUTING_ID, zmq.LAST_ENDPOINT}  # not set by anyone
RAISED = {"ProtocolViolation", "Failed", "Reject", "HubRefused"}


def _codes_in(tree: ast.AST) -> Iterator[str]:
    """Literal codes: the first argument of a violation, `code=` of a message, and `gone=`, under which one travels."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            told = [
                word.value for word in node.keywords if word.arg == "gone" or (word.arg == "code" and name in RAISED)
            ]
            if name == "ProtocolViolation" and node.args:
                told.append(node.args[0])
        elif isinstance(node, ast.FunctionDef):
            told = [
                d for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d and a.arg == "gone"
            ]
        else:
            continue
        for value in told:
            yield from (
                part.value for part in ast.walk(value) if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )


def test_every_error_code_is_in_the_table_and_no_other() -> None:
    used: set[str] = set()
    for file in (ROOT / "felixhub").rglob("*.py"):
        used.update(_codes_in(ast.parse(file.read_text(encoding="utf-8"))))
    listed = [row[0].strip("`") for row in _table("Error codes", "code")]
    assert listed == sorted(set(listed))
    assert set(listed) == used


# ---- limits, socket options ------------------------------------------------------------------------------------------


def test_every_limit_is_listed_with_its_default() -> None:
    listed = {row[0].strip("`"): row[1] for row in _table("Limits", "limit")}
    assert listed == {field.name: str(getattr(DEFAULT_LIMITS, field.name)) for field in fields(DEFAULT_LIMITS)}
    assert f"`lease_s` = {DEFAULT_LIMITS.lease_s} s" in SECTIONS["Limits"]
    assert f"`frame_bytes_max` = {DEFAULT_LIMITS.frame_bytes_max} bytes" in SECTIONS["Limits"]


def test_socket_options_are_those_we_set_ourselves() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    fresh = {kind: context.socket(kind) for kind in (zmq.DEALER, zmq.SUB)}
    ours = [
        sockets.worker_dealer(context, DEFAULT_LIMITS),
        sockets.client_dealer(context, DEFAULT_LIMITS),
        sockets.live_sub(context, DEFAULT_LIMITS),
    ]
    try:
        for name, *shown, _why in _table("Sockets", "option"):
            option = getattr(zmq, name.strip("`"))
            for socket, value in zip(ours, shown, strict=True):
                expected = fresh[socket.type].getsockopt(option) if value == "-" else int(value)
                assert socket.getsockopt(option) == expected, (name, value)
        shown = {getattr(zmq, row[0].strip("`")) for row in _table("Sockets", "option")}
        for socket in ours:
            for option in set(zmq.SocketOption) - shown:
                with contextlib.suppress(zmq.ZMQError):  # Not every option can be read.
                    told = socket.getsockopt(option), fresh[socket.type].getsockopt(option)
                    assert option in OF_ITSELF or told[0] == told[1], option
    finally:
        for socket in (*ours, *fresh.values()):
            socket.close()
        context.term()


class _Noted:
    """Notes what is set: ZeroMQ does not give keys away again."""

    def __init__(self) -> None:
        self.options: dict[int, object] = {}

    def socket(self, _kind: int) -> _Noted:
        return self

    def setsockopt(self, option: int, value: object) -> None:
        self.options[option] = value


def test_socket_options_of_a_key_are_those_we_set_ourselves() -> None:
    curve = _shown_connection("key file").curve
    assert curve is not None
    values = {"server": curve.server, "public": curve.public, "secret": curve.secret.get_secret_value()}
    rows = _table("Sockets", "with a key")
    assert all(row[1:4] == ["yes"] * 3 for row in rows)
    shown = {getattr(zmq, row[0].strip("`")): values[row[4].strip("`")].encode() for row in rows}
    for make in (sockets.worker_dealer, sockets.client_dealer, sockets.live_sub):
        proving, plain = _Noted(), _Noted()
        make(proving, DEFAULT_LIMITS, curve)  # type: ignore[arg-type]
        make(plain, DEFAULT_LIMITS)  # type: ignore[arg-type]
        assert proving.options == plain.options | shown


# ---- roles -----------------------------------------------------------------------------------------------------------


def _allowed(role: Role) -> set[str]:
    """The requests on the page that a key of this role may make; everything there is about one run."""
    grant = Grant(name="any", role=role)
    allowed = set()
    for example in EXAMPLES:
        if example.family == "request":
            with contextlib.suppress(ProtocolViolation):
                grant.check_request(parse_request(example.text.encode()))
                allowed.add(example.value["type"])
    return allowed


def test_a_role_may_do_what_the_page_says() -> None:
    everything = {_tag(model) for model in REQUESTS}
    for cell, ingest, live, control in _table("Roles", "role"):
        role: Role = cell.strip("`")  # type: ignore[assignment]
        grant = Grant(name="any", role=role)
        told = everything if control == "everything" else set(re.findall(r"`(\w+)`", control))
        assert told == _allowed(role), role
        hello = messages.Hello(worker=events.WorkerInfo(session="s1"), agents=("clock",))
        if ingest == "nothing":
            with pytest.raises(ProtocolViolation, match="a worker needs a worker's"):
                grant.check_hello(hello)
        else:
            grant.check_hello(hello)
        assert bool(grant.topics(b"run/")) == (not live.startswith("nothing"))


def test_a_subscription_becomes_what_the_page_says() -> None:
    grant = Grant(name="any", role="viewer", runs=("memo-*",))
    assert grant.topics(b"run/") == [b"run/memo-"]
    assert grant.topics(b"run/night-1/") == []
    assert grant.topics(b"hub/beat/") == [b"hub/beat/"]


# ---- against a real hub ----------------------------------------------------------------------------------------------


class Hub(NamedTuple):
    data: Path
    connection: dict[str, Any]
    control: zmq.Socket[bytes]

    def ask(self, request: dict[str, Any]) -> list[bytes]:
        self.control.send_json(request)
        assert self.control.poll(5_000), f"no answer to {request}"
        return self.control.recv_multipart()


ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith("FELIXHUB_")}


def _free_port() -> int:
    """The first of three that are free."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                for more in (1, 2):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port + more))
                return port


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    data = tmp_path_factory.mktemp("hub")
    listen = f"tcp://127.0.0.1:{_free_port()}"
    command = [sys.executable, "-m", "felixhub", "hub", "--data", str(data), "--listen", listen]
    with (data / "hub.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env=ENVIRON, cwd=data)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    control = context.socket(zmq.DEALER)
    control.setsockopt(zmq.LINGER, 0)
    try:
        file = data / "connection.json"
        deadline = time.monotonic() + 30.0
        while not file.exists():
            assert process.poll() is None, (data / "hub.log").read_text()
            assert time.monotonic() < deadline, "the hub did not start"
            time.sleep(0.01)
        connection = json.loads(file.read_bytes())
        control.connect(connection["control"])
        yield Hub(data, connection, control)
    finally:
        control.close()
        context.term()
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20.0)
        process.kill()
        process.wait()


def _shape(value: Any) -> Any:
    """The keys of a value, and of what is in its lists."""
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items() if key != "counters"}
    if isinstance(value, list):
        return [_shape(value[0])] if value and isinstance(value[0], dict) else []
    return None


def _shown_reply(about: str) -> dict[str, Any]:
    return next(dict(example.value) for example in EXAMPLES if example.family == "reply" and example.about == about)


def _shown_request(kind: str) -> dict[str, Any]:
    return next(
        dict(example.value) for example in EXAMPLES if example.family == "request" and example.value["type"] == kind
    )


def test_a_conversation_goes_as_the_page_says(hub: Hub) -> None:
    told = json.loads(hub.ask(_shown_request("hello"))[0])
    assert _shape(told) == _shape(_shown_reply("hello"))

    start = _shown_request("start")
    assert json.loads(hub.ask(start)[0]) == {"type": "ok", "id": "night-1", "data": {"run": "night-1"}}
    assert json.loads(hub.ask(start)[0])["type"] == "ok"
    assert json.loads(hub.ask(start | {"task": "Another"})[0])["code"] == "id_reused"

    rows = json.loads(hub.ask(_shown_request("runs"))[0])
    assert _shape(rows) == _shape(_shown_reply("runs"))
    assert rows["data"]["runs"][0]["status"] == "running"

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    worker = context.socket(zmq.DEALER)
    worker.setsockopt(zmq.LINGER, 0)
    worker.connect(hub.connection["ingest"])
    try:
        _write_a_thought(worker)
    finally:
        worker.close()
        context.term()

    header, lines = hub.ask({"type": "replay", "id": "p1", "run": "night-1"})
    stored = [parse_event(line) for line in lines.split(b"\n")]
    assert json.loads(header)["through"] == stored[-1].seq
    thought = next(event.thought for event in stored if event.kind == "thought.started")
    text = json.loads(hub.ask({"type": "text", "id": "p2", "run": "night-1", "thought": thought})[0])
    assert _shape(text) == _shape(_shown_reply("text"))
    assert text["data"]["text"] == "It is eight"

    header, lines = hub.ask({"type": "snapshot", "id": "p3", "run": "night-1"})
    pages = [(json.loads(header), lines)]
    while not pages[-1][0]["last"]:
        header, lines = hub.control.recv_multipart()
        pages.append((json.loads(header), lines))
    shown = [line for _, page in pages for line in page.split(b"\n") if line]
    assert [line for line in shown if b'"snapshot.text"' not in line] == [
        event.raw for event in stored if event.kind != "thought.partial"
    ]
    assert SnapshotText.model_validate_json(shown[-1]).text == "It is eight"

    assert json.loads(hub.ask({"type": "replay", "id": "p4", "run": "night-1", "after": 3})[0])["code"] == "reset"
    assert json.loads(hub.ask({"type": "replay", "id": "p5", "run": "none"})[0])["code"] == "unknown_run"
    assert json.loads(hub.ask({"type": "nonsense", "id": "p6"})[0])["code"] == "unknown_type"


def _write_a_thought(worker: zmq.Socket[bytes]) -> None:
    """What the page says of a worker, with nothing but JSON."""

    def heard(kind: str) -> dict[str, Any]:
        while worker.poll(5_000):
            message = worker.recv_json()
            assert isinstance(message, dict)
            if message["type"] == kind:
                return message
        raise AssertionError(f"no {kind}")

    worker.send_json({"type": "beat", "holding": []})
    assert heard("reject")["code"] == "unknown_session"
    worker.send_json({"type": "hello", "version": 1, "worker": {"session": "s1"}, "agents": ["clock"], "holding": []})
    assert heard("welcome")["thoughts"] == []
    thought = heard("assign")["thought"]
    worker.send_json({"type": "partial", "thought": thought, "offset": 6, "text": "eight"})
    gap = heard("reject")
    assert (gap["code"], gap["thought"], gap["length"]) == ("gap", thought, 0)
    worker.send_json({"type": "partial", "thought": thought, "offset": 0, "text": "It is "})
    assert heard("ack")["lengths"] == [{"thought": thought, "channel": "text", "length": 6}]
    worker.send_json({"type": "partial", "thought": thought, "offset": 3, "text": "is eight"})
    assert heard("ack")["lengths"][0]["length"] == 11
    finalize = {"type": "finalize", "thought": thought, "length": 11, "sha256": "0" * 64}
    worker.send_json(finalize)
    assert heard("reject")["code"] == "wrong_hash"
    worker.send_json(finalize | {"sha256": hashlib.sha256(b"It is eight").hexdigest()})
    assert heard("ack")["ended"] == [{"thought": thought, "outcome": "finalized", "reason": None}]


def test_ipc_sockets_lie_where_the_page_says(hub: Hub) -> None:
    digest = hashlib.sha256(str(hub.data.resolve()).encode()).hexdigest()[:8]
    for name in ("ingest", "live", "control"):
        assert hub.connection[name].endswith(f"/{digest}/{name}")


# ---- with keys, as the page says it to a client in any language ------------------------------------------------------


def _key(hub: Hub, name: str, *more: str) -> dict[str, Any]:
    file = hub.data / f"{name}.json"
    command = [sys.executable, "-m", "felixhub", "keys", "new", name, "--data", str(hub.data), "--out", str(file)]
    subprocess.run([*command, *more], check=True, env=ENVIRON, cwd=hub.data, stdout=subprocess.DEVNULL)
    told = json.loads(file.read_bytes())
    assert isinstance(told, dict)
    return told


@contextlib.contextmanager
def _proven(kind: int, file: dict[str, Any], name: str) -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made = context.socket(kind)
    made.setsockopt(zmq.LINGER, 0)
    for option, _ingest, _control, _live, field in _table("Sockets", "with a key"):
        made.setsockopt(getattr(zmq, option.strip("`")), file["curve"][field.strip("`")].encode())
    made.connect(file[name])
    try:
        yield made
    finally:
        made.close()
        context.term()


def _asked(control: zmq.Socket[bytes], request: dict[str, Any]) -> dict[str, Any]:
    control.send_json(request)
    assert control.poll(30_000), f"no answer to {request}"
    told = json.loads(control.recv_multipart()[0])
    assert isinstance(told, dict)
    return told


def _a_run(name: str) -> dict[str, Any]:
    return _shown_request("start") | {"id": name}


def test_keys_are_as_the_page_says(hub: Hub) -> None:
    network = json.loads((hub.data / "connection.json").read_bytes())["network"]
    viewer, operator = _key(hub, "ann", "--role", "viewer", "--run", "memo-*"), _key(hub, "ops", "--role", "operator")
    worker = _key(hub, "box", "--role", "worker", "--agent", "clock")
    assert viewer["curve"]["server"] == network["server"]
    assert {name: viewer[name] for name in ("ingest", "live", "control")} == {
        name: network[name] for name in ("ingest", "live", "control")
    }
    with _proven(zmq.SUB, viewer, "live") as live, _proven(zmq.DEALER, viewer, "control") as control:
        for topic in (b"run/", b"hub/beat/"):
            live.subscribe(topic)
        assert live.poll(30_000) and live.recv_multipart()[0] == b"hub/beat/"
        with _proven(zmq.DEALER, operator, "control") as ops:
            for name in ("other-1", "memo-1"):
                assert _asked(ops, _a_run(name) | {"by": "my program"})["data"] == {"run": name}
            assert _asked(ops, {"type": "hello", "id": "q9", "version": 1})["data"]["endpoints"] == {
                name: network[name] for name in ("ingest", "live", "control")
            }
        topics = set()
        while b"run/memo-1/hub/run.started/" not in topics:
            assert live.poll(30_000), topics
            topic, body = live.recv_multipart()
            topics.add(topic)
            if topic.endswith(b"/run.started/"):
                assert json.loads(body)["by"] == "ops: my program"
        assert all(topic.startswith((b"run/memo-", b"hub/beat/")) for topic in topics), topics
        rows = _asked(control, {"type": "runs", "id": "q10"})["data"]["runs"]
        assert [row["run"] for row in rows] == ["memo-1"]
        for request in (
            {"type": "replay", "id": "q11", "run": "other-1"},
            {"type": "cancel", "id": "q12", "run": "memo-1"},
        ):
            assert _asked(control, request)["code"] == "forbidden"
    with _proven(zmq.DEALER, worker, "control") as control:
        assert _asked(control, {"type": "runs", "id": "q13"})["code"] == "forbidden"
    hello = {"type": "hello", "version": 1, "worker": {"session": "s9"}, "holding": []}
    with _proven(zmq.DEALER, worker, "ingest") as ingest:
        assert _asked(ingest, hello | {"agents": ["critic"]})["code"] == "forbidden"
        assert _asked(ingest, hello | {"agents": ["clock"]})["type"] == "welcome"


def test_refused_is_heard_as_the_page_says(hub: Hub) -> None:
    file = _key(hub, "gone", "--role", "viewer")
    command = [sys.executable, "-m", "felixhub", "keys", "revoke", "gone", "--data", str(hub.data)]
    subprocess.run(command, check=True, env=ENVIRON, cwd=hub.data, stdout=subprocess.DEVNULL)
    failures = (
        zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    )
    told = {}
    for curve in (True, False):
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        made = context.socket(zmq.DEALER)
        made.setsockopt(zmq.LINGER, 0)
        if curve:
            for option, _ingest, _control, _live, field in _table("Sockets", "with a key"):
                made.setsockopt(getattr(zmq, option.strip("`")), file["curve"][field.strip("`")].encode())
        made.setsockopt(zmq.HANDSHAKE_IVL, 5_000)
        monitor = made.get_monitor_socket(failures)
        made.connect(file["control"])
        assert monitor.poll(30_000), (hub.data / "hub.log").read_text()
        told[curve] = recv_monitor_message(monitor)
        made.disable_monitor()
        monitor.close()
        made.close()
        context.term()
    assert told[True]["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    if told[False]["event"] == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
        assert told[False]["value"] == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH
    else:
        assert told[False]["event"] == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
