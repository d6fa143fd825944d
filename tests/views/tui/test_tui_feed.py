"""What the screens know: which run is shown, and by which clock."""

from __future__ import annotations

import asyncio

import pytest
from console_script import BEGAN_AT, Script, council
from top_pilot import Told

from felixhub.core.board import Board
from felixhub.core.follower import Reset, RunGone
from felixhub.core.messages import RunBeat
from felixhub.core.overview import RunClock
from felixhub.core.run import Run
from felixhub.views.tui.feed import Feed

YEAR_S = 365 * 24 * 3600.0


def _run(script: Script) -> Run:
    board = Board()
    board.follow(script.run)
    for event in script.events:
        board.take(event)
    return board.runs[script.run]


def _behind_s(run: Run, beat: RunBeat | None, now: float, clock: RunClock | None = None) -> float:
    its_now, heard_at = (clock or RunClock()).told(run, beat=beat, heard_at=now, now=now)
    assert heard_at == its_now
    return now - its_now


def test_a_clock_that_is_about_right_is_taken_as_it_is() -> None:
    script = Script()
    script.start("research", 1.0)
    script.say("research", 2.0, "so ")
    beat = script.beat(script.busy("research", 1.5, "streaming"))
    assert _behind_s(_run(script), beat, BEGAN_AT + 3.7) == 0.0
    assert _behind_s(_run(script), None, BEGAN_AT + 3.7) == 0.0


def test_the_clock_of_a_recording_is_found_by_who_is_silent_for_how_long() -> None:
    script = Script()
    script.start("research", 1.0)
    script.say("research", 2.0, "so ")
    run = _run(script)
    beat = script.beat(script.busy("research", 1.5, "streaming"))
    now = BEGAN_AT + YEAR_S
    assert _behind_s(run, beat, now) == pytest.approx(YEAR_S - 3.5)
    assert _behind_s(run, None, now) == pytest.approx(YEAR_S - 2.0), "before a beat: about now"
    clock = RunClock()
    as_told = _behind_s(run, beat, now, clock)
    assert _behind_s(run, script.beat(), now + 50.0, clock) == pytest.approx(as_told), "nobody is busy: as it was"


def test_an_old_run_that_waits_for_a_person_is_as_old_as_it_is() -> None:
    script = council()
    script.events.pop()  # It has not ended, and nobody thinks.
    assert _behind_s(_run(script), script.beat(), BEGAN_AT + YEAR_S) == 0.0


def _feed(script: Script, selection: str = "r1") -> Feed:
    return Feed(lambda run: Told(script.events, run, None), selection, lambda: BEGAN_AT + 9.0)


def test_words_and_rates_go_on_from_what_was_there() -> None:
    script = council()
    feed = _feed(script)

    async def steps() -> None:
        await feed.turn(0.0)
        news = await feed.turn(0.0)
        assert news.batches == {"research", "critic", "synthesis"} and news.marks

    asyncio.run(steps())
    seen = feed.overview()
    assert seen is not None and seen.status == "finished"
    assert next(view.words for view in seen.agents if view.agent == "research") == 11


def test_a_run_that_does_not_exist_ends_it_and_one_that_is_gone_later_does_not() -> None:
    script = council()
    feed = _feed(script)
    source = feed._source
    assert isinstance(source, Told)
    source.follower._ready.append(RunGone("there is no run 'r1' on this hub"))
    source._turns = [[]]
    with pytest.raises(RunGone):
        asyncio.run(feed.turn(0.0))

    feed = _feed(script)
    source = feed._source
    assert isinstance(source, Told)

    async def steps() -> None:
        await feed.turn(0.0)
        source.follower._ready.append(RunGone("it is gone"))
        source.follower._ready.append(Reset("r1", "the log is another one"))
        news = await feed.turn(0.0)
        assert news.notices == ["it is gone", "run r1 starts over: the log is another one"]
        assert feed.run is not None

    asyncio.run(steps())
