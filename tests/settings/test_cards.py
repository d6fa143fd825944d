"""Cards: what an agent's file says, and each mistake in it with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from felixhub.core.errors import ConfigError
from felixhub.core.workflow import Card
from felixhub.settings.cards import load_cards

GOOD = "---\nname: poet\nrole: critic\nabout: Writes verse\ntemperature: [1, 0.2]\ntokens_max: 500\n---\n\nYou rhyme.\n"


def mistakes_of(directory: Path, endpoints: tuple[str, ...] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_cards([directory], endpoints)
    return [line.removeprefix(f"{directory}/") for line in str(caught.value).split("\n")]


def test_a_models_agent(tmp_path: Path) -> None:
    (tmp_path / "poet.md").write_text(GOOD)
    assert load_cards([tmp_path]) == {
        "poet": Card(
            name="poet",
            role="critic",
            about="Writes verse",
            temperature=(1.0, 0.2),
            tokens_max=500,
            prompt="You rhyme.",
        )
    }


def test_byte_order_mark_and_crlf_make_no_difference(tmp_path: Path) -> None:
    for name, start in (("one", b""), ("two", b"\xef\xbb\xbf")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "poet.md").write_bytes(start + GOOD.replace("\n", "\r\n").encode())
    assert load_cards([tmp_path / "one"]) == load_cards([tmp_path / "two"])
    assert load_cards([tmp_path / "one"])["poet"].prompt == "You rhyme."


def test_front_matter_may_be_empty_and_the_prompt_may_hold_rules(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text("---\n---\nAbove\n\n---\n\nbelow: this is text")
    assert load_cards([tmp_path])["plain"] == Card(name="plain", prompt="Above\n\n---\n\nbelow: this is text")


def test_a_program_is_read_but_not_run(tmp_path: Path) -> None:
    source = '"""Says the time.\n\nAnd more."""\nROLE: str = "analysis"\nraise SystemExit\n'
    (tmp_path / "clock.py").write_text(source)
    (tmp_path / "bare.py").write_text("")
    assert load_cards([tmp_path]) == {
        "bare": Card(name="bare", program=True),
        "clock": Card(name="clock", program=True, about="Says the time.", role="analysis"),
    }


def test_the_earlier_directory_wins_and_what_it_hides_is_not_read(tmp_path: Path) -> None:
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine" / "poet.md").write_text(GOOD)
    (tmp_path / "theirs" / "poet.md").write_text("broken")
    (tmp_path / "theirs" / "clock.py").write_text("")
    cards = load_cards([tmp_path / "missing", tmp_path / "mine", tmp_path / "theirs"])
    assert sorted(cards) == ["clock", "poet"] and cards["poet"].prompt == "You rhyme."


def test_only_the_cards_that_are_needed_must_be_free_of_mistakes(tmp_path: Path) -> None:
    (tmp_path / "poet.md").write_text(GOOD)
    (tmp_path / "bad.md").write_text("---\ntemperature: 0.9\nrole: poet\n---\nText")
    (tmp_path / "not a name.md").write_text("")
    (tmp_path / "poet 2.py").write_text("(")
    assert sorted(load_cards([tmp_path], needed=["poet", "absent"])) == ["poet"]
    with pytest.raises(ConfigError) as caught:
        load_cards([tmp_path], needed=["poet", "bad"])
    lines = str(caught.value).split("\n")
    assert [line.split(": ")[0] for line in lines] == [f"{tmp_path}/bad.md:2", f"{tmp_path}/bad.md:3"]
    (tmp_path / "poet.py").write_text("")
    with pytest.raises(ConfigError, match=r"the agent 'poet' is in poet\.md too"):
        load_cards([tmp_path], needed=["poet"])


def test_a_bad_card_hides_the_one_of_a_later_directory(tmp_path: Path) -> None:
    for name, text in (("mine", "broken"), ("theirs", GOOD)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "poet.md").write_text(text)
    assert load_cards([tmp_path / "mine", tmp_path / "theirs"], needed=[]) == {}
    with pytest.raises(ConfigError, match=r"mine/poet\.md"):
        load_cards([tmp_path / "mine", tmp_path / "theirs"], needed=["poet"])


def test_some_files_are_no_agents(tmp_path: Path) -> None:
    for name in ("_shared.py", ".poet.md", "poet.md~", "notes.txt", "__init__.py"):
        (tmp_path / name).write_text("not ( an agent")
    (tmp_path / "folder.md").mkdir()
    assert load_cards([tmp_path]) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "You rhyme.",
            ["1: the first line must be ---: front matter (role: research …), another ---, then the prompt"],
        ),
        ("", ["1: the first line must be ---: front matter (role: research …), another ---, then the prompt"]),
        ("---\nrole: critic\nYou rhyme.", ["1: the front matter has no end: write --- below it"]),
        (
            "---\nrole: critic\n---\n \n",
            ["3: there is no prompt: write below the second --- what the model should be told"],
        ),
        (
            "---\nrole: critc\n---\nx",
            [
                "2: 'role' must be 'research', 'analysis', 'critic' or 'synthesis', not 'critc': did you mean"
                " 'critic'?",
            ],
        ),
        ("---\n\n# note\nmodell: x\n---\nx", ["4: there is no key 'modell' here: did you mean 'model'?"]),
        (
            "---\nprogram: true\n---\nx",
            [
                "2: there is no key 'program' here: remove it, or use one of name, role, about, endpoint, model,"
                " temperature, tokens_max"
            ],
        ),
        ("---\nname: bard\n---\nx", ["2: the name is 'bard' but the file is poet.md: make them the same"]),
        ("---\nmodel: 3.5\n---\nx", ["2: 'model' must be text, in quotes, not 3.5"]),
        ("---\nabout: no\n---\nx", ["2: 'about' must be text, in quotes, not false"]),
        ("---\nabout: 2024-05-01\n---\nx", ["2: 'about' must be text, in quotes"]),
        ("---\ntemperature: 0.5\n---\nx", ["2: 'temperature' must be a list, in square brackets, not 0.5"]),
        ("---\ntemperature: [0.5]\n---\nx", ["2: 'temperature' must have 2 values, as in [0.9, 0.4]"]),
        ("---\ntemperature: [0.5, 3]\n---\nx", ["2: 'temperature', value 2 must be at most 2, not 3"]),
        ("---\ntokens_max: 0\n---\nx", ["2: 'tokens_max' must be at least 1, not 0"]),
        ("---\nrole: critic\nmodel: m\nrole: critic\n---\nx", ["4: 'role' is there twice, first on line 2: keep one"]),
        ("---\nmodel: {a: 1}\n---\nx", ["2: 'model' must be one plain value, or a list of plain values"]),
        ("---\n[a]: b\n---\nx", ["2: a key must be one plain word"]),
        ("---\n- role\n---\nx", ["2: the front matter must be lines of key: value"]),
        (
            "---\nrole: critic\nabout: a: b\n---\nx",
            [
                "3: the front matter is not YAML (mapping values are not allowed here): put a value that holds a colon"
                " into quotes"
            ],
        ),
        (
            "---\n\trole: critic\n---\nx",
            [
                "2: the front matter is not YAML (found character '\\t' that cannot start any token): use"
                " spaces, not tabs"
            ],
        ),
        (
            "---\nabout: 'x\n---\nx",
            ["2: the front matter is not YAML (found unexpected end of stream): a closing quote is missing"],
        ),
        ("---\nrole: !!x y\n---\nx", ["2: the front matter is not YAML"]),
        ("---\nrole: critic\nabout: \x01\n---\nx", ["3: the front matter is not YAML (special characters are not"]),
        ("---\nendpoint: http://me:sk-secret@host/v1\n---\nx", ["2: The endpoint's URL is not usable: write it like"]),
        (
            "---\nrole: x\nmodel: 1\n---\n",
            [
                "2: 'role' must be 'research', 'analysis', 'critic' or 'synthesis', not 'x'",
                "3: 'model' must be text, in quotes, not 1",
                "4: there is no prompt: write below the second --- what the model should be told",
            ],
        ),
    ],
)
def test_each_mistake_has_its_line_and_the_way_out(tmp_path: Path, text: str, expected: list[str]) -> None:
    (tmp_path / "poet.md").write_text(text)
    told = mistakes_of(tmp_path)
    assert len(told) == len(expected)
    for line, start in zip(told, expected, strict=True):
        assert line.startswith(f"poet.md:{start}")
        assert "secret" not in line


def test_what_yaml_would_take_for_a_wrong_date_is_text(tmp_path: Path) -> None:
    (tmp_path / "poet.md").write_text("---\nabout: 2024-13-45\n---\nx")
    assert load_cards([tmp_path])["poet"].about == "2024-13-45"


def test_an_endpoint_must_be_one_of_those_that_exist(tmp_path: Path) -> None:
    (tmp_path / "poet.md").write_text("---\nendpoint: olama\n---\nx")
    assert mistakes_of(tmp_path, ("ollama", "openai")) == [
        "poet.md:2: there is no endpoint called 'olama' (there are: ollama, openai): did you mean 'ollama'?"
    ]
    assert load_cards([tmp_path])["poet"].endpoint == "olama"  # nobody asked
    (tmp_path / "poet.md").write_text("---\nendpoint: http://localhost:9/v1\n---\nx")
    assert load_cards([tmp_path], ("ollama",))["poet"].endpoint == "http://localhost:9/v1"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def think(:\n", "clock.py:1: this is not Python: "),
        ("\n\nx = (\n", "clock.py:3: this is not Python: "),
        ("x = '\x00'", "clock.py:1: this is not Python: "),
        (
            "\nROLE = 'reserch'",
            "clock.py:2: ROLE must be 'research' or 'analysis' or 'critic' or 'synthesis', written out: did you mean"
            " 'research'?",
        ),
        ("import os\nROLE = os.name", "clock.py:2: ROLE must be 'research' or"),
    ],
)
def test_each_mistake_in_a_program_has_its_line(tmp_path: Path, source: str, expected: str) -> None:
    (tmp_path / "clock.py").write_text(source)
    (told,) = mistakes_of(tmp_path)
    assert told.startswith(expected)


def test_names(tmp_path: Path) -> None:
    for name in ("My Poet.md", "hub.md", "twin.md"):
        (tmp_path / name).write_text("---\n---\nx")
    (tmp_path / "twin.py").write_text("")
    told = mistakes_of(tmp_path)
    assert sorted(told) == [
        "My Poet.md: 'My Poet' is not a name for an agent: rename the file, use lower-case letters, digits, - and _,"
        " at most 64, beginning with a letter or a digit",
        "hub.md: 'hub' is reserved: give the file another name",
        "twin.py: the agent 'twin' is in twin.md too: remove or rename one of them",
    ]


def test_a_file_that_is_no_text_and_a_prompt_too_long(tmp_path: Path) -> None:
    (tmp_path / "poet.md").write_bytes(b"---\n---\ncaf\xe9")
    assert mistakes_of(tmp_path) == ["poet.md:3: this is not UTF-8 text: save it as UTF-8"]
    (tmp_path / "poet.md").write_text("---\n---\n" + "x" * 100_001)
    assert mistakes_of(tmp_path) == ["poet.md:3: the prompt is longer than 100000 characters: shorten it"]
