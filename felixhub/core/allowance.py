"""How fast a peer may be: a budget that fills with time, one for each thing that is counted.

    source: the token bucket of ITU-T I.371 / RFC 2697 ("single rate"), with a burst of `BURST_S` seconds

Owns: the arithmetic. Must not: look at a clock, or know what is counted.
"""

from __future__ import annotations

from collections.abc import Mapping

BURST_S = 2.0  # what a peer did not use it may use later, up to so many seconds' worth
PEERS_KEPT_MAX = 10_000


class Allowance:
    """What one peer may still do now. Amounts are counts or bytes, rates the same by second."""

    __slots__ = ("_at", "_left", "_rates")

    def __init__(self, rates: Mapping[str, float], now: float) -> None:
        self._rates = rates
        self._left = {name: rate * BURST_S for name, rate in rates.items()}
        self._at = now

    def take(self, amounts: Mapping[str, float], now: float) -> str | None:
        """Take all of it, or nothing: then the name of what there is too little of.

        One amount may be larger than a burst: it passes when the budget is full and is paid off afterwards.
        """
        passed, self._at = max(0.0, now - self._at), max(self._at, now)
        for name, rate in self._rates.items():
            self._left[name] = min(rate * BURST_S, self._left[name] + rate * passed)
        for name, amount in amounts.items():
            if self._left[name] < min(amount, self._rates[name] * BURST_S):
                return name
        for name, amount in amounts.items():
            self._left[name] -= amount
        return None


class Allowances:
    """One allowance for each peer, under a name that reconnecting does not change."""

    def __init__(self, rates: Mapping[str, float]) -> None:
        self._rates = dict(rates)
        self._of: dict[str, Allowance] = {}

    def take(self, peer: str, amounts: Mapping[str, float], now: float) -> str | None:
        """As `Allowance.take`, for this peer."""
        known = self._of.get(peer)
        if known is None:
            while len(self._of) >= PEERS_KEPT_MAX:
                del self._of[next(iter(self._of))]
            known = self._of[peer] = Allowance(self._rates, now)
        return known.take(amounts, now)
