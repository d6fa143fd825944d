"""What a run is made of, by value: cards, the workflow's stages, its synthesis, and the run's settings.

Owns: the shapes. Must not: judge a workflow (`soundness.py` does) or know how a run is going (`run.py` does).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from felixhub.core.helix import Role
from felixhub.core.names import Name, Short

PROMPT_CHARACTERS_MAX = 100_000
Prompt = Annotated[str, StringConstraints(max_length=PROMPT_CHARACTERS_MAX)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Temperature = Annotated[float, Field(ge=0.0, le=2.0)]


STAGES_MAX = 2_000
ITEMS_MAX = 200
ROUNDS_MAX = 20
SYNTHESIS = "synthesis"  # reserved: the stage that the synthesis is


class Value(BaseModel):
    """A frozen value. Unknown fields are ignored, as everywhere on the wire."""

    # Built when it is first used: to build what a command never uses took it longer than its work.
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


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


class Item(Value):
    """One entry of a list: what a stage made for it writes. `temperature` and `model` override the card's."""

    name: Name
    title: Short = ""
    instruction: Prompt = ""
    temperature: Temperature | None = None
    endpoint: Short | None = None
    model: Short | None = None


class Stage(Value):
    """One place in a workflow.

    `checkpoints` are marks on the helix: one thought per mark, one after another. `context` says which final thoughts
    are given: everybody's `latest`, those of the stages it comes `after`, or `none`. `quorum` is how many of the
    stages in `after` must have ended final; None means that all need only to have ended.

    `section` is a title: the stage's text is that part of the document. With `gate`, in a run with review, what comes
    after waits until the section is approved. `on_change` says what becomes of this stage when a text that it was made
    from is made anew: it is done again (`redo`) or its section is marked (`stale`). An `optional` stage is skipped
    unless the run asks for it.

    A stage that `reviews` another judges its text (a JSON verdict), one that `revises` another writes a new version of
    its text, for as long as the review it comes after does not approve, at most `rounds_max` times. `for_each` names a
    list of the workflow: one stage for each entry. Loops and lists are written out by `expansion.py`.
    """

    name: Name
    agent: Name
    after: tuple[Name, ...] = Field(default=(), max_length=STAGES_MAX)
    for_each: Name | None = None
    section: Short = ""
    gate: bool = False
    optional: bool = False
    reviews: Name | None = None
    revises: Name | None = None
    rounds_max: int = Field(default=1, ge=1, le=ROUNDS_MAX)
    on_change: Literal["redo", "stale"] = "redo"
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
    """One answer from the final thoughts. It is a section of the document, called `section`.

    `when = "all"`: once every stage has ended. `"each"`: again after each final thought; one that is under way then is
    superseded. With `converge`, stages end as final before their last checkpoint once the team has converged.
    """

    agent: Name
    when: Literal["all", "each"] = "all"
    section: Short = "Answer"
    on_change: Literal["redo", "stale"] = "redo"
    converge: Converge | None = None
    instruction: Prompt = ""
    retries_max: int = Field(default=2, ge=0, le=10)
    retry_s: float = Field(default=1.0, ge=0.0, le=600.0)


class Workflow(Value):
    """A named set of stages, and how their thoughts become one answer. `lists` are what stages are made for each of."""

    name: Name
    about: Short = ""
    lists: dict[Name, tuple[Item, ...]] = Field(default_factory=dict, max_length=ITEMS_MAX)
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
            section=self.synthesis.section,
            on_change=self.synthesis.on_change,
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

    `endpoint` is the name of a model endpoint, or its URL; each worker resolves it with its own settings and keys. With
    `review` the document waits for a person's approval of each section. `budget_tokens` ends the run when it is spent.
    `include` names the optional stages that are asked for.
    """

    endpoint: Short = "offline"
    model: Short | None = None
    endpoints: dict[str, EndpointLimit] = Field(default_factory=dict, max_length=100)
    batch_interval_s: float = Field(default=0.1, ge=0.0, le=10.0)
    streaming: bool = True
    review: bool = False
    budget_tokens: int | None = Field(default=None, ge=1, le=2**53)
    include: tuple[Name, ...] = Field(default=(), max_length=STAGES_MAX)

    def concurrent_max(self, endpoint: str) -> int:
        return self.endpoints.get(endpoint, EndpointLimit()).max_concurrent
