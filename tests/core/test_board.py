"""A subscriber's board: in order, each once, complete; and never something else than the log."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from team import Team, solo

from felixhub.core.board import HELD_EVENTS_MAX, Board, Diverged
from felixhub.core.events import Event, ThoughtPartial, UnknownEvent, parse_event
from felixhub.core.messages import SnapshotText


def a_log() -> Team:
    """A finished run of two thoughts, eleven events, beside another run."""
    team = Team()
    team.start(workflow=solo(checkpoints=(0.0, 0.5)))
    worker = team.worker("research")
    worker.write("é")
    team.start("r2", workflow=solo(agent="critic"))
    worker.write("hm", channel="reasoning")
    worker.finish("One.")
    worker.finish("Two.")
    return team


LOG = a_log()
RUN = [event for event in LOG.log if event.run == "r1"]


def board_with(*events: Event) -> Board:
    board = Board()
    board.follow("r1")
    for event in events:
        board.take(event)
    return board


def the_text(board: Board) -> list[str]:
    return [str(thought.text) for thought in board.runs["r1"].thoughts.values()]


def test_events_in_order_are_ready_at_once() -> None:
    board = Board()
    board.follow("r1")
    assert [board.take(event) for event in RUN] == [[event] for event in RUN]
    assert board.is_complete("r1") and not board.is_behind("r1")
    assert the_text(board) == ["éOne.", "Two."]
    assert board.last("r1") == RUN[-1].seq


def test_a_repeat_is_nothing_new() -> None:
    board = board_with(*RUN[:5])
    assert [board.take(event) for event in RUN[:5]] == [[]] * 5


def test_what_nobody_follows_is_nothing() -> None:
    board = board_with()
    assert board.take(next(event for event in LOG.log if event.run == "r2")) == []
    assert board.followed() == ["r1"]
    assert (board.last("r2"), board.thought("r2", "t1"), board.is_complete("r2")) == (0, None, False)


def test_holes_of_other_runs_in_seq_are_no_gap() -> None:
    assert RUN[-1].seq > len(RUN)
    assert not board_with(*RUN).is_behind("r1")


def test_an_early_event_waits_for_what_is_before_it() -> None:
    board = board_with(*RUN[:3])
    assert board.take(RUN[5]) == []
    assert board.take(RUN[4]) == []
    assert board.is_behind("r1")
    assert board.take(RUN[3]) == [RUN[3], RUN[4], RUN[5]]
    assert not board.is_behind("r1")


def test_a_lost_tail_is_known_from_the_beat() -> None:
    board = board_with(*RUN[:-1])
    assert not board.is_behind("r1")
    board.saw_tip("r1", RUN[-1].seq)
    assert board.is_behind("r1")
    board.take(RUN[-1])
    assert not board.is_behind("r1")


def test_replay_and_live_may_overlap() -> None:
    board = board_with(*RUN[:2])
    board.take(RUN[6])
    board.take(RUN[7])
    ready = [event for old in RUN[2:9] for event in board.take(old)]
    assert ready == RUN[2:9]
    board.skip_early("r1")
    assert board.take(RUN[9]) == [RUN[9]]


def test_early_events_have_a_limit() -> None:
    board = Board()
    board.follow("r1")
    for seq in range(2, HELD_EVENTS_MAX + 20):
        board.take(UnknownEvent(kind="x", seq=seq, prev=seq - 1, run="r1", at=0.0))
    assert len(board._tracks["r1"].early) == HELD_EVENTS_MAX
    assert board.is_behind("r1")


def test_an_unknown_kind_keeps_its_place() -> None:
    board = board_with(RUN[0])
    unknown = UnknownEvent(kind="of.tomorrow", seq=50, prev=RUN[0].seq, run="r1", at=0.0)
    assert board.take(unknown) == [unknown]
    assert board.runs["r1"].last_seq == board.last("r1") == 50


def changed(event: Event, **fields: object) -> Event:
    return event.model_copy(update=fields)


def first_partial() -> int:
    return next(index for index, event in enumerate(RUN) if isinstance(event, ThoughtPartial))


def test_text_at_another_place_is_never_shown() -> None:
    at = first_partial()
    board = board_with(*RUN[:at])
    with pytest.raises(Diverged, match="0 bytes here"):
        board.take(changed(RUN[at], offset=1))


def test_another_text_than_the_final_one_is_found_out() -> None:
    at = first_partial()
    board = board_with(*RUN[:at], changed(RUN[at], text="è"))
    with pytest.raises(Diverged, match="not the one that was finalized"):
        for event in RUN[at + 1 :]:
            board.take(event)


def test_dropping_a_run_forgets_it() -> None:
    board = board_with(*RUN)
    board.drop("r1")
    assert (board.follows("r1"), board.last("r1"), board.runs) == (False, 0, {})


# ---- snapshots -------------------------------------------------------------------------------------------------------


def snapshot(position: int) -> tuple[list[Event], list[SnapshotText]]:
    """As the hub would page it out at this seq."""
    marks = [event for event in RUN if event.seq <= position and not isinstance(event, ThoughtPartial)]
    full = board_with(*(event for event in RUN if event.seq <= position))
    texts = [
        SnapshotText(thought=thought.id, channel=channel, offset=0, text=str(thought.buffer(channel)), tokens=1)
        for thought in full.runs["r1"].thoughts.values()
        for channel in ("reasoning", "text")
    ]
    return marks, texts


@settings(deadline=None, max_examples=40)
@given(at=st.integers(0, len(RUN) - 1), live=st.lists(st.integers(0, len(RUN) - 1)))
def test_a_snapshot_and_what_comes_after_it_is_the_same_as_all(at: int, live: list[int]) -> None:
    board = board_with(*(RUN[index] for index in live if index > at))
    marks, texts = snapshot(RUN[at].seq)
    board.load("r1", marks=marks, texts=texts, position=RUN[at].seq)
    for event in RUN[at + 1 :]:
        board.take(event)
    assert the_text(board) == ["éOne.", "Two."]
    assert str(next(iter(board.runs["r1"].thoughts.values())).reasoning) == "hm"
    assert board.is_complete("r1") and not board.is_behind("r1")


def test_a_snapshot_releases_what_came_early() -> None:
    board = board_with(RUN[6], RUN[7])
    marks, texts = snapshot(RUN[5].seq)
    assert board.load("r1", marks=marks, texts=texts, position=RUN[5].seq) == [RUN[6], RUN[7]]


def test_an_old_snapshot_takes_nothing_back() -> None:
    board = board_with(*RUN)
    marks, texts = snapshot(RUN[4].seq)
    assert board.load("r1", marks=marks, texts=texts, position=RUN[4].seq) == []
    assert board.last("r1") == RUN[-1].seq


def test_pieces_of_a_snapshot_may_come_in_any_order_but_not_with_a_hole() -> None:
    marks, texts = snapshot(RUN[-1].seq)
    whole = next(piece for piece in texts if piece.text == "éOne.")
    first, second = (
        whole.model_copy(update={"text": "éO"}),
        whole.model_copy(update={"offset": 3, "text": "ne."}),
    )
    others = [piece for piece in texts if piece is not whole]
    board = board_with()
    board.load("r1", marks=marks, texts=[second, *others, first], position=RUN[-1].seq)
    assert the_text(board) == ["éOne.", "Two."]
    with pytest.raises(Diverged, match="hole"):
        board_with().load("r1", marks=marks, texts=[second, *others], position=RUN[-1].seq)


def test_a_snapshot_with_another_text_is_found_out() -> None:
    marks, texts = snapshot(RUN[-1].seq)
    wrong = [piece.model_copy(update={"text": piece.text.replace("O", "0")}) for piece in texts]
    with pytest.raises(Diverged, match="finalized"):
        board_with().load("r1", marks=marks, texts=wrong, position=RUN[-1].seq)


@settings(deadline=None, max_examples=60)
@given(order=st.permutations(range(len(RUN))), again=st.lists(st.integers(0, len(RUN) - 1), max_size=10))
def test_any_order_and_any_repeats_come_to_the_same(order: list[int], again: list[int]) -> None:
    board = board_with()
    ready = [event for index in [*order, *again] for event in board.take(parse_event(RUN[index].encode()))]
    assert [event.seq for event in ready] == [event.seq for event in RUN]
    assert the_text(board) == ["éOne.", "Two."]


def test_an_event_that_fits_nothing_but_its_number_is_another_log() -> None:
    """A log that lost its end gives the same numbers to other events: then `prev` fits, and the thought is not here."""
    at = next(index for index, event in enumerate(RUN) if isinstance(event, ThoughtPartial))
    board = board_with(*RUN[:at])
    with pytest.raises(Diverged, match="speaks of 't9-else', which is not known here"):
        board.take(RUN[at].model_copy(update={"thought": "t9-else"}))


def test_a_story_without_its_beginning_is_another_log() -> None:
    with pytest.raises(Diverged, match="before the run's start"):
        board_with(RUN[1].model_copy(update={"prev": 0}))
