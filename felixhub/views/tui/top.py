"""What the keys that are about an agent or the run do: each asks the hub, and says what the hub has answered.

Owns: which command a key is, and the sentence of its success. Must not: decide whether it is allowed; the hub does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.binding import BindingType
from textual.screen import Screen

from felixhub.core.errors import FelixError
from felixhub.core.overview import AgentView, Overview
from felixhub.documents.exporting import file_name
from felixhub.transport.control import ControlClient
from felixhub.views import wording
from felixhub.views.tui import keys
from felixhub.views.tui.app import RunApp
from felixhub.views.tui.asking import Ask
from felixhub.views.tui.commander import Outcome
from felixhub.views.tui.exporting import ExportForm, Wish, unused, write_export, write_new
from felixhub.views.tui.grid_screen import GridScreen
from felixhub.views.tui.help import Help
from felixhub.views.tui.palette import entries
from felixhub.views.tui.pictures import HelixScreen, TimelineScreen
from felixhub.views.tui.runs import Runs
from felixhub.views.tui.steering import SteeringForm, Verb, Words
from felixhub.views.tui.versions import Versions, versions_of

COPIED_BYTES_MAX = 1_000_000  # more is nothing for a clipboard


class Top(RunApp):
    """`felixhub top`."""

    BINDINGS: ClassVar[list[BindingType]] = list(keys.COMMON)
    TITLE = "FelixHub"

    def get_default_screen(self) -> Screen[Any]:
        return GridScreen(self)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        del screen
        return entries(self, self.go_to)

    # ---- commands ----------------------------------------------------------------------------------------------------

    def action_cancel_agent(self) -> None:
        chosen = self.chosen()
        if chosen is None or self.is_over():
            return
        run, view = chosen[0].run, chosen[1]

        def answered(yes: bool | None) -> None:
            if yes:
                self.command(
                    f"cancel {view.agent}",
                    lambda hub: _done(hub.cancel(run, agent=view.agent, by=self.by), f"cancelling {view.agent}"),
                )

        question = f"Cancel {self.look.line(view.agent)}? What it has written is kept, and the others go on."
        self.push_screen(Ask(question, yes="Cancel it"), answered)

    def action_cancel_run(self) -> None:
        seen = self.seen
        if seen is None or self.is_over():
            return
        run = seen.run

        def answered(yes: bool | None) -> None:
            if yes:
                self.command(f"stop {run}", lambda hub: _done(hub.cancel(run, by=self.by), f"stopping {run}"))

        self.push_screen(Ask(f"Stop the whole run {run}? What was written is kept.", yes="Stop it"), answered)

    def action_steer(self) -> None:
        self._revise("steer")

    def action_regenerate(self) -> None:
        self._revise("regenerate")

    def _revise(self, verb: Verb) -> None:
        chosen = self.chosen()
        if chosen is None or self.is_over():
            return
        run, view = chosen[0].run, chosen[1]

        def submitted(words: Words | None) -> None:
            if words is None:
                return
            fields = {"wrong": words.wrong, "instead": words.instead, "constraints": words.constraints}
            what = "steering" if verb == "steer" else "regenerating"

            def do(hub: ControlClient) -> Outcome:
                send = hub.steer if verb == "steer" else hub.regenerate
                return _done(send(run, agent=view.agent, by=self.by, **fields), f"{what} {view.agent}")

            def then(outcome: Outcome) -> None:
                if outcome.ok:
                    self.drafts.pop((run, view.agent), None)

            self.command(f"{verb} {view.agent}", do, then)

        draft = self.drafts.get((run, view.agent), Words())
        self.push_screen(SteeringForm(self, run, view, verb, draft), submitted)

    def action_approve(self) -> None:
        chosen = self.chosen()
        if chosen is None:
            return
        seen, view = chosen
        section = next((one for one in seen.sections if one.name == view.section), None)
        if section is None:
            self.say(f"{view.agent} writes no section of the document: there is nothing to approve", is_bad=True)
            return
        run, name, number = seen.run, section.name, section.current
        self.command(f"approve {name}", lambda hub: _approved(hub.approve(run, name, version=number, by=self.by)))

    def action_approve_all(self) -> None:
        seen = self.seen
        if seen is not None:
            run = seen.run
            done = {section.name for section in seen.sections if section.status in ("approved", "skipped")}
            self.command(f"approve all of {run}", lambda hub: _approved(hub.approve(run, by=self.by), done))

    def action_pause(self) -> None:
        seen = self.seen
        if seen is None:
            return
        run = seen.run
        if seen.status == "paused":
            self.command(f"resume {run}", lambda hub: _done(hub.resume(run, by=self.by), f"{run} goes on"))
        else:
            self.command(f"pause {run}", lambda hub: _done(hub.pause(run, by=self.by), f"pausing {run}"))

    def action_runs(self) -> None:
        def then(outcome: Outcome) -> None:
            rows = outcome.value
            if isinstance(rows, list):
                shown = self.seen.run if self.seen else None
                self.push_screen(Runs(rows, shown, self.look, self.options.clock()), picked)

        def picked(run: str | None) -> None:
            if run is not None:
                self.choose_run(run)

        self.command("", lambda hub: Outcome("", value=hub.runs()), then)

    # ---- texts -------------------------------------------------------------------------------------------------------

    def text(self) -> tuple[AgentView, str] | None:
        """The text of the selected agent; says so when there is none."""
        chosen = self.chosen()
        if chosen is None:
            return None
        thought = self.feed.thought(chosen[1].thought)
        if thought is None or not len(thought.text):
            self.say(f"{chosen[1].agent} has written nothing yet")
            return None
        return chosen[1], str(thought.text)

    def action_copy(self) -> None:
        found = self.text()
        if found is None:
            return
        if len(found[1].encode()) > COPIED_BYTES_MAX:
            self.say("this text is too long for a clipboard: Ctrl+S saves it to a file", is_bad=True)
            return
        self.copy_to_clipboard(found[1])
        self.say(f"copied {wording.count(len(found[1]), 'character')} of {found[0].agent}, if your terminal lets us")

    def action_save(self) -> None:
        found = self.text()
        if found is None or self.seen is None:
            return
        view, text = found
        name = f"{self.seen.run}-{view.agent}" + (f"-{view.attempt}" if view.attempt > 1 else "")
        file = unused(self.options.folder, name, "md")

        def save() -> str:
            write_new(file, text.encode())
            return f"saved {file.name}"

        self.in_background(save)

    def action_export(self) -> None:
        seen = self.seen
        if seen is None:
            return
        run = seen.run

        def submitted(wish: Wish | None) -> None:
            if wish is None:
                return

            def export() -> str:
                with self.options.connect() as client:
                    write_export(client, run, wish)
                return f"written: {wish.file}"

            self.in_background(export)

        name = file_name(seen.task, seen.started_at)
        self.push_screen(ExportForm(self.options.folder, name), submitted)

    def in_background(self, work: Callable[[], str]) -> None:
        """Do what may take its time elsewhere, and say what came of it."""

        async def do() -> None:
            try:
                sentence = await asyncio.to_thread(work)
            except (FelixError, OSError) as error:
                self.say(str(error), is_bad=True)
            except Exception as error:  # noqa: BLE001  (a worker's exception would close the grid)
                self.say(f"this failed: {type(error).__name__}: {error}", is_bad=True)
            else:
                self.say(sentence)

        self.run_worker(do())

    # ---- screens -----------------------------------------------------------------------------------------------------

    def action_versions(self) -> None:
        chosen = self.chosen()
        if chosen is None or self.feed.run is None:
            return
        view = chosen[1]
        found = versions_of(self.feed.run, view)
        if not found:
            self.say(f"{view.agent} has no version of a text yet")
            return
        title = self.look.line(view.section or view.agent)
        self.push_screen(Versions(self.look, self.palette, title, found))

    def action_helix(self) -> None:
        self._picture(HelixScreen)

    def action_timeline(self) -> None:
        self._picture(TimelineScreen)

    def _picture(self, kind: type[HelixScreen] | type[TimelineScreen]) -> None:
        """Open it, or close it when it is open; from one picture to the other there is no way back to the first."""
        is_open = isinstance(self.screen, kind)
        if isinstance(self.screen, HelixScreen | TimelineScreen):
            self.pop_screen()
        if not is_open:
            self.push_screen(kind(self))

    def action_help(self) -> None:
        self.push_screen(Help(self.look, self.palette))

    def is_over(self) -> bool:
        """Whether the run that is shown has ended; says so."""
        if self.seen is None or self.seen.status not in ("finished", "failed", "cancelled"):
            return False
        run = self.seen.run
        self.say(f'run {run} has ended already ({self.seen.status}); felixhub run "TASK" --after {run} goes on from it')
        return True

    def chosen(self) -> tuple[Overview, AgentView] | None:
        """The run and the selected agent; says so when there is none."""
        if self.seen is None or self.view is None:
            self.say("there is no agent to do this with yet")
            return None
        return self.seen, self.view

    def go_to(self, agent: str) -> None:
        """Select this agent in the grid."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        if isinstance(self.screen, GridScreen):
            self.screen.select_agent(agent)


def _done(_: dict[str, Any], sentence: str) -> Outcome:
    return Outcome(sentence)


def _approved(reply: dict[str, Any], done: Collection[str] = ()) -> Outcome:
    """What was approved, and what was not and why; that of which nothing was left to approve is not told."""
    approved = list(reply.get("approved", []))
    refused = {section: why for section, why in dict(reply.get("refused", {})).items() if section not in done}
    parts = [f"approved {wording.names(approved)}"] if approved else []
    parts += [f"{section}: {why}" for section, why in list(refused.items())[:3]]
    if len(refused) > 3:
        parts.append(f"and {len(refused) - 3} more")
    return Outcome("; ".join(parts) or "there is nothing to approve", ok=bool(approved) or not refused)
