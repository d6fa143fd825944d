"""One agent on the whole screen: its whole text, live, until it is left.

Owns: what of the text has been given to the body, and the counts. Must not: wrap or draw text (`body.py` does).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from felixhub.core.overview import AgentView
from felixhub.core.thought import Thought
from felixhub.views import wording
from felixhub.views.tui import keys
from felixhub.views.tui.body import Body
from felixhub.views.tui.key_bar import Hint, KeyBar
from felixhub.views.tui.look import MARKS, WRITING, Look, Palette
from felixhub.views.tui.markdown import BYTES_MAX, markdown_strips
from felixhub.views.tui.viewed import Viewed

if TYPE_CHECKING:
    from felixhub.views.tui.app import RunApp


class AgentHeading(Widget):
    """Whose text it is, how it stands, and how much there is of it."""

    DEFAULT_CSS = "AgentHeading { height: 2; dock: top; }"

    def __init__(self, look: Look, palette: Palette) -> None:
        super().__init__()
        self._look = look
        self.palette = palette
        self._rows: list[Strip] = []

    def show(self, view: AgentView | None, place: str, note: str) -> None:
        rows = [self._first(view, place), self._second(view, note)] if view is not None else []
        if rows != self._rows:
            self._rows = rows
            self.refresh()

    def render_line(self, y: int) -> Strip:
        ground = self.palette.style(on="panel")
        return (self._rows[y] if y < len(self._rows) else Strip([])).adjust_cell_length(self.size.width, ground)

    def _first(self, view: AgentView, place: str) -> Strip:
        mark = MARKS[view.state]
        dot = self._look.signs.dot
        said = [self._look.line(wording.model_of(view.endpoint, view.model))] if view.thought else []
        if view.attempt:
            said.append(f"attempt {view.attempt}")
        if view.round > 1:
            said.append(f"round {view.round}")
        if view.section:
            said.append(f"section {self._look.line(view.section)}")
        if view.on_helix:
            said.append(f"t={view.progress:.2f}")
        if view.why:
            said.append(self._look.line(view.why))
        return Strip(
            [
                Segment(f"  {self._look.line(view.agent)} ", self.palette.style("foreground", on="panel", bold=True)),
                Segment(f" {self._look.badge(view)} ", self.palette.style(mark.tone, on="panel", bold=True)),
                Segment(f" {place}  {dot.join(said)}", self.palette.style("muted", on="panel")),
            ]
        )

    def _second(self, view: AgentView, note: str) -> Strip:
        dot = self._look.signs.dot
        said = [
            wording.count(view.characters, "character"),
            wording.count(view.words, "word"),
            wording.count(view.tokens, "token", estimated=view.tokens_estimated),
        ]
        if view.state in WRITING and view.rate:
            said.append(f"{view.rate:.0f} tok/s")
        if view.first_token_s is not None:
            said.append(f"first token {wording.span(view.first_token_s)}")
        if view.seconds is not None:
            said.append(wording.span(view.seconds))
        if view.confidence is not None:
            said.append(f"confidence {view.confidence:.2f}")
        left = Segment(f"  {dot.join(said)}", self.palette.style("foreground", on="panel"))
        right = Segment(f" {note} ", self.palette.style("accent", on="panel", bold=True))
        room = max(0, self.size.width - left.cell_length - right.cell_length)
        return Strip([left, Segment(" " * room, self.palette.style(on="panel")), right])


class FullScreen(Screen[None], Viewed):
    BINDINGS: ClassVar[list[BindingType]] = list(keys.FULL)
    DEFAULT_CSS = """
    FullScreen #find { dock: bottom; display: none; height: 1; border: none; padding: 0 1; background: $surface; }
    """
    AUTO_FOCUS = ""
    app: RunApp

    def __init__(self, top: RunApp) -> None:
        super().__init__()
        self._heading = AgentHeading(top.look, top.palette)
        self._body = Body(top.look, top.palette)
        self._bar = KeyBar(top.palette)
        self._find = Input(placeholder=f"find in this text {top.look.signs.cut}", id="find")
        self._thought: str | None = None
        self._taken = 0  # bytes of the text that the body has
        self._of_text = True  # or of the reasoning, while there is no text
        self._is_markdown = False
        self._wants_markdown = True

    def compose(self) -> ComposeResult:
        yield self._heading
        yield self._body
        yield self._bar
        yield self._find

    # ---- what is shown -----------------------------------------------------------------------------------------------

    def refresh_view(self) -> None:
        self.app.keep_selected()
        self._feed_body()
        view = self.app.view
        names = [one.agent for one in self.app.seen.agents] if self.app.seen else []
        place = f"{names.index(view.agent) + 1} of {len(names)}" if view is not None else ""
        unseen = self._body.unseen
        note = f"{self.app.look.signs.down} {unseen} new" if unseen else ("" if self._body.follows else "scrolled")
        if self.app.feed.is_away:
            note = f"{self.app.look.sign('stalled')} hub away  {note}".rstrip()
        self._heading.show(view, place, note)
        self._bar.show(self._hints(view))

    def draw(self, agents: set[str]) -> None:
        if self.app.agent in agents:
            self.refresh_view()

    def _feed_body(self) -> None:
        """Give the body what is new of the thought, or another thought."""
        view = self.app.view
        thought = self.app.feed.thought(view.thought) if view is not None else None
        if thought is None:
            if self._thought is not None or not self._taken:
                self._thought, self._taken = None, 1
                self._body.put("", tone="muted")
            return
        of_text = bool(len(thought.text)) or not len(thought.reasoning)
        if thought.id != self._thought or of_text != self._of_text:
            self._thought, self._of_text, self._taken = thought.id, of_text, 0
            self._is_markdown = False
            self._body.follow()
            self._body.put("", tone="foreground" if of_text else "muted")
        data = (thought.text if of_text else thought.reasoning).data
        if len(data) > self._taken and not self._is_markdown:
            self._body.add(self.app.look.text(data[self._taken :].decode(errors="replace")))
            self._taken = len(data)
        writes = view is not None and view.state in WRITING and of_text and self.app.look.moves
        self._body.show_cursor((self.app.look.signs.cursor if self.app.blink else " ") if writes else "")
        if self._can_markdown(thought) and self._wants_markdown and not self._is_markdown:
            self._is_markdown = True
            self.run_worker(self._draw_markdown(thought), exclusive=True)

    def _can_markdown(self, thought: Thought) -> bool:
        return thought.final is not None and len(thought.text) <= BYTES_MAX and not self.app.look.ascii_only

    async def _draw_markdown(self, thought: Thought) -> None:
        text = self.app.look.text(str(thought.text))
        ground = self.app.palette.style()
        dark = self.app.current_theme.dark
        strips = await asyncio.to_thread(markdown_strips, text, min(self._body.columns, 100), ground, dark=dark)
        if self._is_markdown and self._thought == thought.id:
            self._body.put_strips(strips)

    def _hints(self, view: AgentView | None) -> tuple[Hint, ...]:
        hints = [Hint("escape", "back"), Hint("question_mark", "help")]
        if not self._body.follows:
            hints.append(Hint("G", "follow"))
        if view is not None and view.state not in ("final", "approved", "skipped", "cancelled", "failed"):
            hints.append(Hint("c", "cancel"))
        hints += [Hint("s", "steer"), Hint("r", "regenerate"), Hint("slash", "find"), Hint("w", "wrap")]
        if self._is_markdown or not self._wants_markdown:
            hints.append(Hint("m", "as written" if self._is_markdown else "markdown"))
        hints += [Hint("y", "copy"), Hint("ctrl+s", "save"), Hint("tab", "next agent")]
        return tuple(hints)

    def on_resize(self, _: events.Resize) -> None:
        self.call_after_refresh(self._again)

    def _again(self) -> None:
        """The width or the agent has changed."""
        self._body.rewrap()
        if self._is_markdown:
            self._is_markdown = False
        self.refresh_view()

    # ---- keys --------------------------------------------------------------------------------------------------------

    def action_back(self) -> None:
        self.app.pop_screen()

    def action_scroll(self, by: int) -> None:
        self._body.move(by)
        self.refresh_view()

    def action_scroll_page(self, by: int) -> None:
        self._body.move_page(by)
        self.refresh_view()

    def action_top(self) -> None:
        self._body.go(0)
        self.refresh_view()

    def action_bottom(self) -> None:
        self._body.follow()
        self.refresh_view()

    def action_sideways(self, by: int) -> None:
        self._body.move_sideways(by)

    def action_wrap(self) -> None:
        self._body.wrap(not self._body.wraps)

    def action_markdown(self) -> None:
        self._wants_markdown = not self._wants_markdown
        self._thought = None
        self.refresh_view()

    def action_step(self, by: int) -> None:
        names = [one.agent for one in self.app.seen.agents] if self.app.seen else []
        if self.app.agent in names:
            self.app.agent = names[(names.index(self.app.agent) + by) % len(names)]
            self.refresh_view()

    # ---- finding -----------------------------------------------------------------------------------------------------

    def action_find(self) -> None:
        self._find.display = True
        self._find.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._find.display = False
        self.set_focus(None)
        number = self._body.find(event.value)
        if event.value and not number:
            self.app.say(f"'{event.value}' is not in this text")
        elif number:
            self.action_found(1)

    def action_found(self, by: int) -> None:
        """The next line with what was looked for, round and round."""
        places = self._body.places()
        if not places:
            self.app.say("nothing is looked for: / does")
            return
        here = self._at if self._at in places else -1
        after = [place for place in places if (place > here if by > 0 else place < here)]
        self._at = (after[0] if by > 0 else after[-1]) if after else (places[0] if by > 0 else places[-1])
        self._body.go(self._at)
        self.refresh_view()

    _at = -1

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape" and self._find.has_focus:
            event.stop()
            event.prevent_default()
            self._find.display = False
            self.set_focus(None)
            self._body.find("")
