"""Memory is a fold over the log: folded once or five times, from any length of it, it comes to the same."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from team import CARDS, FencedOut, Team, helix_workflow

from felixhub.core.central_post import CentralPost
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import parse_event

AGENTS = [card.name for card in CARDS]
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["write", "think", "finish", "abandon", "late", "pause", "resume", "cancel", "replace", "wait"]
        ),
        st.sampled_from(AGENTS),
    ),
    max_size=40,
)


def story(steps: list[tuple[str, str]]) -> Team:
    """A run that went like this."""
    team = Team()
    team.start(workflow=helix_workflow(retry_s=0.5))
    workers = team.workers()
    for what, agent in steps:
        worker = workers[agent]
        with suppress(ProtocolViolation, FencedOut):
            match what:
                case "write" | "think" | "finish" | "abandon" if not worker.is_thinking:
                    pass
                case "write":
                    worker.write("é蓝 ", tokens=2)
                case "think":
                    worker.write("hm", channel="reasoning")
                case "finish":
                    worker.finish()
                case "abandon":
                    worker.abandon()
                case "late":
                    team.wait(25.0)
                case "pause" | "resume":
                    team.command(what)
                case "cancel":
                    team.command(what, agent=agent)
                case "replace":
                    workers[agent] = team.worker(agent)
                case "wait":
                    team.wait(1.0)
    return team


def fold(log: list[bytes], runs: set[str]) -> CentralPost:
    post = CentralPost(boot="again", tip=len(log))
    for raw in log:
        event = parse_event(raw)
        if event.run in runs:
            post.apply(event)
    return post


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(steps=steps)
def test_five_restarts_come_to_the_same_memory(steps: list[tuple[str, str]]) -> None:
    team = story(steps)
    log = [event.encode() for event in team.log]
    unfinished = {name for name, tale in team.story.tales.items() if not tale.ended}
    for _ in range(5):
        post = fold(log, unfinished)
        assert post.digest() == team.post.digest()
        assert post.tip == len(log)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(steps=steps, cut=st.integers(0, 10_000))
def test_memory_after_any_event_is_that_of_the_log_up_to_it(steps: list[tuple[str, str]], cut: int) -> None:
    team = story(steps)
    log = [event.encode() for event in team.log]
    at = cut % len(log)
    once = fold(log[:at], {"r1"})
    for raw in log[at:]:
        once.apply(parse_event(raw))
    whole = fold(log, {"r1"})
    assert once.digest() == whole.digest()
    assert {name: run.status for name, run in once.runs.items()} == {n: r.status for n, r in whole.runs.items()}
