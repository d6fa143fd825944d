"""Every limit of the hub in one place. A breach is answered with a clear rejection, is counted, and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one hub; `[limits]` in `config/hub.toml` sets them.

    Units are in the names: bytes are UTF-8 bytes, seconds are wall seconds.
    """

    partial_bytes_max: int = 64 * KIB
    thought_bytes_max: int = 4 * MIB
    control_bytes_max: int = 4 * MIB
    result_bytes_max: int = 4 * MIB
    page_bytes_max: int = 256 * KIB
    assignment_bytes_max: int = 16 * MIB  # texts and documents that one thought is given
    open_thoughts_max: int = 10_000
    open_runs_max: int = 1_000
    sessions_max: int = 10_000
    agents_per_session_max: int = 1_000
    documents_max: int = 100
    documents_whole_bytes_max: int = 24 * KIB  # of all documents together, in every prompt; of more, passages are given
    live_messages_max: int = 10_000  # per subscriber; beyond it the hub drops and the subscriber repairs
    connections_max: int = 4_000  # to each of the hub's sockets
    # What one key may do over the network; this machine's own processes are not counted.
    subscriptions_max: int = 1_000  # of one connection
    peer_sessions_max: int = 1_000  # workers
    peer_connections_per_s_max: int = 200
    peer_messages_per_s_max: int = 20_000
    peer_bytes_per_s_max: int = 32 * MIB
    peer_thoughts_per_s_max: int = 1_000
    # Of workers in one turn of the loop. With less room than there are agents, a hub that has fallen behind would never
    # find two partials of one thought to join; with more than a subscriber has, it would overrun them all.
    turn_messages_max: int = 5_000
    turn_bytes_max: int = 16 * MIB
    turn_requests_max: int = 1_000  # of clients
    pages_open_max: int = 256  # snapshots and replays under way at once
    beat_s: float = 0.5
    worker_beat_s: float = 1.0
    worker_beats_missed_max: int = 3
    lease_grace_s: float = 15.0
    cancel_grace_s: float = 1.0
    run_linger_s: float = 60.0  # an ended run stays in memory and in the beats for this long
    retention_s: float = 30 * 24 * 3600.0
    retention_bytes_max: int = 2 * 1024 * MIB
    retention_grace_s: float = 3600.0

    @property
    def lease_s(self) -> float:
        """How long a silent worker keeps its thoughts: three missed beats and the grace."""
        return self.worker_beat_s * self.worker_beats_missed_max + self.lease_grace_s

    @property
    def frame_bytes_max(self) -> int:
        """ZeroMQ disconnects a peer that sends more than this: twice the largest message of the protocol."""
        return 2 * max(self.control_bytes_max, self.partial_bytes_max)


DEFAULT_LIMITS = Limits()
