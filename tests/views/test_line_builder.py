from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from felixhub.views.line_builder import HELD_S_MAX, STILL_S, LineBuilder


def test_a_line_is_shown_at_its_newline() -> None:
    builder = LineBuilder()
    assert builder.add("The key ", width=80, now=0.0) == []
    assert builder.add("findings\n\nNext", width=80, now=0.1) == ["The key findings", ""]
    assert builder.flush(width=80) == ["Next"]
    assert builder.flush(width=80) == []


def test_a_line_is_shown_at_the_width() -> None:
    builder = LineBuilder()
    assert builder.add("one two three fo", width=10, now=0.0) == ["one two"]
    assert builder.add("ur five\n", width=10, now=0.1) == ["three four", "five"]


def test_still_text_is_shown_and_its_newline_adds_no_empty_line() -> None:
    builder = LineBuilder()
    builder.add("half a line", width=80, now=0.0)
    assert builder.take_due(STILL_S - 0.01, width=80) == []
    assert builder.take_due(STILL_S, width=80) == ["half a line"]
    assert builder.take_due(9.0, width=80) == []
    assert builder.add(" and the rest\n\n", width=80, now=9.0) == ["and the rest", ""]
    builder.add("again", width=80, now=9.1)
    assert builder.flush(width=80) == ["again"]
    assert builder.add("\nnext\n", width=80, now=9.2) == ["next"]


def test_a_slow_model_is_not_shown_word_by_word() -> None:
    builder = LineBuilder()
    lines: list[str] = []
    for step in range(400):
        now = step / 20
        if step % 10 == 0:
            lines += builder.add(f"word{step // 10} ", width=80, now=now)
        lines += builder.take_due(now, width=80)
    assert len(lines) <= 20 / HELD_S_MAX + 3
    assert all(line.endswith(tuple("0123456789")) for line in lines), "cut between words"


def test_tabs_become_spaces() -> None:
    assert LineBuilder().add("\tx\n", width=80, now=0.0) == ["    x"]


@given(st.text(st.sampled_from("ab \n漢\t")), st.integers(4, 20), st.integers())
def test_however_it_is_cut_nothing_but_white_space_is_lost(text: str, width: int, seed: int) -> None:
    rng = random.Random(seed)
    builder, shown, now = LineBuilder(), [], 0.0
    start = 0
    while start < len(text):
        end = start + rng.randint(1, 9)
        shown += builder.add(text[start:end], width=width, now=now)
        now += rng.choice((0.05, 1.0))
        shown += builder.take_due(now, width=width)
        start = end
    shown += builder.flush(width=width)
    assert "".join("".join(shown).split()) == "".join(text.split())
    assert not any("\n" in line for line in shown)
