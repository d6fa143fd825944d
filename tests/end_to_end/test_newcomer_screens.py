"""From an empty directory with only the wheel: everything a newcomer does first, on two terminals, as it looks.

The tests are one story, in this order. Its model says the same each time; what changes is left out, see screens.py.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from screens import compare, displayed, steady, unpadded
from scripted_model import Say, ScriptedModel, scripted_model
from shell import TASK, Shell, Terminal, a_shell, until

COLUMNS = 120
LIKED = "Praise what is good before you object."  # what the newcomer writes into a card
HARD = "Is it worth it?"  # what the model never answers
THOUGHTS = {
    "research": "**Findings.** The depot is home to 64 buses, and 41 of them are due for replacement in four years.",
    "analysis": "**Analysis.** Two steps cost more than one, and are safe:\n\n- the grid is late;\n- the grant is not.",
    "critic": "**Doubts.** Nobody has asked the drivers.",
    "synthesizer": "# The depot\n\nConvert it in two steps, and ask the drivers before the first of them. The grid is "
    "late and the grant does not wait, so that to begin small is the only way that is open to both.\n\n"
    "## Open questions\n\n1. Who pays for the second step?\n2. What do the drivers say?",
}


def answer(agent: str, prompt: str) -> Say:
    return Say(silent=True) if HARD in prompt else Say(THOUGHTS[agent])


@dataclass
class Newcomer:
    shell: Shell
    model: ScriptedModel
    runs: list[str] = field(default_factory=list)
    serving: Terminal | None = None  # the first terminal; everything else is typed into another

    def type(self, *words: object, code: int = 0, columns: int = COLUMNS) -> list[str]:
        """A command on the second terminal, to its end: what is on the screen then."""
        terminal = self.shell.terminal(*words, columns=columns)
        assert terminal.wait() == code, terminal.screen
        return displayed(terminal.received, columns)


@pytest.fixture(scope="module")
def newcomer(installed: Path) -> Iterator[Newcomer]:
    with scripted_model(answer) as model, a_shell(installed / "bin") as shell:
        shutil.rmtree(shell.project / "config")
        shell.environ.pop("FELIXHUB_DATA")
        shell.data = shell.folder / "home" / ".local" / "share" / "felixhub"
        assert not [*shell.project.iterdir()]
        yield Newcomer(shell, model)


def test_before_there_is_a_hub(newcomer: Newcomer) -> None:
    compare("no-hub", steady(newcomer.type("ps", code=3)))


def test_doctor(newcomer: Newcomer) -> None:
    lines = newcomer.type("doctor", "--quick")
    # Which servers and fonts there are is the machine's business.
    compare(
        "doctor", steady([one for one in lines if not re.match(r". (llm +(lmst|olla|llam|vllm)|pdf)|oto-cjk", one)])
    )


def test_init_and_edit_a_card(newcomer: Newcomer) -> None:
    compare("init", steady(newcomer.type("init")))
    card = newcomer.shell.project / "agents" / "critic.md"
    card.write_text(f"{card.read_text()}\n{LIKED}\n")
    compare("workflows-check", steady(newcomer.type("workflows", "check")))
    compare("workflows-show", steady(newcomer.type("workflows", "show", "helix")))


def test_run_on_a_hub_that_serves(newcomer: Newcomer) -> None:
    shell = newcomer.shell
    newcomer.serving = shell.terminal("up", "--serve", "--llm", newcomer.model.base_url, columns=COLUMNS)
    newcomer.serving.until_shown("Ctrl-C stops")
    seen = steady(newcomer.type("run", TASK, "--llm", newcomer.model.base_url))
    compare("run", seen, live=True)
    (row,) = shell.rows()
    newcomer.runs.append(row["run"])
    assert {LIKED in one.system for one in newcomer.model.of("critic")} == {True}  # The card that was edited thinks.
    assert {LIKED in one.system for one in newcomer.model.of("research")} == {False}


def test_a_run_at_a_glance(newcomer: Newcomer) -> None:
    compare("ps", unpadded(steady(newcomer.type("ps"))))
    narrow = newcomer.type("ps", columns=50)
    assert len(narrow) == 2 and narrow[1].endswith("…"), "no row wraps"
    compare("show", unpadded(steady(newcomer.type("show", "latest", columns=200))))
    compare("sections", unpadded(steady(newcomer.type("sections", "latest"))))


def test_watch_what_has_ended(newcomer: Newcomer) -> None:
    """It is what `run` has shown."""
    seen = steady(newcomer.type("watch", "--tail", "all", "--no-follow"))
    compare("watch", seen)
    lines = newcomer.type("watch", "--compact", "--tail", "all", "--no-follow")
    assert max(map(len, lines)) <= COLUMNS
    # How much of a text fits depends on how long the figures before it are.
    compare("watch-compact", steady([re.sub(r"( · \w+)[^·]*…$", r"\1…", line) for line in lines]))
    compare("watch-tail", steady(newcomer.type("watch", "--tail", 4, "--until-done")))


def test_watch_and_cancel(newcomer: Newcomer) -> None:
    """First one agent, then the run, before anybody has said a word."""
    shell = newcomer.shell
    asked = ("run", HARD, "--llm", newcomer.model.base_url, "--detach")
    (run,) = [line for line in newcomer.type(*asked) if re.fullmatch(r"helix-\w{6}", line)]
    watching = shell.terminal("watch", columns=COLUMNS)
    until(lambda: watching.screen.count("▸ started") == 3, 30.0, lambda: watching.screen)
    compare("cancel-agent", steady(newcomer.type("cancel", run, "critic")))
    watching.until_shown("■ cancelled by ann")
    compare("show-cancelled-agent", unpadded(steady(newcomer.type("show", run, columns=200))))
    compare("cancel", steady(newcomer.type("cancel", run)))
    watching.until_shown("run cancelled by ann")
    watching.type("\x03")
    assert watching.wait() == 130
    compare("watch-cancelled", steady(displayed(watching.received, COLUMNS)))
    compare("show-cancelled", unpadded(steady(newcomer.type("show", run, columns=200))))
    newcomer.runs.append(run)


def test_export(newcomer: Newcomer) -> None:
    run, here = newcomer.runs[0], newcomer.shell.project
    compare("export", steady(newcomer.type("export", run)))
    for form in ("md", "html", "jsonl"):
        compare(f"export-{form}", steady(newcomer.type("export", run, "--format", form, "-o", f"out.{form}")))
    assert (here / "out.html").read_text().startswith("<!DOCTYPE html>")
    assert (here / "out.md").read_text().startswith("# The depot\n")
    assert (here / "out.jsonl").read_bytes().count(b"\n") == len(newcomer.shell.events(run))


def test_replay(newcomer: Newcomer) -> None:
    """A recording shows what the run has shown."""
    seen = steady(newcomer.type("replay", "out.jsonl", "--speed", "max"))
    begun = next(number for number, line in enumerate(seen) if line.startswith("hh:mm:ss"))
    compare("replay", seen[:begun])
    compare("watch", seen[begun:])


def test_logs(newcomer: Newcomer) -> None:
    """Each line once: how many lives a worker had is the machine's business."""
    compare("logs", [*dict.fromkeys(steady(newcomer.type("logs", columns=250)))])


def test_web(newcomer: Newcomer) -> None:
    web = newcomer.shell.terminal("web", "--port", "0", "--no-open", columns=COLUMNS)
    web.until_shown("http://127.0.0.1:")
    web.until_shown("felixhub web at")
    web.type("\x03")
    assert web.wait() == 130
    compare("web", steady(displayed(web.received, COLUMNS)))


def test_ctrl_c_ends_the_hub(newcomer: Newcomer) -> None:
    """And what the first terminal has shown of all this."""
    serving = newcomer.serving
    assert serving is not None
    serving.type("\x03")
    assert serving.wait() == 130
    compare("up-serve", steady(displayed(serving.received, COLUMNS)), live=True)
    newcomer.shell.until_nothing_is_left()
