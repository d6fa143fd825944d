"""Lists and loops written out: what comes out is plain, in order, and called as the rules say."""

from __future__ import annotations

from typing import Any

import pytest
from plots import CARDS, KNOWN, SEVEN, begin, pipeline, seven

from felixhub.core.expansion import expand
from felixhub.core.messages import Start
from felixhub.core.soundness import faults
from felixhub.core.starting import to_search
from felixhub.core.workflow import STAGES_MAX, Card, Item, RunSettings, Stage, Synthesis, Workflow

ITEMS = (Item(name="one", title="The one"), Item(name="two", temperature=0.7, model="m", endpoint="e"))


def flow(*stages: dict[str, Any], **fields: Any) -> Workflow:
    return Workflow(name="w", stages=tuple(Stage(**{"agent": "coder", **stage}) for stage in stages), **fields)


def after(workflow: Workflow) -> dict[str, tuple[str, ...]]:
    plain, _, _ = expand(workflow, CARDS)
    return {stage.name: stage.after for stage in plain.stages}


def test_a_stage_over_a_list_becomes_numbered_instances() -> None:
    plain, cards, origins = expand(seven(instruction="Write {title} ({name})."), CARDS)
    assert [stage.name for stage in plain.stages] == list(SEVEN)
    assert [stage.agent for stage in plain.stages] == [f"writer-{number}" for number in range(1, 8)]
    assert plain.stages[5].section == "Risks"
    assert plain.stages[5].instruction == "Write Risks (risks)."
    assert plain.lists == {} and all(stage.for_each is None for stage in plain.stages)
    assert [card.name for card in cards] == [f"writer-{number}" for number in range(1, 8)]
    assert origins == dict.fromkeys(SEVEN, "write")


def test_an_entry_says_what_is_otherwise_with_its_agent() -> None:
    workflow = flow({"name": "drone", "for_each": "l"}, lists={"l": ITEMS})
    plain, cards, _ = expand(workflow, (Card(name="coder", temperature=(0.2, 0.1), model="big"),))
    assert [stage.name for stage in plain.stages] == ["drone-one", "drone-two"]
    assert (cards[0].temperature, cards[0].model, cards[0].endpoint) == ((0.2, 0.1), "big", None)
    assert (cards[1].temperature, cards[1].model, cards[1].endpoint) == ((0.7, 0.7), "m", "e")


def test_stages_over_the_same_list_are_paired_and_others_wait_for_all() -> None:
    workflow = flow(
        {"name": "a", "for_each": "l"},
        {"name": "b", "for_each": "l", "after": ("a",)},
        {"name": "c", "for_each": "k", "after": ("a",)},
        {"name": "d", "after": ("b",)},
        lists={"l": ITEMS, "k": (Item(name="x"),)},
    )
    assert after(workflow) == {
        "a-one": (),
        "a-two": (),
        "b-one": ("a-one",),
        "b-two": ("a-two",),
        "c-x": ("a-one", "a-two"),
        "d": ("b-one", "b-two"),
    }


def test_a_loop_is_written_out_and_ends_with_a_review() -> None:
    assert after(pipeline(rounds_max=2)) == {
        "code": (),
        "review": ("code",),
        "refine": ("review",),
        "review-2": ("code", "refine"),
        "refine-2": ("review-2",),
        "review-3": ("code", "refine-2"),
        "tests": ("code", "review", "refine", "review-2", "refine-2", "review-3"),
        "docs": ("review", "refine", "review-2", "refine-2", "review-3", "tests"),
    }
    _, _, origins = expand(pipeline(rounds_max=2), CARDS)
    assert (origins["review-3"], origins["refine-2"], origins["docs"]) == ("review", "refine", "docs")


def test_a_second_loop_waits_for_the_whole_first_one() -> None:
    second = flow(
        {"name": "code", "section": "Code"},
        {"name": "style", "after": ("code",), "reviews": "code", "rounds_max": 2},
        {"name": "polish", "after": ("style",), "revises": "code"},
        {"name": "safety", "after": ("polish",), "reviews": "code"},
        {"name": "mend", "after": ("safety",), "revises": "code"},
    )
    assert faults(second, KNOWN) == []
    assert after(second)["safety"] == ("style", "polish", "style-2", "polish-2", "style-3")
    assert after(second)["safety-2"] == (*after(second)["safety"], "mend")


def test_loops_over_a_list_are_loops_for_each_entry() -> None:
    workflow = flow(
        {"name": "a", "for_each": "l", "section": "{title}"},
        {"name": "b", "for_each": "l", "after": ("a",), "reviews": "a"},
        {"name": "c", "for_each": "l", "after": ("b",), "revises": "a"},
        lists={"l": ITEMS},
    )
    assert faults(workflow, KNOWN) == []
    plain, _, origins = expand(workflow, CARDS)
    assert [(stage.name, stage.reviews or stage.revises) for stage in plain.stages if "one" in stage.name] == [
        ("one", None),
        ("b-one", "one"),
        ("c-one", "one"),
        ("b-one-2", "one"),
    ]
    assert origins["b-one-2"] == "b"
    assert after(workflow)["b-two-2"] == ("two", "c-two")


def test_a_workflow_that_says_nothing_of_sections_has_its_last_texts_and_those_that_are_judged() -> None:
    def sections(workflow: Workflow) -> dict[str, str]:
        return {stage.name: stage.section for stage in expand(workflow, CARDS)[0].stages if stage.section}

    a, b = {"name": "a"}, {"name": "b", "after": ("a",)}
    assert sections(flow(a, b)) == {"b": "b"}
    assert sections(flow(a, {**b, "reviews": "a"})) == {"a": "a"}
    judged = ({"name": "r", "after": ("a",), "reviews": "a"}, {"name": "z", "after": ("r",)})
    assert sections(flow(a, *judged)) == {"a": "a", "z": "z"}
    assert sections(flow(a, b, synthesis=Synthesis(agent="sum"))) == {}
    assert sections(flow({**a, "section": "A"}, b)) == {"a": "A"}


