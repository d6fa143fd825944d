"""Seven sections at once: what becomes of one is nobody else's business."""

from __future__ import annotations

import json
import threading

import pytest
from scripted_model import Say, ScriptedModel, scripted_model
from shell import Shell, until
from texts import check_chain, of_kind

from felixhub.core.events import Event, RunFinished, SectionApproved, StageFinished, ThoughtAbandoned
from felixhub.core.messages import CancelRun, Steer
from felixhub.transport.control import new_id

SECTIONS = ["summary", "background", "participants", "procedures", "alternatives", "risks", "benefits"]
APPROVED = json.dumps({"approved": True, "issues": []})
SIX = [name for name in SECTIONS if name != "risks"]


def start(shell: Shell, url: str, *more: object, first_token_s: float = 30.0) -> str:
    endpoint = f'base_url = "{url}"\nmax_concurrent = 16\nfirst_token_s = {first_token_s}\nretries_max = 0\n'
    shell.write("config/llm.toml", f"[endpoints.mine]\n{endpoint}")
    arguments = ("Write the form.", "--workflow", "sections", "--llm", "mine", "--detach", *more)
    return shell.run("run", *arguments).text.strip()


def ended(events: list[Event]) -> dict[str, str]:
    return {e.stage: e.outcome for e in of_kind(events, StageFinished)}


def check_the_six(events: list[Event], before: float) -> None:
    """They were whole, reviewed and approved before that moment."""
    approved = {e.section: e for e in of_kind(events, SectionApproved)}
    assert set(approved) >= set(SIX)
    assert all(approved[name].at < before for name in SIX)


def end(shell: Shell, run: str, seconds: float = 40.0) -> tuple[list[Event], RunFinished]:
    until(lambda: shell.status(run) == "finished", seconds, "the run ends")
    events = shell.events(run)
    check_chain(events)
    (finished,) = of_kind(events, RunFinished)
    return events, finished


def others(agent: str) -> Say:
    return Say(APPROVED if agent.startswith("reviewer") else f"What {agent} says. ")


def test_one_that_fails(shell: Shell) -> None:
    tries: list[str] = []
    six_are_done = threading.Event()

    def script(agent: str, _prompt: str) -> Say:
        if agent != "writer-6":
            return others(agent)
        tries.append(agent)
        if len(tries) > 1:  # Only the first one is answered before the six have come to their end.
            six_are_done.wait(30.0)
        return Say(status=500)

    shell.serve("--view", "none")
    with scripted_model(script) as model:
        run = start(shell, model.base_url, first_token_s=60.0)
        until(lambda: len(of_kind(shell.events(run), SectionApproved)) == 6, 30.0, "the six are approved")
        six_are_done.set()
        events, finished = end(shell, run)
    failures = [e for e in of_kind(events, ThoughtAbandoned) if e.agent == "writer-6"]
    errors = [e.error for e in failures]
    assert len(errors) == 3 and all("(500)" in error for error in errors), "retried twice, then given up"
    check_the_six(events, failures[-1].at)
    (reason,) = finished.degraded
    assert reason.startswith("Risks is missing: writer-6 (llm_error")
    assert "What writer-1 says." in finished.result and "What writer-7 says." in finished.result
    assert ended(events)["risks"] == "abandoned" and ended(events)["review-risks"] == "skipped"


def test_one_that_says_nothing(shell: Shell) -> None:
    """Its connection is given up by its own worker; the six are done long before."""

    def script(agent: str, _prompt: str) -> Say:
        return Say(silent=True) if agent == "writer-6" else others(agent)

    shell.serve("--view", "none")
    with scripted_model(script) as model:
        run = start(shell, model.base_url, first_token_s=3.0)
        events, finished = end(shell, run)
        assert all(one.closed_at for one in model.of("writer-6"))
    last = [e for e in of_kind(events, ThoughtAbandoned) if e.agent == "writer-6"][-1]
    check_the_six(events, last.at)
    assert any("Risks is missing: writer-6" in reason for reason in finished.degraded)


@pytest.mark.parametrize("say", [Say("some text ", silent=True), Say(silent=True)], ids=["streaming", "silent"])
def test_one_that_is_cancelled(shell: Shell, say: Say) -> None:
    """Its connection is closed, as the server sees it, also while the model says nothing."""
    waiting = threading.Event()

    def script(agent: str, _prompt: str) -> Say:
        if agent == "writer-6":
            waiting.set()
            return say
        return others(agent)

    shell.serve("--view", "none")
    with scripted_model(script) as model:
        run = start(shell, model.base_url)
        assert waiting.wait(20.0)
        until(lambda: len(of_kind(shell.events(run), SectionApproved)) == 6, 20.0, "the six are approved")
        with shell.client() as client:
            client.request(CancelRun(id=new_id(), run=run, section="risks", by="ann"))
        (one,) = model.of("writer-6")
        until(lambda: one.closed_at, 20.0, "the connection is closed")
        events, finished = end(shell, run)
    assert finished.degraded == ("Risks is missing: writer-6 (cancelled by ann)",)
    (abandoned,) = (one for one in of_kind(events, ThoughtAbandoned) if one.agent == "writer-6")
    assert abandoned.reason == "cancelled" and abandoned.length == len(say.text)


