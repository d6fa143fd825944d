"""The disk under the log: an fsync that fails is final, and power that fails around any fsync takes nothing back that
anybody was told.

A killed process leaves its writes in the kernel's cache, so a kill alone would not miss an fsync. `faulty.c` copies the
files at each fsync, and what was only written since then is taken away again, all of it or sector by sector.
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from faulty import FAIL_AT, FAILED, KILL_AFTER, KILL_BEFORE, Faulty, Kind, why_not
from harness import AGENTS, WRITER, Eye, Place, seeds, start_of, until
from verdict import faults_of, faults_of_record

pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(why_not()), reason=why_not())]

LONG = 60_000  # bytes of a partial that makes a checkpoint due within a hundred commits


@pytest.fixture
def disk(place: Place) -> Iterator[Faulty]:
    one = Faulty(place.folder / "faulty")
    yield one
    one.close()


class Player:
    """A worker and a subscriber of this test's own, which writes down what it was told. One message at a time, so that
    every commit of the hub is known by its number."""

    def __init__(self, place: Place, run: str) -> None:
        connection = place.connection()
        assert connection is not None
        self.run = run
        self._hub = place.the_hub
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._ingest = self._context.socket(zmq.DEALER)
        self._live = self._context.socket(zmq.SUB)
        for one, address in ((self._ingest, connection.ingest), (self._live, connection.live)):
            one.setsockopt(zmq.LINGER, 0)
            one.connect(address)
        self._live.subscribe(b"")
        self.published: list[bytes] = []
        self.acknowledged = 0
        self.ended = False
        until(lambda: self.hear_live(), 10.0, "a beat")

    def hear_live(self) -> bool:
        """Whether anything came; events are kept."""
        heard = False
        while self._live.poll(0):
            topic, body = self._live.recv_multipart()
            heard = True
            if topic.startswith(f"run/{self.run}/".encode()) and b"/beat/" not in topic:
                self.published.append(body)
        return heard

    def tell(self, **message: Any) -> None:
        self._ingest.send(json.dumps(message).encode())

    def hear(self, kind: str) -> dict[str, Any] | None:
        """The hub's next word of this type; None when it has died."""

        def heard() -> dict[str, Any] | bool:
            self.hear_live()
            if self._ingest.poll(5):
                said: dict[str, Any] = json.loads(self._ingest.recv_multipart()[0])
                if said["type"] == kind:
                    return said
            return self._hub.exit is not None and not self._ingest.poll(50)

        found = until(heard, 20.0, f"a {kind}")
        self.hear_live()
        return found if isinstance(found, dict) else None

    def think(self, place: Place, words: list[str]) -> None:
        """Play the first agent of a run until the hub dies or the thought has ended."""
        run, self.words = self.run, words
        self.tell(type="hello", worker={"session": run}, agents=[run])  # An agent of its own.
        assert self.hear("welcome")
        with place.client() as client:
            client.request(start_of(run, agents=(run,), seed=0))
        assigned = self.hear("assign")
        assert assigned
        thought, said = str(assigned["thought"]), b""
        for word in words:
            self.tell(type="partial", thought=thought, offset=len(said), text=word)
            said += word.encode()
            told = self.hear("ack")
            if told is None:
                return
            self.acknowledged = max([self.acknowledged, *(one["length"] for one in told["lengths"])])
        self.tell(type="finalize", thought=thought, length=len(said), sha256=hashlib.sha256(said).hexdigest())
        told = self.hear("ack")
        self.ended = bool(told and told["ended"])

    def close(self) -> None:
        self._ingest.close()
        self._live.close()
        self._context.term()


def told_too_much(player: Player, place: Place) -> list[str]:
    """What the player was told that the log of the next life has not."""
    run, stored = player.run, place.log_of(player.run)
    text = "".join(e["text"] for e in map(json.loads, stored) if e["kind"] == "thought.partial")
    faults = [f"published and gone: {line[:100]!r}" for line in player.published if line not in stored]
    if len(text.encode()) < player.acknowledged:
        faults.append(f"{player.acknowledged} bytes were acknowledged, {len(text.encode())} are there")
    if not "".join(player.words).startswith(text):
        faults.append("the log has a text that nobody said")
    if player.ended and not any(b'"thought.finalized"' in line for line in stored):
        faults.append("an end was acknowledged and is gone")
    return [f"{run}: {fault}" for fault in faults]


KILLS: list[tuple[int, Kind, int, int]] = [  # what, of which file, the how many-th fsync, bytes of a partial
    (KILL_BEFORE, "wal", 1, 10),
    (KILL_AFTER, "wal", 1, 10),
    (KILL_BEFORE, "wal", 2, 500),
    (KILL_BEFORE, "wal", 9, 10),
    (KILL_AFTER, "wal", 9, 5_000),
    (KILL_BEFORE, "wal", 23, 5_000),
    (KILL_BEFORE, "database", 1, LONG),
    (KILL_AFTER, "database", 1, LONG),
]


