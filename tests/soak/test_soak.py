"""The soak in short: the checker by itself, the mutants that it must find out, and three quarters of a minute of it."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import neighbours  # noqa: F401
import pytest
from checker import (
    PROMISES,
    Durable,
    Finding,
    Sent,
    Told,
    check_acks,
    check_commands,
    check_ended,
    check_kept,
    check_log,
    check_pace,
    check_recovery,
    check_streamed,
    check_told,
    digest_of,
)
from proxy_faults import FAULTS as PROXY_FAULTS
from report import BEGIN, END, Report, write_report
from scenarios import STORIES, Story, play
from soak import Options, all_faults, run_soak
from tcp_proxy import Proxy, Weather

# As in tests/faults: a test run in the background inherits ignored signals.
signal.signal(signal.SIGINT, signal.default_int_handler)

SAID = "⟨t2#0⟩Öl ⟨t2#1⟩ja"
ANSWER = "⟨t7#0⟩fine"
Events = list[dict[str, Any]]


def _final(thought: str, text: str) -> dict[str, Any]:
    return {
        "kind": "thought.finalized",
        "thought": thought,
        "length": len(text.encode()),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "reasoning_length": 0,
        "reasoning_sha256": hashlib.sha256(b"").hexdigest(),
    }


@pytest.fixture
def story(tmp_path: Path) -> Events:
    """A sound run: one agent, one command, a synthesis."""
    (tmp_path / "t2.txt").write_text(SAID, encoding="utf-8")
    (tmp_path / "t7.txt").write_text(ANSWER, encoding="utf-8")
    first, second = SAID[:10], SAID[10:]
    at = len(first.encode())
    events: Events = [
        {"kind": "run.started", "run": "r"},
        {"kind": "agent.joined", "agent": "a", "worker": {"session": "one"}},
        {"kind": "thought.started", "thought": "t2", "stage": "a", "agent": "a", "session": "one"},
        {"kind": "thought.partial", "thought": "t2", "channel": "text", "offset": 0, "text": first},
        {"kind": "command.accepted", "id": "c1", "name": "pause"},
        {"kind": "run.paused", "by": "ana"},
        {"kind": "command.accepted", "id": "c2", "name": "resume"},
        {"kind": "run.resumed", "by": "ana"},
        {"kind": "thought.partial", "thought": "t2", "channel": "text", "offset": at, "text": second},
        _final("t2", SAID),
        {"kind": "thought.started", "thought": "t7", "stage": "synthesis", "agent": "w", "session": "two"},
        {"kind": "synthesis.started", "thought": "t7", "inputs": ["t2"]},
        {"kind": "thought.partial", "thought": "t7", "channel": "text", "offset": 0, "text": ANSWER},
        _final("t7", ANSWER),
        {"kind": "synthesis.finished", "thought": "t7"},
        {"kind": "run.finished", "result": ANSWER},
    ]
    return [{**event, "seq": number + 1, "prev": number} for number, event in enumerate(events)]


def lines_of(events: Events) -> list[bytes]:
    return [json.dumps(event).encode() for event in events]


def said(findings: Sequence[Finding]) -> str:
    return "\n".join(map(str, findings))


def test_a_sound_run_has_no_finding(story: Events, tmp_path: Path) -> None:
    log = lines_of(story)
    assert check_log("r", log, tmp_path) == []
    assert check_told("r", Told("early", log), log) == []
    assert check_told("r", Told("leaving", [*log[:5], *log], began_at=[5]), log) == []
    assert check_commands([Sent("c1", "pause", "r", ({"ok": {}}, {"ok": {}}))], {"r": log}) == []
    assert check_kept({"r": digest_of(log)}, {"r": log}) == []


def _streamed(story: Events) -> dict[str, Any]:
    """What a client of the gateway comes to that missed nothing."""
    texts = {"t2 text": SAID, "t7 text": ANSWER}
    return {
        "done": True,
        "errors": [],
        "marks": [event for event in story if event["kind"] != "thought.partial"],
        "texts": {key: hashlib.sha256(text.encode()).hexdigest() for key, text in texts.items()},
    }


STREAM_FAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "[gap] r: client one of the gateway still waits for the run's end": lambda told: told.update(done=False),
    "[unique] r: client one of the gateway: doubled": lambda told: told["errors"].append("doubled"),
    "[identical] r: client one of the gateway has other events than the log: it lacks 2,": lambda t: t["marks"].pop(1),
    "[identical] r: client one of the gateway shows another text of t2 text": lambda t: t["texts"].pop("t2 text"),
    "[identical] r: client one of the gateway shows another text of t9 text": lambda t: t["texts"].update(
        {"t9 text": "x"}
    ),
}


@pytest.mark.parametrize("sentence", STREAM_FAULTS)
def test_the_checker_finds_what_a_client_of_the_gateway_lacks(sentence: str, story: Events) -> None:
    told, log = _streamed(story), lines_of(story)
    assert check_streamed("r", "one", told, log) == []
    STREAM_FAULTS[sentence](told)
    assert sentence in said(check_streamed("r", "one", told, log))
    assert check_streamed("r", "one", None, log)


def _doubled(story: Events) -> None:
    story[8]["text"] += "⟨t2#1⟩"


def _late(story: Events) -> None:
    story.insert(10, {**story[3], "offset": 1})


def _taken_back(story: Events) -> None:
    story.insert(3, {**story[1], "worker": {"session": "other"}})
    story.insert(4, {**story[1]})


LOG_FAULTS: dict[str, Callable[[Events], object]] = {
    "[unique] r: piece 1 of t2 is there twice": _doubled,
    "[unique] r: the pieces of t2 are not in the order": lambda s: s[8].update(text="⟨t2#2⟩⟨t2#1⟩"),
    "[fence] r: seq 4 writes to t2, which had ended at seq 10": _late,
    "[fence] r: at seq 2 session one has a again, which other had taken": _taken_back,
    "[synthesis] r: the synthesis at seq 12 is made from t9, not yet final": lambda s: s[11].update(inputs=["t9"]),
    "[gap] r: seq 5 follows 4, but 3 was the last": lambda s: s.pop(3),
    "[gap] r: seq 4 (thought.partial) came twice": lambda s: s.insert(4, s[3]),
    "[durable] r: t2: its texts are not what the agent said": lambda s: s[3].update(text="no" + s[3]["text"][2:]),
    "[end] r: the run should end once": lambda s: s.append({**s[-1], "seq": 17, "prev": 16}),
    "[end] r: 2 × synthesis.finished": lambda s: s.insert(15, s[14]),
    "[goes on] r: it failed at seq 16": lambda s: s[15].update(kind="run.failed", error="no agent"),
}


@pytest.mark.parametrize("sentence", LOG_FAULTS)
def test_each_fault_of_a_log_is_called_by_its_promise(story: Events, tmp_path: Path, sentence: str) -> None:
    LOG_FAULTS[sentence](story)
    assert sentence in said(check_log("r", lines_of(story), tmp_path))


TOLD_FAULTS: dict[str, Callable[[list[bytes]], Told]] = {
    "[gap] r: subscriber x lost the prefix: 2 of 16 events, seq 1, 2": lambda log: Told("x", log[2:]),
    "[gap] r: subscriber x lost a middle: 2 of 16 events, seq 5, 6": lambda log: Told("x", log[:4] + log[6:]),
    "[gap] r: subscriber x lost the tail: 3 of 16 events, seq 14, 15, 16": lambda log: Told("x", log[:-3]),
    "[gap] r: subscriber x lost everything": lambda log: Told("x", log[:0]),
    "[gap] r: subscriber x was given seq 3 out of order": lambda log: Told("x", [*log[:2], log[3], log[2], *log[4:]]),
    "[gap] r: subscriber x still waits": lambda log: Told("x", log, done=False),
    "[gap] r: subscriber x was told Reset": lambda log: Told("x", log, errors=["Reset: why"]),
    "[unique] r: subscriber x was given seq 3 more than once": lambda log: Told("x", [*log[:3], *log[2:]]),
    "[durable] r: subscriber x was given seq 4 (thought.partial), which": lambda log: Told(
        "x", [*log[:3], log[3].replace(b"t2", b"t3"), *log[4:]]
    ),
    "[identical] r: subscriber x shows another text of t2": lambda log: Told("x", log, texts={"t2": ["", ""]}),
}


@pytest.mark.parametrize("sentence", TOLD_FAULTS)
def test_each_fault_of_a_subscriber_is_called_by_its_promise(story: Events, sentence: str) -> None:
    log = lines_of(story)
    assert sentence in said(check_told("r", TOLD_FAULTS[sentence](log), log))


def test_who_joins_by_a_snapshot_lacks_what_came_before_and_nothing_else(story: Events) -> None:
    log = lines_of(story)
    texts = {event["thought"]: [event["sha256"], event["reasoning_sha256"]] for event in (story[9], story[13])}
    assert check_told("r", Told("x", log[6:], texts=texts, joined=True), log) == []
    assert check_told("r", Told("x", [], texts=texts, joined=True), log) == []
    assert "lost a middle" in said(check_told("r", Told("x", [*log[6:8], *log[9:]], texts=texts, joined=True), log))
    assert "another text of t2" in said(check_told("r", Told("x", log[6:], texts={}, joined=True), log))


def test_what_is_lost_is_told_apart(story: Events) -> None:
    log = lines_of(story)
    found = said(check_told("r", Told("x", [*log[1:4], *log[6:-1]]), log))
    assert [what for what in ("the prefix", "a middle", "the tail") if what in found] == [
        "the prefix",
        "a middle",
        "the tail",
    ]


def ack(thought: str, length: int) -> dict[str, Any]:
    return {"worker": "one", "agent": "a", "told": "ack", "thought": thought, "channel": "text", "length": length}


def test_what_was_acknowledged_is_in_the_log(story: Events) -> None:
    whole = len(SAID.encode())
    durable = Durable().add(lines_of(story))
    here = {"worker": "one", "agent": "a"}
    sound = [ack("t2", whole), {**here, "told": "ended", "thought": "t2", "outcome": "finalized"}]
    assert check_acks(sound, durable) == []
    assert f"{whole + 1} bytes of t2 (text) were acknowledged, the log has {whole}" in said(
        check_acks([ack("t2", whole + 1)], durable)
    )
    assert "no such thought" in said(check_acks([ack("t9", 1)], durable))
    welcome = {**here, "told": "welcome", "boot": "b", "lengths": {"t2": 5}}
    assert "heard that 5 bytes of t2 are durable: 9 had been" in said(check_acks([ack("t2", 9), welcome], durable))
    assert check_acks([ack("t2", 5), welcome], durable) == []
    wrong = {**here, "told": "ended", "thought": "t2", "outcome": "abandoned"}
    assert "in the log it is finalized" in said(check_acks([wrong], durable))


def test_a_command_is_done_once(story: Events) -> None:
    def told(*sent: Sent) -> str:
        return said(check_commands(sent, {"r": lines_of(story)}))

    ok: dict[str, Any] = {"ok": {"run": "r"}}
    assert told(Sent("c1", "pause", "r", (ok, {})), Sent("c7", "steer", "r", ({"error": "x"}, {"error": "x"}))) == ""
    assert "answered with ok, and the log does not have it" in told(Sent("c9", "pause", "r", (ok, ok)))
    assert "answered with ok and then with id_reused" in told(Sent("c1", "pause", "r", (ok, {"error": "id_reused"})))
    assert "was answered {'run': 'r'} and {}" in told(Sent("c1", "pause", "r", (ok, {"ok": {}})))
    story.insert(5, story[4])
    assert "c1 was done 2 times" in told(Sent("c1", "pause", "r", (ok, ok)))
    assert "2 × pause was accepted, 1 × run.paused came of it" in told()
    story.append({"kind": "command.accepted", "id": "c3", "name": "steer", "seq": 17, "prev": 16})
    assert "steer c3 reopened 0 times" in told()


def test_who_waits_for_another_is_found() -> None:
    assert check_pace("r", "x", [0.0, 1.0, 2.5], silence_s_max=4.0) == []
    assert "subscriber x heard nothing for 5.0 s" in said(check_pace("r", "x", [0.0, 1.0, 6.0], silence_s_max=4.0))


def test_the_whole_log(story: Events) -> None:
    log = lines_of(story)
    assert "the log has nothing of it" in said(check_kept({"r": "x"}, {}))
    assert "something else" in said(check_kept({"r": "x"}, {"r": log}))
    assert check_recovery([("first", 1), ("again", 1)]) == []
    assert "another state again than first" in said(check_recovery([("first", 1), ("again", 2)]))
    assert "r: it had not ended 60 s after" in said(check_ended({"r": "2 events"}, 60))


# ---- the check of the check ------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("story", STORIES, ids=[story.mutation for story in STORIES])
def test_a_mutant_is_found_out_and_the_right_one_is_not(story: Story) -> None:
    with ThreadPoolExecutor(2) as both:
        wrong, right = both.map(lambda mutation: play(story, mutation), (story.mutation, "none"))
    assert right == []
    assert [one for one in wrong if one.promise == story.promise and story.sentence in one.sentence], said(wrong)


# ---- its parts -------------------------------------------------------------------------------------------------------


def test_every_fault_has_a_name_of_its_own() -> None:
    names = [fault.name for fault in all_faults()[0]]
    assert len(names) == len(set(names))
    assert {fault.name for fault in PROXY_FAULTS} <= set(names)


def test_the_proxy_carries_every_byte_in_any_weather() -> None:
    import socket

    sent = bytes(range(256)) * 2_000
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy = Proxy({"one": server.getsockname()[1]})
        try:
            proxy.set(Weather(black_hole=True))
            client = socket.create_connection(("127.0.0.1", proxy.ports["one"]), 10.0)
            proxy.set(Weather(jitter_s=0.01, bytes_per_s=2_000_000.0))
            server.settimeout(10.0)
            inside, _ = server.accept()
            with client, inside:
                sender = threading.Thread(target=client.sendall, args=(sent,))
                sender.start()
                inside.settimeout(10.0)
                got = b""
                while len(got) < len(sent):
                    got += inside.recv(65_536)
                sender.join()
                assert got == sent
                assert proxy.cut() == 1
                assert inside.recv(1) == b""
        finally:
            proxy.close()


def test_the_report_replaces_its_own_block_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    report = Report(seed=7, minutes=1.0)
    report.findings.append(Finding("gap", "r: something"))
    write_report(report, page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"\n{END}\nafter\n")
    assert "seed 7" in text
    assert "**gap**: r: something" in text
    assert "old" not in text


def test_every_story_is_about_a_promise() -> None:
    assert {story.promise for story in STORIES} <= set(PROMISES)


# ---- the soak itself, in short ---------------------------------------------------------------------------------------

IN_SHORT = (
    "hub.sigkill",
    "hub.at_after_commit",
    "worker.sigkill",
    "worker.replaced",
    "proxy.cut",
    "proxy.black_hole_short",
    "subscriber.sigstop",
)


def test_a_short_soak_has_no_finding(tmp_path: Path) -> None:
    told: list[str] = []
    report = run_soak(Options(0.4, 20_26, IN_SHORT, tmp_path, restarts=2, say=told.append))
    assert report.findings == [], "\n".join(told)
    assert report.runs >= 2
    assert report.acks > 0
    assert sum(report.faults.values()) >= 3
