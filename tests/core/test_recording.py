"""What a recording is: everything that a hub has logged, and nothing that it never would have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from team import NOON, Team, helix_workflow
from test_restart import steps, story

from felixhub.core.board import Board
from felixhub.core.central_post import CentralPost
from felixhub.core.events import parse_event
from felixhub.core.player import gap_s
from felixhub.core.recording import BadRecording, RecordingCheck


def recorded() -> list[bytes]:
    """A run from its start to its end."""
    team = Team()
    team.start(workflow=helix_workflow())
    workers = team.workers()
    while team.run().ended is None:
        team.wait(0.25)
        for worker in workers.values():
            if worker.is_thinking:
                worker.write("reason", channel="reasoning")
                worker.write("Blue — ", tokens=3)
                worker.finish()
    return [event.encode() for event in team.log]


LINES = recorded()


def judged(lines: list[bytes]) -> RecordingCheck:
    check = RecordingCheck()
    for line in lines:
        check.take(line)
    return check


def why_not(lines: list[bytes]) -> tuple[int, str]:
    """The line that is refused, from 1, and the sentence."""
    check = RecordingCheck()
    for number, line in enumerate(lines, 1):
        try:
            check.take(line)
        except BadRecording as error:
            assert str(error).isprintable(), "it is shown on terminals"
            return number, str(error)
    raise AssertionError("it was taken")


def index_of(kind: str) -> int:
    return next(index for index, line in enumerate(LINES) if json.loads(line)["kind"] == kind)


def with_other(kind: str, /, **fields: Any) -> tuple[list[bytes], int]:
    """The recording with other fields in the first event of a kind, and the number of its line."""
    index = index_of(kind)
    changed = json.dumps(json.loads(LINES[index]) | fields).encode()
    return [*LINES[:index], changed, *LINES[index + 1 :]], index + 1


def test_a_whole_run() -> None:
    check = judged(LINES)
    assert (check.run, check.events, check.is_ended) == ("r1", len(LINES), True)
    told = [parse_event(line) for line in LINES]
    assert check.last_seq == told[-1].seq
    assert check.seconds == pytest.approx(sum(map(gap_s, told, told[1:]))) == pytest.approx(told[-1].at - told[0].at)
    assert told[0].at == pytest.approx(NOON, abs=0.001)


def test_the_beginning_of_a_run_is_a_recording_that_has_not_ended() -> None:
    for length in range(1, len(LINES)):
        assert not judged(LINES[:length]).is_ended


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(steps=steps)
def test_whatever_a_hub_has_logged_is_one(steps: list[tuple[str, str]]) -> None:
    team = story(steps)
    assert judged([event.encode() for event in team.log]).events == len(team.log)


def test_holes_between_seqs_belong_to_other_runs() -> None:
    wide = []
    for line in LINES:
        value = json.loads(line)
        wide.append(json.dumps(value | {"seq": 10 * value["seq"], "prev": 10 * value["prev"]}).encode())
    assert judged(wide).last_seq == 10 * judged(LINES).last_seq


def test_a_kind_of_a_later_version_is_passed_on() -> None:
    last = json.loads(LINES[-2])["seq"]
    new = {"kind": "agent.slept", "seq": last + 1, "prev": last, "run": "r1", "at": NOON + 9.0, "agent": "critic"}
    assert judged([*LINES[:-1], json.dumps(new).encode()]).events == len(LINES)


MIDDLE = len(LINES) // 2


@pytest.mark.parametrize(
    ("lines", "number", "words"),
    [
        ([b"not json", *LINES], 1, "not an event"),
        ([b"[1, 2]"], 1, "not an event"),
        ([b"\x1f\x8b\x08\x00"], 1, "not an event"),
        ([b'{"kind":"hub.beat","boot":"b","tip":3}'], 1, "not an event"),
        (LINES[1:], 1, "begins with run.started"),
        ([*LINES[:MIDDLE], *LINES[MIDDLE + 1 :]], MIDDLE + 1, "missing or out of order"),
        ([*LINES[:MIDDLE], LINES[MIDDLE - 1], *LINES[MIDDLE:]], MIDDLE + 1, "doubled or out of order"),
        ([*LINES[:3], LINES[4], LINES[3], *LINES[5:]], 4, "out of order"),
        ([*LINES, *LINES], len(LINES) + 1, "doubled or out of order"),
        ([*LINES[:4], LINES[4].replace(b'"run":"r1"', b'"run":"r2"'), *LINES[5:]], 5, "holds one run"),
    ],
)
def test_what_is_no_recording(lines: list[bytes], number: int, words: str) -> None:
    told = why_not(lines)
    assert told[0] == number and words in told[1], told


def test_nothing_comes_after_the_end() -> None:
    last = json.loads(LINES[-1])["seq"]
    more = {"kind": "run.paused", "seq": last + 1, "prev": last, "run": "r1", "at": NOON, "by": "ann"}
    assert "after the end" in why_not([*LINES, json.dumps(more).encode()])[1]


def test_a_text_that_was_changed_is_noticed() -> None:
    for text in ("REASON", "rea", ""):
        lines, _ = with_other("thought.partial", text=text)
        number, sentence = why_not(lines)
        assert number > index_of("thought.partial") + 1 and "not the one that was finalized" in sentence


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("thought.partial", {"thought": "t\x1b[2J"}),
        ("thought.partial", {"agent": "hub"}),
        ("thought.partial", {"agent": "x/y"}),
        ("thought.partial", {"tokens": 10**400}),
        ("thought.partial", {"offset": 1}),
        ("thought.partial", {"at": -1.0}),
        ("thought.partial", {"at": 1e300}),
        ("thought.started", {"checkpoint": 1.5}),
        ("thought.started", {"stage": "nowhere"}),
        ("thought.finalized", {"thought": "other"}),
        ("thought.finalized", {"sha256": "0" * 64}),
        ("stage.started", {"stage": "\x1b]0;owned\x07"}),
        ("thought.partial", {"agent": "synthesizer"}),
        ("agent.joined", {"agent": "stranger"}),
        ("run.started", {"agents": json.loads(LINES[0])["agents"][1:]}),
        ("run.started", {"run": "../../etc"}),
        ("run.started", {"seq": 2**50}),
        ("run.started", {"seq": 0}),
        ("run.started", {"kind": "x\x1b[31m"}),
        ("run.started", {"kind": "run.started/hub/beat"}),
    ],
)
def test_what_no_hub_would_have_written(kind: str, fields: dict[str, Any]) -> None:
    lines, number = with_other(kind, **fields)
    assert why_not(lines)[0] == number


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_time_that_is_none(text: str) -> None:
    line = LINES[0].replace(f'"at":{json.loads(LINES[0])["at"]}'.encode(), f'"at":{text}'.encode())
    assert line != LINES[0]
    assert why_not([line])[0] == 1


# ---- whatever is taken can be served ---------------------------------------------------------------------------------


def serve(lines: list[bytes]) -> None:
    """What a hub and a viewer do with each event: neither may stumble over what was taken."""
    post, board = CentralPost(boot="b"), Board()
    for run in {json.loads(line)["run"] for line in lines}:
        board.follow(run)
    for line in lines:
        event = parse_event(line)
        post.apply(event)
        assert board.take(event) == [event]
        for run in post.runs.values():
            post.run_beat(run, event.at).encode()


ODD: list[Any] = [None, "", "t1", 0, -1, 2**60, 10**30, 0.5, [], {}, True, "critic", "synthesis", "é\u202e\x1b"]


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(place=st.integers(0, len(LINES) - 1), odd=st.sampled_from(ODD), data=st.data())
def test_a_recording_with_one_odd_value_is_refused_or_can_be_served(place: int, odd: Any, data: st.DataObject) -> None:
    value = json.loads(LINES[place])
    name = data.draw(st.sampled_from(sorted(value)))
    lines = [*LINES[:place], json.dumps(value | {name: odd}).encode(), *LINES[place + 1 :]]
    check = RecordingCheck()
    taken: list[bytes] = []
    try:
        for line in lines:
            check.take(line)
            taken.append(line)
    except BadRecording as error:
        assert str(error).isprintable()
    serve(taken)
