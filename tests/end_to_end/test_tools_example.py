"""Two programs of the examples beside a synthesizer, as the first lines of their workflow say."""

from __future__ import annotations

from shell import MEMO, ROOT, Shell
from texts import thoughts

from felixhub.core.events import parse_event
from felixhub.llm.offline import OfflineModel


def test_programs_look_and_a_model_answers(shell: Shell, model: OfflineModel) -> None:
    workflow = ROOT / "examples" / "workflows" / "with-tools.toml"
    assert "FELIXHUB_AGENTS_DIR=examples/agents python run_hub.py --workflow" in workflow.read_text()
    task = "What does charging the buses cost?"
    arguments = ("--workflow", workflow, task, "--file", MEMO, "--llm", model.base_url, "--view", "json")
    done = shell.start_run_hub(*arguments, FELIXHUB_AGENTS_DIR=str(ROOT / "examples" / "agents")).wait(60.0)
    assert done.code == 0, done.err
    said = {one.started.agent: one.text for one in thoughts(map(parse_event, done.out.splitlines())).values()}
    assert "Looked for: buses, charging.\n" in said["grep"]
    assert said["figures"].startswith(f"{MEMO.name}: ")
    (prompt,) = [r.body["messages"][1]["content"] for r in model.requests if r.method == "POST"]
    assert said["grep"].strip() in prompt and said["figures"].strip() in prompt
    assert said["synthesizer"]
    shell.until_nothing_is_left()
