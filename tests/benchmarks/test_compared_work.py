"""The comparison's check of the work finds what is wrong, and a bare system does the work."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.agents import _Text
from benchmarks.compare import Plan, flood, goals, latency_table, measure_all, session, throughput_table
from benchmarks.harness import Options
from benchmarks.peers import FELIXHUB, FORWARDER, JETSTREAM_ALWAYS, PEERS
from benchmarks.peers.nats import JetStreamAlways
from benchmarks.peers.work import Sent, Texts, Verdict, check, latencies_ms, paced
from benchmarks.peers.work import flood as flood_of

TINY = Plan(passes=1, counts={4: 400}, flood_s_max=5.0, pace_s=0.5, fsyncs=20)


def said(agents: int = 3, count: int = 30) -> tuple[list[tuple[str, int, str]], dict[str, Sent]]:
    """What a subscriber should be given, and what was sent."""
    texts = Texts(agents)
    bodies = [texts.encode(one) for batch in flood_of(agents, count, 60.0) for one in batch]
    return [FORWARDER.read(body) for body in bodies], texts.sent()


def test_all_of_it_is_good() -> None:
    received, sent = said()
    assert check(received, sent) == Verdict()


def test_a_lost_message_is_found() -> None:
    received, sent = said()
    verdict = check(received[:7] + received[8:], sent)
    assert (verdict.lost, verdict.wrong_thoughts, verdict.good) == (1, 1, False)


def test_a_changed_message_is_found() -> None:
    received, sent = said()
    thought, offset, text = received[7]
    received[7] = thought, offset, text.replace(".", ",", 1)
    verdict = check(received, sent)
    assert (verdict.lost, verdict.wrong_thoughts, verdict.good) == (0, 1, False)


def test_a_doubled_message_is_found() -> None:
    received, sent = said()
    verdict = check([*received, received[7]], sent)
    assert (verdict.doubled, verdict.wrong_thoughts, verdict.good) == (1, 0, False)


def test_another_order_is_told_and_not_wrong() -> None:
    received, sent = said(agents=1)
    received[3], received[4] = received[4], received[3]
    verdict = check(received, sent)
    assert (verdict.reordered, verdict.good) == (1, True)


def test_nothing_at_all_is_all_lost() -> None:
    _, sent = said()
    assert check([], sent).lost == 30


def test_a_hashing_subscriber_sees_a_gap() -> None:
    whole, broken = _Text(), _Text()
    for offset in (0, 3, 6):
        whole.take(offset, "abc")
    for offset in (0, 6):
        broken.take(offset, "abc")
    assert (whole.gap, whole.length, broken.gap, broken.length) == (False, 9, True, 3)


def test_a_late_publisher_does_not_hide_it() -> None:
    steps = paced(10, 100.0, 0.05)
    batch = next(steps)
    assert isinstance(batch, list)
    time.sleep(0.03)
    late = next(steps)
    if isinstance(late, float):  # It had to wait for a first moment.
        time.sleep(0.03)
        late = next(steps)
    assert isinstance(late, list)
    assert len(late) > 10
    samples = latencies_ms([("t", 0, text) for _, text in late], [time.monotonic_ns()] * len(late))
    assert max(ms for _, ms in samples) > 10


@pytest.mark.parametrize("peer", [FORWARDER, FELIXHUB], ids=lambda peer: peer.name)
def test_a_real_system_does_the_work(tmp_path: Path, peer: type) -> None:
    one = flood(peer, Options(True, tmp_path), 2, 500, 10.0)
    assert (one.count, one.verdict) == (500, Verdict())
    assert one.rate > 0
    assert 0 < one.server_cpu_us <= one.cpu_us


def test_what_a_subscriber_of_the_hub_has_lost_can_be_had_again(tmp_path: Path) -> None:
    with session(FELIXHUB, Options(True, tmp_path), 1, agents=3) as one:
        one.do("flood", count=50, seconds_max=10.0)
        _, _, sent = one.finish()
        whole = FELIXHUB.repaired([], one.server.address, one.begun)
        (heard,) = one.heard(sent)
    assert (heard.verdict, heard.repaired) == (Verdict(), 0)
    assert check([FELIXHUB.read(raw) for raw in whole], sent) == Verdict()


class NotHere(JetStreamAlways):
    def missing(self) -> str | None:
        return "nats-server 2.10 or later"


@pytest.mark.long
def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    assert JETSTREAM_ALWAYS in PEERS
    results = measure_all(Options(True, tmp_path), (FORWARDER, FELIXHUB, NotHere()), TINY)
    assert results.failed == {}
    said = [" ".join(row) for table in (throughput_table(results), latency_table(results)) for row in table.rows]
    assert sum("not installed: nats-server 2.10 or later" in row for row in said) == 2
    by_jetstream, _, by_forwarder, latency, lost = goals(results)
    assert (by_jetstream.met, by_jetstream.measured) == (None, "not installed: nats-server 2.10 or later")
    assert by_forwarder.met is not None
    assert latency.met is not None
    assert lost.met is True
