"""The keys that command: each against a real hub and real workers, and what is said of the outcome."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input, RadioSet
from top_pilot import Driver, drive, top_on

from felixhub.core.events import CommandAccepted, parse_event
from felixhub.core.messages import Replay
from felixhub.core.workflow import RunSettings, Stage, Workflow
from felixhub.testing import HOLD, HubForTests, Script
from felixhub.transport.control import new_id

SECTIONS = Workflow(
    name="memo",
    stages=(
        Stage(name="risks", agent="ada", section="Risks", gate=True, context="none"),
        Stage(name="gains", agent="bob", section="Gains", gate=True, context="none"),
    ),
)
REVIEW = RunSettings(batch_interval_s=0.02, review=True)


def _pair(hub: HubForTests) -> str:
    return hub.run(ada=Script("ada begins. ", HOLD, "ada ends."), bob=Script("bob begins. ", HOLD, "bob ends.")).id


def _memo(hub: HubForTests, **says: Script | list[Script]) -> str:
    return hub.run(workflow=SECTIONS, settings=REVIEW, **says).id


def _commands(hub: HubForTests, run: str) -> list[CommandAccepted]:
    with hub.connect() as client:
        events = [parse_event(line) for line in client.pages(Replay(id=new_id(), run=run))]
    return [event for event in events if isinstance(event, CommandAccepted)]


def test_c_asks_and_cancels_one_while_the_others_go_on(hub: HubForTests) -> None:
    run = _pair(hub)

    async def steps(top: Driver) -> None:
        await top.until_shown("bob begins.")
        await top.until_shown("ada begins.")
        for no in ("n", "escape"):
            await top.press("c")
            await top.until_shown("Cancel ada?")
            await top.press(no)
            await top.until_gone("Cancel ada?")
        assert _commands(hub, run) == []
        await top.press("c")
        await top.until_shown("Cancel ada?")
        await top.press("y")
        await top.until_said("cancelling ada")
        await top.until_state("ada", "cancelled")
        await top.until_shown("■ cancelled")
        assert top.state("bob") == "streaming"
        hub.release("bob")
        await top.until_shown("bob begins. bob ends.")
        assert "ada begins." in top.text, "what it has written is kept"

    drive(top_on(hub), steps)


@pytest.mark.parametrize(
    "send", ["ctrl+s", *(pytest.param(one, marks=pytest.mark.long) for one in ("f9", "ctrl+enter"))]
)
def test_s_steers_with_three_fields_while_the_panes_go_on(hub: HubForTests, send: str) -> None:
    run = hub.run(
        ada=[Script("first try ", HOLD), Script("second try")], bob=Script("bob begins. ", HOLD, "bob ends.")
    ).id

    async def steps(top: Driver) -> None:
        await top.until_shown("bob begins.")
        await top.until_shown("first try")
        await top.press("s")
        await top.until_shown("What is wrong?")
        await top.until(lambda: top.text.count("first try") >= 2, "the end of the partial text is in the form")
        await top.press(send)
        await top.until_shown("Say what is wrong, what instead")
        await top.type("too long")
        await top.press("tab")
        await top.type("half of it")
        await top.press("tab")
        await top.type("keep names")
        hub.release("bob")
        await top.until_state("bob", "final")
        await top.press("escape")
        await top.until_gone("What is wrong?")
        await top.press("s")
        await top.until_shown("half of it")  # The draft was kept.
        await top.press(send)
        await top.until_said("steering ada")
        await top.until_shown("second try")
        (done,) = _commands(hub, run)
        assert done.name == "steer" and done.by == "ann"
        assert done.args["wrong"] == "too long"
        assert done.args["instead"] == "half of it"
        assert done.args["constraints"] == "keep names"
        assert top.app.drafts == {}

    drive(top_on(hub), steps)


@pytest.mark.parametrize("leave", ["ctrl+s", "escape"])
def test_what_was_typed_in_one_go_is_whole_when_it_is_sent_or_kept(hub: HubForTests, leave: str) -> None:
    """A loop that is busy takes many keys at once; the last of them ends the form."""
    run = hub.run(ada=[Script("first try ", HOLD), Script("second try")]).id
    said = "it names no owner and no date"

    async def steps(top: Driver) -> None:
        await top.until_shown("first try")
        await top.press("s")
        await top.until_shown("What is wrong?")
        for char in said:
            top.app.post_message(events.Key("space" if char == " " else char, char))
        top.app.post_message(events.Key(leave, None))
        await top.until_gone("What is wrong?")
        if leave == "escape":
            await top.until(lambda: top.app.drafts[run, "ada"].wrong == said, "the draft is whole")
            return
        await top.until_said("steering ada")
        (done,) = _commands(hub, run)
        assert done.args["wrong"] == said

    drive(top_on(hub), steps)


def test_a_draft_is_kept_by_agent_and_a_refusal_keeps_it(hub: HubForTests) -> None:
    run = _pair(hub)

    async def steps(top: Driver) -> None:
        await top.until_shown("bob begins.")
        await top.press("s")
        await top.type("for ada")
        await top.press("escape", "tab", "s")
        await top.until_shown("Steer bob")
        assert "for ada" not in top.text
        await top.type("for bob")
        await top.press("escape")
        await top.until_gone("Steer bob")
        await top.press("s")
        await top.until_shown("for bob")
        with hub.connect() as client:
            client.cancel(run)
        await top.press("ctrl+s")
        await top.until_said("run")
        assert set(top.app.drafts) == {(run, "ada"), (run, "bob")}

    drive(top_on(hub), steps)


def test_r_regenerates_fresh_when_nothing_is_said(hub: HubForTests) -> None:
    run = hub.run(ada=[Script("first try ", HOLD), Script("second try")]).id

    async def steps(top: Driver) -> None:
        await top.until_shown("first try")
        await top.press("r")
        await top.until_shown("Regenerate ada: empty writes it anew, fresh")
        await top.press("ctrl+s")
        await top.until_said("regenerating ada")
        await top.until_shown("second try")
        (done,) = _commands(hub, run)
        assert done.name == "regenerate" and not done.args.get("wrong")

    drive(top_on(hub), steps)


def test_a_approves_says_why_not_and_shift_a_approves_all(hub: HubForTests) -> None:
    _memo(hub, ada=Script("the risks"), bob=Script("the ", HOLD, "gains"))

    async def steps(top: Driver) -> None:
        await top.until_state("ada", "final")
        await top.until_shown("0 of 2 approved")
        await top.press("a")
        await top.until_said("approved risks")
        await top.until_shown("★ approved")
        await top.until_shown("1 of 2 approved")
        await top.press("tab", "a")
        await top.until_said("gains")  # Why it cannot be approved yet, in the hub's words.
        await top.until_shown("1 of 2 approved")
        hub.release("bob")
        await top.until_state("bob", "final")
        await top.press("A")
        await top.until_said("approved gains")
        assert "risks:" not in top.said  # It was approved before: that is no refusal.
        await top.until_shown("2 of 2 approved")
        await top.until_shown("finished")

    drive(top_on(hub), steps)


def test_approving_where_there_is_no_section_says_so(hub: HubForTests) -> None:
    hub.run(ada=Script("ada begins. ", HOLD), synthesis="the end")

    async def steps(top: Driver) -> None:
        await top.until_shown("ada begins.")
        await top.press("a")
        await top.until_said("ada writes no section of the document: there is nothing to approve")

    drive(top_on(hub), steps)


def test_without_review_the_hub_says_that_nothing_needs_approval(hub: HubForTests) -> None:
    _pair(hub)

    async def steps(top: Driver) -> None:
        await top.until_shown("ada begins.")
        for key in ("a", "A"):
            await top.press(key)
            await top.until_said("was started without review: its sections need no approval")

    drive(top_on(hub), steps)


def test_p_pauses_and_resumes_and_shift_c_stops_the_run(hub: HubForTests) -> None:
    hub.run(ada=Script("ada begins. ", HOLD))

    async def steps(top: Driver) -> None:
        await top.until_shown("ada begins.")
        await top.press("p")
        await top.until_said("pausing")
        await top.until_shown("‖ paused")
        await top.until_shown("p resume")
        await top.press("p")
        await top.until_said("goes on")
        await top.until_shown("▶ streaming")
        await top.press("C")
        await top.until_shown("Stop the whole run")
        await top.press("enter")
        await top.until_shown("■ cancelled")

    drive(top_on(hub), steps)


def test_v_shows_versions_and_what_has_changed(hub: HubForTests) -> None:
    run = _memo(hub, ada=Script("the old risks stay"), bob=Script("the gains"))

    async def steps(top: Driver) -> None:
        await top.until_state("ada", "final")
        await top.press("v")
        await top.until_shown("version 1 by ada")
        await top.until_shown("the only one")
        await top.press("escape")
        with hub.connect() as client:
            client.edit(run, "risks", "the new risks stay", by="ann")
        await top.until(lambda: len(top.app.seen.sections[0].versions) == 2 if top.app.seen else False)
        await top.press("v")
        await top.until_shown("version 2 by ann")
        await top.until_shown("-1 word, +1")
        await top.until_shown("the oldnew risks stay")  # One is struck through, the other underlined.
        await top.press("left", "right", "l", "down", "up", "j", "k", "pagedown", "pageup", "v")
        await top.until_gone("version 2 by ann")

    drive(top_on(hub), steps)


def test_e_exports_into_a_file_that_is_not_there_yet(hub: HubForTests, tmp_path: Path) -> None:
    hub.run(task="Count the buses", ada=Script("Nine **buses**.")).wait(timeout_s=60.0)

    def files(pattern: str) -> list[Path]:
        return list(tmp_path.glob(pattern))

    async def steps(top: Driver) -> None:
        await top.until_shown("finished")
        await top.press("e")
        await top.until_shown("Export this run")
        await top.press("tab", "enter")
        await top.until_said("written:")
        (file,) = files("*.md")
        assert file.name.startswith("count-the-buses-")
        assert "Nine **buses**." in file.read_text(encoding="utf-8")
        before = file.read_bytes()
        await top.press("e")
        await top.until_shown("Export this run")
        top.app.screen.query_one("#file", Input).value = file.name
        await top.press("tab", "enter")
        await top.until_shown("There is a file of that name already")
        assert file.read_bytes() == before
        await top.press("escape", "e")
        await top.until_shown("Export this run")
        top.app.screen.query_one(RadioSet).focus()
        await top.until_shown("(*) Markdown")
        await top.until_shown("( ) HTML page")
        await top.press("down", "space")
        await top.until_shown("( ) Markdown")
        await top.until_shown("(*) HTML page")
        await top.until(lambda: top.app.screen.query_one("#file", Input).value.endswith(".html"))
        await top.press("tab", "enter")
        await top.until(lambda: files("*.html"))

    drive(top_on(hub, folder=tmp_path), steps)


def test_y_copies_and_ctrl_s_saves(hub: HubForTests, tmp_path: Path) -> None:
    run = hub.run(ada=Script("Grüße, 漢字 ", HOLD), bob=Script(HOLD)).id

    def files() -> list[Path]:
        return list(tmp_path.iterdir())

    async def steps(top: Driver) -> None:
        await top.until_shown("Grüße")
        await top.press("y")
        await top.until_said("copied 10 characters of ada")
        assert top.app.clipboard == "Grüße, 漢字 "
        await top.press("ctrl+s")
        await top.until_said("saved")
        await top.press("ctrl+s")
        await top.until(lambda: len(files()) == 2)
        assert {file.name for file in files()} == {f"{run}-ada.md", f"{run}-ada-2.md"}
        assert {file.read_text(encoding="utf-8") for file in files()} == {"Grüße, 漢字 "}
        await top.press("tab", "y")
        await top.until_said("bob has written nothing yet")

    drive(top_on(hub, folder=tmp_path), steps)


def test_shift_r_chooses_among_runs_live_and_finished(hub: HubForTests) -> None:
    hub.run(task="the first task", ada="All of the first.").wait(timeout_s=60.0)
    hub.run(task="the second task", bob=Script("the second begins ", HOLD, "and ends"))

    async def steps(top: Driver) -> None:
        await top.until_shown("the second begins")
        await top.press("R")
        await top.until_shown("2 runs on this hub")
        await top.until_shown("finished")
        await top.until_shown("running")
        await top.press("down", "enter")
        await top.until_shown("All of the first.")
        await top.press("R")
        await top.until_shown("2 runs on this hub")
        await top.press("escape", "R")
        await top.until_shown("2 runs on this hub")
        await top.press("home", "enter")  # latest
        await top.until_shown("the second begins")
        hub.release("bob")
        await top.until_shown("the second begins and ends")

    drive(top_on(hub), steps)


def test_in_a_narrow_terminal_a_run_is_one_line_of_the_list(hub: HubForTests) -> None:
    run = hub.run(task="count the buses", ada=Script("ada begins. ", HOLD)).id

    async def steps(top: Driver) -> None:
        await top.until_shown("ada begins.")
        await top.press("R")
        await top.until_shown("1 run on this hub")
        (row,) = [line for line in top.text.split("\n") if run in line and "ago" in line]
        assert "count the b" in row

    drive(top_on(hub), steps, size=(80, 24))


def test_a_run_that_was_removed_before_it_is_chosen_is_said(hub: HubForTests) -> None:
    old = hub.run(ada="All of the first.")
    old.wait(timeout_s=60.0)
    hub.run(bob=Script("the second begins ", HOLD))

    async def steps(top: Driver) -> None:
        await top.until_shown("the second begins")
        await top.press("R")
        await top.until_shown("2 runs on this hub")
        with hub.connect() as client:
            assert client.remove(old.id)
        await top.press("end", "enter")
        await top.until_said("there is no run")
        await top.until_shown("the second begins")

    drive(top_on(hub), steps)


def test_a_hub_that_is_away_is_said_by_the_command(hub: HubForTests) -> None:
    hub.run(ada=Script("ada begins. ", HOLD))

    async def steps(top: Driver) -> None:
        await top.until_shown("ada begins.")
        hub.kill()
        await top.press("p")
        await top.press("tab")  # Keys answer meanwhile.
        assert top.app.agent == "ada"
        await top.until_said("no hub")
        hub.start()

    drive(top_on(hub), steps)


def test_a_draft_belongs_to_its_run(hub: HubForTests) -> None:
    """The grid goes over to the next run by itself; what was written for the one before is not for this one."""
    first = hub.run(ada=Script("first run ", HOLD))

    async def steps(top: Driver) -> None:
        await top.until_shown("first run")
        await top.press("s")
        await top.until_shown("What is wrong?")
        await top.type("for the first")
        with hub.connect() as client:
            client.cancel(first.id)
        second = hub.run(ada=Script("second run ", HOLD))
        await top.until(lambda: top.app.seen is not None and top.app.seen.run == second.id, "the next run is shown")
        await top.until(lambda: top.text.count("second run") == 1, "the form shows nothing of another run")
        await top.press("escape", "s")
        await top.until_shown("What is wrong?")
        assert "for the first" not in top.text

    drive(top_on(hub), steps)
