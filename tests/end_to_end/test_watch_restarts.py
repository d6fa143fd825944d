"""`felixhub watch` goes on across a killed hub, a killed worker and the next run, in every form, no word twice."""

from __future__ import annotations

import math
import signal

from shell import MEMO, TASK, Shell, until
from texts import check_chain, of_kind

from felixhub.core.events import RunStarted, parse_event
from felixhub.llm.offline import OfflineModel


def test_following_across_restarts_of_hub_worker_and_run(shell: Shell, model: OfflineModel) -> None:
    model.tokens_per_s, model.first_token_s = 10.0, 0.0
    hub = shell.start("hub")
    hub.until_printed("hub_started", err=True)
    agent = shell.start("agent", "research")
    asked = ("run", TASK, "--file", MEMO, "--workflow", "solo", "--llm", model.base_url, "--detach")
    first = shell.run(*asked).lines[0]
    watching = {
        "compact": shell.start("watch", "--compact"),
        "text": shell.start("watch", "-t", "--ascii"),
        "json": shell.start("watch", "-o", "json", "--tail", "all"),
        "since": shell.start("watch", "-o", "json", "--since", "1h"),
        "filtered": shell.start("watch", "--compact", "-i", "tokens", "-i", "run .* started", "-e", "run finished"),
    }
    shell.until_event(first, "thought.partial")
    for name, command in watching.items():  # All are there before the hub goes.
        command.until_printed("thought.partial" if name in ("json", "since") else f"run {first} started")

    hub.kill()
    for command in watching.values():
        command.until_printed("the hub is away", err=True)
    hub = shell.start("hub")
    for command in watching.values():
        command.until_printed("the hub is back", err=True)
    agent.kill()
    agent = shell.start("agent", "research")
    shell.until_event(first, "thought.started", attempt=2, seconds=60.0)
    model.tokens_per_s = math.inf
    until(lambda: shell.status(first) == "finished", 60.0, "the first run ends")
    second = shell.run(*asked).lines[0]
    until(lambda: shell.status(second) == "finished", 60.0, "the second run ends")
    for name in ("compact", "text"):
        watching[name].until_printed("export" if name == "compact" else "result")
        until(lambda n=name: watching[n].out.count(b"run finished") == 2, 30.0, f"{name} has seen both")  # type: ignore[misc]
    exported = (
        shell.run("export", first, "--format", "jsonl").out + shell.run("export", second, "--format", "jsonl").out
    )
    for name in ("json", "since"):
        until(lambda n=name: len(watching[n].out) >= len(exported), 30.0, f"{name} has all")  # type: ignore[misc]
    done = {}
    for name, command in watching.items():
        command.interrupt()
        done[name] = command.wait()
        assert done[name].code == 130
        said = [line for line in done[name].err.splitlines() if line]
        assert said == ["felixhub: the hub is away; waiting for it", "felixhub: the hub is back"], name
    agent.signal(signal.SIGTERM)
    hub.signal(signal.SIGTERM)

    assert done["json"].out == done["since"].out == exported
    events = [parse_event(line) for line in exported.splitlines()]
    for run in (first, second):
        check_chain([event for event in events if event.run == run])
    assert len(of_kind(events, RunStarted)) == 2
    lines = done["compact"].lines
    assert [line.split()[1] for line in lines if " ✓ " in line] == ["research", "hub", "research", "hub"]
    assert sum("▸ run" in line for line in lines) == 2
    assert any("attempt 2" in line for line in lines), "that it was begun again is news"
    assert all(line.isascii() and line[:2] in ("[+", "--", "  ", "") for line in _ours(done["text"].lines))
    assert [line.split()[1] for line in done["filtered"].lines] == ["hub", "research", "hub", "research"]


def _ours(lines: list[str]) -> list[str]:
    """Without what the model wrote, which is not made ASCII."""
    return [line for line in lines if " | " not in line and not line.startswith("  ") and line]
