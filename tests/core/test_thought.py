"""The append table of the protocol, and the life of a thought."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felixhub.core.events import (
    ThoughtAbandoned,
    ThoughtCancelling,
    ThoughtFinalized,
    ThoughtPartial,
    ThoughtStarted,
    Usage,
)
from felixhub.core.thought import Fit, TextBuffer, Thought, fit


def buffer(text: str) -> TextBuffer:
    made = TextBuffer()
    made.append(text.encode())
    return made


@pytest.mark.parametrize(
    ("has", "offset", "says", "expected"),
    [
        ("abc", 3, "def", Fit("append", b"def")),
        ("", 0, "a", Fit("append", b"a")),
        ("abc", 3, "", Fit("repeat")),
        ("abc", 0, "abc", Fit("repeat")),
        ("abc", 1, "b", Fit("repeat")),
        ("abc", 1, "", Fit("repeat")),
        ("abc", 1, "bcd", Fit("append", b"d")),
        ("abc", 0, "abcdef", Fit("append", b"def")),
        ("abc", 1, "xcd", Fit("conflict")),
        ("abc", 0, "abx", Fit("conflict")),
        ("abc", 4, "x", Fit("gap")),
        ("abc", 4, "", Fit("gap")),
        ("é", 0, "é!", Fit("append", b"!")),
        ("é", 1, "!", Fit("conflict")),
        ("é🌍", 2, "🌍蓝", Fit("append", "蓝".encode())),
    ],
)
def test_how_new_text_fits(has: str, offset: int, says: str, expected: Fit) -> None:
    assert fit(buffer(has), offset, says.encode()) == expected


@settings(deadline=None, max_examples=60)
@given(whole=st.text(alphabet="aé🌍", max_size=20), pieces=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9))))
def test_any_pieces_in_any_order_come_to_a_prefix(whole: str, pieces: list[tuple[int, int]]) -> None:
    held = TextBuffer()
    for first, size in pieces:
        fits = fit(held, len(whole[:first].encode()), whole[first : first + size].encode())
        assert fits.verdict != "conflict"
        held.append(fits.tail)
        assert whole.startswith(str(held))  # also: it ends at a character
    assert held.sha256 == hashlib.sha256(bytes(held.data)).hexdigest()


AT: dict[str, Any] = {"seq": 2, "prev": 1, "run": "r", "at": 7.0, "agent": "a", "thought": "t"}


def a_thought() -> Thought:
    return Thought(
        ThoughtStarted(
            **AT,
            attempt=1,
            stage="s",
            session="s1",
            checkpoint=0.0,
            progress=0.0,
            endpoint="local",
            model=None,
            temperature=0.9,
        )
    )


def test_a_thought_collects_both_channels() -> None:
    thought = a_thought()
    assert (thought.state, thought.size, thought.last_token_at) == ("open", 0, None)
    thought.apply(ThoughtPartial(**AT, channel="reasoning", offset=0, text="hé", tokens=2))
    thought.apply(ThoughtPartial(**AT, channel="text", offset=0, text="so", tokens=3))
    assert (str(thought.reasoning), str(thought.text), thought.size, thought.tokens) == ("hé", "so", 5, 3)
    assert thought.last_token_at == 7.0


def test_being_cancelled_is_still_open() -> None:
    thought = a_thought()
    thought.apply(ThoughtCancelling(**AT, by="anna"))
    assert thought.is_open
    thought.apply(ThoughtAbandoned(**AT, length=0, reason="cancelled"))
    assert (thought.state, thought.abandon_reason) == ("abandoned", "cancelled")


def test_the_end_of_a_thought_is_final() -> None:
    thought = a_thought()
    thought.apply(
        ThoughtFinalized(
            **AT,
            length=0,
            sha256="",
            reasoning_length=0,
            reasoning_sha256="",
            finish_reason="stop",
            truncated=False,
            usage=Usage(),
            confidence=0.5,
            first_token_s=None,
            seconds=1.0,
        )
    )
    assert (thought.state, thought.is_open, thought.abandon_reason) == ("final", False, None)
