"""felixhub.start and its like, in a program of a user's own: against a real hub with scripted agents."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import felixhub
from felixhub.testing import HOLD, HubForTests, Script, a_hub

DEADLINE_S = 60.0
DUET = """name = "duet"
[[stages]]
name = "ann"
agent = "ann"
[[stages]]
name = "ben"
agent = "ben"
after = ["ann"]
[[stages]]
name = "cat"
agent = "ben"
after = ["ben"]
optional = true
"""


@pytest.fixture(scope="module")
def served() -> Iterator[HubForTests]:
    """A hub in whose folder lie a workflow and its two agents, with workers."""
    with a_hub() as hub:
        hub.write_agent("ann", "The facts.")
        hub.write_agent("ben", [Script("First of all, ", "the answer."), Script("Then more.")])
        hub.work("ann")
        hub.work("ben")
        (hub.folder / "config" / "workflows").mkdir(parents=True)
        (hub.folder / "config" / "workflows" / "duet.toml").write_text(DUET)
        (hub.folder / "notes.md").write_text("# Notes\n\nNothing happened.\n")
        yield hub


@pytest.fixture
def hub(served: HubForTests, monkeypatch: pytest.MonkeyPatch) -> HubForTests:
    """With the test in its folder and its environment, as a user's program would be."""
    monkeypatch.chdir(served.folder)
    for name in ("HOME", "XDG_RUNTIME_DIR", "FELIXHUB_DATA", "FELIXHUB_AGENTS_DIR"):
        monkeypatch.setenv(name, served.environ[name])
    monkeypatch.delenv("FELIXHUB_HUB", raising=False)
    return served


@pytest.mark.usefixtures("hub")
def test_a_run_by_its_workflows_name() -> None:
    run = felixhub.start("What happened?", workflow="duet", files=["notes.md"], llm="offline")
    events = list(run)
    assert [event.kind for event in events if event.kind.startswith("run.")] == ["run.started", "run.finished"]
    said = "".join(getattr(event, "text", "") for event in events if event.kind == "thought.partial")
    assert said == "The facts.First of all, the answer."
    result = run.wait(DEADLINE_S)
    assert (result.run, result.status, result.ok, result.error) == (run.id, "finished", True, "")
    assert result.text == "First of all, the answer."
    assert result.seconds > 0 and result.usage.completion_tokens > 0
    assert list(run) == events  # From the first again.
    assert felixhub.attach().id == run.id
    assert felixhub.attach(run.id).wait(DEADLINE_S) == result


@pytest.mark.usefixtures("hub")
def test_what_a_run_can_be_asked_for() -> None:
    first = felixhub.start("One.", workflow=Path("config/workflows/duet.toml"), llm="offline")
    first.wait(DEADLINE_S)
    run = felixhub.start(
        "Two.", workflow="duet", llm="offline", include=["cat"], after="latest", budget_tokens=10_000, by="a test"
    )
    assert run.wait(DEADLINE_S).text == "Then more."
    started = next(iter(run))
    assert isinstance(started, felixhub.core.events.RunStarted)
    assert (started.after, started.by, started.settings.include) == (first.id, "a test", ("cat",))
    assert (started.settings.budget_tokens, started.settings.endpoint) == (10_000, "offline")


def test_waiting_cancelling_and_every_other_command(hub: HubForTests) -> None:
    run = hub.run(poet=Script("So far. ", HOLD))
    with pytest.raises(TimeoutError, match="it goes on"):
        run.wait(0.1)
    for event in run:
        if event.kind == "thought.partial":
            run.cancel(by="me")
    assert run.wait(DEADLINE_S).error == "cancelled by me"
    assert run.wait(DEADLINE_S).status == "cancelled"
    with run.connect() as client, pytest.raises(felixhub.HubRefused):
        client.steer(run.id, agent="poet", wrong="it is over")
    with pytest.raises(felixhub.HubRefused):
        run.cancel()
    assert repr(run) == f"<run {run.id}>"


@pytest.mark.usefixtures("hub")
def test_with_asyncio() -> None:
    async def program() -> None:
        run = await felixhub.start_async("What happened?", workflow="duet", llm="offline")
        text = ""
        async for event in run:
            if event.kind == "thought.partial":
                text += event.text  # type: ignore[attr-defined]
        assert text == "The facts.First of all, the answer."
        async with asyncio.timeout(DEADLINE_S):
            result = await run.wait()
        assert result == felixhub.attach(run.id).wait(DEADLINE_S)
        latest = await felixhub.attach_async()
        assert (latest.id, repr(latest)) == (run.id, f"<run {run.id}>")

    asyncio.run(program())


