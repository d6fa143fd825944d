"""`felixhub up` and `run_hub.py`: hub, agents and a view in one go.

Owns: the order of starting, Ctrl-C, and the exit code. Must not: know how any of the parts works.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from felixhub.cli.main import EXIT_INTERRUPTED
from felixhub.cli.processes import offline_child, settings_for, worker_child
from felixhub.cli.runs import (
    EXIT_FAILED,
    Hint,
    check_out,
    exit_code,
    hint_for,
    named,
    save_result,
    say_end,
    view_run,
    waits_for_person,
)
from felixhub.cli.top import check_terminal, grid_for_up
from felixhub.cli.web_child import web_child
from felixhub.client.starting import Wishes, build_start, choose_endpoint
from felixhub.core.errors import ConfigError, FelixError
from felixhub.core.messages import Start
from felixhub.logs import FOLDER, configure_logs, log_file
from felixhub.settings.settings import Settings
from felixhub.supervisor.supervisor import HubDidNotStart, Plan, StartStopped, Supervisor
from felixhub.transport.address import Connection, find_hub
from felixhub.transport.control import ControlClient, Find, HubRefused
from felixhub.transport.subscriber import Subscription
from felixhub.views.safe_text import safe_line, safe_text

POLITE_S_MAX = 5.0  # for a run to end after Ctrl-C
OWN_HUB_S_MAX = 60.0  # to be heard by the hub that we start ourselves; the supervisor gives up sooner
PRELOAD = ("felixhub.cli.preload",)


@dataclass(frozen=True, slots=True)
class Up:
    """What `up` was told on the command line."""

    task: str | None
    workflow: str
    files: Sequence[Path]
    llm: str | None
    model: str | None
    view: str
    data: Path | None
    out: Path | None
    serve: bool
    listen: str | None
    plain: bool
    agents_per_worker: int | None
    wishes: Wishes = field(default_factory=Wishes)


def up(asked: Up) -> int:
    """Run it all; returns the exit code."""
    check_out(asked.out)
    if asked.view == "tui":
        check_terminal()
    flags = {"llm": asked.llm, "model": asked.model, "listen": asked.listen, "data_dir": asked.data}
    settings = settings_for(**flags, plain=asked.plain or None, agents_per_worker=asked.agents_per_worker)
    endpoint, found = choose_endpoint(settings, os.environ)
    start = None
    if asked.task is not None:
        start = build_start(
            settings,
            task=asked.task,
            workflow=asked.workflow,
            files=asked.files,
            endpoint=endpoint,
            wishes=asked.wishes,
            by="up",
        )
    elif asked.files or asked.out or asked.wishes != Wishes():
        options = "--file and --out" if asked.files or asked.out else "--review, --budget-tokens, --after and --with"
        raise ConfigError(f"{options} go with a task: give one, or start the run later with `felixhub run`")
    serve = asked.serve or start is None
    configure_logs(file=_log_file(settings))
    supervisor = Supervisor(_plan(settings, serve=serve))
    stop = _Stop(supervisor)
    with stop.handling():  # From before the first child until after the last one.
        try:
            find = _finder(settings, supervisor)
            supervisor.start(stop=stop.wanted)
            _say(found)
            _say_where(settings, start, serve=serve, find=find)
            with web_child(settings.data_dir) if asked.view == "web" else contextlib.nullcontext():
                return _drive(asked, settings, start, find, stop, serve=serve)
        except HubDidNotStart as error:
            if error.was_silent:
                _say(f"felixhub: the hub did not start; {settings.data_dir / 'logs' / 'hub.log'} may say why")
            return error.code
        except StartStopped:
            return stop.exit_code(serve=serve)
        except _GivenUp:
            return _unless_failed(EXIT_FAILED, stop)
        finally:
            supervisor.stop(at_once=lambda: stop.at_once)
            if serve and stop.by_ctrl_c and not stop.failure and sys.stderr.isatty():
                again = f"{_felixhub()} up --serve{_hub_option(settings).replace('--hub', '--data')}"
                _say(f"\nhub stopped; `{again}` goes on with what is unfinished")


class _GivenUp(FelixError):
    """The hub died too often: there will be none."""


def _finder(settings: Settings, supervisor: Supervisor | None = None) -> Find:
    def find() -> Connection:
        if supervisor is not None and supervisor.failed:
            raise _GivenUp(supervisor.failed)
        return find_hub(str(settings.data_dir), default=settings.data_dir)

    return find


def _log_file(settings: Settings) -> Path:
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (settings.data_dir / FOLDER).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot write the data directory {settings.data_dir} ({error.strerror}): choose another with --data"
        ) from None
    return log_file(settings.data_dir, "supervisor")


def _plan(settings: Settings, *, serve: bool) -> Plan:
    def hub_command(first: bool) -> list[str]:
        command = [sys.executable, "-m", "felixhub", "hub", "--data", str(settings.data_dir), "--with-parent"]
        if settings.listen:
            command += ["--listen", settings.listen, *(["--plain"] if settings.plain else [])]
        if first and not serve:
            command.append("--pause-unfinished")
        return command

    from felixhub.worker.process import FENCED_EXIT, REFUSED_EXIT

    return Plan(
        find=_finder(settings),
        hub_command=hub_command,
        worker_entry=functools.partial(worker_child, data_dir=settings.data_dir, llm=settings.llm),
        offline_entry=offline_child,
        preload=PRELOAD,
        fenced_exit=FENCED_EXIT,
        refused_exit=REFUSED_EXIT,
        agents_per_worker=settings.agents_per_worker,
        workers_max=settings.workers_max,
    )


def _say(sentence: str) -> None:
    if sentence:
        print(sentence, file=sys.stderr, flush=True)


def _felixhub() -> str:
    """How to call the command from another terminal: by name if that works, else by its path."""
    beside = Path(sys.executable).parent / "felixhub"
    if shutil.which("felixhub") or not beside.exists():
        return "felixhub"
    return _short(beside)


def _say_where(settings: Settings, start: Start | None, *, serve: bool, find: Find) -> None:
    """Where the hub is, what to try next, and which older runs wait."""
    command, hub = _felixhub(), _hub_option(settings)
    _say(f"hub at {settings.data_dir}")
    if start is not None:
        _say(f"run {start.id} · in another terminal: {command} watch{hub} · {command} cancel {start.id} [AGENT]{hub}")
    else:
        _say(f'next: {command} run "TASK"{hub} · {command} watch{hub} · {command} ps{hub} · Ctrl-C stops')
    if serve:
        return
    with ControlClient(find, wait_s=OWN_HUB_S_MAX) as client:
        rows = client.runs()
    for row in rows:
        if row["status"] == "paused":
            task = " ".join(row["task"].split())
            _say(
                f"unfinished run {row['run']} is paused ({safe_line(task[:60])}): to go on with it, "
                f"{command} up --serve{hub.replace('--hub', '--data')}, then {command} resume {row['run']}{hub}"
            )


def _hub_option(settings: Settings) -> str:
    """What another terminal has to add to find this hub."""
    data = shlex.quote(_short(settings.data_dir))
    return f" --hub {data}" if settings.sources.get("data_dir") == "--data" else ""


def _short(path: Path) -> str:
    """A path as one would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _drive(asked: Up, settings: Settings, start: Start | None, find: Find, stop: _Stop, *, serve: bool) -> int:
    code = 0
    view = "none" if asked.view in ("web", "tui") else asked.view  # The page shows it, or the grid.
    grid = functools.partial(grid_for_up, where=settings.data_dir, find=find, is_over=stop.wanted)
    if start is not None:
        if stop.asked:
            return stop.exit_code(serve=serve)
        with ControlClient(find, wait_s=OWN_HUB_S_MAX) as client:
            try:
                if start.after is not None:
                    start = start.model_copy(update={"after": named(client, start.after, finished=True)})
                client.request(start)
            except HubRefused as error:
                raise ConfigError(str(error)) from None
        stop.now_runs(start.id, find)
        if asked.view == "tui":
            grid(start.id)
        subscription = Subscription(start.id, hub=settings.data_dir, until_done=True)
        hint = _hint(settings)
        stop.waits = functools.partial(waits_for_person, subscription.follower, start.id)
        outcome = view_run(subscription, view=view, stop=stop.wanted, hint=hint)
        if outcome.status is None and not stop.wanted():
            # Nobody reads our output any more (`| head`). Was the run for them alone?
            if not asked.out and not serve:
                _say("felixhub: nobody reads this any more; the run is being cancelled (--out or --serve let it go on)")
                stop.end_run()
            subscription = Subscription(start.id, hub=settings.data_dir, until_done=True)
            stop.waits = functools.partial(waits_for_person, subscription.follower, start.id)
            outcome = view_run(subscription, view="none", stop=stop.wanted, hint=hint)
        stop.run = None
        if outcome.result and asked.out:
            save_result(asked.out, outcome.result)
        if outcome.result and asked.view == "tui":
            print(safe_text(outcome.result), flush=True)
        if stop.asked:
            return _unless_failed(EXIT_INTERRUPTED, stop)
        say_end(outcome, view=asked.view)
        code = exit_code(outcome) if outcome.status else EXIT_FAILED
        if asked.view == "web" and not serve:
            _say("the run has ended; the page stays until Ctrl-C")
            while not stop.wanted():
                time.sleep(0.1)
        if not serve:
            return _unless_failed(code, stop)
    if asked.view == "tui" and start is None:
        grid("latest")
    if view != "none":
        subscription = Subscription("latest", hub=settings.data_dir, history=start is None)
        view_run(subscription, view=view, stop=stop.wanted)
    while not stop.wanted():  # Without a view, or when nobody reads it any more.
        time.sleep(0.1)
    return _unless_failed(stop.exit_code(serve=serve) or code, stop)


