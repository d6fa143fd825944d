"""A page whose server or hub is killed goes on by itself, and shows the same texts as the log, to the character."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect
from shell import MEMO, until
from stage import WAIT_MS, Stage
from texts import thoughts

from felixhub.llm.offline import OfflineModel
from felixhub.views.safe_text import safe_text

expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def model() -> Iterator[OfflineModel]:
    made = OfflineModel(tokens_per_s=12.0, first_token_s=0.2)  # slow: the run outlasts what is done to it
    made.start()
    yield made
    made.stop()


def hub_pid(stage: Stage) -> int:
    """The hub itself, not what watches over it."""
    with stage.shell.client() as client:
        return int(client.hello()["pid"])


def grows(page: Page, card: str) -> None:
    said = page.locator(f'.card[data-agent="{card}"] .text .said')
    length = len(said.text_content() or "")
    until(lambda: len(said.text_content() or "") != length, 60.0, "the text goes on")


def ends_as(said: Locator, whole: str) -> None:
    """The card has the end of this text, and enough of it."""
    until(lambda: whole.endswith(said.text_content() or "\0"), 30.0, lambda: f"{said.text_content()!r}")
    assert len(said.text_content() or "") >= min(len(whole), 1500)


def shown(page: Page) -> str:
    """What the whole text's window has, block by block."""
    return "".join(page.locator("#reader-text .chunk").all_text_contents())


def test_texts_are_those_of_the_log_after_the_server_and_the_hub_were_killed(stage: Stage, model: OfflineModel) -> None:
    run = stage.start("Compare the two plans for the depot", "--file", MEMO, "--llm", model.base_url)
    page = stage.open(run)
    connection = page.locator("#connection .word")
    card = page.locator('.card[data-agent="research"]')
    expect(card).to_have_attribute("data-state", "streaming")
    stage.is_disturbed = True

    # The page's server: what is shown stays, the words say so, and it comes back where it was.
    stage.kill_web()
    expect(connection).to_have_text("reconnecting")
    expect(page.locator("#notice")).to_contain_text("The page's server does not answer")
    stage.start_web()
    expect(connection).to_have_text("connected")
    expect(page.locator("#notice")).to_contain_text("nothing was lost")
    expect(page.locator(".card")).to_have_count(4)
    grows(page, "research")

    # A command works at once, although the new server has another token.
    page.get_by_role("button", name="Pause run").click()
    expect(page.locator("#run-state")).to_have_text("‖paused")
    page.get_by_role("button", name="Resume run").click()
    expect(page.locator("#run-state")).to_have_text("▶running")
    expect(card).to_have_attribute("data-state", "streaming")

    # The hub, while a whole text is read live. Stopped first: killed alone it would be back before anybody looks.
    card.get_by_role("button", name="Expand").click()
    expect(page.locator("#reader-text")).not_to_be_empty()
    pid = hub_pid(stage)
    os.kill(pid, signal.SIGSTOP)
    expect(connection).to_have_text("hub away")
    expect(page.locator("#notice")).to_contain_text("The hub is away")
    os.kill(pid, signal.SIGKILL)
    expect(connection).to_have_text("connected")
    expect(page.locator("#notice")).to_contain_text("The hub is back")

    model.tokens_per_s = 300.0
    stage.until_status(run, "finished", 120.0)
    expect(page.locator("#run-state")).to_have_text("✓finished")
    told = thoughts(stage.shell.events(run))
    read = page.locator("#reader").evaluate("dialog => dialog.open")
    assert read, "the whole text stays open"
    texts = [safe_text(thought.text) for thought in told.values() if thought.started.agent == "research"]
    until(lambda: shown(page) in texts, 30.0, lambda: f"{shown(page)[-200:]!r} in {[text[-200:] for text in texts]}")
    page.keyboard.press("Escape")

    # Each card ends with the end of the text that it shows.
    for agent in ("research", "analysis", "critic", "synthesizer"):
        last = [thought for thought in told.values() if thought.started.agent == agent and thought.text][-1]
        said = page.locator(f'.card[data-agent="{agent}"] .text .said')
        whole = safe_text(last.text)
        ends_as(said, whole)
    # And so does each thought that can be read.
    for name, thought in told.items():
        read = page.evaluate(
            "async ([run, name]) => (await (await fetch(`/api/runs/${run}/thoughts/${name}`)).json()).text", [run, name]
        )
        assert read == thought.text


def test_another_log_is_never_called_nothing_lost(stage: Stage) -> None:
    """Whichever comes first, the word that the hub is back or that its log is another one."""
    page = stage.open()
    expect(page.locator("#connection .word")).to_have_text("connected")
    found = page.evaluate(
        """async () => {
            const { Connection } = await import("/static/js/connection.js");
            const said = () => document.querySelector("#notice .sentence").textContent;
            const before = new Connection(() => {}), after = new Connection(() => {}), same = new Connection(() => {});
            const told = [];
            for (const one of [before, after, same]) {
                one.set("open");
                one.setHub("away");
                if (one === before) one.setAnotherLog();
                one.setHub("here");
                if (one === after) one.setAnotherLog();
                told.push(said());
            }
            return told;
        }"""
    )
    assert ["another" if "not the one it was" in one else one for one in found] == [
        "another",
        "another",
        "The hub is back: nothing was lost.",
    ]


def test_the_byte_arithmetic_of_pieces(stage: Stage) -> None:
    """Pieces that overlap what is there are cut, to the byte, whatever they hold; a gap is noticed."""
    page = stage.open()
    found = page.evaluate(
        """async () => {
            const { byteLength, withoutBytes, lastOf, Texts } = await import("/static/js/texts.js");
            const texts = new Texts();
            const text = "a\\u00fc\\u6f22\\ud83d\\ude00z";
            const event = (offset, text) => ({ channel: "text", thought: "t", offset, text });
            const taken = [texts.take(event(0, "a\\u00fc")), texts.take(event(1, "\\u00fc\\u6f22\\ud83d\\ude00")),
                           texts.take(event(3, "\\u6f22\\ud83d\\ude00z")), texts.take(event(12, "gap"))];
            return [byteLength(text), withoutBytes(text, 3), withoutBytes(text, 10), lastOf(text, 2), taken,
                    texts.get("t").text === text, texts.get("t").end];
        }"""
    )
    assert found == [11, "漢😀z", "z", "z", [True, True, True, False], True, 11]


def test_every_character_is_shown_as_on_a_terminal(stage: Stage) -> None:
    """The page's table of what is shown instead is that of `safe_text`, tab and newline and all."""
    page = stage.open()
    codes = [code for code in range(0x11000) if not 0xD800 <= code < 0xE000]
    shown = page.evaluate(
        """async (codes) => {
            const { safeText } = await import("/static/js/safe.js");
            return codes.map((code) => safeText(String.fromCodePoint(code)));
        }""",
        codes,
    )
    assert shown == [safe_text(chr(code)) for code in codes]
