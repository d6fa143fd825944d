"""felixhub.testing against itself: the scripts are said as they are written, by real processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from felixhub.core.events import RunStarted, ThoughtAbandoned, ThoughtFinalized, ThoughtPartial
from felixhub.testing import FAIL, HOLD, DidNotHappen, Fail, HubForTests, Script, Think, a_hub

pytest_plugins = ["pytester"]

DEADLINE_S = 60.0
WORDS = "Öl — naïve 🎉\n\x1b[2J\x00[/x]"


@pytest.fixture(scope="module")
def hub() -> Iterator[HubForTests]:
    with a_hub() as one:
        yield one


def test_a_script_is_said_to_the_letter(hub: HubForTests) -> None:
    run = hub.run(ann=Script(WORDS, Think("hm"), " and more", pace_s=0.01), ben="All of it.", synthesis="Together.")
    result = run.wait(DEADLINE_S)
    assert (result.status, result.text) == ("finished", "Together.")
    with hub.subscribe(run.id) as events:
        said = {event.agent: event for event in events if isinstance(event, ThoughtFinalized)}
        texts = {name: str(events.board.runs[run.id].thoughts[e.thought].text) for name, e in said.items()}
        (thinking,) = [t for t in events.board.runs[run.id].thoughts.values() if t.started.agent == "ann"]
    assert texts == {"ann": f"{WORDS} and more", "ben": "All of it.", "synthesizer": "Together."}
    assert str(thinking.reasoning) == "hm"


def test_a_failure_keeps_the_text_and_the_next_script_is_the_next_attempt(hub: HubForTests) -> None:
    first = Script("Half of ", Fail("out of ink"), "never said")
    assert first.text == "Half of "
    run = hub.run(critic=[first, Script("All of it.")])
    assert run.wait(DEADLINE_S).text == "All of it."
    events = list(run)
    (broken,) = [event for event in events if isinstance(event, ThoughtAbandoned)]
    assert (broken.reason, broken.length) == ("agent_error", len("Half of "))
    assert "out of ink" in broken.error
    assert "".join(e.text for e in events if isinstance(e, ThoughtPartial)) == "Half of All of it."


def test_a_run_whose_agent_always_fails_has_failed(hub: HubForTests) -> None:
    result = hub.run(critic=Script(FAIL), retries_max=0).wait(DEADLINE_S)
    assert (result.status, result.ok, result.text) == ("failed", False, "")
    assert "as the script says" in result.error


def test_an_agent_holds_until_it_is_released(hub: HubForTests) -> None:
    run = hub.run(poet=Script("one, ", HOLD, "two, ", HOLD, "three"))
    with hub.subscribe(run.id) as events:
        text, held = "", []
        for event in events:
            if isinstance(event, ThoughtPartial):
                text += event.text
                if text != "one, two, three":
                    with pytest.raises(TimeoutError, match="it goes on"):
                        run.wait(0.2)
                    held.append(text)
                    hub.release("poet")
    assert (held, text) == (["one, ", "one, two, "], "one, two, three")


def test_a_program_of_ones_own_in_the_folder_of_agents(hub: HubForTests) -> None:
    (hub.agents / "shout.py").write_text("async def think(request):\n    yield request.task.upper()\n")
    from felixhub.core.workflow import Stage, Workflow

    alone = Workflow(name="alone", stages=(Stage(name="shout", agent="shout"),))
    assert hub.run(task="hello", workflow=alone).wait(DEADLINE_S).text == "HELLO"


def test_what_a_kill_leaves() -> None:
    """The hub and a worker are killed in the middle: every acknowledged word is there, and the run is carried on."""
    with a_hub(FELIXHUB_TESTED="yes") as hub:
        run = hub.run(ann=[Script("So far. ", HOLD), Script("Again, and all.")], id="killed-1")
        with hub.subscribe(run.id) as events:
            assert isinstance(next(events), RunStarted)
            next(event for event in events if isinstance(event, ThoughtPartial))
            hub.kill()
            hub.start()
            hub.kill_worker("ann")
            hub.work("ann")
            kinds = [event.kind for event in events]
            thoughts = [str(t.text) for t in events.board.runs[run.id].thoughts.values()]
        assert kinds[-1] == "run.finished"
        assert thoughts == ["So far. ", "Again, and all."]
        pids = [hub._the_hub().pid, *(worker.pid for worker in hub._workers.values())]
        assert b"FELIXHUB_TESTED=yes" in Path(f"/proc/{pids[0]}/environ").read_bytes()
        folder = hub.folder
    assert not folder.exists()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_hub_that_cannot_start_says_why() -> None:
    with pytest.raises(DidNotHappen, match="FELIXHUB_BATCH_INTERVAL_S"), a_hub(FELIXHUB_BATCH_INTERVAL_S="often"):
        pass


def test_what_does_not_happen_shows_the_logs(hub: HubForTests) -> None:
    with pytest.raises(DidNotHappen, match=r"not within 0.05 s: pigs fly\n--- hub"):
        hub.until(lambda: False, "pigs fly", timeout_s=0.05)


def test_the_fixture_for_pytest(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["felixhub.testing.plugin"]')
    pytester.makepyfile(
        """
        def test_mine(felix_hub):
            run = felix_hub.run(critic="Well done.")
            assert run.wait(60.0).text == "Well done."
        """
    )
    pytester.runpytest_subprocess("-p", "no:xdist").assert_outcomes(passed=1)
