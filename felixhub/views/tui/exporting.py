"""Exporting a run: the form that asks which format and which file, and the file.

Owns: the form, and that no file is written over. Must not: know what a document contains (`documents` does).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, RadioButton, RadioSet, Static

from felixhub.core.errors import ConfigError, Place
from felixhub.core.messages import Replay
from felixhub.documents.document import document_of
from felixhub.documents.exporting import exported, numbered, told_by
from felixhub.transport.control import ControlClient, new_id
from felixhub.views.tui import keys

KINDS = {"md": "Markdown", "html": "HTML page", "pdf": "PDF", "jsonl": "events, one JSON a line"}


class Wish(NamedTuple):
    kind: str
    file: Path


def unused(folder: Path, name: str, ending: str) -> Path:
    """A file that is not there yet, or the last of these names when all are."""
    for file in (folder / one for one in numbered(name, ending)):
        if not file.exists():
            break
    return file


def write_export(client: ControlClient, run: str, wish: Wish) -> None:
    """Write the run as it is now. Raises ConfigError, NoHub and HubRefused."""
    lines = client.pages(Replay(id=new_id(), run=run))
    if wish.kind == "jsonl":
        data = b"".join(line + b"\n" for line in lines)
    else:
        data = exported(document_of(told_by(lines), appendix=False), wish.kind)
    write_new(wish.file, data)


def write_new(file: Path, data: bytes) -> None:
    """Write a file that was not there before. Raises ConfigError."""
    try:
        with file.open("xb") as out:
            out.write(data)
    except OSError as error:
        raise ConfigError(f"cannot write this file: {error.strerror}", place=Place(str(file))) from None


class Choice(RadioButton):
    """Says by a sign whether it is chosen, not by its colour alone."""

    def render(self) -> Content:
        sign = "(*)" if self.value else "( )"
        return Content(f"{sign} {self.label.plain}").stylize_before(self.get_visual_style("toggle--label"))


class ExportForm(ModalScreen[Wish | None]):
    BINDINGS: ClassVar[list[BindingType]] = list(keys.CLOSING)
    DEFAULT_CSS = """
    ExportForm { align: center middle; background: $background 60%; }
    ExportForm > Vertical { width: 76; max-width: 95%; height: auto; background: $panel; padding: 1 2; }
    ExportForm .title { text-style: bold; color: $primary; margin-bottom: 1; }
    ExportForm RadioSet { margin: 0 0 1 0; width: 100%; border: tall $surface; }
    ExportForm .fault { color: $error; height: auto; }
    ExportForm .hint { color: $text-muted; margin-top: 1; }
    """
    AUTO_FOCUS = "RadioSet"

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__()
        self._folder = folder
        self._name = name
        self._kind = "md"
        self._file = Input(str(unused(folder, name, "md").name), id="file")
        self._fault = Static(classes="fault", markup=False)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static("Export this run", classes="title", markup=False)
            with RadioSet():
                for kind, name in KINDS.items():
                    yield Choice(name, value=kind == "md", id=kind)
            yield Static("File", markup=False)
            yield self._file
            yield self._fault
            yield Static(
                "Space chooses the format, Tab goes to the file, Enter there writes it, Esc leaves it.",
                classes="hint",
                markup=False,
            )

    def on_radio_set_changed(self, event: RadioSet.Changed) -> None:
        before, self._kind = self._kind, str(event.pressed.id)
        if self._file.value.endswith(f".{before}"):
            self._file.value = unused(self._folder, self._file.value.removesuffix(f".{before}"), self._kind).name

    def on_input_submitted(self) -> None:
        name = self._file.value.strip()
        file = self._folder / Path(name).expanduser()
        if not name or file.is_dir():
            self._fault.update("Name a file.")
        elif file.exists():
            self._fault.update("There is a file of that name already: choose another.")
        elif not file.parent.is_dir():
            self._fault.update("There is no such folder.")
        else:
            self.dismiss(Wish(self._kind, file))

    def action_back(self) -> None:
        self.dismiss(None)
