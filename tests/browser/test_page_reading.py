"""Reading while it is written: a text follows until one scrolls up, then says how much is new; one card or all."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect
from scripted_model import Say, ScriptedModel, scripted_model
from shell import MEMO, until
from stage import WAIT_MS, Stage
from strange_server import strange_server

LONG = "Each of these words is one more that somebody has to read.\n\n" * 800
NEW = re.compile(r"^↓ [\d,]+ new$")
IS_AT_END = "(box) => box.scrollHeight - box.scrollTop - box.clientHeight < 40"

expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedModel]:
    """It goes on for longer than any test: no thought ends while it is read."""
    with scripted_model(lambda _agent, _prompt: Say(LONG, every_s=0.03)) as made:
        yield made


def is_long(box: Locator) -> bool:
    return bool(box.evaluate("(box) => box.scrollHeight > box.clientHeight + 80"))


def test_the_whole_text_follows_until_one_scrolls_up(stage: Stage, model: ScriptedModel) -> None:
    run = stage.start("Compare the two plans", "--file", MEMO, "--llm", model.base_url)
    page = stage.open(run, height=420)
    card = page.locator('.card[data-agent="research"]')
    expect(card).to_have_attribute("data-state", "streaming")
    card.get_by_role("button", name="Expand").click()
    box, newer = page.locator("#reader-text"), page.locator("#reader-newer")
    until(lambda: is_long(box), 60.0, "the text is longer than its window")
    until(lambda: box.evaluate(IS_AT_END), 10.0, "it follows")
    expect(newer).to_be_hidden()
    box.evaluate("(box) => box.scrollTo(0, 0)")
    expect(newer).to_have_text(NEW)
    assert box.evaluate("(box) => box.scrollTop") == 0, "what one reads stays where it is"
    newer.click()
    expect(newer).to_be_hidden()
    until(lambda: box.evaluate(IS_AT_END), 10.0, "it follows again")
    expect(page.locator("#reader-counts")).to_have_text(re.compile(r"characters · .* words"))
    page.keyboard.press("Escape")
    with stage.shell.client() as client:
        client.cancel(run)


def test_one_card_at_a_time_and_the_filter(stage: Stage, model: ScriptedModel) -> None:
    run = stage.start("Compare the two plans", "--file", MEMO, "--llm", model.base_url)
    page = stage.open(run, height=420)
    expect(page.locator(".card:visible")).to_have_count(4)
    page.get_by_placeholder("Filter agents").fill("critic")
    expect(page.locator(".card:visible")).to_have_count(1)
    page.get_by_placeholder("Filter agents").fill("")
    page.get_by_role("button", name="One", exact=True).click()
    expect(page.locator(".card:visible")).to_have_count(1)
    page.locator("#rail").get_by_role("button", name="analysis").click()
    card = page.locator('.card[data-agent="analysis"]')
    expect(card).to_be_visible()
    box, newer = card.locator(".text"), card.locator(".newer")
    until(lambda: is_long(box), 60.0, "the text is longer than its window")
    box.evaluate("(box) => box.scrollTo(0, -box.scrollHeight)")
    expect(newer).to_have_text(NEW)
    newer.click()
    expect(newer).to_be_hidden()
    with stage.shell.client() as client:
        client.cancel(run)


def test_reasoning_is_apart_from_the_text(stage: Stage) -> None:
    with strange_server(pieces=["<think>", "I weigh <b>both</b>.", "</think>", "The second plan."]) as url:
        run = stage.start("Compare the two plans", "--workflow", "solo", "--llm", url)
        stage.until_status(run, "finished")
    page = stage.open(run)
    card = page.locator(".card")
    expect(card.locator(".text .said")).to_have_text("The second plan.")
    card.get_by_role("button", name="Expand").click()
    page.get_by_text("Reasoning ·").click()
    expect(page.get_by_role("region", name="The reasoning")).to_have_text("I weigh <b>both</b>.")
    expect(page.locator("#reader-html")).to_have_text("The second plan.")
