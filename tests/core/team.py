"""The hub's shell in memory: `CentralPost` with a log that is a list, a clock that is a number, and scripted workers.

Owns: the loop decide → apply → advance and expire until nothing is due → commit, and `Story`, which checks every event
against the protocol as a second, much simpler opinion. Must not: know what a test expects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from felixhub.core.batcher import Channel
from felixhub.core.central_post import CentralPost
from felixhub.core.decision import Acknowledge, Answer, Decision, Effect, Send, SendAssignment, TellEnded
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import (
    AgentJoined,
    AgentLeft,
    AgentLost,
    CommandAccepted,
    Event,
    RunBudgetSpent,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    SectionApproved,
    SectionEdited,
    SectionReady,
    SectionReopened,
    SectionStale,
    StageFinished,
    StageReopened,
    StageStarted,
    SynthesisFinished,
    SynthesisStarted,
    ThoughtAbandoned,
    ThoughtCancelling,
    ThoughtFinalized,
    ThoughtPartial,
    ThoughtStarted,
    WorkerInfo,
    parse_event,
)
from felixhub.core.limits import DEFAULT_LIMITS, Limits
from felixhub.core.messages import (
    Abandon,
    Approve,
    Assign,
    Beat,
    Bye,
    CancelRun,
    Edit,
    Ended,
    Failed,
    Finalize,
    Hello,
    IngestMessage,
    Ok,
    Partial,
    Pause,
    Regenerate,
    Reopen,
    Resume,
    RunCommand,
    SnapshotText,
    Start,
    Steer,
)
from felixhub.core.run import Run
from felixhub.core.thought import Thought
from felixhub.core.workflow import Card, RunSettings, Stage, Synthesis, Workflow

COMMANDS: dict[str, Any] = {
    "cancel": CancelRun,
    "pause": Pause,
    "resume": Resume,
    "steer": Steer,
    "regenerate": Regenerate,
    "approve": Approve,
    "reopen": Reopen,
    "edit": Edit,
}
NOON = 1_750_000_000.4567  # not a whole millisecond, as no real clock's reading is


# ---- workflows -------------------------------------------------------------------------------------------------------

CARDS = (
    Card(name="research", role="research"),
    Card(name="analysis", role="analysis"),
    Card(name="critic", role="critic"),
    Card(name="synthesizer", role="synthesis"),
)


def helix_workflow(**synthesis: Any) -> Workflow:
    """Three agents that descend at once, and a synthesis."""
    return Workflow(
        name="helix",
        stages=(
            Stage(name="research", agent="research", checkpoints=(0.0, 0.5), context="latest"),
            Stage(name="analysis", agent="analysis", checkpoints=(0.3, 0.7), context="latest"),
            Stage(name="critic", agent="critic", checkpoints=(0.5,), context="latest"),
        ),
        synthesis=Synthesis(agent="synthesizer", **synthesis),
    )


def solo(**stage: Any) -> Workflow:
    """One stage of one agent."""
    return Workflow(name="solo", stages=(Stage(**{"name": "think", "agent": "research", **stage}),))


# ---- what the log must look like -------------------------------------------------------------------------------------


@dataclass
class _Told:
    started: ThoughtStarted
    said: dict[str, bytes] = field(default_factory=lambda: {"text": b"", "reasoning": b""})
    state: str = "open"
    cancelling: bool = False
    superseded: bool = False


@dataclass
class _Written:
    """A section: the source of each of its versions, and whether that is whole, and a person's."""

    versions: list[tuple[str, bool, bool]] = field(default_factory=list)
    approved: int | None = None
    stale: bool = False
    approves: bool = True  # what the last review of it came to

    @property
    def current(self) -> int:
        whole = [number for number, (_, is_whole, _) in enumerate(self.versions, 1) if is_whole]
        return whole[-1] if whole else len(self.versions)

    @property
    def is_approved(self) -> bool:
        return bool(self.versions) and self.approved == self.current


