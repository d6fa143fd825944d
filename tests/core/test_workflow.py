"""What makes a workflow sound, and the sentences that say what is wrong with one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from team import CARDS, helix_workflow, solo

from felixhub.core.soundness import faults
from felixhub.core.workflow import Card, RunSettings, Stage, Synthesis, Workflow

KNOWN = {card.name: card for card in CARDS}


def flow(*stages: dict[str, Any], **fields: Any) -> Workflow:
    return Workflow(name="w", stages=tuple(Stage(**{"agent": "research", **stage}) for stage in stages), **fields)


def test_a_sound_workflow_has_no_faults() -> None:
    assert faults(helix_workflow(), KNOWN) == []
    assert faults(flow({"name": "a"}, {"name": "b", "after": ("a",), "quorum": 1}), KNOWN) == []


@pytest.mark.parametrize(
    ("workflow", "at", "sentence"),
    [
        (flow({"name": "a"}, {"name": "a"}), "a", "two stages are called 'a'"),
        (flow({"name": "synthesis"}), "synthesis", "reserved"),
        (flow({"name": "a", "agent": "hub"}), "hub", "'hub' is reserved"),
        (flow({"name": "a", "agent": "nobody"}), "nobody", "add agents/nobody.md"),
        (flow({"name": "a"}, synthesis=Synthesis(agent="nobody")), "nobody", "there is no agent called 'nobody'"),
        (flow({"name": "a", "after": ("z",)}), "a", "comes after 'z', which does not exist"),
        (flow({"name": "a"}, {"name": "b", "after": ("a",), "quorum": 2}), "b", "wants 2 of 1"),
        (flow({"name": "a", "checkpoints": (0.5, 0.3)}), "a", "must rise"),
        (flow({"name": "a", "checkpoints": (0.5, 0.5)}), "a", "must rise"),
        (flow({"name": "a", "after": ("a",)}), "a", "waits for itself"),
    ],
)
def test_each_fault_is_named(workflow: Workflow, at: str, sentence: str) -> None:
    assert [name for name, _ in faults(workflow, KNOWN)] == [at]
    assert sentence in faults(workflow, KNOWN)[0][1]


def test_a_circle_names_all_who_wait_and_nobody_else() -> None:
    circle = flow({"name": "a"}, {"name": "b", "after": ("c", "a")}, {"name": "c", "after": ("b",)})
    assert [name for name, _ in faults(circle, KNOWN)] == ["b", "c"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Not A Name"},
        {"name": "a\n"},
        {"name": ""},
        {"name": "a", "checkpoints": ()},
        {"name": "a", "checkpoints": (1.1,)},
        {"name": "a", "retry_s": float("nan")},
        {"name": "a", "retries_max": 11},
        {"name": "a", "quorum": 0},
    ],
)
def test_values_outside_their_bounds_are_no_stage(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Stage(**{"agent": "research", **wrong})


def test_the_synthesis_is_the_last_stage_after_all_others() -> None:
    last = helix_workflow(instruction="Be brief.").all_stages()[-1]
    assert (last.name, last.agent, last.after) == ("synthesis", "synthesizer", ("research", "analysis", "critic"))
    assert (last.checkpoints, last.context, last.instruction) == ((1.0,), "latest", "Be brief.")


def test_agents_in_order_of_first_use() -> None:
    assert helix_workflow().agents() == ["research", "analysis", "critic", "synthesizer"]
    assert solo().agents() == ["research"]


def test_an_endpoint_that_nobody_configured_takes_four_at_once() -> None:
    settings = RunSettings.model_validate({"endpoints": {"local": {"max_concurrent": 2}}})
    assert (settings.concurrent_max("local"), settings.concurrent_max("other")) == (2, 4)


def test_unknown_fields_of_a_card_are_ignored() -> None:
    assert Card.model_validate({"name": "a", "colour": "blue"}) == Card(name="a")
