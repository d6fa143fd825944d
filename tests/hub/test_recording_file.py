"""Recordings in files: whoever's they are, what is wrong is said with its line, and nothing is held that is large."""

from __future__ import annotations

import os
import re
import tracemalloc
from pathlib import Path

import pytest

from felixhub.core.central_post import CentralPost
from felixhub.core.errors import ConfigError
from felixhub.core.events import Event, WorkerInfo
from felixhub.core.messages import Hello, Partial, Start
from felixhub.core.workflow import Card, Stage, Workflow
from felixhub.hub.recording_file import LINE_BYTES_MAX, check_recording, recorded_events

KIB = 1024


def unfinished(partials: int = 3, text: str = "Blue. ") -> list[bytes]:
    """A run that is still being written, as a hub has it in its log."""
    post, told = CentralPost(boot="boot"), []

    def take(events: list[Event]) -> None:
        for event in events:
            post.apply(event)
            told.append(event.encode())

    workflow = Workflow(name="one", stages=(Stage(name="a", agent="a"),))
    take(post.start(Start(id="r", task="t", workflow=workflow, agents=(Card(name="a"),)), 1.0).events)
    hello = Hello(worker=WorkerInfo(session="s"), agents=("a",))
    take(post.decide(hello, "s", 1.0).events)
    post.observe(hello, "s", 1.0)
    while events := post.advance(1.0).events:
        take(events)
    (thought,) = post.runs["r"].thoughts
    for number in range(partials):
        message = Partial(thought=thought, offset=number * len(text.encode()), text=text)
        take(post.decide(message, "s", 2.0 + number).events)
    return told


LINES = unfinished()


def written(folder: Path, data: bytes) -> Path:
    file = folder / "run.jsonl"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n  \n"])
@pytest.mark.parametrize("last", [True, False])
def test_its_bytes_come_out_as_they_were(tmp_path: Path, end: bytes, last: bool) -> None:
    recording = check_recording(written(tmp_path, end.join(LINES) + (end if last else b"")))
    assert (recording.run, recording.events, recording.is_ended, recording.cut_line) == ("r", len(LINES), False, None)
    assert [event.raw for event in recorded_events(recording)] == LINES


def test_a_last_line_that_breaks_off_is_left_out(tmp_path: Path) -> None:
    for length in range(1, len(LINES[-1])):
        recording = check_recording(written(tmp_path, b"\n".join(LINES)[: -len(LINES[-1]) + length]))
        assert (recording.events, recording.cut_line) == (len(LINES) - 1, len(LINES))
        assert [event.raw for event in recorded_events(recording)] == LINES[:-1]


@pytest.mark.parametrize(
    ("data", "where", "words"),
    [
        (b"", "", "there is nothing in it"),
        (b"\n\n \n", "", "there is nothing in it"),
        (b'{"kind":', ":1", "export RUN --format jsonl"),
        (b"\x1f\x8b\x08" + bytes(range(256)), ":1", "not an event"),
        (b"\xef\xbb\xbf" + b"\n".join(LINES), ":1", "not an event"),
        (b"\n".join([*LINES[:2], b"", b"{", *LINES[2:]]), ":4", "not an event"),
        (b"\n".join([*LINES[:3], LINES[2]]) + b"\n", ":4", "doubled"),
        (b"\n".join([*LINES[:3], LINES[2]]), ":4", "doubled"),
        (b"[" + b",\n".join(LINES) + b"]", ":1", "not an event"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, data: bytes, where: str, words: str) -> None:
    file = written(tmp_path, data)
    with pytest.raises(ConfigError, match=re.escape(f"{file}{where}: ")) as caught:
        check_recording(file)
    assert words in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the recording"):
        check_recording(tmp_path / "none.jsonl")
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(ConfigError, match="no ordinary file"):
            check_recording(file)


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    file = written(tmp_path, b"\n".join(LINES) + b"\n")
    with file.open("r+b") as opened:
        opened.truncate(20 * LINE_BYTES_MAX)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match=rf"run.jsonl:{len(LINES) + 1}: this line has more than"):
            check_recording(file)
        assert tracemalloc.get_traced_memory()[1] < 4 * LINE_BYTES_MAX
    finally:
        tracemalloc.stop()


def test_a_file_that_was_changed_since_it_was_checked(tmp_path: Path) -> None:
    file = written(tmp_path, b"\n".join(LINES) + b"\n")
    recording = check_recording(file)
    file.write_bytes(b"\n".join(LINES[:-1]) + b"\n")
    events = recorded_events(recording)
    with pytest.raises(ConfigError, match="changed while it was played"):
        list(events)
    file.write_bytes(b"\n".join([*LINES[:2], b"{}", *LINES[3:]]) + b"\n")
    with pytest.raises(ConfigError, match=r"run.jsonl:3: .*changed while it was played"):
        list(recorded_events(recording))


def test_a_file_that_grows_is_played_as_far_as_it_was_checked(tmp_path: Path) -> None:
    more = unfinished(partials=9)
    file = written(tmp_path, b"\n".join(more[: len(LINES)]) + b"\n")
    recording = check_recording(file)
    file.write_bytes(b"\n".join(more) + b"\n")
    assert [event.raw for event in recorded_events(recording)] == more[: len(LINES)]
