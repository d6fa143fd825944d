"""The event log in one SQLite file.

Owns: the file `log.sqlite3`, its schema, its durability, and which SQLite error means what. Must not: look inside a
record, retry, or read a clock.

    events   key = run_no · 2^40 + seq    one B-tree: a run is a stretch of it, replay is one scan, and appending to one
                                          run costs the same however long the log is and however many runs interleave
    runs     run_no ◄──► run              first and last seq, bytes and end; exact once the run has ended
    removed  run_no                       runs that are gone for every reader, whose rows are still being deleted
    blobs    documents of a run           boots    lives of the hub           meta    the tip, noted when a run goes

Measured against `PRIMARY KEY (run_no, seq) WITHOUT ROWID`: 25 % more records a second, since the inner pages hold keys
only. Against one B-tree by seq with an index by run: a quarter fewer when 50 runs interleave, but replay is 2.5
times as fast and removing a run frees whole pages.

Everything that a commit would have to update besides its records (tip, last seqs, sizes) is kept in memory and derived
again at start: a commit of one record writes one page.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush, merge
from operator import itemgetter
from pathlib import Path

from felixhub.eventlog import Boot, LogBroken, LogBusy, LogError, Record, RunRow
from felixhub.eventlog.directory import DataDirectory

FILE_NAME = "log.sqlite3"
SCHEMA_VERSION = 1
SEQ_BITS = 40
SEQ_MAX = (1 << SEQ_BITS) - 1  # 34 years at 1,000 events a second
RUN_NO_MAX = (1 << (63 - SEQ_BITS)) - 1  # 8 million runs
BUSY_TIMEOUT_MS = 500  # only somebody else's tool can hold the lock; longer would eat into the workers' leases
CACHE_KIB = 16 * 1024  # for each of the two connections; four times as much was no faster
PAGE_BYTES = 4096
CHECKPOINT_PAGES = 1000  # 4 MiB of new pages; four times as many was no faster and stalled the loop for 30 ms
WAL_BYTES_KEPT = 64 * 1024 * 1024
SWEEP_ROWS_MAX = 2000
SWEEP_BYTES_MAX = 4 * 1024 * 1024
UNFINISHED_ROWS_MAX = 20_000  # held in memory at once by `read_unfinished`, over all runs
UNFINISHED_PAGE_BYTES_MAX = 1024 * 1024

SCHEMA = (
    "CREATE TABLE events (key INTEGER PRIMARY KEY, thought TEXT, body BLOB NOT NULL)",
    "CREATE INDEX marks ON events (key) WHERE thought IS NULL",
    "CREATE TABLE runs (run_no INTEGER PRIMARY KEY, run TEXT NOT NULL UNIQUE, first_seq INTEGER NOT NULL,"
    " last_seq INTEGER NOT NULL, bytes INTEGER NOT NULL, ended_at REAL)",
    "CREATE TABLE removed (run_no INTEGER PRIMARY KEY)",
    "CREATE TABLE blobs (blob_no INTEGER PRIMARY KEY, run_no INTEGER NOT NULL, sha256 TEXT NOT NULL,"
    " body BLOB NOT NULL)",
    "CREATE UNIQUE INDEX blobs_by_sha256 ON blobs (sha256, run_no)",
    "CREATE INDEX blobs_by_run ON blobs (run_no)",
    "CREATE TABLE boots (boot_no INTEGER PRIMARY KEY, boot TEXT NOT NULL UNIQUE, first_seq INTEGER NOT NULL)",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

INSERT_EVENT = "INSERT INTO events VALUES (?, ?, ?)"
INSERT_BLOB = "INSERT OR IGNORE INTO blobs (run_no, sha256, body) VALUES (?, ?, ?)"
STORE_RUN = (
    "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (run_no) DO UPDATE"
    " SET last_seq = excluded.last_seq, bytes = excluded.bytes, ended_at = excluded.ended_at"
)
READ = "SELECT key, thought, body FROM events WHERE key > ? AND key <= ? ORDER BY key LIMIT ?"
READ_MARKS = (
    "SELECT key, thought, body FROM events INDEXED BY marks"
    " WHERE key > ? AND key <= ? AND thought IS NULL ORDER BY key LIMIT ?"
)
READ_THOUGHT = (  # the others' bodies are not even copied
    "SELECT key, CASE WHEN thought = ? THEN body END FROM events WHERE key > ? AND key <= ? ORDER BY key LIMIT ?"
)
EVENT_SIZES = "SELECT key, length(body) FROM events WHERE key > ? AND key <= ? ORDER BY key LIMIT ?"
BLOB_SIZES = "SELECT blob_no, length(body) FROM blobs WHERE run_no BETWEEN ? AND ? ORDER BY blob_no LIMIT ?"

OUR_FAULT = frozenset(
    (
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_INTERRUPT,
    )
)


@dataclass(slots=True)
class _Run:
    run_no: int
    run: str
    first_seq: int
    last_seq: int
    bytes: int
    ended_at: float | None

    @property
    def before(self) -> int:
        """The key below the run's first: add a seq to it."""
        return self.run_no << SEQ_BITS


