"""Floods and garbage at every socket of a hub, by tcp and by ipc, while a team works and subscribers watch.

The run ends, everybody has the same text, the hub's memory is bounded, and afterwards it has its descriptors back.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator

import garbage
import pytest
from harness import Eye, Place, a_place, seeds, until
from verdict import faults_of, faults_of_record
from vitals import descriptors, resident_bytes

KINDS = ("early", "late")
CONNECTIONS = 500
SUBSCRIPTIONS = 100_000
GROWTH_BYTES_MAX = 100_000_000
DESCRIPTORS_LEFT_MAX = 12  # of connections whose end the hub has yet to notice


def free_port() -> int:
    """The first of three in a row that nobody has."""
    for first in random.SystemRandom().sample(range(20_000, 32_000, 3), 1_000):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + 3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no three free ports in a row")


@pytest.fixture(scope="module")
def flooded() -> Iterator[Place]:
    with a_place(worker_beat_s=0.5, lease_grace_s=30.0) as place:
        place.hub_flags = ("--listen", f"tcp://127.0.0.1:{free_port()}", "--plain")
        place.start_hub()
        place.start_team()
        warm = place.start_run(1, pieces=5)
        with Eye(place, warm) as eye:
            eye.wait_for_end()
        yield place


Addresses = dict[str, list[str]]  # by ingest, control and live: by ipc, by tcp
Flood = Callable[[Addresses, random.Random], None]


def addresses_of(place: Place) -> Addresses:
    connection = place.connection()
    assert connection is not None
    assert connection.network is not None
    doors = (connection, connection.network)
    return {name: [getattr(door, name) for door in doors] for name in ("ingest", "control", "live")}


def all_of(addresses: Addresses) -> list[str]:
    return [one for both in addresses.values() for one in both]


def openings(addresses: Addresses, _dice: random.Random) -> None:
    """Half a greeting, another protocol, a huge length: each as many times as there is room for, all held open."""
    with garbage.strangers(all_of(addresses), CONNECTIONS, garbage.OPENINGS) as held:
        assert len(held) > CONNECTIONS / 2, "the hub took nobody: this shows nothing"
        with contextlib.suppress(OSError):
            for one in held:
                one.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    one.send(b"\0")


def slow_and_random(addresses: Addresses, dice: random.Random) -> None:
    threads = [threading.Thread(target=garbage.say_slowly, args=(one, 2.0)) for one in all_of(addresses)]
    for thread in threads:
        thread.start()
    for one in all_of(addresses):
        garbage.say_at_random(one, dice, times=30)
    for thread in threads:
        thread.join()


def messages(addresses: Addresses, dice: random.Random) -> None:
    said = sum(garbage.say_garbage(one, dice, rounds=5) for one in (*addresses["ingest"], *addresses["control"]))
    assert said > 100, "nothing was said: this shows nothing"
    for one in addresses["live"]:
        garbage.say_garbage_to_a_publisher(one, dice)


def subscriptions(addresses: Addresses, _dice: random.Random) -> None:
    for one in addresses["live"]:
        assert garbage.subscribe_to_everything(one, SUBSCRIPTIONS), "they were not taken in: this shows nothing"


FLOODS: tuple[Flood, ...] = (openings, slow_and_random, messages, subscriptions)


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.__name__)
def test_a_run_under_a_flood_is_as_any_other(flooded: Place, flood: Flood) -> None:
    place, hub = flooded, flooded.the_hub
    addresses = addresses_of(place)
    (seed,) = seeds(flood.__name__)[:1]
    had, open_before = resident_bytes(hub.pid), descriptors(hub.pid)
    most = [had]
    run = place.start_run(seed, pieces=60)
    watchers = place.watch(run, *KINDS)
    fault: list[BaseException] = []

    def strike() -> None:
        try:
            flood(addresses, random.Random(seed))
        except BaseException as error:  # noqa: BLE001  (told by the test, not by its thread)
            fault.append(error)

    with Eye(place, run) as eye:
        eye.wait_for("thought.partial", count=10)
        striking = threading.Thread(target=strike)
        striking.start()

        def over() -> bool:
            assert hub.exit is None, hub.said()
            most[0] = max(most[0], resident_bytes(hub.pid))
            eye.look()
            return eye.ended and not striking.is_alive()

        until(over, 60.0, f"the run ends under {flood.__name__}")
        assert fault == []
        assert watchers.wait(60.0) == 0, watchers.said()
        log = place.log_of(run)
        assert [event.raw for event in eye.events] == log
        assert eye.resets == 0
    assert faults_of(log, place.truth) == []
    assert [f for kind in KINDS for f in faults_of_record(place.records, run, kind, log, place.truth)] == []
    assert b'"agent.lost"' not in b"".join(log)
    print(f"{flood.__name__}: from {had >> 20} to {most[0] >> 20} MiB")
    assert most[0] - had < GROWTH_BYTES_MAX, f"it grew by {most[0] - had} bytes"
    until(lambda: descriptors(hub.pid) <= open_before + DESCRIPTORS_LEFT_MAX, 15.0, "descriptors are given back")
    said = hub.said()
    assert hub.exit is None, said
    assert "Traceback" not in said
    assert "Assertion failed" not in said
    place.counters()  # It answers.
