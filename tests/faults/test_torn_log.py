"""A log that comes back shorter, damaged, or as an old copy.

Either the hub starts with what is sound, a prefix, and everybody hears that it is another log now; or it refuses, and
says which file is wrong and what to do. Nobody waits for what is gone, and nobody shows a mixture of two pasts.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from damage import (
    FILE,
    REFUSED,
    SHM,
    SURVIVED,
    WAL,
    Damage,
    checkpoint,
    copy_log,
    cut_the_tail,
    delete_the_wal,
    flip_in_the_last_frames,
    frames,
    junk_at_the_tail,
    zero_page,
)
from harness import Eye, Place, Process, a_place, seeds, until
from verdict import faults_of

from felixhub.core.follower import Reset, RunGone
from felixhub.eventlog import LogError, Record
from felixhub.eventlog.sqlite import SqliteLog

pytestmark = pytest.mark.long

KINDS = ("early", "slow")  # Those that go on after a reset.


@pytest.fixture(scope="module")
def team() -> Iterator[Place]:
    """Its workers live through all that happens to the log."""
    with a_place(worker_beat_s=0.3, lease_grace_s=20.0) as place:
        place.start_hub()
        place.start_team()
        yield place


def hurt(place: Place, eye: Eye, damage: Callable[[], None]) -> list[bytes]:
    """Kill the hub, do it, start the hub; returns all that the dead one had published."""
    place.the_hub.kill()
    quiet = 0
    while quiet < 10:  # What is still on its way.
        before = len(eye.events)
        quiet = quiet + 1 if len(eye.look()) == before else 0
    seen = published(eye)
    damage()
    place.start_hub()
    assert place.the_hub.exit is None, place.the_hub.said()
    return seen


def published(eye: Eye) -> list[bytes]:
    return [event.raw for event in eye.events]


def faults_of_a_record_with_resets(place: Place, run: str, kind: str, log: list[bytes]) -> list[str]:
    """What a watcher was given after the last reset is the log, and a reset is all that it was told besides."""
    told_file = place.records / f"{run}.{kind}.json"
    told = json.loads(told_file.read_text())
    lines = (place.records / f"{run}.{kind}.jsonl").read_bytes().splitlines()
    faults = [f"{kind}: {error}" for error in told["errors"] if not error.startswith("Reset: ")]
    if not told["done"]:
        faults.append(f"{kind}: it still waits for the end")
    if lines[-len(log) :] != log:
        faults.append(f"{kind}: what it was given last is not the log")
    if not told["errors"] and len(lines) != len(log):
        faults.append(f"{kind}: it was given {len(lines)} events, the log has {len(log)}, and no reset was said")
    final = {e["thought"]: [e["sha256"], e["reasoning_sha256"]] for e in map(json.loads, log) if "sha256" in e}
    faults += [
        f"{kind}: its board shows another text of {t}" for t, sha in final.items() if told["texts"].get(t) != sha
    ]
    return faults


def check(place: Place, run: str, eye: Eye, watchers: Process) -> None:
    assert watchers.wait(60.0) == 0, watchers.said()
    log = place.log_of(run)
    assert published(eye) == log
    assert faults_of(log, place.truth) == []
    assert [f for kind in KINDS for f in faults_of_a_record_with_resets(place, run, kind, log)] == []


@pytest.mark.parametrize("seed", seeds("torn"))
def test_a_log_that_lost_its_tail_is_another_log_and_says_so(team: Place, seed: int) -> None:
    """Three times in one run: a lost tail that nobody noticed would be written over by the next life's events."""
    dice = random.Random(seed)
    team.stop_hub()
    team.start_hub()  # With an empty write-ahead log: its tail is this run's.
    run = team.start_run(seed, pieces=80)
    watchers = team.watch(run, *KINDS)
    lossy = 0
    with Eye(team, run) as eye:
        eye.wait_for("thought.partial", count=5)
        for damage in (junk_at_the_tail, cut_the_tail, flip_in_the_last_frames):
            enough = frames(team.data) + 16
            until(lambda enough=enough: (eye.look() or True) and frames(team.data) >= enough, 30.0, "a tail to lose")
            resets = eye.resets
            seen = hurt(team, eye, lambda damage=damage: damage(team.data, dice))
            now = team.log_of(run)
            left = [line in now for line in seen]
            is_shorter = not all(left)
            assert not (is_shorter and damage is junk_at_the_tail), "an unfinished write takes nothing along"
            assert left == sorted(left, reverse=True), "what is left is a prefix"
            if is_shorter:
                lossy += 1
                until(lambda before=resets: (eye.look() or True) and eye.resets > before, 15.0, "the reset is said")
        eye.wait_for_end()
        assert lossy > 0, "no tail was lost: this shows nothing"
        assert eye.resets >= lossy
        check(team, run, eye, watchers)


