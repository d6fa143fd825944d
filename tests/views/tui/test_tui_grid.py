"""The grid on a real hub with real workers: every key that moves in it."""

from __future__ import annotations

from top_pilot import Driver, drive, top_on

from felixhub.core.workflow import Card, RunSettings, Stage, Workflow
from felixhub.testing import HOLD, HubForTests, Script

AGENTS = ("ada", "bob", "cyd", "dan", "eve")


def _held(hub: HubForTests, *agents: str) -> str:
    """A run whose agents have each said something, and go on saying nothing."""
    scripts = {agent: Script(f"{agent} begins. ", HOLD, "and ends.") for agent in agents}
    return hub.run(**scripts).id


def _many(hub: HubForTests, count: int) -> str:
    """A run of many agents for whom there is no worker."""
    names = [f"agent-{number:03d}" for number in range(count)]
    with hub.connect() as client:
        workflow = Workflow(name="many", stages=tuple(Stage(name=name, agent=name, context="none") for name in names))
        cards = [Card(name=name, program=True) for name in names]
        return str(client.start("wait", workflow=workflow, agents=cards, settings=RunSettings())["run"])


def test_every_pane_shows_its_agent_live_with_badge_and_figures(hub: HubForTests) -> None:
    _held(hub, *AGENTS)

    async def steps(top: Driver) -> None:
        for agent in AGENTS:
            await top.until_shown(f"{agent} begins.")
        await top.until_shown("▶ streaming")
        await top.until_shown("▶ 5 streaming")
        await top.until_shown("2 words")
        hub.release("bob")
        await top.until_shown("bob begins. and ends.")
        await top.until_shown("✓ final")
        await top.until_shown("▶ 4 streaming")

    drive(top_on(hub), steps)


def test_keys_move_the_selection(hub: HubForTests) -> None:
    _held(hub, *AGENTS)

    async def steps(top: Driver) -> None:
        await top.until_shown("eve begins.")
        moves = [
            ("tab", "bob"),
            ("shift+tab", "ada"),
            ("right", "bob"),
            ("l", "cyd"),
            ("left", "bob"),
            ("down", "eve"),
            ("up", "bob"),
            ("j", "eve"),
            ("k", "bob"),
            ("4", "dan"),
            ("9", "dan"),
            ("end", "eve"),
            ("tab", "ada"),
            ("G", "eve"),
            ("g", "ada"),
            ("up", "ada"),
            ("home", "ada"),
        ]
        for key, agent in moves:
            await top.press(key)
            assert top.app.agent == agent, key
        await top.until_shown("┏━ 1 ada")  # The selected pane is told by its border too.
        await top.until_shown("╭─ 2 bob")

    drive(top_on(hub), steps)


def test_a_click_selects_and_a_double_click_opens(hub: HubForTests) -> None:
    _held(hub, "ada", "bob")

    async def steps(top: Driver) -> None:
        await top.until_shown("bob begins.")
        await top.pilot.click(offset=(100, 10))
        assert top.app.agent == "bob"
        await top.pilot.click(offset=(20, 10), times=2)
        await top.until_shown("ada  ▶ streaming")
        await top.press("escape")
        await top.pilot.click(offset=(118, 39))  # the end of the footer is nobody
        await top.until_shown("bob begins.")

    drive(top_on(hub), steps)


def test_the_footer_is_pressed_with_the_mouse(hub: HubForTests) -> None:
    _held(hub, "ada")

    async def steps(top: Driver) -> None:
        await top.until_shown("ada begins.")
        await top.until_shown("? help")
        footer = top.text.splitlines()[-1]
        await top.pilot.click(offset=(footer.index("? help"), 39))
        await top.until_shown("What the signs mean")

    drive(top_on(hub), steps)


def test_filter_shows_what_matches_and_n_goes_on(hub: HubForTests) -> None:
    hub.run(ada=Script("red fox ", HOLD), bob=Script("blue fox ", HOLD), cyd=Script("green hen ", HOLD))

    async def steps(top: Driver) -> None:
        for said in ("red fox", "blue fox", "green hen"):  # Else the filter would move to whoever speaks first.
            await top.until_shown(said)
        await top.press("slash")
        await top.type("fox")
        await top.until_gone("green hen")
        await top.until_shown("2 shown")
        await top.until_shown("red fox")
        await top.press("enter")
        for key, agent in (("n", "bob"), ("n", "ada"), ("N", "bob")):
            await top.press(key)
            await top.until(lambda agent=agent: top.app.agent == agent, f"{key} selects {agent}")
        await top.press("escape")
        await top.until_shown("green hen")
        await top.press("slash")
        await top.type("cyd")  # by name too
        await top.until_gone("red fox")
        await top.press("escape")
        await top.until_shown("red fox")
        await top.press("slash")
        await top.type("nobody")
        await top.until_shown("no agent matches 'nobody'")
        await top.press("escape", "n")
        await top.until_said("nothing is looked for")

    drive(top_on(hub), steps)


