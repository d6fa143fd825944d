"""`felixhub workflows`, as a user types it: processes in a project of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MINE = """about = "Mine \\u001b[31m"
[[stages]]
name = "write"
agent = "writer"
for_each = "parts"
section = "{title}"
[[lists.parts]]
name = "first"
[[lists.parts]]
name = "second"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "config" / "workflows"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(MINE)
    return tmp_path


def workflows(project: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FELIXHUB_")}
    command = [sys.executable, "-m", "felixhub", "workflows", *arguments]
    where = {"HOME": str(project), "XDG_CONFIG_HOME": str(project), "PYTHONUTF8": "1", "COLUMNS": "80"}
    return subprocess.run(
        command, cwd=project, env={**kept, **where, **environ}, capture_output=True, encoding="utf-8", timeout=60
    )


def test_the_users_own_stand_beside_those_that_ship(project: Path) -> None:
    told = workflows(project, "list")
    assert told.returncode == 0 and not told.stderr
    lines = told.stdout.splitlines()
    assert [line.split()[0] for line in lines[::2]] == ["helix", "mine", "phases", "pipeline", "sections", "swarm"]
    assert lines[2] == "mine      Mine ␛[31m"
    assert lines[3].strip() == str(project / "config" / "workflows" / "mine.toml")
    rows: list[dict[str, Any]] = json.loads(workflows(project, "list", "--json").stdout)
    assert [row["name"] for row in rows][:2] == ["helix", "mine"]
    assert rows[1]["about"] == "Mine \x1b[31m" and rows[1]["agents"] == ["writer"]


def test_one_that_is_broken_is_listed_as_such(project: Path) -> None:
    (project / "config" / "workflows" / "broken.toml").write_text("about = 3")
    told = workflows(project, "list")
    assert told.returncode == 0
    assert "broken    not sound: " in told.stdout and "broken.toml:1: " in told.stdout


def test_check_says_every_mistake_with_its_line(project: Path) -> None:
    file = project / "wrong.toml"
    file.write_text(MINE.replace('"writer"', '"writter"').replace('section = "{title}"', "gate = true"))
    told = workflows(project, "check", "mine", "wrong.toml", "mien")
    assert told.returncode == 2 and not told.stderr
    sound, agent, gate, missing = told.stdout.splitlines()
    assert sound.endswith("mine.toml: sound, 2 stages, 2 agents")
    assert agent.startswith("wrong.toml:4: there is no agent called 'writter'") and agent.endswith("'writer'?")
    assert gate == "wrong.toml:6: the gate of stage 'write' needs a section to approve: give it a section"
    assert missing.startswith("there is no workflow called 'mien'") and "did you mean 'mine'?" in missing


def test_without_a_name_all_are_checked(project: Path) -> None:
    told = workflows(project, "check")
    assert told.returncode == 0 and len(told.stdout.splitlines()) == 6
    assert all(": sound, " in line for line in told.stdout.splitlines())
    (project / "config" / "workflows" / "broken.toml").write_text("stages = 3")
    assert workflows(project, "check").returncode == 2


def test_show_draws_and_gives_json(project: Path) -> None:
    told = workflows(project, "show", "mine")
    assert told.returncode == 0
    assert told.stdout.splitlines() == [
        "mine: Mine ␛[31m",
        "",
        "    ● write ×2  writer-1…2  a section for each",
        "",
        "parts ×2: first, second",
        "2 stages, 2 agents",
    ]
    made = json.loads(workflows(project, "show", "mine", "--json").stdout)
    assert made["file"].endswith("mine.toml") and made["workflow"]["lists"]["parts"][0]["name"] == "first"
    assert [stage["agent"] for stage in made["written_out"]["stages"]] == ["writer-1", "writer-2"]
    assert [agent["name"] for agent in made["agents"]] == ["writer-1", "writer-2"]


def test_a_terminal_without_the_signs_gets_plain_ones(project: Path) -> None:
    for told in (
        workflows(project, "show", "pipeline", "--ascii"),
        workflows(project, "show", "pipeline", PYTHONUTF8="0", PYTHONIOENCODING="ascii"),
    ):
        assert told.returncode == 0 and told.stdout.isascii() and ",-> review" in told.stdout


def test_what_is_not_there_is_refused_in_one_sentence(project: Path) -> None:
    told = workflows(project, "show", "pipelin")
    assert told.returncode == 2 and not told.stdout
    assert told.stderr.startswith("felixhub: there is no workflow called 'pipelin'") and "'pipeline'?" in told.stderr
