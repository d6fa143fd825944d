"""The events: what the log holds and every subscriber receives. Kinds are literal strings, never built from enums.

Owns: the shapes on the wire. Must not: decide anything. `docs/protocol.md` is the public form of this file.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from felixhub.core.batcher import Channel
from felixhub.core.errors import ProtocolViolation
from felixhub.core.names import Short, Token
from felixhub.core.review import Verdict
from felixhub.core.workflow import Card, RunSettings, Value, Workflow

Outcome = Literal["final", "abandoned", "skipped"]
Reason = Literal[
    "cancelled",
    "paused",
    "superseded",
    "agent_lost",
    "agent_error",
    "stalled",
    "llm_error",
    "truncated",
    "conflict",
    "too_long",
    "context_exceeded",
]


class WorkerInfo(Value):
    """The process behind an agent; `session` is one life of it."""

    session: Token
    pid: int = 0
    host: Short = ""


TOKENS_MAX = 2**53


class Usage(Value):
    """Tokens as the model's server counted them; `estimated` when it did not and we counted ourselves."""

    prompt_tokens: int = Field(default=0, ge=0, le=TOKENS_MAX)
    completion_tokens: int = Field(default=0, ge=0, le=TOKENS_MAX)
    reasoning_tokens: int | None = Field(default=None, ge=0, le=TOKENS_MAX)
    estimated: bool = False


class DocumentInfo(Value):
    """A document of a run. `whole`: it goes into every prompt; else each stage gets passages of it."""

    name: str
    size: int
    sha256: str
    whole: bool = True


class Passage(Value):
    """A part of a document: `place` is for people (a page, a heading, a line), the range is in UTF-8 bytes."""

    document: str
    place: str
    start: int
    end: int


class StagePassages(Value):
    """The passages that a stage is given of documents that are not given whole."""

    stage: str
    passages: tuple[Passage, ...]


FEEDBACK_CHARACTERS_MAX = 20_000  # of each of its three parts
Words = Annotated[str, Field(max_length=FEEDBACK_CHARACTERS_MAX)]


class Feedback(Value):
    """What a person wants otherwise: what is wrong, what instead, and constraints."""

    wrong: Words = ""
    instead: Words = ""
    constraints: Words = ""


class Missing(Value):
    """An agent that a synthesis had to do without, and why."""

    agent: str
    why: str


class Event(BaseModel):
    """What every logged event has. `prev` is the seq of the same run's previous event, 0 for its first."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    kind: str
    seq: int
    prev: int
    run: str
    at: float  # unix seconds; for people, never for order

    # A slot, not a private attribute of pydantic's: that one costs every event as much again as its validation.
    __slots__ = ("_raw",)

    @property
    def raw(self) -> bytes:
        """The event's JSON exactly as on the wire, without a line end."""
        raw: bytes | None = getattr(self, "_raw", None)
        return self.encode() if raw is None else raw

    def encode(self) -> bytes:
        return self.__pydantic_serializer__.to_json(self)

    @property
    def agent_name(self) -> str | None:
        """The agent the event is about, None where there is none."""
        return getattr(self, "agent", None)


class UnknownEvent(Event):
    """A kind that this version does not know: kept, passed on, not interpreted."""

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)


class RunStarted(Event):
    kind: Literal["run.started"] = "run.started"
    task: str
    workflow: Workflow
    agents: tuple[Card, ...]
    settings: RunSettings
    documents: tuple[DocumentInfo, ...] = ()
    passages: tuple[StagePassages, ...] = ()
    after: str | None = None
    by: str = ""


class RunPaused(Event):
    kind: Literal["run.paused"] = "run.paused"
    by: str


class RunResumed(Event):
    kind: Literal["run.resumed"] = "run.resumed"
    by: str


class RunBudgetSpent(Event):
    """The run's budget of tokens is spent: nothing more is begun, what streams is stopped, and the run finishes."""

    kind: Literal["run.budget_spent"] = "run.budget_spent"
    tokens: int
    budget_tokens: int


