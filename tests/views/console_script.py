"""Scripted runs for the tests of the views: events built with the models, and a subscription that plays them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from felixhub.core.board import Board
from felixhub.core.errors import FelixError
from felixhub.core.events import (
    Event,
    Missing,
    RunFinished,
    RunStarted,
    SynthesisStarted,
    ThoughtAbandoned,
    ThoughtFinalized,
    ThoughtPartial,
    ThoughtStarted,
    Usage,
)
from felixhub.core.messages import BusyAgent, RunBeat
from felixhub.core.workflow import Card, RunSettings, Stage, Synthesis, Workflow

BEGAN_AT = 1_700_000_000.0


def utc(at: float) -> str:
    """A clock that is the same everywhere: 12:00:00 is the start."""
    seconds = int(at - BEGAN_AT)
    return f"12:{seconds // 60:02d}:{seconds % 60:02d}"


class Script:
    """Builds one run's events in order; `at` is seconds after its start."""

    def __init__(
        self,
        agents: Sequence[str] = ("research", "critic"),
        *,
        run: str = "r1",
        task: str = "Why?",
        workflow: Workflow | None = None,
        **settings: Any,
    ) -> None:
        self.run = run
        self.events: list[Event] = []
        self._texts: dict[tuple[str, str], str] = {}
        self._agents: dict[str, str] = {}
        workflow = workflow or Workflow(
            name="council",
            stages=tuple(Stage(name=agent, agent=agent) for agent in agents),
            synthesis=Synthesis(agent="synthesis"),
        )
        cards = tuple(Card(name=name) for name in workflow.agents())
        chosen = RunSettings(model="qwen3-8b", endpoint="lmstudio", **settings)
        self.add(RunStarted, 0.0, task=task, workflow=workflow, agents=cards, settings=chosen, by="ann")

    def add(self, shape: type[Event], at: float, **fields: Any) -> Event:
        seq = len(self.events) + 1
        event = shape(seq=seq, prev=seq - 1, run=self.run, at=BEGAN_AT + at, **fields)
        self.events.append(event)
        return event

    def start(self, agent: str, at: float, **fields: Any) -> Event:
        thought = fields.pop("thought", f"{self.run}.{agent}.{len(self.events)}")
        self._agents[agent] = thought
        values: dict[str, Any] = {
            "attempt": 1,
            "stage": agent,
            "session": "s",
            "checkpoint": fields.get("progress", 0.3),
            "progress": 0.3,
            "endpoint": "lmstudio",
            "model": "qwen3-8b",
            "temperature": 0.3,
        }
        return self.add(ThoughtStarted, at, agent=agent, thought=thought, **(values | fields))

    def say(self, agent: str, at: float, text: str, *, channel: str = "text", tokens: int = 0) -> Event:
        thought = self._agents[agent]
        before = self._texts.get((thought, channel), "")
        self._texts[thought, channel] = before + text
        offset = len(before.encode())
        return self.add(
            ThoughtPartial,
            at,
            agent=agent,
            thought=thought,
            channel=channel,
            offset=offset,
            text=text,
            tokens=tokens,
        )

    def finalize(self, agent: str, at: float, **fields: Any) -> Event:
        thought = self._agents[agent]
        text, reasoning = (self._texts.get((thought, channel), "") for channel in ("text", "reasoning"))
        values: dict[str, Any] = {
            "length": len(text.encode()),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "reasoning_length": len(reasoning.encode()),
            "reasoning_sha256": hashlib.sha256(reasoning.encode()).hexdigest(),
            "finish_reason": "stop",
            "truncated": False,
            "usage": Usage(prompt_tokens=50, completion_tokens=212),
            "confidence": 0.52,
            "first_token_s": 0.4,
            "seconds": 3.9,
        }
        return self.add(ThoughtFinalized, at, agent=agent, thought=thought, **(values | fields))

    def abandon(self, agent: str, at: float, reason: str, **fields: Any) -> Event:
        thought = self._agents[agent]
        length = len(self._texts.get((thought, "text"), "").encode())
        return self.add(ThoughtAbandoned, at, agent=agent, thought=thought, length=length, reason=reason, **fields)

    def synthesize(self, at: float, *, inputs: int = 2, missing: Iterable[Missing] = ()) -> Event:
        return self.add(
            SynthesisStarted,
            at,
            inputs=tuple(f"t{n}" for n in range(inputs)),
            missing=tuple(missing),
            thought="x",
            attempt=1,
        )

    def finish(self, at: float, result: str = "Because.", **fields: Any) -> Event:
        usage = Usage(prompt_tokens=150, completion_tokens=424)
        return self.add(RunFinished, at, result=result, usage=usage, seconds=at, **fields)

    def thought(self, agent: str) -> str:
        return self._agents[agent]

    def beat(self, *agents: BusyAgent, status: str = "running", awaiting: Sequence[str] = ()) -> RunBeat:
        seq = len(self.events)
        return RunBeat(run=self.run, seq=seq, status=status, agents=agents, awaiting=tuple(awaiting))

    def busy(self, agent: str, silence_s: float, state: Any = "thinking") -> BusyAgent:
        return BusyAgent(agent=agent, state=state, silence_s=silence_s, thought=self._agents.get(agent))


