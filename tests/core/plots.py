"""Workflows that several tests tell stories with, and teams in the middle of them."""

from __future__ import annotations

import json
from typing import Any

from team import Team, Worker

from felixhub.core.messages import Assign, Failed, Ok
from felixhub.core.workflow import Card, Item, Stage, Synthesis, Workflow

CARDS = tuple(
    Card(name=name) for name in ("coder", "reviewer", "refiner", "tester", "documenter", "writer", "sum", "planner")
)
KNOWN = {card.name: card for card in CARDS}
APPROVED = '{"approved": true, "issues": []}'
SEVEN = ("summary", "background", "participants", "procedures", "alternatives", "risks", "benefits")


def rejected(*issues: str) -> str:
    return json.dumps({"approved": False, "issues": list(issues)})


def pipeline(*, rounds_max: int = 2, **code: Any) -> Workflow:
    """Code, a review that sends it back, tests if they are asked for, documentation."""
    return Workflow(
        name="pipeline",
        stages=(
            Stage(name="code", agent="coder", section="Code", instruction="Write it.", retries_max=0, **code),
            Stage(
                name="review", agent="reviewer", after=("code",), reviews="code", rounds_max=rounds_max, retries_max=0
            ),
            Stage(name="refine", agent="refiner", after=("review",), revises="code", retries_max=0),
            Stage(name="tests", agent="tester", after=("code", "refine"), section="Tests", optional=True),
            Stage(name="docs", agent="documenter", after=("refine", "tests"), section="Documentation"),
        ),
    )


def seven(**stage: Any) -> Workflow:
    """Seven sections side by side."""
    return Workflow(
        name="sections",
        lists={"parts": tuple(Item(name=name, title=name.title()) for name in SEVEN)},
        stages=(Stage(name="write", agent="writer", for_each="parts", section="{title}", retries_max=0, **stage),),
    )


def answered(*, when: Any = "all", **stage: Any) -> Workflow:
    """Two stages and a synthesis of them."""
    return Workflow(
        name="answered",
        stages=(
            Stage(name="code", agent="coder", retries_max=0, **stage),
            Stage(name="plan", agent="planner", retries_max=0, **stage),
        ),
        synthesis=Synthesis(agent="sum", when=when, retries_max=0),
    )


def begin(workflow: Workflow, **settings: Any) -> tuple[Team, dict[str, Worker]]:
    """A run and a worker for each of its agents."""
    settings = {"endpoints": {"local": {"max_concurrent": 20}}} | settings
    team = Team()
    reply = team.start(workflow=workflow, agents=CARDS, **settings)
    assert isinstance(reply, Ok), reply
    return team, {card.name: team.worker(card.name) for card in team.run().started.agents}


def assignment(team: Team, agent: str) -> Assign:
    """What this agent was told for its open thought."""
    thought = team.thought_of(agent)
    assert thought is not None, f"{agent} has nothing to think"
    given = team.post.assignment(thought)
    assert given is not None
    return given[0]


def code(reply: Ok | Failed) -> str:
    """The code of a refusal, which says in a sentence why."""
    assert isinstance(reply, Failed), reply
    assert reply.sentence
    return reply.code


def refused(team: Team, says: str, name: str, **fields: Any) -> str:
    """The command is refused with this code and leaves no trace. Returns the sentence."""
    at = len(team.log)
    reply = team.command(name, **fields)
    assert code(reply) == says
    assert len(team.log) == at, "refused, and something happened all the same"
    assert isinstance(reply, Failed)
    return reply.sentence


def text_of(team: Team, section: str) -> str:
    """The current text of a section."""
    run = team.run()
    current = run.sections[section].current
    assert current is not None
    return run.text_of(current.source)