@dataclass
class _Tale:
    started: RunStarted
    last: int
    specs: dict[str, Stage] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)  # "started" or its outcome, in the present round
    rounds: dict[str, int] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    feedback: dict[str, list[str]] = field(default_factory=dict)  # the commands that gave it
    asked: dict[str, StageReopened] = field(default_factory=dict)  # until it is final
    given_up: set[str] = field(default_factory=set)
    present: dict[str, str] = field(default_factory=dict)
    thoughts: dict[str, _Told] = field(default_factory=dict)
    sections: dict[str, _Written] = field(default_factory=dict)
    paused: bool = False
    cancelled: bool = False
    budget_spent: bool = False
    ended: Event | None = None
    synthesized: set[int] = field(default_factory=set)  # the rounds of the synthesis that came to something
    commands: set[str] = field(default_factory=set)

    def target(self, stage: str) -> str:
        spec = self.specs[stage]
        return spec.reviews or spec.revises or stage

    def open_of(self, stage: str) -> list[_Told]:
        return [told for told in self.thoughts.values() if told.state == "open" and told.started.stage == stage]

    def has_ended(self, stage: str) -> bool:
        return self.stages.get(stage, "started") != "started"

    def is_text(self, source: str) -> bool:
        """Whether there is such a final thought, or such a version by a person."""
        if source in self.thoughts:
            return self.thoughts[source].state == "final"
        name, _, number = source.rpartition("@")
        return self.sections[name].versions[int(number) - 1] == (source, True, True)

    def author(self, source: str) -> str:
        return self.thoughts[source].started.agent if source in self.thoughts else ""

    def waits_for_person(self, section: str) -> bool:
        written = self.sections[section]
        return not written.is_approved and section not in self.given_up and self.stages.get(section) != "skipped"


