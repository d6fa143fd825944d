"""When a worker greets and when it beats."""

from __future__ import annotations

from felixhub.worker.link import HELLO_S, Link


def up(now: float = 0.0) -> Link:
    link = Link(beat_s=1.0)
    link.writable(now)
    assert link.take_due(now) == "hello"
    link.heard(now)
    link.welcomed(1.0, now)
    return link


def test_nothing_is_due_without_a_connection() -> None:
    link = Link(beat_s=1.0)
    assert link.next_due(5.0) is None
    assert link.take_due(5.0) is None


def test_hello_at_once_and_again_until_it_is_answered() -> None:
    link = Link(beat_s=1.0)
    link.writable(1.0)
    assert link.take_due(1.0) == "hello"
    assert link.take_due(1.5) is None
    assert link.next_due(1.5) == 1.0 + HELLO_S
    assert link.take_due(1.0 + HELLO_S) == "hello"


def test_beats_in_the_hubs_rhythm() -> None:
    link = up()
    link.welcomed(0.5, 0.0)
    assert link.take_due(0.4) is None
    assert link.take_due(0.5) == "beat"
    assert link.next_due(0.6) == 1.0


def test_a_hub_that_does_not_know_us_is_greeted_once() -> None:
    link = up()
    link.unknown(5.0)
    assert link.take_due(5.0) == "hello"
    link.unknown(5.01)
    assert link.take_due(5.01) is None
    link.welcomed(1.0, 5.1)
    link.unknown(5.2)  # Sent before that hello.
    assert link.state == "up"


def test_missing_acknowledgements_matter_only_in_silence() -> None:
    link = up()
    link.heard(9.5)
    link.unacknowledged(10.0)
    assert link.state == "up"
    link.unacknowledged(10.5)
    assert link.take_due(10.5) == "hello"


def test_a_message_that_nobody_took_means_away() -> None:
    link = up()
    link.unsent(3.0)
    assert link.next_due(9.0) is None
    link.writable(9.0)
    assert link.take_due(9.0) == "hello"


def test_a_hello_that_was_not_taken_is_said_later() -> None:
    link = Link(beat_s=1.0)
    link.writable(0.0)
    link.take_due(0.0)
    link.postpone(0.5, 0.1)
    assert link.next_due(0.2) == 0.6
