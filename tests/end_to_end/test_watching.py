"""`felixhub watch`: in every form, of a run that has ended and of one that goes on, in a pipe and on a terminal.

One hub with one finished run for all; a test that needs a living run starts its own and ends it.
"""

from __future__ import annotations

import json
import math
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from shell import MEMO, TASK, Shell, a_shell, until
from texts import Told, of_kind, thoughts

from felixhub.core.events import Event, RunFinished, ThoughtPartial
from felixhub.llm.offline import OfflineModel

CLOCK = r"\d\d:\d\d:\d\d"


@dataclass(frozen=True)
class Hub:
    shell: Shell
    model: OfflineModel
    run: str  # has finished
    events: list[Event]
    told: dict[str, Told]

    def watch(self, *arguments: str, code: int = 0) -> str:
        """What `watch` prints about the finished run."""
        return self.shell.run("watch", "--run", self.run, "--no-follow", *arguments, code=code).text

    def start(self) -> str:
        """Another run, which lasts until the model is made fast."""
        self.model.tokens_per_s = 10.0
        asked = ("run", TASK, "--file", str(MEMO), "--workflow", "solo", "--llm", self.model.base_url, "--detach")
        run = self.shell.run(*asked).text.strip()
        self.shell.until_event(run, "thought.partial")
        return run

    def hurry(self) -> None:
        self.model.tokens_per_s = math.inf


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    model = OfflineModel(tokens_per_s=500.0, first_token_s=0.1)
    model.start()
    with a_shell() as shell:
        serving = shell.serve("--view", "none")
        asked = ("run", TASK, "--file", MEMO, "--llm", model.base_url, "--detach")
        run = shell.run(*asked).text.strip()
        until(lambda: shell.status(run) == "finished", 30.0, "the run finishes")
        events = shell.events(run)
        yield Hub(shell, model, run, events, thoughts(events))
        serving.interrupt()
        assert serving.wait(30.0).code == 130
        shell.until_nothing_is_left()
    model.stop()


def partials(hub: Hub) -> list[ThoughtPartial]:
    return of_kind(hub.events, ThoughtPartial)


# ---- the forms -----------------------------------------------------------------------------------------------------


def test_text(hub: Hub) -> None:
    text = hub.watch("--tail", "all")
    lines = text.splitlines()
    assert re.match(rf"{CLOCK} hub +▸ run {hub.run} started by command line$", lines[0])
    shape = re.compile(rf"{CLOCK} (hub|research|analysis|critic|synthesizer) +\S")
    until_result = next(number for number, line in enumerate(lines) if line.startswith("─── result"))
    for line in lines[:until_result]:
        assert shape.match(line), line
    result = of_kind(hub.events, RunFinished)[0].result
    assert "\n".join(line[2:] for line in lines[until_result + 1 : -1]) == result.rstrip("\n")
    for agent, count in {"research": 5, "analysis": 4, "critic": 3, "synthesizer": 1}.items():
        assert len(re.findall(rf"^{CLOCK} {agent} +▸ started", text, re.MULTILINE)) == count
        assert len(re.findall(rf"^{CLOCK} {agent} +✓ \d", text, re.MULTILINE)) == count
    # Laid out, but with every word of every agent's in its order.
    for agent in ("research", "analysis", "critic", "synthesizer"):
        shown = re.findall(rf"^{CLOCK} {agent} +│ ?(.*)$", text, re.MULTILINE)
        said = "".join(one.text for one in hub.told.values() if one.started.agent == agent)
        assert " ".join(shown).split() == said.split()


def test_json_is_the_log(hub: Hub) -> None:
    exported = hub.shell.run("export", hub.run, "--format", "jsonl").text
    assert hub.watch("-o", "json") == exported
    assert hub.watch("-o", "json", "--tail", "all") == exported
    assert hub.watch("-o", "json", "--tail", "3").splitlines() == exported.splitlines()[-3:]


def test_raw_is_the_models_text_to_the_byte(hub: Hub) -> None:
    said = "".join(one.text for one in partials(hub))
    assert hub.watch("-o", "raw") == said
    critic = "".join(one.text for one in hub.told.values() if one.started.agent == "critic")
    assert hub.watch("critic", "-o", "raw") == critic


