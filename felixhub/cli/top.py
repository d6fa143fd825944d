"""`felixhub top`, and `felixhub up --view tui`: the terminal UI on a hub.

Owns: finding the hub and the terminal, and the exit code. Must not: draw.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from felixhub.cli.main import EXIT_INTERRUPTED
from felixhub.cli.processes import finder, settings_for
from felixhub.cli.runs import me, named
from felixhub.core.errors import ConfigError
from felixhub.transport.control import ControlClient, Find
from felixhub.transport.subscriber import Subscriber

LEAVE_S_MAX = 2.0  # what was asked last is answered by then, if the hub is there


def top(run: str, *, hub: str | None, ascii_only: bool) -> int:
    """`felixhub top [RUN]`. Raises NoHub, KeyRefused and ConfigError before anything is drawn."""
    check_terminal()
    settings = settings_for()
    find = finder(settings, hub)
    with ControlClient(find) as client:
        client.hello()
        selection = run if run == "latest" else named(client, run)
    return show(
        selection,
        where=hub or settings.hub or settings.data_dir,
        connect=lambda: ControlClient(find),
        ascii_only=ascii_only,
    )


def grid_for_up(run: str, *, where: Path, find: Find, is_over: Callable[[], bool]) -> None:
    """Draw the run that `up` has started until the grid is closed; the run goes on whatever becomes of the grid."""
    try:
        code = show(run, where=where, connect=lambda: ControlClient(find), is_over=is_over, handles_signals=False)
    except Exception as error:
        if os.environ.get("FELIXHUB_DEBUG"):
            raise
        _say(f"felixhub: the grid ended: {type(error).__name__}: {error}")
        code = 0
    if code == EXIT_INTERRUPTED:
        signal.raise_signal(signal.SIGINT)  # Ctrl-C is a key to a grid; to `up` it is a wish to stop.
    elif not is_over():
        _say("the grid is closed and the run goes on: its result is printed here; Ctrl-C stops it")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def check_terminal() -> None:
    """Raises ConfigError where there is no screen to draw on or no keyboard to listen to."""
    if not _is_terminal():
        raise ConfigError("this needs a terminal: for a pipe or a file there are `felixhub watch` and --view console")


def _is_terminal() -> bool:
    return all(one.isatty() for one in (sys.stdin, sys.stdout, sys.stderr)) and os.environ.get("TERM") != "dumb"


def show(
    selection: str,
    *,
    where: str | Path,
    connect: Callable[[], ControlClient],
    ascii_only: bool = False,
    is_over: Callable[[], bool] | None = None,
    handles_signals: bool = True,
) -> int:
    """Draw until told to stop, or until `is_over`; returns the exit code. Raises what made it end."""
    from felixhub.views.tui.app import Options
    from felixhub.views.tui.look import Look
    from felixhub.views.tui.top import Top

    look = Look(ascii_only=ascii_only or not can_draw(sys.stdout.encoding), moves=may_move(os.environ))
    options = Options(
        open_source=lambda run: Subscriber(run, hub=where, history=False),
        connect=connect,
        clock=time.time,
        selection=selection,
        by=me(),
        look=look,
        folder=Path.cwd(),
        is_over=is_over,
        handles_signals=handles_signals,
    )
    app = Top(options)
    try:
        is_interrupted = app.run()
    finally:
        lost = app.close_commands(0.0 if app.return_value else LEAVE_S_MAX)
        if lost:
            _say(
                f"felixhub: the hub had not answered when you left: {', '.join(lost)}. "
                "What it has not received is not done; felixhub show tells"
            )
    if app.fault is not None:
        raise app.fault
    return EXIT_INTERRUPTED if is_interrupted else 0


def may_move(environ: Mapping[str, str]) -> bool:
    """Whether anything may blink: not for those who asked for no colours or no motion."""
    return not environ.get("NO_COLOR") and environ.get("TEXTUAL_ANIMATIONS", "").lower() != "none"


def can_draw(encoding: str | None) -> bool:
    """Whether the terminal's encoding has the signs."""
    try:
        "╭█▌◆".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
