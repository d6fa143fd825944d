"""A user's own program beside LLM agents, from the examples, in a project of the user's own."""

from __future__ import annotations

import re
import shutil

from shell import MEMO, ROOT, Shell
from texts import of_kind, thoughts

from felixhub.core.events import RunFinished, ThoughtFinalized, parse_event
from felixhub.llm.offline import OfflineModel

TASK = "Which dates in this memo have passed?"
SAID = re.compile(r"It is \d\d:\d\d on \w+, \d\d \w+ \d{4} \(.*\), week \d\d of the year. The task has 7 words\.")

CLOCK_ONLY = 'name = "clock-only"\n[[stages]]\nname = "clock"\nagent = "clock"\n'


def test_the_clock_beside_models(shell: Shell, model: OfflineModel) -> None:
    (shell.project / "agents").mkdir()
    shutil.copy(ROOT / "examples" / "agents" / "clock.py", shell.project / "agents")
    shutil.copy(ROOT / "examples" / "workflows" / "with-clock.toml", shell.project / "config" / "workflows")
    answer = shell.project / "answer.md"
    arguments = (TASK, "--workflow", "with-clock", "--file", MEMO, "--llm", model.base_url, "--view", "json")
    done = shell.start_run_hub(*arguments, "--out", answer).wait(60.0)
    assert done.code == 0, done.err
    events = [parse_event(line) for line in done.out.splitlines()]
    told = thoughts(events).values()
    (clock,) = [one for one in told if one.started.agent == "clock"]
    assert SAID.fullmatch(clock.text), clock.text
    assert (clock.started.endpoint, clock.started.model) == ("", None)  # No model was asked.
    prompts = [r.body["messages"][1]["content"] for r in model.requests if r.method == "POST"]
    assert len(prompts) == 3  # Research twice, the synthesis.
    for prompt in prompts[1:]:
        assert f"## clock\n\n{clock.text}" in prompt
    (finished,) = of_kind(events, RunFinished)
    assert answer.read_text() == finished.result
    counted = [end.usage for end in of_kind(events, ThoughtFinalized) if end.agent != "clock"]
    assert sum(usage.completion_tokens for usage in counted) <= finished.usage.completion_tokens
    shell.until_nothing_is_left()


def test_a_result_without_a_last_line_break_is_kept_so(shell: Shell) -> None:
    (shell.project / "agents").mkdir()
    shutil.copy(ROOT / "examples" / "agents" / "clock.py", shell.project / "agents")
    workflow = shell.write("clock-only.toml", CLOCK_ONLY)
    answer = shell.project / "answer.txt"
    done = shell.run("up", TASK, "--workflow", workflow, "--llm", "offline", "--out", answer)
    assert SAID.fullmatch(answer.read_text())
    assert "▸ started  program  attempt 1" in done.text


def test_the_example_runs_as_its_first_lines_say(shell: Shell, model: OfflineModel) -> None:
    """From the root of a checkout, with the folder of agents in the environment."""
    workflow = ROOT / "examples" / "workflows" / "with-clock.toml"
    agents = {"FELIXHUB_AGENTS_DIR": str(ROOT / "examples" / "agents")}
    done = shell.run("up", TASK, "--workflow", workflow, "--file", MEMO, "--llm", model.base_url, **agents)
    assert SAID.search(" ".join(re.findall(r"clock +│ (.*)", done.text)))


def test_a_program_that_fails_says_where(shell: Shell) -> None:
    shell.write("agents/clock.py", "async def think(request):\n    yield 'so far'\n    yield 1 / 0\n")
    workflow = shell.write("clock-only.toml", CLOCK_ONLY + "retries_max = 0\n")
    done = shell.run("up", TASK, "--workflow", workflow, "--llm", "offline", code=1)
    assert "division by zero" in done.complaint and "clock.py" in done.complaint
    assert "so far" in done.text  # The text is kept.


def test_a_program_that_is_none_is_refused_at_once(shell: Shell) -> None:
    shell.write("agents/clock.py", "print('hello')\n")
    workflow = shell.write("clock-only.toml", CLOCK_ONLY + "retries_max = 0\n")
    done = shell.start("up", TASK, "--workflow", workflow, "--llm", "offline").wait()
    assert done.code in (1, 2), done.err
    assert "clock.py" in done.complaint and "think" in done.complaint
