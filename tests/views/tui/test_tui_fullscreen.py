"""One agent on the whole screen: live, wrapped, followed until somebody scrolls up."""

from __future__ import annotations

from top_pilot import Driver, drive, top_on

from felixhub.testing import HOLD, HubForTests, Script
from felixhub.views.tui.look import Look

LINES = "".join(f"line {number}\n" for number in range(100))


def test_it_follows_until_somebody_scrolls_up_and_says_what_is_new(hub: HubForTests) -> None:
    more = "".join(f"more {number}\n" for number in range(14))
    hub.run(ada=Script(LINES, HOLD, more, HOLD, "the end"))

    async def steps(top: Driver) -> None:
        await top.until_shown("line 99")
        await top.press("enter")
        await top.until_shown("790 characters · 200 words")
        await top.until_shown("line 99")
        await top.press("k", "up")
        await top.until_shown("scrolled")
        hub.release("ada")
        await top.until_shown("↓ 14 new")
        assert "more 13" not in top.text
        await top.press("down", "j", "G")
        await top.until_shown("more 13")
        assert "new" not in top.text.splitlines()[1]
        await top.press("pageup")
        await top.until_gone("more 13")
        await top.press("pagedown", "space")
        await top.until_shown("more 13")
        await top.press("g")
        await top.until_shown("line 0 ")
        await top.press("end")
        await top.until_shown("more 13")
        await top.press("home")
        await top.until_shown("line 0 ")
        await top.press("escape")
        await top.until_shown("1 ada")

    drive(top_on(hub), steps)


def test_a_final_text_is_markdown_and_can_be_seen_as_written(hub: HubForTests) -> None:
    hub.run(ada="# Head\n\n- one **bold** word\n").wait(timeout_s=60.0)

    async def steps(top: Driver) -> None:
        await top.until_shown("**bold**")  # The grid has it as plain text.
        await top.press("f")
        await top.until_shown("• one bold word")
        assert "**" not in top.text
        await top.press("m")
        await top.until_shown("- one **bold** word")
        await top.press("m")
        await top.until_shown("• one bold word")
        await top.press("f")
        await top.until_shown("**bold**")

    drive(top_on(hub), steps)


def test_long_lines_wrap_or_go_sideways(hub: HubForTests) -> None:
    hub.run(ada=Script("word " * 60 + "END", HOLD))

    async def steps(top: Driver) -> None:
        await top.until_shown("END")
        await top.press("enter")
        await top.until_shown("END")
        await top.press("w")
        await top.until_gone("END")
        await top.press(*["right"] * 30)
        await top.until_shown("END")
        await top.press(*["left"] * 30)
        await top.until_gone("END")
        await top.press("w")
        await top.until_shown("END")

    drive(top_on(hub), steps)


def test_words_are_found_and_n_goes_on(hub: HubForTests) -> None:
    hub.run(ada=Script(LINES, HOLD))

    async def steps(top: Driver) -> None:
        await top.until_shown("line 99")
        await top.press("enter")
        await top.until_shown("790 characters")
        await top.press("n")
        await top.until_said("nothing is looked for")
        await top.press("slash")
        await top.type("line 2")
        await top.press("enter")
        await top.until_shown("line 2 ")
        await top.press("n")
        await top.until_shown("line 20")
        await top.press("N")
        await top.until_shown("line 2 ")
        await top.press("slash")
        await top.type("zebra")
        await top.press("enter")
        await top.until_said("is not in this text")
        await top.press("slash")
        await top.press("escape")
        await top.until_shown("790 characters")

    drive(top_on(hub), steps)


def test_tab_goes_to_the_next_agent_and_commands_are_about_it(hub: HubForTests) -> None:
    hub.run(ada=Script("ada begins. ", HOLD), bob=Script("bob begins. ", HOLD))

    async def steps(top: Driver) -> None:
        await top.until_shown("bob begins.")
        await top.press("enter")
        await top.until_shown("1 of 2")
        await top.press("tab")
        await top.until_shown("bob begins.")
        await top.until_shown("2 of 2")
        await top.press("shift+tab", "shift+tab")
        assert top.app.agent == "bob"
        await top.press("c")
        await top.until_shown("Cancel bob?")
        await top.press("y")
        await top.until_shown("■ cancelled")
        await top.press("s")
        await top.until_shown("Steer bob")

    drive(top_on(hub), steps)


