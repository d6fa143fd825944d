"""Words and rates, counted while a text grows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from plots import begin, seven
from team import NOON, Team

from felixhub.core.board import Board
from felixhub.core.events import parse_event
from felixhub.core.meter import BUCKETS_MAX, Meter, Rate, Words


@given(st.text(alphabet="ab \n\u2009é", max_size=60), st.lists(st.integers(1, 7), max_size=60))
def test_a_text_in_pieces_has_the_words_of_the_whole(text: str, cuts: list[int]) -> None:
    words = Words()
    rest = text
    for cut in cuts:
        words.take(rest[:cut])
        rest = rest[cut:]
    words.take(rest)
    assert (words.count, words.characters) == (len(text.split()), len(text))


@given(st.lists(st.tuples(st.integers(0, 9_000), st.integers(1, 90)), min_size=1, max_size=40))
def test_no_token_of_the_window_is_lost_and_the_curve_is_bounded(added: list[tuple[int, int]]) -> None:
    rate = Rate()
    added.sort()
    for at, tokens in added:
        rate.add(NOON + at, tokens)
    first, curve = rate.curve()
    assert len(curve) <= BUCKETS_MAX
    assert sum(curve) == sum(tokens for at, tokens in added if int(NOON + at) >= first)
    assert first + len(curve) - 1 == int(NOON + added[-1][0])


def test_a_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    rate.add(NOON, 30)
    rate.add(NOON + 1, 60)
    assert rate.now(NOON + 1) == 30.0
    assert rate.last(NOON + 2, 4) == [0.0, 30.0, 60.0, 0.0]
    assert rate.now(NOON + 10) == 0.0


def test_a_clock_that_was_set_back_or_far_on_does_no_harm() -> None:
    rate = Rate()
    rate.add(NOON, 5)
    rate.add(NOON - 100, 5)
    rate.add(NOON + 10**9, 7)
    assert rate.curve() == (int(NOON + 10**9), [7.0])


def metered(team: Team) -> Meter:
    meter = Meter()
    for event in team.log:
        meter.take(parse_event(event.encode()))
    return meter


def test_a_late_meter_has_the_words_and_tokens_of_one_that_saw_all() -> None:
    team, workers = begin(seven())
    for number, worker in enumerate(workers.values()):
        if not worker.is_thinking:
            continue
        worker.write("one two thr", tokens=3)
        team.wait(1.0)
        worker.write("ee four", tokens=4 + number)
        if number % 2:
            worker.finalize()
    marks, texts, position = team.snapshot("r1")
    board = Board()
    board.follow("r1")
    tokens = {thought.id: thought.tokens for thought in team.run().thoughts.values()}
    texts = [text.model_copy(update={"tokens": tokens[text.thought]}) for text in texts]
    board.load("r1", marks=marks, texts=texts, position=position)
    seen, late = metered(team), Meter.over(board.runs["r1"])
    assert {name: words.count for name, words in late.words.items() if words.count} == {
        name: words.count for name, words in seen.words.items()
    }
    assert round(sum(late.total.curve()[1])) == round(sum(seen.total.curve()[1])) > 0


def test_what_comes_after_a_snapshot_is_counted_once() -> None:
    team, workers = begin(seven())
    worker = next(one for one in workers.values() if one.is_thinking)
    worker.write("one two thr", tokens=3)
    marks, texts, position = team.snapshot("r1")
    board = Board()
    board.follow("r1")
    board.load("r1", marks=marks, texts=[one.model_copy(update={"tokens": 3}) for one in texts], position=position)
    meter = Meter.over(board.runs["r1"])
    worker.write("ee", tokens=5)
    for event in team.log:
        for ready in board.take(parse_event(event.encode())):
            meter.take(ready)
    assert meter.words[worker.thought].count == 3
    assert sum(meter.total.curve()[1]) == 5
