"""`--view json`: standard output is the log, to the byte, and nothing else."""

from __future__ import annotations

import json

from shell import MEMO, TASK, Shell
from texts import check_chain, thoughts

from felixhub.core.events import parse_event
from felixhub.llm.offline import OfflineModel


def test_every_event_once_in_order_and_as_the_hub_exports_it_later(shell: Shell, model: OfflineModel) -> None:
    arguments = (TASK, "--file", MEMO, "--llm", model.base_url, "--view", "json")
    done = shell.start_run_hub(*arguments).wait(60.0)
    assert done.code == 0, done.err
    assert done.out.endswith(b"\n")
    lines = done.out.splitlines()
    for line in lines:
        assert isinstance(json.loads(line), dict)
    events = [parse_event(line) for line in lines]
    check_chain(events)
    assert events[-1].kind == "run.finished"
    assert all(one.is_final for one in thoughts(events).values())
    shell.until_nothing_is_left()

    hub = shell.start("hub", "--pause-unfinished")
    assert shell.run("export", events[0].run, "--format", "jsonl").out == done.out
    hub.interrupt()
    assert hub.wait(30.0).code == 0
    shell.until_nothing_is_left()
