"""CentralPost and its engine: one plain example per rule; `test_central_post_machine.py` has anything in any order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from team import CARDS, FencedOut, Team, Worker, helix_workflow, solo

from felixhub.core import engine
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import (
    AgentJoined,
    AgentLeft,
    AgentLost,
    CommandAccepted,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunPaused,
    RunStarted,
    StageFinished,
    StageStarted,
    SynthesisFinished,
    SynthesisStarted,
    ThoughtAbandoned,
    ThoughtCancelling,
    ThoughtFinalized,
    ThoughtPartial,
    ThoughtStarted,
    UnknownEvent,
    Usage,
)
from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.core.messages import (
    Assign,
    Beat,
    Cancel,
    CancelRun,
    Ended,
    Failed,
    Fenced,
    Ok,
    Partial,
    Pause,
    Reject,
    Resume,
    Start,
    Welcome,
)
from felixhub.core.presence import Presence
from felixhub.core.run import Run
from felixhub.core.workflow import Card, Converge, EndpointLimit, Stage, Synthesis, Workflow

LEASE_S = DEFAULT_LIMITS.lease_s


def a_solo_run(**stage: Any) -> tuple[Team, Any]:
    """A run of one stage and its worker, who has its assignment."""
    team = Team()
    team.start(workflow=solo(**stage))
    return team, team.worker("research")


def code(reply: Ok | Failed) -> str:
    assert isinstance(reply, Failed)
    assert reply.sentence
    return reply.code


@contextmanager
def refused(says: str) -> Iterator[None]:
    """The message is refused with this code."""
    with pytest.raises(ProtocolViolation) as caught:
        yield
    assert caught.value.code == says
    assert caught.value.sentence


# ---- hello, lease, fence ---------------------------------------------------------------------------------------------


def test_a_whole_run() -> None:
    team, worker = a_solo_run()
    worker.write("Because")
    worker.finish(" of scattering.")
    assert team.kinds() == [
        "run.started",
        "stage.started",
        "agent.joined",
        "thought.started",
        "thought.partial",
        "thought.partial",
        "thought.finalized",
        "section.ready",
        "stage.finished",
        "section.approved",
        "run.finished",
    ]
    assert team.last(RunFinished).result == "Because of scattering."
    assert team.last(RunFinished).degraded == ()


def test_hello_is_welcomed_with_what_is_durable() -> None:
    team, worker = a_solo_run()
    thought = worker.thought
    worker.write("abc")
    worker.write("hm", channel="reasoning")
    worker.hello(thought, "t99-gone")
    (welcome,) = worker.got(Welcome)
    assert [(h.thought, h.text, h.reasoning) for h in welcome.thoughts] == [(thought, 3, 2)]
    assert [(e.thought, e.outcome) for e in welcome.ended] == [("t99-gone", "unknown")]
    assert worker.got(Assign) == []
    assert team.of(AgentJoined) == team.of(AgentJoined)[:1]  # joined once per run and session


def test_the_welcome_says_how_held_thoughts_ended() -> None:
    _, worker = a_solo_run(checkpoints=(0.0, 0.5))
    first = worker.finish()
    second = worker.thought
    worker.abandon("llm_error", lasting=True)
    worker.hello(first, second)
    (welcome,) = worker.got(Welcome)
    assert [(e.thought, e.outcome, e.reason) for e in welcome.ended] == [
        (first, "finalized", None),
        (second, "abandoned", "llm_error"),
    ]


def test_a_hello_without_its_thought_gets_the_assignment_again() -> None:
    _, worker = a_solo_run()
    worker.hello()
    assert [assign.thought for assign in worker.got(Assign)] == [worker.thought]


@pytest.mark.parametrize(("version", "agents", "says"), [(2, ["research"], "version"), (1, ["hub"], "reserved")])
def test_a_hello_that_is_refused(version: int, agents: list[str], says: str) -> None:
    team = Team()
    worker = team.worker(*agents, hello=False)
    with refused(says):
        worker.hello(version=version)
    assert team.post.presence.sessions == {}


def test_a_worker_has_a_limit_of_agents_and_the_hub_of_workers() -> None:
    team = Team(limits=replace(DEFAULT_LIMITS, agents_per_session_max=1, sessions_max=1))
    with refused("too_many"):
        team.worker("research", "critic", hello=False).hello()
    team.worker("research")
    with refused("too_many"):
        team.worker("critic", hello=False).hello()


def test_a_session_keeps_its_agents() -> None:
    team = Team()
    worker = team.worker("research", "critic")
    worker.agents = ("critic",)
    with refused("agents_changed"):
        worker.hello()


def test_the_newer_session_wins_at_once() -> None:
    team, old = a_solo_run()
    thought = old.thought
    old.write("half a th")
    new = team.worker("research")
    assert len(old.got(Fenced)) == 1
    lost = team.last(ThoughtAbandoned)
    assert (lost.thought, lost.reason, lost.length) == (thought, "agent_lost", 9)
    assert team.last(AgentLost).worker.session == old.session
    assert new.thought != thought
    with pytest.raises(FencedOut):
        old.beat()
    with pytest.raises(FencedOut):
        old.write("ought", thought=thought)
    old.hello()
    assert len(old.got(Fenced)) == 1
    new.finish()
    assert team.run().status == "finished"


def test_one_that_comes_back_after_its_lease_and_was_replaced_is_fenced_and_hurts_nobody() -> None:
    team, old = a_solo_run()
    team.wait(LEASE_S + 1)
    new = team.worker("research")
    new.write("I am ")
    with refused("unknown_session"):
        old.beat()
    old.hello()
    assert [type(effect.message) for effect in old.heard] == [Fenced]
    with pytest.raises(FencedOut):
        old.beat()
    new.beat()
    new.finish("here.")
    assert team.last(RunFinished).result == "I am here."


def test_the_older_session_is_fenced_after_a_restart_too() -> None:
    team, old = a_solo_run()
    new = team.worker("research")
    team.restart()
    old.hello()
    assert len(old.got(Fenced)) == 1
    new.hello(new.thought)
    assert len(new.got(Welcome)) == 1
    new.finish()
    assert team.run().status == "finished"


def test_a_late_worker_whom_nobody_replaced_goes_on_with_a_new_attempt() -> None:
    team, worker = a_solo_run()
    late = worker.thought
    team.wait(LEASE_S + 1)
    worker.hello(late)
    assert [e.thought for w in worker.got(Welcome) for e in w.ended] == [late]
    assert worker.thought != late
    with refused("closed"):
        worker.write("too late", thought=late)
    worker.finish()
    assert team.run().status == "finished"


def test_a_silent_worker_loses_its_thought_after_its_lease_and_no_sooner() -> None:
    team, worker = a_solo_run()
    worker.write("so far")
    team.wait(LEASE_S)
    assert team.of(AgentLost) == []
    team.wait(0.1)
    assert [event.kind for event in team.log[-2:]] == ["thought.abandoned", "agent.lost"]
    assert team.run().status == "running"
    team.worker("research").finish()
    assert team.last(ThoughtStarted).attempt == 2
    assert team.run().status == "finished"


def test_any_message_keeps_the_lease() -> None:
    team, worker = a_solo_run()
    for _ in range(4):
        team.wait(LEASE_S - 1)
        worker.beat(worker.thought)
    assert team.of(AgentLost) == []


def test_a_slow_hub_extends_every_lease() -> None:
    team, _ = a_solo_run()
    team.post.presence.extend(10.0)
    team.wait(LEASE_S + 9)
    assert team.of(AgentLost) == []


def test_two_leases_that_end_together() -> None:
    team = Team()
    idle, busy = team.worker("critic"), team.worker("research")
    team.start(workflow=solo())
    team.wait(LEASE_S + 1)
    assert not busy.is_thinking
    assert idle.session not in team.post.presence.sessions


def test_a_worker_that_ends_on_purpose_has_left() -> None:
    team, worker = a_solo_run()
    worker.bye()
    assert team.of(AgentLeft)[0].worker.session == worker.session
    assert team.last(ThoughtAbandoned).reason == "agent_lost"


def test_after_a_restart_a_session_of_the_log_has_a_lease_from_then() -> None:
    team, worker = a_solo_run()
    thought = worker.thought
    team.restart(after_s=1000.0)
    with refused("unknown_session"):
        worker.beat()
    assert team.post.run_beat(team.run(), team.now).wanted == ()
    worker.hello(thought)
    assert worker.finish() == thought
    assert team.run().status == "finished"


def test_after_a_restart_who_stays_away_is_lost() -> None:
    team, _ = a_solo_run()
    team.restart()
    team.wait(LEASE_S + 1)
    assert len(team.of(AgentLost)) == 1
    assert [one.agent for one in team.post.run_beat(team.run(), team.now).wanted] == ["research"]


@pytest.mark.parametrize("gone", ["bye", "fenced", "lease"])
def test_a_commit_that_fails_while_a_worker_goes_leaves_no_thought_behind(gone: str) -> None:
    team, worker = a_solo_run()
    worker.fails = gone == "bye"
    match gone:
        case "bye":
            worker.bye()
        case "fenced":
            other = team.worker("research", hello=False)
            other.fails = True
            other.hello()
        case "lease":
            team.now += LEASE_S + 1
            with team.turn(fails=True):
                pass
    assert team.of(AgentLost, AgentLeft) == []
    team.wait(0.1)
    assert team.of(AgentLost, AgentLeft) != []
    team.worker("research").finish()
    assert team.run().status == "finished"


# ---- beats level what is missing -------------------------------------------------------------------------------------


def test_a_beat_that_lacks_an_assignment_gets_it_again() -> None:
    team, worker = a_solo_run()
    worker.beat()
    assert worker.got(Assign) == []  # It may be on its way still.
    team.wait(1.1)
    worker.beat()
    assert [assign.thought for assign in worker.got(Assign)] == [worker.thought]
    worker.beat(worker.thought)
    assert worker.got(Assign) == []


def test_a_beat_that_holds_what_has_ended_is_told_so() -> None:
    _, worker = a_solo_run(checkpoints=(0.0, 0.5))
    done = worker.finish()
    worker.beat(done, "t77-lost")
    assert [(e.thought, e.outcome) for e in worker.got(Ended)] == [(done, "finalized"), ("t77-lost", "unknown")]


def test_a_cancel_is_sent_again_until_it_is_answered() -> None:
    team, worker = a_solo_run()
    team.command("cancel")
    worker.beat(worker.thought)
    assert [cancel.reason for cancel in worker.got(Cancel)] == ["cancelled"]


# ---- partials --------------------------------------------------------------------------------------------------------


def test_a_partial_is_appended_and_acknowledged() -> None:
    team, worker = a_solo_run()
    heard = worker.write("é!", tokens=4)
    partial = team.last(ThoughtPartial)
    assert (partial.offset, partial.text, partial.tokens, partial.channel) == (0, "é!", 4, "text")
    assert [ack.length for ack in heard] == [3]


def test_the_estimate_of_tokens_never_falls() -> None:
    team, worker = a_solo_run()
    worker.write("abc", tokens=7)
    worker.write("d")
    assert team.last(ThoughtPartial).tokens == 7


def test_an_overlap_appends_only_what_is_new_and_a_repeat_nothing() -> None:
    team, worker = a_solo_run()
    worker.write("abc", offset=0)
    assert worker.write("bcde", offset=1)[0].length == 5
    assert (team.last(ThoughtPartial).offset, team.last(ThoughtPartial).text) == (3, "de")
    assert worker.write("abc", offset=0)[0].length == 5
    assert len(team.of(ThoughtPartial)) == 2


def test_a_gap_says_where_to_go_on() -> None:
    team, worker = a_solo_run()
    worker.write("abc")
    worker.write("x", offset=9)
    (reject,) = worker.got(Reject)
    assert (reject.code, reject.thought, reject.channel, reject.length) == ("gap", worker.thought, "text", 3)
    assert len(team.of(ThoughtPartial)) == 1


def test_text_that_differs_from_the_log_ends_the_attempt() -> None:
    team, worker = a_solo_run()
    worker.write("abc")
    worker.write("xbc", offset=0)
    ended = team.last(ThoughtAbandoned)
    assert (ended.reason, ended.length, ended.retry_s) == ("conflict", 3, 1.0)
    assert [e.reason for e in worker.got(Ended)] == ["conflict"]


def test_a_partial_that_is_too_large_changes_nothing() -> None:
    team, worker = a_solo_run()
    with refused("too_large"):
        worker.write("é" * 32_769)
    assert team.of(ThoughtPartial) == []
    worker.write("é" * 32_768)


def test_a_thought_that_grows_too_long_is_abandoned() -> None:
    team = Team(limits=replace(DEFAULT_LIMITS, thought_bytes_max=10))
    team.start(workflow=solo())
    worker = team.worker("research")
    worker.write("12345")
    worker.write("hm", channel="reasoning")
    worker.write("6789")
    assert (team.last(ThoughtAbandoned).reason, team.last(ThoughtAbandoned).length) == ("too_long", 5)


def test_who_may_not_write() -> None:
    team, worker = a_solo_run(checkpoints=(0.0, 0.5))
    stranger = team.worker("critic")
    with refused("unknown_thought"):
        worker.write("x", thought="t99-none")
    with refused("not_yours"):
        stranger.write("x", thought=worker.thought)
    done = worker.finish()
    with refused("closed"):
        worker.write("x", thought=done)


# ---- finalize and abandon --------------------------------------------------------------------------------------------


def test_finalize_is_checked_against_the_log() -> None:
    team, worker = a_solo_run()
    worker.write("abc")
    worker.write("hm", channel="reasoning")
    with refused("wrong_hash"):
        worker.finalize(sha256="0" * 64)
    with refused("wrong_hash"):
        worker.finalize(reasoning_sha256="0" * 64)
    with refused("wrong_length"):
        worker.finalize(length=2, sha256=hashlib.sha256(b"ab").hexdigest())
    with refused("wrong_length"):
        worker.finalize(reasoning_length=0)
    worker.finalize(length=5)
    assert [(r.code, r.channel, r.length) for r in worker.got(Reject)] == [("gap", "text", 3)]
    worker.finalize(reasoning_length=5)
    assert [(r.code, r.channel, r.length) for r in worker.got(Reject)] == [("gap", "reasoning", 2)]
    assert team.of(ThoughtFinalized) == []
    worker.finalize(finish_reason="length", truncated=True)
    final = team.last(ThoughtFinalized)
    assert (final.length, final.reasoning_length, final.truncated) == (3, 2, True)
    assert final.confidence == pytest.approx(0.3, abs=0.02)
    assert team.last(RunFinished).degraded == ("the text of research is truncated",)


def test_the_same_end_again_gets_the_same_answer_and_another_is_closed() -> None:
    team, worker = a_solo_run(checkpoints=(0.0, 0.5))
    done = worker.finish()
    worker.finalize(done)
    assert [(e.thought, e.outcome) for e in worker.got(Ended)] == [(done, "finalized")]
    with refused("closed"):
        worker.abandon(thought=done)
    other = worker.thought
    worker.abandon(lasting=True)
    worker.abandon(thought=other)
    assert [(e.thought, e.reason) for e in worker.got(Ended)] == [(other, "llm_error")]
    with refused("closed"):
        worker.finalize(other)
    assert len(team.of(ThoughtFinalized)) == len(team.of(ThoughtAbandoned)) == 1


def test_an_abandon_waits_for_the_text_that_it_counts() -> None:
    team, worker = a_solo_run()
    worker.abandon(length=4)
    assert [(r.code, r.length) for r in worker.got(Reject)] == [("gap", 0)]
    worker.write("part")
    worker.abandon(error="timed out")
    assert (team.last(ThoughtAbandoned).length, team.last(ThoughtAbandoned).error) == (4, "timed out")


@pytest.mark.parametrize("reason", ["paused", "superseded"])
def test_a_worker_cannot_pause_itself(reason: str) -> None:
    """Such an attempt would be no failure, so it would be made again at once, for ever."""
    team, worker = a_solo_run()
    worker.abandon(reason)
    assert (team.last(ThoughtAbandoned).reason, team.last(ThoughtAbandoned).retry_s) == ("agent_error", 1.0)


# ---- retries ---------------------------------------------------------------------------------------------------------


def test_a_failure_is_tried_again_twice_with_a_growing_back_off() -> None:
    team, worker = a_solo_run(retry_s=2.0)
    for attempt, back_off in ((1, 2.0), (2, 4.0)):
        assert team.last(ThoughtStarted).attempt == attempt
        worker.abandon(error="no")
        assert team.last(ThoughtAbandoned).retry_s == back_off
        assert team.wait(back_off - 0.1) == []
        worker.beat()
        team.wait(0.2)
    worker.abandon(error="still no")
    assert team.last(ThoughtAbandoned).retry_s is None
    assert team.last(StageFinished).why == "llm_error: still no"
    assert team.last(RunFailed).error == "no agent finished a thought: research: llm_error: still no"


@pytest.mark.parametrize("fraction", [n / 7_000 for n in range(21)])
def test_a_back_off_is_kept_whatever_the_clock_s_fraction(fraction: float) -> None:
    team = Team(now=1_750_000_000.0 + fraction)
    team.start(workflow=solo(retry_s=0.1))
    worker = team.worker("research")
    worker.abandon()
    assert not worker.is_thinking
    team.wait(0.09)
    assert not worker.is_thinking
    team.wait(0.02)
    assert worker.is_thinking


def test_a_clock_that_was_set_back_does_not_lengthen_the_back_off() -> None:
    team, worker = a_solo_run(retry_s=600.0)
    worker.abandon()
    team.restart(after_s=-3600.0)
    worker.hello()
    assert worker.is_thinking


def test_a_checkpoint_that_is_final_forgives_the_failures_before_it() -> None:
    team, worker = a_solo_run(checkpoints=(0.0, 0.5), retry_s=0.0)
    for _ in range(2):
        worker.abandon()
        worker.abandon()
        worker.finish()
    assert [event.attempt for event in team.of(ThoughtStarted)] == [1, 2, 3, 1, 2, 3]
    assert team.run().status == "finished"


@pytest.mark.parametrize(
    ("reason", "lasting"), [("llm_error", True), ("context_exceeded", False), ("cancelled", False)]
)
def test_what_would_fail_again_is_not_tried_again(reason: str, lasting: bool) -> None:
    team, worker = a_solo_run()
    worker.abandon(reason, lasting=lasting)
    assert team.last(ThoughtAbandoned).retry_s is None
    assert len(team.of(ThoughtStarted)) == 1
    assert team.run().status == "failed"


def two_stages(on_failure: str, **second: Any) -> Workflow:
    return Workflow(
        name="two",
        stages=(
            Stage(name="one", agent="research", on_failure=on_failure),  # type: ignore[arg-type]
            Stage(name="two", agent="critic", after=("one",), **second),
        ),
    )


def test_on_failure_continue_goes_on_without_it_and_says_so() -> None:
    team = Team()
    team.start(workflow=two_stages("continue"))
    workers = team.workers("research", "critic")
    workers["research"].abandon(error="no")
    workers["critic"].finish("Alone, then.")
    finished = team.last(RunFinished)
    assert (finished.result, finished.degraded) == ("Alone, then.", ("research is missing (llm_error: no)",))


def test_on_failure_fail_ends_the_run_and_stops_what_streams() -> None:
    team = Team()
    stages = (Stage(name="one", agent="research", on_failure="fail"), Stage(name="two", agent="critic"))
    team.start(workflow=Workflow(name="w", stages=stages))
    workers = team.workers("research", "critic")
    workers["research"].abandon(error="no")
    assert len(workers["critic"].got(Cancel)) == 1
    workers["critic"].abandon("cancelled")
    assert team.last(RunFailed).error == "stage 'one' failed: llm_error: no"
    assert [(e.stage, e.outcome) for e in team.of(StageFinished)] == [("one", "abandoned"), ("two", "abandoned")]


# ---- order, quorum, concurrency --------------------------------------------------------------------------------------


def test_a_stage_starts_when_all_that_it_comes_after_has_ended() -> None:
    team = Team()
    team.start(workflow=two_stages("retry"))
    workers = team.workers("research", "critic")
    assert not workers["critic"].is_thinking
    assert [e.stage for e in team.of(StageStarted)] == ["one"]
    first = workers["research"].finish("The draft.")
    assert team.last(ThoughtStarted).context == (first,)
    assert [e.stage for e in team.of(StageStarted)] == ["one", "two"]


@pytest.mark.parametrize(("quorum", "outcome"), [(1, "final"), (2, "skipped")])
def test_a_quorum(quorum: int, outcome: str) -> None:
    team = Team()
    stages = (
        Stage(name="one", agent="research"),
        Stage(name="two", agent="analysis"),
        Stage(name="judge", agent="critic", after=("one", "two"), quorum=quorum),
    )
    team.start(workflow=Workflow(name="w", stages=stages))
    workers = team.workers()
    workers["research"].abandon(lasting=True)
    workers["analysis"].finish("Mine.")
    if outcome == "final":
        workers["critic"].finish("Judged.")
    assert (team.last(StageFinished).stage, team.last(StageFinished).outcome) == ("judge", outcome)
    assert team.run().status == "finished"
    if outcome == "skipped":
        assert team.last(StageFinished).why == "1 of the 2 stages it needs are final"
        assert team.last(RunFinished).result == "Mine."


def test_the_endpoint_s_places_are_kept_and_the_queue_is_shown() -> None:
    team = Team()
    team.start(endpoints={"local": EndpointLimit(max_concurrent=1)})
    workers = team.workers()
    assert [name for name, worker in workers.items() if worker.is_thinking] == ["research"]
    beat = team.post.run_beat(team.run(), team.now)
    assert [(a.agent, a.state, a.place) for a in beat.agents] == [
        ("research", "thinking", None),
        ("analysis", "queued", 1),
        ("critic", "queued", 2),
    ]
    workers["research"].finish()
    assert sum(worker.is_thinking for worker in workers.values()) == 1


def test_the_places_are_shared_by_all_runs() -> None:
    team = Team()
    workers = team.workers("research", "critic")
    team.start("r1", workflow=solo(), endpoints={"local": EndpointLimit(max_concurrent=1)})
    team.start("r2", workflow=solo(agent="critic"), endpoints={"local": EndpointLimit(max_concurrent=1)})
    assert not workers["critic"].is_thinking
    workers["research"].finish()
    assert workers["critic"].is_thinking


def test_an_agent_thinks_one_thought_at_a_time() -> None:
    team = Team()
    team.start("r1", workflow=solo())
    team.start("r2", workflow=solo())
    worker = team.worker("research")
    assert team.thought_of("research") is not None
    assert len(team.of(ThoughtStarted)) == 1
    worker.finish()
    worker.finish()
    assert [team.run(name).status for name in ("r1", "r2")] == ["finished", "finished"]


def test_a_program_takes_no_place_at_a_model_s_server() -> None:
    team = Team()
    cards = (Card(name="research", program=True), *CARDS[1:])
    team.start(agents=cards, endpoints={"local": EndpointLimit(max_concurrent=1)})
    workers = team.workers()
    assert workers["research"].is_thinking and workers["analysis"].is_thinking
    assert (team.of(ThoughtStarted)[0].endpoint, team.of(ThoughtStarted)[0].model) == ("", None)


def test_after_a_429_fewer_think_at_once_for_a_while() -> None:
    team = Team()
    team.start(endpoints={"local": EndpointLimit(max_concurrent=3)})
    workers = team.workers()
    assert sum(worker.is_thinking for worker in workers.values()) == 3
    workers["research"].beat(throttled={"local": 5.0})
    workers["research"].finish()
    workers["analysis"].finish()
    assert sum(worker.is_thinking for worker in workers.values()) == 1
    for _ in range(4):
        team.wait(10.0)
        for worker in workers.values():
            worker.beat()
    assert sum(worker.is_thinking for worker in workers.values()) > 1


def test_nobody_closes_a_server_that_it_was_not_sent_to() -> None:
    team = Team()
    team.start(workflow=solo(agent="critic"))
    team.worker("research").beat(throttled={"local": 120.0})  # No thought of its own is there.
    assert team.worker("critic").is_thinking


def test_a_server_that_asked_for_two_minutes_has_them_whatever_the_retries() -> None:
    team = Team()
    team.start(workflow=solo(retries_max=2, retry_s=1.0))
    worker = team.worker("research")
    worker.beat(throttled={"local": 120.0})
    worker.abandon("llm_error")

    def state() -> str:
        (one,) = team.post.run_beat(team.run(), team.now).agents
        return one.state

    assert state() == "backing_off"
    for _ in range(11):
        team.wait(10.0)
        worker.beat()
        assert state() == "queued"
    team.wait(10.0)
    worker.beat()
    assert state() == "thinking"
    assert len(team.of(ThoughtStarted)) == 2


def test_a_throttled_endpoint_is_closed_then_narrow_then_as_before() -> None:
    presence = Presence(DEFAULT_LIMITS)
    presence.throttle("local", open_now=6, retry_after_s=20.0, now=100.0)
    assert [presence.concurrent_max("local", 8, now) for now in (100.0, 119.9, 120.0, 149.9, 150.0)] == [0, 0, 3, 3, 8]
    assert presence.concurrent_max("other", 8, 100.0) == 8
    presence.throttle("local", open_now=4, retry_after_s=1.0, now=110.0)  # Another one that asks for less.
    assert [presence.concurrent_max("local", 8, now) for now in (119.9, 120.0)] == [0, 2]
    presence.throttle("far", open_now=0, retry_after_s=1e9, now=100.0)
    assert [presence.concurrent_max("far", 8, now) for now in (699.9, 700.0, 730.0)] == [0, 1, 8]


def test_who_is_wanted() -> None:
    team = Team()
    cards = (Card(name="research", endpoint="far"), Card(name="critic", program=True))
    team.start(workflow=two_stages("retry"), agents=cards)
    wanted = team.post.run_beat(team.run(), team.now).wanted
    assert [(w.agent, w.program, w.endpoint) for w in wanted] == [("research", False, "far"), ("critic", True, "local")]
    team.worker("research")
    assert [w.agent for w in team.post.run_beat(team.run(), team.now).wanted] == ["critic"]
    team.command("pause")
    assert team.post.run_beat(team.run(), team.now).wanted == ()


def test_what_a_beat_says_of_an_agent() -> None:
    team, worker = a_solo_run()

    def state() -> tuple[str, float]:
        (one,) = team.post.run_beat(team.run(), team.now).agents
        return one.state, one.silence_s

    assert state() == ("thinking", 0.0)
    worker.write("a")
    assert state() == ("streaming", 0.0)
    for _ in range(3):
        team.wait(10.0)
        worker.beat(worker.thought)
    assert state() == ("stalled", 30.0)
    worker.write("b")
    assert state() == ("streaming", 0.0)
    team.command("cancel")
    assert state()[0] == "cancelling"
    worker.abandon("cancelled")
    beat = team.post.run_beat(team.run(), team.now)
    assert (beat.status, beat.agents, beat.seq) == ("cancelled", (), len(team.log))


# ---- cancel, pause, resume -------------------------------------------------------------------------------------------


def test_cancelling_a_run() -> None:
    team = Team()
    team.start()
    workers = team.workers()
    workers["research"].write("part")
    assert team.command("cancel") == Ok(id="c1", data={"run": "r1"})
    assert [e.by for e in team.of(ThoughtCancelling)] == ["anna"] * 3
    assert team.run().status == "cancelling"
    workers["research"].abandon("cancelled")
    workers["analysis"].abandon("cancelled")
    assert team.run().status == "cancelling"
    workers["critic"].finalize()  # It was done already.
    assert (team.run().status, team.last(RunCancelled).by) == ("cancelled", "anna")
    assert {e.stage: e.outcome for e in team.of(StageFinished)} == {
        "research": "abandoned",
        "analysis": "abandoned",
        "critic": "final",
        "synthesis": "skipped",
    }


def test_a_worker_that_does_not_answer_a_cancel_is_given_a_second() -> None:
    team, worker = a_solo_run()
    worker.write("part")
    team.command("cancel")
    assert team.wait(0.9) == []
    team.wait(0.2)
    assert (team.last(ThoughtAbandoned).reason, team.last(ThoughtAbandoned).length) == ("cancelled", 4)
    assert team.run().status == "cancelled"


def test_a_synthesis_that_was_final_is_recorded_though_its_run_is_cancelled() -> None:
    team = Team()
    team.start()
    workers = team.workers()
    while not workers["synthesizer"].is_thinking:
        next(worker for worker in workers.values() if worker.is_thinking).finish()
    worker = workers["synthesizer"]
    worker.write("The answer.")
    with team.turn():  # Both arrive in one turn.
        team.take(team.post.decide(worker.final(), worker.session, team.now))
        team.take(team.post.command(CancelRun(id="c1", run="r1"), team.now))
    assert len(team.of(SynthesisFinished)) == 1
    assert team.run().status == "cancelled"


def test_cancelling_an_agent_leaves_the_others_alone() -> None:
    team = Team()
    team.start()
    workers = team.workers()
    team.command("cancel", agent="research")
    assert [e.agent for e in team.of(ThoughtCancelling)] == ["research"]
    workers["research"].abandon("cancelled")
    assert (team.last(StageFinished).stage, team.last(StageFinished).outcome) == ("research", "abandoned")
    assert workers["analysis"].is_thinking and workers["critic"].is_thinking
    finish_all(workers)
    assert team.last(SynthesisStarted).missing[0].agent == "research"
    assert "research is missing" in team.last(RunFinished).degraded[0]


def test_cancelling_a_thought_ends_its_stage_and_no_other_of_the_agent() -> None:
    team = Team()
    stages = (Stage(name="one", agent="research"), Stage(name="two", agent="research"))
    team.start(workflow=Workflow(name="w", stages=stages))
    worker = team.worker("research")
    team.command("cancel", thought=worker.thought)
    worker.abandon("cancelled")
    worker.finish("The other one.")
    assert [(e.stage, e.outcome) for e in team.of(StageFinished)] == [("one", "abandoned"), ("two", "final")]
    assert team.last(RunFinished).result == "The other one."


def test_an_agent_that_is_cancelled_while_its_run_is_paused_stays_cancelled() -> None:
    team, worker = a_solo_run()
    team.command("pause")
    team.command("cancel", agent="research")
    worker.abandon("paused")
    team.command("resume")
    assert not worker.is_thinking
    assert team.run().status == "failed"


def test_a_pause_stops_what_streams_and_resume_redoes_only_what_is_unfinished() -> None:
    team = Team()
    team.start()
    workers = team.workers()
    workers["critic"].finish("Done before.")
    workers["research"].write("half")
    team.command("pause")
    assert {e.reason for e in team.of(ThoughtCancelling)} == {"paused"}
    workers["research"].abandon("cancelled", lasting=True)  # Why, is the hub's to say, and so is whether it lasts.
    assert (team.last(ThoughtAbandoned).reason, team.last(ThoughtAbandoned).retry_s) == ("paused", 0.0)
    team.wait(1.1)
    assert team.run().open_thoughts() == []
    started = len(team.of(ThoughtStarted))
    team.wait(5.0)
    assert len(team.of(ThoughtStarted)) == started
    team.command("resume")
    assert {e.agent for e in team.of(ThoughtStarted)[started:]} == {"research", "analysis"}
    finish_all(workers)
    assert team.last(RunFinished).degraded == ()
    assert team.run().stages["research"].failures == 0


def test_after_a_restart_that_must_not_go_on_all_is_paused() -> None:
    team = Team()
    team.start("r1")
    team.start("r2", workflow=solo(agent="critic"))
    team.command("pause", "r2")
    workers = team.workers("research")
    thought = workers["research"].thought
    team.restart(settle=False)
    team.pause_unfinished()
    assert [e.by for e in team.of(RunPaused, run="r1")] == ["restart"]
    assert len(team.of(RunPaused, run="r2")) == 1
    assert team.last(ThoughtAbandoned).reason == "paused"
    workers["research"].hello(thought)
    assert [e.reason for w in workers["research"].got(Welcome) for e in w.ended] == ["paused"]
    assert not workers["research"].is_thinking
    team.command("resume", "r1")
    assert workers["research"].is_thinking


def test_a_command_is_done_once() -> None:
    team, _ = a_solo_run()
    pause = Pause(id="c9", run="r1", by="anna")
    first = team.send(pause)
    assert team.send(pause) == first
    team.restart()
    assert team.send(pause) == first
    assert team.send(Pause(id="c9", run="r1", by="somebody else")) == first
    assert len(team.of(RunPaused)) == len(team.of(CommandAccepted)) == 1


def test_another_command_under_the_same_id_is_refused() -> None:
    team, _ = a_solo_run()
    team.start("r2", workflow=solo(agent="critic"))
    team.send(Pause(id="c9", run="r1"))
    assert code(team.send(Pause(id="c9", run="r2"))) == "id_reused"
    assert code(team.send(Resume(id="c9", run="r1"))) == "id_reused"
    assert len(team.of(CommandAccepted)) == 1


@pytest.mark.parametrize(
    ("name", "fields", "says", "field"),
    [
        ("cancel", {"run": "r9"}, "unknown_run", "run"),
        ("cancel", {"agent": "nobody"}, "unknown_agent", "agent"),
        ("cancel", {"thought": "t99-none"}, "thought_ended", "thought"),
        ("resume", {}, "not_paused", "run"),
    ],
)
def test_a_command_that_makes_no_sense(name: str, fields: dict[str, Any], says: str, field: str) -> None:
    team, _ = a_solo_run()
    at = len(team.log)
    reply = team.command(name, **fields)
    assert (code(reply), reply.field) == (says, field)  # type: ignore[union-attr]
    assert len(team.log) == at


def test_what_has_ended_takes_no_command() -> None:
    team, worker = a_solo_run()
    worker.finish()
    assert code(team.command("cancel")) == "run_ended"
    team.start("r2", workflow=solo())
    team.command("pause", "r2")
    assert code(team.command("pause", "r2")) == "already_paused"


# ---- start -----------------------------------------------------------------------------------------------------------


def test_a_start_is_done_once() -> None:
    team = Team()
    assert team.start() == Ok(id="r1", data={"run": "r1"})
    assert team.start() == Ok(id="r1", data={"run": "r1"})
    team.restart()
    assert team.start() == Ok(id="r1", data={"run": "r1"})
    assert code(team.start(task="Another?")) == "id_reused"
    assert len(team.of(RunStarted)) == 1


@pytest.mark.parametrize("name", ["latest", "all"])
def test_a_run_is_not_called_what_selects_runs(name: str) -> None:
    team = Team()
    assert code(team.start(name)) == "bad_message"
    assert team.log == []


def test_a_start_that_is_refused() -> None:
    team = Team(limits=replace(DEFAULT_LIMITS, open_runs_max=1, documents_max=1))
    assert code(team.start(workflow=solo(agent="nobody"))) == "bad_workflow"
    body: Any = {"type": "start", "id": "r1", "task": "Why?", "workflow": solo(), "agents": CARDS}
    documents = tuple({"name": name, "text": "x"} for name in ("a", "b"))
    assert code(team.send(Start(**body, documents=documents))) == "too_many"
    assert team.log == []
    team.start()
    assert code(team.start("r2")) == "too_many_runs"


def test_documents_are_kept_by_their_hash() -> None:
    team = Team()
    request = Start(id="r1", task="Why?", workflow=solo(), agents=CARDS, documents=({"name": "a.md", "text": "é"},))
    decision = team.post.start(request, team.now)
    (event,) = decision.events
    assert decision.blobs == {event.documents[0].sha256: "é".encode()}  # type: ignore[attr-defined]
    assert event.documents[0].size == 2  # type: ignore[attr-defined]


# ---- the assignment, the helix and its synthesis ---------------------------------------------------------------------


def finish_all(workers: dict[str, Any]) -> None:
    for _ in range(50):
        for worker in workers.values():
            if worker.is_thinking:
                worker.finish(f"The view of {worker.agents[0]}.")


def test_agents_descend_the_helix_each_at_its_own_pace() -> None:
    team = Team()
    team.start()
    workers = team.workers()
    assert [(e.agent, e.checkpoint, e.temperature) for e in team.of(ThoughtStarted)] == [
        ("research", 0.0, 0.9),
        ("analysis", 0.3, 0.55),
        ("critic", 0.5, 0.35),
    ]
    first = workers["research"].finish("First.")
    assert [(e.agent, e.checkpoint) for e in team.of(ThoughtStarted)[3:]] == [("research", 0.5)]
    found = team.post.assignment(workers["research"].thought)
    assert found is not None
    assert (found[0].own, found[0].context) == ("First.", ())
    workers["analysis"].finish("Second.")
    assign = team.post.assignment(workers["analysis"].thought)
    assert assign is not None
    assert [(given.thought, given.agent, given.text) for given in assign[0].context] == [(first, "research", "First.")]


def test_no_assignment_of_what_has_ended() -> None:
    team, worker = a_solo_run()
    assert team.post.assignment(worker.finish()) is None


def test_a_synthesis_starts_from_final_thoughts_only_and_names_who_is_missing() -> None:
    team = Team()
    team.start()
    workers = team.workers()
    workers["critic"].write("never finished")
    workers["critic"].abandon("context_exceeded", error="5,000 of 4,096 tokens")
    assert team.of(SynthesisStarted) == []
    workers["research"].finish("R1")
    last_r = workers["research"].finish("R2")
    workers["analysis"].finish("A1")
    assert team.of(SynthesisStarted) == []
    last_a = workers["analysis"].finish("A2")
    started = team.last(SynthesisStarted)
    assert started.inputs == (last_r, last_a)
    assert [(m.agent, m.why) for m in started.missing] == [("critic", "context_exceeded: 5,000 of 4,096 tokens")]
    assign = workers["synthesizer"].team.post.assignment(started.thought)
    assert assign is not None
    assert assign[0].synthesis
    assert (assign[0].missing, [given.text for given in assign[0].context]) == (started.missing, ["R2", "A2"])
    workers["synthesizer"].finish("The answer.")
    assert team.last(SynthesisFinished).thought == started.thought
    assert team.last(SynthesisFinished).confidence < 0.6  # two of three were heard
    finished = team.last(RunFinished)
    assert finished.result == "The answer."
    assert finished.degraded == ("critic is missing (context_exceeded: 5,000 of 4,096 tokens)",)


def test_a_synthesis_that_fails_three_times_leaves_the_best_final_thought() -> None:
    team = Team()
    team.start(workflow=helix_workflow(retry_s=0.0))
    workers = team.workers()
    for name in ("research", "research", "analysis", "analysis"):
        workers[name].finish("Short.")
    best = workers["critic"].finish("\n".join(["A long and well made point."] * 40))
    for _ in range(3):
        workers["synthesizer"].write("half")
        workers["synthesizer"].abandon(error="no")
    assert [e.attempt for e in team.of(SynthesisStarted)] == [1, 2, 3]
    done = team.last(SynthesisFinished)
    assert done.thought == max(team.of(ThoughtFinalized), key=lambda e: (e.confidence, e.seq)).thought == best
    reason = "no synthesis (llm_error: no): this is the best final thought, by critic"
    assert done.degraded == (reason,)
    assert team.last(RunFinished).degraded == (reason,)
    assert team.last(RunFinished).result.startswith("A long and well made point.")


def test_when_all_agents_fail_the_run_fails_with_their_words() -> None:
    team = Team()
    team.start()
    workers = team.workers()
    for name in ("research", "analysis", "critic"):
        workers[name].abandon(error=f"{name} is out of luck", lasting=True)
    failed = team.last(RunFailed)
    for name in ("research", "analysis", "critic"):
        assert f"{name}: llm_error: {name} is out of luck" in failed.error
    assert team.of(SynthesisStarted, SynthesisFinished) == []
    assert {e.stage: e.outcome for e in team.of(StageFinished)}["synthesis"] == "skipped"


def test_a_run_without_synthesis_is_what_its_last_stages_say() -> None:
    team = Team()
    stages = tuple(Stage(name=name, agent=name) for name in ("research", "critic"))
    team.start(workflow=Workflow(name="w", stages=stages))
    finish_all(team.workers("research", "critic"))
    expected = "## research\n\nThe view of research.\n\n## critic\n\nThe view of critic."
    assert team.last(RunFinished).result == expected


def test_a_run_goes_on_after_a_restart() -> None:
    team = Team()
    team.start()
    workers = team.workers()
    for step in range(40):
        thinking = [worker for worker in workers.values() if worker.is_thinking]
        if not thinking:
            break
        thinking[step % len(thinking)].finish("So.")
        team.restart()
        for worker in workers.values():
            worker.hello(*([worker.thought] if worker.is_thinking else []))
    assert len(team.of(RunFinished)) == 1
    assert len(team.of(AgentJoined)) == 4


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_an_ended_run_is_forgotten_after_a_while() -> None:
    team, worker = a_solo_run()
    thought = worker.finish()
    team.wait(59.0)
    assert team.post.forget(team.now) == []
    team.wait(2.0)
    assert team.post.forget(team.now) == ["r1"]
    assert team.post.runs == {}
    assert team.post.thought(thought) is None
    worker.hello()
    with refused("unknown_thought"):
        worker.finalize(thought)


def test_deciding_changes_nothing() -> None:
    team, worker = a_solo_run()
    before = team.post.digest()
    for message in (Partial(thought=worker.thought, offset=0, text="x"), Beat()):
        assert team.post.decide(message, worker.session, team.now) == team.post.decide(
            message, worker.session, team.now
        )
    team.post.command(CancelRun(id="c1", run="r1"), team.now)
    assert team.post.digest() == before
    assert team.post.tip == len(team.log)


def test_an_unknown_event_in_the_log_keeps_its_place_in_the_run() -> None:
    """A newer hub wrote it; this one goes on behind it."""
    team, worker = a_solo_run()
    last = team.log[-1]
    unknown = UnknownEvent(kind="stage.praised", seq=last.seq + 1, prev=last.seq, run="r1", at=last.at)
    team.post.apply(unknown)
    decision = team.post.decide(Partial(thought=worker.thought, offset=0, text="x"), worker.session, team.now)
    assert (decision.events[0].seq, decision.events[0].prev) == (unknown.seq + 1, unknown.seq)


def converging(*, confidence: float) -> tuple[Team, dict[str, Worker]]:
    """Analysis and critic with checkpoints 0.5, 0.7, 0.9. Both have finished 0.5; analysis had begun 0.7 by then."""
    marks = (0.5, 0.7, 0.9)
    workflow = Workflow(
        name="team",
        stages=(
            Stage(name="analysis", agent="analysis", checkpoints=marks, context="latest"),
            Stage(name="critic", agent="critic", checkpoints=marks, context="latest"),
        ),
        synthesis=Synthesis(agent="synthesizer", converge=Converge(progress=0.5, confidence=confidence)),
    )
    team = Team()
    team.start(workflow=workflow)
    workers = team.workers()
    workers["analysis"].finish(WELL_MADE)
    workers["critic"].finish(WELL_MADE)
    return team, workers


WELL_MADE = "\n".join(["A long and well made point."] * 40)


def test_early_convergence_is_reached_when_everybody_is_sure_enough() -> None:
    team, workers = converging(confidence=0.65)
    assert [(e.stage, e.outcome, e.why) for e in team.of(StageFinished)] == [
        ("critic", "final", "the team has converged at 0.7")
    ]
    workers["analysis"].finish(WELL_MADE)  # What was being thought at that moment is finished first.
    assert [e.outcome for e in team.of(StageFinished)] == ["final", "final"]
    assert [e.checkpoint for e in team.of(ThoughtStarted) if e.agent == "analysis"] == [0.5, 0.7]
    assert team.last(SynthesisStarted).missing == ()
    workers["synthesizer"].finish("The answer.")
    assert team.last(RunFinished).degraded == ()


def test_early_convergence_is_not_reached_while_somebody_is_unsure() -> None:
    team, workers = converging(confidence=0.95)
    workers["analysis"].finish(WELL_MADE)
    assert team.of(StageFinished) == []
    assert [e.checkpoint for e in team.of(ThoughtStarted) if e.agent == "analysis"] == [0.5, 0.7, 0.9]


def test_a_run_that_the_hub_fails_on_is_given_up_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    team = Team()
    team.start("r1")
    team.start("r2")

    def broken(run: Run, *_: object) -> None:
        if run.id == "r1":
            raise ZeroDivisionError
        whole(run, *_)  # type: ignore[arg-type]

    whole = engine.advance
    monkeypatch.setattr(engine, "advance", broken)
    team.workers()
    assert "the hub failed on this run (ZeroDivisionError)" in team.last(RunFailed).error
    assert team.run("r1").status == "failed"
    assert team.run("r2").open_thoughts()


def test_token_counts_that_add_up_to_more_than_a_number_can_hold_are_cut() -> None:
    team = Team()
    team.start(workflow=solo(checkpoints=(0.0, 0.5)))
    worker = team.worker("research")
    for _ in range(2):
        worker.write("x")
        worker.finalize(usage=Usage(prompt_tokens=2**53, completion_tokens=2**53))
    assert team.last(RunFinished).usage.prompt_tokens == 2**53


def test_more_context_than_one_assignment_may_hold_ends_the_stage() -> None:
    team = Team(limits=replace(DEFAULT_LIMITS, assignment_bytes_max=10))
    team.start()
    workers = team.workers()
    for name in ("research", "research", "analysis", "analysis", "critic"):
        if workers[name].is_thinking:
            workers[name].finish("More than ten bytes.")
    assert team.run().ended
    assert any("context_exceeded" in e.why for e in team.of(StageFinished))
