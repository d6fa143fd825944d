"""The events: what the log holds and every subscriber receives. Kinds are literal strings, never built from enums.

Owns: the shapes on the wire. Must not: decide anything. `docs/protocol.md` is the public form of this file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from felixhub.core.batcher import Channel
from felixhub.core.errors import ProtocolViolation
from felixhub.core.names import Short, Token
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
    name: str
    size: int
    sha256: str


class Missing(Value):
    """An agent that a synthesis had to do without, and why."""

    agent: str
    why: str


class Event(BaseModel):
    """What every logged event has. `prev` is the seq of the same run's previous event, 0 for its first."""

    model_config = ConfigDict(frozen=True, extra="ignore")

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

    model_config = ConfigDict(frozen=True, extra="allow")


class RunStarted(Event):
    kind: Literal["run.started"] = "run.started"
    task: str
    workflow: Workflow
    agents: tuple[Card, ...]
    settings: RunSettings
    documents: tuple[DocumentInfo, ...] = ()
    after: str | None = None
    by: str = ""


class RunPaused(Event):
    kind: Literal["run.paused"] = "run.paused"
    by: str


class RunResumed(Event):
    kind: Literal["run.resumed"] = "run.resumed"
    by: str


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
    """This is the assignment."""

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
    context: tuple[str, ...] = ()
    passages: tuple[str, ...] = ()
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


class ThoughtCancelling(Event):
    kind: Literal["thought.cancelling"] = "thought.cancelling"
    agent: str
    thought: str
    by: str
    reason: Literal["cancelled", "paused", "superseded"] = "cancelled"


class ThoughtFinalized(Event):
    kind: Literal["thought.finalized"] = "thought.finalized"
    agent: str
    thought: str
    length: int
    sha256: str
    reasoning_length: int
    reasoning_sha256: str
    finish_reason: str
    truncated: bool
    usage: Usage
    confidence: float
    first_token_s: float | None
    seconds: float


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
    | RunFinished
    | RunFailed
    | RunCancelled
    | StageStarted
    | StageFinished
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
    | CommandAccepted,
    Field(discriminator="kind"),
]

_ADAPTER: TypeAdapter[Event] = TypeAdapter(KnownEvent)


def parse_event(raw: bytes) -> Event:
    """The event in these bytes. An unknown kind is an `UnknownEvent`; all else that is wrong is a ProtocolViolation."""
    try:
        event = _ADAPTER.validate_json(raw)
    except ValidationError as error:
        if error.errors()[0]["type"] != "union_tag_invalid":
            raise ProtocolViolation("bad_event", f"this is not an event: {error.errors()[0]['msg']}") from None
        try:
            event = UnknownEvent.model_validate_json(raw)
        except ValidationError as again:
            raise ProtocolViolation("bad_event", f"this is not an event: {again.errors()[0]['msg']}") from None
    object.__setattr__(event, "_raw", raw)
    return event
