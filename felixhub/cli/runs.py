"""The commands about runs: start, list, pause, resume. Each is a client of the control socket.

Owns: how their answers look. Must not: know what happens to a run; that is the hub's.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from felixhub.cli.printing import print_json, print_table
from felixhub.cli.processes import finder, settings_for
from felixhub.client.runs import named as named
from felixhub.client.starting import Wishes, build_start, choose_endpoint
from felixhub.core.errors import ConfigError, Place
from felixhub.core.follower import Follower
from felixhub.transport.control import ControlClient, wait_for_hub
from felixhub.transport.subscriber import Subscription
from felixhub.views import wording
from felixhub.views.console import ConsoleOptions, Outcome, watch
from felixhub.views.safe_text import safe_line

EXIT_FAILED = 1
BUSY_SHOWN_MAX = 3  # agents in a table's row: the task is to be seen too
EXIT_DEGRADED = 4
NAME_CHARACTERS_MAX = 200  # of who gives a command

Hint = Callable[[str, str | None], str]  # from a run, and a section that cannot be approved, to what to type


def exit_code(outcome: Outcome) -> int:
    """0 ok, 1 failed or cancelled, 4 finished degraded."""
    match outcome.status:
        case "failed" | "cancelled":
            return EXIT_FAILED
        case "degraded":
            return EXIT_DEGRADED
    return 0


def view_run(
    subscription: Subscription,
    *,
    view: str,
    stop: Callable[[], bool] | None = None,
    hint: Hint | None = None,
) -> Outcome:
    """Show a run in the console, as JSON, or not at all, until it is done or `stop` says so.

    While it waits for a person, `hint` says on standard error what that person can do.
    """
    options = ConsoleOptions(mode="json" if view == "json" else "text", tail="all")
    waiting = Waiting(subscription.follower, hint) if hint else None

    def turn() -> bool:
        if waiting is not None:
            waiting.look()
        return stop is not None and stop()

    with subscription, contextlib.ExitStack() as stack:
        out = sys.stdout if view != "none" else stack.enter_context(open(os.devnull, "w"))  # noqa: PTH123
        return watch(subscription, options, out, stop=turn)


class Waiting:
    """Says what to do next when sections wait for a person: at the first, and when nothing else goes on any more."""

    def __init__(self, follower: Follower, hint: Hint) -> None:
        self._follower = follower
        self._hint = hint
        self._said: dict[str, set[str]] = {}  # by run; empty while there will be more

    def look(self) -> None:
        """To be called often; what has been said is said again only when more has been written since."""
        for run, beat in self._follower.beats.items():
            known = self._follower.board.runs.get(run)
            if known is None or known.ended or (not beat.awaiting and run not in self._said):
                continue
            busy = not beat.awaiting or any(one.thought for one in beat.agents)
            said = self._said.get(run)
            self._said[run] = set() if busy else set(beat.awaiting) | (said or set())
            if said is not None and (busy or said.issuperset(beat.awaiting)):
                continue
            waiting = [known.sections[name] for name in beat.awaiting if name in known.sections]
            whole = any(section.current is not None and section.current.whole for section in waiting)
            hint = self._hint(run, None if whole else beat.awaiting[0])
            print(f"{wording.progress(known)} · {hint}", file=sys.stderr, flush=True)


def waits_for_person(follower: Follower, run: str) -> bool:
    """Whether only a person can go on with this run now."""
    beat = follower.beats.get(run)
    return beat is not None and bool(beat.awaiting) and not any(one.thought for one in beat.agents)


def hint_for(*, command: str = "felixhub", hub: str = "") -> Hint:
    """What to type for a run that waits; `hub` is the option that names the hub."""

    def hint(run: str, section: str | None) -> str:
        if section is None:
            return f"{command} approve {run} --all{hub} · {command} sections {run}{hub}"
        # It has no whole text that could be approved.
        return " · ".join(f"{command} {verb} {run} {section}{hub}" for verb in ("regenerate", "edit", "cancel"))

    return hint


def say_end(outcome: Outcome, *, view: str) -> None:
    """Why the exit code will not be 0, on standard error, unless the console has just shown it to a person."""
    if view == "console" and sys.stdout.isatty():
        return
    match outcome.status:
        case "failed":
            sentence = f"the run failed: {outcome.error}"
        case "cancelled":
            sentence = f"the run was {outcome.error}"
        case "degraded":
            sentence = f"the result is degraded: {'; '.join(outcome.degraded)}"
        case _:
            return
    print(f"felixhub: {safe_line(sentence)}", file=sys.stderr, flush=True)


def check_out(file: Path | None) -> None:
    """Refuse a place for the result that cannot be written, before anything is thought. Raises ConfigError."""
    if file is None:
        return
    if file.is_dir():
        raise ConfigError("this is a folder: name a file in it", place=Place(str(file)))
    if not file.parent.is_dir():
        raise ConfigError(f"there is no folder {file.parent} to write the result into", place=Place(str(file)))
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise ConfigError("cannot write the result there: choose another file with --out", place=Place(str(file)))


def save_result(file: Path, result: str) -> None:
    """Write the result to the byte, and nothing else. Raises ConfigError."""
    try:
        file.write_bytes(result.encode())
    except OSError as error:
        raise ConfigError(f"cannot write the result: {error.strerror}", place=Place(str(file))) from None


def start_and_watch(
    *,
    task: str,
    workflow: str,
    files: Sequence[Path],
    llm: str | None,
    model: str | None,
    wishes: Wishes,
    hub: str | None,
    detach: bool,
    as_json: bool,
    out: Path | None,
) -> int:
    """`felixhub run`."""
    check_out(out)
    settings = settings_for(llm=llm, model=model)
    endpoint, found = choose_endpoint(settings, os.environ)
    start = build_start(settings, task=task, workflow=workflow, files=files, endpoint=endpoint, wishes=wishes)
    find = finder(settings, hub)
    wait_for_hub(find)  # Without a hub nothing is worth announcing.
    if found:
        print(found, file=sys.stderr)
    with ControlClient(find) as client:
        if start.after is not None:
            start = start.model_copy(update={"after": named(client, start.after, finished=True)})
        client.request(start)
    if detach:
        print(json.dumps({"run": start.id}) if as_json else start.id)
        return 0
    print(f"run {start.id}", file=sys.stderr)
    subscription = Subscription(start.id, hub=hub or settings.hub or settings.data_dir, until_done=True)
    view = "json" if as_json else "console"
    hint = hint_for(hub=f" --hub {shlex.quote(hub)}" if hub else "")
    outcome = view_run(subscription, view=view, hint=hint)
    if outcome.status is None and out is not None:
        # Nobody reads our output any more (`| head`), but somebody wants the result.
        again = Subscription(start.id, hub=hub or settings.hub or settings.data_dir, until_done=True)
        outcome = view_run(again, view="none", hint=hint)
    if outcome.status is None:
        print(f"felixhub: nobody reads this any more; the run goes on: {start.id}", file=sys.stderr)
        return EXIT_FAILED
    if out is not None and outcome.result:
        save_result(out, outcome.result)
    say_end(outcome, view=view)
    return exit_code(outcome)


def list_runs(*, hub: str | None, as_json: bool) -> None:
    """`felixhub ps`."""
    settings = settings_for()
    with ControlClient(finder(settings, hub)) as client:
        rows = client.runs()
    if as_json:
        print_json(rows)
        return
    if not rows:
        print('no runs yet: felixhub run "TASK" starts one', file=sys.stderr)
        return
    print_table([("RUN", "STATUS", "AGE", "WORKFLOW", "BUSY", "TASK"), *(_row(row) for row in rows)], fit=True)


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    task = safe_line(str(row.get("task", "")))
    busy = list(row.get("open", []))
    more = len(busy) - BUSY_SHOWN_MAX
    return (
        row["run"],
        status_of(row),
        age(time.time() - float(row.get("started_at") or time.time())),
        str(row.get("workflow", "")),
        ",".join([*busy[:BUSY_SHOWN_MAX], *([f"+{more}"] if more > 0 else [])]) or "-",
        task if len(task) <= 60 else task[:59] + "…",
    )


def age(seconds: float) -> str:
    """42s, 5m, 3h, 2d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def status_of(row: dict[str, Any]) -> str:
    """A run that waits for a person, or has finished degraded, says so."""
    status = str(row["status"])
    if status == "finished" and row.get("degraded"):
        return "degraded"
    if status == "running" and row.get("awaiting"):
        return "awaiting"
    return status


def pause(run: str, *, hub: str | None) -> None:
    """`felixhub pause`."""
    with ControlClient(finder(settings_for(), hub)) as client:
        run = named(client, run)
        client.pause(run, by=me())
    print(f"pausing {run}")


def resume(run: str, *, hub: str | None) -> None:
    """`felixhub resume`."""
    with ControlClient(finder(settings_for(), hub)) as client:
        run = named(client, run)
        client.resume(run, by=me())
    print(f"{run} goes on")


def me() -> str:
    """Who gives the commands here."""
    return (os.environ.get("USER") or os.environ.get("LOGNAME") or "command line")[:NAME_CHARACTERS_MAX]
