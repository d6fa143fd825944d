"""The application behind the screens: feed in, news out to the screens, commands away.

    feed.turn ──news──► every 100 ms: overview, panes with new text ──► the screen on top
    command ──► Commander ──► the hub's sentence as a notification

Owns: the turn of these, what is selected, and the end. Must not: draw (the screens do), or know a key (`top.py`).
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from textual import events
from textual.app import App
from textual.message import Message

from felixhub.core.errors import FelixError
from felixhub.core.overview import AgentView, Overview
from felixhub.transport.control import ControlClient
from felixhub.views.tui.commander import Commander, Job, Outcome
from felixhub.views.tui.feed import Feed, Source
from felixhub.views.tui.look import DARK, LIGHT, WRITING, Look, Palette
from felixhub.views.tui.steering import Words
from felixhub.views.tui.viewed import Viewed

TICK_S = 0.1  # a pane is painted at most so often
OVERVIEW_S = 0.25  # how old figures may be while text comes
IDLE_S = 0.5  # how often a run is looked at in which nothing happens: silences grow
GATHER_S = 0.05  # what comes within so long is taken together
BLINK_S = 0.5
POLL_S = 0.25
SAID_CHARACTERS_MAX = 600  # of one notification


@dataclass(frozen=True, slots=True)
class Options:
    """What the terminal UI is made of. `is_over` says that it is to end."""

    open_source: Callable[[str], Source]
    connect: Callable[[], ControlClient]
    clock: Callable[[], float]
    selection: str = "latest"
    by: str = ""
    look: Look = field(default_factory=Look)
    folder: Path = Path()
    is_over: Callable[[], bool] | None = None
    handles_signals: bool = True  # False: whoever started this does


class Told(Message):
    """A command has been answered."""

    def __init__(self, outcome: Outcome, then: Callable[[Outcome], None] | None) -> None:
        super().__init__()
        self.outcome = outcome
        self.then = then


class RunApp(App[bool]):
    """Returns whether it was interrupted. `fault` made it end: for the caller to raise once the terminal is back."""

    CSS = """
    RunApp.-ascii Pager > Vertical { border: ascii $primary; }
    RunApp.-ascii TextArea, RunApp.-ascii Input, RunApp.-ascii RadioSet { border: ascii $primary; }
    RunApp.-ascii #filter, RunApp.-ascii #find { border: none; }
    RunApp.-ascii Toast { border: none; }
    RunApp.-ascii Body { scrollbar-size: 0 0; }
    """

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.set_class(options.look.ascii_only, "-ascii")
        self.options = options
        self.look = options.look
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name
        self.palette = Palette(self.get_css_variables())
        self.feed = Feed(options.open_source, options.selection, options.clock)
        self.seen: Overview | None = None
        self.agent: str | None = None
        self.fault: BaseException | None = None
        self.drafts: dict[tuple[str, str], Words] = {}  # of steering, by run and agent
        self.batches: set[str] = set()  # who has said something since the last tick
        self._commander = Commander(options.connect)
        self._coming: set[str] = set()
        self._marks = True
        self._seen_at = 0.0
        self._was_away = True
        self._said = ""
        self._said_at = 0.0

    # ---- what is known -----------------------------------------------------------------------------------------------

    @property
    def view(self) -> AgentView | None:
        """The selected agent."""
        return self.view_of(self.agent)

    @property
    def by(self) -> str:
        """Who gives the commands here."""
        return self.options.by

    def view_of(self, agent: str | None) -> AgentView | None:
        return next((view for view in self.seen.agents if view.agent == agent), None) if self.seen else None

    @property
    def blink(self) -> bool:
        return not self.look.moves or int(self.options.clock() / BLINK_S) % 2 == 0

    # ---- life --------------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.palette.change(self.get_css_variables())
        self.theme_changed_signal.subscribe(self, lambda _: self._repaint())
        self.begin_capture_print(self)
        if self.options.handles_signals and not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, self.exit, True)
        self.run_worker(self._follow(), name="feed", exit_on_error=True)
        self.set_interval(TICK_S, self._tick)

    def on_unmount(self) -> None:
        self.feed.close()

    def close_commands(self, wait_s: float) -> list[str]:
        """Once the screen is gone: let what waits for the hub be answered, so long; returns what was not."""
        return self._commander.close(wait_s)

    async def _follow(self) -> None:
        """Take what comes, a little at a time, so that keys get their turn."""
        while True:
            try:
                news = await self.feed.turn(POLL_S)
            except FelixError as error:
                self.fault = error
                self.exit(False)
                return
            self._coming |= news.batches
            self._marks = self._marks or news.marks
            for notice in news.notices:
                self.say(notice)
            await asyncio.sleep(GATHER_S)

    def _tick(self) -> None:
        if self.options.is_over is not None and self.options.is_over():
            self.exit(False)
            return
        now = self.options.clock()
        is_news = self._marks or self.feed.is_away != self._was_away or (self.seen is None) != (self.feed.run is None)
        self.batches, self._coming = self._coming, set()
        writing = {view.agent for view in self.seen.agents if view.state in WRITING} if self.seen else set()
        is_news = is_news or not self.batches <= writing  # Somebody's first token: no longer thinking.
        wait_s = OVERVIEW_S if self.batches else IDLE_S
        if is_news or now - self._seen_at >= wait_s:
            self._marks = False
            self._was_away = self.feed.is_away
            self._seen_at = now
            self.seen = self.feed.overview()
            for screen in self._seen_screens():
                screen.refresh_view()
        if self.batches or self.look.moves:
            blinking = {view.agent for view in self.seen.agents if view.state in WRITING} if self.seen else set()
            for screen in self._seen_screens():
                screen.draw(self.batches | blinking)

    def _seen_screens(self) -> list[Viewed]:
        """From the lowest that is to be seen; to Textual the one under a full screen is `is_current` too."""
        found: list[Viewed] = []
        for screen in reversed(self.screen_stack):
            if isinstance(screen, Viewed):
                found.insert(0, screen)
            if not screen.is_modal:
                break
        return found

    def keep_selected(self) -> None:
        """For a screen without a grid: another run may have no agent of that name, then it is the first one."""
        if self.view is None and self.seen is not None:
            self.agent = self.seen.agents[0].agent if self.seen.agents else None

    def _repaint(self) -> None:
        """Another theme."""
        self.palette.change(self.get_css_variables())
        self._marks = True
        for widget in self.screen.query("*"):
            widget.refresh()

    def on_print(self, event: events.Print) -> None:
        """What others in this process print (a supervisor, say) is not lost, and does not spoil the screen."""
        if event.text.strip():
            self.say(event.text)

    def _handle_exception(self, error: Exception) -> None:
        """A fault of ours is told by the caller, in one sentence, once the terminal is itself again."""
        if self.is_headless:
            super()._handle_exception(error)
            return
        self.fault = self.fault or error
        self.exit(False)

    # ---- saying and asking -------------------------------------------------------------------------------------------

    def say(self, sentence: str, *, is_bad: bool = False) -> None:
        """A notification; whatever is in it is only shown. One that is still to be seen is not said again."""
        shown = self.look.text(sentence[:SAID_CHARACTERS_MAX]).strip()
        now = time.monotonic()
        if shown == self._said and now - self._said_at < self.NOTIFICATION_TIMEOUT:
            return
        self._said, self._said_at = shown, now
        self.notify(shown[:1].upper() + shown[1:], severity="error" if is_bad else "information", markup=False)

    def command(
        self, name: str, do: Callable[[ControlClient], Outcome], then: Callable[[Outcome], None] | None = None
    ) -> None:
        """Have it done in the commands' thread; its outcome is said, and given to `then`, here.

        `name`: what one would miss if it were not done; empty for a question.
        """
        if not self._commander.ask(Job(name, do, lambda outcome: self._told(outcome, then))):
            self.say("too many commands wait for the hub already: try again in a moment", is_bad=True)

    def _told(self, outcome: Outcome, then: Callable[[Outcome], None] | None) -> None:
        self.post_message(Told(outcome, then))

    def on_told(self, event: Told) -> None:
        if event.outcome.sentence:
            self.say(event.outcome.sentence, is_bad=not event.outcome.ok)
        if event.then is not None:
            event.then(event.outcome)

    def choose_run(self, run: str) -> None:
        """Show this run from now on."""
        self.seen = self.agent = None
        self.feed.choose(run)
        self._marks = True

    # ---- leaving -----------------------------------------------------------------------------------------------------

    def action_detach(self) -> None:
        self.exit(False)

    def action_quit_now(self) -> None:
        self.exit(True)
