"""Faults of the way between: what a TCP proxy in front of the hub can do to those who come through it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass

from fault import Fault, Place, hold
from soak_place import LEASE_S
from tcp_proxy import Weather

LISTENERS = ("control", "ingest", "live")


def _some(dice: random.Random) -> tuple[str, ...]:
    """One listener, or all of them."""
    return dice.choice([*((name,) for name in LISTENERS), LISTENERS])


def in_words(weather: Weather) -> str:
    """What is not as on a clear day."""
    odd = {name: value for name, value in asdict(weather).items() if value}
    return "".join(f", {name} {value:.2f}" if isinstance(value, float) else f", {name}" for name, value in odd.items())


@dataclass(frozen=True)
class Bad:
    """Bad weather for a while, with or without a cut when it begins."""

    name: str
    weather: Callable[[random.Random], Weather]
    seconds: tuple[float, float]
    cuts: bool = False
    half: bool = False

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        names, weather, seconds = _some(dice), self.weather(dice), dice.uniform(*self.seconds)
        proxy = place.the_proxy
        proxy.set(weather, *names)
        hit = proxy.cut(*names) if self.cuts else proxy.half_close(*names) if self.half else proxy.connections
        hold(place, seconds)
        proxy.heal()
        return f"{'+'.join(names)}: {hit} connections, {seconds:.1f} s{in_words(weather)}"


FAULTS: tuple[Fault, ...] = (
    Bad("proxy.cut", lambda dice: Weather(refuse=dice.random() < 0.5), (0.1, 2.0), cuts=True),
    Bad(
        "proxy.delay", lambda dice: Weather(delay_s=dice.uniform(0.05, 0.4), jitter_s=dice.uniform(0, 0.6)), (2.0, 6.0)
    ),
    Bad("proxy.throttle", lambda dice: Weather(bytes_per_s=dice.choice((2_000.0, 20_000.0, 100_000.0))), (2.0, 6.0)),
    Bad("proxy.half_close", lambda _: Weather(), (0.5, 2.0), half=True),
    Bad("proxy.black_hole_short", lambda _: Weather(black_hole=True), (0.5, 2.0)),
    Bad("proxy.black_hole_long", lambda _: Weather(black_hole=True), (LEASE_S + 1.0, LEASE_S + 4.0)),
)
