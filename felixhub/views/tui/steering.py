"""The form for what is wrong, what instead, and constraints. The panes beside it go on.

Owns: the form and its draft. Must not: send it (`actions.py` does).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from felixhub.core.events import FEEDBACK_CHARACTERS_MAX
from felixhub.core.overview import AgentView
from felixhub.views.tui import keys
from felixhub.views.tui.key_bar import Hint, KeyBar
from felixhub.views.tui.look import WRITING
from felixhub.views.tui.tail import tail_lines
from felixhub.views.tui.viewed import Viewed

if TYPE_CHECKING:
    from felixhub.views.tui.app import RunApp

TAIL_ROWS = 6
TAIL_ROWS_SMALL = 2
ROWS_SMALL = 34  # a terminal with fewer rows has no room to spare
FIELDS = (
    ("wrong", "What is wrong?"),
    ("instead", "What do you want instead?"),
    ("constraints", "What must hold whatever changes?"),
)
Verb = Literal["steer", "regenerate"]


@dataclass(frozen=True, slots=True)
class Words:
    """What a person says of a text."""

    wrong: str = ""
    instead: str = ""
    constraints: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.wrong or self.instead or self.constraints)


class SteeringForm(ModalScreen[Words | None], Viewed):
    """Ends with what is to be sent, or with None when it was closed; every change is kept in the app's drafts."""

    BINDINGS: ClassVar[list[BindingType]] = list(keys.STEERING)
    DEFAULT_CSS = """
    SteeringForm { align: right top; background: transparent; }
    SteeringForm VerticalScroll { width: 62; max-width: 100%; height: 100%; background: $panel; padding: 1 2; }
    SteeringForm .title { text-style: bold; color: $primary; }
    SteeringForm .tail { height: auto; max-height: 8; background: $background; color: $text-muted; padding: 0 1;
                         margin: 1 0; }
    SteeringForm .fault { color: $error; height: auto; }
    SteeringForm TextArea { height: 4; min-height: 3; border: round $surface; margin-bottom: 1; background: $surface; }
    SteeringForm.-small VerticalScroll { padding: 0 2; }
    SteeringForm.-small .tail, SteeringForm.-small TextArea { margin: 0; }
    SteeringForm TextArea:focus { border: round $primary; }
    """
    AUTO_FOCUS = "#wrong"
    app: RunApp

    def __init__(self, top: RunApp, run: str, view: AgentView, verb: Verb, draft: Words) -> None:
        super().__init__()
        self._run = run
        self._view = view
        self._verb = verb
        self._tail = Static(classes="tail", markup=False)
        self._fault = Static(classes="fault", markup=False)
        self._areas = {name: TextArea(getattr(draft, name), id=name) for name, _ in FIELDS}
        for area in self._areas.values():
            area.cursor_blink = top.look.moves
        self._bar = KeyBar(top.palette)

    def compose(self) -> ComposeResult:
        agent = self.app.look.line(self._view.agent)
        title = f"Steer {agent}" if self._verb == "steer" else f"Regenerate {agent}: empty writes it anew, fresh"
        with VerticalScroll(can_focus=False):
            yield Static(title, classes="title", markup=False)
            yield self._tail
            for name, label in FIELDS:
                yield Static(label, markup=False)
                yield self._areas[name]
            yield self._fault
        yield self._bar

    def on_resize(self) -> None:
        self.set_class(self.app.size.height < ROWS_SMALL, "-small")
        self.refresh_view()

    def on_mount(self) -> None:
        self.refresh_view()
        self._bar.show((Hint("ctrl+s", "send"), Hint("tab", "next field"), Hint("escape", "keep for later")))

    def refresh_view(self) -> None:
        self.draw({self._view.agent})

    def draw(self, agents: set[str]) -> None:
        """The end of the text as it is now; it stays when the grid goes over to another run."""
        view = self.app.view_of(self._view.agent)
        if view is None or view.agent not in agents or self.app.seen is None or self.app.seen.run != self._run:
            return
        thought = self.app.feed.thought(view.thought)
        width = max(20, self._tail.content_size.width or 54)
        rows = TAIL_ROWS_SMALL if self.has_class("-small") else TAIL_ROWS
        lines = tail_lines(thought.text, width - 1, rows, self.app.look.text) if thought is not None else []
        if view.state in WRITING and self.app.look.moves and lines:
            lines[-1] += self.app.look.signs.cursor if self.app.blink else ""
        self._tail.update("\n".join([self.app.look.badge(view), *lines]) if lines else "nothing is written yet")

    @property
    def words(self) -> Words:
        return Words(**{name: area.text.strip() for name, area in self._areas.items()})

    def on_text_area_changed(self) -> None:
        self.app.drafts[self._run, self._view.agent] = self.words

    def action_submit(self) -> None:
        words = self.words
        too_long = [label for name, label in FIELDS if len(getattr(words, name)) > FEEDBACK_CHARACTERS_MAX]
        if too_long:
            self._fault.update(
                f"{too_long[0]} That is too long: at most {FEEDBACK_CHARACTERS_MAX:,} characters are taken."
            )
        elif self._verb == "steer" and words.is_empty:
            self._fault.update("Say what is wrong, what instead, or what must hold.")
        else:
            self.dismiss(words)

    def action_back(self) -> None:
        self.dismiss(None)
