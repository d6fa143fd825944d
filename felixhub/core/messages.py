"""The messages between two processes that are not events: ingest, control and beats. One model per message.

Owns: their shapes and the parsing of hostile bytes. Must not: decide. `docs/protocol.md` is the public form.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from felixhub.core.batcher import Channel
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import Feedback, Missing, Reason, Usage, Words, WorkerInfo
from felixhub.core.names import Name, Sentence, Short, Token
from felixhub.core.workflow import STAGES_MAX, Card, RunSettings, Workflow

PROTOCOL_VERSION = 1

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Length = Annotated[int, Field(ge=0, le=2**53)]
Seconds = Annotated[float, Field(ge=0.0, le=1e9, allow_inf_nan=False)]
Holding = Annotated[tuple[Token, ...], Field(max_length=10_000)]


class Message(BaseModel):
    """Strict: a number in quotes is a wrong type, not a number."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True)

    def encode(self) -> bytes:
        return self.__pydantic_serializer__.to_json(self)


# ---- ingest: worker to hub -------------------------------------------------------------------------------------------


class Hello(Message):
    """The first message of a worker on every connection. `holding`: the thoughts it has not seen the end of."""

    type: Literal["hello"] = "hello"
    version: int = PROTOCOL_VERSION
    worker: WorkerInfo
    agents: Annotated[tuple[Name, ...], Field(min_length=1)]
    holding: Holding = ()


class Beat(Message):
    """A sign of life. `throttled` names endpoints that answered 429, with the seconds they asked for."""

    type: Literal["beat"] = "beat"
    holding: Holding = ()
    throttled: Annotated[dict[Short, Seconds], Field(max_length=100)] = Field(default_factory=dict)


class Partial(Message):
    type: Literal["partial"] = "partial"
    thought: Token
    channel: Channel = "text"
    offset: Length
    text: str
    tokens: Length = 0


class Finalize(Message):
    """The explicit end of a thought. The hub checks lengths (UTF-8 bytes) and SHA-256 (hex) before it is final."""

    type: Literal["finalize"] = "finalize"
    thought: Token
    length: Length
    sha256: Sha256
    reasoning_length: Length = 0
    reasoning_sha256: Sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    finish_reason: Short = "stop"
    model: Short = ""
    truncated: bool = False
    usage: Usage = Usage()
    first_token_s: Seconds | None = None
    seconds: Seconds = 0.0


class Abandon(Message):
    """The explicit end without a result. `lasting`: another attempt would fail the same way."""

    type: Literal["abandon"] = "abandon"
    thought: Token
    length: Length
    reason: Reason
    error: Sentence = ""
    lasting: bool = False


class Bye(Message):
    """A worker that ends on purpose."""

    type: Literal["bye"] = "bye"


IngestMessage = Hello | Beat | Partial | Finalize | Abandon | Bye


# ---- ingest: hub to worker -------------------------------------------------------------------------------------------


class Held(Message):
    """What the hub durably has of a thought, in UTF-8 bytes."""

    thought: str
    text: int
    reasoning: int


class Ended(Message):
    """The end of a thought, as the log has it; the worker may forget it. "unknown": the hub has no such thought."""

    thought: str
    outcome: Literal["finalized", "abandoned", "unknown"]
    reason: Reason | None = None


class Welcome(Message):
    type: Literal["welcome"] = "welcome"
    version: int = PROTOCOL_VERSION
    boot: str
    beat_s: float
    partial_bytes_max: int
    thoughts: tuple[Held, ...] = ()
    ended: tuple[Ended, ...] = ()


class GivenThought(Message):
    """A final thought of another agent, given as context."""

    thought: str
    agent: str
    confidence: float
    truncated: bool = False
    text: str


class GivenDocument(Message):
    """A document, or a passage of one; then its place is part of the name."""

    name: str
    text: str


class Assign(Message):
    """Everything a worker needs for one thought. It may arrive more than once; the thought's id says so."""

    type: Literal["assign"] = "assign"
    run: str
    thought: str
    agent: str
    attempt: int
    stage: str
    checkpoint: float
    card: Card
    task: str
    instruction: str = ""
    endpoint: str
    model: str | None
    temperature: float
    batch_interval_s: float
    streaming: bool
    own: str = ""  # the text of the agent's previous final thought in this run
    context: tuple[GivenThought, ...] = ()
    missing: tuple[Missing, ...] = ()
    documents: tuple[GivenDocument, ...] = ()
    revises: str = ""  # the text so far that is to be revised
    feedback: tuple[Feedback, ...] = ()  # what people said of it, in order
    repair: str = ""  # why the previous review could not be read
    review: bool = False  # a verdict is asked for
    synthesis: bool = False


