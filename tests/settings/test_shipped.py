"""What ships with the project: its agents, its configuration, its examples."""

from __future__ import annotations

import asyncio
import re
import runpy
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from felixhub.core.expansion import expand
from felixhub.core.helix import TEMPERATURES
from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.core.workflow import Card, Workflow
from felixhub.llm.endpoint import KNOWN_ENDPOINTS, Endpoint
from felixhub.settings.cards import load_cards
from felixhub.settings.fields import HubFile
from felixhub.settings.folders import checkout, packaged
from felixhub.settings.settings import load_settings
from felixhub.settings.workflows import check_workflow, list_workflows, load_workflow

ROOT = Path(__file__).parents[2]
_SHOWN = re.compile(r"^# (\[[\w.-]+\]|\w+ = )")


def shown_defaults(path: Path) -> dict[str, Any]:
    """A file with its commented keys put to work."""
    lines = path.read_text("utf-8").splitlines()
    return tomllib.loads("\n".join(line[2:] if _SHOWN.match(line) else line for line in lines))


def test_the_helix_roles_have_a_card_each() -> None:
    cards = load_cards([packaged("agents")], KNOWN_ENDPOINTS)
    assert {"research", "analysis", "critic", "synthesizer"} <= set(cards)
    for name, role in (("research", "research"), ("analysis", "analysis"), ("critic", "critic")):
        assert cards[name].role == role
        assert cards[name].temperature == TEMPERATURES[cards[name].role]
    assert cards["synthesizer"].role == "synthesis"
    assert cards["synthesizer"].temperature == TEMPERATURES["synthesis"]


def test_every_card_that_ships_says_what_it_is_for() -> None:
    cards = load_cards([packaged("agents")], KNOWN_ENDPOINTS)
    for card in cards.values():
        assert card.about and 200 < len(card.prompt) < 3_000
        assert card.temperature and card.temperature[0] >= card.temperature[1]
    assert cards["arbiter"].temperature == (0.2, 0.2)
    assert "only the JSON object" in cards["reviewer"].prompt
    workflows = list_workflows([packaged("config") / "workflows"])
    used = {name for path in workflows.values() for name in load_workflow(path, []).agents()}
    assert used == set(cards)


def test_the_helix_is_as_designed() -> None:
    workflow = check_workflow("helix", [packaged("config") / "workflows"], load_cards([packaged("agents")]))
    assert {stage.name: stage.checkpoints for stage in workflow.stages} == {
        "research": (0.0, 0.3, 0.5, 0.7, 0.9),
        "analysis": (0.3, 0.5, 0.7, 0.9),
        "critic": (0.5, 0.7, 0.9),
    }
    assert {(stage.agent, stage.after, stage.context) for stage in workflow.stages} == {
        (name, (), "latest") for name in ("research", "analysis", "critic")
    }
    assert workflow.synthesis and workflow.synthesis.agent == "synthesizer"


def expanded(name: str) -> tuple[Workflow, dict[str, Card]]:
    cards = load_cards([packaged("agents")])
    workflow = check_workflow(name, [packaged("config") / "workflows"], cards)
    plain, needed, _ = expand(workflow, cards.values())
    return plain, {card.name: card for card in needed}


def test_sections_are_written_and_reviewed_each_by_itself() -> None:
    plain, cards = expanded("sections")
    written = [stage for stage in plain.stages if stage.section]
    assert [stage.section for stage in written] == [
        "Summary",
        "Background",
        "Participants",
        "Procedures",
        "Alternatives",
        "Risks",
        "Benefits",
    ]
    assert all(stage.after == () and stage.gate for stage in written)
    assert [stage.agent for stage in written] == [f"writer-{number}" for number in range(1, 8)]
    assert len({stage.instruction for stage in written}) == 7
    risks = {stage.name: stage for stage in plain.stages if "risks" in (stage.name, stage.reviews, stage.revises)}
    assert [(name, stage.after[-1:]) for name, stage in risks.items()] == [
        ("risks", ()),
        ("review-risks", ("risks",)),
        ("refine-risks", ("review-risks",)),
        ("review-risks-2", ("refine-risks",)),
    ]
    assert all(set(stage.after) <= set(risks) for stage in risks.values())  # No section waits for another.
    assert {stage.agent for stage in risks.values()} == {"writer-6", "reviewer-6"} <= set(cards)
    assert plain.synthesis is None


def test_phases_are_detailed_from_one_brief() -> None:
    plain, _ = expanded("phases")
    assert [(stage.section, stage.after) for stage in plain.stages] == [
        ("Brief", ()),
        *((title, ("brief",)) for title in ("Plan", "Design", "Implementation", "Test", "Review")),
    ]


