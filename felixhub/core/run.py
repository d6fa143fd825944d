"""One run: a fold over its events.

    ──started──► running ◄──resumed── paused
                    │ └─────paused──────▲
                    └──finished, failed, cancelled──► ended

Owns: what is now true of a run, its stages and its thoughts. Must not: decide what comes next (`engine.py` does).
Only `apply` changes a run. It reads no clock, setting or limit: all of that is in the events.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from felixhub.core.events import (
    TOKENS_MAX,
    AgentJoined,
    AgentLeft,
    AgentLost,
    CommandAccepted,
    Event,
    Feedback,
    Outcome,
    RunBudgetSpent,
    RunCancelled,
    RunEnded,
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
    Usage,
    WorkerInfo,
)
from felixhub.core.review import Verdict
from felixhub.core.section import Section
from felixhub.core.thought import Thought
from felixhub.core.workflow import SYNTHESIS, Card, Stage

NOT_A_FAILURE = ("paused", "superseded")


@dataclass(slots=True)
class StageState:
    """Where a stage is. `index` counts the final checkpoints; `attempts` and `failures` are of the present one.

    `round` counts its lives: a stage that has ended and is done again has a new one. `feedback` is what people said of
    its text, each with the id of its command, `revises` the text that it works on until that is final.
    """

    spec: Stage
    round: int = 1
    started: bool = False
    outcome: Outcome | None = None
    why: str = ""
    cancelled_by: str | None = None
    index: int = 0
    attempts: int = 0
    failures: int = 0
    open_thought: str | None = None
    final_thought: str | None = None  # the latest
    last_abandoned: ThoughtAbandoned | None = None  # of the present checkpoint; None once it was final
    verdict: Verdict | None = None  # a review's latest, of the present round
    unread: int = 0  # how many verdicts of the present round could not be read
    feedback: list[tuple[str, Feedback]] = field(default_factory=list)
    revises: str | None = None
    reopened: StageReopened | None = None  # until what it asks for is final

    @property
    def target(self) -> str:
        """The stage whose text it works on: its own, or the one that it reviews or revises."""
        return self.spec.reviews or self.spec.revises or self.spec.name

    @property
    def ended(self) -> bool:
        return self.outcome is not None

    def open(self, thought: str) -> None:
        self.open_thought = thought
        self.attempts += 1
        if self.last_abandoned is not None and self.last_abandoned.retry_s is None:
            self.failures = 0  # It was given up, but there is something new to say: all its attempts are its own again.

    @property
    def checkpoint(self) -> float:
        return self.spec.checkpoints[min(self.index, len(self.spec.checkpoints) - 1)]


@dataclass(frozen=True, slots=True)
class Done:
    """A command that was accepted, to answer a repeat of it."""

    name: str
    args: dict[str, Any]
    reply: dict[str, Any]


@dataclass(slots=True)
class Membership:
    """The sessions that have hosted an agent in this run, oldest first, and whether the last is still there."""

    workers: list[WorkerInfo] = field(default_factory=list)
    present: bool = False


class Run:
    def __init__(self, started: RunStarted) -> None:
        self.started = started
        self.cards: dict[str, Card] = {card.name: card for card in started.agents}
        self.stages: dict[str, StageState] = {stage.name: StageState(stage) for stage in started.workflow.all_stages()}
        self.sections: dict[str, Section] = {  # by stage, in the document's order
            name: Section(name, stage.spec.section) for name, stage in self.stages.items() if stage.spec.section
        }
        self.writers: dict[str, list[StageState]] = {}  # stage -> those that write, review or revise its text
        for stage in self.stages.values():
            self.writers.setdefault(stage.target, []).append(stage)
        self.passages = {given.stage: given.passages for given in started.passages}
        self.thoughts: dict[str, Thought] = {}
        self.finals: dict[str, Thought] = {}  # agent -> its last final thought, the synthesis left out
        self.members: dict[str, Membership] = {}
        self.commands: dict[str, Done] = {}
        self._tokens_of_ended = 0
        self.paused: RunPaused | None = None
        self.cancelled_by: str | None = None
        self.budget_spent: RunBudgetSpent | None = None
        self.synthesis_started: SynthesisStarted | None = None
        self.synthesis_finished: SynthesisFinished | None = None
        self.ended: RunEnded | None = None
        self.last_seq = started.seq

    @property
    def id(self) -> str:
        return self.started.run

    @property
    def status(self) -> str:
        match self.ended:
            case RunFinished():
                return "finished"
            case RunFailed():
                return "failed"
            case RunCancelled():
                return "cancelled"
        if self.cancelled_by is not None:
            return "cancelling"
        return "paused" if self.paused else "running"

    @property
    def synthesis(self) -> StageState | None:
        return self.stages.get(SYNTHESIS) if self.started.workflow.synthesis else None

    @property
    def synthesizes_each(self) -> bool:
        """Whether a synthesis is made again after each final thought."""
        synthesis = self.started.workflow.synthesis
        return synthesis is not None and synthesis.when == "each"

    @property
    def failed_stage(self) -> StageState | None:
        """A stage whose failure ends the run. What a person cancels does not fail, and nothing does once the budget
        is spent."""
        if self.budget_spent is not None:
            return None
        return next(
            (
                stage
                for stage in self.stages.values()
                if stage.outcome == "abandoned" and stage.spec.on_failure == "fail" and stage.cancelled_by is None
            ),
            None,
        )

    def open_thoughts(self) -> list[Thought]:
        return [self.thoughts[s.open_thought] for s in self.stages.values() if s.open_thought]

    def latest_final(self, agent: str) -> Thought | None:
        """The agent's last final thought, the synthesis left out."""
        return self.finals.get(agent)

    def is_given_up(self, section: str) -> bool:
        """Whether a person has cancelled this section, in a run with review, and wants it in the document no more."""
        is_cancelled = self.stages[section].cancelled_by is not None and not self.sections[section].is_wanted
        return self.started.settings.review and is_cancelled and not self.sections[section].is_approved

    def source_of(self, stage: str) -> str | None:
        """What a stage has written so far, by name: its section's current version, else its latest final thought."""
        section = self.sections.get(stage)
        if section is not None and section.current is not None:
            return section.current.source
        return self.stages[stage].final_thought

    def text_of(self, source: str) -> str:
        """The text of a thought, or of a version that a person wrote (`<section>@<number>`)."""
        thought = self.thoughts.get(source)
        if thought is not None:
            return str(thought.text)
        name, _, number = source.rpartition("@")
        version = self.sections[name].version(int(number))
        assert version is not None and version.text is not None, "an event named it"
        return version.text

    def author_of(self, source: str) -> str:
        """The agent whose thought it is, or the person who wrote it."""
        thought = self.thoughts.get(source)
        if thought is not None:
            return thought.started.agent
        name, _, number = source.rpartition("@")
        version = self.sections[name].version(int(number))
        assert version is not None, "an event named it"
        return version.by

    def tokens_spent(self) -> int:
        """Prompt and answer tokens so far; what no server has counted is estimated from the text."""
        return self._tokens_of_ended + sum(thought.tokens for thought in self.open_thoughts())

    @property
    def is_over_budget(self) -> bool:
        budget = self.started.settings.budget_tokens
        return budget is not None and self.budget_spent is None and self.tokens_spent() >= budget

    def usage(self) -> Usage:
        """The sum over all thoughts of what each server last said, estimated where none did."""
        parts = [thought.final.usage for thought in self.thoughts.values() if thought.final]
        others = [thought.tokens for thought in self.thoughts.values() if not thought.final]
        return Usage(
            prompt_tokens=min(TOKENS_MAX, sum(part.prompt_tokens for part in parts)),
            completion_tokens=min(TOKENS_MAX, sum(part.completion_tokens for part in parts) + sum(others)),
            estimated=any(part.estimated for part in parts) or bool(others),
        )

    def apply(self, event: Event) -> None:
        self.last_seq = event.seq
        match event:
            case ThoughtPartial():
                self.thoughts[event.thought].apply(event)
            case ThoughtStarted():
                self.thoughts[event.thought] = Thought(event)
                self.stages[event.stage].open(event.thought)
            case ThoughtCancelling():
                self.thoughts[event.thought].apply(event)
            case ThoughtFinalized():
                self._finalize(event)
            case ThoughtAbandoned():
                self._abandon(event)
            case StageStarted():
                self.stages[event.stage].started = True
            case StageReopened():
                self._reopen(event)
            case SectionReady() | SectionEdited() | SectionApproved() | SectionReopened() | SectionStale():
                self.sections[event.section].apply(event)
            case RunBudgetSpent():
                self.budget_spent = event
            case StageFinished():
                self.stages[event.stage].outcome = event.outcome
                self.stages[event.stage].why = event.why
            case AgentJoined():
                member = self.members.setdefault(event.agent, Membership())
                member.workers.append(event.worker)
                member.present = True
            case AgentLeft() | AgentLost():
                self.members[event.agent].present = False
            case RunPaused():
                self.paused = event
            case RunResumed():
                self.paused = None
            case CommandAccepted():
                self.commands[event.id] = Done(event.name, event.args, event.reply)
                if event.name == "cancel":
                    self._cancel(event)
            case SynthesisStarted():
                self.synthesis_started = event
            case SynthesisFinished():
                self.synthesis_finished = event
            case RunFinished() | RunFailed() | RunCancelled():
                self.ended = event

    def _finalize(self, event: ThoughtFinalized) -> None:
        thought = self.thoughts[event.thought]
        thought.apply(event)
        self._tokens_of_ended += event.usage.prompt_tokens + event.usage.completion_tokens
        stage = self.stages[thought.started.stage]
        stage.open_thought = None
        stage.verdict = event.verdict
        if event.verdict is not None and event.verdict.fault:
            stage.unread += 1
            return
        if thought.started.stage != SYNTHESIS:
            self.finals[thought.started.agent] = thought
        stage.final_thought = event.thought
        stage.revises = stage.reopened = None
        stage.index += 1
        stage.attempts = 0
        stage.failures = 0
        stage.last_abandoned = None

    def _abandon(self, event: ThoughtAbandoned) -> None:
        thought = self.thoughts[event.thought]
        thought.apply(event)
        self._tokens_of_ended += thought.tokens
        stage = self.stages[thought.started.stage]
        stage.open_thought = None
        stage.last_abandoned = event
        if event.reason not in NOT_A_FAILURE:
            stage.failures += 1

    def _reopen(self, event: StageReopened) -> None:
        stage = self.stages[event.stage]
        stage.round = event.round
        stage.started = stage.started and not stage.ended
        stage.outcome, stage.why, stage.cancelled_by = None, "", None
        stage.index = stage.spec.checkpoints.index(event.checkpoint)
        stage.attempts = stage.failures = stage.unread = 0
        stage.last_abandoned = stage.verdict = None
        stage.revises = event.revises
        stage.reopened = event
        if event.fresh:
            stage.feedback.clear()
        if event.feedback is not None:
            stage.feedback.append((event.command, event.feedback))

    def _cancel(self, command: CommandAccepted) -> None:
        by = command.by or "someone"
        thought, agent, section = (command.args.get(name) for name in ("thought", "agent", "section"))
        if thought is None and agent is None and section is None:
            self.cancelled_by = by
            return
        for name, stage in self.stages.items():
            is_its_thought = thought is not None and self.thoughts[thought].started.stage == name
            is_its_agent = agent is not None and stage.spec.agent == agent and stage.outcome != "final"
            if is_its_thought or (
                thought is None and (is_its_agent or (section is not None and stage.target == section))
            ):
                stage.cancelled_by = by
                if name in self.sections:
                    self.sections[name].is_wanted = False
