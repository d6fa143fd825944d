"""Which workers to start for the agents that are wanted, which to let go, and whom to do without. Pure.

Owns: how agents are shared out over processes, and what beats say about who is missing. Must not: know how a process
is started, or read a clock: `now` is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from felixhub.core.messages import RunBeat

BEAT_STALE_S = 3.0  # a run that has not been in a beat for this long wants nobody
LEAVE_S = 1.0  # an agent between two of its thoughts is not idle yet
GIVEN_UP_S = 60.0


def share_out(wanted: Iterable[str], *, per_worker: int, places: int) -> list[tuple[str, ...]]:
    """Groups of agents, one per new worker: `per_worker` each, more when there are too few places. Keeps the order."""
    names = list(dict.fromkeys(wanted))
    if not names or places <= 0:
        return []
    size = max(per_worker, -(-len(names) // places))
    return [tuple(names[start : start + size]) for start in range(0, len(names), size)]


def who_goes(busy_at: Mapping[int, float], *, places: int, now: float) -> list[int]:
    """Which workers make room for `places` others, by when each was busy last: the oldest idle first, no more."""
    idle = sorted((at, worker) for worker, at in busy_at.items() if now - at > LEAVE_S)
    return [worker for _, worker in idle[:places]]


class Wants:
    """Who is wanted, by the runs' last beats, and for how long."""

    def __init__(self) -> None:
        self._beats: dict[str, tuple[RunBeat, float]] = {}
        self._since: dict[str, tuple[float, float]] = {}  # agent -> the first and the last beat of those in a row

    def take(self, beat: RunBeat, now: float) -> None:
        self._beats[beat.run] = (beat, now)
        wanted = set(self.agents(now))
        self._since = {agent: times for agent, times in self._since.items() if agent in wanted}
        for one in beat.wanted:
            self._since[one.agent] = (self._since.get(one.agent, (now, now))[0], now)

    def forget(self) -> None:
        """The hub has ended: what it said last is no sign of anything."""
        self._beats.clear()
        self._since.clear()

    def count_again(self, agents: Iterable[str]) -> None:
        for agent in agents:
            self._since.pop(agent, None)

    def agents(self, now: float) -> list[str]:
        """Everybody who is wanted by some run, now or later."""
        return [agent for _, agent in self.by_run(now)]

    def by_run(self, now: float) -> list[tuple[str, str]]:
        """The same as pairs of a run and an agent."""
        self._beats = {run: seen for run, seen in self._beats.items() if now - seen[1] < BEAT_STALE_S}
        return [(run, one.agent) for run, (beat, _) in self._beats.items() for one in beat.wanted]

    def seconds(self, agent: str) -> float:
        """From the first to the last of the beats in a row that wanted the agent: silence of the hub does not count."""
        first, last = self._since.get(agent, (0.0, 0.0))
        return last - first

    def named(self) -> set[str]:
        """Everybody who does something in a run, or has to wait before doing it."""
        return {one.agent for beat, _ in self._beats.values() for one in beat.agents}

    def needed_now(self) -> set[str]:
        """Everybody whose missing worker is all that a thought waits for."""
        return {one.agent for beat, _ in self._beats.values() for one in beat.agents if one.state == "waiting"}


@dataclass(slots=True)
class _GivenUp:
    until: float
    why: str


class GivenUp:
    """Agents to do without for a minute: every run that wants one of them meanwhile has to be told."""

    def __init__(self) -> None:
        self._agents: dict[str, _GivenUp] = {}
        self._told: set[tuple[str, str]] = set()

    def add(self, agents: Iterable[str], why: str, now: float) -> None:
        for agent in agents:
            self._agents[agent] = _GivenUp(now + GIVEN_UP_S, why)
            self._told = {pair for pair in self._told if pair[1] != agent}

    def has(self, agent: str, now: float) -> bool:
        found = self._agents.get(agent)
        return found is not None and now < found.until

    def to_tell(self, wants: Iterable[tuple[str, str]], now: float) -> list[tuple[str, str, str]]:
        """The run, the agent and why, of everything that has not been told yet."""
        return [
            (run, agent, self._agents[agent].why)
            for run, agent in wants
            if self.has(agent, now) and (run, agent) not in self._told
        ]

    def told(self, run: str, agent: str) -> None:
        self._told.add((run, agent))
