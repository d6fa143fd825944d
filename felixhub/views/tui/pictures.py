"""The screens of the helix and of the timeline.

Owns: when they are drawn, and the flash of a batch. Must not: draw them (`helix.py`, `timeline.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.strip import Strip

from felixhub.core.overview import Overview
from felixhub.views.tui import keys
from felixhub.views.tui.body import Body
from felixhub.views.tui.heading import Heading
from felixhub.views.tui.helix import helix_strips
from felixhub.views.tui.key_bar import Hint, KeyBar
from felixhub.views.tui.timeline import timeline_strips
from felixhub.views.tui.viewed import Viewed

if TYPE_CHECKING:
    from felixhub.views.tui.app import RunApp

FLASH_S = 0.35


class Picture(Screen[None], Viewed):
    """A picture of the run, drawn anew when there is news."""

    BINDINGS: ClassVar[list[BindingType]] = list(keys.PICTURE)
    AUTO_FOCUS = ""
    app: RunApp
    other: Hint

    def __init__(self, top: RunApp) -> None:
        super().__init__()
        self._heading = Heading(top.look, top.palette)
        self._body = Body(top.look, top.palette)
        self._body.follows = False
        self._bar = KeyBar(top.palette)

    def compose(self) -> ComposeResult:
        yield self._heading
        yield self._body
        yield self._bar

    def refresh_view(self) -> None:
        self.app.keep_selected()
        feed = self.app.feed
        self._heading.show(self.app.seen, is_away=feed.is_away, gaps_repaired=feed.gaps_repaired, page="")
        if self.app.seen is not None and self._body.size.height:
            self._body.put_strips(self.drawn(self.app.seen))
        self._bar.show((Hint("escape", "back"), self.other, Hint("question_mark", "help"), Hint("q", "quit")))

    def drawn(self, seen: Overview) -> list[Strip]:
        raise NotImplementedError

    def on_resize(self) -> None:
        self.call_after_refresh(self.refresh_view)

    def action_back(self) -> None:
        self.app.pop_screen()

    def action_scroll(self, by: int) -> None:
        self._body.move(by)

    def action_scroll_page(self, by: int) -> None:
        self._body.move_page(by)


class TimelineScreen(Picture):
    other = Hint("h", "helix")

    def drawn(self, seen: Overview) -> list[Strip]:
        return timeline_strips(seen, self.app.look, self.app.palette, self._body.columns)


class HelixScreen(Picture):
    other = Hint("t", "timeline")

    def __init__(self, top: RunApp) -> None:
        super().__init__(top)
        self._lit: dict[str, float] = {}  # until when

    def draw(self, agents: set[str]) -> None:
        if not self.app.look.moves:
            return
        now = self.app.options.clock()
        before = set(self._lit)
        self._lit = {agent: until for agent, until in self._lit.items() if until > now}
        self._lit |= dict.fromkeys(agents & self.app.batches, now + FLASH_S)
        if set(self._lit) != before:
            self.refresh_view()

    def drawn(self, seen: Overview) -> list[Strip]:
        region = self._body.scrollable_content_region
        return helix_strips(seen, self.app.look, self.app.palette, region.width, region.height, set(self._lit))
