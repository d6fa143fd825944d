"""What a model says, and what a person calls a task, is data: nothing of it runs, loads, or stands there as markup."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect
from shell import Shell
from stage import WAIT_MS, Stage
from strange_server import strange_server
from texts import thoughts

from felixhub.views.safe_text import safe_text

LONG = 90_000
EVIL = "http://evil.example"
PIECES = [
    "<script>window.owned = 'script'</script>\n\n<img src=x onerror=\"window.owned='image'\">\n\n",
    f'<svg onload="window.owned=1"><a href="javascript:window.owned=2">x</a></svg><iframe src="{EVIL}"></iframe>\n\n',
    "<style>body{display:none}</style><form action='http://evil.example'><button>Approve all</button></form>\n\n",
    f"[click me](javascript:window.owned=3) [data](data:text/html,<script>1</script>) ![remote]({EVIL}/pixel.png)\n\n",
    f'![x](x "onerror=window.owned=4") <{EVIL}/auto> [fair]({EVIL}/fair) [ref]: {EVIL}/ref.png\n\n',
    "# main\n\n## agents\n\n### live {#steer}\n\n<dialog id=steer open>mine</dialog>\n\n",
    "\x1b[45mred\x1b[49m \x1b]52;c;cm0gLXJmIC8=\x07 \x9b31m \u202egnirts\u202c \u2066isolated\u2069 \u0085 \u2028\n\n",
    "[/markup] [bold]no[/bold] {{ 7*7 }} {% raw %} ${7*7} <%= 7*7 %> &lt;b&gt; &#x202e;\n\n",
    "👩\u200d🔬 漢字 e\u0301 na\u00efve \U0001f600\n\n",
    "x" * (LONG // 2),
    "y" * (LONG // 2) + "\n\n",
    "| a | b |\n|---|---|\n| <b onclick=window.owned=5>1</b> | `</code><script>window.owned=6</script>` |\n\n",
    "</template></dialog></main><h1>escaped</h1> the end",
]
TASK = "<img src=x onerror=window.owned=7> \u202eksat\u202c {{ 7*7 }} \x1b[31m"

SECTION = """name = "hostile"
[[stages]]
name = "research"
agent = "research"
section = "<script>window.owned = 'title'</script> **Title**"
gate = true
"""

expect.set_options(timeout=WAIT_MS)


@dataclass(frozen=True)
class Hostile:
    url: str
    shell: Shell


@pytest.fixture(scope="module")
def hostile(stage_of_module: Stage) -> Iterator[Hostile]:
    shell = stage_of_module.shell
    shell.write("config/workflows/hostile.toml", SECTION)
    with strange_server(pieces=PIECES) as url:
        yield Hostile(url, shell)


def unharmed(page: Page) -> None:
    """Nothing ran, nothing of the text became an element of the page, and the page is as it was."""
    assert page.evaluate("window.owned") is None
    assert page.locator("main script, main iframe, main img, main style, main form:not(#start)").count() == 0
    assert page.locator("dialog#steer").count() == 1 and not page.locator("dialog#steer").is_visible()
    links = page.evaluate("[...document.links].map((link) => link.protocol)")
    assert set(links) <= {"http:", "https:", "mailto:"}, links
    names = page.evaluate("[...document.querySelectorAll('*')].flatMap((one) => one.getAttributeNames())")
    assert not [name for name in names if name.startswith("on")]


def test_nothing_of_it_is_obeyed_anywhere_on_the_page(stage: Stage, hostile: Hostile) -> None:
    arguments = ("--workflow", "hostile", "--review", "--llm", hostile.url)
    run = stage.start(TASK, *arguments)
    stage.shell.until_event(run, "section.ready")
    (told,) = thoughts(stage.shell.events(run)).values()
    page = stage.open(run)
    card = page.locator(".card")
    expect(card).to_have_attribute("data-state", "final")
    expect(page.get_by_role("heading", level=1)).to_have_text(safe_text(TASK), use_inner_text=False)

    # The card, plain: its end, with what would be obeyed shown instead.
    expect(card.locator(".text .said")).not_to_have_text("")
    said = card.locator(".text .said").text_content() or ""
    assert len(said) > 1_000 and safe_text(told.text).endswith(said)
    unharmed(page)

    # The whole text: rendered by the server without HTML and pictures, and plain to the character.
    card.get_by_role("button", name="Expand").click()
    rendered = page.locator("#reader-html")
    expect(rendered).to_contain_text("the end")
    unharmed(page)
    assert rendered.locator("img").count() == 0
    assert rendered.get_by_role("link", name="fair").get_attribute("href") == f"{EVIL}/fair"
    assert rendered.get_by_role("link", name="fair").get_attribute("rel") == "noopener noreferrer"
    assert rendered.get_by_role("link", name="click me").count() == 0
    page.get_by_role("button", name="Plain").click()
    plain = "".join(page.locator("#reader-text .chunk").all_text_contents())
    assert plain == safe_text(told.text)
    assert page.locator("#reader").evaluate("(box) => box.scrollWidth <= box.clientWidth + 1")
    page.keyboard.press("Escape")

    # Filtering, the event log, steering, the document, editing and comparing.
    page.get_by_placeholder("Filter agents").fill("<script>")
    page.get_by_placeholder("Filter agents").fill("")
    page.get_by_role("tab", name="Events").click()
    expect(page.locator("#log-lines p").first).to_be_visible()
    assert "\u202e" not in (page.locator("#log-lines").text_content() or "")
    page.get_by_role("tab", name="Document").click()
    expect(page.locator("#preview")).to_contain_text("the end")
    unharmed(page)
    assert page.evaluate("document.getElementById('agents').getAttribute('role')") == "tabpanel"
    section = page.locator("#sections li")
    expect(section.locator("strong")).to_have_text("<script>window.owned = 'title'</script> **Title**")
    section.get_by_role("button", name="Edit").click()
    text = page.locator("#edit-text")
    expect(text).not_to_have_value("")
    text.fill("<img src=x onerror=window.owned=8> **edited**")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#preview")).to_contain_text("edited")
    section.get_by_role("button", name="Versions").click()
    expect(page.locator("#versions-diff ins").first).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Agents").click()
    card.get_by_role("button", name="Steer").click()
    expect(page.locator("#steer-end")).to_contain_text("the end")
    page.keyboard.press("Escape")
    unharmed(page)

    # And the list of runs.
    page.get_by_role("link", name="Runs", exact=True).click()
    expect(page.locator("#runs .task").first).to_have_text(safe_text(TASK), use_inner_text=False)
    unharmed(page)


def test_a_line_of_90_000_characters_does_not_widen_the_page(stage: Stage, hostile: Hostile) -> None:
    run = stage.start("long", "--workflow", "hostile", "--review", "--llm", hostile.url)
    stage.shell.until_event(run, "section.ready")
    page = stage.open(run, width=360, height=740)
    expect(page.locator(".card")).to_have_attribute("data-state", "final")
    for tab in ("Agents", "Document", "Events"):
        page.get_by_role("tab", name=tab).click()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), tab
