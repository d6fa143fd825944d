"""The example agents: in real workers, on real documents."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from felixhub.core.events import ThoughtPartial
from felixhub.core.messages import Document
from felixhub.core.workflow import Stage, Workflow
from felixhub.settings.cards import load_cards
from felixhub.settings.settings import load_settings
from felixhub.settings.workflows import check_workflow
from felixhub.testing import HubForTests

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MEMO = EXAMPLES / "night-bus-depot.md"
DEADLINE_S = 60.0


def _alone(hub: HubForTests, name: str, task: str, *documents: Document) -> str:
    shutil.copy(EXAMPLES / "agents" / f"{name}.py", hub.agents)
    workflow = Workflow(name="alone", stages=(Stage(name=name, agent=name, retries_max=0),))
    result = hub.run(task=task, workflow=workflow, documents=documents).wait(DEADLINE_S)
    assert result.ok, result.error
    return result.text


def test_a_command_line_program_as_an_agent(hub: HubForTests) -> None:
    memo = Document(name=MEMO.name, text=MEMO.read_text())
    said = _alone(hub, "grep", "Is a DEPOT what we need?", memo)
    lines = MEMO.read_text().splitlines()
    found = [f"{n}:{line}" for n, line in enumerate(lines, 1) if re.search(r"\bdepot\b", line, re.IGNORECASE)]
    assert len(found) > 2
    assert said == "\n".join([f"{MEMO.name}:", *found, "Looked for: depot."]) + "\n"


def test_it_is_not_a_shell(hub: HubForTests) -> None:
    """Neither the task nor a document is ever a command, or an option."""
    said = _alone(hub, "grep", "--file=/etc/passwd `touch owned`", Document(name="x.md", text="passwd\n$(touch owned)"))
    assert "1:passwd" in said and "2:$(touch owned)" in said
    assert not list(hub.folder.rglob("owned"))


def test_a_cancelled_thought_leaves_no_program_behind(hub: HubForTests, tmp_path: Path) -> None:
    """In place of grep one that never ends."""
    slow = tmp_path / "grep"
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\necho so far\nexec sleep 600\n")
    slow.chmod(0o700)
    hub.environ["PATH"] = f"{tmp_path}{os.pathsep}{hub.environ['PATH']}"
    shutil.copy(EXAMPLES / "agents" / "grep.py", hub.agents)
    workflow = Workflow(name="alone", stages=(Stage(name="grep", agent="grep"),))
    run = hub.run(task="Charging", workflow=workflow, documents=[Document(name="x.md", text="x")])
    for event in run:
        if isinstance(event, ThoughtPartial) and "so far" in event.text:
            pid = int((tmp_path / "pid").read_text())
            assert Path(f"/proc/{pid}").exists()
            run.cancel()
    hub.until(lambda: not Path(f"/proc/{pid}").exists(), "the program has ended")


def test_a_library_as_an_agent(hub: HubForTests) -> None:
    documents = [Document(name="a.md", text="From 2 to 1,000.5 and 30 more."), Document(name="b.md", text="None.")]
    said = _alone(hub, "figures", "Count.", *documents)
    assert said == "a.md: 3 figures from 2 to 1,000.5, median 30\nb.md: no figures\n"


def test_a_library_without_documents(hub: HubForTests) -> None:
    assert _alone(hub, "figures", "Count.") == "There is no document to count in.\n"


@pytest.mark.parametrize("file", sorted((EXAMPLES / "agents").glob("*.py")), ids=lambda file: file.name)
def test_an_example_agent_is_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) < 40


def test_the_table_names_every_example() -> None:
    table = (EXAMPLES / "README.md").read_text()
    for file in EXAMPLES.rglob("*.*"):
        if file.suffix in (".py", ".mjs", ".html", ".toml"):
            assert f"({file.relative_to(EXAMPLES)})" in table, file.name


@pytest.mark.parametrize("file", sorted((EXAMPLES / "workflows").glob("*.toml")), ids=lambda file: file.name)
def test_an_example_workflow_is_sound(file: Path, tmp_path: Path) -> None:
    settings = load_settings({"agents_dir": str(EXAMPLES / "agents")}, {}, tmp_path, user_dir=tmp_path)
    check_workflow(str(file), settings.workflows_dirs, load_cards(settings.agents_dirs))
