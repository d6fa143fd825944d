"""Who is on a guarded connection, and how much of the hub it may use.

Owns: the names of connections, whose sessions are whose, and every peer's allowance. Must not: send or decide anything.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from zmq.utils import z85

from felixhub.core.allowance import Allowances
from felixhub.core.errors import ProtocolViolation
from felixhub.core.grant import Grant
from felixhub.core.limits import Limits
from felixhub.core.messages import Hello
from felixhub.core.presence import Presence
from felixhub.core.sessions import displaced
from felixhub.hub.keyring import Keyring
from felixhub.hub.zap import NOT_NOW
from felixhub.logs import get_log
from felixhub.transport.keys import Keys

CONNECTIONS_KEPT_MAX = 10_000
SUSPENDED_S = 60.0
SUBSCRIBING_FACTOR = 10  # times the subscriptions of a connection: what one key may say to the live socket in a second
ASKED_FACTOR = 10  # a connection may ask for so many times the subscriptions it can have; libzmq keeps each
FLOOD_FACTOR = 20  # times what a key may send: then it is no longer refused, but suspended
TOLD_S = 0.25  # a peer that is too fast hears of it so often; answering each message would double the flood

MESSAGES, BYTES, THOUGHTS = "messages", "bytes", "thoughts"
CONNECTIONS, SUBSCRIPTIONS = "connections", "subscriptions"


class Guard:
    def __init__(self, keys: Keys, limits: Limits, now: float) -> None:
        self.counters: Counter[str] = Counter()
        self._keyring = Keyring(keys)
        self._limits = limits
        self._notes = get_log("hub")
        self._test_key: str | None = None
        self._number = itertools.count(1)
        self._key_of: dict[str, str] = {}  # by session: the name of the key that it came with
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._suspended: dict[str, float] = {}
        self.must_close = False  # somebody who is connected may not be any more
        self._told: dict[str, float] = {}
        self._spent = Allowances(
            {
                MESSAGES: limits.peer_messages_per_s_max,
                BYTES: limits.peer_bytes_per_s_max,
                THOUGHTS: limits.peer_thoughts_per_s_max,
            }
        )
        self._flooding = Allowances({MESSAGES: FLOOD_FACTOR * limits.peer_messages_per_s_max})
        self._asking = Allowances({SUBSCRIPTIONS: SUBSCRIBING_FACTOR * limits.subscriptions_max})
        self._coming = Allowances({CONNECTIONS: limits.peer_connections_per_s_max})
        self._now = now
        self.look(now)

    # ---- keys --------------------------------------------------------------------------------------------------------

    def look(self, now: float) -> bool:
        """Look at the keys again. True when somebody who may be connected must leave."""
        self._now = now
        self._keyring.look(now)
        must = self.must_close or self._keyring.lost_any
        self.must_close = self._keyring.lost_any = False
        return must

    @contextlib.contextmanager
    def for_a_moment(self, public: str) -> Iterator[None]:
        """A key that is let in meanwhile and may do nothing: for the self-test."""
        self._test_key = public
        try:
            yield
        finally:
            self._test_key = None

    def admit(self, public: bytes) -> str | None:
        """The name of a new connection with this key, if it may come in; see `zap.Admit`."""
        text = z85.encode(public).decode()
        if text == self._test_key:
            return f"{text}#0"
        grant = self._keyring.newest_grant_of(text)
        if grant is None:
            self.counters["refused.unknown_key"] += 1
            return None
        if self._is_suspended(grant) or self._coming.take(grant.name, {CONNECTIONS: 1.0}, self._now):
            self.counters["refused.too_many_connections"] += 1
            return NOT_NOW
        return f"{text}#{next(self._number)}"

    def grant_of(self, connection: str) -> Grant | None:
        """By its key, not by the key's name: another key under the same name is another's."""
        return self._keyring.grant_of(connection.rpartition("#")[0])

    # ---- sessions ----------------------------------------------------------------------------------------------------

    def check_session(self, grant: Grant, hello: Hello, earlier: str | None, presence: Presence) -> None:
        """Raises ProtocolViolation unless this key may speak for this session. `earlier`: the connection's session.

        A session's name is told to every viewer. Whose it is says the key that it came with; after a restart of the
        hub, whoever comes first with a key for its agents.
        """
        session = hello.worker.session
        known = presence.sessions.get(session)
        if earlier not in (None, session):
            raise ProtocolViolation("forbidden", "a connection speaks for one session: connect anew for another")
        if known is not None and known.here and self._key_of.get(session) != grant.name:
            raise ProtocolViolation("forbidden", f"the session '{session}' came with another key, or from this machine")
        held = [one for one, key in self._key_of.items() if key == grant.name and one in presence.sessions]
        if session not in held and len(held) >= self._limits.peer_sessions_max:
            most = self._limits.peer_sessions_max
            raise ProtocolViolation("too_many", f"the key '{grant.name}' has {most} workers here already: that is all")
        for other in displaced(presence, hello):
            # Who takes one agent of a worker ends all of it.
            grant.check_agents(presence.sessions[other].agents)

    def joined(self, grant: Grant | None, session: str, presence: Presence) -> None:
        """This session came with this key; None: through a door where nothing is asked."""
        if grant is None:
            self._key_of.pop(session, None)
            return
        self._key_of[session] = grant.name
        if len(self._key_of) > 2 * self._limits.sessions_max:
            self._key_of = {one: key for one, key in self._key_of.items() if one in presence.sessions}

    # ---- how much ----------------------------------------------------------------------------------------------------

    def too_fast(self, grant: Grant, amounts: Mapping[str, float], now: float) -> str | None:
        """What this peer does too much of, in words; None when it is within its allowance, which is then spent."""
        what = self._spent.take(grant.name, amounts, now)
        if what is None:
            return None
        self.counters[f"refused.too_many_{what}"] += 1
        self.punish(grant, now)
        most = getattr(self._limits, f"peer_{what}_per_s_max")
        return f"the key '{grant.name}' may send {most:,} {what} a second, and this was more: send it again in a moment"

    def check_ending(self, grant: Grant, now: float) -> None:
        """Raises ProtocolViolation when this peer ends more thoughts than it may."""
        if too_much := self.too_fast(grant, {THOUGHTS: 1.0}, now):
            raise ProtocolViolation("busy", too_much)

    def may_tell(self, grant: Grant, now: float) -> bool:
        """Whether it is time to say so again."""
        if now - self._told.get(grant.name, -TOLD_S) < TOLD_S:
            return False
        self._told[grant.name] = now
        return True

    def subscribed(self, connection: str, topic: bytes) -> list[bytes]:
        """The topics that a connection gets when it subscribes to one."""
        grant = self.grant_of(connection)
        if grant is None:
            return []
        held = self._held.setdefault(connection, _Held())
        self._held.move_to_end(connection)
        while len(self._held) > CONNECTIONS_KEPT_MAX:
            self._held.popitem(last=False)
        if topic in held.asked:
            return []
        if len(held.asked) >= ASKED_FACTOR * self._limits.subscriptions_max:
            self._suspend(grant, "too many subscriptions")
            return []
        granted = grant.topics(topic)
        if len(held.granted) + len(granted) > self._limits.subscriptions_max:
            self.counters["refused.too_many_subscriptions"] += 1
            granted = []
        held.asked[topic] = granted
        held.granted.update(granted)
        return granted

    def unsubscribed(self, connection: str, topic: bytes) -> list[bytes]:
        """The topics that it no longer gets: those that no other of its subscriptions comes to."""
        held = self._held.get(connection)
        granted = held.asked.pop(topic, []) if held else []
        if held:
            held.granted.subtract(granted)
            held.granted = +held.granted
        return [one for one in granted if held and not held.granted[one]]

    def heard_live(self, connection: str, now: float, *, is_subscription: bool) -> None:
        """A subscriber has said something. Who goes on and on, or says what no subscriber says, must leave for a while.

        After a message that is no subscription ZeroMQ no longer knows whose the next one is: it would give what one may
        read to another. So nothing more is taken before the door was closed.
        """
        grant = self.grant_of(connection)
        if not is_subscription:
            self.must_close = True
        if grant is None:
            return
        if not is_subscription:
            self._suspend(grant, "it sends what is no subscription")
        elif self._asking.take(grant.name, {SUBSCRIPTIONS: 1.0}, now):
            self._suspend(grant, "too many subscriptions")

    def punish(self, grant: Grant, now: float) -> None:
        """Whoever sends many times what it may: refusing each message costs the others more than ending it."""
        if self._flooding.take(grant.name, {MESSAGES: 1.0}, now):
            self._suspend(grant, "too many messages")

    def _is_suspended(self, grant: Grant) -> bool:
        return self._now < self._suspended.get(grant.name, 0.0)

    def _suspend(self, grant: Grant, why: str) -> None:
        """A key rests, and its connections are cut: with them, since ZeroMQ cannot cut one, everybody's."""
        if self._is_suspended(grant):
            return
        self._suspended[grant.name] = self._now + SUSPENDED_S
        self.must_close = True
        self.counters["suspended"] += 1
        self._notes.warning("key_suspended", key=grant.name, seconds=SUSPENDED_S, why=why)


@dataclass(slots=True)
class _Held:
    """The subscriptions of one connection: what it asked for and what each came to, and how often it got each."""

    asked: dict[bytes, list[bytes]] = field(default_factory=dict)
    granted: Counter[bytes] = field(default_factory=Counter)
