"""The splitter of <think> tags, the mender of surrogates and the event decoder: any chunking gives the same."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felixhub.llm.sse import EventDecoder, ServerEvent, StrayLine
from felixhub.llm.surrogates import SurrogateMender
from felixhub.llm.think import BLANK_MAX, ThinkSplitter

PIECES = st.lists(
    st.sampled_from(["<think>", "</think>", "<th", "ink>", "<", ">", "/", " ", "\n", "a", "Helical", "</", "é"]),
    max_size=14,
)
CUTS = st.lists(st.integers(min_value=0, max_value=80), max_size=12)


def cut(whole: Any, cuts: list[int]) -> list[Any]:
    places = sorted({0, len(whole), *(min(place, len(whole)) for place in cuts)})
    return [whole[a:b] for a, b in pairwise(places)]


def split(chunks: list[str]) -> tuple[str, str]:
    splitter = ThinkSplitter()
    pieces = [piece for chunk in chunks for piece in splitter.feed(chunk)] + splitter.finish()
    assert all(text for _, text in pieces)
    return (
        "".join(text for channel, text in pieces if channel == "text"),
        "".join(text for channel, text in pieces if channel == "reasoning"),
    )


def test_white_space_is_not_held_back_for_ever() -> None:
    blank = " " * BLANK_MAX
    assert split([blank, "<thi", "nk>hm</think>x"]) == (blank + "x", "hm")
    whole = f" {blank}<think>hm</think>x"
    assert split([whole]) == split(list(whole)) == (whole, "")
    splitter = ThinkSplitter()
    assert splitter.feed(blank) == [] and splitter.feed(" ") == [("text", f" {blank}")]


@pytest.mark.parametrize(
    ("said", "text", "reasoning"),
    [
        ("<think>hm</think>\n\nYes.", "\n\nYes.", "hm"),
        ("\n <think>hm</think>Yes.", "\n Yes.", "hm"),
        ("Use <think>x</think> tags.", "Use <think>x</think> tags.", ""),  # text about tags
        ("<think>never closed", "", "never closed"),
        ("<think>a</think>b<think>c</think>", "b<think>c</think>", "a"),
        ("<thin", "<thin", ""),
        ("<think>a</thin", "", "a</thin"),
        ("<think></think>x", "x", ""),
        ("", "", ""),
    ],
)
def test_only_a_leading_think_counts(said: str, text: str, reasoning: str) -> None:
    assert split([said]) == (text, reasoning)
    assert split(list(said)) == (text, reasoning)


@given(PIECES, CUTS)
def test_any_chunking_of_think_gives_the_same(pieces: list[str], cuts: list[int]) -> None:
    said = "".join(pieces)
    assert split(cut(said, cuts)) == split([said])
    assert len(said) - sum(map(len, split([said]))) in (0, len("<think>"), len("<think></think>"))


@given(st.lists(st.sampled_from(["a", "é", "😀", "\ud83d", "\ude00", "\ufffd"]), max_size=12), CUTS)
def test_a_surrogate_pair_survives_any_cut_and_a_lone_one_is_counted(said: list[str], cuts: list[int]) -> None:
    utf16 = "".join(said).encode("utf-16-le", "surrogatepass")
    halves = "".join(map(chr, memoryview(utf16).cast("H")))
    mender = SurrogateMender()
    mended = "".join(mender.feed(part) for part in cut(halves, cuts)) + mender.finish()
    assert mended == utf16.decode("utf-16-le", "replace")
    assert mender.replaced_count == mended.count("\ufffd") - said.count("\ufffd")


def test_lone_surrogates_become_the_replacement_character() -> None:
    mender = SurrogateMender()
    assert mender.feed("a\ud83d") == "a"
    assert mender.feed("\ude00b\ude00") == "😀b\ufffd"
    assert mender.feed("\ud83d") == ""
    assert mender.finish() == "\ufffd"
    assert mender.replaced_count == 2


@given(st.sampled_from(["\n", "\r\n", "\r"]), CUTS)
def test_any_chunking_of_events_gives_the_same(line_end: str, cuts: list[int]) -> None:
    lines = [
        ": ping",
        "id: 7",
        "retry: 3",
        'data: {"a": "\u2028é"}',
        "",
        "event: error",
        "data: x",
        "data: y",
        "",
        "oh",
    ]
    decoder = EventDecoder()
    raw = line_end.join(lines).encode()
    events = [event for part in cut(raw, cuts) for event in decoder.feed(part)] + list(decoder.finish())
    assert events == [ServerEvent("", '{"a": "\u2028é"}'), ServerEvent("error", "x\ny"), StrayLine("oh")]
    assert decoder.replaced_count == 0


def test_bytes_that_are_no_utf8_are_replaced_and_counted() -> None:
    decoder = EventDecoder()
    assert list(decoder.feed(b"data: a\xff\xef\xbf\xbd\n\n")) == [ServerEvent("", "a\ufffd\ufffd")]
    assert decoder.replaced_count == 1
