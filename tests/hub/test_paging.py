"""Long answers in pages, against a real log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from felixhub.core.board import Board
from felixhub.core.central_post import CentralPost
from felixhub.core.events import Event, ThoughtPartial, WorkerInfo, parse_event
from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.core.messages import Hello, Page, Partial, SnapshotText, Start
from felixhub.core.workflow import Card, Stage, Workflow
from felixhub.eventlog import Record
from felixhub.eventlog.sqlite import SqliteLog
from felixhub.hub.paging import Frames, Pager, Pages, replay_pages, snapshot_pages

LIMITS = DEFAULT_LIMITS


class Desk:
    """A CentralPost with a log behind it: what a hub is without its sockets."""

    def __init__(self, log: SqliteLog) -> None:
        self.log = log
        self.post = CentralPost(boot="boot", limits=LIMITS)
        workflow = Workflow(name="one", stages=(Stage(name="a", agent="a"),))
        self.take(self.post.start(Start(id="r", task="t", workflow=workflow, agents=(Card(name="a"),)), 1.0).events)
        hello = Hello(worker=WorkerInfo(session="s"), agents=("a",))
        self.take(self.post.decide(hello, "s", 1.0).events)
        self.post.observe(hello, "s", 1.0)
        while events := self.post.advance(1.0).events:
            self.take(events)
        self.thought = next(iter(self.post.runs["r"].thoughts))

    def take(self, events: list[Event]) -> None:
        for event in events:
            self.post.apply(event)
        if events:
            self.log.commit(
                [Record(e.run, e.seq, e.thought if isinstance(e, ThoughtPartial) else None, e.encode()) for e in events]
            )

    def write(self, text: str) -> list[Event]:
        length = len(self.post.runs["r"].thoughts[self.thought].text)
        message = Partial(thought=self.thought, offset=length, text=text)
        events = self.post.decide(message, "s", 2.0).events
        self.take(events)
        return events

    def snapshot(self) -> Pages:
        run = self.post.runs["r"]
        return snapshot_pages(self.log, name="n", boot="boot", run=run, position=run.last_seq, limits=LIMITS)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    log = SqliteLog.open(tmp_path / "data")
    yield Desk(log)
    log.close()


def loaded(pages: list[Frames]) -> Board:
    marks, texts = [], []
    for page in pages:
        for line in (page.lines or b"").split(b"\n"):
            if line.startswith(b'{"kind":"snapshot.text"'):
                texts.append(SnapshotText.model_validate_json(line))
            elif line:
                marks.append(parse_event(line))
    last = pages[-1].header
    assert isinstance(last, Page)
    assert last.last
    board = Board()
    board.follow("r")
    board.load("r", marks=marks, texts=texts, position=last.through)
    return board


def text_of(board: Board, thought: str) -> str:
    held = board.thought("r", thought)
    assert held is not None
    return str(held.text)


def test_a_snapshot_is_of_its_position_however_late_its_pages_are_made(desk: Desk) -> None:
    desk.write("one ")
    pages = desk.snapshot()
    later = desk.write("two")
    board = loaded([page for page in pages if page is not None])
    assert text_of(board, desk.thought) == "one "
    for event in later:
        board.take(event)
    assert text_of(board, desk.thought) == "one two"


def test_a_snapshot_never_splits_a_character(desk: Desk) -> None:
    text = "aé漢🙂" * 9_000
    for start in range(0, len(text), 5_000):
        desk.write(text[start : start + 5_000])
    pages = [page for page in desk.snapshot() if page is not None]
    assert text_of(loaded(pages), desk.thought) == text


def test_a_replay_is_the_stored_bytes(desk: Desk) -> None:
    for number in range(3_000):
        desk.write(f"{number} ")
    run = desk.post.runs["r"]
    pages = replay_pages(desk.log, name="n", boot="boot", run="r", after=0, through=run.last_seq, limits=LIMITS)
    taken = [page for page in pages if page is not None]
    lines = [line for page in taken for line in (page.lines or b"").split(b"\n")]
    assert [parse_event(line).seq for line in lines] == list(range(1, run.last_seq + 1))
    assert len(taken) > 1
    assert max(len(page.lines or b"") for page in taken) <= LIMITS.page_bytes_max
    stored = desk.log.read("r", after=0, through=run.last_seq, rows_max=10_000, bytes_max=10**9)
    assert lines == [record.body for record in stored]


def test_jobs_take_turns_and_a_full_client_gets_the_same_page_again(desk: Desk) -> None:
    for _ in range(5):
        desk.write("x" * 60_000)
    pager = Pager(LIMITS)
    assert pager.add(b"one", "r1", desk.snapshot(), 0.0)
    assert pager.add(b"two", "r2", desk.snapshot(), 0.0)
    first = pager.next_page(0.0)
    assert first is not None
    pager.refused(*first)
    second = pager.next_page(0.0)
    assert second is not None
    assert second[0].identity == b"two"
    pager.sent(second[0], 0.0)
    again = pager.next_page(0.0)
    assert again is not None
    assert again[1] is first[1]


def test_a_client_that_takes_nothing_is_given_up(desk: Desk) -> None:
    pager = Pager(LIMITS)
    pager.add(b"one", "r1", desk.snapshot(), 0.0)
    stuck = pager.next_page(0.0)
    assert stuck is not None
    pager.refused(*stuck)
    assert pager.next_page(31.0) is None
    assert len(pager) == 0


def test_no_more_jobs_than_the_limit(desk: Desk) -> None:
    pager = Pager(LIMITS)
    for number in range(LIMITS.pages_open_max):
        assert pager.add(b"one", f"r{number}", desk.snapshot(), 0.0)
    assert not pager.add(b"two", "r", desk.snapshot(), 0.0)
    assert pager.add(b"one", "r0", desk.snapshot(), 0.0), "the same request again takes its own place"
