"""Partials that follow each other become one, and no text becomes another."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from team import Team, solo

from felixhub.core.errors import ProtocolViolation
from felixhub.core.gathering import Gathering
from felixhub.core.messages import Partial

TEXT = "Grüße — 漢字 and a tail of plain words"


def gathered(*partials: Partial, bytes_max: int = 100) -> list[Partial]:
    gathering = Gathering(bytes_max=bytes_max)
    for partial in partials:
        gathering.add(partial)
    taken = gathering.take()
    assert gathering.take() == []
    return taken


def of(offset: int, text: str, thought: str = "t1-a", **more: Any) -> Partial:
    return Partial(thought=thought, offset=offset, text=text, **more)


def test_what_follows_is_one_with_it() -> None:
    said = of(5, "Grüße", tokens=3), of(0, "between", "t2-a", tokens=2), of(12, " für", tokens=5), of(17, " alle")
    assert gathered(*said) == [of(5, "Grüße für alle", tokens=5), said[1]]


def test_one_by_itself_is_left_as_it_came() -> None:
    large = of(0, "far more than ten bytes")
    (one,) = gathered(large, bytes_max=10)
    assert one is large


def test_channels_and_thoughts_are_apart() -> None:
    said = [of(0, "ab"), of(2, "cd", channel="reasoning"), of(2, "ef", "t2-a")]
    assert gathered(*said) == said


def test_a_repeat_a_hole_and_too_much_stay_apart_and_in_order() -> None:
    said = [(0, "abcd"), (0, "abcd"), (4, "efgh"), (8, "i"), (20, "far"), (9, "back")]
    taken = [(one.offset, one.text) for one in gathered(*(of(*one) for one in said), bytes_max=8)]
    assert taken == [(0, "abcd"), (0, "abcdefgh"), (8, "i"), (20, "far"), (9, "back")]


# ---- joined or each by itself: the hub comes to the same -------------------------------------------------------------


@st.composite
def slices(draw: st.DrawFn) -> tuple[int, str]:
    """A part of the text, repeated or ahead of it as may be; now and then one that differs."""
    start = draw(st.integers(0, len(TEXT) - 1))
    part = TEXT[start : draw(st.integers(start, len(TEXT)))]
    if draw(st.integers(0, 9)) == 0:
        part = part.replace("a", "A")
    return len(TEXT[:start].encode()), part


def in_order() -> st.SearchStrategy[list[tuple[int, str]]]:
    """The text in pieces, as a worker sends it."""
    cuts = st.sets(st.integers(1, len(TEXT) - 1)).map(lambda found: [0, *sorted(found), len(TEXT)])
    return cuts.map(lambda ends: [(len(TEXT[:one].encode()), TEXT[one:two]) for one, two in itertools.pairwise(ends)])


def outcome(said: list[tuple[int, str]], turns: list[int], *, joined: bool, bytes_max: int) -> tuple[object, ...]:
    team = Team()
    team.start(workflow=solo())
    worker = team.worker("research")
    name = worker.thought
    gathering = Gathering(bytes_max=bytes_max)
    for number, (offset, text) in enumerate(said):
        gathering.add(of(offset, text, name))
        if joined and number not in turns and number + 1 < len(said):
            continue
        for partial in gathering.take():
            with contextlib.suppress(ProtocolViolation):  # It has ended.
                worker.say(partial)
    thought = team.thought(name)
    return str(thought.text), thought.state, thought.abandon_reason


@settings(deadline=None)
@given(
    st.one_of(
        in_order(),
        st.lists(slices(), max_size=12),
        st.tuples(in_order(), st.lists(slices(), max_size=6), in_order()).map(
            lambda three: [*three[0], *three[1], *three[2]]
        ),
    ),
    st.lists(st.integers(0, 30)),
    st.integers(1, 60),
)
def test_the_hub_comes_to_the_same(said: list[tuple[int, str]], turns: list[int], bytes_max: int) -> None:
    apart = outcome(said, turns, joined=False, bytes_max=bytes_max)
    assert outcome(said, turns, joined=True, bytes_max=bytes_max) == apart
