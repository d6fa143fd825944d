"""How it looks, in three sizes: a run that a script tells, at a fixed time, with nothing that moves.

`pytest tests/views/tui/test_tui_screens.py --snapshot-update` writes the pictures anew; look at them before you keep
them: tests/views/tui/__snapshots__.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from console_script import Script
from textual.pilot import Pilot
from top_pilot import Driver, top_told

from felixhub.core.events import (
    CommandAccepted,
    SectionApproved,
    SectionReady,
    StageFinished,
    StageStarted,
    Usage,
)
from felixhub.core.messages import RunBeat
from felixhub.core.workflow import Stage, Synthesis, Workflow
from felixhub.views.tui.look import Look
from felixhub.views.tui.top import Top

SIZES = [(80, 24), (120, 40), (200, 60)]
SCREENS = {  # what is on it, and the keys that lead there
    "grid": ("2 analysis",),
    "fullscreen": ("t=0.45", "enter"),
    "steering": ("What must hold", "s"),
    "help": ("What the signs mean", "question_mark"),
    "timeline": ("waits for its first token", "t"),
    "helix": ("CentralPost", "h"),
}
UNCHANGED = 5  # looks in a row
HELIX = (0.0, 0.3, 0.5, 0.7, 0.9)
TASK = "Should the city convert the night bus depot to electric buses?"
FINDINGS = """**Findings**

Of 1,169 words from 10 sources, five passages bear on it most.

1. “It houses 64 diesel buses, 41 of which are due for replacement within four years.”
2. “The five night buses are the awkward case: they return at 05:10 and go out again at 06:20.” 漢字 🎉
3. Each charger cabinet states [/x] 58 dB at 10 m.

The words that tie these together are *depot*, *bus* and *grid*. Nothing was said of who pays for the"""


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def _team() -> tuple[Script, RunBeat]:
    """Everybody is at something else."""
    names = ("research", "analysis", "critic", "risks", "gains", "costs", "people", "noise", "grid")
    stages = [Stage(name=name, agent=name, checkpoints=HELIX if name in names[:3] else (0.0,)) for name in names[:3]]
    stages += [Stage(name=name, agent=name, section=name.capitalize(), gate=True, context="none") for name in names[3:]]
    workflow = Workflow(name="council", stages=tuple(stages), synthesis=Synthesis(agent="synthesizer"))
    script = Script(workflow=workflow, task=TASK, review=True)
    for name in names[:8]:
        script.add(StageStarted, 0.1, stage=name)
    script.start("research", 0.2, progress=0.3, checkpoint=0.3, attempt=2)
    script.start("analysis", 0.2, progress=0.5, checkpoint=0.5)
    for name in ("risks", "gains", "costs", "people"):
        script.start(name, 0.3, progress=0.0, checkpoint=0.0)
    for number, piece in enumerate(FINDINGS.split(" ")):
        script.say("research", 1.0 + number * 0.07, piece + " ", tokens=(number + 1) * 3)
    for number in range(8):
        script.say("risks", 1.0 + number * 0.2, "Each bus that waits is a risk. ", tokens=number * 9 + 9)
        script.say("gains", 1.2 + number * 0.2, "Each bus that goes is a gain. ", tokens=number * 9 + 9)
        script.say("costs", 1.4 + number * 0.2, "Nobody has counted the cost. ", tokens=number * 9 + 9)
    usage = Usage(prompt_tokens=400, completion_tokens=72)
    for name in ("risks", "gains"):
        script.finalize(name, 3.0, usage=usage, seconds=2.7, first_token_s=0.7)
        script.add(StageFinished, 3.0, stage=name, outcome="final")
        script.add(SectionReady, 3.0, section=name, version=1, by=name, thought=script.thought(name), whole=True)
    script.add(SectionApproved, 3.4, section="risks", version=1, by="ann")
    script.abandon("costs", 4.0, "llm_error", error="the server said 500 three times", retry_s=None)
    script.add(StageFinished, 4.0, stage="costs", outcome="abandoned", why="the server said 500 three times")
    script.add(CommandAccepted, 4.5, id="c-1", name="cancel", args={"run": "r1", "agent": "people"}, by="ann", reply={})
    script.abandon("people", 4.6, "cancelled", retry_s=None)
    script.add(StageFinished, 4.6, stage="people", outcome="abandoned", why="cancelled by ann")
    beat = script.beat(
        script.busy("research", 1.1, "streaming"),
        script.busy("analysis", 8.8, "thinking"),
        script.busy("noise", 0.0, "queued").model_copy(update={"thought": None, "place": 2}),
        script.busy("grid", 0.0, "backing_off").model_copy(update={"thought": None}),
        awaiting=("gains",),
    )
    return script, beat


def _top(look: Look | None = None) -> Top:
    script, beat = _team()
    return top_told(script, at=9.0, beat=beat, look=look)


def _after(shown: str, *keys: str) -> Callable[[Pilot[int]], Awaitable[None]]:
    """Wait for the whole run, press these keys, and wait until this is shown and nothing changes any more."""

    async def run(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, Top)
        top = Driver(app, pilot)
        await top.until_state("noise", "queued")  # by the beat, which comes last
        await top.press(*keys)
        await top.until_shown(shown)
        unchanged, before = 0, ""
        while unchanged < UNCHANGED:
            await pilot.pause(0.05)
            unchanged, before = (unchanged + 1 if top.text == before else 0), top.text

    return run


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCREENS)
def test_screen(snap_compare: Any, size: tuple[int, int], name: str) -> None:
    assert snap_compare(_top(), terminal_size=size, run_before=_after(*SCREENS[name]))


@pytest.mark.parametrize("name", ["grid", "timeline", "helix"])
def test_plain_screen(snap_compare: Any, name: str) -> None:
    look = Look(ascii_only=True, moves=False)
    assert snap_compare(_top(look), terminal_size=(120, 40), run_before=_after(*SCREENS[name]))


def test_light_screen(snap_compare: Any) -> None:
    app = _top()
    app.theme = "felix-light"
    assert snap_compare(app, terminal_size=(120, 40), run_before=_after(*SCREENS["grid"]))
