"""What of a recording is due when, at its own pace and at others."""

from __future__ import annotations

import math

import pytest

from felixhub.core.events import Event, RunPaused
from felixhub.core.player import GAP_S_MAX, Player

NOON = 1_750_000_000.0


def events(*ats: float) -> list[Event]:
    return [RunPaused(seq=n, prev=n - 1, run="r", at=NOON + at, by="ann") for n, at in enumerate(ats, 1)]


class Playing:
    """A player, and what it has given out by seq."""

    def __init__(self, *ats: float, speed: float = 1.0) -> None:
        self.player = Player(iter(events(*ats)), speed=speed)

    def due(self, now: float, *, events_max: int = 100, bytes_max: int = 10**6) -> list[int]:
        return [event.seq for event in self.player.take_due(now, events_max=events_max, bytes_max=bytes_max)]


def test_the_first_event_is_due_at_once_and_the_others_when_somebody_watches() -> None:
    playing = Playing(0.0, 0.0, 2.0)
    assert playing.player.next_due() is None
    assert playing.due(5.0) == [1]
    assert playing.due(500.0) == []
    assert not playing.player.is_begun
    playing.player.begin(600.0)
    assert playing.due(600.0) == [2]
    assert playing.player.next_due() == 602.0
    playing.player.begin(900.0)
    assert playing.player.next_due() == 602.0, "only the first viewer begins it"


@pytest.mark.parametrize("speed", [0.5, 1.0, 10.0])
def test_the_pace_is_that_of_the_recording(speed: float) -> None:
    playing = Playing(0.0, 1.0, 1.5, 4.0, speed=speed)
    playing.player.begin(100.0)
    assert playing.due(100.0) == [1]
    told = {}
    while not playing.player.is_over:
        now = playing.player.next_due()
        assert now is not None
        assert playing.due(now - 0.001) == []
        told[round((now - 100.0) * speed, 6)] = playing.due(now)
    assert told == {1.0: [2], 1.5: [3], 4.0: [4]}
    assert playing.player.next_due() is None


def test_as_fast_as_possible_is_bounded_a_turn_by_number_and_by_size() -> None:
    playing = Playing(*range(0, 1_000, 100), speed=math.inf)
    playing.player.begin(7.0)
    assert playing.player.next_due() == 7.0
    assert playing.due(7.0, events_max=4) == [1, 2, 3, 4]
    assert playing.due(7.0, bytes_max=1) == [5]
    assert playing.due(7.0) == [6, 7, 8, 9, 10]
    assert playing.player.is_over


def test_who_is_late_catches_up_and_is_on_time_again() -> None:
    playing = Playing(0.0, 1.0, 2.0, 9.0)
    playing.player.begin(0.0)
    assert playing.due(2.5) == [1, 2, 3]
    assert playing.player.next_due() == 9.0


def test_a_clock_that_was_set_makes_no_endless_pause() -> None:
    playing = Playing(0.0, -50_000.0, -49_999.0, 9_999_999.0, 10_000_000.0)
    playing.player.begin(0.0)
    assert playing.due(0.0) == [1, 2], "backwards is no pause"
    assert playing.due(1.0) == [3]
    assert playing.player.next_due() == 1.0 + GAP_S_MAX
    assert playing.due(1.0 + GAP_S_MAX) == [4]
    assert playing.player.next_due() == 2.0 + GAP_S_MAX


def test_the_recordings_clock_goes_at_its_pace_and_waits_for_each_event() -> None:
    playing = Playing(0.0, 10.0, 30.0, speed=10.0)
    playing.due(0.0)
    assert playing.player.recorded_now(50.0) == NOON, "nobody watches yet"
    playing.player.begin(100.0)
    assert playing.player.recorded_now(100.5) == pytest.approx(NOON + 5.0)
    assert playing.player.recorded_now(103.0) == NOON + 10.0, "not beyond the event that is due"
    assert playing.due(101.0) == [2]
    assert playing.player.recorded_now(102.0) == pytest.approx(NOON + 20.0)
    assert playing.due(103.0) == [3]
    assert playing.player.recorded_now(1_000.0) == NOON + 30.0, "it stands still after the last"


def test_the_recordings_clock_without_pauses() -> None:
    playing = Playing(0.0, 10.0, 30.0, speed=math.inf)
    playing.player.begin(100.0)
    assert playing.due(100.0, events_max=2) == [1, 2]
    assert playing.player.recorded_now(100.0) == NOON + 10.0


def test_a_recording_of_one_event_is_over_with_it() -> None:
    playing = Playing(0.0)
    assert playing.due(0.0) == [1]
    assert playing.player.is_over
    assert playing.player.recorded_now(5.0) == NOON
