"""Long answers in pages: replays, snapshots and old texts, one page a turn, so that the live path never waits.

Owns: what is under way for which client. Must not: block, or hold more than one page of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from felixhub.core.batcher import Channel
from felixhub.core.events import ThoughtPartial, parse_event
from felixhub.core.limits import Limits
from felixhub.core.messages import Failed, Message, Ok, Page, SnapshotText
from felixhub.core.run import Run
from felixhub.core.thought import TextBuffer
from felixhub.eventlog import EventLog
from felixhub.failpoint import failpoint

ROWS_MAX = 2_000  # looked at for one page
PIECE_BYTES_MAX = 64 * 1024
STUCK_S_MAX = 30.0  # a client that takes no page for this long is given up


class Frames(NamedTuple):
    """What one page sends: the header and its lines."""

    header: Message
    lines: bytes | None = None

    def encode(self) -> list[bytes]:
        return [self.header.encode()] if self.lines is None else [self.header.encode(), self.lines]


Pages = Iterator[Frames | None]  # None: a turn's work was done and nothing is ready to be sent yet


@dataclass(slots=True)
class Job:
    """One long answer. `about`: what it answers, whatever the id. `unsent`: a page that the client had no room for."""

    identity: bytes
    id: str
    about: str
    pages: Pages
    progress_at: float
    unsent: Frames | None = None


class Pager:
    """The long answers under way, served in turn."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._jobs: list[Job] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, identity: bytes, name: str, pages: Pages, now: float, *, about: str = "") -> bool:
        """Take on a job; False when too many are under way. A client's new job about the same replaces its old one."""
        about = about or name
        self._jobs = [job for job in self._jobs if (job.identity, job.about) != (identity, about)]
        if len(self._jobs) >= self._limits.pages_open_max:
            return False
        self._jobs.append(Job(identity, name, about, pages, now))
        return True

    def give_up(self) -> list[tuple[bytes, str]]:
        """Drop everything; returns whose request it was, and its id, so that they can be told."""
        jobs, self._jobs = self._jobs, []
        return [(job.identity, job.id) for job in jobs]

    def drop(self, identity: bytes) -> None:
        """The client is gone."""
        self._jobs = [job for job in self._jobs if job.identity != identity]

    def next_page(self, now: float) -> tuple[Job, Frames] | None:
        """One page of the job whose turn it is, at most one unit of work. None when there is nothing to send."""
        if not self._jobs:
            return None
        job = self._jobs.pop(0)
        if now - job.progress_at > STUCK_S_MAX:
            return None
        if job.unsent is not None:
            return job, job.unsent
        failpoint("hub.while_paging")
        try:
            page = next(job.pages)
        except StopIteration:
            return None
        if page is None:
            job.progress_at = now
            self._jobs.append(job)
            return None
        return job, page

    def sent(self, job: Job, now: float) -> None:
        """The page went out: the job goes to the end of the queue."""
        job.unsent = None
        job.progress_at = now
        self._jobs.append(job)

    def refused(self, job: Job, page: Frames) -> None:
        """The client had no room: the same page is tried again when the job's turn comes."""
        job.unsent = page
        self._jobs.append(job)


def replay_pages(log: EventLog, *, name: str, boot: str, run: str, after: int, through: int, limits: Limits) -> Pages:
    """The stored events of a run with `after < seq <= through`, byte for byte."""
    while True:
        # A line end for each record besides.
        bytes_max = limits.page_bytes_max - ROWS_MAX
        records = log.read(run, after=after, through=through, rows_max=ROWS_MAX, bytes_max=bytes_max)
        after = records[-1].seq if records else through
        last = after >= through
        yield Frames(
            Page(id=name, run=run, boot=boot, through=after, last=last), b"\n".join(record.body for record in records)
        )
        if last:
            return


def snapshot_pages(log: EventLog, *, name: str, boot: str, run: Run, position: int, limits: Limits) -> Pages:
    """A run in memory as of `position`: its events but the partials, then the text of each thought.

    Texts only grow and lengths are taken now, so what is added later lies beyond the position.
    """
    texts = [
        _Text(thought.id, channel, buffer, len(buffer), thought.tokens, thought.first_at, thought.last_token_at)
        for thought in run.thoughts.values()
        for channel, buffer in thought.buffers()
    ]
    return _snapshot_pages(log, name=name, boot=boot, run=run.id, texts=texts, position=position, limits=limits)


class _Text(NamedTuple):
    """One channel of one thought, as long as it was at the snapshot's position."""

    thought: str
    channel: Channel
    buffer: TextBuffer
    length: int
    tokens: int
    first_at: float | None
    last_at: float | None


def _snapshot_pages(
    log: EventLog, *, name: str, boot: str, run: str, texts: list[_Text], position: int, limits: Limits
) -> Pages:
    after = 0
    while after < position:
        records = log.read_marks(run, after=after, through=position, rows_max=ROWS_MAX, bytes_max=limits.page_bytes_max)
        if not records:
            break
        after = records[-1].seq
        lines = b"\n".join(record.body for record in records)
        yield Frames(Page(id=name, run=run, boot=boot, through=position, last=False), lines)
    page: list[bytes] = []
    size = 0
    for one in texts:
        for offset, text in _pieces(one.buffer, one.length):
            line = SnapshotText(
                thought=one.thought,
                channel=one.channel,
                offset=offset,
                text=text,
                tokens=one.tokens,
                first_at=one.first_at,
                last_at=one.last_at,
            ).encode()
            if page and size + len(line) > limits.page_bytes_max:
                yield Frames(Page(id=name, run=run, boot=boot, through=position, last=False), b"\n".join(page))
                page, size = [], 0
            page.append(line)
            size += len(line) + 1
    yield Frames(Page(id=name, run=run, boot=boot, through=position, last=True), b"\n".join(page))


def _pieces(buffer: TextBuffer, length: int) -> Iterator[tuple[int, str]]:
    """The first `length` bytes in pieces that end at a character."""
    start = 0
    while start < length:
        end = min(length, start + PIECE_BYTES_MAX)
        while end < length and buffer.data[end] & 0xC0 == 0x80:
            end -= 1
        yield start, bytes(buffer.data[start:end]).decode()
        start = end


def text_pages(log: EventLog, *, name: str, run: str, thought: str, channel: Channel, through: int) -> Pages:
    """The text of a thought that is only in the log, collected a bounded number of rows a turn."""
    parts: list[str] = []
    after = seq = 0
    while after < through:
        records, after = log.read_thought(run, thought, after=after, through=through, rows_max=ROWS_MAX)
        for record in records:
            event = parse_event(record.body)
            if isinstance(event, ThoughtPartial) and event.channel == channel:
                parts.append(event.text)
                seq = event.seq
        yield None
    text = "".join(parts)
    if not seq:
        sentence = f"run '{run}' has no {channel} of a thought '{thought}'"
        yield Frames(Failed(id=name, code="unknown_thought", sentence=sentence, field="thought"))
        return
    yield Frames(Ok(id=name, data={"text": text, "length": len(text.encode()), "seq": seq}))
