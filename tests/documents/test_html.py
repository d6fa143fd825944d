"""The HTML page: valid, whole, and without anything that acts."""

from __future__ import annotations

import re

import html5lib
import pytest
from nasty import NASTY, WORD, document

from felixhub.documents.document import Part, page_of
from felixhub.documents.html import html

HTML = "{http://www.w3.org/1999/xhtml}"


def parsed(*parts: Part, **more: object):
    """The page read by a strict parser: any error in its syntax is raised."""
    data = html(page_of(document(*parts, **more)))
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=True).parse(data)


def tags(tree) -> list[str]:
    return [element.tag.removeprefix(HTML) for element in tree.iter() if isinstance(element.tag, str)]


def words(tree) -> str:
    return "".join(tree.find(f"{HTML}body").itertext())


def test_nasty_text_makes_a_valid_page_without_active_content() -> None:
    tree = parsed(Part(NASTY))
    active = {"script", "img", "iframe", "object", "embed", "form", "input", "svg", "link", "base", "video", "audio"}
    assert not active & set(tags(tree))
    for element in tree.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on") and name not in ("src", "srcset", "style", "background", "action"), name
            if name == "href":
                assert re.match(r"https?://|mailto:|#part-\d+$", value), value
                assert value.startswith("#") or element.attrib["rel"] == "noopener noreferrer"


def test_nothing_that_was_said_is_lost() -> None:
    said = words(parsed(Part(NASTY)))
    for sample in (
        *(
            "<script>alert(1)</script>",
            "onerror=alert(2)",
            "go (javascript:alert(3))",
            "#eval",
            "中文段落",
            "שלום עולם",
        ),
        *(
            "[image: alt words – https://evil.example/track.png]",
            "up (../../etc/passwd)",
            WORD,
            "cell-2-24",
            "depth-13",
        ),
        *("red \\x1b[31m bell \\x07", "csi \\x9b31m", "<U+202E>gnp.exe", "at the bottom", "last words"),
    ):
        assert sample in said, sample


def test_a_link_that_may_be_followed_is_one() -> None:
    tree = parsed(Part("[ok](https://ok.example/a?b=c&d) and <mailto:a@b.example>"))
    assert [a.attrib["href"] for a in tree.iter(f"{HTML}a")] == ["https://ok.example/a?b=c&d", "mailto:a@b.example"]


def test_the_page_allows_itself_nothing() -> None:
    tree = parsed(Part("text"))
    (policy,) = [m for m in tree.iter(f"{HTML}meta") if m.attrib.get("http-equiv") == "Content-Security-Policy"]
    assert policy.attrib["content"].startswith("default-src 'none'; style-src 'sha256-")
    style = next(tree.iter(f"{HTML}style")).text
    assert (
        "url(" not in style and "@import" not in style and "@media print" in style and "prefers-color-scheme" in style
    )


def test_title_contents_and_footer() -> None:
    parts = [Part(f"text {name}", name) for name in ("Summary", "Risks", "<b>Odd</b>")]
    tree = parsed(*parts, degraded=("the text of critic is truncated",))
    assert [h.text for h in tree.iter(f"{HTML}h1")] == ["Should the city?"]
    assert [h.text for h in tree.iter(f"{HTML}h2")] == ["Summary", "Risks", "<b>Odd</b>"]
    nav = next(tree.iter(f"{HTML}nav"))
    targets = {element.attrib["id"] for element in tree.iter() if "id" in element.attrib}
    assert {a.attrib["href"].removeprefix("#") for a in nav.iter(f"{HTML}a")} == targets
    assert "This result is degraded:" in words(tree) and "run r1 · workflow w · 2 agents" in words(tree)


def test_a_title_of_its_own_is_the_title_and_the_task_stands_below() -> None:
    tree = parsed(Part("# Its own\n\ntext\n\n# Second"))
    assert [h.text for h in tree.iter(f"{HTML}h1")] == ["Its own"]
    assert "Should the city?" in words(tree)
    assert [h.text for h in tree.iter(f"{HTML}h2")] == ["Second"]


@pytest.mark.parametrize("count", [25, 3])
def test_a_wide_table_is_printed_on_a_turned_page(count: int) -> None:
    row = "|" + "x|" * count
    tree = parsed(Part(f"{row}\n|{'-|' * count}\n{row}"))
    (frame,) = [e for e in tree.iter(f"{HTML}div") if "table" in e.attrib.get("class", "")]
    assert ("wide" in frame.attrib["class"]) == (count > 9)


def test_hostile_size_is_bounded_and_said() -> None:
    page = page_of(document(Part("[" * 20_000 + "end", "First"), Part("is *fine*", "Next")), work_max=10_000)
    said = "".join(node.words() for node in page.nodes)
    assert "[[[end" in said and "too long or too entangled to be laid out" in said
    assert said.endswith("is fine")  # The others are laid out all the same.
    page = page_of(document(Part("para *graph*\n\n" * 1_000)), nodes_max=100)
    assert sum(1 for node in page.nodes for _ in node.walk()) < 150
    assert "This text is cut" in page.nodes[-1].words()
    page = page_of(document(Part("a" * 50), Part("q" * 50)), characters_max=60)
    assert "".join(node.words() for node in page.nodes).count("q") == 10
    assert "This text is cut" in page.nodes[-1].words()


def test_what_nests_without_end_is_flat_below_a_depth() -> None:
    for deep in ("*" * 20_000 + "a" + "*" * 20_000, "> " * 10_000 + "a", "- " * 9 + "> " * 300 + "**a**"):
        assert "a" in words(parsed(Part(deep)))