def test_several_runs_at_once_with_asyncio(hub: HubForTests) -> None:
    async def program() -> None:
        poet = felixhub.client.AsyncRunClient(hub.run(bard=Script("So far. ", HOLD)))
        duet = await felixhub.start_async("What happened?", workflow="duet", llm="offline")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await poet.wait()
        assert (await duet.wait()).ok  # While the other holds.
        async with contextlib.aclosing(aiter(poet)) as events:
            async for event in events:
                if event.kind == "thought.partial":
                    break
        await poet.cancel()
        assert (await poet.wait()).status == "cancelled"

    asyncio.run(program())


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"task": " "}, "the task is empty"),
        ({"workflow": "dued"}, "dued"),
        ({"workflow": "duet", "files": ["no-such.md"]}, "no-such.md"),
        ({"workflow": "duet", "llm": "nowhere"}, "there is no endpoint called 'nowhere'"),
        ({"workflow": "duet", "include": ["ann"]}, "is not optional"),
        ({"workflow": "duet", "include": ["x\x1b[2J"]}, r"--with 'x\x1b[2J'"),
        ({"workflow": "duet", "after": "No\x1bRun"}, r"--after 'No\x1bRun'"),
    ],
)
def test_what_will_not_do_is_refused_before_anything_starts(asked: dict[str, object], sentence: str) -> None:
    with pytest.raises(felixhub.ConfigError) as told:
        felixhub.start(**{"task": "Do it.", "llm": "offline"} | asked)  # type: ignore[arg-type]
    assert sentence in str(told.value)


@pytest.mark.usefixtures("hub")
def test_there_is_no_such_run_or_no_hub(tmp_path: Path) -> None:
    with pytest.raises(felixhub.RunGone, match="no run 'nobody'"):
        felixhub.attach("nobody").wait(DEADLINE_S)
    with pytest.raises(felixhub.RunGone):
        list(felixhub.attach("nobody"))
    with pytest.raises(felixhub.ConfigError, match="no run's id"):
        felixhub.attach("No Run")
    for ask in (
        lambda: felixhub.start("Do it.", workflow="duet", llm="offline", hub=tmp_path, wait_s=0.1),
        lambda: felixhub.attach(hub=tmp_path, wait_s=0.1),
        lambda: felixhub.attach("run-1", hub=tmp_path, wait_s=0.1).wait(DEADLINE_S),
    ):
        with pytest.raises(felixhub.NoHub, match="start one with"):
            ask()
    with a_hub() as empty, pytest.raises(felixhub.ConfigError, match="there are no runs yet"):
        felixhub.attach(hub=empty.data)
    with pytest.raises(felixhub.ConfigError, match="no run has finished yet"), a_hub() as empty:
        felixhub.start("Do it.", workflow="duet", llm="offline", after="latest", hub=empty.data)


def test_a_wait_outlives_the_hub() -> None:
    """Killed while somebody waits, and asked for a run that an earlier life has ended."""
    with a_hub() as hub, ThreadPoolExecutor(1) as thread:
        run = hub.run(poet=Script("So far. ", HOLD, "The end."))
        waiting = thread.submit(run.wait, DEADLINE_S)
        assert any(event.kind == "thought.partial" for event in run)
        hub.kill()
        assert not waiting.done()
        hub.start()
        hub.release("poet")
        result = waiting.result(DEADLINE_S)
        assert (result.status, result.text) == ("finished", "So far. The end.")
        hub.stop()
        hub.start()
        assert felixhub.attach(hub=hub.data).wait(DEADLINE_S) == result
        assert [event.kind for event in felixhub.attach(run.id, hub=hub.data)][-1] == "run.finished"


def test_the_public_names_are_there_and_cost_nothing() -> None:
    import subprocess
    import sys

    for name in felixhub.__all__:
        assert getattr(felixhub, name) is not None
    loaded = (
        "import sys, felixhub; print(sorted(name for name in ('zmq', 'pydantic', 'openai') if name in sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
