"""Faults of processes: SIGKILL at random and at every failpoint, SIGSTOP for less and for more than a lease.

A process that is added to a place's roles (a gateway, say) is one more line in `FAULTS`.
"""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass

from fault import Fault, Place, hold
from harness import WRITER, until
from soak_place import LEASE_S, REAL_AGENTS, SCRIBES

from felixhub.failpoint import NAMES

SHORT_S = (0.2, 1.5)  # within a lease
LONG_S = (LEASE_S + 1.0, LEASE_S + 3.0)
DIES_S = 13.0  # how long a failpoint may take to be passed often enough
PASSINGS = {
    "hub.while_paging": (1, 8),
    "hub.after_command": (1, 1),
    "worker.before_first_text": (1, 1),
    "worker.mid_stream": (2, 30),
    "worker.before_finalize": (1, 1),
}
FENCED_S = 12.0


@dataclass(frozen=True)
class Sigkill:
    """kill -9, and again at once now and then: a process that dies while it comes up."""

    name: str
    roles: tuple[str, ...]

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        role = place.roles[dice.choice([name for name in self.roles if name in place.roles])]
        away_s = dice.choice((0.0, 0.0, dice.uniform(0.5, 2.5)))
        times = dice.choice((1, 1, 1, 2))
        with role.lock:
            for _ in range(times):
                role.kill()
                hold(place, away_s)
                role.revive()
        return f"{role.name} killed {times} ×, away for {away_s:.1f} s"


@dataclass(frozen=True)
class Together:
    """The hub and a worker at the same moment: what was acknowledged is then nowhere but on the disk."""

    name: str = "hub.sigkill_with_worker"

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        hub, worker = place.roles["hub"], place.roles[dice.choice(place.workers)]
        with hub.lock, worker.lock:
            hub.kill()
            worker.kill()
            hub.revive()
            worker.revive()
        return f"hub and {worker.name} killed"


@dataclass(frozen=True)
class AtFailpoint:
    """kill -9 at one exact place in the code."""

    name: str
    failpoint: str
    roles: tuple[str, ...]

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        role = place.roles[dice.choice([name for name in self.roles if name in place.roles])]
        setting = f"{self.failpoint}:{dice.randint(*PASSINGS.get(self.failpoint, (3, 60)))}"
        with role.lock:
            role.restart(failpoint=setting)
            over = False
            process = role.the_process
            for _ in range(int(DIES_S / 0.2)):
                if process.exit is not None or place.stopping.is_set():
                    break
                hold(place, 0.2)
            over = process.exit is not None
            if not over:
                role.kill()  # It never came there; this life must not end at some later time.
            else:
                role.kills += 1
            role.revive()
        return f"{role.name} died at {setting}" if over else f"{role.name} did not come to {setting}; killed"


@dataclass(frozen=True)
class Stopped:
    """SIGSTOP for a while: short is within a lease, long is beyond it."""

    name: str
    roles: tuple[str, ...]
    seconds: tuple[float, float]

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        role = place.roles[dice.choice([name for name in self.roles if name in place.roles])]
        seconds = dice.uniform(*self.seconds)
        with role.lock:
            role.freeze()
            hold(place, seconds)
            role.revive()
        return f"{role.name} stopped for {seconds:.1f} s"


@dataclass(frozen=True)
class Replaced:
    """A worker is stopped past its lease, another one takes its agent, then it goes on: it must be fenced."""

    name: str
    roles: tuple[str, ...]

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        role = place.roles[dice.choice([name for name in self.roles if name in place.roles])]
        with role.lock:
            if not role.lives:
                return f"{role.name} was not there"
            role.freeze()
            hold(place, dice.uniform(*LONG_S))
            late = role.replace()
            hold(place, dice.uniform(1.0, 2.0))
            role.thaw()
        # The hub may be away just now; that it ends is judged when all is healed.
        for _ in range(int(FENCED_S / 0.2)):
            if late.exit is not None or place.stopping.is_set():
                break
            hold(place, 0.2)
        how = "was fenced" if late.exit == 1 else f"ended with {late.exit}" if late.exit is not None else "lives yet"
        return f"{role.name} stopped past its lease and replaced; the late one {how}"


@dataclass(frozen=True)
class StoppedSubscriber:
    name: str = "subscriber.sigstop"

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        living = place.living_onlookers()
        if not living:
            return "nobody was watching"
        process = dice.choice(living)
        seconds = dice.uniform(1.0, 6.0)
        process.signal(signal.SIGSTOP)
        hold(place, seconds)
        process.signal(signal.SIGCONT)
        return f"{process.name} stopped for {seconds:.1f} s"


@dataclass(frozen=True)
class Storm:
    """200 bare subscribers and three real ones at once, and again when the hub has been killed under them."""

    name: str = "subscriber.storm"
    count: int = 200

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        kills = dice.random() < 0.5
        storm = place.storm(self.count, beats=2 if kills else 1)
        if kills:
            until(lambda: "came" in storm.out.read_text() or storm.exit is not None, 60.0, "the storm comes")
            with place.roles["hub"].lock:
                place.roles["hub"].kill()
                place.roles["hub"].revive()
        code = storm.wait(70.0)
        assert code == 0, f"the storm was not served: {storm.said()} {storm.out.read_text()}"
        return f"{self.count} subscribers at once{', the hub killed under them' if kills else ''}"


WORKERS = (*REAL_AGENTS, *SCRIBES)


def _at(failpoint: str) -> AtFailpoint:
    what, place = failpoint.split(".")
    return AtFailpoint(f"{what}.at_{place}", failpoint, ("hub",) if what == "hub" else REAL_AGENTS)


FAULTS: tuple[Fault, ...] = (
    Sigkill("hub.sigkill", ("hub",)),
    Sigkill("worker.sigkill", WORKERS),
    Sigkill("synthesizer.sigkill", (WRITER,)),
    Together(),
    *(_at(name) for name in sorted(NAMES)),
    Stopped("hub.sigstop_short", ("hub",), SHORT_S),
    Stopped("hub.sigstop_long", ("hub",), LONG_S),
    Stopped("worker.sigstop_short", WORKERS, SHORT_S),
    Stopped("worker.sigstop_long", WORKERS, LONG_S),
    Replaced("worker.replaced", WORKERS),
    StoppedSubscriber(),
    Storm(),
)
