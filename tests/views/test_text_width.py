from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felixhub.views.text_width import joined, text_width, wrapped


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("漢字", 4), ("e\u0301", 1), ("한국", 4), ("├─", 2), ("👍", 2), ("❤\ufe0f", 2), ("ｱ", 1), ("", 0)],
)
def test_text_width(text: str, width: int) -> None:
    assert text_width(text) == width


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("fits", 4, ["fits"]),
        ("two words", 5, ["two", "words"]),
        ("one   two", 4, ["one", "two"]),
        ("    indented code", 12, ["    indented", "code"]),
        ("unbreakable", 4, ["unbr", "eaka", "ble"]),
        ("漢字漢字", 5, ["漢字", "漢字"]),
        ("漢字 Emoji", 7, ["漢字", "Emoji"]),
        ("漢字漢字 word", 7, ["漢字漢", "字 word"]),
        ("ae\u0301e\u0301", 2, ["ae\u0301", "e\u0301"]),
        ("x👩\u200d👧y", 3, ["x", "👩\u200d👧", "y"]),
        ("", 4, [""]),
    ],
)
def test_wrapped(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width) == lines


@given(st.text(st.sampled_from("ab  漢é\u0301👍—")), st.integers(2, 12))
def test_wrapping_fits_and_loses_only_spaces(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(text_width(line) <= width for line in lines[:-1])
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_parts_stay_whole_where_they_can() -> None:
    assert joined(["212 tokens", "3.5 s", "confidence 0.52"], " · ", 20) == ["212 tokens · 3.5 s", "confidence 0.52"]
    assert joined(["a very long part", "b"], ", ", 8) == ["a very", "long", "part, b"]
