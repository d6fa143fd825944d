"""The check of the check: it must find out a hub that publishes before it commits."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Eye, Place
from verdict import faults_of, faults_of_record

pytestmark = pytest.mark.long


def test_a_hub_that_publishes_before_it_commits_is_found_out(place: Place) -> None:
    place.start_hub(script="mutant_hub.py", FAULT_TURN="40")
    mutant = place.the_hub
    place.start_team()
    run = place.start_run(1, pieces=40)
    watchers = place.watch(run, "early", "late")
    with Eye(place, run) as eye:
        eye.wait_for("thought.partial", count=10)
        assert mutant.wait(30.0) == -signal.SIGKILL
        place.start_hub(script="mutant_hub.py")  # It lives this time.
        eye.wait_for_end()
    assert watchers.wait(60.0) == 0, watchers.said()
    log = place.log_of(run)
    faults = faults_of_record(place.records, run, "early", log, place.truth)
    assert [fault for fault in faults if "starts over" in fault], faults
    assert [fault for fault in faults if "came twice" in fault], faults
    assert faults_of(log, place.truth) == []  # The log itself is sound: only who watched was told what never was.


# One fault in a sound story, and what it must be called: every check of `verdict.py` is seen to fail.

SAID = "Öl "
Story = list[dict[str, Any]]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    (tmp_path / "t2.txt").write_text(SAID, encoding="utf-8")
    final = {
        "length": len(SAID.encode()),
        "sha256": hashlib.sha256(SAID.encode()).hexdigest(),
        "reasoning_length": 0,
        "reasoning_sha256": hashlib.sha256(b"").hexdigest(),
    }
    events: Story = [
        {"kind": "run.started"},
        {"kind": "thought.started", "thought": "t2", "stage": "a"},
        {"kind": "thought.partial", "thought": "t2", "channel": "text", "offset": 0, "text": SAID},
        {"kind": "thought.finalized", "thought": "t2", **final},
        {"kind": "synthesis.finished", "thought": "t2"},
        {"kind": "run.finished", "result": SAID},
    ]
    return [{**event, "seq": number + 1, "prev": number} for number, event in enumerate(events)]


def told(story: Story, truth: Path) -> str:
    return "\n".join(faults_of([json.dumps(event).encode() for event in story], truth))


def test_a_sound_story_has_no_fault(story: Story, tmp_path: Path) -> None:
    assert told(story, tmp_path) == ""


FAULTS: dict[str, Callable[[Story], object]] = {
    "seq 3 (thought.partial) came twice": lambda s: s.insert(3, s[2]),
    "seq 4 follows 3, but 2 was the last to come": lambda s: s.pop(2),
    "t2: its texts are not what was finalized": lambda s: s[2].update(text="Ol "),
    "t2: its texts are not what the agent said": lambda s: s[2].update(text="x"),
    "t2: text for 1 came at 0": lambda s: s[2].update(offset=1),
    "t2: 4 bytes came, finalized were 7": lambda s: s[3].update(length=7),
    "t2: abandoned at 1, 4 bytes came": lambda s: s[3].update(kind="thought.abandoned", length=1),
    "the run's result is not what its synthesizer said": lambda s: s[5].update(result="x"),
    "the run should end once, last and as run.finished: []": lambda s: s.pop(),
    "the run should end once, last and as run.finished: ['run.finished', ": lambda s: s.append(s[5]),
    "2 × synthesis.finished": lambda s: s.append(s[4]),
    "2 × thought.started t2": lambda s: s.insert(2, s[1]),
    "1 thoughts were started, 0 ended": lambda s: s.pop(3),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_called_by_its_name(story: Story, tmp_path: Path, fault: str) -> None:
    FAULTS[fault](story)
    assert fault in told(story, tmp_path)


def test_a_text_that_the_agent_never_said_is_found(story: Story, tmp_path: Path) -> None:
    (tmp_path / "t2.txt").write_text("other", encoding="utf-8")
    assert "its texts are not what the agent said" in told(story, tmp_path)
    story[3].update(kind="thought.abandoned")
    assert "abandoned with a text that the agent never said" in told(story, tmp_path)
