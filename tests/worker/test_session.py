"""A session against a small hub over real sockets."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from small_hub import SmallHub, until

from felixhub.core.errors import FelixError, ModelFailed
from felixhub.core.limits import Limits
from felixhub.core.messages import Fenced
from felixhub.transport.address import Connection
from felixhub.worker.items import Reasoning, Throttled, Whole
from felixhub.worker.session import EXIT_OK, FENCED_EXIT, REFUSED_EXIT

Work = Callable[..., Any]


def says(*items: Any) -> Any:
    async def think(_assign: Any) -> AsyncGenerator[Any, None]:
        for item in items:
            yield item

    return think


class Valve:
    """An agent that says what the test gives it, when the test gives it."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.closed = threading.Event()
        self.taken = 0  # items that have gone on their way
        self._queue: asyncio.Queue[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def think(self, _assign: Any) -> AsyncGenerator[Any, None]:
        self._queue, self._loop = asyncio.Queue(), asyncio.get_running_loop()
        self.started.set()
        try:
            while (item := await self._queue.get()) is not None:
                yield item
                self.taken += 1
        finally:
            self.closed.set()

    def say(self, item: Any) -> None:
        assert self.started.wait(20.0)
        assert self._loop is not None and self._queue is not None
        self._loop.call_soon_threadsafe(self._queue.put_nowait, item)


# ---- the plain way ---------------------------------------------------------------------------------------------------


def test_a_thought_is_carried_to_its_end(hub: SmallHub, work: Work) -> None:
    work(says("It is ", Reasoning("hm"), "noon. 😀"))
    hub.begin()
    final = hub.wait_for("thought.finalized")
    assert hub.text(final.thought) == "It is noon. 😀"
    assert hub.text(final.thought, "reasoning") == "hm"
    assert (final.length, final.reasoning_length) == (len("It is noon. 😀".encode()), 2)
    assert final.usage.estimated and final.usage.completion_tokens == 6  # 18 bytes
    assert final.first_token_s is not None and final.finish_reason == "stop"
    hub.wait_for("run.finished")
    until(lambda: hub.sent("beat") and hub.sent("beat")[-1].holding == (), what="the thought is forgotten")


def test_the_models_own_words_about_its_end_are_passed_on(hub: SmallHub, work: Work) -> None:
    work(says("half an ans", Whole(finish_reason="length", truncated=True)))
    hub.begin()
    final = hub.wait_for("thought.finalized")
    assert (final.finish_reason, final.truncated) == ("length", True)


def test_the_first_text_goes_out_at_once(hub: SmallHub, work: Work) -> None:
    valve = Valve()
    work(valve.think)
    hub.begin(batch_interval_s=10.0)
    valve.say("first")
    first = hub.wait_for("thought.partial", seconds=9.0)
    assert hub.text(first.thought) == "first"


def test_the_rest_goes_out_by_the_timer(hub: SmallHub, work: Work) -> None:
    valve = Valve()
    work(valve.think)
    hub.begin(batch_interval_s=1.0)
    valve.say("first")
    hub.wait_for("thought.partial")
    for word in (" second", " third"):
        valve.say(word)  # And then nothing: no further token comes to flush them.
    hub.wait_for("thought.partial", count=2)
    first, second = [(at, m) for at, m in hub.heard if m.type == "partial"]
    assert (first[1].text, second[1].text) == ("first", " second third")
    assert second[0] - first[0] > 0.5
    valve.say(None)
    hub.wait_for("thought.finalized")


def test_without_streaming_everything_comes_at_the_end(hub: SmallHub, work: Work) -> None:
    valve = Valve()
    work(valve.think)
    hub.begin(streaming=False)
    valve.say("one ")
    valve.say("two")
    valve.say(None)
    final = hub.wait_for("thought.finalized")
    assert [event.text for event in hub.events("thought.partial")] == ["one two"]
    assert final.length == 7


def test_a_throttled_endpoint_is_named_in_the_next_beat(hub: SmallHub, work: Work) -> None:
    work(says(Throttled("local", 7.0), "text"))
    hub.begin()
    until(lambda: any(beat.throttled == {"local": 7.0} for beat in hub.sent("beat")), what="a throttled beat")
    before = len(hub.sent("beat"))
    until(lambda: len(hub.sent("beat")) > before)
    assert hub.sent("beat")[-1].throttled == {}


def test_the_hub_hears_of_a_throttled_endpoint_before_the_thought_ends(hub: SmallHub, work: Work) -> None:
    async def think(_assign: Any) -> AsyncGenerator[Any, None]:
        yield Throttled("local", 120.0)
        raise ModelFailed("llm_error", "rate limited (429)")

    worker = work(think)
    until(lambda: worker.session._link.state == "up")
    worker.session._link.welcomed(60.0, time.monotonic())  # No beat is due for a minute.
    hub.begin(program=False, retries_max=2)
    hub.wait_for("thought.abandoned")
    told = [m for _, m in hub.heard if m.type == "abandon" or (m.type == "beat" and m.throttled)]
    assert [m.type for m in told] == ["beat", "abandon"]
    time.sleep(0.2)
    assert len(hub.events("thought.started")) == 1, "the hub hands out nothing there before two minutes are over"


# ---- failures of agents ----------------------------------------------------------------------------------------------


def test_a_failed_model_abandons_and_keeps_the_text(hub: SmallHub, work: Work) -> None:
    async def think(_assign: Any) -> AsyncGenerator[Any, None]:
        yield "so far"
        raise ModelFailed("truncated", "the server closed the connection", lasting=False)

    work(think)
    hub.begin()
    abandoned = hub.wait_for("thought.abandoned")
    assert (abandoned.reason, abandoned.error) == ("truncated", "the server closed the connection")
    assert hub.text(abandoned.thought) == "so far"


def test_an_agent_without_words_is_an_error(hub: SmallHub, work: Work) -> None:
    work(says())
    hub.begin()
    abandoned = hub.wait_for("thought.abandoned")
    assert (abandoned.reason, abandoned.error) == ("agent_error", "clock said nothing")


def test_too_much_text_ends_the_thought(hub: SmallHub, work: Work) -> None:
    async def think(_assign: Any) -> AsyncGenerator[Any, None]:
        while True:
            yield "x" * 1000

    hub.ask(lambda: setattr(hub.post, "limits", Limits(worker_beat_s=0.2)))
    work(think, limits=Limits(thought_bytes_max=100_000))
    hub.begin()
    abandoned = hub.wait_for("thought.abandoned")
    assert (abandoned.reason, abandoned.length) == ("too_long", 100_000)


# ---- cancelling ------------------------------------------------------------------------------------------------------


def test_a_silent_model_is_cancelled_at_once(hub: SmallHub, work: Work) -> None:
    valve = Valve()
    work(valve.think)
    hub.begin(program=False)
    valve.say("so far")
    hub.wait_for("thought.partial")
    hub.cancel()
    abandoned = hub.wait_for("thought.abandoned")
    assert valve.closed.wait(20.0)
    assert abandoned.reason == "cancelled" and hub.text(abandoned.thought) == "so far"


def test_an_agent_that_swallows_the_cancel_is_left_behind(hub: SmallHub, work: Work) -> None:
    release = threading.Event()

    async def think(_assign: Any) -> AsyncGenerator[Any, None]:
        yield "so far"
        while not release.is_set():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                yield " and more"

    work(think)
    hub.begin()
    hub.wait_for("thought.partial")
    hub.cancel()
    abandoned = hub.wait_for("thought.abandoned")  # Long before the hub loses patience.
    assert hub.text(abandoned.thought) == "so far"
    release.set()


def test_blocking_code_neither_stops_beats_nor_a_cancel_nor_the_next_thought(hub: SmallHub, work: Work) -> None:
    release = threading.Event()
    turns: list[str] = []

    async def think(assign: Any) -> AsyncGenerator[Any, None]:
        turns.append(assign.thought)
        if len(turns) == 1:
            yield "so far"
            release.wait(60)  # Not a coroutine: it holds its thread.
            yield "too late"
        else:
            yield "done"

    work(think)
    hub.begin()
    hub.wait_for("thought.partial")
    before = len(hub.sent("beat"))
    until(lambda: len(hub.sent("beat")) >= before + 3, what="beats go on")
    hub.cancel()
    abandoned = hub.wait_for("thought.abandoned")
    hub.begin(run="r2")
    final = hub.wait_for("thought.finalized")
    assert hub.text(final.thought) == "done"
    release.set()
    until(lambda: len(hub.sent("beat")) >= before + 6)
    assert hub.text(abandoned.thought) == "so far"


# ---- the hub comes and goes ------------------------------------------------------------------------------------------


def test_lost_partials_are_sent_again(hub: SmallHub, work: Work) -> None:
    lost: list[Any] = []

    def loses(message: Any) -> bool:
        if message.type == "partial" and not lost:
            lost.append(message)
            return True
        return False

    hub.loses = loses
    valve = Valve()
    work(valve.think)
    hub.begin()
    valve.say("first")
    until(lambda: lost)
    hub.wait_for("thought.partial")  # After a second, without anything said meanwhile.
    valve.say(" second")
    valve.say(None)
    final = hub.wait_for("thought.finalized")
    assert hub.text(final.thought) == "first second"


def test_a_gap_is_filled_at_once(hub: SmallHub, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("felixhub.worker.outbox.RESEND_S", 600.0)
    lost: list[Any] = []
    hub.loses = lambda message: message.type == "partial" and len(lost) < 1 and not lost.append(message)
    valve = Valve()
    work(valve.think)
    hub.begin()
    valve.say("first")
    until(lambda: lost)
    valve.say(" second")
    valve.say(None)
    final = hub.wait_for("thought.finalized")
    assert hub.text(final.thought) == "first second"


def test_an_assignment_that_comes_again_is_one_thought(hub: SmallHub, work: Work) -> None:
    turns: list[str] = []
    valve = Valve()

    async def think(assign: Any) -> AsyncGenerator[Any, None]:
        turns.append(assign.thought)
        async for item in valve.think(assign):
            yield item

    worker = work(think)
    hub.begin()
    started = hub.wait_for("thought.started")
    assign, *_ = hub.ask(lambda: hub.post.assignment(started.thought))

    def send_again() -> None:
        hub.ask(lambda: hub.tell(worker.session.worker.session, assign))

    send_again()  # While it is thought,
    valve.say("once")
    hub.wait_for("thought.partial")
    valve.say(None)
    hub.wait_for("thought.finalized")
    until(lambda: hub.sent("beat") and hub.sent("beat")[-1].holding == ())
    send_again()  # and after its end.
    before = len(hub.sent("beat"))
    until(lambda: len(hub.sent("beat")) >= before + 2)
    assert turns == [started.thought]


def test_an_agent_goes_on_while_the_hub_is_away(hub: SmallHub, work: Work) -> None:
    valve = Valve()
    work(valve.think)
    hub.begin()
    valve.say("before ")
    hub.wait_for("thought.partial")
    hub.stop()
    valve.say("while it was away ")
    valve.say("and after")
    valve.say(None)
    assert valve.closed.wait(20.0)
    greeted = len(hub.sent("hello"))
    hub.start()
    final = hub.wait_for("thought.finalized")
    assert hub.text(final.thought) == "before while it was away and after"
    hello_at = next(at for at, m in hub.heard if m is hub.sent("hello")[greeted])
    end_at = next(at for at, m in reversed(hub.heard) if m.type == "finalize")
    assert end_at - hello_at < 0.5, "it goes on from what the welcome says, without waiting for a resend"


def test_an_idle_worker_finds_a_restarted_hub(hub: SmallHub, work: Work) -> None:
    work(says("here"))
    until(lambda: hub.sent("beat"))
    hub.stop()
    hub.start()
    hub.begin()
    hub.wait_for("thought.finalized")


def test_a_hub_on_another_address_is_found(hub: SmallHub, work: Work) -> None:
    valve = Valve()
    work(valve.think)
    hub.begin()
    valve.say("here ")
    hub.wait_for("thought.partial")
    hub.stop()
    hub.address += "-2"
    hub.start()
    valve.say("and there")
    valve.say(None)
    final = hub.wait_for("thought.finalized")
    assert hub.text(final.thought) == "here and there"


def test_a_worker_waits_for_its_hub(hub: SmallHub, work: Work) -> None:
    asked: list[int] = []

    def find() -> Connection:
        asked.append(1)
        if len(asked) < 3:
            raise FelixError("no hub yet")
        return hub.where()

    work(says("here"), hub=find)
    hub.begin()
    hub.wait_for("thought.finalized")


def test_a_hub_that_does_not_answer_is_greeted_again(hub: SmallHub, work: Work) -> None:
    valve = Valve()
    work(valve.think)
    hub.begin()
    hub.wait_for("thought.started")
    hub.mute = True
    valve.say("anybody there?")
    greeted = len(hub.sent("hello"))
    until(lambda: len(hub.sent("hello")) > greeted, what="another hello")
    hub.mute = False
    valve.say(None)
    hub.wait_for("thought.finalized")


def test_a_busy_hub_gets_it_later(hub: SmallHub, work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself: no resend is due."""
    monkeypatch.setattr("felixhub.worker.outbox.RESEND_S", 600.0)
    refused: list[Any] = []
    hub.refuses = lambda message: (
        "busy" if message.type == "partial" and len(refused) < 2 and not refused.append(message) else None
    )
    work(says("patience"))
    hub.begin()
    final = hub.wait_for("thought.finalized")
    assert len(refused) == 2 and hub.text(final.thought) == "patience"


def test_a_refused_hash_becomes_a_conflict(hub: SmallHub, work: Work) -> None:
    hub.refuses = lambda message: "wrong_hash" if message.type == "finalize" else None
    work(says("text"))
    hub.begin()
    assert hub.wait_for("thought.abandoned").reason == "conflict"


# ---- ends ------------------------------------------------------------------------------------------------------------


def test_the_newer_worker_wins_and_the_older_one_ends(hub: SmallHub, work: Work) -> None:
    older = work(says("older"))
    until(lambda: hub.sent("beat"))
    work(says("newer"))
    assert older.join() == FENCED_EXIT


def test_fenced_ends_a_worker_whose_agent_blocks(hub: SmallHub, work: Work) -> None:
    release = threading.Event()

    async def think(_assign: Any) -> AsyncGenerator[Any, None]:
        yield "so far"
        release.wait(60)

    worker = work(think)
    hub.begin()
    hub.wait_for("thought.partial")
    hub.ask(lambda: hub.tell(worker.session.worker.session, Fenced(sentence="another one")))
    assert worker.join(2.0) == FENCED_EXIT
    release.set()


@pytest.mark.parametrize(
    "code", ["version", "reserved", "too_many", "agents_changed", "bad_message", "not_json", "some_day_another"]
)
def test_a_hello_that_is_refused_ends_it(
    hub: SmallHub, work: Work, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refuses = lambda message: code if message.type == "hello" else None
    assert work(says("x")).join() == REFUSED_EXIT
    assert len(hub.sent("hello")) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "refused" in line]
    assert code in line and "the test says no" in line


@pytest.mark.parametrize("code", ["busy", "internal"])
def test_a_hello_that_is_refused_for_now_is_said_again(hub: SmallHub, work: Work, code: str) -> None:
    hub.refuses = lambda message: code if message.type == "hello" and len(hub.sent("hello")) < 2 else None
    work(says("here"))
    hub.begin()
    hub.wait_for("thought.finalized")
    assert len(hub.sent("hello")) == 2


def test_stop_flushes_closes_and_says_bye(hub: SmallHub, work: Work) -> None:
    valve = Valve()
    worker = work(valve.think)
    hub.begin(batch_interval_s=10.0)
    valve.say("first")
    hub.wait_for("thought.partial")
    valve.say(" and what no batch has carried yet")
    until(lambda: valve.taken == 2)
    assert worker.stop() == EXIT_OK
    assert valve.closed.is_set()
    abandoned = hub.wait_for("thought.abandoned")
    assert abandoned.reason == "agent_lost"
    assert hub.sent("bye")
    assert hub.text(abandoned.thought) == "first and what no batch has carried yet"


def test_it_ends_with_its_parent(hub: SmallHub, work: Work) -> None:
    reading, writing = os.pipe()
    worker = work(says("x"), parent_fd=reading)
    until(lambda: hub.sent("beat"))
    os.close(writing)
    assert worker.join() == EXIT_OK
    os.close(reading)


def test_an_idle_worker_sleeps(hub: SmallHub, work: Work) -> None:
    work(says("x"))
    until(lambda: hub.sent("beat"))
    before, began = time.process_time(), time.monotonic()
    count = len(hub.sent("beat"))
    until(lambda: len(hub.sent("beat")) >= count + 3)
    assert time.process_time() - before < 0.5 * (time.monotonic() - began), "it spins"
