"""What the hub owes its workers at the end of a turn, and the way to them.

Owns: which connection belongs to which session, and sending without ever waiting. Must not: decide anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container

import zmq

from felixhub.core.batcher import Channel
from felixhub.core.decision import Acknowledge
from felixhub.core.messages import Ack, Acked, Ended, Reject, WorkerBound


class WorkerOutbox:
    """Acknowledgements are cumulative, so a turn's last one per thought and channel is all that is sent."""

    def __init__(self, send: Callable[[bytes, bytes], None], counters: Counter[str]) -> None:
        """`send` takes an identity and a frame; it raises zmq.Again or, for who is gone, EHOSTUNREACH."""
        self._put_frame = send
        self._counters = counters
        self._session_of: dict[bytes, str] = {}
        self._identity_of: dict[str, bytes] = {}
        self._lengths: dict[str, dict[tuple[str, Channel], int]] = {}
        self._ended: dict[str, dict[str, Ended]] = {}
        self._messages: list[tuple[bytes, WorkerBound]] = []
        self._gaps: dict[tuple[str, Channel], int] = {}

    def bind(self, identity: bytes, session: str) -> None:
        """This connection speaks for this session from now on, and for no other."""
        earlier = self._identity_of.get(session)
        if earlier is not None and earlier != identity:
            self._session_of.pop(earlier, None)
        former = self._session_of.get(identity)
        if former is not None and former != session:
            self._identity_of.pop(former, None)
        self._session_of[identity] = session
        self._identity_of[session] = identity

    def __len__(self) -> int:
        """How many connections have a session."""
        return len(self._session_of)

    def session_of(self, identity: bytes) -> str | None:
        return self._session_of.get(identity)

    def identity_of(self, session: str) -> bytes | None:
        return self._identity_of.get(session)

    def forget(self, identity: bytes) -> None:
        session = self._session_of.pop(identity, None)
        if session is not None and self._identity_of.get(session) == identity:
            del self._identity_of[session]

    def keep(self, sessions: Container[str]) -> None:
        """Forget the connections of all other sessions; one that speaks again is asked to say hello."""
        for identity, session in list(self._session_of.items()):
            if session not in sessions:
                self.forget(identity)

    def tell(self, identity: bytes, message: WorkerBound) -> None:
        self._messages.append((identity, message))

    def send(self, session: str, message: WorkerBound) -> None:
        identity = self._identity_of.get(session)
        if identity is None:
            return  # It will say hello and be told where it stands.
        if isinstance(message, Reject) and message.code == "gap":
            # Once per expected offset: everything that was on its way behind the gap is late as well.
            key = (str(message.thought), message.channel or "text")
            if self._gaps.get(key) == message.length:
                return
            self._gaps[key] = message.length or 0
        self._messages.append((identity, message))

    def acknowledge(self, effect: Acknowledge) -> None:
        self._lengths.setdefault(effect.session, {})[effect.thought, effect.channel] = effect.length
        if self._gaps:
            self._gaps.pop((effect.thought, effect.channel), None)

    def ended(self, session: str, ended: Ended) -> None:
        self._ended.setdefault(session, {})[ended.thought] = ended
        if self._gaps:
            self._gaps.pop((ended.thought, "text"), None)
            self._gaps.pop((ended.thought, "reasoning"), None)

    def discard(self) -> None:
        """The turn did not happen: nothing of it may be said."""
        self._lengths, self._ended, self._messages = {}, {}, []
        self._gaps.clear()

    def flush(self) -> None:
        """Send everything. What a peer has no room for is dropped here: its next beat shows what it lacks."""
        messages, self._messages = self._messages, []
        for identity, message in messages:
            self._put(identity, message)
        lengths, self._lengths = self._lengths, {}
        ended, self._ended = self._ended, {}
        for session in {**lengths, **ended}:
            known = self._identity_of.get(session)
            if known is None:
                continue
            acked = tuple(
                Acked.model_construct(thought=thought, channel=channel, length=length)
                for (thought, channel), length in lengths.get(session, {}).items()
            )
            self._put(known, Ack(lengths=acked, ended=tuple(ended.get(session, {}).values())))

    def _put(self, identity: bytes, message: WorkerBound) -> None:
        try:
            self._put_frame(identity, message.encode())
        except zmq.Again:
            self._counters["worker_full"] += 1
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._counters["worker_gone"] += 1
            self.forget(identity)
