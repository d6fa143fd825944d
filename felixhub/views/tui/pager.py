"""A window with lines to read: help, versions.

Owns: its frame and its scrolling. Must not: make the lines.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widgets import Static

from felixhub.views.tui import keys
from felixhub.views.tui.body import Body
from felixhub.views.tui.look import Look, Palette


class Pager(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [*keys.PICTURE]
    DEFAULT_CSS = """
    Pager { align: center middle; background: $background 60%; }
    Pager > Vertical { width: 96%; max-width: 110; height: 94%; background: $background; border: round $primary; }
    Pager .title { text-style: bold; color: $primary; padding: 0 2; height: auto; }
    """

    def __init__(self, look: Look, palette: Palette, title: str) -> None:
        super().__init__()
        self.body = Body(look, palette)
        self.body.follows = False
        self.head = Static(title, classes="title", markup=False)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self.head
            yield self.body

    def show(self, strips: list[Strip]) -> None:
        self.body.put_strips(strips)

    def action_back(self) -> None:
        self.dismiss(None)

    def action_scroll(self, by: int) -> None:
        self.body.move(by)

    def action_scroll_page(self, by: int) -> None:
        self.body.move_page(by)
