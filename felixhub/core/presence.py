"""Who is there: the worker sessions, their agents and when each was last heard.

Soft state: it is not in the log and a restart forgets it, so nothing durable may depend on it but through an event.
Owns: leases, fences and throttled endpoints. Must not: know thoughts or stages.
"""

from __future__ import annotations

from dataclasses import dataclass

from felixhub.core.events import WorkerInfo
from felixhub.core.limits import Limits

FENCED_KEPT_MAX = 10_000
RETURN_S = 5.0  # a worker that lives finds the restarted hub within this
THROTTLES_MAX = 1_000
THROTTLE_S = 30.0  # how long a lowered concurrency lasts, from when the endpoint may be asked again
RETRY_AFTER_S_MAX = 600.0  # a server that asks for more is tried all the same


@dataclass(slots=True)
class Session:
    """One life of a worker process. `here` is False between a hub's restart and the worker's first hello to it."""

    worker: WorkerInfo
    agents: tuple[str, ...]
    heard_at: float
    here: bool = True


@dataclass(slots=True)
class Throttle:
    """Nothing before `closed_until`, then at most `concurrent_max` at once until `until`."""

    concurrent_max: int
    closed_until: float
    until: float


class Presence:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.sessions: dict[str, Session] = {}
        self._session_of: dict[str, str] = {}
        self._fenced: dict[str, None] = {}
        self._throttles: dict[str, Throttle] = {}

    def join(self, worker: WorkerInfo, agents: tuple[str, ...], now: float) -> None:
        self.sessions[worker.session] = Session(worker, agents, now)
        for agent in agents:
            self._session_of[agent] = worker.session

    def expect(self, worker: WorkerInfo, agents: tuple[str, ...], now: float) -> None:
        """After a restart: this session held the agents before; its lease runs from now."""
        self.join(worker, agents, now)
        self.sessions[worker.session].here = False

    def heard(self, session: str, now: float) -> None:
        known = self.sessions.get(session)
        if known:
            known.heard_at = now

    def leave(self, session: str, *, fenced: bool = False) -> None:
        gone = self.sessions.pop(session, None)
        for agent in gone.agents if gone else ():
            if self._session_of.get(agent) == session:
                del self._session_of[agent]
        if fenced:
            self._fenced[session] = None
            while len(self._fenced) > FENCED_KEPT_MAX:
                del self._fenced[next(iter(self._fenced))]

    def is_fenced(self, session: str) -> bool:
        return session in self._fenced

    def session_of(self, agent: str) -> str | None:
        """The session that last took this agent, heard in this life of the hub or not."""
        return self._session_of.get(agent)

    def worker_for(self, agent: str) -> WorkerInfo | None:
        """The worker that can take an assignment for this agent now."""
        session = self.sessions.get(self._session_of.get(agent, ""))
        return session.worker if session and session.here else None

    def may_come(self, agent: str, now: float) -> bool:
        """Whether this agent has a worker, or had one before the hub's restart that may still say hello again."""
        session = self.sessions.get(self._session_of.get(agent, ""))
        return session is not None and (session.here or now - session.heard_at < RETURN_S)

    def extend(self, seconds: float) -> None:
        """The hub itself was slow: nobody else pays for it."""
        for session in self.sessions.values():
            session.heard_at += seconds

    def overdue(self, now: float) -> list[str]:
        """The sessions whose lease has run out."""
        return [name for name, one in self.sessions.items() if now - one.heard_at > self._limits.lease_s]

    # ---- endpoints that answered 429 ----

    def throttle(self, endpoint: str, *, open_now: int, retry_after_s: float, now: float) -> None:
        """Close the endpoint for as long as it asked, then lower it to half of what is open, at least 1, for a while.

        What is open stays so: its worker waits by itself.
        """
        self._throttles = {name: one for name, one in self._throttles.items() if now < one.until}
        if endpoint not in self._throttles and len(self._throttles) >= THROTTLES_MAX:
            return
        closed_until = now + min(retry_after_s, RETRY_AFTER_S_MAX)
        if before := self._throttles.get(endpoint):
            closed_until = max(closed_until, before.closed_until)
        self._throttles[endpoint] = Throttle(max(1, open_now // 2), closed_until, closed_until + THROTTLE_S)

    def is_throttled(self, endpoint: str, now: float) -> bool:
        throttle = self._throttles.get(endpoint)
        return throttle is not None and now < throttle.until

    def concurrent_max(self, endpoint: str, configured: int, now: float) -> int:
        if not self.is_throttled(endpoint, now):
            return configured
        throttle = self._throttles[endpoint]
        return 0 if now < throttle.closed_until else min(configured, throttle.concurrent_max)
