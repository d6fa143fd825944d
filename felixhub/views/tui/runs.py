"""The list of the hub's runs, to choose one.

Owns: how a run looks in it. Must not: ask the hub (`actions.py` does).
"""

from __future__ import annotations

from typing import Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from felixhub.views import wording
from felixhub.views.tui import keys
from felixhub.views.tui.look import Look

WIDTH_MAX = 120
TASK_COLUMNS_MIN = 12
ROW = "{run:<24} {status:<10} {ago:<17} {workflow:<10} "
ROW_NARROW = "{run:<24} {status:<10} {ago:<17} "
COLUMNS_NARROW = 90  # a terminal with fewer has no room for the workflow
FRAME_COLUMNS = 10  # of the window around a row


class Runs(ModalScreen[str | None]):
    """Ends with a run's id, with `latest`, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [*keys.CLOSING]
    DEFAULT_CSS = """
    Runs { align: center middle; background: $background 60%; }
    Runs > Vertical { width: 96%; max-width: 120; height: auto; max-height: 80%; background: $panel; padding: 1 2; }
    Runs .title { text-style: bold; color: $primary; margin-bottom: 1; }
    Runs OptionList, Runs OptionList:focus { height: auto; max-height: 100%; background: $panel; border: none; }
    """
    AUTO_FOCUS = "OptionList"

    def __init__(self, rows: list[dict[str, Any]], shown: str | None, look: Look, now: float) -> None:
        super().__init__()
        self._rows = rows[::-1]
        self._shown = shown
        self._look = look
        self._now = now

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(
                f"{wording.count(len(self._rows), 'run')} on this hub, the newest first: Enter shows one",
                classes="title",
                markup=False,
            )
            options = [Option(Text("latest: the newest run, and each that starts later"), id="latest")]
            options += [Option(self._line(row), id=str(row["run"])) for row in self._rows]
            chosen = next((n for n, row in enumerate(self._rows, 1) if row["run"] == self._shown), 0)
            listed = OptionList(*options, markup=False)
            listed.highlighted = chosen
            yield listed

    def _line(self, row: dict[str, Any]) -> Text:
        status = str(row.get("status", ""))
        if status == "finished" and row.get("degraded"):
            status = "degraded"
        elif status == "running" and row.get("awaiting"):
            status = "awaiting"
        ago = wording.span(max(0.0, self._now - float(row.get("started_at") or self._now)))
        workflow = str(row.get("workflow", ""))
        row_format = ROW_NARROW if self.app.size.width < COLUMNS_NARROW else ROW
        said = row_format.format(run=row["run"], status=status, ago=f"{ago} ago", workflow=workflow)
        room = max(TASK_COLUMNS_MIN, min(WIDTH_MAX, self.app.size.width) - FRAME_COLUMNS - len(said))
        task = self._look.line(str(row.get("task", "")))
        if cell_len(task) > room:
            task = set_cell_size(task, room - cell_len(self._look.signs.cut)) + self._look.signs.cut
        return Text(said + task, no_wrap=True)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)

    def action_back(self) -> None:
        self.dismiss(None)