def consent(**settings: Any) -> Script:
    """A run of two sections, each reviewed, that has just started."""
    stages = []
    for number, (name, title) in enumerate((("risks", "Risks"), ("gains", "Gains")), start=1):
        writer = f"writer-{number}"
        stages += [
            Stage(name=name, agent=writer, section=title, gate=True),
            Stage(name=f"review-{name}", agent=f"reviewer-{number}", after=(name,), reviews=name),
            Stage(name=f"refine-{name}", agent=writer, after=(f"review-{name}",), revises=name),
        ]
    return Script(workflow=Workflow(name="consent", stages=tuple(stages)), **settings)


def council() -> Script:
    """A whole run: two agents and a synthesis."""
    script = Script()
    script.start("research", 0.1)
    script.start("critic", 0.1, progress=0.7, model=None)
    script.say("research", 0.5, "The key findings from the research\n\nindicate that ")
    script.say("research", 0.6, "helical geometry narrows.")
    script.say("critic", 0.7, "Not so fast.")
    script.finalize("research", 4.0)
    script.abandon("critic", 5.0, "stalled", error="no text for 60 s", retry_s=None)
    script.synthesize(5.1, inputs=1, missing=[Missing(agent="critic", why="stalled")])
    script.start("synthesis", 5.2, progress=1.0)
    script.say("synthesis", 5.5, "Because.\n")
    script.finalize("synthesis", 6.0, usage=Usage(completion_tokens=1, estimated=True))
    script.finish(6.1, degraded=("critic is missing (stalled)",))
    return script


class FakeFollower:
    """A follower that knows what the played subscription tells it."""

    def __init__(self, selection: str = "latest") -> None:
        self.board = Board()
        self.beats: dict[str, RunBeat] = {}
        self.selection = selection
        self.done = False
        self.caught_up = False
        self.gaps_repaired = 0
        self.notices: list[str] = []

    def take_notices(self) -> list[str]:
        notices, self.notices = self.notices, []
        return notices


class Played:
    """A subscription that plays turns: `past` at once, then one list of items a poll; then it is done.

    `now` is the time it is: one turn takes `turn_s`, from `began` seconds after the script's start.
    """

    def __init__(
        self,
        past: Iterable[Event] = (),
        turns: Iterable[Sequence[Any]] = (),
        *,
        began: float = 0.0,
        turn_s: float = 0.1,
        ends: bool = True,
        selection: str = "latest",
    ) -> None:
        self.follower: Any = FakeFollower(selection)
        self._turns = [list(past), *[list(turn) for turn in turns]]
        self._turn_s = turn_s
        self._ends = ends
        self._live = False
        self.now = BEGAN_AT + began

    def clock(self) -> float:
        return self.now

    def poll(self, _timeout_s: float) -> list[Event | FelixError]:
        if self._live:
            self.now += self._turn_s
        if not self._turns:
            self.follower.done = self._ends
            if not self._ends:
                raise KeyboardInterrupt
            return []
        items: list[Event | FelixError] = []
        for item in self._turns.pop(0):
            match item:
                case RunBeat():
                    self.follower.beats[item.run] = item
                case str():
                    self.follower.notices.append(item)
                case Event():
                    self.follower.board.follow(item.run)
                    self.follower.board.take(item)
                    items.append(item)
                case _:
                    items.append(item)
        self._live = self.follower.caught_up = True
        return items