@pytest.mark.parametrize("seed", seeds("backup"))
def test_a_restored_backup_is_an_old_log_and_the_run_goes_on_from_there(team: Place, tmp_path: Path, seed: int) -> None:
    run = team.start_run(seed, pieces=60)
    watchers = team.watch(run, *KINDS)
    with Eye(team, run) as eye:
        eye.wait_for("thought.partial", count=40)
        team.stop_hub()
        copy_log(team.data, tmp_path / "backup")
        old = len(team.stored(run))
        team.start_hub()
        eye.wait_for_count(old + 40)
        team.stop_hub()
        newer = len(team.stored(run))
        copy_log(tmp_path / "backup", team.data)
        assert newer > old + 20, "nothing was lost: this shows nothing"
        assert len(team.stored(run)) == old
        team.start_hub()
        eye.wait_for_end()
        assert eye.resets == 1
        check(team, run, eye, watchers)


@pytest.mark.parametrize("seed", seeds("deleted"))
def test_a_run_that_is_gone_with_its_log_is_told_to_be_gone(team: Place, seed: int) -> None:
    """Its workers let go of it, and do what comes next."""
    team.stop_hub()
    (team.data / FILE).unlink()
    team.start_hub()
    run = team.start_run(seed, pieces=200)
    with Eye(team, run) as eye:
        eye.wait_for("thought.partial", count=20)
        said: list[object] = []
        hurt(team, eye, lambda: delete_the_wal(team.data, random.Random(seed)))

        def gone() -> bool:
            said.extend(eye._subscription.poll(0.05))
            return any(isinstance(item, RunGone) for item in said)

        until(gone, 15.0, f"that it is gone: {said}")
        assert [type(item) for item in said if not hasattr(item, "kind")] in ([RunGone], [Reset, RunGone])
    following = team.start_run(seed + 1, pieces=5)
    with Eye(team, following) as eye:
        eye.wait_for_end(20.0)
    assert faults_of(team.log_of(following), team.truth) == []


@pytest.mark.parametrize("damage", REFUSED, ids=lambda damage: damage.__name__)
def test_a_damaged_log_is_refused_in_one_sentence(place: Place, damage: Damage) -> None:
    make_log(place.data)
    damage(place.data, random.Random(3))
    place.start_hub(wait=False)
    assert place.the_hub.wait(20.0) == 2
    said = place.the_hub.said().strip()
    assert said.startswith("felixhub: The log "), said
    assert str(place.data / FILE) in said
    assert "is damaged (" in said
    assert said.endswith("or restore a backup.")
    assert "\n" not in said
    assert place.left_open() == []
    # What the sentence says to do helps.
    for name in (FILE, WAL, SHM):
        (place.data / name).unlink(missing_ok=True)
    place.start_hub()
    assert place.the_hub.exit is None


def make_log(data: Path) -> list[Record]:
    """A log of one run that has ended, with no body that is longer than a page; its records."""
    log = SqliteLog.open(data)
    log.start_boot("first")
    for seq in range(1, 400):
        body = b'{"kind":"thought.partial","seq":%d,"text":"%s"}' % (seq, b"x" * 600)
        log.commit([Record("run", seq, "t" if seq % 4 else None, body)], ended={"run": 1.0} if seq == 399 else None)
    records = everything(log)
    log.close()
    return records


def everything(log: SqliteLog) -> list[Record]:
    return log.read("run", after=0, through=2**40, rows_max=10_000, bytes_max=2**40)


def test_no_page_can_be_lost_without_a_word(tmp_path: Path) -> None:
    """Each page in turn: the log is refused, breaks when it is read, or is the same."""
    records = make_log(tmp_path / "sound")
    content = (tmp_path / "sound" / FILE).read_bytes()
    outcomes = set()
    for page in range(len(content) // 4096):
        folder = tmp_path / f"page-{page}"
        copy_log(tmp_path / "sound", folder)
        zero_page(folder, page)
        try:
            log = SqliteLog.open(folder)
        except LogError as error:
            assert "is damaged" in str(error)
            outcomes.add("refused")
            continue
        try:
            assert everything(log) == records, f"page {page} is gone, and nothing was said"
            outcomes.add("the same")
        except LogError:
            outcomes.add("broken")
        finally:
            log.close()
    assert "refused" in outcomes


@pytest.mark.parametrize("damage", SURVIVED, ids=lambda damage: damage.__name__)
def test_whatever_the_tail_loses_a_prefix_is_left(tmp_path: Path, damage: Damage) -> None:
    """Many cuts and flips of one write-ahead log; what can be read is always what was written first."""
    live = SqliteLog.open(tmp_path / "live")
    live.start_boot("first")
    written: list[Record] = []
    for seq in range(1, 120):
        written.append(Record("run", seq, "t", b'{"seq":%d,"text":"%s"}' % (seq, b"y" * 300)))
        live.commit(written[-1:])
    lengths = []
    for number in range(40):
        folder = tmp_path / f"copy-{number}"
        copy_log(tmp_path / "live", folder)
        damage(folder, random.Random(number))
        log = SqliteLog.open(folder)
        left = everything(log)
        assert left == written[: len(left)]
        assert log.tip() == len(left)
        lengths.append(len(left))
        log.close()
    live.close()
    assert all(length == 119 for length in lengths) if damage is junk_at_the_tail else min(lengths) < 119
    checkpoint(tmp_path / "live")
