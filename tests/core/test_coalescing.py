"""Whatever is merged or dropped, a viewer's texts are those of the events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from felixhub.core.coalescing import Backlog, Batch, merged
from felixhub.core.events import Event, ThoughtCancelling, ThoughtPartial, parse_event

Texts = dict[tuple[str, str], str]

# A thought, a channel and what is said; or None for a mark.
said = st.tuples(
    st.sampled_from("ab"), st.sampled_from(["text", "reasoning"]), st.text("xÖ漢🎉\n", min_size=1, max_size=4)
)
stories = st.lists(st.one_of(said, st.none()), min_size=1, max_size=60)


def told(story: list[tuple[str, str, str] | None]) -> list[Event]:
    events: list[Event] = []
    lengths: dict[tuple[str, str], int] = {}
    for seq, one in enumerate(story, 1):
        common = {"seq": seq, "prev": seq - 1, "run": "r", "at": float(seq)}
        if one is None:
            events.append(ThoughtCancelling(**common, agent="x", thought="a", by="me"))
            continue
        thought, channel, text = one
        offset = lengths.get((thought, channel), 0)
        lengths[thought, channel] = offset + len(text.encode())
        events.append(
            ThoughtPartial(
                **common, agent="x", thought=thought, channel=channel, offset=offset, text=text, tokens=offset
            )
        )
    return events


def texts_of(events: list[Event], texts: Texts | None = None) -> Texts:
    """As a strict viewer reads them: text that does not fit is a fault."""
    found: Texts = dict(texts or {})
    for event in events:
        if isinstance(event, ThoughtPartial):
            key = (event.thought, event.channel)
            before = found.get(key, "")
            assert event.offset == len(before.encode()), "a hole, or doubled"
            found[key] = before + event.text
    return found


def marks_of(events: list[Event]) -> list[int]:
    return [event.seq for event in events if not isinstance(event, ThoughtPartial)]


@given(stories)
def test_merging_changes_no_text_no_mark_and_no_order(story: list[tuple[str, str, str] | None]) -> None:
    events = told(story)
    made = merged(events)
    assert texts_of(made) == texts_of(events)
    assert marks_of(made) == marks_of(events)
    assert [event.seq for event in made] == sorted(event.seq for event in made)
    assert made[-1].seq == events[-1].seq
    # Between two marks each thought and channel speaks once, and what it said before a mark comes before it.
    for mark in marks_of(events):
        before = [event for event in events if event.seq < mark]
        assert texts_of([event for event in made if event.seq < mark]) == texts_of(before)
    assert [parse_event(event.raw) for event in made] == made


@given(stories, st.data())
def test_a_viewer_that_takes_now_and_then_has_every_text(
    story: list[tuple[str, str, str] | None], data: st.DataObject
) -> None:
    """It starts over from what all know when its backlog was too much, else goes on."""
    events = told(story)
    backlog = Backlog(bytes_max=data.draw(st.integers(0, 2_000)))
    texts: Texts = {}
    last = 0
    start = 0
    while start < len(events):
        end = start + data.draw(st.integers(1, 9))
        backlog.add(Batch(events[start:end], f"boot-{events[start:end][-1].seq}"))
        start = end
        if data.draw(st.booleans()) or start >= len(events):
            if backlog.is_lost:
                texts, last = texts_of(events[:start]), events[:start][-1].seq  # the snapshot
                backlog.clear()
            batch = backlog.take()
            if batch is not None:
                assert batch.position == f"boot-{batch.seq}"
                assert batch.seq > last
                texts, last = texts_of(list(batch.events), texts), batch.seq
    assert texts == texts_of(events)
    assert last == events[-1].seq


@given(stories, st.data())
def test_a_viewer_that_comes_back_gets_what_it_missed_once(
    story: list[tuple[str, str, str] | None], data: st.DataObject
) -> None:
    """The hub tells what was missed up to a place of its own; meanwhile what is live waits, and goes on after it."""
    events = told(story)
    left = data.draw(st.integers(0, len(events)))
    attached = data.draw(st.integers(left, len(events)))
    through = data.draw(st.integers(attached, len(events)))
    answered = data.draw(st.integers(attached, len(events)))
    backlog = Backlog(bytes_max=10**9)

    def live(start: int, end: int) -> None:
        for at in range(start, end, 3):
            part = events[at : min(at + 3, end)]
            backlog.add(Batch(part, f"boot-{part[-1].seq}"))

    live(attached, answered)
    if missed := events[left:through]:
        backlog.precede(Batch(merged(missed), "boot-0"))
    live(answered, len(events))
    got: list[Event] = []
    while (batch := backlog.take()) is not None:
        got += batch.events
    assert texts_of(got, texts_of(events[:left])) == texts_of(events)


def test_one_batch_that_waits_alone_is_handed_on_as_it_is() -> None:
    events = told([("a", "text", "x"), None])
    batch = Batch(events, "boot-2")
    backlog = Backlog(bytes_max=10_000)
    backlog.add(batch)
    assert backlog.take() is batch
    assert backlog.take() is None


def test_a_merged_partial_says_where_it_begins_and_what_it_comes_to() -> None:
    first, second, mark, third = told([("a", "text", "ab"), ("a", "text", "cd"), None, ("a", "text", "e")])
    made = merged([first, second, mark, third])
    assert [event.seq for event in made] == [2, 3, 4]
    one = made[0]
    assert isinstance(one, ThoughtPartial)
    assert (one.prev, one.offset, one.text, one.tokens, one.at) == (0, 0, "abcd", 2, 2.0)
