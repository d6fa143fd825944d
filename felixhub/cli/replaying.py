"""`felixhub replay`: a recording served as a read-only hub, and one of the views on it.

Owns: finding the recording, the process that serves it, and when the view ends. Must not: serve it (`hub/replaying.py`)
or render.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import NamedTuple

from felixhub.cli.main import EXIT_INTERRUPTED
from felixhub.cli.processes import finder, settings_for
from felixhub.cli.runs import named, view_run
from felixhub.core.errors import ConfigError, FelixError
from felixhub.core.limits import Limits
from felixhub.core.messages import Replay
from felixhub.core.names import NAME_PATTERN
from felixhub.eventlog import EventLog, LogError, Record
from felixhub.eventlog.sqlite import FILE_NAME, SqliteLog
from felixhub.hub.recording_file import Recording, check_recording
from felixhub.hub.replaying import LINGER_S, run_recording
from felixhub.logs import configure_logs
from felixhub.settings.settings import Settings
from felixhub.transport.address import NoHub
from felixhub.transport.control import ControlClient, HubRefused, new_id
from felixhub.transport.subscriber import Subscription
from felixhub.views.safe_text import safe_line

STOP_S_MAX = 10.0
LOOK_S = 0.5
SPEED_MIN = 0.01
PAGE_ROWS = 2_000
PAGE_BYTES = 1024 * 1024


class Played(NamedTuple):
    """What `felixhub replay` was asked for. `stay` is None when nothing was said: with view `none` it does."""

    what: str
    speed: float = 1.0
    view: str = "console"
    data: Path | None = None
    stay: bool | None = None
    hub: str | None = None


def speed_of(text: str) -> float:
    """`10`, `0.5`; `max` and 0 are as fast as possible. Raises ConfigError."""
    with contextlib.suppress(ValueError):
        speed = math.inf if text == "max" else float(text) or math.inf
        if speed >= SPEED_MIN:
            return speed
    raise ConfigError(f"--speed {safe_line(text)[:40]}: write a number, 10 is ten times as fast, or max")


def replay(asked: Played) -> int:
    """Play a recording; returns the exit code. It does not depend on how the recorded run ended."""
    settings = settings_for()
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # Else it was started with nohup, to outlive its window.
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        with _folder() as folder:
            file = _file(asked, settings, folder / "run.jsonl")
            recording = check_recording(file)
            data_dir = asked.data or folder / "hub"
            _say_what(recording, asked)
            if asked.view == "none":
                return _serve(asked, recording, data_dir, folder, settings.limits)
            with _server(asked, recording, data_dir, folder, settings.limits) as server:
                return _view(asked, recording, data_dir, server)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """For the time being: the log, and the recording when it has to be fetched."""
    folder = Path(tempfile.mkdtemp(prefix="felixhub-replay-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ---- the recording ---------------------------------------------------------------------------------------------------


def _file(asked: Played, settings: Settings, spool: Path) -> Path:
    """The file that was named, or one with the events of the run that was named."""
    file = Path(asked.what)
    if file.is_dir():
        raise ConfigError(f"{safe_line(asked.what)} is a folder: name a file in it, or a run")
    if file.exists():
        return file
    if not re.fullmatch(NAME_PATTERN, asked.what):
        raise ConfigError(f"there is no file {safe_line(asked.what)}: name a recording, or a run that a hub has")
    try:
        with spool.open("xb") as out:
            for line in _events_of(asked.what, settings, asked.hub):
                out.write(line + b"\n")
    except HubRefused as error:
        raise ConfigError(f"there is no file {asked.what}, and {error}") from None
    except OSError as error:
        raise ConfigError(f"cannot keep the run while it is played: {spool.parent}: {error.strerror}") from None
    return spool


def _events_of(run: str, settings: Settings, hub: str | None) -> Iterator[bytes]:
    """From the hub, or while there is none from its log."""
    find = finder(settings, hub)
    try:
        find()
        with ControlClient(find) as client:
            yield from client.pages(Replay(id=new_id(), run=named(client, run)))
    except NoHub as error:
        directory = Path(hub or settings.hub or settings.data_dir)
        if not (directory / FILE_NAME).is_file():
            raise NoHub(f"there is no file {run}, and {error}") from None
        log = SqliteLog.open(directory)
        with contextlib.closing(log):
            yield from (record.body for record in _records(log, run, directory))


def _records(log: EventLog, run: str, directory: Path) -> Iterator[Record]:
    rows = log.runs()
    row = rows[-1] if run == "latest" and rows else next((one for one in rows if one.run == run), None)
    if row is None:
        raise ConfigError(f"there is no file {run}, and no such run in the log of {directory}")
    after = 0
    while page := log.read(row.run, after=after, through=row.last_seq, rows_max=PAGE_ROWS, bytes_max=PAGE_BYTES):
        yield from page
        after = page[-1].seq


# ---- serving ---------------------------------------------------------------------------------------------------------


def _serve(asked: Played, recording: Recording, data_dir: Path, folder: Path, limits: Limits) -> int:
    """Without a view this process is the hub."""
    configure_logs(file=folder / "replay.log")
    is_over = run_recording(
        recording,
        data_dir=data_dir,
        log_dir=folder / "log",
        speed=asked.speed,
        limits=limits,
        stay=asked.stay is not False,
        on_ready=lambda _: _say_where(asked, recording, data_dir),
    )
    if not is_over:
        return EXIT_INTERRUPTED
    _say_end(recording)
    return 0


class _Server:
    """The process that serves a recording, seen from the command."""

    def __init__(self, process: multiprocessing.process.BaseProcess, told: Pipe) -> None:
        self._process = process
        self._told = told

    def wait(self) -> None:
        """Until it is there. Raises ConfigError when it will not be."""
        self.check(None)

    def check(self, timeout_s: float | None = 0.0) -> None:
        """Raises ConfigError once it has ended by itself."""
        if not self._told.poll(timeout_s):
            return
        try:
            sentence = self._told.recv()
        except EOFError:
            sentence = "the process that served the recording has ended; play it again"
        if sentence:
            raise ConfigError(sentence)

    def stop(self) -> None:
        self._process.terminate()
        self._process.join(STOP_S_MAX)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._told.close()


@contextlib.contextmanager
def _server(asked: Played, recording: Recording, data_dir: Path, folder: Path, limits: Limits) -> Iterator[_Server]:
    told, tell = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=_server_child,
        args=(recording, data_dir, folder, asked.speed, limits, tell),
        name="felixhub replay",
        daemon=True,
    )
    # Ctrl-C is the view's, which ends this process: it is born without an ear for it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    tell.close()
    server = _Server(process, told)
    try:
        server.wait()
        _say_where(asked, recording, data_dir)
        yield server
    finally:
        server.stop()


def _server_child(recording: Recording, data_dir: Path, folder: Path, speed: float, limits: Limits, tell: Pipe) -> None:
    """Tells the empty string once it is there, or a sentence when it cannot be."""
    from setproctitle import setproctitle

    setproctitle("felixhub replay")
    configure_logs(file=folder / "replay.log")
    parent = multiprocessing.parent_process()
    assert parent is not None, "a child"
    assert isinstance(parent.sentinel, int), "a descriptor"
    try:
        run_recording(
            recording,
            data_dir=data_dir,
            log_dir=folder / "log",
            speed=speed,
            limits=limits,
            stay=True,
            parent_fd=parent.sentinel,
            on_ready=lambda _: tell.send(""),
        )
    except (FelixError, LogError) as error:
        with contextlib.suppress(OSError):
            tell.send(str(error))
    finally:
        if not parent.is_alive():
            shutil.rmtree(folder, ignore_errors=True)  # It was killed: nobody else will.


# ---- viewing ---------------------------------------------------------------------------------------------------------


def _view(asked: Played, recording: Recording, data_dir: Path, server: _Server) -> int:
    """Show it, then end, unless it is to stay."""
    hub = str(data_dir)
    match asked.view:
        case "tui":
            from felixhub.cli.top import top

            code = top(recording.run, hub=hub, ascii_only=False)
        case "web":
            from felixhub.cli.web import web

            code = web(
                hub=hub,
                host="127.0.0.1",
                port=0,
                token_file=None,
                allow_origins=(),
                allow_hosts=(),
                open_page=sys.stdout.isatty(),
            )
        case _:
            code = _show_lines(asked, recording, data_dir, server)
    if code == 0 and asked.stay:
        _say(f"hub at {data_dir} · Ctrl-C ends it")
        while True:
            server.check(LOOK_S)
    return code


def _show_lines(asked: Played, recording: Recording, data_dir: Path, server: _Server) -> int:
    subscription = Subscription(recording.run, hub=data_dir, until_done=True)
    board = subscription.board

    def is_over() -> bool:
        server.check()
        return board.last(recording.run) >= recording.last_seq

    view_run(subscription, view=asked.view, stop=is_over)
    if board.last(recording.run) < recording.last_seq:
        return 0  # Nobody reads our output any more (`| head`).
    _say_end(recording)
    if not asked.stay:
        time.sleep(LINGER_S)  # Others that watch hear how it ended.
    return 0


# ---- what is said ----------------------------------------------------------------------------------------------------


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _say_what(recording: Recording, asked: Played) -> None:
    pace = "as fast as possible" if math.isinf(asked.speed) else f"{recording.seconds / asked.speed:,.1f} s"
    _say(f"recording of run {recording.run} · {recording.events:,} events · {pace}")


def _say_where(asked: Played, recording: Recording, data_dir: Path) -> None:
    begins = "; it begins with the first viewer" if asked.view in ("none", "web") else ""
    _say(f"hub at {data_dir} · felixhub watch --run {recording.run} --hub {shlex.quote(str(data_dir))}{begins}")


def _say_end(recording: Recording) -> None:
    if recording.cut_line is not None:
        _say(f"felixhub: line {recording.cut_line} of the recording breaks off and was left out")
    if not recording.is_ended:
        _say("felixhub: the recording ends here, its run had not")
