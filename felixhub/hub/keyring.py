"""The keys that are known now, read again when they change: a new one is good at once, a revoked one no longer.

Owns: reading them, and who has lost one. Must not: know connections or how much a key may do.
"""

from __future__ import annotations

from felixhub.core.errors import ConfigError
from felixhub.core.grant import Grant
from felixhub.logs import get_log
from felixhub.transport.keys import Keys

LOOK_S = 0.5  # how often the keys are looked at


class Keyring:
    def __init__(self, keys: Keys) -> None:
        self.lost_any = False  # since somebody last asked: who came with it may still be connected
        self._keys = keys
        self._notes = get_log("hub")
        self._grants: dict[str, Grant] = {}  # by public key
        self._stamp: object = None
        self._bad: dict[str, str] = {}
        self._look_at = 0.0
        self._changed_at = 0

    def look(self, now: float) -> None:
        """Read the keys again if it is time and they have changed."""
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._read()

    def grant_of(self, public: str) -> Grant | None:
        return self._grants.get(public)

    def newest_grant_of(self, public: str) -> Grant | None:
        """As `grant_of`, and of a key that was made a moment ago too."""
        if public not in self._grants and self._keys.changed_at() != self._changed_at:
            self._read()
        return self._grants.get(public)

    def _read(self) -> None:
        try:
            self._changed_at = self._keys.changed_at()
            stamp = self._keys.stamp()
            if stamp == self._stamp:
                return
            grants, bad = self._read_all()
        except OSError as error:
            # A passing fault of ours is no reason to shut everybody out; whoever was revoked meanwhile leaves later.
            self._notes.error("cannot_read_keys", why=str(error))
            return
        self._stamp = stamp
        for name, why in bad.items():
            if self._bad.get(name) != why:
                self._notes.error("bad_key", key=name, why=why)
        lost = [grant.name for public, grant in self._grants.items() if grants.get(public) != grant]
        self._grants, self._bad = grants, bad
        self._notes.info("keys_read", keys=len(grants), lost=lost)
        self.lost_any |= bool(lost)

    def _read_all(self) -> tuple[dict[str, Grant], dict[str, str]]:
        """The grants by public key, and by name what is wrong with the others, which let nobody in."""
        grants, bad = {}, {}
        for name in self._keys.names():
            try:
                peer = self._keys.peer(name)
            except ConfigError as error:
                bad[name] = str(error)
            else:
                grants[peer.public] = peer.grant
        return grants, bad
