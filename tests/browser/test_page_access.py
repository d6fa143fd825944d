"""The page for everybody: by keyboard alone, with axe-core, narrow, enlarged, dark, and without motion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from shell import MEMO, until
from stage import AXE, WAIT_MS, Stage

from felixhub.llm.offline import OfflineModel

expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def model() -> Iterator[OfflineModel]:
    made = OfflineModel(tokens_per_s=12.0, first_token_s=0.2)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def reviewed(stage_of_module: Stage) -> str:
    """A run of seven sections that waits for a person, with one edited."""
    stage = stage_of_module
    run = stage.start(
        "Write the consent form", "--workflow", "sections", "--review", "--file", MEMO, "--llm", "offline"
    )
    with stage.shell.client() as client:
        until(
            lambda: len(next(r for r in client.runs() if r["run"] == run)["awaiting"]) == 7,
            120.0,
            "all seven wait for a person",
        )
        client.edit(run, "risks", "Written by a person.", version=client.snapshot(run).sections["risks"].current.number)
    return run


def check(page: Page, where: str) -> None:
    """Nothing serious, nothing critical."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    bad = [
        f"{one['id']} ({one['impact']}): {one['help']}: {[node['html'][:160] for node in one['nodes'][:4]]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert not bad, f"{where}: " + "\n".join(bad)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(stage: Stage, reviewed: str, model: OfflineModel, scheme: str) -> None:
    page = stage.open(scheme=scheme)
    expect(page.get_by_role("radio", name="helix")).to_be_checked()
    expect(page.locator("#runs a").first).to_be_visible()
    check(page, "the first page")
    page.get_by_text("Model and limits").click()
    page.get_by_role("button", name="Start the run").click()
    check(page, "the form with an error")

    page.goto(f"{stage.base}/?run={reviewed}")
    expect(page.locator(".card")).to_have_count(14)
    for name in ("timeline", "helix", "rate"):
        page.locator(f"#{name}-table summary").click()
        expect(page.locator(f"#{name}-table table")).to_be_visible()
    check(page, "agents, with the tables behind the charts")
    page.get_by_role("button", name="One", exact=True).click()
    check(page, "one agent")
    page.get_by_role("button", name="Grid", exact=True).click()
    card = page.locator('.card[data-agent="writer-1"]')
    card.get_by_role("button", name="Steer").click()
    page.get_by_role("button", name="Steer it").click()
    check(page, "steering, with an error")
    page.keyboard.press("Escape")
    card.get_by_role("button", name="Expand").click()
    expect(page.locator("#reader-html")).not_to_be_empty()
    check(page, "the whole text")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Document").click()
    expect(page.locator("#preview")).to_contain_text("Risks")
    expect(page.get_by_role("button", name="Download Markdown")).to_be_visible()
    check(page, "the document")
    risks = page.locator('#sections li[data-section="risks"]')
    risks.get_by_role("button", name="Versions").click()
    expect(page.locator("#versions-diff ins").first).to_be_visible()
    check(page, "the difference")
    page.keyboard.press("Escape")
    risks.get_by_role("button", name="Edit").click()
    expect(page.locator("#edit-text")).to_have_value("Written by a person.")
    check(page, "editing")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Events").click()
    check(page, "the event log")
    page.get_by_role("button", name="Help").click()
    check(page, "the help")
    page.keyboard.press("Escape")

    run = stage.start("Compare the two plans", "--file", MEMO, "--llm", model.base_url)
    page.goto(f"{stage.base}/?run={run}")
    expect(page.locator(".card[data-writes]").first).to_be_visible()
    check(page, "while it streams")
    page.get_by_role("button", name="Stop run").click()
    check(page, "the question")
    page.get_by_role("button", name="Stop the run").click()
    expect(page.locator("#run-state")).to_have_text("■cancelled")


def focus_on(page: Page, wanted: str, key: str = "Tab", presses: int = 80) -> None:
    """Press the key until the element that the selector names has the focus, and it can be seen there."""
    for _ in range(presses):
        page.keyboard.press(key)
        if page.evaluate("(wanted) => Boolean(document.activeElement?.matches(wanted))", wanted):
            outline = page.evaluate(
                "((now) => [now, now.nextElementSibling, now.parentElement]"
                ".some((one) => one && getComputedStyle(one).outlineStyle !== 'none'))(document.activeElement)"
            )
            assert outline, f"the focus on {wanted} cannot be seen"
            return
    raise AssertionError(f"{wanted} is not reached by {key}")


