"""The PDF: its text can be selected, stays on the page, and is only ever text."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys

import pypdf
import pytest
from nasty import DEEP_LIST, NASTY, TABLE, WORD, document

from felixhub.documents.document import Part, page_of
from felixhub.documents.pdf import pdf


def read(*parts: Part, **more: object) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(pdf(page_of(document(*parts, **more)))))


def words(reader: pypdf.PdfReader) -> str:
    return "\n".join(page.extract_text() for page in reader.pages)


def has_chinese_font() -> bool:
    """Characters that no font of the machine has cannot be drawn, and so not be selected."""
    tool = shutil.which("fc-list")
    return tool is not None and bool(subprocess.run([tool, ":lang=zh"], capture_output=True, check=False).stdout)


def test_nasty_text_can_be_selected_and_is_only_text() -> None:
    said = words(read(Part(NASTY)))
    for sample in (
        *(
            '#include("/etc/passwd")',
            '#eval("1+1")',
            "$x$",
            '#read("/etc/hosts")',
            "@label",
            "<script>alert(1)</script>",
        ),
        *("Русский", "depth-13", "at the bottom", "last words", "red \\x1b[31m bell \\x07"),
        *(("中文段落", "日本語") if has_chinese_font() else ()),
    ):
        assert sample in said, sample
    assert "root:" not in said and "localhost" not in said
    assert said.replace("\n", "").count("W" * 600) == 1


def test_no_text_leaves_the_page() -> None:
    reader = read(Part(f"{TABLE}\n\n{DEEP_LIST}\n\nlong {WORD}\n\n```\n{'c' * 500}\n```"))
    for page in reader.pages:
        right = float(page.mediabox.right)

        def check(text: str, frame: list[float], matrix: list[float], _font: object, size: float) -> None:
            for line in text.split("\n"):
                start = frame[4] + frame[0] * matrix[4]
                # Few letters are narrower than a quarter of their height.
                assert start >= 0 and start + 0.25 * size * len(line.strip()) < right, line  # noqa: B023

        page.extract_text(visitor_text=check)
    said = words(reader)
    for column in range(25):
        assert f"head-{column}" in said and f"cell-2-{column}" in said


def test_title_header_page_numbers_and_contents() -> None:
    parts = [Part(f"text of {name}\n\n" * 60, name) for name in ("Summary", "Risks", "Benefits")]
    reader = read(*parts, status="The run failed: no model")
    first, *others = [page.extract_text() for page in reader.pages]
    assert len(others) >= 2
    assert first.startswith("Should the city?") and "Contents" in first and "The run failed: no model" in first
    for number, page in enumerate(others, 2):
        assert f"{number} / {len(others) + 1}" in page
        assert page.startswith("Should the city?")  # the header
    assert reader.metadata is not None and reader.metadata.title == "Should the city?"
    assert [item["/Title"] for item in reader.outline] == ["Summary", "Risks", "Benefits"]


def test_only_links_that_may_be_followed() -> None:
    reader = read(Part(NASTY))
    links = [
        annotation.get_object()["/A"].get("/URI")
        for page in reader.pages
        for annotation in page.get("/Annots", [])
        if "/A" in annotation.get_object()
    ]
    assert "https://ok.example/a?b=c&d" in links
    assert all(link is None or link.startswith("https://") for link in links)


def test_the_same_document_is_the_same_file() -> None:
    page = page_of(document(Part("# One\n\ntext")))
    assert pdf(page) == pdf(page)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#",
        "|",
        "- ",
        "> ",
        "```",
        "1. ",
        "# \n\n# ",
        "|a|\n|-|",
        "\x00",
        "* " * 3_000,
        "*" * 20_000 + "a" + "*" * 20_000,
        "~~*" * 900 + "a" + "*~~" * 900,
        "[" * 300 + "a" + "](http://x.y)" * 300,
        "- " * 30 + "**_a_**",
        "> 1. - " * 30 + "a",
    ],
)
def test_there_is_no_text_that_it_refuses(text: str) -> None:
    assert read(Part(text)).pages
    assert read(Part(text, text or "t")).pages


def test_without_typst_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['typst'] = None\n"
        "from felixhub.documents.document import Document, page_of\n"
        "from felixhub.documents.pdf import pdf\n"
        "pdf(page_of(Document('t', 0.0, 'a', ())))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60.0, check=False)
    assert done.returncode == 1 and "pip install 'felixhub[pdf]'" in done.stderr
