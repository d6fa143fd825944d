"""A subscriber's side of the protocol: what it asks for and when, whatever is lost on the way."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from team import Team, Worker, solo

from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import Event, RunFinished, RunStarted, ThoughtPartial
from felixhub.core.follower import AWAY_S, REPLY_S_MAX, Follower, Reset, RunGone
from felixhub.core.messages import RUNS_LISTED_MAX, Failed, HubBeat, Message, Ok, Page, Replay, Runs, Snapshot
from felixhub.core.names import HUB_BEAT_TOPIC, event_topic, run_beat_topic


class Hub:
    """The live and the control socket of a hub, in memory. `lost`: what is published now goes to nobody."""

    def __init__(self, follower: Follower) -> None:
        self.team = Team()
        self.follower = follower
        self.lost = False
        self.deaf = False  # requests are lost
        self.frame_s = 0.0  # the control socket's link is so slow that one frame after the other takes this long
        self.on_the_way: list[tuple[float, list[bytes]]] = []
        self.page_rows = 3
        self.asked: list[Message] = []
        self.got: list[Event] = []
        self.raised: list[Exception] = []
        self.notices: list[str] = []
        self.boots = [("boot1", 1)]
        self.gone: set[str] = set()
        self.newer: list[str] = []  # runs that are listed in place of all others
        self.team.viewers.append(self)

    @property
    def now(self) -> float:
        return self.team.now

    def see(self, event: Event) -> None:
        if not self.lost:
            self.follower.on_live(event_topic(event.run, event.agent_name, event.kind), event.encode(), self.now)
            self.drain()

    def beat(self, *, of_runs: bool = True) -> None:
        beat = HubBeat(boot=self.boots[-1][0], tip=len(self.team.log))
        self.follower.on_live(HUB_BEAT_TOPIC, beat.encode(), self.now)
        for run in self.team.post.runs.values() if of_runs else ():
            self.follower.on_live(run_beat_topic(run.id), self.team.post.run_beat(run, self.now).encode(), self.now)
        self.drain()

    def wait(self, seconds: float, *, of_runs: bool = True) -> None:
        """Time passes with a beat and a few ticks every half second."""
        for _ in range(round(seconds * 2)):
            self.team.now += 0.5
            while self.on_the_way and self.on_the_way[0][0] <= self.now:
                self.follower.on_reply(self.on_the_way.pop(0)[1], self.now)
            self.beat(of_runs=of_runs)
            self.follower.on_tick(self.now)
            self.drain()

    def settle(self) -> None:
        """Nothing is lost any more, for long enough."""
        self.lost = self.deaf = False
        self.wait(8 * REPLY_S_MAX)

    def restart(self, *, log: list[Event] | None = None, known_boots: bool = True) -> None:
        """A new life, by default of the same log."""
        if log is not None:
            self.team.log[:] = log
        boots = self.boots if known_boots else []
        self.boots = [*boots, (f"boot{len(self.boots) + 1}", len(self.team.log) + 1)]

    def drain(self) -> None:
        for _ in range(100):
            requests = self.follower.take_requests()
            for request in requests:
                self.asked.append(request)
                if not self.deaf:
                    for frames in self._answer(request):
                        self._deliver(frames)
            if not requests:
                break
        for one in self.follower.take_events():
            if isinstance(one, Event):
                self.got.append(one)
            else:
                self.raised.append(one)
                if isinstance(one, Reset):
                    self.got = [event for event in self.got if event.run != one.run]
        self.notices += self.follower.take_notices()

    def _deliver(self, frames: list[bytes]) -> None:
        if not self.frame_s:
            self.follower.on_reply(frames, self.now)
            return
        free_at = self.on_the_way[-1][0] if self.on_the_way else self.now
        self.on_the_way.append((free_at + self.frame_s, frames))

    def _answer(self, request: Any) -> list[list[bytes]]:
        match request:
            case Runs():
                rows = [{"run": e.run, "ended_s_ago": self._ended_s_ago(e.run)} for e in self.team.of(RunStarted)]
                rows = [{"run": name, "ended_s_ago": 1e6} for name in self.newer] or rows
                return [[Ok(id=request.id, data={"runs": rows}).encode()]]
            case Replay() | Snapshot():
                mine = [event for event in self.team.log if event.run == request.run]
                if request.run in self.gone or not mine:
                    code = "gone" if isinstance(request, Replay) and request.after else "unknown_run"
                    return [[Failed(id=request.id, code=code, sentence=f"there is no run '{request.run}'").encode()]]
                if isinstance(request, Snapshot):
                    marks, texts, position = self.team.snapshot(request.run)
                    lines = [line.encode() for line in (*marks, *texts)]
                    return self._pages(request, [(position, line) for line in lines])
                if request.after and not self._knows(request):
                    return [[Failed(id=request.id, code="reset", sentence="another log: start over").encode()]]
                return self._pages(request, [(e.seq, e.encode()) for e in mine if e.seq > request.after])
        raise AssertionError(request)

    def _pages(self, request: Any, lines: list[tuple[int, bytes]]) -> list[list[bytes]]:
        parts = [lines[at : at + self.page_rows] for at in range(0, len(lines), self.page_rows)] or [[]]
        return [
            [
                Page(
                    id=request.id,
                    run=request.run,
                    boot=self.boots[-1][0],
                    through=part[-1][0] if part else self.team.story.tales[request.run].last,
                    last=number == len(parts) - 1,
                ).encode(),
                b"\n".join(line for _, line in part),
            ]
            for number, part in enumerate(parts)
        ]

    def _knows(self, request: Replay) -> bool:
        """A known boot, and a seq that was there before the next one began."""
        ends = [first - 1 for _, first in self.boots[1:]] + [len(self.team.log)]
        return any(
            boot == request.boot and request.after <= end for (boot, _), end in zip(self.boots, ends, strict=True)
        )

    def _ended_s_ago(self, run: str) -> float | None:
        ended = self.team.of(RunFinished, run=run)
        return self.now - ended[0].at if ended else None

    def check(self, *runs: str) -> None:
        """Every event of these runs was yielded, in order, each once."""
        for run in runs:
            wanted = [event.encode() for event in self.team.log if event.run == run]
            assert [event.encode() for event in self.got if event.run == run] == wanted
        assert {event.run for event in self.got} == set(runs)


def following(run: str = "all", **options: Any) -> Hub:
    return Hub(Follower(run, **options))


def begin(hub: Hub, run: str = "r1") -> Worker:
    hub.team.start(run, workflow=solo(checkpoints=(0.0, 0.5)))
    return hub.team.worker("research")


def asked(hub: Hub, kind: type[Message]) -> list[Any]:
    return [request for request in hub.asked if isinstance(request, kind)]


# ---- joining ---------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_before_the_hub_was_heard() -> None:
    hub = following()
    hub.follower.on_tick(hub.now)
    hub.drain()
    assert hub.asked == []
    hub.beat()
    assert [type(request) for request in hub.asked] == [Runs]
    assert hub.follower.caught_up


def test_a_late_joiner_reads_history_and_then_lives() -> None:
    hub = following()
    hub.lost = True
    worker = begin(hub)
    worker.write("before ")
    hub.lost = False
    hub.beat()
    worker.write("after")
    worker.finish("!")
    worker.finish("done")
    hub.check("r1")
    assert len(asked(hub, Replay)) == 1


def test_live_events_during_the_replay_are_not_doubled() -> None:
    hub = following()
    hub.lost = True
    worker = begin(hub)
    worker.write("a")
    hub.lost = False
    hub.deaf = True
    hub.beat()
    worker.write("b")
    worker.write("c")
    hub.settle()
    worker.write("d")
    hub.check("r1")
    assert hub.follower.gaps_repaired == 0  # Joining late is no gap.


def test_a_snapshot_first_and_then_only_what_is_new() -> None:
    hub = following("r1", history=False)
    hub.lost = True
    worker = begin(hub)
    worker.write("before ")
    hub.lost = False
    hub.beat()
    assert hub.got == []
    assert len(asked(hub, Snapshot)) == 1 and asked(hub, Replay) == []
    thought = worker.thought
    assert str(hub.follower.board.runs["r1"].thoughts[thought].text) == "before "
    worker.write("after")
    assert [event.kind for event in hub.got] == ["thought.partial"]
    assert str(hub.follower.board.runs["r1"].thoughts[thought].text) == "before after"


# ---- which runs ------------------------------------------------------------------------------------------------------


def two_runs(hub: Hub) -> None:
    hub.lost = True
    begin(hub, "r1").finish()
    begin(hub, "r2")
    hub.lost = False
    hub.beat()
    begin(hub, "r3")
    hub.wait(1.0)


def test_all_runs() -> None:
    hub = following("all")
    two_runs(hub)
    hub.check("r1", "r2", "r3")


def test_the_latest_run_and_every_one_that_starts_later() -> None:
    hub = following("latest")
    two_runs(hub)
    hub.check("r2", "r3")


def test_one_run_by_its_name() -> None:
    hub = following("r1")
    two_runs(hub)
    hub.check("r1")


def test_a_name_that_nobody_has() -> None:
    hub = following("r9")
    hub.beat()
    assert [type(error) for error in hub.raised] == [RunGone]
    begin(hub, "r9")
    hub.check("r9")  # Whoever went on all the same sees it start.


def test_a_run_that_is_too_old_to_be_listed() -> None:
    hub = following("r1")
    begin(hub)
    hub.newer = [f"newer-{number}" for number in range(RUNS_LISTED_MAX)]
    hub.beat()
    assert hub.raised == []
    hub.check("r1")


def test_a_name_that_nobody_has_where_not_all_are_listed() -> None:
    hub = following("r9")
    hub.newer = [f"newer-{number}" for number in range(RUNS_LISTED_MAX)]
    hub.gone.add("r9")
    hub.beat()
    assert [type(error) for error in hub.raised] == [RunGone]


# ---- gaps ------------------------------------------------------------------------------------------------------------


def test_a_gap_is_repaired_when_the_next_event_shows_it() -> None:
    hub = following()
    hub.beat()
    worker = begin(hub)
    hub.lost = True
    worker.write("a")
    hub.lost = False
    worker.write("b")
    hub.check("r1")
    assert hub.follower.gaps_repaired == 1
    assert (asked(hub, Replay)[0].after, asked(hub, Replay)[0].boot) == (hub.got[-3].seq, "boot1")


def test_a_lost_tail_is_revealed_by_the_beat() -> None:
    hub = following()
    hub.beat()
    worker = begin(hub)
    worker.finish()
    hub.lost = True
    worker.finish()
    hub.lost = False
    assert not hub.follower.board.is_complete("r1")
    hub.beat()
    hub.check("r1")
    assert hub.follower.board.is_complete("r1")


def test_an_unfinished_run_that_is_in_no_beat_is_asked_for_after_two_seconds() -> None:
    hub = following()
    hub.beat()
    worker = begin(hub)
    worker.finish()
    hub.lost = True
    worker.finish()
    hub.wait(2.0, of_runs=False)
    assert not hub.follower.board.is_complete("r1")
    hub.wait(1.0, of_runs=False)
    hub.check("r1")
    assert hub.follower.board.is_complete("r1")


def test_a_run_that_has_ended_is_not_asked_for_again() -> None:
    hub = following()
    hub.beat()
    worker = begin(hub)
    worker.finish()
    worker.finish()
    before = len(hub.asked)
    hub.wait(10.0, of_runs=False)
    assert len(hub.asked) == before


def test_a_request_without_an_answer_is_sent_again() -> None:
    hub = following()
    hub.deaf = True
    hub.beat()
    hub.wait(REPLY_S_MAX)
    assert len(asked(hub, Runs)) == 1
    hub.wait(1.0)
    assert len(asked(hub, Runs)) == 2
    assert len({request.id for request in hub.asked}) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("frame_s", [0.5, 2.0, 4.0, 7.0])
def test_a_link_that_is_slower_than_our_patience_gets_more_of_it(frame_s: float) -> None:
    """What comes too late is given up and asked for again. With the same patience as before it comes too late again."""
    hub = following("r1")
    hub.lost = True
    worker = begin(hub)
    for word in ("one ", "two ", "three "):
        worker.say(word)
    hub.frame_s = frame_s
    hub.wait(60 * frame_s)
    hub.check("r1")


def test_a_hub_that_is_busy_is_asked_again_later() -> None:
    hub = following("r1")
    hub.lost = hub.deaf = True
    begin(hub)
    hub.lost = False
    hub.beat()
    hub.deaf = False
    hub.follower.on_reply([Failed(id=hub.asked[0].id, code="busy", sentence="later").encode()], hub.now)  # type: ignore[attr-defined]
    hub.settle()
    hub.check("r1")


def test_the_hub_is_away_and_back() -> None:
    hub = following()
    hub.beat()
    hub.team.now += AWAY_S + 0.1
    hub.follower.on_tick(hub.now)
    hub.follower.on_tick(hub.now)
    hub.beat()
    assert hub.notices == ["the hub is away; waiting for it", "the hub is back"]


# ---- another life of the hub -----------------------------------------------------------------------------------------


def test_after_a_restart_unfinished_runs_are_asked_for_and_nothing_is_doubled() -> None:
    hub = following()
    hub.beat()
    worker = begin(hub)
    worker.write("a")
    hub.beat()  # Up to here it is known to be of this life.
    hub.lost = True
    worker.write("b")
    hub.lost = False
    hub.restart()
    hub.beat(of_runs=False)
    assert (asked(hub, Replay)[-1].boot, hub.follower.boot) == ("boot1", "boot2")
    worker.write("c")
    hub.check("r1")
    assert hub.raised == []


def test_an_event_that_comes_before_the_new_life_s_first_beat_is_no_other_log() -> None:
    hub = following()
    hub.beat()
    worker = begin(hub)
    worker.write("a")
    hub.restart()
    worker.write("b")
    hub.beat(of_runs=False)
    assert hub.raised == []
    hub.check("r1")


@pytest.mark.parametrize("known_boots", [True, False], ids=["a lost tail", "another log"])
def test_another_log_is_said_aloud_and_read_anew(known_boots: bool) -> None:
    hub = following()
    hub.beat()
    worker = begin(hub)
    for text in "abcd":
        worker.write(text)
    hub.restart(log=hub.team.log[:-2], known_boots=known_boots)
    hub.beat(of_runs=False)
    assert [type(error) for error in hub.raised] == [Reset]
    hub.check("r1")
    texts = [event.text for event in hub.got if isinstance(event, ThoughtPartial)]
    assert texts == ["a", "b"]


def test_a_position_is_asked_for_with_the_life_it_comes_from_even_when_the_first_answer_is_lost() -> None:
    hub = following()
    hub.beat()
    worker = begin(hub)
    for text in "abcd":
        worker.write(text)
    hub.beat()
    hub.deaf = True
    hub.restart(log=hub.team.log[:-2])
    hub.beat(of_runs=False)
    hub.restart()
    hub.beat(of_runs=False)
    hub.deaf = False
    hub.wait(REPLY_S_MAX + 1.0, of_runs=False)
    assert [request.boot for request in asked(hub, Replay)[:2]] == ["boot1", "boot1"]
    assert [type(error) for error in hub.raised] == [Reset]
    hub.check("r1")


def test_a_run_that_was_pruned_is_gone() -> None:
    hub = following()
    hub.beat()
    worker = begin(hub)
    worker.write("a")
    hub.gone.add("r1")
    hub.wait(3.0, of_runs=False)
    assert [type(error) for error in hub.raised] == [RunGone]
    assert hub.follower.board.followed() == []


def test_text_that_differs_from_the_log_is_read_anew() -> None:
    hub = following()
    hub.beat()
    worker = begin(hub)
    worker.write("a")
    last = hub.team.log[-1]
    wrong = ThoughtPartial.model_validate(
        last.model_dump() | {"seq": last.seq + 1, "prev": last.seq, "offset": 5, "text": "?"}
    )
    hub.follower.on_live(b"run/r1/research/thought.partial/", wrong.encode(), hub.now)
    hub.drain()
    assert [type(error) for error in hub.raised] == [Reset]
    worker.write("b")
    hub.check("r1")


# ---- until done, and nonsense ----------------------------------------------------------------------------------------


def test_until_done() -> None:
    hub = following("latest", until_done=True)
    hub.beat()
    assert not hub.follower.done
    worker = begin(hub)
    worker.finish()
    assert not hub.follower.done
    worker.finish()
    assert hub.follower.done


def test_not_done_before_the_last_event_was_taken() -> None:
    hub = following("r1", until_done=True)
    hub.lost = True
    worker = begin(hub)
    worker.finish()
    worker.finish()
    hub.follower.on_live(HUB_BEAT_TOPIC, HubBeat(boot="boot1", tip=1).encode(), hub.now)
    for _ in range(2):
        for request in hub.follower.take_requests():
            for frames in hub._answer(request):
                hub.follower.on_reply(frames, hub.now)
    assert not hub.follower.done
    assert hub.follower.take_events()[-1].kind == "run.finished"  # type: ignore[union-attr]
    assert hub.follower.done


@pytest.mark.parametrize(("ago_s", "done"), [(10.0, True), (100.0, False)])
def test_a_run_that_ended_just_now_counts_as_done(ago_s: float, done: bool) -> None:
    hub = following("latest", until_done=True)
    hub.lost = True
    worker = begin(hub)
    worker.finish()
    worker.finish()
    hub.team.now += ago_s
    hub.lost = False
    hub.beat(of_runs=False)
    assert hub.follower.done is done


def test_answers_that_nobody_waits_for_are_nothing() -> None:
    hub = following()
    hub.follower.on_reply([Ok(id="r77", data={"runs": [{"run": "r1"}]}).encode()], hub.now)
    assert hub.follower.take_requests() == []


@pytest.mark.parametrize(
    ("topic", "body"),
    [(b"run/r1/hub/run.paused/", b"{}"), (b"run/r1/hub/run.paused/", b"\xff"), (HUB_BEAT_TOPIC, b"[]")],
)
def test_what_is_no_event_is_a_violation(topic: bytes, body: bytes) -> None:
    hub = following()
    hub.beat()
    with pytest.raises(ProtocolViolation):
        hub.follower.on_live(topic, body, hub.now)
    worker = begin(hub)
    worker.write("a")
    hub.check("r1")


# ---- anything --------------------------------------------------------------------------------------------------------

happenings = st.lists(
    st.sampled_from(["write", "finish", "lose", "hear", "deafen", "answer", "wait", "pause", "restart", "start"]),
    max_size=40,
)


@settings(deadline=None, max_examples=100)
@given(
    happenings=happenings,
    late=st.integers(0, 10),
    history=st.booleans(),
    page_rows=st.integers(1, 4),
)
def test_whatever_was_lost_in_the_end_all_is_there(
    happenings: list[str], late: int, history: bool, page_rows: int
) -> None:
    hub = following("all", history=history)
    hub.page_rows = page_rows
    hub.lost = True
    worker = begin(hub)
    runs = ["r1"]
    for number, what in enumerate(happenings):
        if number == late:
            hub.lost = False
            hub.beat()
        match what:
            case "write" if worker.is_thinking:
                worker.write("é蓝 ")
            case "finish" if worker.is_thinking:
                with suppress(ProtocolViolation):  # A pause may be ending the thought in this very turn.
                    worker.finish()
            case "lose":
                hub.lost = True
            case "hear" if number >= late:
                hub.lost = False
            case "deafen" | "answer":
                hub.deaf = what == "deafen"
            case "wait" if number >= late:
                hub.wait(1.0)
            case "pause":
                hub.team.command("pause")
                hub.team.command("resume")
                worker.hello()
            case "restart":
                hub.restart()
            case "start" if len(runs) < 3:
                runs.append(f"r{len(runs) + 1}")
                hub.team.start(runs[-1], workflow=solo())
    hub.settle()
    hub.settle()
    assert hub.raised == []
    assert hub.follower.caught_up
    if history:
        hub.check(*runs)
    for run in runs:
        mine, theirs = hub.follower.board.runs[run], hub.team.post.runs[run]
        assert mine.last_seq == theirs.last_seq
        for name, thought in theirs.thoughts.items():
            assert (mine.thoughts[name].text.data, mine.thoughts[name].state) == (thought.text.data, thought.state)
