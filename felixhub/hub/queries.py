"""What clients ask and what changes nothing: hello, runs, snapshot, replay, text, and answers to long-past commands.

Owns: reading the log for clients and checking their positions. Must not: change memory, or read without a bound.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from felixhub.core.approval import awaiting
from felixhub.core.central_post import CentralPost
from felixhub.core.commands import repeat_command
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import (
    CommandAccepted,
    Event,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunStarted,
    parse_event,
)
from felixhub.core.grant import Grant
from felixhub.core.limits import Limits
from felixhub.core.messages import (
    PROTOCOL_VERSION,
    RUNS_LISTED_MAX,
    ClientHello,
    ControlRequest,
    Failed,
    Ok,
    Replay,
    RunCommand,
    Runs,
    Shutdown,
    Snapshot,
    Start,
    Text,
)
from felixhub.core.run import Done
from felixhub.core.starting import repeat_start
from felixhub.eventlog import Boot, EventLog, RunRow
from felixhub.hub.paging import Pager, Pages, replay_pages, snapshot_pages, text_pages
from felixhub.version import __version__

TASK_CHARACTERS_MAX = 200
MARKS_ROWS = 2_000


class Queries:
    def __init__(
        self,
        *,
        log: EventLog,
        boots: tuple[Boot, ...],
        endpoints: Callable[[bytes], dict[str, str]],
        pager: Pager,
        limits: Limits,
    ) -> None:
        """`endpoints`: the addresses to tell a client, by its identity."""
        self._log = log
        self._boots = boots
        self._endpoints = endpoints
        self._pager = pager
        self._limits = limits
        self._ended_rows: dict[str, dict[str, Any]] = {}

    def forget(self, run: str) -> None:
        self._ended_rows.pop(run, None)

    def answer(
        self,
        request: ControlRequest,
        identity: bytes,
        grant: Grant | None,
        post: CentralPost,
        now: float,
        counters: Counter[str],
    ) -> Ok | Failed | None:
        """The answer, or None when it comes in pages. Raises ProtocolViolation."""
        match request:
            case ClientHello():
                return self._hello(request, identity, post, counters)
            case Runs():
                return Ok(id=request.id, data={"runs": self._run_rows(request, grant, post, now)})
            case Replay():
                pages = self._replay(request, post)
            case Snapshot():
                pages = self._snapshot(request, post)
            case Text():
                found = self._text(request, post)
                if isinstance(found, Ok):
                    return found
                pages = found
            case _:
                raise AssertionError(f"{request.type} is a command")
        if not self._pager.add(identity, request.id, pages, now, about=_about(request)):
            raise ProtocolViolation("busy", f"{len(self._pager)} long answers are under way: ask again in a moment")
        return None

    def goodbye(self, request: Shutdown) -> Ok:
        return Ok(id=request.id)

    def _hello(self, request: ClientHello, identity: bytes, post: CentralPost, counters: Counter[str]) -> Ok:
        if request.version != PROTOCOL_VERSION:
            raise ProtocolViolation(
                "version",
                f"this hub speaks version {PROTOCOL_VERSION} of the protocol, the client {request.version}: "
                "use the same version of felixhub on both sides",
                field="version",
            )
        data = {
            "version": PROTOCOL_VERSION,
            "felixhub": __version__,
            "boot": post.boot,
            "tip": post.tip,
            "pid": os.getpid(),
            "endpoints": self._endpoints(identity),
            "open_thoughts": post.open_thoughts,
            "counters": dict(sorted(counters.items())),
        }
        return Ok(id=request.id, data=data)

    # ---- runs --------------------------------------------------------------------------------------------------------

    def _run_rows(self, request: Runs, grant: Grant | None, post: CentralPost, now: float) -> list[dict[str, Any]]:
        rows = [row for row in self._log.runs() if grant is None or grant.may_read(row.run)]
        if request.before is not None:
            places = [place for place, row in enumerate(rows) if row.run == request.before]
            if not places:
                raise ProtocolViolation("unknown_run", f"there is no run '{request.before}'", field="before")
            rows = rows[: places[0]]
        return [self._run_row(row, post, now) for row in rows[-RUNS_LISTED_MAX:]]

    def _run_row(self, row: RunRow, post: CentralPost, now: float) -> dict[str, Any]:
        run = post.runs.get(row.run)
        if run is not None:
            told = _told(run.started, run.status) | {
                "agents": list(run.cards),
                "open": [thought.started.agent for thought in run.open_thoughts()],
                "awaiting": [] if run.ended else awaiting(run),
                "degraded": isinstance(run.ended, RunFinished) and bool(run.ended.degraded),
            }
        else:
            if row.run not in self._ended_rows:
                self._ended_rows[row.run] = self._ended_row(row)
            told = self._ended_rows[row.run]
        ended_s_ago = None if row.ended_at is None else round(max(0.0, now - row.ended_at), 1)
        return told | {"run": row.run, "seq": row.last_seq, "bytes": row.bytes, "ended_s_ago": ended_s_ago}

    def _ended_row(self, row: RunRow) -> dict[str, Any]:
        first = self._one(row.run, row.first_seq)
        last = self._last(row)
        status = "unfinished"
        if isinstance(last, RunFinished | RunFailed | RunCancelled):
            status = last.kind.removeprefix("run.")
        if not isinstance(first, RunStarted):
            return {"status": status}
        return _told(first, status) | {
            "agents": [card.name for card in first.agents],
            "open": [],
            "awaiting": [],
            "degraded": isinstance(last, RunFinished) and bool(last.degraded),
        }

    def _last(self, row: RunRow) -> Event | None:
        return self._one(row.run, row.last_seq)

    def _one(self, run: str, seq: int) -> Event | None:
        records = self._log.read(run, after=seq - 1, through=seq, rows_max=1, bytes_max=self._limits.page_bytes_max)
        try:
            return parse_event(records[0].body) if records else None
        except ProtocolViolation:
            return None  # It stays listed, as unreadable; the hub's log says why.

    def has(self, run: str) -> bool:
        """Whether the log has this run."""
        return self._row(run) is not None

    def _row(self, run: str) -> RunRow | None:
        return next((row for row in self._log.runs() if row.run == run), None)

    # ---- long answers ------------------------------------------------------------------------------------------------

    def _replay(self, request: Replay, post: CentralPost) -> Pages:
        self._check_position(request, post)
        through = self._last_seq(request.run, post, gone="gone" if request.after else "unknown_run")
        if request.after > through:
            raise ProtocolViolation("reset", f"run '{request.run}' ends at {through}: start over", field="after")
        return replay_pages(
            self._log,
            name=request.id,
            boot=post.boot,
            run=request.run,
            after=request.after,
            through=through,
            limits=self._limits,
        )

    def _check_position(self, request: Replay, post: CentralPost) -> None:
        """A position is known when its boot is, and the seq was there before the next boot began."""
        if request.after == 0:
            return
        ends = {
            boot.boot: (self._boots[index + 1].first_seq - 1 if index + 1 < len(self._boots) else post.tip)
            for index, boot in enumerate(self._boots)
        }
        end = ends.get(request.boot or "")
        if end is None or request.after > end:
            raise ProtocolViolation(
                "reset", "the hub's log is not the one this position comes from: start over", field="boot"
            )

    def _last_seq(self, run: str, post: CentralPost, *, gone: str = "unknown_run") -> int:
        known = post.runs.get(run)
        if known is not None:
            return known.last_seq
        row = self._row(run)
        if row is None:
            raise ProtocolViolation(gone, f"there is no run '{run}' on this hub: `felixhub ps` lists them", field="run")
        return row.last_seq

    def _snapshot(self, request: Snapshot, post: CentralPost) -> Pages:
        run = post.runs.get(request.run)
        if run is not None:
            return snapshot_pages(
                self._log, name=request.id, boot=post.boot, run=run, position=run.last_seq, limits=self._limits
            )
        # A run that ended long ago is only in the log; its whole story is a snapshot too.
        return replay_pages(
            self._log,
            name=request.id,
            boot=post.boot,
            run=request.run,
            after=0,
            through=self._last_seq(request.run, post),
            limits=self._limits,
        )

    def _text(self, request: Text, post: CentralPost) -> Ok | Pages:
        run = post.runs.get(request.run)
        if run is None:
            through = self._last_seq(request.run, post)
            return text_pages(
                self._log,
                name=request.id,
                run=request.run,
                thought=request.thought,
                channel=request.channel,
                through=through,
            )
        thought = run.thoughts.get(request.thought)
        if thought is None:
            raise ProtocolViolation(
                "unknown_thought", f"run '{run.id}' has no thought '{request.thought}'", field="thought"
            )
        buffer = thought.buffer(request.channel)
        return Ok(id=request.id, data={"text": str(buffer), "length": len(buffer), "seq": run.last_seq})

    # ---- commands to runs that have left memory ----------------------------------------------------------------------

    def past_start(self, request: Start) -> Ok | Failed | None:
        """The answer to a repeated start of a run that ended long ago; None when there is no such run."""
        row = self._row(request.id)
        first = self._one(row.run, row.first_seq) if row else None
        if not isinstance(first, RunStarted):
            return None
        return repeat_start(first, request)

    def result_of(self, run: str, post: CentralPost) -> str:
        """The result of a run that finished. Raises ProtocolViolation."""
        known = post.runs.get(run)
        if known is not None:
            ended: Event | None = known.ended
        else:
            row = self._row(run)
            if row is None:
                raise ProtocolViolation(
                    "unknown_run", f"there is no run '{run}' to continue: `felixhub ps` lists them", field="after"
                )
            ended = self._last(row)
        if not isinstance(ended, RunFinished):
            status = ended.kind.removeprefix("run.") if ended else "not at its end"
            raise ProtocolViolation(
                "no_result", f"run '{run}' is {status}: it has no result to go on from", field="after"
            )
        return ended.result

    def past_command(self, request: RunCommand) -> Ok | Failed | None:
        """The answer to a command for a run that is only in the log; None when there is no such run."""
        row = self._row(request.run)
        if row is None:
            return None
        for event in self._marks(row):
            if isinstance(event, CommandAccepted) and event.id == request.id:
                return repeat_command(request, Done(event.name, event.args, event.reply))
        sentence = f"run '{request.run}' has ended already"
        return Failed(id=request.id, code="run_ended", sentence=sentence, field="run")

    def _marks(self, row: RunRow) -> Iterator[Event]:
        after = 0
        while records := self._log.read_marks(
            row.run,
            after=after,
            through=row.last_seq,
            rows_max=MARKS_ROWS,
            bytes_max=self._limits.page_bytes_max,
        ):
            for record in records:
                yield parse_event(record.body)
            after = records[-1].seq


def _about(request: Replay | Snapshot | Text) -> str:
    """What a long answer is about: asking for it again, under another id, replaces the earlier one."""
    parts = [request.type, request.run]
    if isinstance(request, Text):
        parts += [request.thought, request.channel]
    return " ".join(parts)


def _told(started: RunStarted, status: str) -> dict[str, Any]:
    """What a list of runs says of one."""
    task = started.task
    if len(task) > TASK_CHARACTERS_MAX:
        task = task[: TASK_CHARACTERS_MAX - 1] + "…"
    return {"task": task, "workflow": started.workflow.name, "status": status, "started_at": started.at}
