"""The limit of open thoughts holds for users' programs too: the others wait for their turn, and all finish."""

from __future__ import annotations

from harness import Eye, a_place
from verdict import faults_of

from felixhub.core.events import Event, ThoughtAbandoned, ThoughtFinalized, ThoughtStarted


def open_at_once(events: list[Event]) -> int:
    most = now = 0
    for event in events:
        now += isinstance(event, ThoughtStarted)
        now -= isinstance(event, ThoughtFinalized | ThoughtAbandoned)
        most = max(most, now)
    return most


def test_no_more_thoughts_are_open_than_allowed() -> None:
    with a_place(open_thoughts_max=2) as place:
        place.start_hub()
        place.start_team()
        run = place.start_run(1, pieces=10)
        with Eye(place, run) as eye:
            eye.wait_for_end()
        events = place.events_of(run)
        assert faults_of(place.log_of(run), place.truth) == []
        assert open_at_once(events) == 2
