"""What workers say, taken in:

    receive → is it allowed? → read ──► a partial: gathered with those it follows ──────────────┐
                                 └────► anything else: after what was gathered ──► decide ◄─────┘ ──► carried out

Owns: reading and refusing a worker's messages, and which session a connection speaks for. Must not: know rules
(`core`), commit, or send anything by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import zmq

from felixhub.core.central_post import CentralPost
from felixhub.core.decision import Decision
from felixhub.core.errors import ProtocolViolation
from felixhub.core.gathering import Gathering
from felixhub.core.grant import Grant
from felixhub.core.limits import Limits
from felixhub.core.messages import (
    Abandon,
    Fenced,
    Finalize,
    Hello,
    IngestMessage,
    Partial,
    Reject,
    parse_ingest,
)
from felixhub.hub.door import Arrived, Door, Stranger
from felixhub.hub.doors import Doors
from felixhub.hub.guard import BYTES, MESSAGES, Guard
from felixhub.hub.outbox import WorkerOutbox
from felixhub.logs import get_log

# Of a turn to take in what came; the rest waits at the senders. Deciding it comes on top, and costs about as much again
# where nothing could be joined.
LOCAL_S = 0.1
GUARDED_S = 0.02


class Intake:
    def __init__(
        self,
        *,
        outbox: WorkerOutbox,
        doors: Doors,
        carry_out: Callable[[Decision], None],
        limits: Limits,
        clock: Callable[[], float],
        counters: Counter[str],
    ) -> None:
        """`carry_out` applies a decision before the next one is made."""
        self._outbox = outbox
        self._doors = doors
        self._carry_out = carry_out
        self._limits = limits
        self._clock = clock
        self._counters = counters
        self._gathered: dict[bytes, Gathering] = {}  # of this turn alone
        self._senders: set[bytes] = set()
        self._notes = get_log("hub")

    def take_senders(self) -> set[bytes]:
        """The connections that have said something since this was last asked."""
        senders, self._senders = self._senders, set()
        return senders

    def drain(self, door: Door, post: CentralPost, now: float) -> bool:
        """Take in what workers sent, as much as a turn may hold. True when the socket was drained empty."""
        drained = self._receive(door, post, now)
        self._decide_gathered(post, now)
        return drained

    def _receive(self, door: Door, post: CentralPost, now: float) -> bool:
        until = self._clock() + (GUARDED_S if door.guard else LOCAL_S)
        room = self._limits.turn_bytes_max
        for _ in range(self._limits.turn_messages_max):
            if room <= 0 or self._clock() > until:
                return False
            try:
                arrived = door.receive(door.ingest)
            except zmq.Again:
                return True
            except Stranger:
                self._counters["refused.stranger"] += 1
                continue
            self._take(arrived, door.guard, post, now)
            room -= sum(map(len, arrived.frames))
        return False

    def _take(self, arrived: Arrived, guard: Guard | None, post: CentralPost, now: float) -> None:
        identity, frames, grant = arrived
        try:
            if guard and grant and not self._is_within(guard, grant, identity, frames, now):
                return
            if len(frames) != 2:
                raise ProtocolViolation("bad_frames", f"a message is one frame of JSON, this one had {len(frames) - 1}")
            self._senders.add(identity)
            message = parse_ingest(frames[1])
        except Exception as error:  # noqa: BLE001  (told to whoever sent it; nothing has changed)
            self._refuse(identity, None, error, frames[-1])
            return
        if isinstance(message, Partial):
            gathering = self._gathered.get(identity)
            if gathering is None:
                gathering = self._gathered[identity] = Gathering(bytes_max=self._limits.partial_bytes_max)
            gathering.add(message)
            return
        # What a worker says comes after its text. Another one's hello may take its agents from it.
        self._decide_gathered(post, now, of=None if isinstance(message, Hello) else identity)
        try:
            session, decision = self._decide(message, arrived, guard, post, now)
        except Exception as error:  # noqa: BLE001  (as above)
            self._refuse(identity, message, error, frames[-1])
            return
        self._carry_out(decision)
        post.observe(message, session, now)

    def _decide(
        self, message: IngestMessage, arrived: Arrived, guard: Guard | None, post: CentralPost, now: float
    ) -> tuple[str, Decision]:
        identity, _, grant = arrived
        if isinstance(message, Hello):
            session = message.worker.session
            if guard and grant:
                grant.check_hello(message)
                guard.check_session(grant, message, self._outbox.session_of(identity), post.presence)
            decision = post.decide(message, session, now)
            self._outbox.bind(identity, session)
            self._doors.joined(grant, session, post.presence)
            return session, decision
        session = self._session(identity, post)
        if guard and grant and isinstance(message, Finalize | Abandon):
            guard.check_ending(grant, now)
        return session, post.decide(message, session, now)

    def _decide_gathered(self, post: CentralPost, now: float, *, of: bytes | None = None) -> None:
        """The text that this connection has sent, or all of them have."""
        for identity in list(self._gathered) if of is None else [of] if of in self._gathered else []:
            for partial in self._gathered.pop(identity).take():
                try:
                    session = self._session(identity, post)
                    decision = post.decide(partial, session, now)
                except Exception as error:  # noqa: BLE001  (as above)
                    self._refuse(identity, partial, error)
                    continue
                self._carry_out(decision)
                post.observe(partial, session, now)

    def _refuse(self, identity: bytes, message: IngestMessage | None, error: Exception, frame: bytes = b"") -> None:
        """Say what is wrong with a message. Our own fault must not let one message end the hub."""
        if isinstance(error, _Fenced):
            self._outbox.tell(identity, Fenced(sentence=str(error)))
            return
        if not isinstance(error, ProtocolViolation):
            said = frame[:200].decode(errors="replace") or repr(message)[:200]
            self._notes.error("cannot_decide", frame=said, exc_info=error)
            error = ProtocolViolation("internal", "the hub failed on this message; its log says why")
        self._counters[f"rejected.{error.code}"] += 1
        thought = getattr(message, "thought", None)
        self._outbox.tell(
            identity, Reject(code=error.code, sentence=error.sentence, field=error.field, thought=thought)
        )

    def _is_within(self, guard: Guard, grant: Grant, identity: bytes, frames: list[bytes], now: float) -> bool:
        """Whether a peer keeps to its allowance. What is too much is not even read; it is sent again by itself."""
        too_much = guard.too_fast(grant, {MESSAGES: 1.0, BYTES: float(sum(map(len, frames)))}, now)
        if too_much and guard.may_tell(grant, now):
            self._outbox.tell(identity, Reject(code="busy", sentence=too_much))
        return too_much is None

    def _session(self, identity: bytes, post: CentralPost) -> str:
        session = self._outbox.session_of(identity)
        known = post.presence.sessions.get(session or "")
        if session is not None and known is not None and known.here:
            return session
        if session is not None and post.presence.is_fenced(session):
            raise _Fenced("another worker has taken over: this one must end")
        raise ProtocolViolation("unknown_session", "say hello first: the hub does not know this connection")


class _Fenced(Exception):
    """The session on this connection was replaced."""