class Cancel(Message):
    type: Literal["cancel"] = "cancel"
    thought: str
    reason: Reason = "cancelled"


class Acked(Message):
    thought: str
    channel: Channel
    length: int


class Ack(Message):
    """Durable lengths, cumulative, and thoughts that have ended."""

    type: Literal["ack"] = "ack"
    lengths: tuple[Acked, ...] = ()
    ended: tuple[Ended, ...] = ()


class Reject(Message):
    """The message was not taken and nothing changed. With code `gap`, `length` is where to go on from."""

    type: Literal["reject"] = "reject"
    code: str
    sentence: str
    field: str | None = None
    thought: str | None = None
    channel: Channel | None = None
    length: int | None = None


class Fenced(Message):
    """Another worker has taken this one's place; whoever hears it exits."""

    type: Literal["fenced"] = "fenced"
    sentence: str


WorkerBound = Welcome | Assign | Cancel | Ack | Reject | Fenced


# ---- control: client to hub ------------------------------------------------------------------------------------------


class Request(Message):
    """Every request has an `id` chosen by the client, repeated in its replies; a command is done once per id."""

    id: Token
    by: Short = ""


class ClientHello(Request):
    type: Literal["hello"] = "hello"
    version: int = PROTOCOL_VERSION


RUNS_LISTED_MAX = 200  # in one answer to `runs`, the latest


class Runs(Request):
    """The latest runs; with `before` those that began before that run."""

    type: Literal["runs"] = "runs"
    before: Name | None = None


class Snapshot(Request):
    type: Literal["snapshot"] = "snapshot"
    run: Name


class Text(Request):
    type: Literal["text"] = "text"
    run: Name
    thought: Token
    channel: Channel = "text"


class Replay(Request):
    """Stored events of a run after a seq. `boot` and `after` are the position; `after` 0 needs no boot."""

    type: Literal["replay"] = "replay"
    run: Name
    after: Length = 0
    boot: Token | None = None


class Document(Message):
    name: Short
    text: str


class Start(Request):
    """Start a run; the `id` is the run's id."""

    type: Literal["start"] = "start"
    id: Name
    task: Annotated[str, Field(min_length=1, max_length=1_000_000)]
    workflow: Workflow
    agents: Annotated[tuple[Card, ...], Field(min_length=1, max_length=STAGES_MAX)]
    settings: RunSettings = RunSettings()
    documents: tuple[Document, ...] = ()
    after: Name | None = None


class CancelRun(Request):
    """Cancel a run, or one agent of it, or one open thought, or one section: the document then goes without it."""

    type: Literal["cancel"] = "cancel"
    run: Name
    agent: Name | None = None
    thought: Token | None = None
    section: Name | None = None


class Steer(Request):
    """Say what is wrong, or what instead: the agent's open thought, else its latest final one, is done again with it.

    Exactly one of `agent`, `thought` and `section`. At least one of `wrong` and `instead`.
    """

    type: Literal["steer"] = "steer"
    run: Name
    agent: Name | None = None
    thought: Token | None = None
    section: Name | None = None
    wrong: Words = ""
    instead: Words = ""
    constraints: Words = ""


class Regenerate(Request):
    """Write a text anew. Without feedback fresh, from the original request; with feedback the text is revised."""

    type: Literal["regenerate"] = "regenerate"
    run: Name
    agent: Name | None = None
    thought: Token | None = None
    section: Name | None = None
    wrong: Words = ""
    instead: Words = ""
    constraints: Words = ""


class Approve(Request):
    """Approve a section, or with no `section` every one that can be. `version`: refused when it is not the latest."""

    type: Literal["approve"] = "approve"
    run: Name
    section: Name | None = None
    version: Length | None = None


class Reopen(Request):
    """Withdraw the approval of a section."""

    type: Literal["reopen"] = "reopen"
    run: Name
    section: Name


class Edit(Request):
    """A new version of a section, by a person. `version`: the one it was made from, refused when not the latest."""

    type: Literal["edit"] = "edit"
    run: Name
    section: Name
    text: Annotated[str, Field(min_length=1)]
    version: Length | None = None


