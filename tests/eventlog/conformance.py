"""What every event log is held to, one test per sentence of the interface.

Owns: the suite, written against `EventLog` alone. Must not: know any implementation. To hold one to it, subclass
`EventLogConformance` in a test module and give it the fixture `open_log`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from felixhub.eventlog import Boot, EventLog, Record, RunRow

EVERYTHING = 1 << 30


def mark(run: str, seq: int, body: bytes = b"{}") -> Record:
    return Record(run, seq, None, body)


def partial(run: str, seq: int, thought: str = "t1", body: bytes = b'{"text":"x"}') -> Record:
    return Record(run, seq, thought, body)


def read_all(log: EventLog, run: str) -> list[Record]:
    return log.read(run, after=0, through=EVERYTHING, rows_max=100_000, bytes_max=EVERYTHING)


def prune(
    log: EventLog, now: float, *, age_s_max: float = 1e9, bytes_max: int = EVERYTHING, grace_s: float = 0.0
) -> list[str]:
    return log.prune(now=now, age_s_max=age_s_max, bytes_max=bytes_max, grace_s=grace_s)


class EventLogConformance:
    @pytest.fixture
    def open_log(self) -> Callable[[], EventLog]:
        """Opens the log of this test; called again after `close`, the same one as it was left."""
        raise NotImplementedError

    @pytest.fixture
    def log(self, open_log: Callable[[], EventLog]) -> EventLog:
        return open_log()

    # Boots and the tip

    def test_an_empty_log_is_empty(self, log: EventLog) -> None:
        assert log.tip() == 0
        assert log.runs() == []
        assert list(log.read_unfinished()) == []
        assert read_all(log, "nobody") == []
        assert log.blob("00") is None
        assert prune(log, 0.0) == []

    def test_boots_are_remembered_oldest_first_with_the_seq_they_start_at(
        self, open_log: Callable[[], EventLog]
    ) -> None:
        log = open_log()
        assert log.start_boot("zz") == (Boot("zz", 1),)
        log.commit([mark("a", 1), mark("a", 2)])
        log.close()
        log = open_log()
        assert log.start_boot("aa") == (Boot("zz", 1), Boot("aa", 3))
        log.close()
        assert open_log().start_boot("mm") == (Boot("zz", 1), Boot("aa", 3), Boot("mm", 3))

    def test_the_tip_is_the_highest_seq_and_survives(self, open_log: Callable[[], EventLog]) -> None:
        log = open_log()
        log.commit([mark("a", 1), mark("b", 7)])
        log.commit([mark("a", 9)])
        assert log.tip() == 9
        log.close()
        assert open_log().tip() == 9

    @pytest.mark.parametrize("how", ["prune", "remove"])
    def test_the_tip_is_never_lowered(self, open_log: Callable[[], EventLog], how: str) -> None:
        log = open_log()
        log.commit([mark("a", 1)])
        log.commit([mark("b", 2)], ended={"b": 10.0})
        assert log.remove("b") if how == "remove" else prune(log, 99.0, age_s_max=1.0) == ["b"]
        assert log.tip() == 2
        log.close()
        log = open_log()
        assert log.tip() == 2
        assert log.start_boot("x") == (Boot("x", 3),)

    # Commit

    def test_what_was_committed_is_read_back_byte_for_byte(self, open_log: Callable[[], EventLog]) -> None:
        log = open_log()
        records = [mark("a", 1, b""), partial("a", 2, "t", bytes(range(256))), partial("b", 3, "é" * 9, b"y" * 300_000)]
        log.commit(records)
        assert read_all(log, "a") == records[:2]
        log.close()
        log = open_log()
        assert read_all(log, "a") == records[:2]
        assert read_all(log, "b") == records[2:]

    def test_a_commit_of_nothing_changes_nothing(self, log: EventLog) -> None:
        log.commit([])
        assert (log.tip(), log.runs()) == (0, [])

    def test_all_records_or_none(self, log: EventLog) -> None:
        log.commit([mark("a", 5)])
        with pytest.raises(AssertionError):
            log.commit([mark("a", 6), mark("b", 7), mark("b", 7)], ended={"a": 1.0})
        assert log.tip() == 5
        assert log.runs() == [RunRow("a", 5, 5, 2, None)]
        assert read_all(log, "b") == []
        log.commit([mark("b", 6)])
        assert read_all(log, "b") == [mark("b", 6)]

    def test_a_run_may_end_in_the_commit_that_starts_it_or_without_a_record(self, log: EventLog) -> None:
        log.commit([mark("a", 1), mark("b", 2)], ended={"a": 10.0})
        log.commit([], ended={"b": 11.5})
        assert [row.ended_at for row in log.runs()] == [10.0, 11.5]

    def test_an_ended_run_may_still_get_records(self, open_log: Callable[[], EventLog]) -> None:
        log = open_log()
        log.commit([mark("a", 1)], ended={"a": 10.0})
        log.commit([mark("a", 2, b"late")])
        expected = [RunRow("a", 1, 2, 6, 10.0)]
        assert log.runs() == expected
        log.close()
        assert open_log().runs() == expected

    # Runs

    def test_runs_come_oldest_first_and_know_their_seqs_bytes_and_end(self, open_log: Callable[[], EventLog]) -> None:
        log = open_log()
        log.commit([mark("zz", 1, b"123"), mark("aa", 2, b"1")])
        log.commit([partial("zz", 3, body=b"12"), mark("mm", 4, b"")], ended={"aa": 50.0})
        expected = [RunRow("zz", 1, 3, 5, None), RunRow("aa", 2, 2, 1, 50.0), RunRow("mm", 4, 4, 0, None)]
        assert log.runs() == expected
        assert [row.run for row in log.runs(unfinished=True)] == ["zz", "mm"]
        log.close()
        assert open_log().runs() == expected

    def test_the_bytes_of_a_run_include_its_documents(self, open_log: Callable[[], EventLog]) -> None:
        log = open_log()
        log.commit([mark("a", 1, b"12")], blobs={"a": {"00": b"123"}})
        log.commit([mark("a", 2, b"12")], blobs={"a": {"00": b"123"}})
        assert [row.bytes for row in log.runs()] == [7]
        log.close()
        assert [row.bytes for row in open_log().runs()] == [7]

    # Reading

    def test_read_is_after_exclusive_through_inclusive_in_order(self, log: EventLog) -> None:
        log.commit([mark("a", seq) for seq in (2, 4, 6, 8)])
        page = log.read("a", after=2, through=6, rows_max=9, bytes_max=EVERYTHING)
        assert [record.seq for record in page] == [4, 6]
        assert log.read("a", after=8, through=99, rows_max=9, bytes_max=EVERYTHING) == []

    def test_read_keeps_to_rows_and_bytes(self, log: EventLog) -> None:
        log.commit([mark("a", seq, b"1234") for seq in range(1, 10)])
        assert len(log.read("a", after=0, through=99, rows_max=3, bytes_max=EVERYTHING)) == 3
        assert len(log.read("a", after=0, through=99, rows_max=9, bytes_max=11)) == 2
        assert len(log.read("a", after=0, through=99, rows_max=9, bytes_max=12)) == 3

    def test_read_gives_at_least_one_record_however_large(self, log: EventLog) -> None:
        log.commit([mark("a", 1, b"1234"), partial("a", 2, body=b"1234"), mark("a", 3)])
        for read in (log.read, log.read_marks):
            assert read("a", after=0, through=9, rows_max=9, bytes_max=1) == [mark("a", 1, b"1234")]

    def test_runs_never_see_each_other(self, log: EventLog) -> None:
        records = [partial(f"r{seq % 7}", seq) for seq in range(1, 200)]
        log.commit(records)
        for number in range(7):
            assert read_all(log, f"r{number}") == [record for record in records if record.run == f"r{number}"]

    def test_marks_are_what_is_no_partial(self, log: EventLog) -> None:
        log.commit([mark("a", 1), partial("a", 2), mark("b", 3), mark("a", 4), partial("a", 5), mark("a", 6)])
        marks = log.read_marks("a", after=1, through=99, rows_max=9, bytes_max=EVERYTHING)
        assert [record.seq for record in marks] == [4, 6]
        assert len(log.read_marks("a", after=0, through=5, rows_max=9, bytes_max=EVERYTHING)) == 2
        assert len(log.read_marks("a", after=0, through=9, rows_max=1, bytes_max=EVERYTHING)) == 1

    def test_read_thought_looks_at_so_many_rows_and_says_how_far(self, log: EventLog) -> None:
        log.commit([mark("a", 1), partial("a", 2, "t1"), partial("a", 3, "t2"), partial("b", 4, "t1"), partial("a", 5)])
        page, through = log.read_thought("a", "t1", after=0, through=9, rows_max=3)
        assert ([record.seq for record in page], through) == ([2], 3)
        page, through = log.read_thought("a", "t1", after=through, through=9, rows_max=3)
        assert ([record.seq for record in page], through) == ([5], 9)
        assert log.read_thought("a", "t9", after=0, through=5, rows_max=9) == ([], 5)
        assert log.read_thought("z", "t1", after=0, through=5, rows_max=9) == ([], 5)
        page, through = log.read_thought("a", "t1", after=0, through=4, rows_max=9)
        assert ([record.seq for record in page], through) == ([2], 4)

    def test_unfinished_runs_are_merged_by_seq_and_ended_ones_left_out(self, open_log: Callable[[], EventLog]) -> None:
        log = open_log()
        records = [partial(f"r{seq * seq % 5}", seq) for seq in range(1, 3000)]
        log.commit(records, ended={"r1": 1.0})
        log.close()
        expected = [record for record in records if record.run != "r1"]
        assert list(open_log().read_unfinished()) == expected

    def test_reading_the_unfinished_ends_where_it_began_while_commits_go_on(self, log: EventLog) -> None:
        log.commit([mark("a", 1), mark("b", 2)])
        reading = log.read_unfinished()
        first = next(reading)
        log.commit([mark("a", 3), mark("c", 4)])
        assert [first, *reading] == [mark("a", 1), mark("b", 2)]

    # Documents

    def test_a_document_lives_as_long_as_a_run_holds_it(self, open_log: Callable[[], EventLog]) -> None:
        log = open_log()
        log.commit([mark("a", 1)], ended={"a": 1.0}, blobs={"a": {"00": b"shared", "01": b"own"}})
        log.commit([mark("b", 2)], ended={"b": 2.0}, blobs={"b": {"00": b"shared"}})
        assert log.remove("a")
        assert (log.blob("00"), log.blob("01")) == (b"shared", None)
        log.close()
        log = open_log()
        assert (log.blob("00"), log.blob("01")) == (b"shared", None)
        assert log.remove("b")
        assert log.blob("00") is None

    # Removing

    @pytest.mark.parametrize("reopened", [False, True])
    def test_prune_takes_old_runs_one_a_call_oldest_end_first(
        self, open_log: Callable[[], EventLog], reopened: bool
    ) -> None:
        log = open_log()
        log.commit([mark("c", 1), mark("a", 2), mark("b", 3)], ended={"a": 20.0, "b": 10.0, "c": 95.0})
        if reopened:
            log.close()
            log = open_log()
        assert [prune(log, 100.0, age_s_max=50.0) for _ in range(3)] == [["b"], ["a"], []]
        assert [row.run for row in log.runs()] == ["c"]

    def test_prune_takes_the_oldest_beyond_the_bytes_in_total(self, log: EventLog) -> None:
        for seq, run in enumerate("abcd", start=1):
            log.commit([mark(run, seq, b"x" * 100)], ended={run: float(seq)} if run != "d" else {})
        assert [prune(log, 100.0, bytes_max=200) for _ in range(3)] == [["a"], ["b"], []]
        assert [row.run for row in log.runs()] == ["c", "d"]

    def test_prune_never_takes_an_unfinished_run_nor_one_within_its_grace(self, log: EventLog) -> None:
        log.commit([mark("a", 1, b"x" * 100), mark("b", 2, b"x" * 100)], ended={"b": 95.0})
        assert prune(log, 100.0, age_s_max=1.0, bytes_max=10, grace_s=10.0) == []
        assert prune(log, 106.0, age_s_max=1.0, bytes_max=10, grace_s=10.0) == ["b"]
        assert prune(log, 999.0, age_s_max=1.0, bytes_max=10, grace_s=10.0) == []

    def test_remove_takes_one_ended_run_for_good(self, open_log: Callable[[], EventLog]) -> None:
        log = open_log()
        log.commit([mark("a", 1), partial("a", 2), mark("b", 3)], ended={"a": 1.0})
        assert not log.remove("nobody")
        assert not log.remove("b"), "it is unfinished"
        assert log.remove("a")
        assert not log.remove("a")
        log.close()
        log = open_log()
        assert [row.run for row in log.runs()] == ["b"]
        assert read_all(log, "a") == []
        assert log.read_marks("a", after=0, through=9, rows_max=9, bytes_max=9) == []
        assert log.read_thought("a", "t1", after=0, through=9, rows_max=9) == ([], 9)

    def test_a_removed_name_may_be_used_again(self, open_log: Callable[[], EventLog]) -> None:
        log = open_log()
        log.commit([partial("a", seq) for seq in range(1, 9000)], ended={"a": 1.0})
        assert log.remove("a")
        log.commit([mark("a", 9001)])
        log.close()
        log = open_log()
        for _ in range(10):
            assert prune(log, 5.0, age_s_max=0.0) == []
        assert log.runs() == [RunRow("a", 9001, 9001, 2, None)]
        assert read_all(log, "a") == [mark("a", 9001)]

    # Closing

    def test_close_gives_the_directory_free_and_may_be_called_twice(self, open_log: Callable[[], EventLog]) -> None:
        log = open_log()
        log.close()
        log.close()
        open_log().commit([mark("a", 1)])
