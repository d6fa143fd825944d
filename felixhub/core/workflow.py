"""What a run is made of, by value: cards, the workflow's stages, its synthesis, and the run's settings.

Owns: the shapes and the rules that make a workflow sound. Must not: know how a run is going (`run.py` does).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from felixhub.core.helix import Role
from felixhub.core.names import HUB, Name, Short

Prompt = Annotated[str, StringConstraints(max_length=100_000)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Temperature = Annotated[float, Field(ge=0.0, le=2.0)]


STAGES_MAX = 2_000
FAULTS_MAX = 20
NAMES_SHOWN_MAX = 50
SYNTHESIS = "synthesis"  # reserved: the stage that the synthesis is


class Value(BaseModel):
    """A frozen value. Unknown fields are ignored, as everywhere on the wire."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Card(Value):
    """One agent. `program` marks a user's own Python agent: its worker finds `<name>.py` in its `agents/` folder.

    `temperature` is `[wide, narrow]`, the ends of the range that the helix descends; None takes the role's own.
    """

    name: Name
    role: Role = "research"
    about: Short = ""
    endpoint: Short | None = None
    model: Short | None = None
    temperature: tuple[Temperature, Temperature] | None = None
    tokens_max: int | None = Field(default=None, ge=1)
    prompt: Prompt = ""
    program: bool = False


class Stage(Value):
    """One place in a workflow.

    `checkpoints` are marks on the helix: one thought per mark, one after another. `context` says which final thoughts
    are given: everybody's `latest`, those of the stages it comes `after`, or `none`. `quorum` is how many of the
    stages in `after` must have ended final; None means that all need only to have ended.
    """

    name: Name
    agent: Name
    after: tuple[Name, ...] = Field(default=(), max_length=STAGES_MAX)
    checkpoints: tuple[Fraction, ...] = Field(default=(0.0,), min_length=1, max_length=32)
    context: Literal["latest", "after", "none"] = "after"
    instruction: Prompt = ""
    quorum: int | None = Field(default=None, ge=1)
    on_failure: Literal["retry", "continue", "fail"] = "retry"
    retries_max: int = Field(default=2, ge=0, le=10)
    retry_s: float = Field(default=1.0, ge=0.0, le=600.0)


class Converge(Value):
    """Early convergence: reached when every agent's latest final thought is at this progress and confidence."""

    progress: Fraction = 0.5
    confidence: Fraction = 0.65


class Synthesis(Value):
    """One answer from the final thoughts. `when = "all"`: once every stage has ended.

    With `converge`, stages end as final before their last checkpoint once the team has converged.
    """

    agent: Name
    when: Literal["all"] = "all"
    converge: Converge | None = None
    instruction: Prompt = ""
    retries_max: int = Field(default=2, ge=0, le=10)
    retry_s: float = Field(default=1.0, ge=0.0, le=600.0)


class Workflow(Value):
    """A named set of stages, and how their thoughts become one answer."""

    name: Name
    about: Short = ""
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=STAGES_MAX)
    synthesis: Synthesis | None = None

    def all_stages(self) -> tuple[Stage, ...]:
        """The stages and, last, the synthesis as the stage that comes after all of them."""
        if self.synthesis is None:
            return self.stages
        last = Stage(
            name=SYNTHESIS,
            agent=self.synthesis.agent,
            after=tuple(stage.name for stage in self.stages),
            checkpoints=(1.0,),
            context="latest",
            instruction=self.synthesis.instruction,
            retries_max=self.synthesis.retries_max,
            retry_s=self.synthesis.retry_s,
        )
        return (*self.stages, last)

    def agents(self) -> list[str]:
        """The names of the agents it needs, in order of first use, the synthesizer last."""
        names = [stage.agent for stage in self.stages]
        if self.synthesis:
            names.append(self.synthesis.agent)
        return list(dict.fromkeys(names))


class EndpointLimit(Value):
    max_concurrent: int = Field(default=4, ge=1, le=10_000)


class RunSettings(Value):
    """What the run was started with, so that a restart needs no configuration.

    `endpoint` is the name of a model endpoint, or its URL; each worker resolves it with its own settings and keys.
    """

    endpoint: Short = "offline"
    model: Short | None = None
    endpoints: dict[str, EndpointLimit] = Field(default_factory=dict, max_length=100)
    batch_interval_s: float = Field(default=0.1, ge=0.0, le=10.0)
    streaming: bool = True

    def concurrent_max(self, endpoint: str) -> int:
        return self.endpoints.get(endpoint, EndpointLimit()).max_concurrent


def faults(workflow: Workflow, cards: dict[str, Card]) -> list[tuple[str, str]]:
    """What is wrong with a workflow, at most 20 things: (stage or agent at fault, sentence). Empty when it is sound."""
    counted = Counter(stage.name for stage in workflow.stages)
    names = counted.keys()
    found = [
        (name, f"two stages are called '{name}': give each a name of its own")
        for name in sorted(name for name, count in counted.items() if count > 1)
    ]
    if SYNTHESIS in names:
        found.append((SYNTHESIS, "the stage name 'synthesis' is reserved: use a [synthesis] table instead"))
    for agent in workflow.agents():
        if agent == HUB:
            found.append((agent, "'hub' is reserved: give the agent another name"))
        elif agent not in cards:
            known = ", ".join(sorted(cards)[:NAMES_SHOWN_MAX]) or "none"
            found.append((agent, f"there is no agent called '{agent}' (known: {known}): add agents/{agent}.md"))
    for stage in workflow.stages:
        found.extend((stage.name, sentence) for sentence in _stage_faults(stage, names))
    if not found:
        circle = _circle(workflow)
        found.extend((name, f"stage '{name}' waits for itself: break the circle of 'after'") for name in circle)
    return found[:FAULTS_MAX]


def _stage_faults(stage: Stage, names: Collection[str]) -> list[str]:
    found = [f"stage '{stage.name}' comes after '{o}', which does not exist" for o in stage.after if o not in names]
    if stage.quorum is not None and stage.quorum > len(stage.after):
        found.append(f"stage '{stage.name}' wants {stage.quorum} of {len(stage.after)} stages: lower its quorum")
    if list(stage.checkpoints) != sorted(set(stage.checkpoints)):
        found.append(f"the checkpoints of stage '{stage.name}' must rise from wide to narrow")
    return found


def _circle(workflow: Workflow) -> list[str]:
    """The stages that can never start because they wait for one another."""
    waiting = {stage.name: len(set(stage.after)) for stage in workflow.stages}
    followers: dict[str, list[str]] = {}
    for stage in workflow.stages:
        for other in set(stage.after):
            followers.setdefault(other, []).append(stage.name)
    free = [name for name, count in waiting.items() if count == 0]
    while free:
        name = free.pop()
        del waiting[name]
        for follower in followers.get(name, ()):
            waiting[follower] -= 1
            if waiting[follower] == 0:
                free.append(follower)
    return sorted(waiting)
