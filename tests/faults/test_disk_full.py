"""No room for the log: peers hear `busy`, nobody is told what is not on the disk, and with room all of it goes on."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness import Eye, Place, start_of, until
from verdict import faults_of, faults_of_record

from felixhub.transport.control import HubRefused


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def may_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        if not mount("-t", "tmpfs", "-o", "size=64k", "fault-test", folder):
            return False
        subprocess.run(["umount", folder], check=True)
        return True


@contextmanager
def a_file_that_may_not_grow(place: Place) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    full = place.folder / "full"
    place.start_hub(script="small_disk_hub.py")
    yield full.touch, full.unlink


@contextmanager
def a_real_small_disk(place: Place) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    place.data.mkdir(mode=0o700)
    assert mount("-t", "tmpfs", "-o", "size=16m,mode=0700", "fault-test", str(place.data))
    ballast = place.data / "ballast"

    def fill() -> None:
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 4096):
                    pass
            except OSError:
                return

    try:
        place.start_hub()
        yield fill, ballast.unlink
    finally:
        place.the_hub.kill()
        subprocess.run(["umount", str(place.data)], check=True)


DISKS = {"max_page_count": a_file_that_may_not_grow} | ({"tmpfs": a_real_small_disk} if may_mount() else {})


def failed_commits(log: Path) -> int:
    """How many there were as of the log's last word on it; it does not repeat itself for each."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if '"commit_failed"' in line]
    return max((int(line["failed"]) for line in lines), default=0)


def refusal(place: Place, name: str) -> str:
    """The code with which a start is refused, "" if it was not."""
    with place.client() as client:
        try:
            client.request(start_of(name, seed=9, pieces=5))
        except HubRefused as error:
            return error.code
    return ""


@pytest.mark.parametrize("disk", DISKS)
def test_a_full_disk_loses_nothing_and_the_run_goes_on_when_there_is_room(place: Place, disk: str) -> None:
    with DISKS[disk](place) as (fill, make_room):
        place.start_team()
        run = place.start_run(1, pieces=50)
        watcher = place.watch(run, "early")
        with Eye(place, run) as eye:
            eye.wait_for("thought.partial", count=20)
            fill()
            hub = place.the_hub
            until(lambda: "commit_failed" in hub.said() or hub.exit is not None, 20.0, "the hub notices")
            assert hub.exit is None, hub.said()
            # A small event may still find a place in a page that is there already; soon none does.
            refused = iter(range(100))
            until(lambda: refusal(place, f"other-{next(refused)}") == "busy", 20.0, "a start is refused")
            code = refusal(place, "later")
            assert code == "busy", hub.said()
            until(lambda: failed_commits(hub.log) > 10, 20.0, "it tries again and again")
            make_room()
            eye.wait_for_end()
        assert hub.exit is None, hub.said()
        assert place.counters()["busy"] > 0
        assert watcher.wait(60.0) == 0, watcher.said()
        log = place.log_of(run)
        assert faults_of(log, place.truth) == []
        assert faults_of_record(place.records, run, "early", log, place.truth) == []
        assert eye.resets == 0
        starts = [line for line in log if b'"kind":"thought.started"' in line]
        assert len(starts) == 5, "nobody had to think again"
        assert refusal(place, "later") == ""  # The same command, now that there is room.
        place.the_hub.kill()
        place.start_hub()
        assert place.log_of(run) == log
        with Eye(place, "later") as eye:
            eye.wait_for_end()


def test_where_a_real_disk_can_be_made_it_is_used() -> None:
    assert set(DISKS) >= {"max_page_count"}
    assert ("tmpfs" in DISKS) is may_mount()


def test_a_hub_that_cannot_begin_says_so(place: Place) -> None:
    (place.folder / "data").write_text("a file where the directory belongs")
    place.start_hub(wait=False)
    assert place.the_hub.wait(20.0) == 2
    assert "felixhub: " in place.the_hub.said()
    assert Path(place.data).is_file()
