"""Watching: the past, the loop, the forms, and what is written where."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from console_script import Played, Script, council

from felixhub.core.errors import ConfigError
from felixhub.core.events import RunCancelled, RunFailed, Usage, parse_event
from felixhub.core.follower import Reset, RunGone
from felixhub.views.console import ConsoleOptions, Outcome, watch
from felixhub.views.console_look import detect_look


class Terminal(io.StringIO):
    """A terminal that keeps what it is sent."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


class Pipe:
    """A pipe's writing end that keeps the bytes."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.file = io.BytesIO()
        self.text = io.TextIOWrapper(self.file, encoding=encoding)

    @property
    def data(self) -> bytes:
        return self.file.getvalue()


def watched(
    played: Played, out: Any = None, environ: dict[str, str] | None = None, **options: Any
) -> tuple[str, str, Outcome]:
    out, err = out or io.StringIO(), io.StringIO()
    outcome = watch(played, ConsoleOptions(**options), out, err, environ=environ or {}, clock=played.clock)
    return (out.getvalue() if hasattr(out, "getvalue") else ""), err.getvalue(), outcome


def long_script(lines: int = 50) -> Script:
    script = Script()
    script.start("research", 0)
    for number in range(lines):
        script.say("research", number, f"line {number}\n")
    return script


# ---- outcome ---------------------------------------------------------------------------------------------------------


def test_the_outcome_tells_how_the_run_ended() -> None:
    _, _, outcome = watched(Played(council().events))
    assert outcome == Outcome("degraded", ("critic is missing (stalled)",), "", "Because.", "r1")
    for shape, fields, expected in (
        (RunFailed, {"error": "no model"}, ("failed", "no model")),
        (RunCancelled, {"by": "ann"}, ("cancelled", "cancelled by ann")),
    ):
        script = Script()
        script.add(shape, 1, usage=Usage(), seconds=1.0, **fields)
        _, _, outcome = watched(Played(script.events))
        assert (outcome.status, outcome.error) == expected
    script = Script()
    script.finish(1)
    assert watched(Played(script.events))[2].status == "finished"
    assert watched(Played(Script().events))[2].status is None


# ---- the past --------------------------------------------------------------------------------------------------------


def test_a_long_running_run_begins_with_its_last_lines() -> None:
    out, _, _ = watched(Played(long_script().events, [[]], began=100.0))
    lines = out.splitlines()
    assert len(lines) == 21
    assert lines[0].endswith("hub        … 34 earlier lines: --tail all shows them")
    elapsed, _, _ = watched(Played(long_script().events, [[]], began=100.0), elapsed=True)
    assert elapsed.startswith("[+30.0s]  hub        … 34 earlier")
    assert lines[1].endswith("│ line 30") and lines[-1].endswith("│ line 49")


def test_the_past_of_a_young_or_ended_run_is_shown_whole() -> None:
    young, _, _ = watched(Played(long_script().events, began=55.0))
    script = long_script()
    script.finish(50)
    ended, _, _ = watched(Played(script.events, began=5000.0))
    print_and_end, _, _ = watched(Played(long_script().events, began=5000.0), follow=False)
    assert "line 0" in young and "line 0" in ended and "line 0" in print_and_end
    assert "earlier lines" not in young + ended + print_and_end


@pytest.mark.parametrize(("tail", "count"), [(3, 4), (0, 0), ("all", 54), (1000, 54)])
def test_tail(tail: Any, count: int) -> None:
    out, _, _ = watched(Played(long_script().events, [[]], began=100.0), tail=tail)
    assert len(out.splitlines()) == count


def test_what_comes_after_the_past_is_never_cut() -> None:
    script = long_script()
    past = list(script.events)
    live = [[script.say("research", 200 + n, f"live {n}\n")] for n in range(30)]
    out, _, _ = watched(Played(past, live, began=200.0), tail=1)
    assert [line.rpartition("│ ")[2] for line in out.splitlines()[2:]] == [f"live {n}" for n in range(30)]


def test_since() -> None:
    out, _, _ = watched(Played(long_script().events, began=50.0), since_s=4.5)
    assert [line.rpartition("│ ")[2] for line in out.splitlines()] == ["line 46", "line 47", "line 48", "line 49"]


def test_without_following_it_ends_with_what_there_is() -> None:
    script = Script()
    script.start("research", 0)
    script.say("research", 1, "half a line")
    out, _, outcome = watched(Played(script.events, [[]] * 100, ends=False), follow=False)
    assert out.endswith("research   │ half a line\n")
    assert outcome.status is None


# ---- live ------------------------------------------------------------------------------------------------------------


def test_silence_and_still_text_show_while_nothing_comes() -> None:
    script = Script()
    past = [script.events[0], script.start("research", 0), script.say("research", 0, "half a line")]
    beat = script.beat(script.busy("research", 0.1, "streaming"))
    out, _, _ = watched(Played(past, [[beat], *[[]] * 25]), Terminal(), environ={"NO_COLOR": "1"})
    assert [line[9:] for line in out.splitlines()][-2:] == ["research   │ half a line", "research   … silent for 2 s"]


def test_notices_go_to_standard_error_once() -> None:
    script = Script()
    turns = [["the hub is away; waiting for it"], [], ["the hub is back"], [Reset("r1", "the log is another one")]]
    out, err, _ = watched(Played(script.events, turns))
    assert err.splitlines() == [
        "felixhub: the hub is away; waiting for it",
        "felixhub: the hub is back",
        "felixhub: run r1 starts over: the log is another one",
    ]
    assert "away" not in out


def test_waiting_for_a_run_is_said_once() -> None:
    _, err, _ = watched(Played([], [[], [], []]))
    assert err == "felixhub: there is no run on this hub yet; waiting for one\n"


def test_a_run_that_is_not_there_is_raised_only_where_it_was_asked_for() -> None:
    with pytest.raises(RunGone):
        watched(Played([], [[RunGone("there is no run 'rx'")]], selection="rx"))
    _, err, _ = watched(Played(council().events, [[RunGone("pruned\x1b")]], selection="all"))
    assert err == "felixhub: pruned␛\n"


def test_an_interrupt_shows_what_is_known_and_passes_through() -> None:
    script = Script()
    script.start("research", 0)
    script.say("research", 1, "half a line")
    out = io.StringIO()
    played = Played(script.events, [[]], ends=False)
    with pytest.raises(KeyboardInterrupt):
        watch(played, ConsoleOptions(), out, io.StringIO(), environ={}, clock=played.clock)
    assert out.getvalue().endswith("│ half a line\n")


def test_a_bad_pattern_is_told_before_anything_is_watched() -> None:
    for option in ("include", "exclude", "highlight"):
        with pytest.raises(ConfigError, match=f"--{option}"):
            watched(Played(), **{option: ("(",)})


# ---- forms -----------------------------------------------------------------------------------------------------------


def test_json_is_the_wire_byte_for_byte() -> None:
    wire = [
        b'{"kind":"section.unheard",  "seq":1,"prev":0,"run":"r1","at":1.50,"x":"\\u00e9 \xe6\xbc\xa2 \\u001b[2J"}',
        *(event.encode() for event in council().events),
    ]
    pipe = Pipe("latin-1")
    played = Played([parse_event(line) for line in wire[1:]])
    played.follower.board.take = lambda event: [event]
    played._turns[0].insert(0, parse_event(wire[0]))
    watched(played, pipe.text, mode="json")
    assert pipe.data == b"".join(line + b"\n" for line in wire)


def test_json_of_one_agent() -> None:
    out, _, _ = watched(Played(council().events), mode="json", agents=("critic",))
    assert {json.loads(line)["agent"] for line in out.splitlines()} == {"critic"}
    assert len(out.splitlines()) == 3


def test_raw_is_the_models_text_verbatim_in_a_pipe_and_safe_on_a_terminal() -> None:
    script = Script()
    for agent in ("research", "critic"):
        script.start(agent, 0)
    script.say("research", 1, "thinking", channel="reasoning")
    script.say("research", 1, "no end\x1b[2J\r")
    script.say("critic", 1, "漢\u202e\n")
    pipe = Pipe("ascii")
    watched(Played(script.events), pipe.text, mode="raw")
    assert pipe.data.decode() == "no end\x1b[2J\r漢\u202e\n"
    shown, _, _ = watched(Played(script.events), Terminal(), mode="raw")
    assert shown == "no end␛[2J␍\n漢<U+202E>\n"


def test_partial_shows_each_batch_on_one_line() -> None:
    script = Script()
    script.start("research", 0)
    script.say("research", 0.13, 'The "key"\nfindings\x9b')
    script.say("research", 0.2, "hm", channel="reasoning")
    out, _, _ = watched(Played(script.events), mode="partial", reasoning=True)
    assert out.splitlines() == [
        '[+0.1s] research   "The \\"key\\"\\nfindings\\u009b"',
        '[+0.2s] research   (reasoning) "hm"',
    ]


# ---- where it goes ---------------------------------------------------------------------------------------------------


def test_colour_only_where_it_is_wanted() -> None:
    pipe, terminal = io.StringIO(), Terminal()
    cases: list[tuple[Any, dict[str, str], bool]] = [
        (terminal, {}, True),
        (terminal, {"NO_COLOR": "1"}, False),
        (terminal, {"NO_COLOR": "", "TERM": "xterm"}, True),
        (terminal, {"TERM": "dumb"}, False),
        (pipe, {}, False),
        (pipe, {"FORCE_COLOR": "1"}, True),
        (pipe, {"FORCE_COLOR": "0"}, False),
        (terminal, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ]
    for out, environ, expected in cases:
        assert detect_look(out, environ).colour is expected, environ


def test_a_pipe_gets_no_escape_codes_and_no_carriage_returns() -> None:
    pipe = Pipe()
    watched(Played(council().events), pipe.text)
    assert b"\x1b" not in pipe.data and b"\r" not in pipe.data


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_without_our_signs_gets_plain_ones(encoding: str) -> None:
    script = council()
    script.start("research", 7)
    script.say("research", 8, "漢é\x1b\n")
    pipe = Pipe(encoding)
    watched(Played(script.events), pipe.text)
    lines = pipe.data.decode(encoding).splitlines()
    assert lines[0].endswith("hub        > run r1 started by ann")
    assert lines[-1].endswith("| \\u6f22" + ("é" if encoding == "latin-1" else "\\xe9") + "\\x1b")


def test_a_real_terminal_gives_the_width() -> None:
    ours, theirs = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    with os.fdopen(theirs, "w", encoding="utf-8") as out:
        script = Script()
        script.start("research", 0)
        script.say("research", 1, "A sentence that is too long for fifty columns is cut between two words.\n")
        watched(Played(script.events), out, environ={"NO_COLOR": "1"})
        shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert [line.rpartition("│ ")[2] for line in shown.splitlines()[-3:]] == [
        "A sentence that is too long",
        "for fifty columns is cut",
        "between two words.",
    ]


PROGRAM = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from console_script import Played, council, Script
from felixhub.views.console import ConsoleOptions, watch
import time

class Slow(Played):
    def poll(self, timeout_s):
        if self._live:
            time.sleep(0.01)
        return super().poll(timeout_s)

class Endless(list):
    def pop(self, _):
        return super().pop(0) if len(self) > 1 else self[0]

played = Slow()
played._turns = Endless([council().events, [] if {silent} else council().events[:1]])
print("before", flush=False)
watch(played, ConsoleOptions(tail="all"), clock=time.time)
print("after")
"""


@pytest.mark.parametrize("silent", [True, False])
def test_a_reader_that_goes_away_ends_it_quietly(silent: bool) -> None:
    here = Path(__file__).parent
    program = PROGRAM.format(root=str(here.parent.parent), here=str(here), silent=silent)
    shell = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | head -1; echo "${PIPESTATUS[0]}"', sys.executable, program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shell.stderr == ""
    assert shell.stdout.split() == ["before", "0"]
