"""`felixhub watch` with a key that may not watch, or not this run: the hub's own words, not that there is no hub."""

from __future__ import annotations

import signal

from ports import free_ports
from shell import Shell

from felixhub.core.workflow import Card, Stage, Workflow


def test_a_key_that_may_not_watch_says_so(shell: Shell) -> None:
    address = f"tcp://127.0.0.1:{free_ports()}"
    hub = shell.start("hub", "--listen", address)
    hub.until_printed("hub_started", err=True)
    shell.run("keys", "new", "gpu", "--role", "worker")
    shell.run("keys", "new", "anna", "--role", "viewer", "--run", "memo-*")
    workflow = Workflow(name="one", stages=(Stage(name="one", agent="nobody"),))
    with shell.client() as client:
        for run in ("memo-1", "other-1"):
            client.start("Why?", workflow=workflow, agents=(Card(name="nobody"),), id=run)
    said = shell.run("watch", "--hub", "felixhub-gpu.json", code=2).complaint
    assert said == (
        "the key 'gpu' is a worker's key: it may write its agents' thoughts, not read or command; "
        "`felixhub keys new NAME --role viewer` makes one that may watch"
    )
    said = shell.run("watch", "--hub", "felixhub-anna.json", "--run", "other-1", code=2).complaint
    assert said == "there is no run 'other-1' on this hub: `felixhub ps` lists them", "as far as this key may know"
    done = shell.run("watch", "--hub", "felixhub-anna.json", "--no-follow")
    assert "run memo-1 started" in done.text
    done = shell.run("show", "latest", "--hub", "felixhub-anna.json")
    assert "memo-1 · running" in done.lines[0] and "--hub felixhub-anna.json" in done.lines[-1]
    said = shell.run("rm", "memo-1", "--yes", "--hub", "felixhub-anna.json", code=2).complaint
    assert said == "run 'memo-1' has not ended: `felixhub cancel memo-1` first"
    with shell.client() as client:
        client.cancel("memo-1")
    shell.until_event("memo-1", "run.cancelled")
    said = shell.run("rm", "memo-1", "--yes", "--hub", "felixhub-anna.json", code=2).complaint
    assert "is a viewer's key: it may read, not command" in said
    hub.signal(signal.SIGTERM)
    assert hub.wait().code == 0
