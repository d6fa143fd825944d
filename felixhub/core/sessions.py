"""What follows from a worker's coming, being there and going: hello, holding, fences and losses.

Owns: who may have an agent, and telling a worker what it lacks. Must not: change anything (`presence.py` remembers).
"""

from __future__ import annotations

from felixhub.core.decision import Send, SendAssignment, TellEnded, Turn, is_within
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import AgentLeft, AgentLost
from felixhub.core.memory import Memory
from felixhub.core.messages import PROTOCOL_VERSION, Cancel, Ended, Fenced, Held, Hello, Welcome
from felixhub.core.names import HUB
from felixhub.core.presence import Presence
from felixhub.core.writing import abandon, ended_as


def decide_hello(memory: Memory, presence: Presence, hello: Hello, turn: Turn) -> None:
    session = hello.worker.session
    if hello.version != PROTOCOL_VERSION:
        raise ProtocolViolation(
            "version",
            f"this hub speaks version {PROTOCOL_VERSION} of the protocol, the worker {hello.version}: "
            "run the same version of felixhub on both sides",
            field="version",
        )
    if HUB in hello.agents:
        raise ProtocolViolation("reserved", "'hub' is reserved: give the agent another name", field="agents")
    if len(hello.agents) > memory.limits.agents_per_session_max:
        raise ProtocolViolation(
            "too_many", f"a worker hosts at most {memory.limits.agents_per_session_max} agents", field="agents"
        )
    if session not in presence.sessions and len(presence.sessions) >= memory.limits.sessions_max:
        raise ProtocolViolation("too_many", f"the hub takes at most {memory.limits.sessions_max} workers")
    if was_replaced(memory, presence, hello):
        turn.effect(Send(session, _fenced(hello.agents)))
        return
    known = presence.sessions.get(session)
    if known and not set(known.agents) <= set(hello.agents):
        raise ProtocolViolation(
            "agents_changed", "a session keeps its agents: say hello with all of them", field="agents"
        )
    for other in displaced(presence, hello):
        turn.effect(Send(other, _fenced(hello.agents)))
        lose(memory, other, turn)
    mine = [thought for thought in memory.open.values() if thought.started.session == session]
    turn.effect(
        Send(
            session,
            Welcome(
                boot=memory.boot,
                beat_s=memory.limits.worker_beat_s,
                partial_bytes_max=memory.limits.partial_bytes_max,
                thoughts=tuple(Held(thought=t.id, text=len(t.text), reasoning=len(t.reasoning)) for t in mine),
                ended=tuple(_ended_of(memory, hello.holding)),
            ),
        )
    )
    level(memory, session, hello.holding, turn, at_once=True)


def was_replaced(memory: Memory, presence: Presence, hello: Hello) -> bool:
    session = hello.worker.session
    if presence.is_fenced(session):
        return True
    for run in memory.runs.values():
        for agent in hello.agents:
            member = run.members.get(agent)
            earlier = [worker.session for worker in member.workers[:-1]] if member else []
            if member and session in earlier and member.workers[-1].session != session:
                return True
    return False


def displaced(presence: Presence, hello: Hello) -> list[str]:
    """The sessions that this one takes an agent from."""
    held = (presence.session_of(agent) for agent in hello.agents)
    return [name for name in dict.fromkeys(held) if name and name != hello.worker.session]


def lose(memory: Memory, session: str, turn: Turn, *, left: bool = False) -> None:
    """A session is gone: its agents leave their runs, its open thoughts are abandoned with their text kept."""
    for run in memory.runs.values():
        if run.ended:
            continue
        for thought in run.open_thoughts():
            if thought.started.session == session:
                error = "its worker ended" if left else "its worker was lost"
                abandon(run, thought, "agent_lost", error, turn)
        for agent, member in run.members.items():
            if member.present and member.workers[-1].session == session:
                kind = AgentLeft if left else AgentLost
                turn.emit(kind, run.id, run.last_seq, agent=agent, worker=member.workers[-1])


def level(memory: Memory, session: str, holding: tuple[str, ...], turn: Turn, *, at_once: bool = False) -> None:
    """Send again whatever a worker's `holding` shows to be missing there."""
    held = set(holding)
    for thought in memory.open.values():
        if thought.started.session != session:
            continue
        # A young assignment may have crossed this beat on its way.
        is_young = is_within(thought.started.at, turn.now, memory.limits.worker_beat_s)
        if thought.id not in held and (at_once or not is_young):
            turn.effect(SendAssignment(session, thought.id))
        if thought.cancelling:
            turn.effect(Send(session, Cancel(thought=thought.id, reason=thought.cancelling.reason)))
    for ended in _ended_of(memory, holding):
        turn.effect(TellEnded(session, ended))


def _ended_of(memory: Memory, holding: tuple[str, ...]) -> list[Ended]:
    found = []
    for name in holding:
        thought = memory.thought(name)
        if thought is None:
            found.append(Ended(thought=name, outcome="unknown"))
        elif not thought.is_open:
            found.append(ended_as(thought))
    return found


def _fenced(agents: tuple[str, ...]) -> Fenced:
    return Fenced(sentence=f"another worker has taken over {', '.join(agents[:5])}: this one must end")
