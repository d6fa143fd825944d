"""What the console says while nobody speaks: that agents think, reason unseen, stall, or wait for their turn.

A run that only a person can go on with says so too.

Owns: when a silence is worth a line. Must not: know how a line looks, or read a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from felixhub.core.messages import RunBeat
from felixhub.core.names import HUB
from felixhub.views import wording
from felixhub.views.console_filter import ConsoleFilter
from felixhub.views.console_sections import Sections

SILENCE_S = 2.0  # an agent that is silent for this long gets a line that says so,
PULSE_S = 5.0  # and then one each time this has passed
BEAT_S_MAX = 3.0  # an older beat says nothing about now: the hub is away
REMINDER_S = 60.0  # a run that waits for a person says so again
PULSES_MAX = 5  # more silent agents than this share one line


class Pulse(NamedTuple):
    """A line that says that somebody is silent. `said` are texts that stand side by side."""

    run: str
    agent: str
    said: list[str]
    is_stalled: bool = False


class _Silent(NamedTuple):
    run: str
    agent: str
    seconds: float
    sentence: str
    is_stalled: bool = False


@dataclass(slots=True)
class _Reasoning:
    """An agent whose reasoning goes on without being shown."""

    since: float
    tokens: int = 0
    tokens_said: int = 0


@dataclass(slots=True)
class _Waiting:
    """Agents of a run that cannot start yet: what was last said of them, and when."""

    since: float
    said: list[str] = field(default_factory=list)
    said_at: float | None = None


class Silences:
    def __init__(self, keep: ConsoleFilter, sections: Sections) -> None:
        self._keep = keep
        self._sections = sections
        self._awaiting: dict[str, tuple[frozenset[str], float]] = {}  # run -> sections told, and when
        self._over: set[str] = set()  # runs that have ended: a late beat says nothing about them
        self._ended: dict[tuple[str, str], str] = {}  # agent -> its last thought that has ended
        self._pulsed: dict[tuple[str, str], float] = {}  # agent -> when its silence was last said
        self._reasoning: dict[tuple[str, str], _Reasoning] = {}
        self._beats: dict[str, tuple[RunBeat, float]] = {}  # and when each was first seen
        self._waiting: dict[str, _Waiting] = {}

    def on_reasoning(self, run: str, agent: str, tokens: int, now: float) -> None:
        """`tokens` is an estimate of all so far."""
        self._reasoning.setdefault((run, agent), _Reasoning(now)).tokens = tokens

    def on_text(self, run: str, agent: str) -> None:
        self._reasoning.pop((run, agent), None)

    def on_end(self, run: str, agent: str, thought: str) -> None:
        self._ended[run, agent] = thought
        self._reasoning.pop((run, agent), None)

    def on_run_ended(self, run: str) -> None:
        self.forget(run)
        self._over.add(run)

    def forget(self, run: str) -> None:
        self._over.discard(run)
        self._beats.pop(run, None)
        self._waiting.pop(run, None)
        self._awaiting.pop(run, None)
        self._ended = {key: one for key, one in self._ended.items() if key[0] != run}
        self._pulsed = {key: one for key, one in self._pulsed.items() if key[0] != run}
        self._reasoning = {key: one for key, one in self._reasoning.items() if key[0] != run}

    def take_due(self, now: float, beats: Mapping[str, RunBeat]) -> list[Pulse]:
        """The silences to be told now: at most one per agent and `PULSE_S`, all in one when they are many."""
        silent = self._reasoning_due(now)
        waiting: list[Pulse] = []
        for run, beat in beats.items():
            if run in self._over:
                continue
            since = self._since(beat, now)
            if since <= BEAT_S_MAX:
                silent += self._silent_due(beat, since, now)
                waiting += self._waiting_due(beat, now)
                if self._sections.knows(run):  # Else it is another one than those that are shown.
                    waiting += self._awaiting_due(beat, now)
        if len(silent) <= PULSES_MAX:
            return [Pulse(one.run, one.agent, [one.sentence], one.is_stalled) for one in silent] + waiting
        longest = max(one.seconds for one in silent)
        sentence = f"silent, the longest for {longest:.0f} s: {wording.names([one.agent for one in silent], at_most=3)}"
        return [Pulse(silent[0].run, wording.count(len(silent), "agent"), [sentence]), *waiting]

    def _since(self, beat: RunBeat, now: float) -> float:
        """Seconds since this beat was first seen."""
        seen = self._beats.get(beat.run)
        if seen is None or seen[0] is not beat:
            seen = self._beats[beat.run] = (beat, now)
        return max(0.0, now - seen[1])

    def _may_pulse(self, run: str, agent: str, now: float) -> bool:
        last = self._pulsed.get((run, agent))
        if (last is not None and abs(now - last) < PULSE_S) or not self._keep.wants_agent(agent):
            return False
        self._pulsed[run, agent] = now
        return True

    def _reasoning_due(self, now: float) -> list[_Silent]:
        found = []
        for (run, agent), one in self._reasoning.items():
            seconds = now - one.since
            if seconds < SILENCE_S or one.tokens == one.tokens_said or not self._may_pulse(run, agent, now):
                continue
            one.tokens_said = one.tokens
            tokens = wording.count(one.tokens, "token", estimated=True)
            found.append(_Silent(run, agent, seconds, f"reasoning {tokens}"))
        return found

    def _silent_due(self, beat: RunBeat, since: float, now: float) -> list[_Silent]:
        found = []
        for busy in beat.agents:
            seconds = busy.silence_s + since
            if seconds < SILENCE_S or busy.state in ("waiting", "queued", "backing_off", "cancelling"):
                continue
            if busy.thought and self._ended.get((beat.run, busy.agent)) == busy.thought:
                continue  # A beat from before the end.
            if self._may_pulse(beat.run, busy.agent, now):
                is_stalled = busy.state == "stalled"
                state = (
                    "stalled, silent for" if is_stalled else "thinking" if busy.state == "thinking" else "silent for"
                )
                found.append(_Silent(beat.run, busy.agent, seconds, f"{state} {seconds:.0f} s", is_stalled))
        return found

    def _waiting_due(self, beat: RunBeat, now: float) -> list[Pulse]:
        """One line about all agents that cannot start yet; again when it is another one."""
        wanted = [busy for busy in beat.agents if self._keep.wants_agent(busy.agent)]
        queued = [busy.agent for busy in wanted if busy.state == "queued"]
        absent = [busy.agent for busy in wanted if busy.state == "waiting"]
        if not queued and not absent:
            self._waiting.pop(beat.run, None)
            return []
        waiting = self._waiting.setdefault(beat.run, _Waiting(now))
        if now - waiting.since < SILENCE_S or (waiting.said_at is not None and now - waiting.said_at < PULSE_S):
            return []
        said = [f"queued for a model: {wording.names(queued)}"] if queued else []
        said += [f"waiting for a worker: {wording.names(absent)}"] if absent else []
        if said == waiting.said:
            return []
        waiting.said, waiting.said_at = said, now
        return [Pulse(beat.run, HUB, said)]

    def _awaiting_due(self, beat: RunBeat, now: float) -> list[Pulse]:
        """That the run waits for a person and nobody thinks: once, again when more has been written, and seldom."""
        if not beat.awaiting or any(busy.thought for busy in beat.agents) or not self._keep.wants_agent(HUB):
            self._awaiting.pop(beat.run, None)
            return []
        told, since = self._awaiting.get(beat.run, (frozenset(), now))
        if told.issuperset(beat.awaiting) and now - since < REMINDER_S:
            return []
        self._awaiting[beat.run] = (told.union(beat.awaiting), now)
        sections = self._sections.titles(beat.run, beat.awaiting)
        return [Pulse(beat.run, HUB, [f"waiting for a person: {sections}", self._sections.approved(beat.run)])]
