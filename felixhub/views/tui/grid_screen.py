"""The first screen: heading, grid of panes, filter, footer.

Owns: which agent is selected, and which are shown. Must not: send a command (`app.py` does).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Input, Static

from felixhub.core.overview import AgentView
from felixhub.views.tui import keys
from felixhub.views.tui.fullscreen import FullScreen
from felixhub.views.tui.grid import PaneGrid
from felixhub.views.tui.heading import Heading
from felixhub.views.tui.key_bar import Hint, KeyBar
from felixhub.views.tui.look import MARKS
from felixhub.views.tui.pane import Pane
from felixhub.views.tui.viewed import Viewed

if TYPE_CHECKING:
    from felixhub.views.tui.app import RunApp

SEARCHED_BYTES = 65_536  # of a text's end, for what a filter looks for


class GridScreen(Screen[None], Viewed):
    BINDINGS: ClassVar[list[BindingType]] = list(keys.GRID)
    DEFAULT_CSS = """
    GridScreen { layers: ground; }
    #empty { width: 1fr; height: 1fr; content-align: center middle; display: none; color: $text-muted; }
    #filter { dock: bottom; display: none; height: 1; border: none; padding: 0 1; background: $surface; }
    """
    AUTO_FOCUS = ""
    app: RunApp

    def __init__(self, top: RunApp) -> None:
        super().__init__()
        self._heading = Heading(top.look, top.palette)
        self._grid = PaneGrid(top.look, top.palette, top.feed.thought)
        self._bar = KeyBar(top.palette)
        self._empty = Static(id="empty", markup=False)
        cut = top.look.signs.cut
        self._filter = Input(placeholder=f"show only agents whose name, role, state or text holds {cut}", id="filter")
        self._words = ""
        self._views: tuple[AgentView, ...] = ()

    def compose(self) -> ComposeResult:
        yield self._heading
        yield self._grid
        yield self._empty
        yield self._bar
        yield self._filter

    # ---- what is shown -----------------------------------------------------------------------------------------------

    def refresh_view(self) -> None:
        """There is a new overview."""
        top = self.app
        seen = top.seen
        self._views = tuple(view for view in (seen.agents if seen else ()) if self._wants(view))
        if top.agent not in [view.agent for view in self._views]:
            top.agent = self._views[0].agent if self._views else None
        self._grid.show(self._views, self._index())
        self._empty.display = not self._views
        self._grid.display = bool(self._views)
        if not self._views:
            self._empty.update(self._why_empty())
        self._show_heading()
        self._grid.draw(None, blink=self.app.blink)
        self._bar.show(self._hints())

    def on_screen_resume(self) -> None:
        """While another screen covered it, it was not drawn."""
        self.refresh_view()

    def _show_heading(self) -> None:
        feed = self.app.feed
        page = f"page {self._grid.page + 1} of {self._grid.pages}" if self._grid.pages > 1 else ""
        if self._words:
            page = f"{len(self._views)} shown{self.app.look.signs.dot + page if page else ''}"
        self._heading.show(self.app.seen, is_away=feed.is_away, gaps_repaired=feed.gaps_repaired, page=page)

    def draw(self, agents: set[str]) -> None:
        self._grid.draw(agents, blink=self.app.blink)

    def _why_empty(self) -> str:
        if self._words:
            return f"no agent matches '{self.app.look.line(self._words)}'; Esc shows all"
        if self.app.feed.is_empty:
            return 'There is no run on this hub yet; waiting for one.\n\nfelixhub run "TASK" starts one.'
        return (
            "The hub is away; waiting for it."
            if self.app.feed.is_away
            else f"Loading the run {self.app.look.signs.cut}"
        )

    def _hints(self) -> tuple[Hint, ...]:
        """First what can be done with the selected agent as it is now."""
        view = self.app.view
        hints = [Hint("enter", "open")]
        if view is not None and self.app.seen is not None:
            is_over = self.app.seen.status in ("finished", "failed", "cancelled")
            if view.state in ("thinking", "streaming", "regenerating", "stalled", "queued", "backing_off"):
                hints.append(Hint("c", "cancel"))
            if not is_over:
                hints += [Hint("s", "steer"), Hint("r", "regenerate")]
            if self.app.seen.review and not is_over:
                hints += [Hint("a", "approve"), Hint("A", "approve all")]
            if view.thought:
                hints.append(Hint("v", "versions"))
            if not is_over:
                hints.append(Hint("p", "resume" if self.app.seen.status == "paused" else "pause"))
            hints += [Hint("e", "export"), Hint("slash", "filter"), Hint("h", "helix"), Hint("t", "timeline")]
        ending = [Hint("R", "runs"), Hint("question_mark", "help"), Hint("q", "quit")]
        width = sum(len(keys.shown(hint.key)) + len(hint.word) + 3 for hint in [*hints, *ending])
        while hints and width > self.size.width:  # Help and the way out are always there.
            width -= len(keys.shown(hints[-1].key)) + len(hints[-1].word) + 3
            hints.pop()
        return (*hints, *ending)

    # ---- selection ---------------------------------------------------------------------------------------------------

    def _index(self) -> int:
        return next((number for number, view in enumerate(self._views) if view.agent == self.app.agent), 0)

    def _select(self, index: int) -> None:
        if self._views:
            self.app.agent = self._views[max(0, min(index, len(self._views) - 1))].agent
            self.refresh_view()

    def select_agent(self, agent: str) -> None:
        self.app.agent = agent
        self.refresh_view()

    def action_step(self, by: int) -> None:
        if self._views:
            self._select((self._index() + by) % len(self._views))

    def action_move(self, across: int, down: int) -> None:
        index = self._index() + across + down * self._grid.across
        if down and not 0 <= index < len(self._views):
            return
        self._select(index)

    def action_number(self, number: int) -> None:
        index = self._grid.index_at(number)
        if index is not None:
            self._select(index)

    def action_turn(self, by: int) -> None:
        self._select(self._index() + by * self._grid.per_page)

    def action_first(self) -> None:
        self._select(0)

    def action_last(self) -> None:
        self._select(len(self._views) - 1)

    def action_fullscreen(self) -> None:
        if self.app.view is not None:
            self.app.push_screen(FullScreen(self.app))

    def on_pane_clicked(self, event: Pane.Clicked) -> None:
        index = self._grid.index_of(event.pane)
        if index is not None:
            self._select(index)
            if event.twice:
                self.action_fullscreen()

    def on_pane_grid_resized(self) -> None:
        self.call_after_refresh(self.refresh_view)

    # ---- filter ------------------------------------------------------------------------------------------------------

    def _wants(self, view: AgentView) -> bool:
        return not self._words or self._is_named(view) or self._is_in_text(view)

    def _is_named(self, view: AgentView) -> bool:
        named = f"{view.agent} {view.role} {MARKS[view.state].word} {view.section or ''}".casefold()
        return self._words in named

    def _is_in_text(self, view: AgentView) -> bool:
        thought = self.app.feed.thought(view.thought)
        if thought is None or not self._words:
            return False
        return self._words in bytes(thought.text.data[-SEARCHED_BYTES:]).decode(errors="replace").casefold()

    def action_filter(self) -> None:
        self._filter.display = True
        self._filter.focus()

    def action_unfilter(self) -> None:
        self._filter.value = ""
        self._close_filter()
        self._set_words("")

    def _close_filter(self) -> None:
        self._filter.display = False
        self.set_focus(None)

    def _set_words(self, words: str) -> None:
        self._words = self._grid.found = words.casefold().strip()
        self.refresh_view()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._set_words(event.value)

    def on_input_submitted(self) -> None:
        self._close_filter()

    def action_found(self, by: int) -> None:
        """The next agent whose text holds what was looked for, round and round."""
        count = len(self._views)
        start = self._index()
        for step in range(1, count + 1):
            index = (start + by * step) % count
            if self._is_in_text(self._views[index]):
                self._select(index)
                return
        self.app.say("nothing is looked for: / does" if not self._words else "no text holds it")

    def on_key(self, event: object) -> None:
        if getattr(event, "key", "") == "escape" and self._filter.has_focus:
            self.action_unfilter()