@pytest.mark.parametrize("seed", seeds("power"))
def test_power_that_fails_at_an_fsync_takes_nothing_back(place: Place, disk: Faulty, seed: int) -> None:
    """All kills in one log, one life after another, so that each also finds what the others left."""
    dice = random.Random(seed)
    faults: list[str] = []
    lost = 0
    player: Player | None = None
    for number, (what, kind, nth, size) in enumerate(KILLS):
        disk.begin(place.data)
        place.start_hub(**disk.environ)
        faults += told_too_much(player, place) if player else []
        player = Player(place, f"run-{number}")
        disk.aim(what, kind=kind, number=nth + (2 if kind == "wal" else 0))  # `run.started`, then the assignment
        player.think(place, [f"{piece}:{'x' * size} " for piece in range(200 if size == LONG else 40)])
        player.close()
        assert place.the_hub.exit == -signal.SIGKILL, f"{player.run}: no such fsync came: this shows nothing"
        lost += disk.lose_power(place.data, dice, written=(0.0, 0.5, 1.0)[number % 3])
        disk.rest()
    place.start_hub()
    assert player
    faults += told_too_much(player, place)
    assert faults == []
    assert lost > 0, "no write was lost: this shows nothing"


def test_power_that_fails_while_a_log_is_made_leaves_one_that_opens(place: Place, disk: Faulty) -> None:
    """A first start that dies at each of its fsyncs in turn: the next one finds no log, or a sound one."""
    dice = random.Random(1)
    for nth in range(1, 30):
        disk.begin(place.data)
        disk.aim(KILL_BEFORE, kind="any", number=nth)
        place.start_hub(wait=False, **disk.environ)
        hub = place.the_hub
        until(lambda hub=hub: hub.exit is not None or place.has_bound(), 20.0, "it dies or lives")
        if hub.exit is None:
            break
        assert hub.exit == -signal.SIGKILL, hub.said()
        disk.lose_power(place.data, dice, written=nth % 2 / 2)
        disk.rest()
    assert nth > 3, "it never died: this shows nothing"
    assert hub.exit is None, "it never lived"


@pytest.mark.parametrize("kind", ["wal", "database"])
def test_an_fsync_that_fails_ends_the_hub_and_nothing_is_missing(place: Place, disk: Faulty, kind: Kind) -> None:
    """The kernel tells of a lost write once and then forgets it, so an fsync that is tried again succeeds and means
    nothing. The hub may not go on."""
    place.start_hub(**disk.environ)
    doomed = place.the_hub
    place.start_team()
    run = place.start_run(11, pieces=40, words=8_000 if kind == "database" else 120)
    watchers = place.watch(run, "early", "late")
    with Eye(place, run) as eye:
        eye.wait_for("thought.partial", count=20)
        disk.aim(FAIL_AT, kind=kind, number=3 if kind == "wal" else 1)
        assert doomed.wait(40.0) == 1, doomed.said()
        assert disk[FAILED] == 1
        said = doomed.said()
        assert "log_broken" in said
        assert "what is on the disk is unknown" in said
        assert "Traceback" not in said
        assert place.left_open() == [], "it has closed its doors"
        place.start_hub()
        eye.wait_for_end()
        assert eye.resets == 0
        assert watchers.wait(60.0) == 0, watchers.said()
        log = place.log_of(run)
        assert [event.raw for event in eye.events] == log
    assert faults_of(log, place.truth) == []
    assert [f for one in ("early", "late") for f in faults_of_record(place.records, run, one, log, place.truth)] == []
    starts = [line for line in log if b'"kind":"thought.started"' in line]
    assert len(starts) == len((*AGENTS, WRITER)), "nobody had to think again"


def test_after_a_failed_fsync_the_log_is_left_alone(place: Place, disk: Faulty) -> None:
    """Not by closing it either: moving the write-ahead log into the file and deleting it would be a second try."""
    place.start_hub(**disk.environ)
    player = Player(place, "run")
    disk.aim(FAIL_AT, kind="wal", number=6)
    synced = disk.syncs()
    player.think(place, ["some text "] * 20)
    player.close()
    assert place.the_hub.wait(20.0) == 1
    assert disk[FAILED] == 1
    assert disk.syncs() - synced == 6, "none after the one that failed"
    assert (place.data / "log.sqlite3-wal").stat().st_size > 0
    place.start_hub()
    assert told_too_much(player, place) == []