class RunFinished(Event):
    kind: Literal["run.finished"] = "run.finished"
    result: str
    degraded: tuple[str, ...] = ()
    usage: Usage
    seconds: float


class RunFailed(Event):
    kind: Literal["run.failed"] = "run.failed"
    error: str
    usage: Usage
    seconds: float


class RunCancelled(Event):
    kind: Literal["run.cancelled"] = "run.cancelled"
    by: str
    usage: Usage
    seconds: float


class StageStarted(Event):
    kind: Literal["stage.started"] = "stage.started"
    stage: str
    round: int = 1


class StageFinished(Event):
    kind: Literal["stage.finished"] = "stage.finished"
    stage: str
    round: int = 1
    outcome: Outcome
    why: str = ""


class StageReopened(Event):
    """A stage thinks again: it was steered or regenerated, or a text that it was made from has changed.

    `round` is a new one if the stage had ended. `checkpoint` is where it goes on. `revises` names the text it works on,
    None for a fresh start; `command` is the id of the command, `fresh` drops the feedback given before.
    """

    kind: Literal["stage.reopened"] = "stage.reopened"
    stage: str
    round: int
    reason: Literal["steered", "regenerated", "changed"]
    by: str
    checkpoint: float
    command: str
    feedback: Feedback | None = None
    revises: str | None = None
    fresh: bool = False


class AgentJoined(Event):
    kind: Literal["agent.joined"] = "agent.joined"
    agent: str
    worker: WorkerInfo


class AgentLeft(Event):
    kind: Literal["agent.left"] = "agent.left"
    agent: str
    worker: WorkerInfo


class AgentLost(Event):
    kind: Literal["agent.lost"] = "agent.lost"
    agent: str
    worker: WorkerInfo


class ThoughtStarted(Event):
    """This is the assignment.

    `context` and `revises` name the texts it was given: thoughts by id, a section edited by a person as
    `<section>@<version>`. `revises` is the text that it works on, `steered_by` the last command that gave feedback.
    """

    kind: Literal["thought.started"] = "thought.started"
    agent: str
    thought: str
    attempt: int
    stage: str
    session: str
    checkpoint: float
    progress: float
    endpoint: str
    model: str | None
    temperature: float
    round: int = 1
    context: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()
    revises: str | None = None
    steered_by: str | None = None


class ThoughtPartial(Event):
    """New text of one thought. `offset` is in UTF-8 bytes; `tokens` is an estimate of all so far."""

    kind: Literal["thought.partial"] = "thought.partial"
    agent: str
    thought: str
    channel: Channel
    offset: int
    text: str
    tokens: int

    @classmethod
    def of_checked(cls, **fields: object) -> ThoughtPartial:
        """An event of values that were checked when they came in. To check each again costs more than all else in it.

        `fields` are all but `kind`, in the order of the class.
        """
        event = cls.__new__(cls)
        put = object.__setattr__
        put(event, "__dict__", {"kind": "thought.partial", **fields})
        put(event, "__pydantic_fields_set__", _PARTIAL_FIELDS)
        put(event, "__pydantic_extra__", None)
        put(event, "__pydantic_private__", None)
        return event


_PARTIAL_FIELDS = set(ThoughtPartial.model_fields)


class ThoughtCancelling(Event):
    kind: Literal["thought.cancelling"] = "thought.cancelling"
    agent: str
    thought: str
    by: str
    reason: Literal["cancelled", "paused", "superseded"] = "cancelled"


class ThoughtFinalized(Event):
    """The thought is whole. `model` is the one that answered, as its server calls it; empty where nobody said."""

    kind: Literal["thought.finalized"] = "thought.finalized"
    agent: str
    thought: str
    length: int
    sha256: str
    reasoning_length: int
    reasoning_sha256: str
    finish_reason: str
    model: str = ""
    truncated: bool
    usage: Usage
    confidence: float
    first_token_s: float | None
    seconds: float
    verdict: Verdict | None = None  # of a review, as it was read


