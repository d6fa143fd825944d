"""Partials that follow each other become one, and no text becomes another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from felixhub.core.gathering import Gathering
from felixhub.core.messages import Partial

ONE, OTHER = b"one", b"other"


def taken(gathering: Gathering) -> list[tuple[bytes, str, str, int, str, int]]:
    return [
        (one.identity, p.thought, p.channel, p.offset, p.text, p.tokens)
        for one in gathering.take()
        for p in [one.partial]
    ]


def test_what_follows_is_one_with_it() -> None:
    gathering = Gathering(bytes_max=100)
    gathering.add(ONE, "s", Partial(thought="t1-a", offset=5, text="Grüße", tokens=3))
    gathering.add(ONE, "s", Partial(thought="t2-a", offset=0, text="between", tokens=2))
    gathering.add(ONE, "s", Partial(thought="t1-a", offset=12, text=" an alle", tokens=5))
    assert taken(gathering) == [
        (ONE, "t1-a", "text", 5, "Grüße an alle", 5),
        (ONE, "t2-a", "text", 0, "between", 2),
    ]
    assert not gathering and taken(gathering) == []


def test_one_by_itself_is_left_as_it_came() -> None:
    gathering = Gathering(bytes_max=10)
    partial = Partial(thought="t1-a", offset=0, text="far more than ten bytes", tokens=3)
    gathering.add(ONE, "s", partial)
    (one,) = gathering.take()
    assert one.partial is partial and one.session == "s"


def test_channels_thoughts_and_connections_are_apart() -> None:
    gathering = Gathering(bytes_max=100)
    gathering.add(ONE, "s", Partial(thought="t1-a", offset=0, text="ab"))
    gathering.add(ONE, "s", Partial(thought="t1-a", channel="reasoning", offset=2, text="cd"))
    gathering.add(OTHER, "u", Partial(thought="t1-a", offset=2, text="ef"))
    assert [one[4] for one in taken(gathering)] == ["ab", "cd", "ef"]


def test_a_repeat_a_hole_and_too_much_stay_apart_and_in_order() -> None:
    gathering = Gathering(bytes_max=8)
    for offset, text in ((0, "abcd"), (0, "abcd"), (4, "efgh"), (8, "i"), (20, "far"), (9, "back")):
        gathering.add(ONE, "s", Partial(thought="t1-a", offset=offset, text=text))
    assert [(one[3], one[4]) for one in taken(gathering)] == [
        (0, "abcd"),
        (0, "abcdefgh"),
        (8, "i"),
        (20, "far"),
        (9, "back"),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["text", "reasoning"]), st.text(max_size=6)), max_size=40),
    st.integers(1, 40),
)
def test_texts_are_the_same_and_nothing_is_longer_than_allowed(
    said: list[tuple[int, str, str]], bytes_max: int
) -> None:
    gathering = Gathering(bytes_max=bytes_max)
    wanted: dict[tuple[str, str], str] = {}
    for number, channel, text in said:
        key = (f"t{number}-a", channel)
        offset = len(wanted.get(key, "").encode())
        gathering.add(ONE, "s", Partial(thought=key[0], channel=channel, offset=offset, text=text))
        wanted[key] = wanted.get(key, "") + text
    found: dict[tuple[str, str], str] = {}
    for _, thought, channel, offset, text, _ in taken(gathering):
        key = (thought, channel)
        assert offset == len(found.get(key, "").encode())
        assert len(text.encode()) <= max(bytes_max, max(len(one.encode()) for _, _, one in said))
        found[key] = found.get(key, "") + text
    assert found == wanted