class Story:
    """Every rule that one event after the other must keep, whoever decided it."""

    def __init__(self) -> None:
        self.tip = 0
        self.tales: dict[str, _Tale] = {}

    def hear(self, event: Event) -> None:
        assert event.seq == self.tip + 1, f"seq {event.seq} after {self.tip}"
        self.tip = event.seq
        again = parse_event(event.encode())
        assert type(again) is type(event) and again.model_dump() == event.model_dump(), "lost in its own encoding"
        tale = self.tales.get(event.run)
        if isinstance(event, RunStarted):
            assert tale is None and event.prev == 0
            specs = {stage.name: stage for stage in event.workflow.all_stages()}
            assert not any(stage.for_each for stage in specs.values()), "a list that is not written out"
            sections = {name: _Written() for name, spec in specs.items() if spec.section}
            self.tales[event.run] = _Tale(event, event.seq, specs, sections=sections)
            return
        assert tale is not None, f"{event.kind} before run.started"
        assert event.prev == tale.last, f"{event.kind}: prev {event.prev}, the run's last is {tale.last}"
        assert tale.ended is None, f"{event.kind} after the run has ended"
        tale.last = event.seq
        self._judge(tale, event)

    def open(self) -> list[_Told]:
        return [told for tale in self.tales.values() for told in tale.thoughts.values() if told.state == "open"]

    def _judge(self, tale: _Tale, event: Event) -> None:
        match event:
            case RunPaused():
                assert not tale.paused
                tale.paused = True
            case RunResumed():
                assert tale.paused
                tale.paused = False
            case RunBudgetSpent():
                assert not tale.budget_spent and event.tokens >= event.budget_tokens
                tale.budget_spent = True
            case CommandAccepted():
                assert all(event.id not in other.commands for other in self.tales.values()), "a command done twice"
                tale.commands.add(event.id)
                if event.name == "cancel":
                    self._judge_cancel(tale, event)
            case StageStarted():
                assert event.stage not in tale.stages
                assert event.round == tale.rounds.get(event.stage, 1)
                tale.stages[event.stage] = "started"
            case StageFinished():
                assert not tale.has_ended(event.stage), f"stage {event.stage} ended twice"
                assert event.round == tale.rounds.get(event.stage, 1)
                assert not tale.open_of(event.stage)
                assert event.outcome != "final" or event.stage in tale.stages, "final, and never started"
                tale.stages[event.stage] = event.outcome
                if event.outcome == "abandoned" and tale.specs[event.stage].reviews in tale.sections:
                    tale.sections[tale.target(event.stage)].approves = False
                if event.outcome == "final" and not self._may_converge(tale):
                    last = [told for told in tale.thoughts.values() if told.started.stage == event.stage][-1]
                    assert last.state == "final" and last.started.round == event.round, "final, and its last try failed"
                if event.stage == "synthesis" and event.outcome == "final":
                    assert event.round in tale.synthesized, "a final synthesis that is recorded nowhere"
            case StageReopened():
                self._judge_reopened(tale, event)
            case SectionReady() | SectionEdited() | SectionApproved() | SectionReopened() | SectionStale():
                self._judge_section(tale, event)
            case AgentJoined():
                assert tale.present.get(event.agent) != event.worker.session
                tale.present[event.agent] = event.worker.session
            case AgentLeft() | AgentLost():
                assert tale.present.pop(event.agent) == event.worker.session
                mine = [told for told in tale.thoughts.values() if told.started.session == event.worker.session]
                assert all(told.state != "open" for told in mine), "an agent is gone and its thought is open"
            case ThoughtStarted():
                self._judge_started(tale, event)
            case ThoughtPartial():
                told = self._open_one(tale, event.thought)
                assert event.offset == len(told.said[event.channel]), "a hole or a repeat in the log"
                assert event.text
                told.said[event.channel] += event.text.encode()
            case ThoughtCancelling():
                told = self._open_one(tale, event.thought)
                assert not told.cancelling
                told.cancelling = True
                told.superseded |= event.reason == "superseded"
            case ThoughtFinalized():
                told = self._open_one(tale, event.thought)
                assert event.length == len(told.said["text"])
                assert event.sha256 == hashlib.sha256(told.said["text"]).hexdigest()
                assert event.reasoning_length == len(told.said["reasoning"])
                assert event.reasoning_sha256 == hashlib.sha256(told.said["reasoning"]).hexdigest()
                assert 0.0 <= event.confidence <= 1.0
                assert not told.superseded, "out of date, and final all the same"
                told.state = "final"
                stage = told.started.stage
                assert (event.verdict is not None) == (tale.specs[stage].reviews is not None)
                if event.verdict is None or not event.verdict.fault:
                    tale.attempts[stage] = 0
                    tale.asked.pop(stage, None)
                if event.verdict is not None and tale.target(stage) in tale.sections:
                    tale.sections[tale.target(stage)].approves = event.verdict.approved and not event.verdict.fault
            case ThoughtAbandoned():
                told = self._open_one(tale, event.thought)
                assert event.length == len(told.said["text"])
                told.state = "abandoned"
            case SynthesisStarted():
                assert event.inputs == tale.thoughts[event.thought].started.context
                assert tale.thoughts[event.thought].state == "open"
                for name, written in tale.sections.items():
                    sources = [source for source, _, _ in written.versions]
                    if name != "synthesis" and sources:
                        assert set(sources) & set(event.inputs) == {sources[written.current - 1]}, "not the latest text"
                self._judge_missing(tale, event)
            case SynthesisFinished():
                assert tale.rounds.get("synthesis", 1) not in tale.synthesized
                assert tale.thoughts[event.thought].state == "final"
                tale.synthesized.add(tale.rounds.get("synthesis", 1))
            case RunFinished() | RunFailed() | RunCancelled():
                assert not [t for t in tale.thoughts.values() if t.state == "open"]
                assert not set(tale.stages.values()) & {"started"}
                assert set(tale.stages) == set(tale.specs)
                assert tale.cancelled or not isinstance(event, RunCancelled)
                if isinstance(event, RunFinished) and tale.started.settings.review and not tale.budget_spent:
                    assert not [name for name in tale.sections if tale.waits_for_person(name)], "it awaits a person"
                tale.ended = event

    def _may_converge(self, tale: _Tale) -> bool:
        synthesis = tale.started.workflow.synthesis
        return synthesis is not None and synthesis.converge is not None

    def _judge_cancel(self, tale: _Tale, event: CommandAccepted) -> None:
        thought, agent, section = (event.args.get(name) for name in ("thought", "agent", "section"))
        tale.cancelled |= thought is None and agent is None and section is None
        for name, spec in tale.specs.items():
            is_its_thought = thought is not None and tale.thoughts[thought].started.stage == name
            is_its_agent = agent == spec.agent and tale.stages.get(name) != "final"
            if is_its_thought or is_its_agent or (section is not None and section == tale.target(name)):
                tale.given_up.add(name)

    def _judge_missing(self, tale: _Tale, event: SynthesisStarted) -> None:
        missing = {one.agent for one in event.missing}
        assert not missing & {tale.author(source) for source in event.inputs}
        heard = {told.started.agent for told in tale.thoughts.values() if told.state == "final"}
        for name, spec in tale.specs.items():
            plain = spec.reviews is None and spec.revises is None and not spec.optional and name != "synthesis"
            if plain and tale.has_ended(name) and spec.agent not in heard:
                assert spec.agent in missing or tale.sections.get(name, _Written()).versions

    def _judge_reopened(self, tale: _Tale, event: StageReopened) -> None:
        stage = event.stage
        assert not tale.cancelled and not tale.budget_spent
        assert event.command in tale.commands
        assert event.round == tale.rounds.get(stage, 1) + tale.has_ended(stage)
        assert event.checkpoint in tale.specs[stage].checkpoints
        assert (event.reason == "steered") <= (event.feedback is not None)
        assert event.revises is None or event.revises in tale.thoughts or tale.is_text(event.revises)
        if tale.has_ended(stage):
            del tale.stages[stage]
        tale.rounds[stage] = event.round
        tale.attempts[stage] = 0
        tale.given_up.discard(stage)
        tale.asked[stage] = event
        given = tale.feedback.setdefault(stage, [])
        if event.fresh:
            given.clear()
        if event.feedback is not None:
            given.append(event.command)
        for told in tale.open_of(stage):
            told.superseded = True

    def _judge_section(self, tale: _Tale, event: Event) -> None:
        match event:
            case SectionReady():
                written = tale.sections[event.section]
                assert event.version == len(written.versions) + 1
                told = tale.thoughts[event.thought]
                assert told.state == "final" and tale.target(told.started.stage) == event.section
                assert tale.specs[told.started.stage].reviews is None and event.by == told.started.agent
                assert event.thought not in [source for source, _, _ in written.versions]
                written.versions.append((event.thought, event.whole, False))
                written.stale = False
            case SectionEdited():
                tale.given_up.discard(event.section)
                written = tale.sections[event.section]
                assert event.version == len(written.versions) + 1
                assert all(tale.has_ended(name) for name in tale.specs if tale.target(name) == event.section)
                written.versions.append((f"{event.section}@{event.version}", True, True))
                written.stale = False
            case SectionApproved():
                written = tale.sections[event.section]
                assert event.version == written.current and written.versions[event.version - 1][1], "not whole"
                assert not written.is_approved or written.stale, "approved twice"
                assert (event.by == "auto") == (not tale.started.settings.review)
                assert all(tale.has_ended(name) for name in tale.specs if tale.target(name) == event.section)
                assert event.by != "auto" or written.approves or written.versions[-1][2], "a review rejects it"
                written.approved, written.stale = event.version, False
            case SectionReopened():
                written = tale.sections[event.section]
                assert written.is_approved and written.approved == event.version
                written.approved = None
            case SectionStale():
                written = tale.sections[event.section]
                assert event.version == written.current
                written.stale = True

    def _judge_started(self, tale: _Tale, event: ThoughtStarted) -> None:
        stage, spec = event.stage, tale.specs[event.stage]
        assert not tale.paused and not tale.cancelled and not tale.budget_spent
        assert event.thought not in tale.thoughts
        assert tale.stages.get(stage) == "started", "a thought of a stage that has not started or has ended"
        assert event.round == tale.rounds.get(stage, 1)
        assert not spec.optional or stage in tale.started.settings.include, "nobody asked for it"
        each = stage == "synthesis" and tale.started.workflow.synthesis
        if each and each.when == "each":
            assert event.context
        else:
            for name in spec.after:
                assert tale.has_ended(name), f"{spec.name} before {name} has ended"
        for target in {tale.target(name) for name in spec.after} - {tale.target(stage)}:
            if tale.started.settings.review and tale.specs[target].gate:
                assert not tale.waits_for_person(target), f"{stage} is past the gate of {target}"
        assert tale.present.get(event.agent) == event.session, "assigned to somebody who is not there"
        tale.attempts[stage] = tale.attempts.get(stage, 0) + 1
        assert event.attempt == tale.attempts[stage]
        assert all(tale.is_text(source) for source in event.context)
        assert event.steered_by == next(reversed(tale.feedback.get(stage, [])), None)
        asked = tale.asked.get(stage)
        if asked is not None and asked.revises is not None:
            assert event.revises == asked.revises and event.checkpoint == asked.checkpoint
        elif spec.revises:
            assert event.revises is not None and tale.is_text(event.revises)
        else:
            assert event.revises is None
        assert all(told.started.agent != event.agent for told in self.open()), f"{event.agent} thinks two thoughts"
        if event.endpoint:
            busy = sum(told.started.endpoint == event.endpoint for told in self.open())
            assert busy < tale.started.settings.concurrent_max(event.endpoint), "more at once than the endpoint takes"
        tale.thoughts[event.thought] = _Told(event)

    def _open_one(self, tale: _Tale, thought: str) -> _Told:
        told = tale.thoughts[thought]
        assert told.state == "open", f"thought {thought} has ended already"
        return told


