"""A question that is answered with yes or no.

Owns: the question's window. Must not: know what follows.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from felixhub.views.tui import keys


class Ask(ModalScreen[bool]):
    BINDINGS: ClassVar[list[BindingType]] = list(keys.ASKING)
    DEFAULT_CSS = """
    Ask { align: center middle; background: $background 60%; }
    Ask > Vertical { width: 64; max-width: 90%; height: auto; background: $panel; padding: 1 2; }
    Ask Horizontal { height: auto; align-horizontal: right; padding-top: 1; }
    Ask Button { margin-left: 2; min-width: 10; }
    """

    def __init__(self, question: str, *, yes: str) -> None:
        super().__init__()
        self._question = question
        self._yes = yes

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._question, markup=False)
            with Horizontal():
                yield Button(f"{self._yes} (y)", id="yes", variant="error", compact=True)
                yield Button("No (n)", id="no", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_yes(self) -> None:
        self.dismiss(True)

    def action_no(self) -> None:
        self.dismiss(False)