class ThoughtAbandoned(Event):
    """The explicit end without a result; the text so far is kept. `retry_s`: the back-off, None for no further try."""

    kind: Literal["thought.abandoned"] = "thought.abandoned"
    agent: str
    thought: str
    length: int
    reason: Reason
    error: str = ""
    retry_s: float | None = None


class SynthesisStarted(Event):
    kind: Literal["synthesis.started"] = "synthesis.started"
    inputs: tuple[str, ...]
    missing: tuple[Missing, ...]
    thought: str
    attempt: int


class SynthesisFinished(Event):
    """`thought` is the result's. When the synthesis failed for good it is the best final thought, see `degraded`."""

    kind: Literal["synthesis.finished"] = "synthesis.finished"
    thought: str
    confidence: float
    degraded: tuple[str, ...] = ()


class SectionReady(Event):
    """A new version of a section. `thought` is its text, `by` the agent that wrote it. `whole`: not truncated."""

    kind: Literal["section.ready"] = "section.ready"
    section: str
    version: int
    by: str
    thought: str
    whole: bool


class SectionEdited(Event):
    """A new version of a section, written by a person."""

    kind: Literal["section.edited"] = "section.edited"
    section: str
    version: int
    by: str
    text: str


class SectionApproved(Event):
    """By a person, or by `auto` in a run without review."""

    kind: Literal["section.approved"] = "section.approved"
    section: str
    version: int
    by: str


class SectionReopened(Event):
    """The approval of a section is withdrawn."""

    kind: Literal["section.reopened"] = "section.reopened"
    section: str
    version: int
    by: str


class SectionStale(Event):
    """A text that the section was made from has changed, and its workflow says that it is not made anew."""

    kind: Literal["section.stale"] = "section.stale"
    section: str
    version: int
    by: str


class CommandAccepted(Event):
    """A command, done once: the same id again gets the same `reply`."""

    kind: Literal["command.accepted"] = "command.accepted"
    id: str
    name: str
    args: dict[str, Any]
    by: str
    reply: dict[str, Any]


RunEnded = RunFinished | RunFailed | RunCancelled
ThoughtEnded = ThoughtFinalized | ThoughtAbandoned

KnownEvent = Annotated[
    RunStarted
    | RunPaused
    | RunResumed
    | RunBudgetSpent
    | RunFinished
    | RunFailed
    | RunCancelled
    | StageStarted
    | StageFinished
    | StageReopened
    | AgentJoined
    | AgentLeft
    | AgentLost
    | ThoughtStarted
    | ThoughtPartial
    | ThoughtCancelling
    | ThoughtFinalized
    | ThoughtAbandoned
    | SynthesisStarted
    | SynthesisFinished
    | SectionReady
    | SectionEdited
    | SectionApproved
    | SectionReopened
    | SectionStale
    | CommandAccepted,
    Field(discriminator="kind"),
]


@cache
def _adapter() -> TypeAdapter[Event]:
    return TypeAdapter(KnownEvent)


def parse_event(raw: bytes) -> Event:
    """The event in these bytes. An unknown kind is an `UnknownEvent`; all else that is wrong is a ProtocolViolation."""
    try:
        event = _adapter().validate_json(raw)
    except ValidationError as error:
        if error.errors()[0]["type"] != "union_tag_invalid":
            raise ProtocolViolation("bad_event", f"this is not an event: {error.errors()[0]['msg']}") from None
        try:
            event = UnknownEvent.model_validate_json(raw)
        except ValidationError as again:
            raise ProtocolViolation("bad_event", f"this is not an event: {again.errors()[0]['msg']}") from None
    object.__setattr__(event, "_raw", raw)
    return event
