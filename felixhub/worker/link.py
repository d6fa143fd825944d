"""How a worker stands with its hub: when to say hello, when to beat. Pure: `now` is an argument.

    away ──writable──► greeting ──welcome──► up
     ▲                 │  ▲ ╲hello every 2 s  │
     └─────unsent──────┘  └──unknown_session, no acknowledgement for a second──┘       (unsent also: up ──► away)

Owns: that state and its times. Must not: send. A hello is idempotent: one too many is no harm.
"""

from __future__ import annotations

from typing import Literal

HELLO_S = 2.0
HELLO_S_MIN = 0.25  # everything that was in flight to a restarted hub is answered `unknown_session`
SILENCE_S = 1.0


class Link:
    def __init__(self, *, beat_s: float) -> None:
        self.state: Literal["away", "greeting", "up"] = "away"
        self.away_since: float | None = None
        self._beat_s = beat_s
        self._beat_at = 0.0
        self._hello_at: float | None = None
        self._hello_due: float | None = None
        self._heard_at: float | None = None

    # ---- what happens ----

    def writable(self, now: float) -> None:
        """The socket has a connection."""
        if self.state == "away":
            self.state = "greeting"
            self.away_since = None
            self._hello_due = now

    def unsent(self, now: float) -> None:
        """The socket took no message: there is no connection."""
        self.state = "away"
        self.away_since = now if self.away_since is None else self.away_since
        self._hello_due = None

    def heard(self, now: float) -> None:
        self._heard_at = now

    def welcomed(self, beat_s: float, now: float) -> None:
        self.state = "up"
        self._hello_due = None
        self._beat_s = beat_s
        self._beat_at = now

    def unknown(self, now: float) -> None:
        """The hub does not know this session: it has restarted, or this worker was silent for too long."""
        if self.state == "up" and self._hello_at is not None and now < self._hello_at + HELLO_S_MIN:
            return  # Sent before that hello.
        if self.state == "up":
            self.state = "greeting"
            self._hello_due = now

    def unacknowledged(self, now: float) -> None:
        """Text was sent and not acknowledged in time. If nothing at all was heard either, greet again."""
        if self.state == "up" and (self._heard_at is None or now >= self._heard_at + SILENCE_S):
            self.state = "greeting"
            self._hello_due = now

    def postpone(self, seconds: float, now: float) -> None:
        """The hub did not take the hello: say it again later."""
        if self.state == "greeting":
            self._hello_due = now + seconds

    # ---- what is due ----

    def next_due(self, now: float) -> float | None:
        """When a hello or a beat is due: `now` or later; None while away."""
        match self.state:
            case "away":
                return None
            case "greeting":
                return max(now, self._hello_due or now)
            case "up":
                return max(now, self._beat_at + self._beat_s)

    def take_due(self, now: float) -> Literal["hello", "beat"] | None:
        due = self.next_due(now)
        if due is None or due > now:
            return None
        if self.state == "greeting":
            self._hello_at = now
            self._hello_due = now + HELLO_S
            return "hello"
        self._beat_at = now
        return "beat"
