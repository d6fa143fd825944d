"""The token bucket: never more than rate and burst allow, and what is within them always passes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from felixhub.core.allowance import BURST_S, PEERS_KEPT_MAX, Allowance, Allowances

RATE = 10.0


def test_a_burst_passes_and_then_the_rate() -> None:
    allowance = Allowance({"messages": RATE}, 0.0)
    at_once = sum(allowance.take({"messages": 1}, 0.0) is None for _ in range(1_000))
    assert at_once == RATE * BURST_S
    assert sum(allowance.take({"messages": 1}, 1.0) is None for _ in range(1_000)) == RATE


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5)), max_size=60))
def test_never_more_than_the_rate_and_a_burst(takes: list[tuple[float, int]]) -> None:
    allowance = Allowance({"messages": RATE}, 0.0)
    now, taken = 0.0, 0
    for pause_s, amount in takes:
        now += pause_s
        if allowance.take({"messages": amount}, now) is None:
            taken += amount
        assert taken <= RATE * (BURST_S + now) + 1e-6


@given(st.lists(st.integers(1, int(RATE)), max_size=50))
def test_what_keeps_to_the_rate_always_passes(amounts: list[int]) -> None:
    allowance = Allowance({"messages": RATE}, 0.0)
    now = 0.0
    for amount in amounts:
        now += amount / RATE
        assert allowance.take({"messages": amount}, now) is None


def test_all_of_it_or_nothing_and_what_is_too_little_is_named() -> None:
    allowance = Allowance({"messages": 10.0, "bytes": 100.0}, 0.0)
    assert allowance.take({"messages": 1, "bytes": 200}, 0.0) is None
    for _ in range(50):
        assert allowance.take({"messages": 1, "bytes": 1}, 0.0) == "bytes"
    assert [allowance.take({"messages": 1}, 0.0) for _ in range(20)].count(None) == 19  # refusals cost nothing


def test_one_amount_larger_than_a_burst_passes_and_is_paid_off() -> None:
    allowance = Allowance({"bytes": 10.0}, 0.0)
    assert allowance.take({"bytes": 100}, 0.0) is None
    assert allowance.take({"bytes": 1}, 7.9) == "bytes"
    assert allowance.take({"bytes": 1}, 8.2) is None


def test_a_clock_that_goes_back_gives_nothing() -> None:
    allowance = Allowance({"messages": RATE}, 100.0)
    for _ in range(int(RATE * BURST_S)):
        allowance.take({"messages": 1}, 100.0)
    assert allowance.take({"messages": 1}, 50.0) == "messages"
    assert allowance.take({"messages": 1}, 100.0) == "messages"


def test_peers_have_their_own_and_memory_is_bounded() -> None:
    allowances = Allowances({"messages": 1.0})
    for number in range(PEERS_KEPT_MAX + 10):
        assert allowances.take(f"p{number}", {"messages": 1}, 0.0) is None
    assert len(allowances._of) == PEERS_KEPT_MAX