class SqliteLog:
    """An `EventLog` for one thread. `open` one; `close` it.

    `failpoint` is called with "in_transaction" when a commit has written its records and not yet committed them.
    """

    @classmethod
    def open(cls, directory: Path, *, failpoint: Callable[[str], None] | None = None) -> SqliteLog:
        """Lock the directory, open and check the log in it; `LogError` says in one sentence why it cannot be used."""
        held = DataDirectory.hold(directory)
        try:
            return cls(held, failpoint=failpoint)
        except BaseException:
            held.close()
            raise

    def __init__(self, directory: DataDirectory, *, failpoint: Callable[[str], None] | None = None) -> None:
        self._directory = directory
        self._failpoint = failpoint
        self._path = directory.create(FILE_NAME)
        self._runs: dict[str, _Run] = {}  # oldest first
        self._ended: list[tuple[float, int, str]] = []  # a heap, oldest end first; entries of removed runs linger
        self._removed: list[int] = []
        self._next_run_no = 1
        self._bytes = 0
        self._tip = 0
        self._pages_to_checkpoint = 0
        self._broken: str | None = None
        opened: list[sqlite3.Connection] = []
        try:
            self._writer = _connect(self._path, "rw")
            opened.append(self._writer)
            self._prepare()
            self._reader = _connect(self._path, "ro")
            opened.append(self._reader)
            self._reader.execute("PRAGMA query_only = ON")
            self._load()
        except BaseException as error:
            for connection in opened:
                connection.close()
            if isinstance(error, sqlite3.Error):
                raise LogError(_opening_sentence(self._path, error)) from error
            raise
        directory.sync()

    def _prepare(self) -> None:
        writer = self._writer
        writer.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        (version,) = writer.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise LogError(
                f"The log {self._path} was written by a newer FelixHub (schema {version}, this one knows"
                f" {SCHEMA_VERSION}): start that one, or name another data directory."
            )
        (check,) = writer.execute("PRAGMA quick_check(1)").fetchone()
        if check != "ok":
            raise LogError(_damaged(self._path, str(check).splitlines()[-1]))
        (mode,) = writer.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise LogError(f"The log {self._path} needs a disk of this computer, not a network's: name another place.")
        writer.execute("PRAGMA synchronous = FULL")  # a commit is on the disk before anyone hears of it
        writer.execute("PRAGMA fullfsync = ON")  # macOS: past the disk's own cache; elsewhere without effect
        writer.execute("PRAGMA checkpoint_fullfsync = ON")
        # We checkpoint ourselves: the automatic one keeps a failed fsync to itself.
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")
        writer.execute("PRAGMA secure_delete = ON")  # removed for good: zeros, wherever this SQLite was built
        # No vacuum. A full one copies the file while the hub stands still; an incremental one costs every commit
        # pages that map pages. Retention bounds the file, and the next runs fill the pages that removed ones left.
        if version == 0:
            (tables,) = writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables:
                raise LogError(f"The file {self._path} is some other program's database: name another data directory.")
            writer.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA:
                writer.execute(statement)
            writer.execute("COMMIT")

    def _load(self) -> None:
        """Derive what is kept in memory. Sizes of unfinished runs come from their records, as everything else does."""
        reader = self._reader
        rows = reader.execute("SELECT run_no, run, first_seq, last_seq, bytes, ended_at FROM runs ORDER BY run_no")
        for row in rows.fetchall():
            known = _Run(*row)
            if known.ended_at is None:
                (last, size) = reader.execute(
                    "SELECT max(key), sum(length(body)) FROM events WHERE key > ? AND key <= ?",
                    (known.before, known.before + SEQ_MAX),
                ).fetchone()
                (documents,) = reader.execute(
                    "SELECT coalesce(sum(length(body)), 0) FROM blobs WHERE run_no = ?", (known.run_no,)
                ).fetchone()
                known.last_seq = last - known.before
                known.bytes = size + documents
            else:
                self._ended.append((known.ended_at, known.run_no, known.run))
            self._runs[known.run] = known
            self._bytes += known.bytes
        heapify(self._ended)
        self._removed = [run_no for (run_no,) in reader.execute("SELECT run_no FROM removed ORDER BY run_no")]
        taken = [known.run_no for known in self._runs.values()] + self._removed
        self._next_run_no = max(taken, default=0) + 1
        (noted,) = reader.execute("SELECT coalesce(max(value), 0) FROM meta WHERE name = 'tip'").fetchone()
        self._tip = max([noted, *(known.last_seq for known in self._runs.values())])

    # Writing

    def start_boot(self, boot: str) -> tuple[Boot, ...]:
        with self._transaction() as writer:
            writer.execute("INSERT INTO boots (boot, first_seq) VALUES (?, ?)", (boot, self._tip + 1))
        with self._reading():
            rows = self._reader.execute("SELECT boot, first_seq FROM boots ORDER BY boot_no").fetchall()
        return tuple(Boot(*row) for row in rows)

    def tip(self) -> int:
        return self._tip

    def commit(
        self,
        records: Sequence[Record],
        *,
        ended: dict[str, float] | None = None,
        blobs: dict[str, dict[str, bytes]] | None = None,
    ) -> None:
        if not records and not ended:
            assert not blobs, "documents belong to a run among the records"
            return
        touched: dict[str, _Run] = {}  # copies: a commit that fails changes nothing
        rows: list[tuple[int, str | None, bytes]] = []
        last_seq = self._tip
        size = 0
        for run, seq, thought, body in records:
            known = touched.get(run)
            if known is None:
                known = touched[run] = self._touch(run, seq, new_before=len(touched))
            assert seq > last_seq, "a log is one sequence"
            known.last_seq = last_seq = seq
            known.bytes += len(body)
            size += len(body)
            rows.append(((known.run_no << SEQ_BITS) + seq, thought, body))
        if last_seq > SEQ_MAX or self._next_run_no + len(touched) > RUN_NO_MAX:
            raise LogError(f"The log {self._path} has used up its numbers: name another data directory.")
        for run, ended_at in (ended or {}).items():
            known = touched.get(run)
            if known is None:
                known = touched[run] = replace(self._runs[run])
            assert known.ended_at is None, "a run ends once"
            known.ended_at = ended_at

        with self._transaction() as writer:
            writer.executemany(INSERT_EVENT, rows)
            for run, documents in (blobs or {}).items():
                holder = touched[run]
                for sha256, document in documents.items():
                    if writer.execute(INSERT_BLOB, (holder.run_no, sha256, document)).rowcount == 1:
                        holder.bytes += len(document)
                        size += len(document)
            for run, known in touched.items():
                if known.ended_at is not None or run not in self._runs:
                    row = (known.run_no, run, known.first_seq, known.last_seq, known.bytes, known.ended_at)
                    writer.execute(STORE_RUN, row)
            if self._failpoint is not None:
                self._failpoint("in_transaction")

        for run, known in touched.items():
            before = self._runs.get(run)
            self._bytes += known.bytes - (before.bytes if before else 0)
            self._next_run_no = max(self._next_run_no, known.run_no + 1)
            if known.ended_at is not None and (before is None or before.ended_at is None):
                heappush(self._ended, (known.ended_at, known.run_no, run))
            self._runs[run] = known
        self._tip = last_seq
        self._checkpoint_if_due(1 + len(touched) + size // PAGE_BYTES)

    def _touch(self, run: str, seq: int, *, new_before: int) -> _Run:
        known = self._runs.get(run)
        if known is not None:
            return replace(known)
        return _Run(self._next_run_no + new_before, run, first_seq=seq, last_seq=seq, bytes=0, ended_at=None)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; SQLite's errors come out as ours. An I/O error is final."""
        if self._broken is not None:
            raise LogBroken(self._broken)
        writer = self._writer
        try:
            writer.execute("BEGIN IMMEDIATE")
            yield writer
            writer.execute("COMMIT")
        except BaseException as error:
            cause: BaseException = error
            if writer.in_transaction:
                try:
                    writer.execute("ROLLBACK")
                except sqlite3.Error as rolling_back:
                    cause = rolling_back
            translated = self._translate(cause)
            if translated is None:
                raise
            raise translated from cause

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            translated = self._translate(error)
            if translated is None:
                raise
            raise translated from error

    def _translate(self, error: BaseException) -> LogError | None:
        """What an error of SQLite means to the hub; None for one that is our own fault, or not SQLite's."""
        code = getattr(error, "sqlite_errorcode", None)
        if not isinstance(error, sqlite3.DatabaseError) or code is None or code & 0xFF in OUR_FAULT:
            return None
        if code & 0xFF == sqlite3.SQLITE_FULL:
            return LogBusy(f"No space is left for the log {self._path} ({error}): free some and the hub goes on.")
        if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return LogBusy(f"Another program has locked the log {self._path} ({error}): close it and the hub goes on.")
        # Every other one, SQLITE_IOERR_SHMSIZE too although it means no space: the commit may be in the file by then.
        self._broken = (
            f"The log {self._path} failed ({error}, {error.sqlite_errorname}): what is on the disk is unknown until"
            f" the hub starts again; look after the disk first."
        )
        return LogBroken(self._broken)

    def _checkpoint_if_due(self, pages: int) -> None:
        """Copy the write-ahead log into the file now and then. What it holds is durable already.

        Only this connection ever does so: before 3.51.3, two at once could corrupt the file.
        """
        self._pages_to_checkpoint += pages
        if self._pages_to_checkpoint < CHECKPOINT_PAGES:
            return
        self._pages_to_checkpoint = 0
        try:
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            translated = self._translate(error)
            if translated is None:
                raise
            if isinstance(translated, LogBroken):
                raise translated from error
            # No room in the file: the commit holds, the write-ahead log grows, the next checkpoint tries again.

    # Reading

    def runs(self, *, unfinished: bool = False) -> list[RunRow]:
        return [
            RunRow(known.run, known.first_seq, known.last_seq, known.bytes, known.ended_at)
            for known in self._runs.values()
            if not unfinished or known.ended_at is None
        ]

    def read(self, run: str, *, after: int, through: int, rows_max: int, bytes_max: int) -> list[Record]:
        return self._page(READ, run, after=after, through=through, rows_max=rows_max, bytes_max=bytes_max)

    def read_marks(self, run: str, *, after: int, through: int, rows_max: int, bytes_max: int) -> list[Record]:
        return self._page(READ_MARKS, run, after=after, through=through, rows_max=rows_max, bytes_max=bytes_max)

    def _page(self, query: str, run: str, *, after: int, through: int, rows_max: int, bytes_max: int) -> list[Record]:
        known = self._runs.get(run)
        if known is None:
            return []
        before = known.before
        page: list[Record] = []
        size = 0
        bounds = (before + min(after, SEQ_MAX), before + min(through, SEQ_MAX), rows_max)
        # Closing a cursor ends its read transaction; an open one would keep the write-ahead log from starting over.
        with self._reading(), closing(self._reader.execute(query, bounds)) as cursor:
            for key, thought, body in cursor:
                size += len(body)
                if page and size > bytes_max:
                    break
                page.append(Record(run, key - before, thought, body))
        return page

    def read_thought(
        self, run: str, thought: str, *, after: int, through: int, rows_max: int
    ) -> tuple[list[Record], int]:
        known = self._runs.get(run)
        if known is None:
            return [], through
        before = known.before
        bounds = (thought, before + min(after, SEQ_MAX), before + min(through, SEQ_MAX), rows_max)
        with self._reading():
            rows = self._reader.execute(READ_THOUGHT, bounds).fetchall()
        looked_through = through if len(rows) < rows_max else rows[-1][0] - before
        return [Record(run, key - before, thought, body) for key, body in rows if body is not None], looked_through

    def read_unfinished(self) -> Iterator[Record]:
        unfinished = [known for known in self._runs.values() if known.ended_at is None]
        rows_max = max(16, UNFINISHED_ROWS_MAX // max(1, len(unfinished)))
        whole = (self._whole(known.run, through=known.last_seq, rows_max=rows_max) for known in unfinished)
        return merge(*whole, key=itemgetter(1))

    def _whole(self, run: str, *, through: int, rows_max: int) -> Iterator[Record]:
        after = 0
        while after < through:
            page = self.read(run, after=after, through=through, rows_max=rows_max, bytes_max=UNFINISHED_PAGE_BYTES_MAX)
            if not page:
                return  # removed meanwhile
            yield from page
            after = page[-1].seq

    def blob(self, sha256: str) -> bytes | None:
        with self._reading():
            row = self._reader.execute(
                "SELECT body FROM blobs JOIN runs USING (run_no) WHERE sha256 = ? LIMIT 1", (sha256,)
            ).fetchone()
        if row is None:
            return None
        body: bytes = row[0]
        return body

    # Removing

    def prune(self, *, now: float, age_s_max: float, bytes_max: int, grace_s: float) -> list[str]:
        """As the interface says, and deletes a stretch of what was removed earlier: call it at every beat.

        With nothing to do it costs a microsecond; else at most `SWEEP_ROWS_MAX` rows and `SWEEP_BYTES_MAX` bytes.
        """
        ended = self._ended
        while ended and not self._is_current(ended[0]):
            heappop(ended)
        due: _Run | None = None
        if ended:
            age_s = now - ended[0][0]
            if age_s >= grace_s and (age_s > age_s_max or self._bytes > bytes_max):
                due = self._runs[ended[0][2]]
        if due is not None or self._removed:
            self._remove(due)
        return [] if due is None else [due.run]

    def remove(self, run: str) -> bool:
        known = self._runs.get(run)
        if known is None or known.ended_at is None:
            return False
        self._remove(known)
        return True

    def _is_current(self, entry: tuple[float, int, str]) -> bool:
        known = self._runs.get(entry[2])
        return known is not None and known.run_no == entry[1]

    def _remove(self, known: _Run | None) -> None:
        """Take a run out of every reader's sight, and sweep once: a huge run must not stall the loop."""
        removed = [*self._removed] if known is None else [*self._removed, known.run_no]
        with self._transaction() as writer:
            if known is not None:
                writer.execute("DELETE FROM runs WHERE run_no = ?", (known.run_no,))
                writer.execute("INSERT INTO removed VALUES (?)", (known.run_no,))
                writer.execute("INSERT OR REPLACE INTO meta VALUES ('tip', ?)", (self._tip,))
            left, pages = _sweep(writer, removed)
        self._removed = left
        if known is not None:
            del self._runs[known.run]
            self._bytes -= known.bytes
        self._checkpoint_if_due(pages)

    def close(self) -> None:
        # Whoever is last moves the write-ahead log into the file and deletes it. A reader cannot. So the writer is
        # last, but not after an I/O error: what the log then still holds is left as it is for the next start to judge.
        connections = [self._reader, self._writer]
        for connection in connections if self._broken is None else reversed(connections):
            connection.close()
        self._directory.close()


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


def _sweep(writer: sqlite3.Connection, removed: Sequence[int]) -> tuple[list[int], int]:
    """Delete a bounded stretch of removed runs' rows; the run_nos that may still have some, and the pages written."""
    rows_left, bytes_left = SWEEP_ROWS_MAX, SWEEP_BYTES_MAX
    for swept, run_no in enumerate(removed):
        before = run_no << SEQ_BITS
        for select, delete, bounds in (
            (EVENT_SIZES, "DELETE FROM events WHERE key = ?", (before, before + SEQ_MAX)),
            (BLOB_SIZES, "DELETE FROM blobs WHERE blob_no = ?", (run_no, run_no)),
        ):
            keys: list[tuple[int]] = []
            # One more than allowed, to see whether it is the last. Sizes are in the leaf pages: no body is read.
            for key, size in writer.execute(select, (*bounds, max(0, rows_left) + 1)).fetchall():
                if rows_left <= 0 or bytes_left <= 0:
                    writer.executemany(delete, keys)
                    return list(removed[swept:]), _pages(bytes_left)
                keys.append((key,))
                rows_left -= 1
                bytes_left -= size
            writer.executemany(delete, keys)
        writer.execute("DELETE FROM removed WHERE run_no = ?", (run_no,))
        rows_left -= 1  # Runs of no rows at all count too.
    return [], _pages(bytes_left)


def _pages(bytes_left: int) -> int:
    return 1 + (SWEEP_BYTES_MAX - bytes_left) // PAGE_BYTES


def _damaged(path: Path, detail: str) -> str:
    return (
        f"The log {path} is damaged ({detail}): move it and the files {path.name}-* beside it away to start with an"
        f" empty one, or restore a backup."
    )


def _opening_sentence(path: Path, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    match sqlite3.SQLITE_FULL if code == sqlite3.SQLITE_IOERR_SHMSIZE else code & 0xFF:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return _damaged(path, str(error))
        case sqlite3.SQLITE_FULL:
            return f"No space is left for the log {path}: free some, or name another data directory."
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"Another program has locked the log {path}: close it and start again."
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"The log {path} cannot be written: change the owner or mode of its directory, or name another."
        case _:
            return f"The log {path} cannot be opened ({error}): look after the disk, or restore a backup."