def test_partial_shows_every_batch_as_it_came(hub: Hub) -> None:
    lines = hub.watch("-o", "partial").splitlines()
    assert len(lines) == len(partials(hub))
    began = hub.events[0].at
    for line, event in zip(lines, partials(hub), strict=True):
        found = re.fullmatch(r"\[\+(\d+\.\d)s\] (\S+) +(\".*\")", line)
        assert found, line
        assert float(found[1]) == pytest.approx(event.at - began, abs=0.051)
        assert (found[2], json.loads(found[3])) == (event.agent, event.text)


# ---- how much of it ------------------------------------------------------------------------------------------------


def test_tail(hub: Hub) -> None:
    whole = hub.watch("--tail", "all").splitlines()
    assert hub.watch().splitlines() == whole  # A run that has ended is shown as a whole.
    some = hub.watch("--tail", "5").splitlines()
    assert some[1:] == whole[-5:]
    assert some[0].endswith(f"… {len(whole) - 5:,} earlier lines: --tail all shows them")
    assert hub.watch("--tail", "0") == ""


def test_agents(hub: Hub) -> None:
    def seen(*arguments: str) -> set[str]:
        return set(re.findall(rf"^{CLOCK} (\S+)", hub.watch(*arguments), re.MULTILINE))

    assert seen() == {"hub", "research", "analysis", "critic", "synthesizer"}
    assert seen("critic", "research") == {"critic", "research"}
    assert seen("*s*") == {"research", "analysis", "synthesizer"}
    assert seen("--exclude-agent", "hub", "--exclude-agent", "a*") == {"research", "critic", "synthesizer"}


def test_an_agent_that_the_run_does_not_have(hub: Hub) -> None:
    said = f"run {hub.run} has no agent 'nobody': there are research, analysis, critic, synthesizer"
    for form in ("text", "json"):
        done = hub.shell.run("watch", "--run", hub.run, "--no-follow", "nobody", "-o", form, code=2)
        assert (done.complaint, done.out) == (said, b"")
    done = hub.shell.run("watch", "--run", hub.run, "--no-follow", "nobody", "critic")
    assert done.complaint == said and done.text == hub.watch("critic")
    done = hub.shell.run("watch", "--run", hub.run, "--until-done", "nobody")
    assert (done.complaint, done.out) == (said, b"")
    assert hub.shell.run("watch", "--run", hub.run, "--no-follow", "hub", "cri*").err == ""


def test_patterns(hub: Hub) -> None:
    whole = hub.watch("critic").splitlines()
    text = [re.sub(rf"^{CLOCK} critic +", "", line) for line in whole]
    wanted = [line for line, said in zip(whole, text, strict=True) if "buses" in said or "Gaps" in said]
    assert hub.watch("critic", "-i", "buses", "-i", "Gaps").splitlines() == wanted
    without = [line for line in wanted if "Gaps" not in line]
    assert hub.watch("critic", "-i", "buses", "-i", "Gaps", "-e", "G[a]ps").splitlines() == without
    assert wanted != without != []


def test_since(hub: Hub) -> None:
    assert hub.watch("--since", "1h") == hub.watch()
    assert hub.watch("--since", "0.001s") == ""


def test_elapsed_and_ascii(hub: Hub) -> None:
    lines = hub.watch("critic", "-t").splitlines()
    assert all(re.match(r"\[\+\d+\.\ds\] +critic ", line) for line in lines)
    plain = hub.watch("hub", "--ascii")
    assert "> run " in plain and "ok run finished" in plain and "--- result ---" in plain
    assert not set("▸│✓─·") & set(plain)


def test_run_latest_and_all(hub: Hub) -> None:
    latest = hub.shell.run("watch", "--no-follow", "-o", "json").text
    run = hub.start()
    everything = hub.shell.run("watch", "--run", "all", "--no-follow", "-o", "json").text
    assert set(re.findall(r'"run":"([^"]+)"', everything)) >= {hub.run, run}
    assert latest in everything
    assert run in hub.shell.run("watch", "--no-follow").text
    labelled = hub.shell.run("watch", "--run", "all", "--no-follow").text
    assert f"{hub.run}/critic" in labelled and f"{run}/research" in labelled
    hub.shell.run("cancel", run)
    assert hub.shell.run("watch", "--run", run, "--until-done", code=1).text


# ---- following -----------------------------------------------------------------------------------------------------


