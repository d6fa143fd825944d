"""The nemesis: draws faults, one at a time and now and then two at once, with healthy pauses between.

Owns: which fault comes when (told by the seed alone) and the tally. Must not: know what a fault does.
"""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence

from fault import Fault, Place, hold

PAUSE_S = (0.5, 2.5)
TWO_AT_ONCE = 0.2
MISSED = ("did not come to", "never came", "nobody was watching", "was not there")  # it found nothing to strike
COMPANIONS = ("worker", "synthesizer", "proxy", "subscriber")  # may strike beside one of another kind


class Nemesis:
    def __init__(self, place: Place, faults: Sequence[Fault], seed: int, *, say: Callable[[str], None]) -> None:
        self.struck: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.troubles: list[str] = []  # faults that could not be healed
        self._place = place
        self._faults = list(faults)
        self._dice = random.Random(f"nemesis/{seed}")
        self._say = say
        self._deck: list[Fault] = []
        self._lock = threading.Lock()

    def run(self) -> None:
        """Until the place is stopping. Every fault comes once before any comes again."""
        hold(self._place, self._dice.uniform(*PAUSE_S))
        while not self._place.stopping.is_set():
            first = self._draw()
            companion = self._companion(first) if self._dice.random() < TWO_AT_ONCE else None
            threads = [
                threading.Thread(target=self._strike, args=(fault, random.Random(self._dice.random())), name=fault.name)
                for fault in (first, companion)
                if fault is not None
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            hold(self._place, self._dice.uniform(*PAUSE_S))

    def _draw(self) -> Fault:
        if not self._deck:
            self._deck = self._dice.sample(self._faults, len(self._faults))
        return self._deck.pop()

    def _companion(self, first: Fault) -> Fault | None:
        """Another one, done to something else: two that end and start the same process would only wait."""
        about = first.name.split(".")[0]
        fitting = [one for one in self._faults if (kind := one.name.split(".")[0]) in COMPANIONS and kind != about]
        return self._dice.choice(fitting) if fitting else None

    def _strike(self, fault: Fault, dice: random.Random) -> None:
        began = time.monotonic()
        self._place.history.note("fault.begins", fault=fault.name)
        try:
            told = fault.strike(self._place, dice)
            with self._lock:
                (self.missed if any(words in told for words in MISSED) else self.struck)[fault.name] += 1
        except Exception as error:  # noqa: BLE001  (a fault that cannot be healed is a finding, not the soak's end)
            told = f"FAILED: {type(error).__name__}: {error}"
            self._place.history.note("fault.failed", fault=fault.name, why=traceback.format_exc())
            with self._lock:
                self.troubles.append(f"{fault.name} was not healed: {str(error)[-800:]}")
        self._place.history.note("fault.ends", fault=fault.name, did=told)
        self._say(f"{fault.name}: {told} ({time.monotonic() - began:.1f} s)")