def test_reasoning_is_shown_while_there_is_no_text(hub: HubForTests) -> None:
    from felixhub.testing import Think

    hub.run(ada=Script(Think("I wonder."), HOLD, "The answer."))

    async def steps(top: Driver) -> None:
        await top.until_shown("I wonder.")
        await top.press("enter")
        await top.until_shown("I wonder.")
        hub.release("ada")
        await top.until_shown("The answer.")
        assert "I wonder." not in top.text

    drive(top_on(hub), steps)


def test_the_timeline_and_the_helix_are_live(hub: HubForTests) -> None:
    hub.run(ada=Script("ada begins. ", HOLD, "ends"), bob=Script("bob begins. ", HOLD), synthesis="all of it")

    async def steps(top: Driver) -> None:
        await top.until_shown("bob begins.")
        await top.press("t")
        await top.until_shown("waits for its first token")
        await top.until_shown("◆")
        hub.release("ada")
        await top.until(lambda: "✓" in top.text.split("waits for")[0], "ada's bar has its end")
        await top.press("h")
        await top.until_shown("CentralPost")
        await top.until_shown("✓ ada")
        await top.until_shown("▶ bob")
        await top.press("down", "up", "j", "k", "pagedown", "pageup", "space")
        await top.press("t")
        await top.until_shown("waits for its first token")
        await top.press("escape")
        await top.until_shown("1 ada")
        await top.press("h", "h")
        await top.until_shown("1 ada")

    drive(top_on(hub), steps)


def test_plain_ascii(hub: HubForTests) -> None:
    hub.run(ada=Script("ada begins. ", HOLD), bob="all of it")

    async def steps(top: Driver) -> None:
        await top.until_shown("> streaming")
        await top.until_shown("+ final")
        screens = ["t", "h", "question_mark", "e", "slash", "s", "R"]
        for keys in ((), ("enter",), ("slash",), ("escape",), *(("escape", key) for key in screens)):
            await top.press(*keys)
            await top.pilot.pause(0.3)
            assert top.text.isascii(), {char for char in top.text if not char.isascii()}

    drive(top_on(hub, look=Look(ascii_only=True, moves=False)), steps)


def test_a_filter_in_the_grid_does_not_take_the_full_screen_away(hub: HubForTests) -> None:
    """Who filters by a state and opens a text goes on reading it when that state ends."""
    hub.run(ada=Script("ada begins. ", HOLD), bob=Script("bob begins. ", HOLD, "bob ends."))

    async def steps(top: Driver) -> None:
        await top.until_shown("bob begins.")
        await top.until_shown("ada begins.")
        await top.press("slash")
        await top.type("streaming")
        await top.press("enter", "tab", "enter")
        await top.until_shown("2 of 2")
        hub.release("bob")
        await top.until_state("bob", "final")
        await top.until_shown("bob begins. bob ends.")
        await top.pilot.pause(1.0)
        assert "bob" in str(top.app.agent) and "2 of 2" in top.text
        await top.press("tab")
        await top.until_shown("1 of 2")
        await top.press("escape")
        await top.until_shown("1 shown")

    drive(top_on(hub), steps)


def test_the_full_screen_says_that_the_hub_is_away(hub: HubForTests) -> None:
    hub.run(ada=Script("ada begins. ", HOLD))

    async def steps(top: Driver) -> None:
        await top.until_shown("ada begins.")
        await top.press("enter")
        await top.until_shown("1 of 1")
        hub.kill()
        await top.until_shown("hub away")
        hub.start()
        await top.until_gone("hub away")

    drive(top_on(hub), steps)
