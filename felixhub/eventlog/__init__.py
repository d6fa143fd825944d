"""The durable log of events: the interface that every implementation is held to by one test suite.

Owns: what a log must do. Must not: know what an event means. A log stores bytes under `(run, seq)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """One event as the log sees it."""

    run: str
    seq: int
    thought: str | None  # set only for `thought.partial`: the thought whose text it carries
    body: bytes  # the event's JSON, exactly as it goes over the wire


class Boot(NamedTuple):
    """One life of the hub and the first seq that it may write."""

    boot: str
    first_seq: int


class RunRow(NamedTuple):
    """A run as the log knows it; all of it is derived from the records that were committed."""

    run: str
    first_seq: int
    last_seq: int
    bytes: int
    ended_at: float | None  # unix seconds; None while it is unfinished


class LogError(Exception):
    """The log cannot be used, with a sentence that says why and what to do."""


class LogBusy(LogError):
    """This commit did not happen (no space, a lock); a later one may. Memory must be rebuilt from the log."""


class LogBroken(LogError):
    """An fsync or I/O error: what is on disk is unknown and the process must end."""


class EventLog(Protocol):
    """A log with one writer. Reading never sees a half-committed turn."""

    def start_boot(self, boot: str) -> tuple[Boot, ...]:
        """Durably note that a new life begins; return every boot known, oldest first, this one last.

        `first_seq` of the new one is `tip() + 1`. Called once, before the hub binds.
        """

    def tip(self) -> int:
        """The highest seq ever committed, 0 for none. Pruning and removing runs never lower it."""

    def commit(
        self,
        records: Sequence[Record],
        *,
        ended: dict[str, float] | None = None,
        blobs: dict[str, dict[str, bytes]] | None = None,
    ) -> None:
        """Write all records in one durable transaction, or none of them.

        `ended` maps runs that end with these records to unix seconds. `blobs` maps a run among the
        records to its documents, SHA-256 (hex) to bytes. Raises `LogBusy` or `LogBroken`, as every writing call may.
        """

    def runs(self, *, unfinished: bool = False) -> list[RunRow]:
        """The runs, oldest first."""

    def read(self, run: str, *, after: int, through: int, rows_max: int, bytes_max: int) -> list[Record]:
        """Records of a run with `after < seq <= through`, in order; at least one if there is any."""

    def read_marks(self, run: str, *, after: int, through: int, rows_max: int, bytes_max: int) -> list[Record]:
        """As `read`, but without the partials."""

    def read_thought(
        self, run: str, thought: str, *, after: int, through: int, rows_max: int
    ) -> tuple[list[Record], int]:
        """The partials of one thought among the next `rows_max` records of the run, and the seq looked through to.

        The second value equals `through` when there is nothing more to look at.
        """

    def read_unfinished(self) -> Iterator[Record]:
        """Every record of every unfinished run, in order of seq: what a restart folds."""

    def blob(self, sha256: str) -> bytes | None:
        """A document's bytes, or None when no run holds it any more."""

    def prune(self, *, now: float, age_s_max: float, bytes_max: int, grace_s: float) -> list[str]:
        """Remove whole ended runs: those older than `age_s_max`, then the oldest beyond `bytes_max` in total.

        Never one that ended less than `grace_s` ago. At most one run a call, so that the loop goes on; returns its
        name. Each call also deletes a bounded part of what removed runs left, so call it often.
        """

    def remove(self, run: str) -> bool:
        """Remove one ended run with its documents for good; False when there is none of that name."""

    def close(self) -> None:
        """Close every connection and give the directory free."""
