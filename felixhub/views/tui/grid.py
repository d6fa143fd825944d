"""The grid: as many panes as there is room for, the rest on further pages.

Owns: columns, rows, pages, and which agent is where. Must not: know what a pane shows.
"""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.containers import Grid
from textual.message import Message

from felixhub.core.overview import AgentView
from felixhub.core.thought import Thought
from felixhub.views.tui.look import Look, Palette
from felixhub.views.tui.pane import ROWS_MIN, Pane

COLUMNS_EACH = 40
COLUMNS_MAX = 5


class PaneGrid(Grid):
    """Shows the page of the selected agent. A page has only as many panes as fit: 200 agents cost no more than 40."""

    DEFAULT_CSS = "PaneGrid { width: 1fr; height: 1fr; }"

    class Resized(Message):
        """There is room for another number of panes."""

    def __init__(self, look: Look, palette: Palette, thought_of: Callable[[str | None], Thought | None]) -> None:
        super().__init__()
        self._look = look
        self.palette = palette
        self._thought_of = thought_of
        self._panes: list[Pane] = []
        self._views: tuple[AgentView, ...] = ()
        self._selected = 0
        self.found = ""
        self.across = 1  # columns as they are

    @property
    def columns(self) -> int:
        return max(1, min(COLUMNS_MAX, self.size.width // COLUMNS_EACH))

    @property
    def per_page(self) -> int:
        return self.columns * max(1, self.size.height // ROWS_MIN)

    @property
    def pages(self) -> int:
        return max(1, -(-len(self._views) // self.per_page))

    @property
    def page(self) -> int:
        """From 0 on."""
        return self._selected // self.per_page

    def show(self, views: tuple[AgentView, ...], selected: int) -> None:
        """These agents, on the page of the selected one."""
        self._views = views
        self._selected = max(0, min(selected, len(views) - 1))
        self._arrange()

    def _arrange(self) -> None:
        if not self.size.width:
            return
        on_page = min(self.per_page, len(self._views)) if self.pages == 1 else self.per_page
        rows = max(1, -(-on_page // self.columns))
        self.across = max(1, -(-on_page // rows))  # Four panes are two by two, not three and one.
        self.styles.grid_size_columns = self.across
        self.styles.grid_size_rows = rows
        while len(self._panes) > on_page:
            self._panes.pop().remove()
        while len(self._panes) < on_page:
            pane = Pane(self._look, self.palette)
            self._panes.append(pane)
            self.mount(pane)

    def draw(self, agents: set[str] | None, *, blink: bool) -> None:
        """Draw these agents' panes, or all."""
        first = self.page * self.per_page
        for place, pane in enumerate(self._panes):
            index = first + place
            view = self._views[index] if index < len(self._views) else None
            if agents is None or (view is not None and view.agent in agents) or pane.agent != (view and view.agent):
                pane.show(
                    view,
                    self._thought_of(view.thought) if view else None,
                    number=place + 1,
                    selected=index == self._selected,
                    blink=blink,
                    found=self.found,
                )

    def index_of(self, pane: Pane) -> int | None:
        index = self.page * self.per_page + self._panes.index(pane)
        return index if index < len(self._views) else None

    def index_at(self, number: int) -> int | None:
        """Of the pane with this number on this page, from 1 on."""
        index = self.page * self.per_page + number - 1
        return index if number <= self.per_page and index < len(self._views) else None

    def on_resize(self, _: events.Resize) -> None:
        self._arrange()
        self.post_message(self.Resized())