# ---- the shell -------------------------------------------------------------------------------------------------------


class FencedOut(Exception):
    """What the shell tells the connection of a session that was replaced."""


class Team:
    """A hub without sockets or files. Every call is one turn of its loop, committed at its end."""

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS, now: float = NOON) -> None:
        self.limits = limits
        self.now = now
        self.lives = 1
        self.post = CentralPost(boot="boot1", limits=limits)
        self.log: list[Event] = []
        self.story = Story()
        self.effects: list[Effect] = []  # of the last turn
        self.acked: dict[tuple[str, str], int] = {}
        self.past: list[tuple[str, IngestMessage]] = []  # everything that workers ever said
        self.viewers: list[Any] = []  # each hears `see(event)` of what was committed
        self._turn: list[Event] = []
        self._commands = 0
        self._workers = 0

    # ---- one turn ----

    @contextmanager
    def turn(self, *, fails: bool = False) -> Any:
        """Drain, settle, commit. `fails`: the commit does, so memory is built again from the log."""
        self.effects, self._turn = [], []
        presence = self.post.presence
        try:
            yield
        finally:
            self._settle()
            if fails:
                self._fold()
                self.post.presence = presence
                self.effects, self._turn = [], []
            else:
                self._commit()

    def take(self, decision: Decision) -> None:
        for event in decision.events:
            self.post.apply(event)
            self._turn.append(event)
        self.effects.extend(decision.effects)

    def _settle(self) -> None:
        for _ in range(10_000):
            due = self.post.expire(self.now)
            self.take(due)
            more = self.post.advance(self.now)
            self.take(more)
            if not due.events and not more.events:
                return
        raise AssertionError("the hub never comes to rest")

    def _commit(self) -> None:
        for event in self._turn:
            self.story.hear(event)
            self.log.append(event)
        for effect in self.effects:
            if isinstance(effect, Acknowledge):
                key = (effect.thought, effect.channel)
                assert effect.length <= len(self.said(*key)), "acknowledged what is not in the log"
                self.acked[key] = max(self.acked.get(key, 0), effect.length)
        for viewer in self.viewers:
            for event in self._turn:
                viewer.see(parse_event(event.encode()))

    def said(self, thought: str, channel: str = "text") -> bytes:
        """What the log has of a thought."""
        for tale in self.story.tales.values():
            if thought in tale.thoughts:
                return tale.thoughts[thought].said[channel]
        return b""

    def _fold(self) -> None:
        self.post = CentralPost(boot=f"boot{self.lives}", tip=len(self.log), limits=self.limits)
        ended = {event.run for event in self.log if isinstance(event, RunFinished | RunFailed | RunCancelled)}
        for event in self.log:
            if event.run not in ended:
                self.post.apply(parse_event(event.encode()))

    def restart(self, *, settle: bool = True, after_s: float = 0.0) -> None:
        """kill -9 and a new life, from nothing but the log."""
        before = self.post.digest()
        self.lives += 1
        self.now += after_s
        self._fold()
        assert self.post.digest() == before, "the log says something else than memory did"
        assert self.post.tip == len(self.log)
        self.post.wake(self.now)
        if settle:
            with self.turn():
                pass

    def wait(self, seconds: float) -> list[Event]:
        """Let time pass in one step. Returns what it brought."""
        at = len(self.log)
        self.now += seconds
        with self.turn():
            pass
        return self.log[at:]

    # ---- clients ----

    def start(
        self,
        run: str = "r1",
        *,
        workflow: Workflow | None = None,
        agents: tuple[Card, ...] = CARDS,
        task: str = "Why is the sky blue?",
        **settings: Any,
    ) -> Ok | Failed:
        request = Start(
            id=run,
            task=task,
            workflow=workflow or helix_workflow(),
            agents=agents,
            settings=RunSettings(endpoint="local", **settings),
        )
        return self.send(request)

    def send(self, request: Start | RunCommand, *, fails: bool = False) -> Ok | Failed:
        """One request of a client and its reply."""
        with self.turn(fails=fails):
            try:
                decision = (
                    self.post.start(request, self.now)
                    if isinstance(request, Start)
                    else self.post.command(request, self.now)
                )
            except ProtocolViolation as error:
                return Failed(id=request.id, code=error.code, sentence=error.sentence, field=error.field)
            self.take(decision)
            return next(effect.reply for effect in decision.effects if isinstance(effect, Answer))

    def command(self, name: str, run: str = "r1", **fields: Any) -> Ok | Failed:
        self._commands += 1
        return self.send(COMMANDS[name](**{"id": f"c{self._commands}", "run": run, "by": "anna", **fields}))

    def pause_unfinished(self) -> None:
        with self.turn():
            self.take(self.post.pause_unfinished(self.now, by="restart"))

    # ---- workers ----

    def worker(self, *agents: str, session: str | None = None, hello: bool = True) -> Worker:
        self._workers += 1
        worker = Worker(self, session or f"s{self._workers}", agents)
        if hello:
            worker.hello()
        return worker

    def workers(self, *agents: str) -> dict[str, Worker]:
        names = agents or tuple(card.name for card in CARDS)
        return {name: self.worker(name) for name in names}

    def say(self, session: str, message: IngestMessage, *, fails: bool = False) -> None:
        """One message of a worker. Raises ProtocolViolation and FencedOut as the shell would answer them."""
        self.past.append((session, message))
        with self.turn(fails=fails):
            if not isinstance(message, Hello):
                known = self.post.presence.sessions.get(session)
                if known is None or not known.here:
                    if self.post.presence.is_fenced(session):
                        raise FencedOut(session)
                    raise ProtocolViolation("unknown_session", "say hello first")
            self.take(self.post.decide(message, session, self.now))
            self.post.observe(message, session, self.now)

    def together(self, *said: tuple[str, IngestMessage]) -> None:
        """Messages of several workers that are drained in one turn, as under load."""
        self.past.extend(said)
        with self.turn():
            for session, message in said:
                self.take(self.post.decide(message, session, self.now))
                self.post.observe(message, session, self.now)

    # ---- looking ----

    def run(self, name: str = "r1") -> Run:
        return self.post.runs[name]

    def of(self, *kinds: type[Event], run: str | None = None) -> list[Any]:
        return [event for event in self.log if isinstance(event, kinds) and run in (None, event.run)]

    def last(self, kind: type[Event]) -> Any:
        return self.of(kind)[-1]

    def kinds(self, run: str = "r1") -> list[str]:
        return [event.kind for event in self.log if event.run == run]

    def thought_of(self, agent: str) -> str | None:
        """The open thought of this agent, in whatever run."""
        return next(
            (t.id for run in self.post.runs.values() for t in run.open_thoughts() if t.started.agent == agent), None
        )

    def thought(self, name: str) -> Thought:
        thought = self.post.thought(name)
        assert thought is not None
        return thought

    def snapshot(self, run: str) -> tuple[list[Event], list[SnapshotText], int]:
        """As the hub pages it out: the marks, the texts and the position of both."""
        mine = [parse_event(event.encode()) for event in self.log if event.run == run]
        texts = [
            SnapshotText(thought=name, channel=channel, offset=0, text=said.decode(), tokens=0)
            for name, told in self.story.tales[run].thoughts.items()
            for channel, said in _channels(told.said)
            if said
        ]
        return [event for event in mine if not isinstance(event, ThoughtPartial)], texts, mine[-1].seq


