"""The console view: a run as lines of text, on a terminal or in a pipe. Closing it never stops a run.

Owns: the loop, the one writer, and what is shown of the past. Must not: decide how a line looks (`console_lines.py`).
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple, Protocol, TextIO

from felixhub.core.errors import ConfigError, FelixError
from felixhub.core.events import Event, RunCancelled, RunFailed, RunFinished
from felixhub.core.follower import Follower, Reset, RunGone
from felixhub.core.names import HUB
from felixhub.views import wording
from felixhub.views.console_compact import CompactLines
from felixhub.views.console_filter import ConsoleFilter, patterns
from felixhub.views.console_lines import WIDTH_ELSEWHERE, ConsoleLines, Line
from felixhub.views.console_look import Look, detect_look
from felixhub.views.console_modes import Form, JsonForm, PartialForm, RawForm
from felixhub.views.safe_text import safe_line, safe_text

Mode = Literal["text", "json", "raw", "partial"]
POLL_S = 0.1
TICK_S = 0.05
TAIL_LINES = 20  # of the past of a run that has been going on for longer than
YOUNG_S = 60.0
PAST_S_MAX = 5.0  # a past that takes longer to load is no longer waited for
PAST_LINES_MAX = 100_000


class Watched(Protocol):
    """What is watched: a `Subscription`."""

    @property
    def follower(self) -> Follower: ...
    def poll(self, timeout_s: float) -> list[Event | FelixError]: ...


@dataclass(frozen=True, slots=True)
class ConsoleOptions:
    """What `felixhub watch` can be asked for. Agents are names or patterns like `critic-*`; `hub` is the run itself.

    `tail`: how many lines of the past; None means all of a run that has ended or is younger than a minute, and all that
    is younger than `since_s`, else 20. `compact` is for the mode text.
    """

    mode: Mode = "text"
    agents: tuple[str, ...] = ()
    exclude_agents: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    highlight: tuple[str, ...] = ()
    since_s: float | None = None
    tail: int | Literal["all"] | None = None
    follow: bool = True
    elapsed: bool = False
    reasoning: bool = False
    ascii_only: bool = False
    compact: bool = False


class Outcome(NamedTuple):
    """How the run that ended last has ended; `status` is None when none did while it was watched."""

    status: Literal["finished", "degraded", "failed", "cancelled"] | None = None
    degraded: tuple[str, ...] = ()
    error: str = ""
    result: str = ""
    run: str = ""


def outcome_of(event: Event) -> Outcome | None:
    """The outcome that this event is, None for one that does not end its run."""
    match event:
        case RunFinished():
            status: Literal["finished", "degraded"] = "degraded" if event.degraded else "finished"
            return Outcome(status, degraded=event.degraded, result=event.result, run=event.run)
        case RunFailed():
            return Outcome("failed", error=event.error, run=event.run)
        case RunCancelled():
            return Outcome("cancelled", error=f"cancelled by {event.by}", run=event.run)
    return None


class Writer:
    """The only one who writes to `out`: whole lines, one write per turn. Raises BrokenPipeError when nobody reads."""

    def __init__(self, out: TextIO, *, verbatim: bool = False) -> None:
        self._out = out
        self._bytes = getattr(out, "buffer", None)
        self._encoding = "utf-8" if verbatim else getattr(out, "encoding", None) or "utf-8"
        self._errors = "surrogateescape" if verbatim else "backslashreplace"
        self._poll: select.poll | None = None
        if out.isatty() or self._bytes is not None:
            with contextlib.suppress(OSError, AttributeError, ValueError):  # No file behind it, or Windows.
                self._poll = select.poll()
                self._poll.register(out.fileno(), 0)

    def write(self, lines: Iterable[Line]) -> None:
        text = "".join([line.shown + line.end for line in lines])
        if not text:
            return
        if self._bytes is None:
            self._out.write(text)
            self._out.flush()
            return
        self._out.flush()  # What others printed before stays before.
        self._bytes.write(text.encode(self._encoding, self._errors))
        self._bytes.flush()

    def check(self) -> None:
        """Notice a reader that has gone while there was nothing to write."""
        if self._poll and any(what & (select.POLLERR | select.POLLHUP) for _, what in self._poll.poll(0)):
            raise BrokenPipeError

    def abandon(self) -> None:
        """Nobody reads any more: whatever is written from now on, at exit too, goes nowhere and says nothing."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._out.fileno())
            os.close(nowhere)

    def columns(self) -> int | None:
        """The terminal's width now, None where there is none."""
        with contextlib.suppress(OSError, ValueError):
            return os.get_terminal_size(self._out.fileno()).columns or None
        return None


