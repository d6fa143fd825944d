"""What a fault of the soak is. Each module of faults exports `FAULTS`, a tuple of them; `soak.py` lists the modules.

    from fault import Fault, Place, hold     # `hold`: let a fault last, and end early when the soak is told to stop

A fault is blocking: it does its harm, lets it last, heals it, and says in one line what it did. What it may use of a
place: `place.roles["hub"]` (and every worker) with `lock`, `kill`, `revive`, `freeze`, `thaw`, `restart(failpoint=…,
script=…)`, `place.folder`, `place.data`, `place.client()`, `place.connection()`, `place.proxy`, `place.current_run()`.
"""

from __future__ import annotations

import random
import time
from typing import Protocol

from soak_place import SoakPlace as Place

__all__ = ["Fault", "Place", "hold"]


class Fault(Protocol):
    name: str  # "hub.sigkill": before the dot what it is done to

    def possible(self) -> str:
        """Empty if it can be done on this machine, else why not; the report says so."""
        ...

    def strike(self, place: Place, dice: random.Random) -> str:
        """Do it, let it last, heal it; one line of what was done. At most about 15 s."""
        ...


def hold(place: Place, seconds: float) -> None:
    """Time is the fault here: let it pass."""
    over = time.monotonic() + seconds
    while (left := over - time.monotonic()) > 0 and not place.stopping.wait(min(left, 0.1)):
        pass
