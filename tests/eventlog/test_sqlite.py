"""The SQLite log: held to the interface, then to what only a real file, disk and process can show."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from conformance import EVERYTHING, EventLogConformance, mark, partial, prune, read_all
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from felixhub.eventlog import EventLog, LogBroken, LogBusy, LogError, Record, RunRow
from felixhub.eventlog.sqlite import FILE_NAME, SCHEMA_VERSION, SWEEP_BYTES_MAX, SWEEP_ROWS_MAX, SqliteLog

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def open_log(tmp_path: Path) -> Iterator[Callable[[], SqliteLog]]:
    opened: list[SqliteLog] = []

    def open_once_more() -> SqliteLog:
        log = SqliteLog.open(tmp_path / "data")
        opened.append(log)
        return log

    yield open_once_more
    for log in opened:
        log.close()


class TestSqliteLog(EventLogConformance):
    @pytest.fixture
    def open_log(self, open_log: Callable[[], SqliteLog]) -> Callable[[], EventLog]:
        return open_log


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    """A real process that runs the program with `SqliteLog` and `Record` at hand."""
    head = "import os, sys\nfrom pathlib import Path\nfrom felixhub.eventlog import *\n"
    head += "from felixhub.eventlog.sqlite import SqliteLog\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(program), *map(str, arguments)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def outcome(program: str, *arguments: object) -> str:
    with python(program, *arguments) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return str(out)


# The directory


def test_the_directory_and_its_files_are_private(open_log: Callable[[], SqliteLog], tmp_path: Path) -> None:
    open_log().commit([mark("a", 1)])
    data = tmp_path / "data"
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data.iterdir()}
    assert set(modes) == {"lock", FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"}
    assert set(modes.values()) == {0o600}


def test_a_restored_file_becomes_private_again(open_log: Callable[[], SqliteLog], tmp_path: Path) -> None:
    open_log().close()
    (tmp_path / "data" / FILE_NAME).chmod(0o644)
    open_log()
    assert stat.S_IMODE((tmp_path / "data" / FILE_NAME).stat().st_mode) == 0o600


def test_a_second_hub_is_told_the_directory_and_the_holders_pid(
    open_log: Callable[[], SqliteLog], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    with python("log = SqliteLog.open(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()", data) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LogError, match=rf"^The data directory {data} is in use .*\(pid {holder.pid}\)"):
            open_log()
        holder.kill()
    open_log().commit([mark("a", 1)])  # no stale lock


def test_two_in_one_process_are_kept_apart_too(open_log: Callable[[], SqliteLog]) -> None:
    first = open_log()
    with pytest.raises(LogError, match=f"pid {os.getpid()}"):
        open_log()
    first.commit([mark("a", 1)])


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    for path in (tmp_path / "data", tmp_path / "data" / "below"):
        with pytest.raises(LogError, match="a file is in its place"):
            SqliteLog.open(path)
    (tmp_path / "other" / FILE_NAME).mkdir(parents=True)
    with pytest.raises(LogError, match="a directory stands where a file belongs"):
        SqliteLog.open(tmp_path / "other")


def as_ordinary_user(data: Path) -> str:
    """What opening the directory says to someone whom permission bits bind: root gives its rights up first."""
    return outcome(
        """
        if os.geteuid() == 0:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        try:
            SqliteLog.open(Path(sys.argv[1]))
        except LogError as error:
            print(error)
        """,
        data,
    )


def test_no_permission_is_one_sentence(tmp_path: Path) -> None:
    for parent in [tmp_path, *tmp_path.parents][:3]:
        parent.chmod(0o711)
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    data.chmod(0o555)
    assert as_ordinary_user(data).startswith(f"No permission to write in the data directory {data}:")
    assert as_ordinary_user(data / "below").startswith("No permission")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte that really fills up."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk is not permitted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_read_only_disk_is_one_sentence(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(LogError, match="read-only file system"):
        SqliteLog.open(small_disk / "data")
    with pytest.raises(LogError, match="read-only file system"):
        SqliteLog.open(small_disk)


def test_a_full_disk_at_start_is_one_sentence(small_disk: Path) -> None:
    fill(small_disk / "filler")
    with pytest.raises(LogError, match="No space is left for the data directory"):
        SqliteLog.open(small_disk / "data")


# The file


@pytest.mark.parametrize("damage", ["torn", "overwritten", "not a database"])
def test_a_damaged_file_is_refused_and_says_what_to_do(
    open_log: Callable[[], SqliteLog], tmp_path: Path, damage: str
) -> None:
    log = open_log()
    log.commit([partial("a", seq, body=b"x" * 220) for seq in range(1, 2000)])
    log.close()
    path = tmp_path / "data" / FILE_NAME
    content = bytearray(path.read_bytes())
    if damage == "torn":
        content = content[: len(content) // 2]
    elif damage == "overwritten":
        content[4096 * 20 : 4096 * 24] = b"\xa5" * 4 * 4096
    else:
        content = bytearray(b"not a database at all, but long enough to be one" * 400)
    path.write_bytes(content)
    with pytest.raises(LogError, match=r"is damaged \(.*\): move it .* away .* or restore a backup\.$"):
        open_log()
    path.unlink()
    open_log().commit([mark("a", 1)])  # the lock was given back


def test_a_newer_schema_is_refused(open_log: Callable[[], SqliteLog], tmp_path: Path) -> None:
    open_log().close()
    connection = sqlite3.connect(tmp_path / "data" / FILE_NAME)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(LogError, match="newer FelixHub"):
        open_log()


def test_another_programs_database_is_refused(open_log: Callable[[], SqliteLog], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    connection = sqlite3.connect(tmp_path / "data" / FILE_NAME)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(LogError, match="some other program's database"):
        open_log()


def test_commits_are_synced_and_readers_cannot_write(open_log: Callable[[], SqliteLog]) -> None:
    log = open_log()
    assert log._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert log._writer.execute("PRAGMA synchronous").fetchone() == (2,)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        log._reader.execute("DELETE FROM events")


def test_the_write_ahead_log_stays_small(open_log: Callable[[], SqliteLog], tmp_path: Path) -> None:
    log = open_log()
    for start in range(1, 100_000, 1000):
        log.commit([partial(f"r{seq % 10}", seq, body=b"x" * 220) for seq in range(start, start + 1000)])
    assert (tmp_path / "data" / f"{FILE_NAME}-wal").stat().st_size < 16 * 1024 * 1024


# What fails, and what it means


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return


def commit_until_it_fails(log: SqliteLog) -> None:
    while True:
        log.commit([partial("a", log.tip() + 1, body=b"x" * 20_000), mark("b", log.tip() + 2)])


def assert_goes_on(log: SqliteLog) -> None:
    tip = log.tip()
    rows = log.runs()
    log.commit([mark("a", tip + 1), mark("new", tip + 2)])
    assert log.tip() == tip + 2
    assert [record.seq for record in read_all(log, "a")] == [*range(1, tip, 2), tip + 1]
    assert log.runs()[0] == rows[0]._replace(last_seq=tip + 1, bytes=rows[0].bytes + 2)


def test_a_full_disk_is_busy_and_passes(small_disk: Path) -> None:
    log = SqliteLog.open(small_disk / "data")
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 500_000)
    with pytest.raises(LogBusy, match="No space is left"):
        commit_until_it_fails(log)
    with pytest.raises(LogBusy):
        commit_until_it_fails(log)
    filler.unlink()
    assert_goes_on(log)
    log.close()
    log = SqliteLog.open(small_disk / "data")
    assert log._writer.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    log.close()


def test_a_full_database_is_busy_and_passes(open_log: Callable[[], SqliteLog]) -> None:
    log = open_log()
    log._writer.execute("PRAGMA max_page_count = 100")
    with pytest.raises(LogBusy, match="database or disk is full"):
        commit_until_it_fails(log)
    log._writer.execute("PRAGMA max_page_count = 1000000")
    assert_goes_on(log)
    log.close()
    assert [row.run for row in open_log().runs()] == ["a", "b", "new"]


def test_somebody_elses_lock_is_busy_and_passes(open_log: Callable[[], SqliteLog], tmp_path: Path) -> None:
    log = open_log()
    log.commit([mark("a", 1), mark("b", 2)])
    log._writer.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(tmp_path / "data" / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogBusy, match="Another program"):
        log.commit([mark("a", 3)])
    other.close()
    assert_goes_on(log)


@pytest.mark.parametrize("checkpoint_pages", [50, 1_000_000])
def test_an_io_error_is_final(tmp_path: Path, checkpoint_pages: int) -> None:
    """A limit on file sizes makes real writes fail: in the file at a checkpoint, or else in the write-ahead log."""
    program = """
        import resource
        from felixhub.eventlog import sqlite
        sqlite.CHECKPOINT_PAGES = int(sys.argv[2])
        log = SqliteLog.open(Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        for _ in range(2):
            try:
                while True:
                    log.commit([Record("a", log.tip() + 1, "t", b"x" * 2000)])
            except LogBroken as error:
                print(error)
        print(log.tip())
        log.close()
    """
    *sentences, tip = outcome(program, tmp_path, checkpoint_pages).splitlines()
    assert len(sentences) == 2
    assert sentences[0] == sentences[1]
    assert "SQLITE_IOERR" in sentences[0]
    assert "what is on the disk is unknown" in sentences[0]
    log = SqliteLog.open(tmp_path)
    assert log.tip() >= int(tip)
    assert [record.seq for record in read_all(log, "a")] == [*range(1, log.tip() + 1)]
    log.close()


def test_damage_found_while_reading_is_final(open_log: Callable[[], SqliteLog], tmp_path: Path) -> None:
    log = open_log()
    log.commit([partial("a", seq, body=b"x" * 220) for seq in range(1, 2000)], ended={"a": 1.0})
    log.close()
    log = open_log()  # an ended run is not looked at here, so that the reader has none of its pages yet
    with (tmp_path / "data" / FILE_NAME).open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xa5" * 4096 * 60)
    with pytest.raises(LogBroken, match="SQLITE_CORRUPT"):
        read_all(log, "a")
    with pytest.raises(LogBroken):
        log.commit([mark("a", 3000)])


def test_a_failure_of_ours_in_a_commit_leaves_nothing(tmp_path: Path) -> None:
    failures = [RuntimeError("here"), KeyboardInterrupt()]

    def fail(name: str) -> None:
        assert name == "in_transaction"
        if failures:
            raise failures.pop()

    log = SqliteLog.open(tmp_path, failpoint=fail)
    for expected in (KeyboardInterrupt, RuntimeError):
        with pytest.raises(expected):
            log.commit([mark("a", 1)], ended={"a": 1.0}, blobs={"a": {"00": b"x"}})
        assert (log.tip(), log.runs(), log.blob("00"), read_all(log, "a")) == (0, [], None, [])
    log.commit([mark("a", 1)])
    assert log.runs() == [RunRow("a", 1, 1, 2, None)]
    log.close()


# Kill


WRITER = """
    log = SqliteLog.open(Path(sys.argv[1]))
    while True:
        first = log.tip() + 1
        size = 1 + first % 37
        log.commit([Record(f"r{seq % 3}", seq, "t", b"%d " % first * 40) for seq in range(first, first + size)])
        print(first + size - 1, flush=True)
"""


def test_what_a_killed_writer_reported_is_there(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(6):
        with python(WRITER, tmp_path) as writer:
            assert writer.stdout is not None
            reported = int(writer.stdout.readline())
            time.sleep(chance.uniform(0.0, 0.25))  # when to pull the plug is what is random here
            writer.kill()
            out, _ = writer.communicate()
        # A kill may cut the last line short: it is reported only once its end of line is there.
        reported = max([reported, *(int(line) for line in out.splitlines(keepends=True) if line.endswith("\n"))])
        log = SqliteLog.open(tmp_path)
        assert log.tip() >= reported
        records = list(log.read_unfinished())
        assert [record.seq for record in records] == [*range(1, log.tip() + 1)]
        first = int(records[-1].body.split()[0])
        assert records[-1].seq == first + first % 37, "the last commit is whole"
        log.close()


def test_a_writer_killed_within_a_commit_leaves_nothing_of_it(tmp_path: Path) -> None:
    program = """
        import signal
        armed = False
        def failpoint(name):
            if armed: os.kill(os.getpid(), signal.SIGKILL)
        log = SqliteLog.open(Path(sys.argv[1]), failpoint=failpoint)
        log.commit([Record("a", 1, None, b"{}")])
        armed = True
        log.commit([Record("a", seq, None, b"x" * 1000) for seq in range(2, 99_000)], ended={"a": 1.0})
    """
    with python(program, tmp_path) as writer:
        _, err = writer.communicate(timeout=30)
    assert writer.returncode == -signal.SIGKILL, err
    log = SqliteLog.open(tmp_path)
    assert (log.tip(), log.runs()) == (1, [RunRow("a", 1, 1, 2, None)])
    log.close()


# Removing


def rows_left(log: SqliteLog) -> int:
    (count,) = log._writer.execute("SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM blobs)").fetchone()
    return int(count)


def bytes_left(log: SqliteLog) -> int:
    (size,) = log._writer.execute(
        "SELECT coalesce(sum(length(body)), 0) FROM (SELECT body FROM events UNION ALL SELECT body FROM blobs)"
    ).fetchone()
    return int(size)


def test_a_huge_run_goes_at_once_for_readers_and_in_bounded_steps_from_the_file(
    open_log: Callable[[], SqliteLog],
) -> None:
    log = open_log()
    log.commit([partial("kept", 1)])
    log.commit(
        [partial("huge", seq) for seq in range(2, 20_002)],
        ended={"huge": 1.0},
        blobs={"huge": {"00": b"x", "01": b"y"}},
    )
    assert log.remove("huge")
    assert log.blob("00") is None
    assert [row.run for row in log.runs()] == ["kept"]
    counts = [rows_left(log)]
    log.close()
    log = open_log()  # the rest is remembered
    while counts[-1] > 1:
        assert prune(log, 1.0) == []
        counts.append(rows_left(log))
    steps = [before - after for before, after in pairwise([20_003, *counts])]
    assert max(steps) <= SWEEP_ROWS_MAX
    assert len(steps) == 20_002 // SWEEP_ROWS_MAX + 1
    assert log._writer.execute("SELECT count(*) FROM removed").fetchone() == (0,)
    assert read_all(log, "kept") == [partial("kept", 1)]


def test_large_records_make_the_steps_shorter(open_log: Callable[[], SqliteLog]) -> None:
    log = open_log()
    documents = {f"{number:02}": b"x" * 1_000_000 for number in range(10)}
    log.commit([mark("a", seq, b"x" * 2_000_000) for seq in range(1, 5)], ended={"a": 1.0}, blobs={"a": documents})
    assert log.remove("a")
    sizes = [18_000_000, bytes_left(log)]
    while sizes[-1]:
        assert prune(log, 1.0) == []
        sizes.append(bytes_left(log))
    steps = [before - after for before, after in pairwise(sizes)]
    assert max(steps) <= SWEEP_BYTES_MAX + 2_000_000, "a step may go over by one row"
    assert len(steps) >= 4


def test_pages_of_removed_runs_are_used_again(open_log: Callable[[], SqliteLog]) -> None:
    log = open_log()
    sizes = []
    for number in range(6):
        run, tip = f"r{number}", log.tip()
        log.commit([partial(run, seq, body=b"x" * 220) for seq in range(tip + 1, tip + 3000)], ended={run: 1.0})
        log.remove(run)
        prune(log, 1.0)
        sizes.append(log._writer.execute("PRAGMA page_count").fetchone()[0])
    assert sizes[-1] <= sizes[0] + 10


# Against a model


class LogAgainstModel(RuleBasedStateMachine):
    """Every answer of the log equals that of a dict, whatever was committed, failed, pruned, removed or reopened."""

    runs = st.sampled_from("abcd")

    @initialize()
    def start(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.failing = False
        self.records: dict[str, list[Record]] = {}
        self.ended: dict[str, float] = {}
        self.documents: dict[str, dict[str, bytes]] = {}
        self.known_tip = 0
        self.log = self.opened()

    def opened(self) -> SqliteLog:
        return SqliteLog.open(Path(self.directory.name), failpoint=self.failpoint)

    def failpoint(self, name: str) -> None:
        if self.failing:
            raise RuntimeError(name)

    def teardown(self) -> None:
        self.log.close()
        self.directory.cleanup()

    @rule(
        what=st.lists(st.tuples(runs, st.integers(1, 3), st.sampled_from([None, "t", "u"]), st.binary(max_size=30))),
        ending=st.sets(runs),
        at=st.integers(0, 50),
        documents=st.dictionaries(st.sampled_from(["00", "01"]), st.just(b"document")),
        failing=st.booleans(),
    )
    def commit(
        self,
        what: list[tuple[str, int, str | None, bytes]],
        ending: set[str],
        at: int,
        documents: dict[str, bytes],
        failing: bool,
    ) -> None:
        batch = []
        seq = self.known_tip
        for run, step, thought, body in what:
            seq += step
            batch.append(Record(run, seq, thought, body))
        there = set(self.records) | {record.run for record in batch}
        ended = {run: float(at) for run in sorted(ending & there) if run not in self.ended}
        blobs = documents if batch else {}
        self.failing = failing
        try:
            self.log.commit(batch, ended=ended, blobs={batch[0].run: blobs} if blobs else None)
        except RuntimeError:
            return
        finally:
            self.failing = False
        for record in batch:
            self.records.setdefault(record.run, []).append(record)
        self.ended.update(ended)
        if batch:
            self.documents.setdefault(batch[0].run, {}).update(blobs)
        self.known_tip = seq

    @rule(run=runs)
    def remove(self, run: str) -> None:
        assert self.log.remove(run) == (run in self.ended)
        if run in self.ended:
            self.forget(run)

    @rule(
        now=st.integers(0, 100), age_s_max=st.integers(0, 60), bytes_max=st.integers(0, 200), grace_s=st.integers(0, 9)
    )
    def prune(self, now: int, age_s_max: int, bytes_max: int, grace_s: int) -> None:
        total = sum(self.size(run) for run in self.records)
        oldest = sorted(self.ended, key=lambda run: (self.ended[run], self.records[run][0].seq))
        expected = []
        for run in oldest[:1]:
            age_s = now - self.ended[run]
            if age_s >= grace_s and (age_s > age_s_max or total > bytes_max):
                expected = [run]
        pruned = self.log.prune(now=now, age_s_max=age_s_max, bytes_max=bytes_max, grace_s=grace_s)
        assert pruned == expected
        for run in pruned:
            self.forget(run)

    @rule()
    def reopen(self) -> None:
        self.log.close()
        self.log = self.opened()

    def forget(self, run: str) -> None:
        del self.records[run], self.ended[run]
        self.documents.pop(run, None)

    def size(self, run: str) -> int:
        documents = self.documents.get(run, {}).values()
        return sum(len(record.body) for record in self.records[run]) + sum(map(len, documents))

    @invariant()
    def answers_agree(self) -> None:
        if not hasattr(self, "log"):
            return
        log = self.log
        assert log.tip() == self.known_tip
        by_age = sorted(self.records, key=lambda run: self.records[run][0].seq)
        assert log.runs() == [
            RunRow(run, records[0].seq, records[-1].seq, self.size(run), self.ended.get(run))
            for run in by_age
            for records in [self.records[run]]
        ]
        for run in "abcd":
            records = self.records.get(run, [])
            assert read_all(log, run) == records
            marks = log.read_marks(run, after=0, through=EVERYTHING, rows_max=9999, bytes_max=EVERYTHING)
            assert marks == [record for record in records if record.thought is None]
            texts, through = log.read_thought(run, "t", after=0, through=EVERYTHING, rows_max=9999)
            assert (texts, through) == ([record for record in records if record.thought == "t"], EVERYTHING)
        unfinished = [record for run in self.records if run not in self.ended for record in self.records[run]]
        assert list(log.read_unfinished()) == sorted(unfinished, key=lambda record: record.seq)
        for sha256 in ("00", "01"):
            held = any(sha256 in documents for documents in self.documents.values())
            assert log.blob(sha256) == (b"document" if held else None)


TestLogAgainstModel = LogAgainstModel.TestCase
TestLogAgainstModel.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
