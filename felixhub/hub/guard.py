"""Who is on a guarded connection, and how much of the hub it may use.

Owns: the keys as they are now, the names of connections, and every peer's allowance. Must not: send or decide anything.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from zmq.utils import z85

from felixhub.core.allowance import Allowances
from felixhub.core.errors import ConfigError
from felixhub.core.grant import Grant
from felixhub.core.limits import Limits
from felixhub.hub.zap import NOT_NOW
from felixhub.logs import get_log
from felixhub.transport.keys import Keys

NOBODY = "-"  # no name that a key can have
LOOK_S = 0.5  # how often the keys are looked at
CONNECTIONS_KEPT_MAX = 10_000
TOPIC_BYTES_MAX = 256  # the longest topic has 150
SUSPENDED_S = 60.0
SUBSCRIBING_FACTOR = 10  # times the subscriptions of a connection: what one key may say to the live socket in a second
ASKED_FACTOR = 10  # a connection may ask for so many times the subscriptions it can have; libzmq keeps each
TOLD_S = 0.25  # a peer that is too fast hears of it so often; answering each message would double the flood

MESSAGES, BYTES, THOUGHTS = "messages", "bytes", "thoughts"
CONNECTIONS, SUBSCRIPTIONS = "connections", "subscriptions"


class Guard:
    def __init__(self, keys: Keys, limits: Limits, now: float) -> None:
        self.counters: Counter[str] = Counter()
        self._keys = keys
        self._limits = limits
        self._notes = get_log("hub")
        self._grants: dict[str, Grant] = {}
        self._name_of: dict[str, str] = {}
        self._stamp: object = None
        self._bad: dict[str, str] = {}
        self._look_at = now
        self._changed_at = 0
        self._number = itertools.count(1)
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._suspended: dict[str, float] = {}
        self._must_leave = False
        self._told: dict[str, float] = {}
        self._spent = Allowances(
            {
                MESSAGES: limits.peer_messages_per_s_max,
                BYTES: limits.peer_bytes_per_s_max,
                THOUGHTS: limits.peer_thoughts_per_s_max,
            }
        )
        self._asking = Allowances({SUBSCRIPTIONS: SUBSCRIBING_FACTOR * limits.subscriptions_max})
        self._coming = Allowances({CONNECTIONS: limits.peer_connections_per_s_max})
        self._now = now
        self.look(now)

    # ---- keys --------------------------------------------------------------------------------------------------------

    def look(self, now: float) -> bool:
        """Read the keys again if they have changed. True when somebody who may be connected must leave."""
        self._now = now
        if now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        self._read()
        must, self._must_leave = self._must_leave, False
        return must

    def _read(self) -> None:
        self._changed_at = self._keys.changed_at()
        stamp = self._keys.stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        grants, name_of, bad = {}, {}, {}
        for name in self._keys.names():
            try:
                peer = self._keys.peer(name)
            except ConfigError as error:
                bad[name] = str(error)  # It lets nobody in; the others go on.
                continue
            grants[name] = peer.grant
            name_of[peer.public] = name
        for name, why in bad.items():
            if self._bad.get(name) != why:
                self._notes.error("bad_key", key=name, why=why)
        before, public_of = self._grants, {name: public for public, name in self._name_of.items()}
        now_public = {name: public for public, name in name_of.items()}
        lost = [n for n, one in before.items() if grants.get(n) != one or now_public.get(n) != public_of.get(n)]
        self._grants, self._name_of, self._bad = grants, name_of, bad
        self._notes.info("keys_read", keys=len(grants), lost=lost)
        self._must_leave |= bool(lost)

    @contextlib.contextmanager
    def for_a_moment(self, public: str) -> Iterator[None]:
        """A key that is known meanwhile and may do nothing: for the self-test."""
        self._name_of[public] = NOBODY
        try:
            yield
        finally:
            del self._name_of[public]

    def admit(self, public: bytes) -> str | None:
        """The name of a new connection with this key, if it may come in; see `zap.Admit`."""
        text = z85.encode(public).decode()
        if text not in self._name_of and self._keys.changed_at() != self._changed_at:
            self._read()  # It was made a moment ago.
        name = self._name_of.get(text)
        if name is None:
            self.counters["refused.unknown_key"] += 1
            return None
        if self._now < self._suspended.get(name, 0.0) or self._coming.take(name, {CONNECTIONS: 1.0}, self._now):
            self.counters["refused.too_many_connections"] += 1
            return NOT_NOW
        return f"{name}#{next(self._number)}"

    def grant_of(self, connection: str) -> Grant | None:
        return self._grants.get(connection.partition("#")[0])

    # ---- how much ----------------------------------------------------------------------------------------------------

    def too_fast(self, grant: Grant, amounts: Mapping[str, float], now: float) -> str | None:
        """What this peer does too much of, in words; None when it is within its allowance, which is then spent."""
        what = self._spent.take(grant.name, amounts, now)
        if what is None:
            return None
        self.counters[f"refused.too_many_{what}"] += 1
        most = getattr(self._limits, f"peer_{what}_per_s_max")
        return f"the key '{grant.name}' may send {most:,} {what} a second, and this was more: send it again in a moment"

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
        held.asked += 1
        if held.asked > ASKED_FACTOR * self._limits.subscriptions_max:
            self._suspend(grant)
            return []
        granted = grant.topics(topic) if len(topic) <= TOPIC_BYTES_MAX else []
        if held.granted + len(granted) > self._limits.subscriptions_max:
            self.counters["refused.too_many_subscriptions"] += 1
            return []
        held.granted += len(granted)
        return granted

    def unsubscribed(self, connection: str, topic: bytes) -> list[bytes]:
        """The topics that it no longer gets."""
        grant = self.grant_of(connection)
        if grant is None:
            return []
        granted = grant.topics(topic) if len(topic) <= TOPIC_BYTES_MAX else []
        held = self._held.get(connection, _Held())
        held.asked = max(0, held.asked - 1)
        held.granted = max(0, held.granted - len(granted))
        return granted

    def heard_live(self, connection: str, now: float) -> None:
        """A subscriber has said something, sense or not. Who goes on and on must leave for a while."""
        grant = self.grant_of(connection)
        if grant is not None and self._asking.take(grant.name, {SUBSCRIPTIONS: 1.0}, now):
            self._suspend(grant)

    def _suspend(self, grant: Grant) -> None:
        """A key that floods the live socket rests, and its connections are cut: there is no other way to answer it."""
        if self._now < self._suspended.get(grant.name, 0.0):
            return
        self._suspended[grant.name] = self._now + SUSPENDED_S
        self._must_leave = True
        self.counters["suspended"] += 1
        self._notes.warning("key_suspended", key=grant.name, seconds=SUSPENDED_S, why="too many subscriptions")


@dataclass(slots=True)
class _Held:
    """The subscriptions of one connection: what it asked for, which ZeroMQ remembers, and what it got."""

    asked: int = 0
    granted: int = 0
