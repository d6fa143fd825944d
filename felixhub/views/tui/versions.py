"""The versions of what an agent has written, and what has changed from one to another, word by word.

Owns: which two are compared. Must not: compare them (`core/word_diff.py` does).
"""

from __future__ import annotations

import asyncio
import io
import time
from typing import ClassVar, NamedTuple

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import BindingType
from textual.strip import Strip

from felixhub.core.overview import AgentView
from felixhub.core.run import Run
from felixhub.core.word_diff import Change, counted, word_diff
from felixhub.views import wording
from felixhub.views.tui import keys
from felixhub.views.tui.look import Look, Palette
from felixhub.views.tui.pager import Pager

CONTEXT_LINES = 3  # of what has not changed, beside what has
SHOWN_CHARACTERS_MAX = 200_000


class Version(NamedTuple):
    """One version: what it is called, and its text."""

    name: str
    text: str


def versions_of(run: Run, view: AgentView) -> list[Version]:
    """Of the section that the agent works on; of an agent without one, what its thoughts have come to."""
    if view.section is not None:
        return [
            Version(
                f"version {one.number} by {one.by}, {time.strftime('%H:%M:%S', time.localtime(one.at))}"
                + ("" if one.whole else " (truncated)"),
                run.text_of(one.source),
            )
            for one in run.sections[view.section].versions
        ]
    return [
        Version(f"thought {number}, t={thought.started.progress:.2f}, {thought.state}", str(thought.text))
        for number, thought in enumerate((t for t in run.thoughts.values() if t.started.agent == view.agent), 1)
        if len(thought.text)
    ]


class Versions(Pager):
    BINDINGS: ClassVar[list[BindingType]] = list(keys.VERSIONS)

    def __init__(self, look: Look, palette: Palette, title: str, versions: list[Version]) -> None:
        super().__init__(look, palette, title)
        self._look = look
        self._palette = palette
        self._title = title
        self._versions = versions
        self._at = len(versions) - 1

    def on_resize(self) -> None:
        self.call_after_refresh(self._compare)

    def action_pick(self, by: int) -> None:
        self._at = max(min(1, len(self._versions) - 1), min(len(self._versions) - 1, self._at + by))
        self._compare()

    def _compare(self) -> None:
        self.run_worker(self._drawn(), exclusive=True)

    async def _drawn(self) -> None:
        new = self._versions[self._at]
        arrow = "->" if self._look.ascii_only else "→"
        if self._at == 0:
            head = f"{self._title}: {new.name}, the only one"
            changes = [Change("same", new.text)]
        else:
            old = self._versions[self._at - 1]
            changes = await asyncio.to_thread(word_diff, old.text, new.text)
            gone, added = counted(changes)
            said = "nothing has changed" if not gone + added else f"-{wording.count(gone, 'word')}, +{added:,}"
            head = f"{self._title}: {old.name} {arrow} {new.name}\n{said}"
        self.head.update(self._look.text(head))
        is_whole = self._at == 0
        strips = await asyncio.to_thread(
            diff_strips, changes, self._look, self._palette, self.body.columns, is_whole=is_whole
        )
        self.show(strips)
        self.body.go(0)


def diff_strips(changes: list[Change], look: Look, palette: Palette, width: int, *, is_whole: bool) -> list[Strip]:
    """What is gone is struck through, what is new underlined; with plain ASCII [-between-] {+brackets+}."""
    text = Text()
    for number, change in enumerate(changes):
        safe = look.text(change.text)
        match change.op:
            case "same":
                is_first, is_last = number == 0, number == len(changes) - 1
                text.append(safe if is_whole else _shortened(safe, is_first, is_last, look), palette.style())
            case "gone":
                said = f"[-{safe}-]" if look.ascii_only else safe
                text.append(said, palette.style("error") + Style(strike=not look.ascii_only))
            case "new":
                said = f"{{+{safe}+}}" if look.ascii_only else safe
                text.append(said, palette.style("success") + Style(underline=not look.ascii_only))
        if len(text) > SHOWN_CHARACTERS_MAX:
            text.append(f"\n{look.signs.cut} and more: felixhub diff shows all", palette.style("warning"))
            break
    console = Console(width=width, file=io.StringIO(), color_system="truecolor", force_terminal=True, markup=False)
    ground = palette.style()
    lines = console.render_lines(text, console.options.update(width=width), pad=False)
    return [Strip([Segment(part.text, ground + (part.style or Style())) for part in line]) for line in lines]


def _shortened(text: str, is_first: bool, is_last: bool, look: Look) -> str:
    """The lines next to a change; how many between are left out."""
    lines = text.split("\n")
    before = 0 if is_first else CONTEXT_LINES
    after = 0 if is_last else CONTEXT_LINES
    left_out = len(lines) - before - after
    if left_out < 2:
        return text
    note = f"{look.signs.cut} {wording.count(left_out, 'line')} unchanged"
    return "\n".join([*lines[:before], note, *lines[len(lines) - after :]])
