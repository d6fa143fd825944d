"""The headline: `python run_hub.py "TASK" --file MEMO --out FILE`, looked at from both ends.

What the user got is in the files; what the agents asked is in the requests that the model's HTTP server received.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pace import all_at_once
from shell import MEMO, TASK, Done, Shell, a_shell, until
from texts import Told, check_chain, of_kind, thoughts

from felixhub.core.events import Event, RunFinished, RunStarted, SynthesisStarted, parse_event
from felixhub.llm.offline import OfflineModel, Request, count_tokens

CHECKPOINTS = {
    "research": [0.0, 0.3, 0.5, 0.7, 0.9],
    "analysis": [0.3, 0.5, 0.7, 0.9],
    "critic": [0.5, 0.7, 0.9],
}
TEMPERATURES = {"research": (0.9, 0.4), "analysis": (0.7, 0.2), "critic": (0.6, 0.1), "synthesizer": (0.5, 0.1)}


@dataclass(frozen=True)
class Helix:
    """One run, ended, and everything that can be known of it."""

    done: Done
    answer: Path
    model: OfflineModel
    events: list[Event]
    told: dict[str, Told]

    def of(self, agent: str) -> list[Told]:
        return [one for one in self.told.values() if one.started.agent == agent]

    def request(self, one: Told) -> Request:
        """The HTTP request of a thought."""
        place = f"You are {one.started.agent}, in the role of "
        mark = f"at t={one.started.checkpoint:.2f} of the helix"
        found = [r for r in self.model.requests if r.path.endswith("/chat/completions")]
        found = [r for r in found if place in system(r) and mark in system(r)]
        assert len(found) == 1, (one.started, len(found))
        return found[0]


def system(request: Request) -> str:
    return str(request.body["messages"][0]["content"])


def asked(request: Request) -> str:
    return str(request.body["messages"][1]["content"])


@pytest.fixture(scope="module")
def helix() -> Iterator[Helix]:
    model = OfflineModel(tokens_per_s=600.0, first_token_s=0.15)
    model.start()
    with a_shell() as shell:
        answer = shell.project / "answer.md"
        data = shell.folder / "elsewhere"
        arguments = (TASK, "--file", MEMO, "--llm", model.base_url, "--data", data, "--out", answer)
        with all_at_once(model, 3):
            done = shell.start_run_hub(*arguments).wait()
        shell.until_nothing_is_left()
        shell.start("hub", "--data", data)
        lines = shell.run("export", "latest", "--format", "jsonl", "--hub", data).out.splitlines()
        events = [parse_event(line) for line in lines]
        yield Helix(done, answer, model, events, thoughts(events))
    model.stop()


def test_it_ends_well_with_the_result_on_the_screen(helix: Helix) -> None:
    assert helix.done.code == 0, helix.done.err
    assert "Traceback" not in helix.done.err and "Warning" not in helix.done.err
    check_chain(helix.events)
    for line in of_kind(helix.events, RunFinished)[0].result.splitlines():
        assert line in helix.done.text
    assert b"\x1b" not in helix.done.out and b"\r" not in helix.done.out  # It is no terminal.
    run = helix.events[0].run
    assert helix.done.err.splitlines()[0].startswith("hub at ")
    assert f"watch --hub {helix.answer.parent.parent / 'elsewhere'}" in helix.done.err
    assert f"cancel {run} [AGENT]" in helix.done.err


def test_the_file_holds_the_result_and_the_synthesis_to_the_byte(helix: Helix) -> None:
    finished = of_kind(helix.events, RunFinished)[0]
    (synthesis,) = helix.of("synthesizer")
    assert finished.result == synthesis.text
    assert helix.answer.read_bytes() == synthesis.text.encode()
    assert finished.degraded == ()


def test_all_three_think_at_once(helix: Helix) -> None:
    """Three separate connections to the model's server were open together."""
    assert helix.model.open_requests_max == 3
    assert helix.model.abandoned_requests == 0
    assert len({one.started.session for one in helix.told.values()}) == 4  # Each agent is a process of its own.


@pytest.mark.parametrize("agent", CHECKPOINTS)
def test_an_agent_thinks_once_at_each_checkpoint_and_gets_cooler(helix: Helix, agent: str) -> None:
    told = helix.of(agent)
    assert [one.started.checkpoint for one in told] == CHECKPOINTS[agent]
    assert [one.started.attempt for one in told] == [1] * len(told)
    assert all(one.is_final for one in told)
    wide, narrow = TEMPERATURES[agent]
    expected = [pytest.approx(wide + (narrow - wide) * mark, abs=0.001) for mark in CHECKPOINTS[agent]]
    assert [one.started.temperature for one in told] == expected
    assert [helix.request(one).body["temperature"] for one in told] == expected
    assert all(warm > cool for warm, cool in itertools.pairwise(one.started.temperature for one in told))


