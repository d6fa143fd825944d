"""The events byte for byte: a name on the wire can never change by accident."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import (
    KnownEvent,
    ThoughtPartial,
    UnknownEvent,
    Usage,
    WorkerInfo,
    parse_event,
)
from felixhub.core.names import event_topic

HEAD = '"seq":7,"prev":5,"run":"r1","at":1750000000.457'
WHO = '"agent":"research","thought":"t9-ab12"'
WORKER = '"agent":"research","worker":{"session":"s1","pid":42,"host":"here"}'
USAGE = '"usage":{"prompt_tokens":10,"completion_tokens":20,"reasoning_tokens":null,"estimated":true}'

GOLDEN = {
    "run.started": '"task":"Why?","workflow":{"name":"solo","about":"","lists":{"parts":[{"name":"one","title":"One",'
    '"instruction":"","temperature":0.5,"endpoint":null,"model":null}]},"stages":[{"name":"think","agent":"research",'
    '"after":[],"for_each":null,"section":"Why","gate":true,"optional":false,"reviews":null,"revises":null,'
    '"rounds_max":1,"on_change":"redo","checkpoints":[0.0],"context":"after","instruction":"","quorum":null,'
    '"on_failure":"retry","retries_max":2,"retry_s":1.0}],"synthesis":{"agent":"synthesizer","when":"all","section":'
    '"Answer","on_change":"redo","converge":null,"instruction":"","retries_max":2,"retry_s":1.0}},"agents":[{"name":'
    '"research","role":"research","about":"","endpoint":null,"model":null,"temperature":[0.9,0.4],"tokens_max":null,'
    '"prompt":"","program":false}],"settings":{"endpoint":"offline","model":null,"endpoints":{"local":'
    '{"max_concurrent":4}},"batch_interval_s":0.1,"streaming":true,"review":true,"budget_tokens":1000,"include":'
    '["think"]},"documents":[{"name":"a.md","size":3,"sha256":"ab","whole":false}],"passages":[{"stage":"think",'
    '"passages":[{"document":"a.md","place":"line 1","start":0,"end":3}]}],"after":null,"by":"anna"',
    "run.paused": '"by":"anna"',
    "run.resumed": '"by":"anna"',
    "run.budget_spent": '"tokens":1010,"budget_tokens":1000',
    "run.finished": f'"result":"So.","degraded":["critic is missing"],{USAGE},"seconds":1.5',
    "run.failed": f'"error":"no agent finished a thought",{USAGE},"seconds":1.5',
    "run.cancelled": f'"by":"anna",{USAGE},"seconds":1.5',
    "stage.started": '"stage":"think","round":1',
    "stage.finished": '"stage":"think","round":1,"outcome":"skipped","why":"no"',
    "stage.reopened": '"stage":"think","round":2,"reason":"steered","by":"anna","checkpoint":0.0,"command":"c1",'
    '"feedback":{"wrong":"too long","instead":"one page","constraints":""},"revises":"t9-ab12","fresh":false',
    "agent.joined": WORKER,
    "agent.left": WORKER,
    "agent.lost": WORKER,
    "thought.started": f'{WHO},"attempt":1,"stage":"think","session":"s1","checkpoint":0.3,"progress":0.3,'
    '"endpoint":"local","model":null,"temperature":0.9,"round":1,"context":["t3-ab12"],"passages":[{"document":"a.md",'
    '"place":"p. 2","start":10,"end":20}],"revises":"think@2","steered_by":"c1"',
    "thought.partial": f'{WHO},"channel":"text","offset":5,"text":"é \\"q\\" 🌍","tokens":3',
    "thought.cancelling": f'{WHO},"by":"anna","reason":"cancelled"',
    "thought.finalized": f'{WHO},"length":2,"sha256":"ab","reasoning_length":0,"reasoning_sha256":"cd",'
    f'"finish_reason":"stop","model":"gpt-4o","truncated":false,{USAGE},"confidence":0.5,"first_token_s":0.2,"seconds":1.0,'
    '"verdict":{"approved":false,"issues":[{"what":"9 is wrong","where":"line 2","instead":"6"}],"fault":""}',
    "thought.abandoned": f'{WHO},"length":2,"reason":"llm_error","error":"timed out","retry_s":2.0',
    "synthesis.started": '"inputs":["t3-ab12"],"missing":[{"agent":"critic","why":"cancelled"}],"thought":"t9-ab12",'
    '"attempt":1',
    "synthesis.finished": '"thought":"t9-ab12","confidence":0.7,"degraded":[]',
    "section.ready": '"section":"think","version":1,"by":"research","thought":"t9-ab12","whole":true',
    "section.edited": '"section":"think","version":2,"by":"anna","text":"So."',
    "section.approved": '"section":"think","version":2,"by":"anna"',
    "section.reopened": '"section":"think","version":2,"by":"anna"',
    "section.stale": '"section":"think","version":2,"by":"anna"',
    "command.accepted": '"id":"c1","name":"pause","args":{"run":"r1"},"by":"anna","reply":{"run":"r1"}',
}


def golden(kind: str) -> bytes:
    return f'{{"kind":"{kind}",{HEAD},{GOLDEN[kind]}}}'.encode()


def known_kinds() -> set[str]:
    return {member.model_fields["kind"].default for member in get_args(get_args(KnownEvent)[0])}


def test_every_kind_has_an_example() -> None:
    assert set(GOLDEN) == known_kinds()


@pytest.mark.parametrize("kind", sorted(GOLDEN))
def test_an_event_is_these_bytes(kind: str) -> None:
    event = parse_event(golden(kind))
    assert not isinstance(event, UnknownEvent)
    assert event.kind == kind
    assert event.encode() == golden(kind)


def test_an_event_keeps_the_bytes_it_came_in() -> None:
    spaced = golden("run.paused").replace(b",", b" , ")
    assert parse_event(spaced).raw == spaced
    assert parse_event(spaced).encode() == golden("run.paused")


def test_an_unknown_kind_is_kept_whole() -> None:
    raw = f'{{"kind":"thought.praised",{HEAD},"agent":"critic","stars":[1,2]}}'.encode()
    event = parse_event(raw)
    assert isinstance(event, UnknownEvent)
    assert (event.kind, event.seq, event.prev, event.run, event.agent_name) == ("thought.praised", 7, 5, "r1", "critic")
    assert event.raw == raw
    assert json.loads(event.encode()) == json.loads(raw)


def test_unknown_fields_are_ignored() -> None:
    raw = golden("run.paused")[:-1] + b',"mood":"good"}'
    assert parse_event(raw).encode() == golden("run.paused")
    assert parse_event(raw).raw == raw


def test_who_an_event_is_about() -> None:
    assert parse_event(golden("thought.partial")).agent_name == "research"
    assert parse_event(golden("run.paused")).agent_name is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b'"run.paused"',
        b"[" * 100_000,
        b'{"kind":7}',
        b'{"kind":null,"seq":1}',
        b'{"kind":"run.paused"}',
        b'{"kind":"of.tomorrow"}',
        b'{"kind":"of.tomorrow","seq":1,"prev":0,"run":"r","at":"noon"}',
        golden("run.paused")[:-1],
        golden("run.paused") + golden("run.paused"),
        golden("run.paused").replace(b'"seq":7', b'"seq":"x"'),
        golden("run.paused").replace(b'"seq":7', b'"seq":1e999'),
        golden("thought.partial").replace(b'"channel":"text"', b'"channel":"smell"'),
        golden("thought.partial").replace(b'"\xc3\xa9', b'"\\ud800'),
        golden("thought.abandoned").replace(b"llm_error", b"boredom"),
        golden("run.finished").replace(b'"prompt_tokens":10', b'"prompt_tokens":-1'),
        golden("agent.joined").replace(b'"s1"', b'""'),
    ],
)
def test_hostile_bytes_are_a_violation(raw: bytes) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        parse_event(raw)
    assert caught.value.code == "bad_event"


def test_events_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_event(golden("run.paused")).seq = 8


@pytest.mark.parametrize("wrong", [{"prompt_tokens": -1}, {"completion_tokens": 2**53 + 1}])
def test_counts_of_tokens_have_bounds(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="tokens"):
        Usage(**wrong)


@pytest.mark.parametrize("session", ["", " ", "a" * 65, "a/b", "a\n"])
def test_a_session_is_a_plain_word(session: str) -> None:
    with pytest.raises(ValueError, match="session"):
        WorkerInfo(session=session)


def test_a_partial_costs_at_most_300_bytes_beside_its_text() -> None:
    partial = ThoughtPartial(
        seq=123_456_789,
        prev=123_456_780,
        run="20251121-073912-a1b2",
        at=1_750_000_000.457,
        agent="synthesizer",
        thought="t123456789-a1b2",
        channel="reasoning",
        offset=4_194_304,
        text="",
        tokens=1_000_000,
    )
    topic = event_topic(partial.run, partial.agent, partial.kind)
    assert topic == b"run/20251121-073912-a1b2/synthesizer/thought.partial/"
    assert len(topic) + len(partial.encode()) <= 300


def test_a_partial_of_checked_values_is_the_same_event() -> None:
    fields = {"seq": 3, "prev": 2, "run": "r", "at": 1.5, "agent": "a", "thought": "t1-abcd"}
    fields |= {"channel": "text", "offset": 4, "text": "Öl", "tokens": 2}
    checked, fast = ThoughtPartial.model_validate(fields), ThoughtPartial.of_checked(**fields)
    assert fast == checked
    assert fast.encode() == checked.encode()
    assert repr(fast) == repr(checked)
    assert fast.model_copy(update={"tokens": 3}).tokens == 3
    assert parse_event(fast.encode()) == fast
    assert fast.raw == fast.encode()