# ---- steering --------------------------------------------------------------------------------------------------------

WRONG, INSTEAD, LIMITS = "the doses are invented", "name the three that were measured", "at most five lines"


def steer(shell: Shell, run: str, **more: str) -> None:
    with shell.client() as client:
        client.request(Steer(id=new_id(), run=run, by="ann", **more))


def writer(model: ScriptedModel, count: int) -> list[str]:
    until(lambda: len(model.of("writer-6")) >= count, 20.0, f"{count} requests")
    return [one.prompt for one in model.of("writer-6")]


def test_a_steered_attempt_is_asked_with_all_that_was_said(shell: Shell) -> None:
    attempts: list[str] = []

    def script(agent: str, _prompt: str) -> Say:
        if agent != "writer-6":
            return others(agent)
        attempts.append(agent)
        return Say(f"Half of attempt {len(attempts)}, ", silent=True) if len(attempts) < 3 else Say("The whole. ")

    shell.serve("--view", "none")
    with scripted_model(script) as model:
        run = start(shell, model.base_url)
        shell.until_event(run, "thought.partial", agent="writer-6")
        steer(shell, run, agent="writer-6", wrong=WRONG, instead=INSTEAD, constraints=LIMITS)
        second = writer(model, 2)[1]
        shell.until_event(run, "thought.partial", agent="writer-6", text="Half of attempt 2, ")
        steer(shell, run, section="risks", instead="begin with the rarest")
        first, _, third = writer(model, 3)
        assert all(one.closed_at for one in model.of("writer-6")[:2])
        events, finished = end(shell, run)
    request = first.partition("# What to write")
    for prompt in (second, third):
        assert "# Task\n\nWrite the form." in prompt, "the original request"
        assert request[2].strip().splitlines()[0] in prompt, "and what was to be written"
        for word in (WRONG, INSTEAD, LIMITS):
            assert word in prompt
    assert "Half of attempt 1, " in second
    assert "Half of attempt 2, " in third and "begin with the rarest" in third
    assert third.index(WRONG) < third.index("begin with the rarest"), "in order"
    assert WRONG not in first
    assert "The whole." in finished.result and "Half of attempt" not in finished.result
    assert finished.degraded == ()
    assert [e.reason for e in of_kind(events, ThoughtAbandoned)] == ["superseded", "superseded"]


def test_regenerate_is_fresh_or_with_feedback(shell: Shell) -> None:
    said: list[str] = []

    def script(agent: str, _prompt: str) -> Say:
        if agent != "writer-6":
            return others(agent)
        said.append(f"Telling {len(said) + 1}, by {agent}. ")
        return Say(said[-1])

    shell.serve("--view", "none")
    with scripted_model(script) as model:
        run = start(shell, model.base_url, "--review")
        until(lambda: len(shell.rows()[-1]["awaiting"]) == 7, 20.0, "seven sections wait")
        shell.run("regenerate", run, "risks")
        fresh = writer(model, 2)[1]
        assert fresh == writer(model, 2)[0], "from the original request, and nothing else"
        until(lambda: len(shell.rows()[-1]["awaiting"]) == 7, 20.0, "it waits again")
        shell.run("regenerate", run, "risks", "--wrong", WRONG)
        revised = writer(model, 3)[2]
        assert said[1] in revised and WRONG in revised and said[0] not in revised
        until(lambda: len(shell.rows()[-1]["awaiting"]) == 7, 20.0, "and again")
        assert shell.run("sections", run, "Risks").text == said[2] + "\n"
        assert "--wrong is empty" in shell.run("regenerate", run, "risks", "--wrong", " ", code=2).complaint
        assert "no folder nodir/" in shell.run("export", run, "-o", "nodir/", code=2).complaint
        told = shell.run("diff", run, "risks").text
        assert f"-{said[1]}".strip() in told and f"+{said[2]}".strip() in told and "version 3" in told
        assert f"-{said[0]}".strip() in shell.run("diff", run, "risks", "1", "3").text
        assert "approved" in shell.run("approve", run, "--all").text
        _, finished = end(shell, run)
    assert finished.degraded == ()