def test_a_prompt_holds_the_task_the_document_and_the_latest_final_thoughts(helix: Helix) -> None:
    """For each request: what was final in the log when its thought started, and nothing else of the others."""
    final: dict[str, Told] = {}
    seen_others = 0
    for event in helix.events:
        if event.kind == "thought.finalized":
            one = helix.told[event.thought]  # type: ignore[attr-defined]
            final[one.started.agent] = one
        if event.kind != "thought.started":
            continue
        started = helix.told[event.thought]  # type: ignore[attr-defined]
        agent = started.started.agent
        prompt = asked(helix.request(started))
        assert f"# Task\n\n{TASK}\n\n" in prompt
        assert f"## {MEMO.name}\n\n{MEMO.read_text()}\n\n" in prompt
        others = {name: one for name, one in final.items() if name != agent}
        headings = set(re.findall(r"^## (research|analysis|critic)$", prompt, re.MULTILINE))
        assert headings == set(others)
        for name, other in others.items():
            assert f"## {name}\n\n{other.text}\n\n" in prompt
        assert {helix.told[given].started.agent for given in started.started.context} == set(others)
        if agent in final:
            assert f"# Your earlier thought\n\n{final[agent].text}\n\n" in prompt
        seen_others += bool(others)
    assert seen_others >= 9  # All but the first of each agent, and some of those.


def test_the_synthesis_is_asked_with_the_whole_latest_text_of_each_agent(helix: Helix) -> None:
    (synthesis,) = helix.of("synthesizer")
    prompt = asked(helix.request(synthesis))
    for agent in CHECKPOINTS:
        last = helix.of(agent)[-1]
        assert last.started.checkpoint == 0.9
        assert f"## {agent}\n\n{last.text}\n\n" in prompt
    (started,) = of_kind(helix.events, SynthesisStarted)
    assert [helix.told[name].started.agent for name in started.inputs] == ["research", "analysis", "critic"]
    assert started.missing == ()
    assert synthesis.started.temperature == pytest.approx(0.1, abs=0.001)


def test_tokens_are_the_servers_and_are_summed(helix: Helix) -> None:
    prompt_tokens = completion_tokens = 0
    for one in helix.told.values():
        assert one.end is not None and one.end.kind == "thought.finalized"
        usage = one.end.usage  # type: ignore[union-attr]
        messages = helix.request(one).body["messages"]
        assert not usage.estimated
        assert usage.prompt_tokens == sum(count_tokens(message["content"]) + 4 for message in messages)
        assert usage.completion_tokens == count_tokens(one.text)
        prompt_tokens += usage.prompt_tokens
        completion_tokens += usage.completion_tokens
    total = of_kind(helix.events, RunFinished)[0].usage
    assert (total.prompt_tokens, total.completion_tokens) == (prompt_tokens, completion_tokens)
    assert not total.estimated
    assert f"{completion_tokens:,} tokens" in helix.done.text


def test_confidence_is_no_constant(helix: Helix) -> None:
    for agent in CHECKPOINTS:
        found = [one.end.confidence for one in helix.of(agent)]  # type: ignore[union-attr]
        assert found == sorted(found) and len(set(found)) > 1, (agent, found)
    assert len({one.end.confidence for one in helix.told.values()}) >= 6  # type: ignore[union-attr]


def test_the_log_says_what_it_was_made_from(helix: Helix) -> None:
    (started,) = of_kind(helix.events, RunStarted)
    assert started.task == TASK
    assert [document.name for document in started.documents] == [MEMO.name]
    assert started.documents[0].size == MEMO.stat().st_size
    assert started.settings.endpoint == helix.model.base_url


# ---- settings that must reach the worker ---------------------------------------------------------------------------


def _partials(shell: Shell, model: OfflineModel, hub_toml: str) -> tuple[Told, list[float]]:
    """One thought under these settings, and when each of its batches was logged."""
    shell.write("config/hub.toml", hub_toml)
    run = shell.run("run", TASK, "--file", MEMO, "--workflow", "solo", "--llm", model.base_url, "--detach").text.strip()
    until(lambda: shell.status(run) == "finished", 20.0, "the run finishes")
    events = shell.events(run)
    (told,) = thoughts(events).values()
    return told, [event.at for event in events if event.kind == "thought.partial"]


def test_streaming_and_batch_interval_reach_the_worker(shell: Shell, model: OfflineModel) -> None:
    shell.serve("--view", "none")
    model.tokens_per_s = 150.0  # about 190 tokens: somewhat over a second

    whole, _ = _partials(shell, model, "streaming = false\n")
    assert model.requests[-1].body["stream"] is False
    assert whole.partials == 1
    assert not whole.end.usage.estimated  # type: ignore[union-attr]

    slow, times = _partials(shell, model, "batch_interval_s = 0.4\n")
    assert model.requests[-1].body["stream"] is True
    assert 3 <= slow.partials <= 6
    assert all(later - earlier > 0.3 for earlier, later in itertools.pairwise(times[:-1]))

    quick, _ = _partials(shell, model, "batch_interval_s = 0.0\n")
    assert quick.partials >= 40
    assert whole.text == slow.text == quick.text  # How it came changes nothing of what was said.


def test_a_server_that_cannot_stream_is_a_setting_of_its_endpoint(shell: Shell, model: OfflineModel) -> None:
    shell.write("config/llm.toml", f'[endpoints.mine]\nbase_url = "{model.base_url}"\nstreaming = false\n')
    answer = shell.project / "answer.md"
    shell.run("up", TASK, "--workflow", "solo", "--llm", "mine", "--view", "none", "--out", answer)
    assert model.requests[-1].body["stream"] is False
    assert answer.read_text().startswith("**What to find out")
    shell.until_nothing_is_left()
