"""Coming back, to a run, to a dialog, to a gateway: what is shown is what there is now, not what there was."""

from __future__ import annotations

import re
import urllib.request

from playwright.sync_api import Locator, Page, expect
from shell import MEMO, until
from stage import WAIT_MS, Stage

expect.set_options(timeout=WAIT_MS)


def cancelled_run(stage: Stage) -> str:
    run = stage.start("Compare the two plans", "--llm", "offline")
    with stage.shell.client() as client:
        client.cancel(run)
    stage.until_status(run, "cancelled")
    return run


def lines(page: Page) -> Locator:
    return page.locator("#log-lines .said-line")


def test_from_one_run_to_another_that_ended_the_same_way(stage: Stage) -> None:
    runs = [cancelled_run(stage) for _ in range(2)]
    page = stage.open(runs[0])
    for run in (runs[1], runs[0]):
        expect(page.get_by_text("Cancelled. What was written")).to_be_visible()
        page.get_by_role("link", name="Runs", exact=True).click()
        page.locator(f'#runs a[data-run="{run}"]').click()
        expect(page.locator("#run-about")).to_contain_text(run)
    page.go_back()
    page.go_back()
    expect(page.locator("#run-about")).to_contain_text(runs[1])
    expect(page.get_by_text("Cancelled. What was written")).to_be_visible()


def test_what_was_saved_is_no_draft(stage: Stage) -> None:
    """Else the next one to edit would write over what came since, with an old text that nobody typed again."""
    run = stage.start("Compare", "--workflow", "sections", "--review", "--file", MEMO, "--llm", "offline")
    with stage.shell.client() as client:
        until(lambda: client.snapshot(run).sections["summary"].versions, 90.0, "there is a summary")
        page = stage.open(run)
        page.get_by_role("tab", name=re.compile("Document")).click()
        edit = page.locator('#sections li[data-section="summary"]').get_by_role("button", name="Edit")
        edit.click()
        text = page.get_by_role("dialog", name=re.compile("Edit")).get_by_label("Text")
        text.fill("What one person wrote.")
        page.get_by_role("button", name="Save as a new version").click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        version = client.edit(run, "summary", "What another person wrote.")["version"]
        expect(page.locator("#preview")).to_contain_text("What another person wrote.")
        edit.click()
        expect(page.locator("#edit-about")).to_contain_text(f"version {version}")
        expect(text).to_have_value("What another person wrote.")
        # A draft that was not saved is there again, and says what it does not know of.
        text.fill("A draft of mine.")
        page.keyboard.press("Escape")
        newer = client.edit(run, "summary", "What the other one wrote then.")["version"]
        expect(page.locator("#preview")).to_contain_text("What the other one wrote then.")
        edit.click()
        expect(text).to_have_value("A draft of mine.")
        expect(page.locator("#edit-about")).to_contain_text(
            f"made from version {version}, and version {newer} has come"
        )
        page.keyboard.press("Escape")
        client.cancel(run)


def test_a_run_that_ended_while_the_server_was_away_is_shown_as_ended(stage: Stage) -> None:
    run = stage.start("Compare", "--workflow", "sections", "--review", "--file", MEMO, "--llm", "offline")
    page = stage.open(run)
    expect(page.locator("#run-state")).to_contain_text("running")
    page.get_by_role("tab", name="Events").click()
    expect(lines(page).first).to_be_visible()
    stage.is_disturbed = True
    stage.kill_web()
    expect(page.locator("#connection .word")).to_have_text("reconnecting")
    with stage.shell.client() as client:
        client.cancel(run, by="ada")
    stage.until_status(run, "cancelled")
    stage.start_web()
    expect(page.locator("#run-state")).to_contain_text("cancelled")
    expect(page.locator("#outcome")).to_contain_text("Cancelled.")
    expect(lines(page).filter(has_text="ada")).not_to_have_count(0)
    assert any("last_event_id=" in url for url in stage.asked)  # It went on where it was.


def test_a_tab_that_nobody_sees_lets_go_and_goes_on_where_it_was(stage: Stage) -> None:
    """A browser has six connections to one host: else the seventh tab, and every command, would wait for ever."""
    run = stage.start("Compare", "--workflow", "sections", "--review", "--file", MEMO, "--llm", "offline")
    page = stage.page()
    page.clock.install()
    page.goto(f"{stage.base}/?run={run}")
    expect(page.locator("#run-state")).to_contain_text("running")
    turn = "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
    turn += "document.dispatchEvent(new Event('visibilitychange')); }"
    until(lambda: streams(stage) == 1, 30.0, "it has a stream")
    page.evaluate(turn, True)
    page.clock.fast_forward(5_000)
    page.evaluate(turn, False)
    page.clock.fast_forward(20_000)
    assert streams(stage) == 1  # Looked away for a moment: nothing has ended.
    assert not any("last_event_id=" in url for url in stage.asked)
    page.evaluate(turn, True)
    page.clock.fast_forward(20_000)
    until(lambda: streams(stage) == 0, 30.0, "the stream has ended")
    with stage.shell.client() as client:
        client.cancel(run)
    stage.until_status(run, "cancelled")
    page.evaluate(turn, False)
    expect(page.locator("#run-state")).to_contain_text("cancelled")
    expect(page.locator("#connection .word")).to_have_text("connected")
    assert any("last_event_id=" in url for url in stage.asked)


def streams(stage: Stage) -> int:
    with urllib.request.urlopen(f"{stage.base}/metrics") as answer:
        found = re.search(r"^felixhub_web_viewers (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found
    return int(float(found[1]))
