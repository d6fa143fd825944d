"""CentralPost: the hub's memory and rules. It decides; the shell around it does.

    events, effects = post.decide(message, session, now)   changes nothing
    post.apply(event)                                      folds one event into memory; nothing else does
    post.advance(now) / post.expire(now)                   what is due of itself: assignments, ends, leases

Durable memory (`memory.py`) is a fold over the log: a restart is `apply` over unfinished runs. Presence (who is
connected) is soft and is told through `observe`. The rules are in `writing`, `sessions`, `commands` and `engine`.
Owns: putting them together. Must not: do I/O, read a clock, draw a random number, log.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from felixhub.core import briefing, commands, ending, engine, sessions, starting, writing
from felixhub.core.decision import Decision, is_within
from felixhub.core.events import (
    Event,
    Passage,
    ThoughtAbandoned,
    ThoughtFinalized,
    ThoughtPartial,
)
from felixhub.core.limits import DEFAULT_LIMITS, Limits
from felixhub.core.memory import Memory
from felixhub.core.messages import (
    Abandon,
    Assign,
    Beat,
    Bye,
    Finalize,
    Hello,
    IngestMessage,
    Partial,
    RunBeat,
    RunCommand,
    Start,
)
from felixhub.core.presence import Presence
from felixhub.core.run import Run
from felixhub.core.starting import UNPREPARED, Prepared
from felixhub.core.thought import Thought


class CentralPost:
    def __init__(self, *, boot: str, tip: int = 0, limits: Limits = DEFAULT_LIMITS) -> None:
        self.memory = Memory(boot=boot, tip=tip, limits=limits)
        self.presence = Presence(limits)
        self._unsettled: set[str] = set()  # runs in which something may be due
        self._waiting: dict[str, list[engine.Waiting]] = {}  # run -> what its last pass could not hand out
        self._timed: set[str] = set()  # runs in which something may come due by time alone

    @property
    def boot(self) -> str:
        return self.memory.boot

    @property
    def tip(self) -> int:
        return self.memory.tip

    @property
    def runs(self) -> dict[str, Run]:
        return self.memory.runs

    @property
    def open_thoughts(self) -> int:
        return len(self.memory.open)

    @property
    def has_unfinished_runs(self) -> bool:
        return any(run.ended is None for run in self.runs.values())

    def thought(self, thought: str) -> Thought | None:
        return self.memory.thought(thought)

    # ---- memory ------------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Fold one event into memory. Events of a run come in order; the caller has them in the log."""
        self.memory.apply(event)
        if isinstance(event, ThoughtPartial):
            return
        if event.run in self.runs:
            self._unsettled.add(event.run)
        if isinstance(event, ThoughtFinalized | ThoughtAbandoned):
            self._unsettled.update(self._waiting)  # A place at an endpoint is free again.

    def wake(self, now: float) -> None:
        """After the log has been folded: the sessions it knows have a lease from now, heard or not."""
        agents: dict[str, set[str]] = {}
        workers = {}
        for run in self.memory.unfinished_runs:
            for agent, member in run.members.items():
                if member.present:
                    workers[member.workers[-1].session] = member.workers[-1]
                    agents.setdefault(member.workers[-1].session, set()).add(agent)
        for session, worker in workers.items():
            self.presence.expect(worker, tuple(sorted(agents[session])), now)

    def forget(self, now: float) -> list[str]:
        """Drop the runs that ended more than `run_linger_s` ago; the log still has them. Returns their names."""
        gone = self.memory.forget(now)
        for name in gone:
            self._let_go(name)
        return gone

    def remove(self, run: str) -> None:
        """Drop an ended run that the log no longer has."""
        self.memory.drop(run)
        self._let_go(run)

    def _let_go(self, run: str) -> None:
        self._unsettled.discard(run)
        self._timed.discard(run)
        self._waiting.pop(run, None)

    def digest(self) -> dict[str, Any]:
        """The durable memory of unfinished runs as plain values, to compare two lives of a hub."""
        return self.memory.digest()

    # ---- presence ----------------------------------------------------------------------------------------------------

    def observe(self, message: IngestMessage, session: str, now: float) -> None:
        """Note what a message that was decided says about who is there."""
        match message:
            case Hello() if sessions.was_replaced(self.memory, self.presence, message):
                self.presence.leave(session, fenced=True)
            case Hello():
                for other in sessions.displaced(self.presence, message):
                    self.presence.leave(other, fenced=True)
                self.presence.join(message.worker, message.agents, now)
                self._unsettled.update(self.memory.runs)
            case Bye():
                self.presence.leave(session)
            case Beat():
                self.presence.heard(session, now)
                used = self._endpoints_of(session) if message.throttled else ()
                for endpoint, seconds in message.throttled.items():
                    if endpoint not in used:
                        continue  # A worker speaks for the servers that it was sent to.
                    self.presence.throttle(
                        endpoint, open_now=self.memory.open_by_endpoint[endpoint], retry_after_s=seconds, now=now
                    )
            case _:
                self.presence.heard(session, now)

    def _endpoints_of(self, session: str) -> set[str]:
        """The endpoints that this session's thoughts in unfinished runs were sent to."""
        thoughts = (thought for run in self.memory.unfinished_runs for thought in run.thoughts.values())
        return {thought.started.endpoint for thought in thoughts if thought.started.session == session}

    # ---- deciding ----------------------------------------------------------------------------------------------------

    def decide(self, message: IngestMessage, session: str, now: float) -> Decision:
        """What follows from a worker's message. Raises ProtocolViolation; then nothing has changed.

        `session` is the one that the connection said hello with (for `Hello`: the one it names).
        """
        memory, turn = self.memory, self.memory.turn(now)
        match message:
            case Partial():
                writing.decide_partial(memory, message, session, turn)
            case Finalize():
                writing.decide_finalize(memory, message, session, turn)
            case Abandon():
                writing.decide_abandon(memory, message, session, turn)
            case Beat():
                sessions.level(memory, session, message.holding, turn)
            case Hello():
                sessions.decide_hello(memory, self.presence, message, turn)
            case Bye():
                sessions.lose(memory, session, turn, left=True)
        return turn.decision

    def start(self, request: Start, now: float, prepared: Prepared = UNPREPARED) -> Decision:
        """Start a run. Raises ProtocolViolation with the field at fault."""
        return starting.start(self.memory, request, now, prepared)

    def command(self, request: RunCommand, now: float) -> Decision:
        """Carry out a command. Raises ProtocolViolation when it is not possible."""
        return commands.command(self.memory, request, now)

    def pause_unfinished(self, now: float, *, by: str) -> Decision:
        """After a start that must not go on by itself: pause every running run."""
        return commands.pause_unfinished(self.memory, now, by=by)

    # ---- what is due of itself ---------------------------------------------------------------------------------------

    def advance(self, now: float) -> Decision:
        """The next events that are due in some run; the caller applies them and asks again until there are none."""
        while self._unsettled:
            # The oldest run first: whoever came first has the first claim to a free place.
            name = min(
                self._unsettled, key=lambda one: self.memory.runs[one].started.seq if one in self.memory.runs else 0
            )
            run = self.memory.runs.get(name)
            if run is not None and run.ended is None:
                turn, world = self.memory.turn(now), self._world()
                try:
                    engine.advance(run, turn, world)
                except Exception as fault:  # noqa: BLE001  (told to the shell; one run must not end the hub)
                    return self._give_up(run, fault, now)
                if turn.decision.events:
                    return turn.decision
                self._note_waiting(name, world.waiting, now)
            self._unsettled.discard(name)
        return Decision()

    def _note_waiting(self, run: str, waiting: list[engine.Waiting], now: float) -> None:
        self._waiting.pop(run, None)
        self._timed.discard(run)
        if waiting:
            self._waiting[run] = waiting
        if any(one.why == "backing_off" or self.presence.is_throttled(one.endpoint, now) for one in waiting):
            self._timed.add(run)

    def _give_up(self, run: Run, fault: Exception, now: float) -> Decision:
        turn = self.memory.turn(now)
        ending.give_up(run, turn, f"the hub failed on this run ({type(fault).__name__}); its log says why")
        return replace(turn.decision, fault=fault)

    def expire(self, now: float, *, leases: bool = True) -> Decision:
        """Leases that ran out, and cancels that a worker did not answer in time.

        `leases=False`: what the workers have sent was not all heard yet, so nobody is late.
        """
        turn = self.memory.turn(now)
        # A commit that failed takes an `agent.lost` back, but not that its worker is gone.
        gone = {
            t.started.session: None
            for t in self.memory.open.values()
            if t.started.session not in self.presence.sessions
        }
        for session in (*(self.presence.overdue(now) if leases else ()), *gone):
            sessions.lose(self.memory, session, turn)
            self.presence.leave(session)
            if turn.decision.events:
                return turn.decision  # One at a time: the next one is decided on what this one leaves.
        for thought in self.memory.open.values():
            if thought.cancelling and not is_within(thought.cancelling.at, now, self.memory.limits.cancel_grace_s):
                run = self.memory.run_of[thought.id]
                writing.abandon(run, thought, "cancelled", f"cancelled by {thought.cancelling.by}", turn)
        # A back-off may be over, a throttled endpoint free again. Nothing else in a run comes due by time alone.
        self._unsettled.update(self._timed)
        # Text that streams spends a budget; no other partial settles anything.
        self._unsettled.update(run.id for run in self.memory.unfinished_runs if run.is_over_budget)
        return turn.decision

    def _world(self) -> engine.World:
        return engine.World(
            presence=self.presence,
            limits=self.memory.limits,
            busy_agents=self.memory.busy_agents,
            open_by_endpoint=self.memory.open_by_endpoint,
            open_total=len(self.memory.open),
        )

    # ---- what the shell asks in order to speak -----------------------------------------------------------------------

    def assignment(self, thought: str) -> tuple[Assign, Run, tuple[Passage, ...]] | None:
        """The assignment of an open thought without its documents, its run, and the passages that belong in it."""
        return briefing.assignment(self.memory, thought)

    def run_beat(self, run: Run, now: float) -> RunBeat:
        """The state of a run for its beat: who is wanted, and what each busy agent does."""
        return briefing.run_beat(run, self.presence, self._waiting.get(run.id, ()), now)