def test_all_of_it_by_keyboard(stage: Stage, model: OfflineModel) -> None:
    page = stage.open()
    expect(page.get_by_role("radio", name="helix")).to_be_checked()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    focus_on(page, "#task")
    page.keyboard.type("Compare the two plans for the depot")
    focus_on(page, 'input[name="workflow"]')
    focus_on(page, "#files")
    page.set_input_files("#files", str(MEMO))
    focus_on(page, "#review")
    focus_on(page, "details.more summary")
    page.keyboard.press("Enter")
    focus_on(page, "#llm")
    page.keyboard.type(model.base_url)
    focus_on(page, "#start-button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?run=helix-*")
    expect(page.locator(".card")).to_have_count(4)

    # Single keys: to the first agent, steer it, and the focus comes back to its card.
    page.keyboard.press("j")
    expect(page.locator('.card[data-agent="research"]')).to_be_focused()
    expect(page.locator('.card[data-agent="research"]')).to_have_attribute("data-state", "streaming")
    page.keyboard.press("s")
    expect(page.locator("#wrong")).to_be_focused()
    page.keyboard.type("no figures ? n p")  # Keys are text where one writes.
    page.keyboard.press("Control+Enter")
    expect(page.locator("#steer")).not_to_be_visible()
    expect(page.locator('.card[data-agent="research"]')).to_be_focused()
    expect(page.locator('.card[data-agent="research"] .told')).to_be_visible()

    # Arrows move, Enter reads, Esc closes and gives the focus back.
    page.keyboard.press("ArrowRight")
    expect(page.locator('.card[data-agent="analysis"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#reader-text")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator('.card[data-agent="analysis"]')).to_be_focused()
    page.keyboard.press("c")
    expect(page.locator("#confirm-no")).to_be_focused()  # What cannot be undone is not the default.
    page.keyboard.press("Escape")

    # Tabs by arrows; help by its key; single keys can be switched off.
    page.keyboard.press("2")
    expect(page.locator("#tab-document")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tab-log")).to_be_focused()
    expect(page.locator("#log")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    focus_on(page, "#keys-on")
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    expect(page.locator("#log")).to_be_visible()

    focus_on(page, "#stop-run", "Shift+Tab")
    page.keyboard.press("Enter")
    focus_on(page, "#confirm-yes")
    page.keyboard.press("Enter")
    expect(page.locator("#run-state")).to_have_text("■cancelled")


@pytest.mark.parametrize(("width", "height"), [(360, 740), (640, 450), (820, 1100)])  # 640: 1280 at 200 %
def test_nothing_is_wider_than_the_page(stage: Stage, reviewed: str, width: int, height: int) -> None:
    page = stage.open(width=width, height=height)
    expect(page.get_by_role("radio", name="helix")).to_be_visible()

    def fits(where: str) -> None:
        found = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert found[0] <= found[1], f"{where}: {found}"

    fits("the first page")
    page.goto(f"{stage.base}/?run={reviewed}")
    expect(page.locator(".card")).to_have_count(14)
    fits("agents")
    if page.locator("#charts").is_hidden():
        page.get_by_role("button", name="Charts").click()
    fits("charts")
    page.locator("#timeline-table summary").click()
    fits("a table")
    page.locator(".card").first.get_by_role("button", name="Steer").click()
    fits("steering")
    send = page.get_by_role("button", name="Steer it")
    send.scroll_into_view_if_needed()
    expect(send).to_be_in_viewport()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Document").click()
    expect(page.locator("#preview")).to_contain_text("Risks")
    fits("the document")
    page.get_by_role("tab", name="Events").click()
    fits("events")


def test_nothing_moves_for_who_wants_it_calm(stage: Stage, model: OfflineModel) -> None:
    run = stage.start("Compare the two plans", "--file", MEMO, "--llm", model.base_url)
    page = stage.open(run, reduced_motion="reduce")
    card = page.locator('.card[data-agent="research"]')
    expect(card).to_have_attribute("data-state", "streaming")
    length = len(card.locator(".text .said").inner_text())
    until(lambda: len(card.locator(".text .said").inner_text()) > length, 30.0, "the text grows")
    assert page.evaluate("document.getAnimations().length") == 0
    lively = stage.open(run)
    until(lambda: lively.evaluate("document.getAnimations().length"), 30.0, "the cursor blinks for everybody else")
    with stage.shell.client() as client:
        client.cancel(run)


def test_the_theme_can_be_chosen_and_is_kept(stage: Stage) -> None:
    page = stage.open(scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    button = page.locator("#theme")
    button.click()
    expect(button).to_have_attribute("aria-label", "Theme: Light")
    button.click()
    expect(button).to_have_attribute("aria-label", "Theme: Dark")
    dark = page.evaluate(paper)
    assert dark != light
    page.reload()
    assert page.evaluate(paper) == dark
