"""Strangers at every socket of the hub, by ipc and by tcp: silence, half a greeting, garbage, too many subscriptions.

They cost nobody anything, so nothing has to be healed; the soak's checker looks whether that is so.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import garbage
import neighbours  # noqa: F401
from fault import Fault, Place, hold

CONNECTIONS = 200
SUBSCRIPTIONS = 20_000
ROUTERS = ("ingest", "control")


def addresses_of(place: Place, *names: str) -> list[str]:
    connection = place.connection()
    if connection is None:
        return []
    doors = [connection, *([connection.network] if connection.network else [])]
    return [getattr(door, name) for name in names or ("ingest", "control", "live") for door in doors]


def openings(place: Place, dice: random.Random) -> str:
    """Many connections that say no more than their first word, held open."""
    seconds = dice.uniform(1.0, 6.0)
    with garbage.strangers(addresses_of(place), CONNECTIONS, garbage.OPENINGS) as held:
        hold(place, seconds)
    return f"{len(held)} strangers said half a word and stayed {seconds:.1f} s"


def slow_and_random(place: Place, dice: random.Random) -> str:
    addresses = addresses_of(place)
    slow = [threading.Thread(target=garbage.say_slowly, args=(one, 3.0)) for one in addresses]
    for thread in slow:
        thread.start()
    for one in addresses:
        garbage.say_at_random(one, dice, times=30)
    for thread in slow:
        thread.join()
    return "random bytes, and a greeting byte by byte"


def messages(place: Place, dice: random.Random) -> str:
    said = sum(garbage.say_garbage(one, dice, rounds=3) for one in addresses_of(place, *ROUTERS))
    for one in addresses_of(place, "live"):
        garbage.say_garbage_to_a_publisher(one, dice)
    return f"{said} messages that are none"


def subscriptions(place: Place, _dice: random.Random) -> str:
    taken = [garbage.subscribe_to_everything(one, SUBSCRIPTIONS, seconds=5.0) for one in addresses_of(place, "live")]
    return f"{SUBSCRIPTIONS} subscriptions by each of {sum(taken)} strangers, and topics of a megabyte"


class Strangers:
    def __init__(self, flood: Callable[[Place, random.Random], str]) -> None:
        self.name = f"garbage.{flood.__name__}"
        self._flood = flood

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        return self._flood(place, dice)


FAULTS: tuple[Fault, ...] = tuple(Strangers(flood) for flood in (openings, slow_and_random, messages, subscriptions))
