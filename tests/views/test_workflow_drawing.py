"""The drawing of a workflow: levels, loops, lists, and that it fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felixhub.core.soundness import faults
from felixhub.core.workflow import Card, Converge, Item, Stage, Synthesis, Workflow
from felixhub.settings.cards import load_cards
from felixhub.settings.folders import packaged
from felixhub.settings.workflows import check_workflow, list_workflows
from felixhub.views.text_width import text_width
from felixhub.views.workflow_drawing import draw, levels

PIPELINE = """\
pipeline: Architecture, implementation, review until approved, tests,
documentation

    ● architecture    architect   section “Architecture”
    │
    ● implementation  coder       section “Implementation”; with --review held
                                  until approved
    │
  ╭─▶ review          reviewer    reviews implementation
  ╰── refine          refiner     revises implementation until the review
                                  approves, at most 3 times
    │
    ● tests           tester      section “Tests”; optional: --with tests
    │
    ● documentation   documenter  section “Documentation”

at most 11 stages, 6 agents
"""
SECTIONS_ASCII = """\
sections: Seven sections of one document side by side, each reviewed, in order

    o write x7   writer-1...7    a section for each; with --review held until
                                 approved
    |
  ,-> review x7  reviewer-1...7  reviews write; entry by entry
  '-- refine x7  writer-1...7    revises write until the review approves, at
                                 most once; entry by entry

sections x7: summary, background, participants, procedures, alternatives,
  risks, benefits
at most 28 stages, 14 agents
"""
SIDE_BY_SIDE = """\
odd

┌   ● fetch      research  section “Facts”
├   ● other      critic
└   ● third      critic
    │
┌ ╭─▶ check      critic    reviews fetch; after fetch
│ ╰── mend       research  revises fetch until the review approves, at most
│                          twice
└   ● join       research  needs 2 of 3; no retry: the run fails with it
    │
    ● late       critic    sees all others; after third and mend; marked stale
                           on a change
    │
    ◆ synthesis  critic    one answer, again after each thought; early once all
                           are at 0.5 with confidence 0.65

at most 11 stages, 2 agents
"""
ODD = Workflow(
    name="odd",
    stages=(
        Stage(name="fetch", agent="research", section="Facts"),
        Stage(name="other", agent="critic"),
        Stage(name="third", agent="critic"),
        Stage(name="check", agent="critic", after=("fetch",), reviews="fetch", rounds_max=2),
        Stage(name="mend", agent="research", after=("check",), revises="fetch"),
        Stage(name="join", agent="research", after=("fetch", "other", "third"), quorum=2, on_failure="fail"),
        Stage(name="late", agent="critic", after=("mend", "third"), context="latest", on_change="stale"),
    ),
    synthesis=Synthesis(agent="critic", when="each", converge=Converge()),
)
CARDS = [Card(name="research"), Card(name="critic")]


def shipped(name: str, **choices: int | bool) -> str:
    cards = load_cards([packaged("agents")])
    return draw(check_workflow(name, [packaged("config") / "workflows"], cards), cards.values(), **choices)  # type: ignore[arg-type]


def test_a_loop_an_optional_stage_and_a_gate() -> None:
    assert shipped("pipeline") == PIPELINE


def test_a_list_in_plain_ascii() -> None:
    assert shipped("sections", ascii_only=True) == SECTIONS_ASCII


def test_stages_side_by_side_and_what_they_wait_for() -> None:
    assert not faults(ODD, {card.name: card for card in CARDS})
    assert draw(ODD, CARDS) == SIDE_BY_SIDE


def test_what_a_list_says_of_its_entries() -> None:
    assert "drones ×3: steady (0.5), open (0.7), daring (0.9)\n" in shipped("swarm")


@pytest.mark.parametrize("name", [*list_workflows([packaged("config") / "workflows"])])
@pytest.mark.parametrize("width", [40, 60, 80, 100])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_no_line_is_wider_than_the_terminal(name: str, width: int, ascii_only: bool) -> None:
    drawing = shipped(name, width=width, ascii_only=ascii_only)
    assert max(map(text_width, drawing.split("\n"))) <= width
    assert drawing.isascii() or not ascii_only


def test_long_things_are_bounded_and_foreign_text_is_safe() -> None:
    items = tuple(Item(name=f"entry-{number}") for number in range(200))
    stages = tuple(Stage(name=f"{number}-{'n' * 55}", agent="research") for number in range(300))
    long = Workflow(name="long", about="\x1b[31mred\u202e", lists={"many": items}, stages=stages)
    drawing = draw(long, CARDS, width=80)
    assert drawing.count("research") == 200 and "… and 100 more stages" in drawing
    assert "entry-23, and 176 more" in drawing.replace("\n  ", " ") and "entry-24" not in drawing
    assert drawing.startswith("long: ␛[31mred<U+202E>\n")
    assert max(map(text_width, drawing.split("\n"))) <= 80


@st.composite
def workflows(draw_: st.DrawFn) -> Workflow:
    stages: list[Stage] = []
    for number in range(draw_(st.integers(1, 8))):
        names = [stage.name for stage in stages if not stage.reviews]
        after = tuple(draw_(st.lists(st.sampled_from(names), unique=True, max_size=3))) if names else ()
        target = next((name for name in after if not next(s for s in stages if s.name == name).revises), None)
        review = target if target and draw_(st.booleans()) else None
        stages.append(Stage(name=f"s{number}", agent="research", after=after, reviews=review))
        if review and draw_(st.booleans()):
            stages.append(Stage(name=f"r{number}", agent="critic", after=(f"s{number}",), revises=review))
    return Workflow(name="any", stages=tuple(stages))


@given(workflows(), st.integers(40, 120))
def test_every_stage_is_drawn_once_after_what_it_waits_for(workflow: Workflow, width: int) -> None:
    order = [stage.name for level in levels(workflow) for unit in level for stage in unit.stages]
    assert sorted(order) == sorted(stage.name for stage in workflow.stages)
    for stage in workflow.stages:
        assert all(order.index(name) < order.index(stage.name) for name in stage.after)
    drawing = draw(workflow, CARDS, width=width)
    assert max(map(text_width, drawing.split("\n"))) <= width