def test_two_hundred_agents_are_paged(hub: HubForTests) -> None:
    _many(hub, 200)

    async def steps(top: Driver) -> None:
        await top.until_shown("page 1 of 14")
        await top.until_shown("◦ 200 waiting")
        await top.until_shown("agent-014")
        assert "agent-015" not in top.text
        await top.press("pagedown")
        await top.until_shown("agent-015")
        await top.until_shown("page 2 of 14")
        await top.press("right_square_bracket")
        await top.until_shown("page 3 of 14")
        await top.press("pageup", "left_square_bracket")
        await top.until_shown("page 1 of 14")
        await top.press("end")
        await top.until_shown("agent-199")
        await top.until_shown("page 14 of 14")
        assert len(top.app.screen.query("Pane")) == 15, "no more panes than are to be seen"

    drive(top_on(hub), steps)


def test_columns_follow_the_width(hub: HubForTests) -> None:
    _many(hub, 30)

    async def steps(top: Driver) -> None:
        for width, columns in ((60, 1), (80, 2), (199, 4), (240, 5)):
            await top.pilot.resize_terminal(width, 40)
            await top.until(lambda n=columns: top.text.splitlines()[2].count("agent-") == n, f"{columns} columns")

    drive(top_on(hub), steps)


def test_an_empty_hub_says_what_to_do_and_a_run_that_starts_is_shown(hub: HubForTests) -> None:
    async def steps(top: Driver) -> None:
        await top.until_shown("There is no run on this hub yet")
        assert 'felixhub run "TASK"' in top.text
        _held(hub, "ada")
        await top.until_shown("ada begins.")
        first = top.app.seen.run if top.app.seen else ""
        hub.run(zoe=Script("the newer one ", HOLD))
        await top.until_said("R chooses it")
        assert top.app.seen is not None and top.app.seen.run == first
        hub.release("ada")
        await top.until_shown("the newer one")

    drive(top_on(hub), steps)


def test_a_hub_that_goes_away_is_said_and_one_that_comes_back_too(hub: HubForTests) -> None:
    _held(hub, "ada")

    async def steps(top: Driver) -> None:
        await top.until_shown("ada begins.")
        hub.kill()
        await top.until_shown("hub away")
        await top.until_said("The hub is away; waiting for it")
        assert "ada begins." in top.text
        hub.start()
        await top.until_said("The hub is back")
        await top.until_gone("hub away")
        hub.release("ada")
        await top.until_shown("ada begins. and ends.")

    drive(top_on(hub), steps)


def test_a_finished_run_stays(hub: HubForTests) -> None:
    hub.run(ada="All of it.").wait(timeout_s=60.0)

    async def steps(top: Driver) -> None:
        await top.until_shown("All of it.")
        await top.until_shown("finished")
        await top.press("c")
        await top.until_said("has ended already (finished)")

    drive(top_on(hub), steps)


def test_help_is_made_from_the_bindings(hub: HubForTests) -> None:
    async def steps(top: Driver) -> None:
        for key in ("question_mark", "f1"):
            await top.until_shown("There is no run")
            await top.press(key)
            await top.until_shown("What the signs mean")
            assert "Ctrl+S" in top.text
            await top.press("pagedown", "pagedown", "pagedown")
            await top.until_shown("Steering")
            await top.press("pageup", "up", "k", "down", "j")
            await top.press("escape")
            await top.until_gone("Steering")

    drive(top_on(hub), steps)


def test_the_palette_finds_commands_and_agents(hub: HubForTests) -> None:
    _held(hub, "ada", "bob")

    async def steps(top: Driver) -> None:
        await top.until_shown("bob begins.")
        await top.press("ctrl+p")
        await top.pilot.pause(0.2)
        await top.type("Go to bob")
        await top.until_shown("Go to bob")
        await top.pilot.pause(0.5)
        await top.press("enter")
        await top.until(lambda: top.app.agent == "bob")
        top.app.theme = "felix-light"
        await top.until_shown("bob begins.")

    drive(top_on(hub), steps)
