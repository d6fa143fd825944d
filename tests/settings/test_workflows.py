"""Workflows: finding them, and every fault at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from felixhub.core.errors import ConfigError
from felixhub.core.workflow import Card
from felixhub.settings.workflows import check_workflow, find_workflow, list_workflows, load_workflow

CARDS = {name: Card(name=name, prompt="x") for name in ("research", "critic", "agent-after", "synthesizer")}
STAGE = "[[stages]]\nname = 'a'\nagent = 'research'\n"


def mistakes_of(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        check_workflow(path, [], CARDS)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).split("\n")]


def test_a_sound_workflow_by_name_and_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(STAGE + "[synthesis]\nagent = 'synthesizer'")
    workflow = check_workflow("mine", [tmp_path / "missing", tmp_path], CARDS)
    assert workflow.name == "mine" and workflow.agents() == ["research", "synthesizer"]
    assert load_workflow(str(path), []) == load_workflow(path, []) == workflow


def test_the_earlier_directory_wins(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.toml").write_text(STAGE)
    (tmp_path / "two" / "other.toml").write_text(STAGE)
    directories = [tmp_path / "one", tmp_path / "two"]
    assert list_workflows(directories) == {
        "other": tmp_path / "two" / "other.toml",
        "same": tmp_path / "one" / "same.toml",
    }
    assert find_workflow("same", directories) == tmp_path / "one" / "same.toml"


def test_an_unknown_name_lists_what_exists(tmp_path: Path) -> None:
    (tmp_path / "helix.toml").write_text(STAGE)
    (tmp_path / "swarm.toml").write_text(STAGE)
    with pytest.raises(ConfigError) as caught:
        load_workflow("helx", [tmp_path])
    told = "there is no workflow called 'helx' (there are: helix, swarm): did you mean 'helix'?"
    assert str(caught.value) == told
    with pytest.raises(ConfigError, match=r"\(there are: none\): name one of them, or a file that ends in \.toml"):
        load_workflow("helx", [])
    with pytest.raises(ConfigError, match=r"^no/such\.toml: cannot read this file: No such file"):
        load_workflow("no/such.toml", [tmp_path])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("about = 'x'", ["1: 'stages' is missing: add it"]),
        ("name = 'yours'\n" + STAGE, ["1: the name is 'yours' but the file is mine.toml: make them the same"]),
        ("stages = []", ["1: 'stages' has too few values: at least 1"]),
        ("[[stages]]\nname = 'a'\nagnet = 'research'", ["3: there is no key 'agnet' here: did you mean 'agent'?"]),
        (STAGE + "[[stages]]\nname = 'b'", ["4: 'agent' is missing: add it"]),
        (
            STAGE + "context = 'lates'",
            ["4: 'context' must be 'latest', 'after' or 'none', not 'lates': did you mean 'latest'?"],
        ),
        (STAGE + "checkpoints = [0.0,\n  1.5]", ["5: 'checkpoints', value 2 must be at most 1, not 1.5"]),
        (STAGE + "checkpoints = []", ["4: 'checkpoints' has too few values: at least 1"]),
        (STAGE + "[synthesis]\nagent = 1", ["5: 'agent' must be text, in quotes, not 1"]),
        (STAGE + "[synthesys]\nagent = 'critic'", ["4: there is no key 'synthesys' here: did you mean 'synthesis'?"]),
        # What follows has the right form but is not sound.
        (
            "[[stages]]\nname = 'a'\n\nagent = 'reserch'",
            [
                "4: there is no agent called 'reserch' (known: agent-after, critic, research, synthesizer): add"
                " agents/reserch.md; did you mean 'research'?"
            ],
        ),
        (
            STAGE + "[synthesis]\nagent = 'synth'",
            [
                "5: there is no agent called 'synth' (known: agent-after, critic, research, synthesizer): add"
                " agents/synth.md; did you mean 'synthesizer'?"
            ],
        ),
        (STAGE.replace("research", "hub"), ["3: 'hub' is reserved: give the agent another name"]),
        (STAGE + STAGE, ["5: two stages are called 'a': give each a name of its own"]),
        (
            STAGE.replace("'a'", "'synthesis'"),
            ["2: the stage name 'synthesis' is reserved: use a [synthesis] table instead"],
        ),
        (
            STAGE + "after = ['agent-afte']\n[[stages]]\nname = 'agent-after'\nagent = 'critic'",
            ["4: stage 'a' comes after 'agent-afte', which does not exist; did you mean 'agent-after'?"],
        ),
        (STAGE + "quorum = 2", ["4: stage 'a' wants 2 of 0 stages: lower its quorum"]),
        (
            STAGE + "instruction = 'x'\ncheckpoints = [0.5, 0.3]",
            ["5: the checkpoints of stage 'a' must rise from wide to narrow"],
        ),
        (
            STAGE + "after = ['quorum']\n[[stages]]\nname = 'quorum'\nagent = 'critic'\nafter = ['a']",
            [
                "4: stage 'a' waits for itself: break the circle of 'after'",
                "8: stage 'quorum' waits for itself: break the circle of 'after'",
            ],
        ),
    ],
)
def test_each_mistake_has_its_line(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert mistakes_of(tmp_path, text) == expected


def test_all_faults_are_told_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = STAGE.replace("research", "nobody") + "after = ['zzz']\nquorum = 3\n" + STAGE
    told = mistakes_of(tmp_path, text)
    assert [line.split(":")[0] for line in told] == ["3", "4", "5", "7"]


def test_form_alone_can_be_loaded_without_cards(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[[stages]]\nname = 'a'\nagent = 'nobody'")
    assert load_workflow("mine", [tmp_path]).stages[0].agent == "nobody"
