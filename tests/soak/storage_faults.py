"""Faults of what the hub stands on: the disk under its log, the files of it, the clock, memory and descriptors.

Those of the disk and the clock need a hub that was started with `tests/faults/faulty.c` before it. Nothing here may
cost what was acknowledged, so damage is done to a log only if it must be refused, and is taken back.
"""

from __future__ import annotations

import random
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import neighbours  # noqa: F401
from damage import REFUSED, copy_log, junk_at_the_tail
from fault import Fault, Place, hold
from faulty import FAIL_AT, KILL_AFTER, KILL_BEFORE, Faulty, why_not
from harness import AGENTS, WRITER, until
from vitals import descriptors, limit_memory

COMMIT_S = 8.0  # within this the hub commits something, even between two runs
DIE_S = 10.0


@contextmanager
def hub_with_shim(place: Place) -> Iterator[Faulty]:
    """A hub with the shim before it, which nobody else brings back meanwhile; a living and honest one afterwards."""
    role = place.roles["hub"]
    shim = Faulty(place.folder / "faulty")
    with role.lock:
        try:
            role.kill()
            shim.rest()
            shim.begin(place.data)
            role.restart(**shim.environ)
            role.doom()
            yield shim
        finally:
            shim.rest()
            shim.fill(full=False)
            shim.jump(0)
            role.revive()
            shim.close()


def dies(place: Place, seconds: float) -> int | None:
    """The exit code of the hub when it has died; None when nothing had it die in time."""
    hub = place.roles["hub"].the_process
    try:
        until(lambda: hub.exit is not None or place.stopping.is_set(), seconds, "the hub dies")
    except AssertionError:
        return None
    return hub.exit


class FullDisk:
    name = "disk.full"

    def possible(self) -> str:
        return why_not()

    def strike(self, place: Place, dice: random.Random) -> str:
        seconds = dice.uniform(1.0, 4.0)
        with hub_with_shim(place) as shim:
            hold(place, 0.5)
            shim.fill(full=True)
            hold(place, seconds)
            shim.fill(full=False)
            hub = place.roles["hub"].the_process
            assert hub.exit is None, f"a full disk ended the hub: {hub.said()}"
            refused = hub.said().count('"commit_failed"')
        return f"no space for {seconds:.1f} s, {'commits failed' if refused else 'nobody wanted to write'}"


class FailingFsync:
    name = "disk.fsync_fails"

    def possible(self) -> str:
        return why_not()

    def strike(self, place: Place, dice: random.Random) -> str:
        nth = dice.randint(1, 12)
        with hub_with_shim(place) as shim:
            hub = place.roles["hub"].the_process
            shim.aim(FAIL_AT, kind="wal", number=nth)
            code = dies(place, COMMIT_S)
            if code is None:
                return f"fsync {nth} never came"
            said = hub.said()
            assert code == 1, f"the hub ended with {code} after a failed fsync: {said}"
            assert "log_broken" in said, f"the hub does not say why it ended: {said}"
        return f"fsync {nth} failed, the hub ended with 1"


class PowerCut:
    name = "disk.power"

    def possible(self) -> str:
        return why_not()

    def strike(self, place: Place, dice: random.Random) -> str:
        nth, written = dice.randint(1, 30), dice.choice((0.0, 0.5, 1.0))
        what = dice.choice((KILL_BEFORE, KILL_AFTER))
        with hub_with_shim(place) as shim:
            shim.aim(what, kind="wal", number=nth)
            code = dies(place, COMMIT_S)
            if code is None:
                return f"fsync {nth} never came"
            assert code == -signal.SIGKILL, place.roles["hub"].the_process.said()
            lost = shim.lose_power(place.data, dice, written=written)
        return f"power failed {'before' if what == KILL_BEFORE else 'after'} fsync {nth}, {lost} unsynced sectors gone"


class JumpingClock:
    name = "clock.jumps"

    def possible(self) -> str:
        return why_not()

    def strike(self, place: Place, dice: random.Random) -> str:
        offset = dice.choice((3_600, -86_400))
        again = dice.random() < 0.5
        with hub_with_shim(place) as shim:
            hold(place, 0.5)
            shim.jump(offset)
            hold(place, dice.uniform(0.5, 2.0))
            if again:
                place.roles["hub"].restart(**shim.environ)
                place.roles["hub"].doom()
                hold(place, dice.uniform(0.5, 2.0))
            hub = place.roles["hub"].the_process
            assert hub.exit is None, f"a jump of the clock ended the hub: {hub.said()}"
        return f"the hub's clock was {offset:+} s off for a while{', across a restart' if again else ''}"


class DamagedLog:
    name = "log.damaged"

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        damage = dice.choice(REFUSED)
        role, kept = place.roles["hub"], place.folder / "kept"
        with role.lock:
            role.kill()
            copy_log(place.data, kept)
            try:
                damage(place.data, dice)
                place.start_hub(wait=False)
                hub = place.the_hub
                code, said = hub.wait(DIE_S), hub.said()
            finally:
                copy_log(kept, place.data)
                (place.data / "log.sqlite3-shm").unlink(missing_ok=True)
                role.revive()
            assert code == 2, f"after {damage.__name__} the hub ended with {code}: {said}"
            assert "is damaged" in said, f"after {damage.__name__} the hub does not say so: {said}"
        return f"{damage.__name__}: refused; the log was put back"


class UnfinishedWrite:
    name = "log.junk"

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        role = place.roles["hub"]
        with role.lock:
            role.kill()
            if (place.data / "log.sqlite3-wal").exists():
                junk_at_the_tail(place.data, dice)
            role.revive()
        return "junk behind the write-ahead log"


class NoMemory:
    name = "hub.memory"

    def possible(self) -> str:
        return "" if sys.platform == "linux" else "limits of another process are set by Linux alone"

    def strike(self, place: Place, dice: random.Random) -> str:
        role, more = place.roles["hub"], dice.choice((0, 500_000, 4_000_000))
        with role.lock:
            role.doom()
            hub = role.the_process
            if hub.exit is None:
                limit_memory(hub.pid, more)
                hold(place, dice.uniform(1.0, 4.0))
            died = hub.exit is not None
            if not died:
                limit_memory(hub.pid, None)
            role.revive()
        return f"{more} bytes of memory left, the hub {f'ended with {hub.exit}' if died else 'lived on'}"


class NoDescriptors:
    """Of a worker that is a `felixhub agent`. Shorter than its stages' tries last."""

    name = "worker.descriptors"

    def possible(self) -> str:
        return "" if sys.platform == "linux" else "limits of another process are set by Linux alone"

    def strike(self, place: Place, dice: random.Random) -> str:
        role = place.roles[dice.choice([name for name in place.roles if name in (*AGENTS, WRITER)])]
        with role.lock:
            role.doom()
            process = role.the_process
            if process.exit is None:
                soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (descriptors(process.pid), hard))
                hold(place, dice.uniform(0.3, 1.0))
                if process.exit is None:
                    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))
            role.revive()
        return f"{role.name} could open nothing for a second"


FAULTS: tuple[Fault, ...] = (
    FullDisk(),
    FailingFsync(),
    PowerCut(),
    JumpingClock(),
    DamagedLog(),
    UnfinishedWrite(),
    NoMemory(),
    NoDescriptors(),
)