class Pause(Request):
    type: Literal["pause"] = "pause"
    run: Name


class Resume(Request):
    type: Literal["resume"] = "resume"
    run: Name


class Remove(Request):
    """Remove an ended run from the log for good."""

    type: Literal["remove"] = "remove"
    run: Name


class Shutdown(Request):
    """Stop the hub politely. Unfinished runs stay unfinished."""

    type: Literal["shutdown"] = "shutdown"


RunCommand = CancelRun | Pause | Resume | Steer | Regenerate | Approve | Reopen | Edit
ControlRequest = ClientHello | Runs | Snapshot | Text | Replay | Start | RunCommand | Remove | Shutdown


# ---- control: hub to client ------------------------------------------------------------------------------------------


class Ok(Message):
    type: Literal["ok"] = "ok"
    id: str
    data: dict[str, Any] = Field(default_factory=dict)


class Failed(Message):
    """`code` is for programs, `sentence` for people: what is wrong and what to do."""

    type: Literal["error"] = "error"
    id: str
    code: str
    sentence: str
    field: str | None = None


class Page(Message):
    """One page of a replay or snapshot. A second frame holds its lines, one JSON value each, as stored.

    `through`: every event of the run up to this seq has been sent or lies below the snapshot's position.
    """

    type: Literal["page"] = "page"
    id: str
    run: str
    boot: str
    through: int
    last: bool


ClientBound = Ok | Failed | Page


class SnapshotText(Message):
    """A line of a snapshot that carries a piece of one thought's text as of the snapshot's position.

    `first_at` and `last_at` are when the thought's first and latest text came, in unix seconds.
    """

    kind: Literal["snapshot.text"] = "snapshot.text"
    thought: str
    channel: Channel
    offset: int
    text: str
    tokens: int = 0
    first_at: float | None = None
    last_at: float | None = None


# ---- live: beats, which are not logged -------------------------------------------------------------------------------


class HubBeat(Message):
    """Every 500 ms: who the hub is and the last seq of the log."""

    kind: Literal["hub.beat"] = "hub.beat"
    boot: str
    tip: int


AgentState = Literal["waiting", "queued", "backing_off", "thinking", "streaming", "cancelling", "stalled"]


class BusyAgent(Message):
    """What an agent is doing; `silence_s` counts from its last token, or from the start of its thought."""

    agent: str
    state: AgentState
    silence_s: float
    thought: str | None = None
    progress: float | None = None  # on the helix; between two checkpoints it follows the tokens written
    place: int | None = None  # in the queue of its endpoint, from 1


class Wanted(Message):
    """An agent instance that has no worker."""

    agent: str
    program: bool = False
    endpoint: str = ""


class RunBeat(Message):
    kind: Literal["run.beat"] = "run.beat"
    run: str
    seq: int
    status: str
    wanted: tuple[Wanted, ...] = ()
    agents: tuple[BusyAgent, ...] = ()
    awaiting: tuple[str, ...] = ()  # the sections that only a person can go on with
    tokens: int = 0  # spent so far, as far as it is known


_M = TypeVar("_M", bound=Message)


class Parser:
    """Parses one family of messages, told apart by a field. Every fault is a ProtocolViolation with a sentence."""

    def __init__(self, family: Any, *, tag: str = "type") -> None:
        self._family = family
        self._tag = tag

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return _adapter_of(self._family, self._tag)

    def __call__(self, data: bytes) -> Any:
        try:
            return self._adapter.validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or None
        match first["type"]:
            case "json_invalid":
                raise ProtocolViolation("not_json", f"the frame is not valid JSON in UTF-8: {first['msg']}")
            case "union_tag_invalid" | "union_tag_not_found":
                raise ProtocolViolation("unknown_type", f"`{self._tag}` is missing or unknown", field=self._tag)
            case _:
                raise ProtocolViolation("bad_message", f"{place or 'the message'}: {first['msg']}", field=place)


def _adapter_of(family: Any, tag: str) -> TypeAdapter[Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[family, Field(discriminator=tag)])
    return adapter


parse_ingest = Parser(IngestMessage)
parse_worker_bound = Parser(WorkerBound)
parse_request = Parser(ControlRequest)
parse_client_bound = Parser(ClientBound)
parse_beat = Parser(HubBeat | RunBeat, tag="kind")