class _Past:
    """Lines from before now, held back until it is known how many of them are wanted."""

    def __init__(self, tail: int | None) -> None:
        self._tail = tail
        self._lines: deque[Line] = deque(maxlen=PAST_LINES_MAX if tail is None else tail)
        self._seen = 0

    def add(self, lines: list[Line]) -> None:
        self._lines.extend(lines)
        self._seen += len(lines)

    def take(self, now: float, *, whole: bool) -> tuple[int, list[Line]]:
        """How many lines are left out, and the others. `whole`: all, unless a number was asked for."""
        lines = list(self._lines)
        self._lines.clear()
        if self._tail is None and not whole and lines and now - lines[0].at > YOUNG_S:
            lines = lines[-TAIL_LINES:]
        return self._seen - len(lines), lines


class _Watch:
    """One watching, from the past to its end."""

    def __init__(self, follower: Follower, options: ConsoleOptions, form: Form, writer: Writer, err: TextIO) -> None:
        self.outcome = Outcome()
        self._follower = follower
        self._options = options
        self._form = form
        self._writer = writer
        self._err = err
        self._first_at: float | None = None
        self._ticked = 0.0
        self._said_idle = False
        self._agents_known = not options.agents
        self._past: _Past | None = None if options.tail == "all" else _Past(options.tail)

    def turn(self, items: list[Event | FelixError], now: float) -> bool:
        """Write what has come; whether to go on."""
        if abs(now - self._ticked) >= TICK_S:
            self._form.width = self._writer.columns() or WIDTH_ELSEWHERE
        if items and self._first_at is None:
            self._first_at = now
        lines: list[Line] = []
        for item in items:
            if isinstance(item, Event):
                lines += self._form.take(item, now)
                self.outcome = outcome_of(item) or self.outcome
            else:
                self._on_error(item)
        over = self._follower.done or (not self._options.follow and self._follower.caught_up)
        self._check_agents()
        if over:
            lines += self._form.finish()
        if self._past is not None:
            self._past.add(lines)
            lines = self._end_past(now) if over or self._is_live(now) else []
        elif not over and abs(now - self._ticked) >= TICK_S:
            self._ticked = now
            lines += self._form.tick(now, self._follower.beats)
            self._writer.check()
        self._writer.write(lines)
        for notice in self._follower.take_notices():
            self._say(notice)
        self._say_if_idle(over=over)
        return not over

    def end(self) -> None:
        """Stopped from outside: what is known so far is shown."""
        lines = self._form.finish()
        if self._past is not None:
            self._past.add(lines)
            lines = self._end_past(time.time())
        self._writer.write(lines)

    def _is_live(self, now: float) -> bool:
        return self._follower.caught_up or (self._first_at is not None and abs(now - self._first_at) > PAST_S_MAX)

    def _end_past(self, now: float) -> list[Line]:
        assert self._past is not None, "once"
        board, options = self._follower.board, self._options
        ended = all(board.is_complete(run) for run in board.followed())
        whole = ended or not options.follow or options.mode != "text" or options.since_s is not None
        left_out, lines = self._past.take(now, whole=whole)
        self._past = None
        if left_out and isinstance(self._form, ConsoleLines) and options.tail != 0:
            at = lines[0].at if lines else now
            lines.insert(0, self._form.note(at, f"{left_out:,} earlier lines: --tail all shows them"))
        return lines

    def _on_error(self, error: FelixError) -> None:
        if isinstance(error, Reset):
            self._form.forget(error.run)
        elif isinstance(error, RunGone) and self._follower.selection not in ("latest", "all"):
            raise error
        self._say(str(error))

    def _check_agents(self) -> None:
        """Once there is a run, say which agents it does not have. Raises ConfigError when none of them is there."""
        board = self._follower.board
        runs = [board.runs[run] for run in board.followed() if run in board.runs]
        if self._agents_known or not runs or not (self._follower.caught_up or self._follower.done):
            return
        self._agents_known = True
        there = list(dict.fromkeys(agent for run in runs for agent in run.started.workflow.agents()))
        asked = self._options.agents
        unknown = [one for one in asked if not any(fnmatchcase(agent, one) for agent in (*there, HUB))]
        if not unknown:
            return
        whose = f"run {runs[0].id} has" if len(runs) == 1 else "these runs have"
        agents = ", ".join(f"'{one}'" for one in unknown)
        sentence = f"{whose} no agent {agents}: there {'is' if len(there) == 1 else 'are'} {wording.names(there)}"
        if len(unknown) == len(asked) and not self._options.follow:
            raise ConfigError(safe_line(sentence))
        self._say(sentence)

    def _say_if_idle(self, *, over: bool) -> None:
        if self._said_idle or not self._follower.caught_up or self._follower.board.followed():
            return
        self._said_idle = True
        self._say("there is no run on this hub yet" + ("" if over else "; waiting for one"))

    def _say(self, notice: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._err.write(f"felixhub: {safe_text(notice)}\n")
            self._err.flush()


def form_for(options: ConsoleOptions, look: Look, *, since: float | None = None, run_shown: bool = False) -> Form:
    """The form that was asked for; `since` is unix seconds. Raises ConfigError on a bad pattern."""
    keep = ConsoleFilter(
        agents=options.agents,
        exclude_agents=options.exclude_agents,
        include=options.include,
        exclude=options.exclude,
        since=since,
    )
    highlight = patterns(options.highlight, option="--highlight")
    match options.mode:
        case "json":
            return JsonForm(keep, terminal=look.terminal)
        case "raw":
            return RawForm(look, keep, reasoning=options.reasoning)
        case "partial":
            return PartialForm(look, keep, highlight=highlight, reasoning=options.reasoning)
        case "text":
            return (CompactLines if options.compact else ConsoleLines)(
                look,
                keep=keep,
                highlight=highlight,
                reasoning=options.reasoning,
                elapsed=options.elapsed,
                run_shown=run_shown,
            )


def watch(
    subscription: Watched,
    options: ConsoleOptions | None = None,
    out: TextIO | None = None,
    err: TextIO | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.time,
    stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Show a subscription until it is done, `stop` says so, or for ever; `options.follow=False` ends with the past.

    A reader that goes away (`| head`) ends it quietly. Raises ConfigError on a bad pattern and, unless it follows, when
    the run has none of the agents; NoHub; and RunGone when the one run that was asked for is not there.
    KeyboardInterrupt passes through once what is known has been shown.
    """
    options = options or ConsoleOptions()
    out, err = out or sys.stdout, err or sys.stderr
    look = detect_look(out, os.environ if environ is None else environ, ascii_only=options.ascii_only)
    since = None if options.since_s is None else clock() - options.since_s
    form = form_for(options, look, since=since, run_shown=subscription.follower.selection == "all")
    writer = Writer(out, verbatim=options.mode == "json" or (options.mode == "raw" and not look.terminal))
    watching = _Watch(subscription.follower, options, form, writer, err)
    try:
        try:
            while watching.turn(subscription.poll(POLL_S), clock()):
                if stop is not None and stop():
                    watching.end()
                    break
        except KeyboardInterrupt:
            watching.end()
            raise
    except BrokenPipeError:
        writer.abandon()
    return watching.outcome
