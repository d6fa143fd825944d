"""A difference in words loses no character of either text, and ends in good time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from felixhub.core.word_diff import Change, counted, word_diff

texts = st.text("ab .,\n\r\u2028Ö漢", max_size=80)


@given(texts, texts)
def test_both_texts_are_in_it_to_the_character(before: str, after: str) -> None:
    changes = word_diff(before, after)
    assert "".join(change.text for change in changes if change.op != "new") == before
    assert "".join(change.text for change in changes if change.op != "gone") == after
    assert all(change.text for change in changes)


def test_only_the_words_that_changed_are_marked() -> None:
    assert word_diff("a cold day", "a warm day") == [
        Change("same", "a "),
        Change("gone", "cold"),
        Change("new", "warm"),
        Change("same", " day"),
    ]
    assert counted(word_diff("a cold grey day", "a day")) == (2, 0)


def test_texts_that_have_nothing_in_common_and_are_long_are_one_change() -> None:
    before, after = " ".join(f"a{n}" for n in range(50_000)), " ".join(f"b{n}" for n in range(50_000))
    assert [change.op for change in word_diff(before, after)] == ["gone", "new"]
