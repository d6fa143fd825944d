"""Workflows: finding them, and every fault at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from felixhub.core.errors import ConfigError
from felixhub.core.workflow import Card
from felixhub.settings.workflows import check_workflow, find_workflow, list_workflows, load_workflow

CARDS = {name: Card(name=name, prompt="x") for name in ("research", "critic", "agent-after", "synthesizer")}
NUMBERED = {name: Card(name=name, prompt="x") for name in ("agent", "agent-1")}
STAGE = "[[stages]]\nname = 'a'\nagent = 'research'\n"


def mistakes_of(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        check_workflow(path, [], {**CARDS, **NUMBERED} if "agent-1" in text else CARDS)
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


SECOND = "[[stages]]\nname = 'b'\nagent = 'critic'\n"
REVIEW = SECOND + "after = ['a']\nreviews = 'a'\n"
THIRD = "[[stages]]\nname = 'c'\nagent = 'critic'\n"
BY_B = "after = ['b']\nrevises = 'a'\n"
BY_D = "after = ['d']\nrevises = 'a'\n"
LIST = "[[lists.things]]\nname = 'one'\n"
EACH = STAGE + "for_each = 'things'\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Reviews, revisions, gates.
        (
            STAGE + SECOND + "after = ['a']\nreviews = 'aa'",
            ["8: stage 'b' reviews 'aa', which does not exist; did you mean 'a'?"],
        ),
        (STAGE + SECOND + "reviews = 'a'", ["7: stage 'b' reviews 'a', so it must come after it"]),
        (
            STAGE + THIRD + SECOND + "after = ['c']\nreviews = 'a'",
            ["10: stage 'b' reviews 'a', so it must come after it"],
        ),
        (
            STAGE + SECOND + "after = ['a']\nreviews = 'b'",
            ["8: stage 'b' reviews 'b', which writes no text of its own"],
        ),
        (
            STAGE + REVIEW + THIRD + "after = ['b']\nrevises = 'b'",
            ["13: stage 'c' revises 'b', which writes no text of its own"],
        ),
        (
            STAGE + REVIEW + THIRD + "after = ['b']\nrevises = 'A2'\nrounds_max = 'x'",
            [
                "13: 'revises' is not a name, not 'A2': use lower-case letters, digits, - and _, at most 64, beginning"
                " with a letter or a digit",
                "14: 'rounds_max' must be a whole number, not 'x': leave out the quotes",
            ],
        ),
        (
            STAGE + REVIEW + THIRD + "after = ['b']\nrevises = 'aa'",
            ["13: stage 'c' revises 'aa', which does not exist; did you mean 'a'?"],
        ),
        (
            STAGE + REVIEW + THIRD + "after = ['a']\nrevises = 'a'",
            ["12: stage 'c' revises 'a', so it must come after a stage that reviews 'a'"],
        ),
        (
            STAGE + SECOND + "after = ['a']\nreviews = 'a'\nrevises = 'a'",
            [
                "7: stage 'b' revises 'a', so it must come after a stage that reviews 'a'",
                "9: stage 'b' reviews and revises: make two stages of it",
            ],
        ),
        (
            STAGE + REVIEW + "section = 'X'",
            ["9: stage 'b' writes no section of its own: the section belongs to what it works on"],
        ),
        (
            STAGE + REVIEW + "checkpoints = [0.0, 0.5]",
            ["9: the checkpoints of stage 'b' must be one: it reviews or revises once a round"],
        ),
        (STAGE + "gate = true", ["4: the gate of stage 'a' needs a section to approve: give it a section"]),
        (STAGE + "gate = 'yes'", ["4: 'gate' must be true or false, not 'yes': leave out the quotes"]),
        (STAGE + "rounds_max = 2", ["4: rounds_max of stage 'a' is for a stage that reviews"]),
        (STAGE + REVIEW + "rounds_max = 21", ["9: 'rounds_max' must be at most 20, not 21"]),
        (
            STAGE + "on_change = 'redoo'",
            ["4: 'on_change' must be 'redo' or 'stale', not 'redoo': did you mean 'redo'?"],
        ),
        (STAGE + "review = 'b'", ["4: there is no key 'review' here: did you mean 'reviews'?"]),
        (
            STAGE.replace("'a'", "'n'") + "section = 'N'\n" + STAGE + REVIEW,
            ["12: stage 'b' reviews 'a', which is no section: give 'a' a section"],
        ),
        (
            STAGE + REVIEW + REVIEW.replace("'b'", "'d'") + THIRD + "after = ['b', 'd']\nrevises = 'a'",
            ["17: stage 'c' revises by 'b' and 'd': let it come after one review, and write a stage for each"],
        ),
        (
            STAGE + REVIEW + THIRD + BY_B + THIRD.replace("'c'", "'d'") + BY_B,
            ["13: stages 'c' and 'd' revise by the same review 'b': one is enough"],
        ),
        (
            STAGE + REVIEW + REVIEW.replace("'b'", "'d'") + THIRD + BY_B + THIRD.replace("'c'", "'e'") + BY_D,
            [
                "18: stages 'c' and 'e' revise 'a' side by side, and one text would be lost: let one's review come"
                " after the other"
            ],
        ),
        (
            STAGE + "section = 'A'\ngate = true\n" + REVIEW.replace("['a']", "['c']") + THIRD + "after = ['a']",
            [
                "9: stage 'b' waits for itself: a gate opens only when all who work on its text are done",
                "14: stage 'c' waits for itself: a gate opens only when all who work on its text are done",
            ],
        ),
        # Lists.
        (
            STAGE + "for_each = 'thing'\n" + LIST,
            ["4: for_each of stage 'a' is 'thing', and there is no such list; did you mean 'things'?"],
        ),
        (
            EACH + REVIEW + LIST,
            ["9: stage 'b' reviews 'a', so both must be for_each of the same list, or of none"],
        ),
        (
            EACH + SECOND + "for_each = 'others'\nafter = ['a']\nreviews = 'a'\n" + LIST,
            ["8: stage 'b' reviews 'a', so both must be for_each of the same list, or of none"],
        ),
        (EACH + LIST + LIST, ["8: the list 'things' has two entries called 'one'"]),
        ("lists = { things = [] }\n" + EACH, ["1: the list 'things' is empty: add [[lists.things]] tables"]),
        (EACH + LIST + "titel = 'x'", ["7: there is no key 'titel' here: did you mean 'title'?"]),
        (EACH + LIST + "temperature = 3", ["7: 'temperature' must be at most 2, not 3"]),
        (EACH + "[lists]\nthings = 3", ["6: 'things' must be a list, in square brackets, not 3"]),
        (EACH + "[[lists]]\nname = 'things'", ["5: 'lists' must be a table, not a list"]),
        (
            EACH + "section = '{title}'\n" + LIST + "[[stages]]\nname = 'one'\nagent = 'critic'",
            ["9: a stage called 'one' is there already: rename 'one', or the list's entry"],
        ),
        (
            EACH + LIST.replace("one", "o" * 64),
            [f"2: 'a-{'o' * 64}' is too long for a name: shorten 'a', or the list's entry"],
        ),
        (
            EACH.replace("research", "agent") + LIST + "[[stages]]\nname = 'b'\nagent = 'agent-1'",
            ["3: the agent 'agent-1' is there already: 'agent' is numbered for each entry of a list"],
        ),
        # The rest.
        (
            STAGE + SECOND + "after = [\n  'a',\n  'aa',\n]",
            ["9: stage 'b' comes after 'aa', which does not exist; did you mean 'a'?"],
        ),
        (STAGE + SECOND + "after = ['a']\nquorum = 2", ["8: stage 'b' wants 2 of 1 stages: lower its quorum"]),
        (STAGE + "quorum = 0", ["4: 'quorum' must be at least 1, not 0"]),
        (
            STAGE + "[synthesis]\nagent = 'critic'\nwhen = 'eech'",
            ["6: 'when' must be 'all' or 'each', not 'eech': did you mean 'each'?"],
        ),
        (
            STAGE + "[synthesis]\nagent = 'critic'\nconverge = { progres = 0.5 }",
            ["6: there is no key 'progres' here: did you mean 'progress'?"],
        ),
    ],
)
def test_what_reviews_lists_and_gates_get_wrong_has_its_line(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert mistakes_of(tmp_path, text) == expected


def test_all_faults_are_told_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = STAGE.replace("research", "nobody") + "after = ['zzz']\ngate = true\n" + STAGE
    told = mistakes_of(tmp_path, text)
    assert [line.split(":")[0] for line in told] == ["3", "4", "5", "7"]


def test_form_alone_can_be_loaded_without_cards(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[[stages]]\nname = 'a'\nagent = 'nobody'")
    assert load_workflow("mine", [tmp_path]).stages[0].agent == "nobody"
