"""A run of seven sections, done wholly in the page: start, watch, steer, cancel, edit, approve, download."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from ports import free_ports
from pypdf import PdfReader
from shell import MEMO, until
from stage import WAIT_MS, Stage

from felixhub.core.events import SectionApproved, SectionEdited, StageReopened
from felixhub.llm.endpoint import OFFLINE_LABEL
from felixhub.llm.offline import OfflineModel

SLOWLY, FAST = 6.0, 200.0  # tokens per second: nothing ends before it is cancelled or steered
TASK = "Write the consent form for the trial of the night buses"
EDITED = "A person wrote this sentence, and it went into the document."
SECTIONS = ("Summary", "Background", "Participants", "Procedures", "Alternatives", "Risks", "Benefits")

expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def model() -> Iterator[OfflineModel]:
    made = OfflineModel(tokens_per_s=SLOWLY, first_token_s=0.4)
    made.start()
    yield made
    made.stop()


def run_of(page: Page) -> str:
    found = re.search(r"[?&]run=([\w.-]+)", page.url)
    assert found, page.url
    return found[1]


def test_seven_sections_from_the_first_click_to_the_pdf(stage: Stage, model: OfflineModel) -> None:
    model.tokens_per_s = SLOWLY
    page = stage.open()
    expect(page).to_have_title("FelixHub")

    # Start: an empty task is refused in words, beside the field.
    page.get_by_role("radio", name="sections").check()
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("#task-error")).to_have_text("Say what the team should work on.")
    page.get_by_label("Task").fill(TASK)
    page.set_input_files("#files", str(MEMO))
    expect(page.locator("#chosen")).to_contain_text("night-bus-depot.md")
    page.get_by_role("switch", name=re.compile("Review")).check()
    page.get_by_text("Model and limits").click()
    page.get_by_label("Endpoint or address").fill(model.base_url)
    page.get_by_role("button", name="Start the run").click()
    page.wait_for_url("**/?run=sections-*")
    run = run_of(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(TASK)
    expect(page.locator("#live")).to_have_text("started")

    # Watch: a card for each agent; glyph and word; the text grows.
    expect(page.locator(".card")).to_have_count(14)
    first = page.locator('.card[data-agent="writer-1"]')
    expect(first).to_have_attribute("data-state", "streaming")
    expect(first.locator(".state")).to_have_text("▶streaming")
    length = len(first.locator(".text .said").inner_text())
    until(lambda: len(first.locator(".text .said").inner_text()) > length, 30.0, "the text grows")
    expect(page.locator("#document-badge")).to_have_text("0 of 7")

    # Cancel one: asked once, and the others go on.
    other = page.locator('.card[data-agent="writer-3"]')
    expect(other).to_have_attribute("data-state", "streaming")
    other.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel it").click()
    expect(other).to_have_attribute("data-state", "cancelled")
    expect(page.get_by_role("dialog")).to_have_count(0)

    # Steer one: nothing said is refused, a draft stays, Ctrl+Enter sends.
    first.get_by_role("button", name="Steer").click()
    dialog = page.get_by_role("dialog", name="Steer writer-1")
    dialog.get_by_role("button", name="Steer it").click()
    expect(dialog.locator(".error")).to_be_visible()
    dialog.get_by_label("What is wrong?").fill("it is too long")
    page.keyboard.press("Escape")
    first.get_by_role("button", name="Steer").click()
    expect(dialog.get_by_label("What is wrong?")).to_have_value("it is too long")
    dialog.get_by_label("What instead?").fill("three sentences")
    page.keyboard.press("Control+Enter")
    expect(dialog).to_have_count(0)
    expect(first.locator(".told")).to_be_visible()
    steered = stage.shell.until_event(run, "stage.reopened", reason="steered")
    assert isinstance(steered, StageReopened) and steered.feedback is not None
    assert (steered.feedback.wrong, steered.feedback.instead) == ("it is too long", "three sentences")

    # Review: all but the cancelled one wait for a person.
    model.tokens_per_s = FAST
    expect(page.locator("#outcome")).to_contain_text("6 sections wait for your approval")
    page.get_by_role("button", name="Review them").click()
    expect(page.locator("#approved")).to_have_text("0 of 7 approved")
    expect(page.locator("#preview")).to_contain_text("Summary")
    background = page.locator('#sections li[data-section="background"]')
    background.get_by_role("button", name="Edit").click()
    editing = page.get_by_role("dialog", name=re.compile("Edit"))
    editing.get_by_label("Text").fill(f"{EDITED}\n\n**Bold** words stay bold.")
    page.keyboard.press("Escape")  # Nothing that was written is lost.
    background.get_by_role("button", name="Edit").click()
    expect(editing.get_by_label("Text")).to_have_value(re.compile("Bold"))
    editing.get_by_role("button", name="Save").click()
    expect(editing).to_have_count(0)
    edited = stage.shell.until_event(run, "section.edited")
    assert isinstance(edited, SectionEdited) and EDITED in edited.text
    expect(page.locator("#preview")).to_contain_text(EDITED)

    # Versions: what was written by the agent, and what by the person.
    background.get_by_role("button", name="Versions").click()
    versions = page.get_by_role("dialog", name=re.compile("Versions"))
    expect(versions.locator("#versions-diff ins", has_text="A person wrote")).to_be_visible()
    page.keyboard.press("Escape")

    # Approve: one, then all that can be. The cancelled one is written anew first.
    background.get_by_role("button", name="Approve").click()
    expect(page.locator("#approved")).to_have_text("1 of 7 approved")
    expect(page.locator("#outcome")).to_contain_text("5 sections wait for your approval")
    page.get_by_role("tab", name="Agents").click()
    other.get_by_role("button", name="Regenerate").click()
    page.get_by_role("dialog").get_by_role("button", name="Regenerate").click()
    expect(page.locator("#outcome")).to_contain_text("6 sections wait for your approval")
    page.get_by_role("tab", name="Document").click()
    page.get_by_role("button", name="Approve all").click()
    expect(page.locator("#approved")).to_have_text("7 of 7 approved")
    expect(page.locator("#run-state")).to_have_text("✓finished")
    expect(page.locator("#live")).to_have_text("finished")
    approved = [event for event in stage.shell.events(run) if isinstance(event, SectionApproved)]
    assert {event.section for event in approved} == {name.lower() for name in SECTIONS}

    # Download: the PDF has every section, and what was edited.
    with page.expect_download() as pending:
        page.get_by_role("button", name="Download PDF").click()
    file = Path(pending.value.path())
    text = "\n".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(file.read_bytes())).pages)
    assert EDITED in " ".join(text.split())
    assert "**" not in text
    for title in SECTIONS:
        assert title in text
    assert re.fullmatch(r"write-the-consent-form-.*\.pdf", pending.value.suggested_filename)

    # Back and forward go between the run and the list of runs.
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.locator("#runs a").first).to_contain_text(TASK)
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text(TASK)
    expect(page.locator("#run-state")).to_have_text("✓finished")


def test_a_run_that_is_not_there_says_so(stage: Stage) -> None:
    stage.is_disturbed = True  # A 404 is in the browser's log.
    page = stage.open("nobody-knows")
    expect(page.locator("#notice")).to_contain_text("This run cannot be shown")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such run")
    stage.complaints.clear()


def test_a_deep_link_works_with_a_hash_and_two_pages_show_the_same(stage: Stage, model: OfflineModel) -> None:
    model.tokens_per_s = FAST
    run = stage.start("Compare the two plans", "--workflow", "solo", "--file", MEMO, "--llm", model.base_url)
    one, two = stage.page(), stage.page()
    one.goto(f"{stage.base}/#run={run}")
    two.goto(f"{stage.base}/?run={run}")
    for page in (one, two):
        expect(page.locator("#run-state")).to_have_text("✓finished")
    said = ".card .text .said"
    expect(one.locator(said)).to_have_text(re.compile(r"\S"))
    expect(two.locator(said)).to_have_text(one.locator(said).inner_text())
    expect(one.locator(".card .about")).to_contain_text(OFFLINE_LABEL)  # The model that answered: nobody named one.


def test_a_view_can_be_paused_and_the_run_too(stage: Stage, model: OfflineModel) -> None:
    model.tokens_per_s = SLOWLY * 2
    run = stage.start("Compare the two plans", "--file", MEMO, "--llm", model.base_url)
    page = stage.open(run)
    card = page.locator('.card[data-agent="research"]')
    expect(card).to_have_attribute("data-state", "streaming")
    page.get_by_role("button", name="Pause view").click()
    held = card.locator(".text .said").inner_text()
    before = stage.shell.events(run)[-1].seq
    until(lambda: stage.shell.events(run)[-1].seq > before + 20, 60.0, "the run goes on")
    assert card.locator(".text .said").inner_text() == held
    page.get_by_role("button", name="Resume view").click()
    expect(card.locator(".text .said")).not_to_have_text(held)

    page.get_by_role("button", name="Pause run").click()
    expect(page.locator("#run-state")).to_have_text("‖paused")
    stage.until_status(run, "paused")
    page.get_by_role("button", name="Resume run").click()
    expect(page.locator("#run-state")).to_have_text("▶running")
    page.get_by_role("button", name="Stop run").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop the run").click()
    expect(page.locator("#run-state")).to_have_text("■cancelled")
    stage.until_status(run, "cancelled")


def test_a_page_behind_a_token(stage: Stage, model: OfflineModel) -> None:
    """The token leaves the address at once, and everything works: pages, stream, commands."""
    model.tokens_per_s = FAST
    token = "a-token-of-more-than-sixteen-characters"
    file = stage.shell.write("web-token", token)
    file.chmod(0o600)
    port = free_ports(1)
    base = f"http://127.0.0.1:{port}"
    stage.bases.append(base)
    web = stage.shell.start("web", "--no-open", "--port", port, "--token-file", file)
    web.until_printed(base)
    page = stage.page()
    page.goto(f"{base}/?token={token}")
    expect(page.get_by_role("radio", name="helix")).to_be_checked()
    assert token not in page.url
    page.get_by_label("Task").fill("Compare the two plans")
    page.get_by_role("radio", name="swarm").check()
    page.get_by_text("Model and limits").click()
    page.get_by_label("Endpoint or address").fill(model.base_url)
    page.get_by_role("button", name="Start the run").click()
    page.wait_for_url("**/?run=swarm-*")
    expect(page.locator("#run-state")).to_have_text("✓finished")
    stage.is_disturbed = True
    web.interrupt()  # With the page still open it ends at once.
    web.wait(20.0)
