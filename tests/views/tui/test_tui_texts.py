"""The ends of texts, growing texts, and the keys' names: what needs no screen."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from textual.binding import Binding

from felixhub.core.thought import TextBuffer
from felixhub.core.word_diff import word_diff
from felixhub.views.text_width import text_width, wrapped
from felixhub.views.tui import keys
from felixhub.views.tui.look import GLYPHS, MARKS, PLAIN, Look
from felixhub.views.tui.tail import tail_lines
from felixhub.views.tui.wrapped_text import WrappedText

PAGE = Path(__file__).parents[3] / "docs" / "terminal.md"
PIECES = st.lists(st.sampled_from(["hub ", "Öl ", "漢字 ", "🎉 ", "👩‍🔬 ", "e\u0301", "\n", "x" * 20, " ", "  "]))


@given(PIECES, st.integers(3, 40), st.integers(1, 9))
def test_a_text_that_grows_is_wrapped_as_one_that_is_there(pieces: list[str], width: int, step: int) -> None:
    text = "".join(pieces)
    growing = WrappedText(width)
    for start in range(0, len(text), step):
        growing.add(text[start : start + step])
    assert growing.lines == [piece for line in text.split("\n") for piece in wrapped(line, width)]


@given(PIECES, st.integers(8, 60), st.integers(1, 9))
def test_a_tail_is_the_end_of_the_text_in_lines_that_fit(pieces: list[str], width: int, height: int) -> None:
    buffer = TextBuffer()
    text = "".join(pieces)
    buffer.append(text.encode())
    lines = tail_lines(buffer, width, height, str)
    assert len(lines) <= height
    assert all(text_width(line) <= width for line in lines)
    whole = [piece for line in text.rstrip("\n").split("\n") for piece in wrapped(line, width)]
    assert lines == whole[-height:]


def test_a_long_text_is_not_read_from_its_beginning_and_stands_still() -> None:
    buffer = TextBuffer()
    buffer.append(("é" * 3 + " word ").encode() * 100_000)
    before = tail_lines(buffer, 40, 6, str)
    buffer.append(b"more")
    after = tail_lines(buffer, 40, 6, str)
    assert "�" not in "".join(before)
    assert after[:-1] in (before[:-1], before[1:])


def test_every_state_has_a_sign_of_its_own_a_plain_one_and_a_word() -> None:
    assert len({mark.sign for mark in MARKS.values()}) == len(MARKS)
    assert len({mark.plain for mark in MARKS.values()}) == len(MARKS)
    assert len({mark.word for mark in MARKS.values()}) == len(MARKS)
    assert all(mark.plain.isascii() and text_width(mark.sign) == 1 for mark in MARKS.values())
    assert len(GLYPHS) == len(PLAIN)
    assert "".join(str(part) for part in PLAIN if isinstance(part, str)).isascii()
    assert Look(ascii_only=True).keys("← → ↑ ↓").isascii()


def test_a_key_does_one_thing_on_a_screen() -> None:
    for chapter, bindings in keys.CHAPTERS:
        names = [key for binding in bindings for key in binding.key.split(",")]
        assert len(set(names)) == len(names), chapter
    for bindings in (keys.GRID, keys.FULL):
        taken = {key for binding in bindings for key in binding.key.split(",")}
        common = {key for binding in keys.COMMON for key in binding.key.split(",")}
        assert not taken & common


def _documented() -> dict[str, list[tuple[str, str]]]:
    """The tables of docs/terminal.md by heading: keys and what they do."""
    found: dict[str, list[tuple[str, str]]] = {}
    chapter = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("### "):
            chapter = line.removeprefix("### ")
        elif chapter and (match := re.fullmatch(r"\| (`.+`(?: `.+`)*) \| (.+) \|", line)):
            found.setdefault(chapter, []).append((match[1].replace("`", ""), match[2]))
    return found


def test_the_document_lists_the_keys_that_are_bound() -> None:
    def told(bindings: list[Binding]) -> list[tuple[str, str]]:
        return [(names, about) for names, about in keys.rows(bindings)]

    assert _documented() == {chapter: told(list(bindings)) for chapter, bindings in keys.CHAPTERS}


def test_the_document_says_what_every_sign_means() -> None:
    table = PAGE.read_text(encoding="utf-8").split("| sign |")[1].split("\n\n")[0]
    for mark in MARKS.values():
        assert f"`{mark.sign}`" in table and mark.word in table, mark


def test_words_are_compared_so_that_they_can_be_read() -> None:
    old, new = "Electric buses would remove the peaks, t = 0.7", "Last year the depot, t = 0.9"
    assert [tuple(change) for change in word_diff(old, new)] == [
        ("gone", "Electric buses would remove"),
        ("new", "Last year"),
        ("same", " the "),
        ("gone", "peaks"),
        ("new", "depot"),
        ("same", ", t = "),
        ("gone", "0.7"),
        ("new", "0.9"),
    ]