def _channels(said: dict[str, bytes]) -> list[tuple[Channel, bytes]]:
    return [("text", said["text"]), ("reasoning", said["reasoning"])]


class Worker:
    """A worker that says exactly what it is told to. What it hears is in `heard`, of its last turn."""

    def __init__(self, team: Team, session: str, agents: Iterable[str]) -> None:
        self.team = team
        self.session = session
        self.agents = tuple(agents)
        self.info = WorkerInfo(session=session, pid=1, host="here")
        self.fails = False  # whether the hub's next commit does

    def say(self, message: IngestMessage) -> list[Effect]:
        self.team.say(self.session, message, fails=self.fails)
        return self.heard

    @property
    def heard(self) -> list[Effect]:
        """The effects of the last turn that are for this worker."""
        return [effect for effect in self.team.effects if getattr(effect, "session", None) == self.session]

    def got(self, kind: type[Any]) -> list[Any]:
        """The messages of one type that the last turn brought this worker."""
        found: list[Any] = []
        for effect in self.heard:
            match effect:
                case Send(message=message) if isinstance(message, kind):
                    found.append(message)
                case TellEnded(ended=ended) if kind is Ended:
                    found.append(ended)
                case SendAssignment(thought=thought) if kind is Assign:
                    given = self.team.post.assignment(thought)
                    found.extend([given[0]] if given else [])
                case Acknowledge() if kind is Acknowledge:
                    found.append(effect)
        return found

    def hello(self, *holding: str, version: int = 1) -> list[Effect]:
        return self.say(Hello(version=version, worker=self.info, agents=self.agents, holding=holding))

    def beat(self, *holding: str, throttled: dict[str, float] | None = None) -> list[Effect]:
        return self.say(Beat(holding=holding, throttled=throttled or {}))

    def bye(self) -> list[Effect]:
        return self.say(Bye())

    @property
    def thought(self) -> str:
        """The open thought that this worker may write."""
        for told in self.team.story.open():
            if told.started.session == self.session:
                return told.started.thought
        raise AssertionError(f"{self.session} has nothing to think")

    @property
    def is_thinking(self) -> bool:
        return any(told.started.session == self.session for told in self.team.story.open())

    def write(
        self,
        text: str,
        *,
        thought: str | None = None,
        channel: Channel = "text",
        offset: int | None = None,
        tokens: int = 0,
    ) -> list[Effect]:
        name = thought or self.thought
        at = len(self.team.said(name, channel)) if offset is None else offset
        return self.say(Partial(thought=name, channel=channel, offset=at, text=text, tokens=tokens))

    def final(self, thought: str | None = None, **fields: Any) -> Finalize:
        """The honest end of a thought, but for `fields`."""
        name = thought or self.thought
        text, reasoning = self.team.said(name), self.team.said(name, "reasoning")
        honest = {
            "thought": name,
            "length": len(text),
            "sha256": hashlib.sha256(text).hexdigest(),
            "reasoning_length": len(reasoning),
            "reasoning_sha256": hashlib.sha256(reasoning).hexdigest(),
        }
        return Finalize.model_validate({**honest, **fields})

    def finalize(self, thought: str | None = None, **fields: Any) -> list[Effect]:
        return self.say(self.final(thought, **fields))

    def finish(self, text: str = "Because of scattering.") -> str:
        """Think the open thought to its end. Returns its id."""
        name = self.thought
        self.write(text)
        self.finalize(name)
        return name

    def abandon(self, reason: Any = "llm_error", *, thought: str | None = None, **fields: Any) -> list[Effect]:
        name = thought or self.thought
        return self.say(Abandon(**{"thought": name, "length": len(self.team.said(name)), "reason": reason, **fields}))
