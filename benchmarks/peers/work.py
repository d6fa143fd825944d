"""The work that every system of the comparison does, and the check that it was done.

Owns: what is sent and when, what a subscriber keeps, and what counts as lost, doubled or changed. Must not: know a
system. Times are `time.monotonic_ns`, which the processes of one machine share.

A message is the partial as FelixHub's workers send it (JSON: thought, offset, text …), the same bytes for every peer.
While messages flow a subscriber only keeps them; texts are put together and hashed afterwards, so that no system's
figures hold the cost of the check. A system may deliver several partials of a thought as one message: what counts is
their text, and a partial has `PARTIAL_BYTES` of it (a subscriber of such a system reads each message to count them).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Any

from felixhub.core.messages import Partial

PARTIAL_BYTES = 100
STAMP_DIGITS = 20
BATCH = 200
FIRST_TOKEN_GAP_S = 0.02
LOOK_S = 0.02
IDLE_S = 2.0  # after this long without a message nothing more is expected

Said = tuple[int, str]  # an agent's number, and the text it says


@dataclass(frozen=True, slots=True)
class Sent:
    """A thought's text as it was sent: how many partials, and their SHA-256."""

    partials: int
    sha256: str


@dataclass(slots=True)
class _Text:
    thought: str
    length: int = 0
    partials: int = 0
    hash: Any = field(default_factory=hashlib.sha256)


class Texts:
    """What a publisher's agents have said: encodes partials, and remembers what was in them."""

    def __init__(self, agents: int) -> None:
        self._texts = [_Text(f"t{number}-abcd") for number in range(agents)]

    def encode(self, said: Said) -> bytes:
        number, text = said
        one = self._texts[number]
        partial = Partial(thought=one.thought, offset=one.length, text=text, tokens=one.length // 4)
        data = text.encode()
        one.hash.update(data)
        one.length += len(data)
        one.partials += 1
        return partial.encode()

    def sent(self) -> dict[str, Sent]:
        return {one.thought: Sent(one.partials, one.hash.hexdigest()) for one in self._texts if one.partials}


# ---- what is said, and when ------------------------------------------------------------------------------------------


def stamped(due_ns: int) -> str:
    """A text that begins with the time at which the publisher had it."""
    return f"{due_ns:0{STAMP_DIGITS}d}".ljust(PARTIAL_BYTES, ".")


def flood(agents: int, count: int, seconds_max: float) -> Iterator[list[Said]]:
    """As fast as it goes: batches of one agent after another, until so many are sent or so long has passed."""
    ends_at = time.monotonic() + seconds_max
    for first in range(0, count, BATCH):
        if time.monotonic() >= ends_at:
            return
        numbers = range(first, min(first + BATCH, count))
        yield [(number % agents, f"{number:08d}".ljust(PARTIAL_BYTES, ".")) for number in numbers]


def paced(agents: int, hz: float, seconds: float) -> Iterator[float | list[Said]]:
    """Every agent says a partial `hz` times a second, one agent after another: seconds to wait, or what is due.

    The stamp is the time at which a partial was due, not that at which the publisher came to it: a publisher that was
    held up is late for what fell due meanwhile, and that is part of the latency.
    """
    gap_ns = 1e9 / (hz * agents)
    began_ns = time.monotonic_ns()
    number, count = 0, int(seconds * hz * agents)
    while number < count:
        due: list[Said] = []
        now_ns = time.monotonic_ns()
        while number < count and (due_ns := int(began_ns + number * gap_ns)) <= now_ns:
            due.append((number % agents, stamped(due_ns)))
            number += 1
        if due:
            yield due
        elif number < count:
            yield (began_ns + number * gap_ns - now_ns) / 1e9


def first_tokens(agents: int) -> Iterator[float | list[Said]]:
    """The first token of every agent's thought, one at a time, while nothing else goes on."""
    for number in range(agents):
        yield FIRST_TOKEN_GAP_S
        yield [(number, stamped(time.monotonic_ns()))]


# ---- what a subscriber keeps -----------------------------------------------------------------------------------------


class Tally:
    """What one subscriber was given. It is over once the publisher's count is there, or nothing comes any more."""

    def __init__(self, pipe: Pipe) -> None:
        self.partials_of: Callable[[Any], int] | None = None  # None: every message is one partial
        self._pipe = pipe
        self._partials = 0
        self._total: int | None = None
        self._look_at = 0.0
        self._told_ns = 0
        self.raws: list[Any] = []
        self.times_ns: list[int] = []

    def ready(self) -> None:
        """Say that from now on nothing is missed."""
        self._pipe.send(None)

    def take(self, raw: Any) -> None:
        self.times_ns.append(time.monotonic_ns())
        self.raws.append(raw)
        self._partials += 1 if self.partials_of is None else self.partials_of(raw)

    def over(self) -> bool:
        if self._total is None:
            # Asking a pipe costs more than receiving a message does.
            if (now := time.monotonic()) < self._look_at:
                return False
            self._look_at = now + LOOK_S
            if not self._pipe.poll(0):
                return False
            self._total = self._pipe.recv()
            self._told_ns = time.monotonic_ns()
        if self._partials >= self._total:
            return True
        last_ns = max(self._told_ns, self.times_ns[-1] if self.times_ns else 0)
        return time.monotonic_ns() - last_ns > IDLE_S * 1e9


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with what one subscriber was given: partials, and thoughts whose text is another one."""

    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    wrong_thoughts: int = 0

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.wrong_thoughts)

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.reordered + other.reordered,
            self.wrong_thoughts + other.wrong_thoughts,
        )


def partials_in(text: str) -> int:
    """How many partials of the work a text is made of."""
    return len(text) // PARTIAL_BYTES


def check(received: Iterable[tuple[str, int, str]], sent: dict[str, Sent]) -> Verdict:
    """Compare (thought, offset in bytes, text) as they came with what was sent."""
    parts: dict[str, list[tuple[int, str]]] = {thought: [] for thought in sent}
    furthest = dict.fromkeys(sent, 0)
    reordered = strange = 0
    for thought, offset, text in received:
        if thought not in parts:
            strange += 1
            continue
        reordered += offset < furthest[thought]
        furthest[thought] = max(furthest[thought], offset)
        parts[thought].append((offset, text))
    lost = doubled = wrong = 0
    for thought, found in parts.items():
        whole, end = [], 0
        for offset, text in sorted(found):
            again = min(max(0, end - offset), len(text))
            doubled += again // PARTIAL_BYTES
            whole.append(text[again:])
            end = max(end, offset + len(text))
        got = "".join(whole)
        lost += max(0, sent[thought].partials - partials_in(got))
        wrong += hashlib.sha256(got.encode()).hexdigest() != sent[thought].sha256
    return Verdict(lost, doubled, reordered, wrong + strange)


def latencies_ms(received: Iterable[tuple[str, int, str]], times_ns: Iterable[int]) -> list[tuple[int, float]]:
    """Of every stamped partial: when the publisher had it (ns), and how long it took."""
    samples = []
    for (_, _, text), at_ns in zip(received, times_ns, strict=True):
        for start in range(0, len(text), PARTIAL_BYTES):
            stamp = text[start : start + STAMP_DIGITS]
            if stamp.isdigit():
                due_ns = int(stamp)
                samples.append((due_ns, (at_ns - due_ns) / 1e6))
    return samples