def test_the_pipeline_reviews_at_most_three_refinements() -> None:
    plain, _ = expanded("pipeline")
    stages = {stage.name: stage for stage in plain.stages}
    assert [stage.section for stage in plain.stages if stage.section] == [
        "Architecture",
        "Implementation",
        "Tests",
        "Documentation",
    ]
    assert [name for name in stages if stages[name].revises] == ["refine", "refine-2", "refine-3"]
    assert [name for name in stages if stages[name].reviews] == ["review", "review-2", "review-3", "review-4"]
    assert [name for name in stages if stages[name].optional] == ["tests"]
    assert {"review-4", "refine-3", "tests"} <= set(stages["documentation"].after)


def test_the_drones_of_a_swarm_differ_only_in_temperature() -> None:
    plain, cards = expanded("swarm")
    assert [cards[stage.agent].temperature for stage in plain.stages] == [(0.5, 0.5), (0.7, 0.7), (0.9, 0.9)]
    assert {(stage.instruction, stage.context, stage.after) for stage in plain.stages} == {
        (plain.stages[0].instruction, "none", ())
    }
    assert len({(cards[stage.agent].prompt, cards[stage.agent].role) for stage in plain.stages}) == 1
    assert plain.synthesis and cards[plain.synthesis.agent].temperature == (0.2, 0.2)


def test_every_workflow_that_ships_is_sound() -> None:
    cards = load_cards([packaged("agents")])
    workflows = list_workflows([packaged("config") / "workflows"])
    assert list(workflows) == ["helix", "phases", "pipeline", "sections", "swarm"]
    for path in workflows.values():
        assert check_workflow(path, [], cards).about


def test_the_shipped_files_change_nothing(tmp_path: Path) -> None:
    assert checkout() == ROOT
    for cwd in (ROOT, tmp_path):
        settings = load_settings({}, {}, cwd, user_dir=tmp_path)
        assert set(settings.sources.values()) == {"default"}


def test_hub_toml_shows_every_key_with_its_default() -> None:
    shown = shown_defaults(ROOT / "config" / "hub.toml")
    assert list(shown) == list(HubFile.model_fields)
    for name in ("batch_interval_s", "streaming", "agents_per_worker", "workers_max"):
        assert shown[name] == HubFile.model_fields[name].default
    assert shown["limits"] == {name: getattr(DEFAULT_LIMITS, name) for name in DEFAULT_LIMITS.__dataclass_fields__}


def test_llm_toml_shows_every_known_endpoint_as_it_is() -> None:
    shown = shown_defaults(ROOT / "config" / "llm.toml")
    assert set(shown) == {"default", "model", "endpoints"}
    assert {*shown["endpoints"], "offline"} == set(KNOWN_ENDPOINTS)
    for name, table in shown["endpoints"].items():
        known = KNOWN_ENDPOINTS[name]
        assert Endpoint.model_validate({**table, "name": name}) == known
        assert {key: getattr(known, key) for key in table} == table
    text = (ROOT / "config" / "llm.toml").read_text("utf-8")
    unshown = {"name", "api_key_file"}  # explained in words
    assert {name for name in Endpoint.model_fields if f"{name} = " not in text} <= unshown and "api_key_file" in text


def test_the_example_server_in_llm_toml_works(tmp_path: Path) -> None:
    text = (ROOT / "config" / "llm.toml").read_text("utf-8")
    example = text[text.index("#   [endpoints.my-server]") :].replace("#   ", "")
    (tmp_path / "llm.toml").write_text(example)
    settings = load_settings({"llm": "my-server"}, {}, tmp_path, user_dir=tmp_path)
    assert settings.endpoint("my-server").api_key_env == "MY_SERVER_KEY"


def test_the_example_agent_speaks() -> None:
    card = load_cards([ROOT / "examples" / "agents"])["clock"]
    assert card.program and card.role == "research" and card.about.startswith("Says what time it is")
    think = runpy.run_path(str(ROOT / "examples" / "agents" / "clock.py"))["think"]

    async def said() -> str:
        return "".join([text async for text in think(SimpleNamespace(task="one two three"))])

    assert re.fullmatch(r"It is \d\d:\d\d on .* The task has 3 words\.", asyncio.run(said()))


def test_the_example_workflow_is_sound_with_the_example_agent() -> None:
    cards = load_cards([ROOT / "examples" / "agents", packaged("agents")])
    workflow = check_workflow(ROOT / "examples" / "workflows" / "with-clock.toml", [], cards)
    assert workflow.agents() == ["clock", "research", "synthesizer"]


@pytest.mark.parametrize("name", ["night-bus-depot.md"])
def test_the_example_document_is_about_two_pages(name: str) -> None:
    words = (ROOT / "examples" / name).read_text("utf-8").split()
    assert 900 <= sum(any(sign.isalnum() for sign in word) for word in words) <= 1_200
