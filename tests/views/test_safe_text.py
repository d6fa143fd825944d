"""Model text is shown, never obeyed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felixhub.views.safe_text import quoted, safe_json, safe_line, safe_text

OBEYED = [
    *(chr(code) for code in range(0x20) if code not in (0x09, 0x0A)),
    *(chr(code) for code in range(0x7F, 0xA0)),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff",
    "\ud800",
]


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J", "␛[2J"),  # CSI: clear the screen
        ("\x1b]8;;http://evil\x1b\\click\x1b]8;;\x07", "␛]8;;http://evil␛\\click␛]8;;␇"),  # OSC 8: a link
        ("\x1b]52;c;ZXZpbA==\x07", "␛]52;c;ZXZpbA==␇"),  # OSC 52: the clipboard
        ("\x9b31mred", "\\x9b31mred"),  # CSI in 8 bits
        ("\x9d0;title\x9c", "\\x9d0;title\\x9c"),  # OSC in 8 bits
        ("100 %\rERASED", "100 %␍ERASED"),
        ("abc\b\b\b", "abc␈␈␈"),
        ("\x7f", "␡"),
        ("\x85next line", "\\x85next line"),
        ("\u202egnp.exe", "<U+202E>gnp.exe"),
        ("\u2066isolated\u2069", "<U+2066>isolated<U+2069>"),
        ("one\u2028two\u2029", "one<U+2028>two<U+2029>"),
        ("\ufeffbom", "<U+FEFF>bom"),
        ("\x00", "␀"),
    ],
)
def test_controls_are_shown(hostile: str, shown: str) -> None:
    assert safe_text(hostile) == shown


@pytest.mark.parametrize(
    "normal",
    [
        "plain\n\tindented",
        "naïve café — “quotes” …",
        "e\u0301 combining, क्\u200dष joiner, می\u200cخواهم non-joiner",
        "👩\u200d👩\u200d👧 ❤\ufe0f 👍🏽 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "研究によると、らせん한국어",
        "שלום مرحبا",
        "[bold]markup[/x] **md** <b>html</b> \\x1b literal",
        "",
    ],
)
def test_normal_text_passes_unchanged(normal: str) -> None:
    assert safe_text(normal) == normal
    assert safe_text(normal, ascii_only=True) == normal


def test_ascii_only_uses_escapes() -> None:
    assert safe_text("\x1b[0m\x7f\x9b\u202e", ascii_only=True) == "\\x1b[0m\\x7f\\x9b<U+202E>"


@given(st.text(st.one_of(st.sampled_from(OBEYED), st.characters())))
def test_nothing_obeyed_comes_out(text: str) -> None:
    for shown in (safe_text(text), safe_text(text, ascii_only=True)):
        assert not set(shown) & set(OBEYED)
        assert shown.count("\n") == text.count("\n")
        assert safe_text(shown) == shown
    assert not set(safe_line(text)) & {*OBEYED, "\n", "\t"}


@given(st.text(st.one_of(st.sampled_from(OBEYED), st.characters(exclude_categories=["Cs"]))))
def test_quoted_is_one_line_of_json_that_holds_the_text(text: str) -> None:
    for shown in (quoted(text), quoted(text, ascii_only=True)):
        assert json.loads(shown) == text
        assert not set(shown) & {*OBEYED, "\n", "\t"}
    assert quoted(text, ascii_only=True).isascii()


def test_json_on_a_terminal_is_the_same_value_with_nothing_to_obey() -> None:
    line = json.dumps({"text": "a\x7f\x9b31m\u202e\u2028é🙂"}, ensure_ascii=False)
    shown = safe_json(line)
    assert json.loads(shown) == json.loads(line)
    assert not set(shown) & set("\x7f\x9b\u202e\u2028")
    assert "é🙂" in shown
