"""What a run's texts come to while they grow: words, and tokens per second, counted as the events go by.

Owns: figures that would cost a look at the whole text each time. Must not: read a clock, or know who looks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from felixhub.core.events import Event, ThoughtFinalized, ThoughtPartial
from felixhub.core.run import Run
from felixhub.core.thought import Thought

BUCKET_S = 1.0
BUCKETS_MAX = 3_600  # an hour; what is older is dropped from the curve, never from the sums
RATE_S = 3.0  # a rate is that of the last three seconds
SPREAD_S_MAX = 3_600.0


@dataclass(slots=True)
class Words:
    """The words and characters of a text that comes in pieces: a word cut in two is one."""

    count: int = 0
    characters: int = 0
    in_word: bool = False

    def take(self, text: str) -> None:
        if not text:
            return
        self.characters += len(text)
        self.count += len(text.split()) - (self.in_word and not text[:1].isspace())
        self.in_word = not text[-1:].isspace()


@dataclass(slots=True)
class Rate:
    """Tokens by second. `first` is the unix second of the oldest bucket."""

    first: int = 0
    buckets: deque[float] = field(default_factory=lambda: deque(maxlen=BUCKETS_MAX))

    def add(self, at: float, tokens: float) -> None:
        second = int(at // BUCKET_S)
        if not self.buckets:
            self.first = second
        if second < self.first:
            return  # Older than the curve, or a clock that was set back: the sums have it.
        self._reach(second)
        index = second - self.first
        if 0 <= index < len(self.buckets):
            self.buckets[index] += tokens

    def _reach(self, second: int) -> None:
        gap = second - (self.first + len(self.buckets)) + 1
        if gap > BUCKETS_MAX:
            self.buckets.clear()
            self.first, gap = second, 1
        for _ in range(gap):
            if len(self.buckets) == BUCKETS_MAX:
                self.first += 1
            self.buckets.append(0.0)

    def spread(self, start: float, end: float, tokens: int) -> None:
        """As if they had come evenly: for a text of which only the end was seen."""
        seconds = min(max(1, round((end - start) / BUCKET_S)), int(SPREAD_S_MAX))
        for number in range(seconds):
            self.add(start + number * BUCKET_S, tokens / seconds)

    def now(self, now: float) -> float:
        """Tokens per second, over the last `RATE_S` seconds."""
        until = int(now // BUCKET_S)
        window = int(RATE_S / BUCKET_S)
        return sum(self._at(until - back) for back in range(window)) / RATE_S

    def last(self, now: float, seconds: int) -> list[float]:
        """The last so many seconds, oldest first, zeros where there was nothing."""
        until = int(now // BUCKET_S)
        return [self._at(until - back) for back in range(seconds - 1, -1, -1)]

    def curve(self) -> tuple[int, list[float]]:
        """The unix second of the first value, and all values."""
        return self.first, list(islice(self.buckets, 0, None))

    def _at(self, second: int) -> float:
        index = second - self.first
        return self.buckets[index] if 0 <= index < len(self.buckets) else 0.0


class Meter:
    """Of one run: give it each event after the board took it. `over(run)` begins from a snapshot.

    `words` are by thought, `rates` by agent; `total` is the whole run's rate.
    """

    def __init__(self) -> None:
        self.words: dict[str, Words] = {}
        self.rates: dict[str, Rate] = {}
        self.total = Rate()
        self._tokens: dict[str, int] = {}  # by thought: what has been counted

    @classmethod
    def over(cls, run: Run) -> Meter:
        """A meter of what a snapshot brought. How its tokens came is not known: they are spread evenly."""
        meter = cls()
        # In the order of their starts, so that no bucket lies before the first.
        for thought in run.thoughts.values():
            meter._words_of(thought.id).take(str(thought.text))
            meter._tokens[thought.id] = thought.tokens
            if thought.tokens:
                start, end = _writing(thought)
                meter._rate_of(thought.started.agent).spread(start, end, thought.tokens)
                meter.total.spread(start, end, thought.tokens)
        return meter

    def take(self, event: Event) -> None:
        match event:
            case ThoughtPartial():
                if event.channel == "text":
                    self._words_of(event.thought).take(event.text)
                self._count(event, event.tokens)
            case ThoughtFinalized() if event.usage.completion_tokens and not event.usage.estimated:
                # The estimate was a little off; the curve keeps its shape.
                self._tokens[event.thought] = event.usage.completion_tokens

    def _count(self, event: ThoughtPartial, tokens: int) -> None:
        new = tokens - self._tokens.get(event.thought, 0)
        self._tokens[event.thought] = tokens
        if new > 0:
            self._rate_of(event.agent).add(event.at, new)
            self.total.add(event.at, new)

    def _words_of(self, thought: str) -> Words:
        return self.words.setdefault(thought, Words())

    def _rate_of(self, agent: str) -> Rate:
        return self.rates.setdefault(agent, Rate())


def _writing(thought: Thought) -> tuple[float, float]:
    """From the first token to the last, in unix seconds, as far as it is known."""
    started = thought.started.at
    if thought.final is not None:
        return started + (thought.final.first_token_s or 0.0), thought.final.at
    ended = thought.abandoned.at if thought.abandoned else thought.last_token_at
    return started, ended or started
