"""New text goes out at once, then by time and size; nothing is lost, doubled or split."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felixhub.core.batcher import Batch, Channel, ThoughtBatcher


def test_the_first_text_goes_out_at_once() -> None:
    batcher = ThoughtBatcher(interval_s=0.1)
    assert batcher.next_due(5.0) is None
    batcher.add("text", "Hello")
    assert batcher.next_due(5.0) == 5.0
    assert batcher.take_due(5.0) == [Batch("text", 0, "Hello")]
    assert batcher.next_due(5.0) is None


def test_what_follows_waits_for_the_timer() -> None:
    batcher = ThoughtBatcher(interval_s=0.1)
    batcher.add("text", "a")
    batcher.take_due(5.0)
    batcher.add("text", "b")
    assert batcher.next_due(5.01) == pytest.approx(5.1)
    assert batcher.take_due(5.01) == []
    batcher.add("text", "c")
    assert batcher.take_due(5.11) == [Batch("text", 1, "bc")]


def test_text_after_a_long_silence_goes_out_at_once() -> None:
    batcher = ThoughtBatcher(interval_s=0.1)
    batcher.add("text", "a")
    batcher.take_due(5.0)
    batcher.add("text", "b")
    assert batcher.next_due(9.0) == 9.0


def test_four_kibibytes_do_not_wait() -> None:
    batcher = ThoughtBatcher(interval_s=60.0)
    batcher.add("text", "a")
    batcher.take_due(5.0)
    batcher.add("text", "b" * 4095)
    assert batcher.take_due(5.0) == []
    batcher.add("text", "b")
    assert batcher.take_due(5.0) == [Batch("text", 1, "b" * 4096)]


def test_a_batch_has_at_most_four_kibibytes() -> None:
    batcher = ThoughtBatcher()
    batcher.add("text", "x" * 10_000)
    assert [(b.offset, len(b.text)) for b in batcher.take_due(0.0)] == [(0, 4096), (4096, 4096), (8192, 1808)]


def test_a_character_is_never_split() -> None:
    batcher = ThoughtBatcher(bytes_max=5)
    batcher.add("text", "aé🌍é")
    assert batcher.take_all(0.0) == [Batch("text", 0, "aé"), Batch("text", 3, "🌍"), Batch("text", 7, "é")]


def test_interleaved_channels_keep_their_order() -> None:
    batcher = ThoughtBatcher()
    for channel, text in [("reasoning", "hm"), ("reasoning", "m"), ("text", "So"), ("reasoning", "?"), ("text", "!")]:
        batcher.add(channel, text)  # type: ignore[arg-type]
    assert batcher.take_all(0.0) == [
        Batch("reasoning", 0, "hmm"),
        Batch("text", 0, "So"),
        Batch("reasoning", 3, "?"),
        Batch("text", 2, "!"),
    ]


def test_take_all_does_not_wait() -> None:
    batcher = ThoughtBatcher(interval_s=60.0)
    assert batcher.take_all(0.0) == []
    batcher.add("text", "a")
    batcher.take_due(0.0)
    batcher.add("text", "b")
    assert batcher.take_all(0.0) == [Batch("text", 1, "b")]


def test_no_text_is_no_batch() -> None:
    batcher = ThoughtBatcher()
    batcher.add("text", "")
    assert batcher.next_due(0.0) is None


steps = st.lists(
    st.tuples(
        st.sampled_from(["text", "reasoning"]),
        st.text(alphabet="aé蓝🌍\n\x00", max_size=12),
        st.sampled_from([0.0, 0.03, 0.2]),
    ),
    max_size=30,
)


@settings(deadline=None, max_examples=60)
@given(steps=steps, bytes_max=st.integers(4, 20))
def test_everything_added_comes_out_once_and_in_place(steps: list[tuple[Channel, str, float]], bytes_max: int) -> None:
    batcher = ThoughtBatcher(interval_s=0.1, bytes_max=bytes_max)
    now, said, batches = 100.0, {"text": "", "reasoning": ""}, []
    for channel, text, pause in steps:
        batcher.add(channel, text)
        said[channel] += text
        now += pause
        due = batcher.next_due(now)
        taken = batcher.take_due(now)
        assert bool(taken) == (due is not None and due <= now)
        batches += taken
    batches += batcher.take_all(now)
    for channel in ("text", "reasoning"):
        got = b""
        for batch in batches:
            if batch.channel == channel:
                assert batch.offset == len(got)
                assert 0 < len(batch.text.encode()) <= bytes_max
                got += batch.text.encode()
        assert got.decode() == said[channel]
