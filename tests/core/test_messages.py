"""The messages between two processes, and what each bad one is answered with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from felixhub.core.errors import ProtocolViolation
from felixhub.core.messages import (
    Beat,
    CancelRun,
    Hello,
    Partial,
    Start,
    parse_beat,
    parse_client_bound,
    parse_ingest,
    parse_request,
    parse_worker_bound,
)

HELLO: dict[str, Any] = {"type": "hello", "worker": {"session": "s1"}, "agents": ["research"]}
PARTIAL: dict[str, Any] = {"type": "partial", "thought": "t1", "offset": 0, "text": "é"}
FINALIZE: dict[str, Any] = {"type": "finalize", "thought": "t1", "length": 1, "sha256": "0" * 64}
ABANDON: dict[str, Any] = {"type": "abandon", "thought": "t1", "length": 1, "reason": "llm_error"}
START: dict[str, Any] = {
    "type": "start",
    "id": "r1",
    "task": "Why?",
    "workflow": {"name": "solo", "stages": [{"name": "think", "agent": "research"}]},
    "agents": [{"name": "research"}],
}


def ingest(message: dict[str, Any]) -> Any:
    return parse_ingest(json.dumps(message).encode())


def request(message: dict[str, Any]) -> Any:
    return parse_request(json.dumps(message).encode())


def test_good_messages_are_values_of_their_type() -> None:
    assert ingest(HELLO) == Hello(worker={"session": "s1"}, agents=("research",))
    assert ingest(PARTIAL) == Partial(thought="t1", offset=0, text="é")
    assert ingest({"type": "beat"}) == Beat()
    assert isinstance(request(START), Start)
    assert request({"type": "cancel", "id": "c1", "run": "r1"}) == CancelRun(id="c1", run="r1")


def test_unknown_fields_are_ignored() -> None:
    assert ingest(PARTIAL | {"mood": "good"}) == ingest(PARTIAL)


def test_a_message_survives_its_own_encoding() -> None:
    for message in (HELLO, PARTIAL, FINALIZE, ABANDON):
        assert parse_ingest(ingest(message).encode()) == ingest(message)
    assert parse_request(request(START).encode()) == request(START)


@pytest.mark.parametrize(
    ("data", "code", "field"),
    [
        (b"", "not_json", None),
        (b"\xff", "not_json", None),
        (b"{", "not_json", None),
        (b"[" * 100_000, "not_json", None),
        (b'{"type":"partial","thought":"t","offset":0,"text":"\\ud800"}', "not_json", None),
        (b"7", "bad_message", None),
        (b"[]", "bad_message", None),
        (b"{}", "unknown_type", "type"),
        (b'{"type":"dance"}', "unknown_type", "type"),
        (b'{"type":["partial"]}', "unknown_type", "type"),
    ],
)
def test_what_is_no_message(data: bytes, code: str, field: str | None) -> None:
    for parse in (parse_ingest, parse_request, parse_worker_bound, parse_client_bound):
        with pytest.raises(ProtocolViolation) as caught:
            parse(data)
        assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (PARTIAL | {"offset": "0"}, "offset"),
        (PARTIAL | {"offset": -1}, "offset"),
        (PARTIAL | {"offset": 0.5}, "offset"),
        (PARTIAL | {"offset": 2**53 + 1}, "offset"),
        (PARTIAL | {"text": 7}, "text"),
        (PARTIAL | {"channel": "smell"}, "channel"),
        (PARTIAL | {"thought": "t\n"}, "thought"),
        (PARTIAL | {"thought": "x" * 65}, "thought"),
        (FINALIZE | {"sha256": "ABC"}, "sha256"),
        (FINALIZE | {"sha256": "0" * 64 + "\n"}, "sha256"),
        (FINALIZE | {"seconds": -1.0}, "seconds"),
        (FINALIZE | {"usage": {"prompt_tokens": -1}}, "usage.prompt_tokens"),
        (ABANDON | {"reason": "boredom"}, "reason"),
        (ABANDON | {"error": "x" * 4_001}, "error"),
        (HELLO | {"agents": []}, "agents"),
        (HELLO | {"agents": ["Research"]}, "agents.0"),
        (HELLO | {"worker": {"session": ""}}, "worker.session"),
        ({"type": "beat", "holding": ["t"] * 10_001}, "holding"),
        ({"type": "beat", "throttled": {"local": -1.0}}, "throttled.local"),
        ({"type": "beat", "throttled": {str(n): 1.0 for n in range(101)}}, "throttled"),
    ],
)
def test_a_worker_s_bad_message_names_the_field(message: dict[str, Any], field: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        ingest(message)
    assert (caught.value.code, caught.value.field) == ("bad_message", field)
    assert field in caught.value.sentence


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e400"])
def test_numbers_that_are_none(number: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_ingest(b'{"type":"beat","throttled":{"local":' + number + b"}}")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (START | {"id": "../etc"}, "id"),
        (START | {"task": ""}, "task"),
        (START | {"agents": []}, "agents"),
        (START | {"agents": [{"name": "hub/x"}]}, "agents.0.name"),
        (START | {"workflow": {"name": "w", "stages": []}}, "workflow.stages"),
        (START | {"settings": {"batch_interval_s": -1}}, "settings.batch_interval_s"),
        ({"type": "cancel", "id": "c1"}, "run"),
        ({"type": "cancel", "id": "", "run": "r1"}, "id"),
        ({"type": "pause", "run": "r1"}, "id"),
        ({"type": "replay", "id": "q1", "run": "r1", "after": -1}, "after"),
        ({"type": "text", "id": "q1", "run": "r1", "thought": "t 1"}, "thought"),
        ({"type": "runs", "id": "q1", "by": "x" * 201}, "by"),
    ],
)
def test_a_client_s_bad_request_names_the_field(message: dict[str, Any], field: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        request(message)
    assert (caught.value.code, caught.value.field) == ("bad_message", field)


def test_a_beat_says_its_kind() -> None:
    assert parse_beat(b'{"kind":"hub.beat","boot":"b1","tip":7}').tip == 7
    with pytest.raises(ProtocolViolation) as caught:
        parse_beat(b'{"boot":"b1","tip":7}')
    assert (caught.value.code, caught.value.field) == ("unknown_type", "kind")