def _hint(settings: Settings) -> Hint:
    """What to type while the run waits for a person, and that leaving costs nothing."""
    hint = hint_for(command=_felixhub(), hub=_hub_option(settings))
    return lambda run, section: f"{hint(run, section)} · Ctrl-C keeps it for later"


def _unless_failed(code: int, stop: _Stop) -> int:
    if stop.failure:
        _say(f"felixhub: {stop.failure}")
        return 1
    return code


class _Stop:
    """Ctrl-C and SIGTERM: once cancels the run and ends when it has ended, twice ends at once.

    A run that `waits` for a person, and for nobody else, is not cancelled: it is kept, unfinished.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.asked = False
        self.at_once = False
        self.by_ctrl_c = False
        self.run: tuple[str, Find] | None = None
        self.waits: Callable[[], bool] = lambda: False
        self._over = False

    @property
    def failure(self) -> str | None:
        return self._supervisor.failed

    def wanted(self) -> bool:
        """Whether the view is to end now."""
        return self._over or self.failure is not None

    def handling(self) -> _Handlers:
        return _Handlers(self._on_signal)

    def exit_code(self, *, serve: bool) -> int:
        """Of what was stopped while no run was its own: for a service manager, stopping a hub that serves is right."""
        return 0 if serve and not self.by_ctrl_c else EXIT_INTERRUPTED

    def now_runs(self, run: str, find: Find) -> None:
        """From here on it is this run that is stopped, at once if that was asked while it was being started."""
        self.run = (run, find)
        if self.asked:
            self._over = self.at_once
            self.end_run()

    def end_run(self) -> None:
        """Cancel the run, and give it some seconds to end."""
        if self.run is not None:
            threading.Thread(target=self._end_run, args=self.run, daemon=True).start()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.by_ctrl_c = self.by_ctrl_c or number == signal.SIGINT
        if self.asked:
            self.at_once = self._over = True
            return
        self.asked = True
        if self.run is None:
            self._over = True
            return
        if self.waits():
            self._over = True
            command = _felixhub()
            _say(f"stopping: run {self.run[0]} waits for you and is kept: {command} up --serve goes on with it")
            return
        _say("stopping: the run is being cancelled; Ctrl-C again stops at once")
        self.end_run()

    def _end_run(self, run: str, find: Find) -> None:
        try:
            with ControlClient(find, wait_s=POLITE_S_MAX) as client:
                client.cancel(run, by="up")
        except HubRefused:
            pass  # It has ended by itself in this moment.
        except FelixError as error:
            _say(f"felixhub: {error}")
        time.sleep(POLITE_S_MAX)
        self._over = True


class _Handlers:
    def __init__(self, handler: Any) -> None:
        self._handler = handler
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handler)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