def test_until_done_of_a_run_that_has_just_ended(hub: Hub) -> None:
    assert hub.shell.run("watch", "--run", hub.run, "--until-done").text == hub.watch()


def test_until_done_of_a_run_that_goes_on(hub: Hub) -> None:
    run = hub.start()
    watching = {form: hub.shell.start("watch", "--run", run, "--until-done", "-o", form) for form in ("json", "raw")}
    for command in watching.values():
        until(lambda c=command: c.out, 20.0, "it shows what there is")  # type: ignore[misc]
    hub.hurry()
    done = {form: command.wait() for form, command in watching.items()}
    assert [one.code for one in done.values()] == [0, 0]
    assert done["json"].out == hub.shell.run("export", run, "--format", "jsonl").out
    (told,) = thoughts(hub.shell.events(run)).values()
    assert done["raw"].text == told.text


def test_a_reader_that_has_enough_ends_it_quietly(hub: Hub) -> None:
    """`| head -1`: exit code 0 and not a word, however much there was to come."""
    for arguments in ("--tail all", "-o json", "-o raw"):
        line = f"felixhub watch --run {hub.run} {arguments} | head -1; echo ${{PIPESTATUS[0]}}"
        done = hub.shell.script(line)
        assert done.err == ""
        assert done.lines[-1] == "0" and len(done.lines) == 2
    ps = hub.shell.script("felixhub ps --json | head -1; echo ${PIPESTATUS[0]}")
    assert (ps.err, ps.lines) == ("", ["[", "0"])


def test_a_reader_that_leaves_a_quiet_run(hub: Hub) -> None:
    """Nothing is written any more, and yet it notices; the run does not."""
    run = hub.start()
    hub.model.tokens_per_s = 0.01
    line = f"felixhub watch --run {run} -o json | head -1; echo ${{PIPESTATUS[0]}}"
    done = hub.shell.script(line)
    assert (done.err, done.lines[-1]) == ("", "0")
    assert hub.shell.status(run) == "running"
    hub.shell.run("cancel", run)
    until(lambda: hub.shell.status(run) == "cancelled", 20.0, "it is cancelled")


# ---- on a terminal -------------------------------------------------------------------------------------------------


def test_on_a_terminal_it_is_coloured_and_fits(hub: Hub) -> None:
    terminal = hub.shell.terminal("watch", "--run", hub.run, "--no-follow", columns=60)
    assert terminal.wait() == 0
    assert b"\x1b[36m" in terminal.received  # The first agent's colour.
    assert max(len(line) for line in terminal.screen.splitlines()) <= 60
    words = of_kind(hub.events, RunFinished)[0].result.split()
    assert "".join(words) in "".join(terminal.screen.split())  # The result, wrapped.
    plain = hub.shell.terminal("watch", "--run", hub.run, "--no-follow", columns=60, NO_COLOR="1")
    assert plain.wait() == 0
    assert b"\x1b" not in plain.received
    assert plain.screen.splitlines() == [line.rstrip() for line in terminal.screen.splitlines()]


def test_highlight(hub: Hub) -> None:
    terminal = hub.shell.terminal("watch", "critic", "--run", hub.run, "--no-follow", "-H", "buses")
    assert terminal.wait() == 0
    assert b"\x1b[7mbuses\x1b[27m" in terminal.received
    assert "\x1b" not in hub.watch("critic", "-H", "buses")


def test_a_closed_window_ends_the_view_and_not_the_run(hub: Hub) -> None:
    run = hub.start()
    terminal = hub.shell.terminal("watch", "--run", run)
    terminal.until_shown("▸ started")
    terminal.hang_up()
    assert terminal.wait(30.0) in (0, -signal.SIGHUP)
    assert hub.shell.status(run) == "running"
    hub.hurry()
    until(lambda: hub.shell.status(run) == "finished", 20.0, "it goes on to its end")


def test_ctrl_c_ends_the_view_and_not_the_run(hub: Hub) -> None:
    run = hub.start()
    terminal = hub.shell.terminal("watch", "--run", run)
    terminal.until_shown("▸ started")
    terminal.type("\x03")
    assert terminal.wait(30.0) == 130
    assert "Traceback" not in terminal.screen
    assert hub.shell.status(run) == "running"
    hub.shell.run("cancel", run)
    until(lambda: hub.shell.status(run) == "cancelled", 20.0, "it is cancelled")
