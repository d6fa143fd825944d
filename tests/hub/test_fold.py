"""Folding the log at a start: one run that cannot be read does not keep the others from going on."""

from __future__ import annotations

import json
from pathlib import Path

from felixhub.core.events import RunStarted
from felixhub.core.limits import Limits
from felixhub.core.workflow import Card, RunSettings, Stage, Workflow
from felixhub.eventlog import Record
from felixhub.eventlog.sqlite import SqliteLog
from felixhub.hub.loop import fold_log


def started(run: str, seq: int) -> bytes:
    workflow = Workflow(name="w", stages=(Stage(name="think", agent="a"),))
    event = RunStarted(
        seq=seq,
        prev=0,
        run=run,
        at=1.0,
        task="Why?",
        workflow=workflow,
        agents=(Card(name="a"),),
        settings=RunSettings(),
    )
    return event.encode()


def paused(run: str, seq: int, prev: int) -> bytes:
    return json.dumps({"kind": "run.paused", "seq": seq, "prev": prev, "run": run, "at": 2.0, "by": "ann"}).encode()


def test_a_run_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path)
    log.start_boot("boot1")
    log.commit(
        [
            Record("good", 1, None, started("good", 1)),
            Record("bad", 2, None, started("bad", 2).replace(b'"retries_max":2', b'"retries_max":99')),
            Record("bad", 3, None, paused("bad", 3, 2)),
            Record("late", 4, None, started("late", 4)),
            Record("good", 5, None, paused("good", 5, 1)),
            Record("late", 6, None, b'{"kind":"run.paused"}'),
        ]
    )
    post = fold_log(log, boot="boot1", limits=Limits())
    log.close()
    assert list(post.runs) == ["good"]
    assert post.runs["good"].paused is not None
    assert post.tip == 6