def test_what_is_plain_comes_out_as_it_went_in() -> None:
    plain, cards, origins = expand(pipeline(), CARDS)
    again, same, named = expand(plain, cards)
    assert [stage for stage in again.stages if stage.name not in ("tests", "docs")] != []
    assert expand(flow({"name": "a", "section": "A"}), CARDS)[0] == flow({"name": "a", "section": "A"})
    assert set(named) >= set(origins) and same


def test_the_optional_stages_that_are_asked_for_keep_that_under_their_new_names() -> None:
    workflow = seven(optional=True)
    team, _ = begin(workflow, include=("write",))
    assert team.run().started.settings.include == SEVEN


@pytest.mark.parametrize(
    ("stages", "at", "sentence"),
    [
        (({"name": "a", "for_each": "z"},), "a", "there is no such list"),
        (({"name": "a", "for_each": "l", "section": "A"}, {"name": "one"}), "one", "'one' is there already"),
        (({"name": "a", "section": "A"}, {"name": "b", "reviews": "a"}), "b", "must come after it"),
        (({"name": "a", "section": "A"}, {"name": "b", "after": ("a",), "revises": "a"}), "b", "reviews 'a'"),
        (
            ({"name": "a"}, {"name": "b", "section": "B"}, {"name": "c", "reviews": "a", "after": ("a",)}),
            "c",
            "a section",
        ),
        (({"name": "a", "gate": True},), "a", "needs a section"),
        (({"name": "a", "rounds_max": 2},), "a", "for a stage that reviews"),
        (({"name": "a", "for_each": "l", "quorum": 1},), "a", "wants 1 of 0"),
        (
            (
                {"name": "a", "section": "A"},
                {"name": "b", "after": ("a",), "reviews": "a"},
                {"name": "c", "after": ("a",), "reviews": "a"},
                {"name": "d", "after": ("b", "c"), "revises": "a"},
            ),
            "d",
            "let it come after one review",
        ),
        (
            (
                {"name": "a", "section": "A"},
                {"name": "b", "after": ("a",), "reviews": "a"},
                {"name": "c", "after": ("b",), "revises": "a"},
                {"name": "d", "after": ("b",), "revises": "a"},
            ),
            "c",
            "one is enough",
        ),
        (
            (
                {"name": "a", "section": "A"},
                {"name": "b", "after": ("a",), "reviews": "a"},
                {"name": "c", "after": ("b",), "revises": "a"},
                {"name": "d", "after": ("a",), "reviews": "a"},
                {"name": "e", "after": ("d",), "revises": "a"},
            ),
            "c",
            "side by side",
        ),
        (
            (
                {"name": "a", "section": "A", "gate": True},
                {"name": "b", "after": ("a",), "section": "B"},
                {"name": "c", "after": ("a", "b"), "reviews": "a"},
            ),
            "b",
            "a gate opens only when",
        ),
    ],
)
def test_what_cannot_be_written_out_is_said_of_the_stage_it_comes_from(
    stages: tuple[dict[str, Any], ...], at: str, sentence: str
) -> None:
    found = faults(flow(*stages, lists={"l": ITEMS}), KNOWN)
    assert found[0][0] == at
    assert sentence in found[0][1]


def test_a_workflow_that_would_be_enormous_is_refused_before_it_is_written_out() -> None:
    many = tuple(Item(name=f"i{number}") for number in range(5_000))
    stages = ({"name": f"s{number}", "for_each": "l"} for number in range(1_000))
    found = faults(flow(*stages, lists={"l": many}), KNOWN)
    assert found == [("s0", f"with its lists and rounds the stages come to 5000000, and {STAGES_MAX} is the most")]


@pytest.mark.parametrize(
    ("stage", "item", "sentence"),
    [
        ({"instruction": "x" * 60_000}, {"instruction": "y" * 60_000}, "instruction of stage 's-i' comes to 120002"),
        ({"instruction": "{title}" * 14_000}, {"title": "t" * 20}, "instruction of stage 's-i' comes to 280000"),
        ({"section": "A section about {title}"}, {"title": "t" * 190}, "section of stage 'i' comes to 206 characters"),
    ],
)
def test_what_comes_out_too_long_is_refused(stage: dict[str, Any], item: dict[str, Any], sentence: str) -> None:
    """It would be in the log for ever, and nobody could read it."""
    found = faults(flow({"name": "s", "for_each": "l", **stage}, lists={"l": (Item(name="i", **item),)}), KNOWN)
    assert [name for name, _ in found] == ["s"]
    assert sentence in found[0][1]


def test_a_workflow_that_comes_to_many_megabytes_is_refused() -> None:
    items = tuple(Item(name=f"i{number}") for number in range(190))
    stages = ({"name": f"s{number}", "for_each": "l", "instruction": "x" * 90_000} for number in range(10))
    ((name, sentence),) = faults(flow(*stages, lists={"l": items}), KNOWN)
    assert name == "s0" and "bytes" in sentence


def test_what_is_searched_is_searched_for_each_plain_stage() -> None:
    request = Start(id="r1", task="Why?", workflow=seven(), agents=CARDS, settings=RunSettings())
    team, _ = begin(seven())
    assert to_search(request, team.limits, "x" * 100_000) is not None
    search = to_search(request, team.limits, "x" * 100_000)
    assert search is not None and list(search.queries) == list(SEVEN)
    assert to_search(request, team.limits, None) is None
