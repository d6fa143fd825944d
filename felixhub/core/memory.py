"""The hub's durable memory: runs and their thoughts, a fold over the log. Only `apply` and `forget` change it.

Owns: what is true now, and finding it by name. Must not: decide, or know who is connected (`presence.py` does).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from felixhub.core.decision import Turn
from felixhub.core.events import (
    Event,
    RunStarted,
    ThoughtAbandoned,
    ThoughtFinalized,
    ThoughtPartial,
    ThoughtStarted,
)
from felixhub.core.limits import Limits
from felixhub.core.run import Run
from felixhub.core.thought import Thought


class Memory:
    def __init__(self, *, boot: str, tip: int, limits: Limits) -> None:
        self.boot = boot
        self.tip = tip
        self.limits = limits
        self.runs: dict[str, Run] = {}
        self.run_of: dict[str, Run] = {}  # thought -> run
        self.open: dict[str, Thought] = {}
        self.busy_agents: Counter[str] = Counter()  # open thoughts by agent, and by endpoint
        self.open_by_endpoint: Counter[str] = Counter()

    def turn(self, now: float) -> Turn:
        """A decision to be built on what is true now."""
        return Turn(tip=self.tip, boot=self.boot, now=now)

    def apply(self, event: Event) -> None:
        """Fold one event. Events of a run come in order; those of a run that is not here are passed over."""
        self.tip = max(self.tip, event.seq)
        if isinstance(event, ThoughtPartial):
            self.run_of[event.thought].apply(event)
            return
        if isinstance(event, RunStarted):
            self.runs[event.run] = Run(event)
            return
        run = self.runs.get(event.run)
        if run is None:
            return
        run.apply(event)
        if isinstance(event, ThoughtStarted):
            self.run_of[event.thought] = run
            self.open[event.thought] = run.thoughts[event.thought]
            self.busy_agents[event.agent] += 1
            self.open_by_endpoint[event.endpoint] += 1
        elif isinstance(event, ThoughtFinalized | ThoughtAbandoned):
            ended = self.open.pop(event.thought).started
            _less(self.busy_agents, ended.agent)
            _less(self.open_by_endpoint, ended.endpoint)

    def forget(self, now: float) -> list[str]:
        """Drop the runs that ended more than `run_linger_s` ago; the log still has them. Returns their names."""
        gone = [run.id for run in self.runs.values() if run.ended and now - run.ended.at >= self.limits.run_linger_s]
        for name in gone:
            self.drop(name)
        return gone

    def drop(self, name: str) -> None:
        """Let go of a run and its thoughts."""
        run = self.runs.pop(name, None)
        for thought in run.thoughts if run else ():
            del self.run_of[thought]
            if self.open.pop(thought, None) and run:
                ended = run.thoughts[thought].started
                _less(self.busy_agents, ended.agent)
                _less(self.open_by_endpoint, ended.endpoint)

    def thought(self, thought: str) -> Thought | None:
        run = self.run_of.get(thought)
        return run.thoughts[thought] if run else None

    @property
    def unfinished_runs(self) -> list[Run]:
        return [run for run in self.runs.values() if run.ended is None]

    def digest(self) -> dict[str, Any]:
        """The durable memory of unfinished runs as plain values, to compare two lives of a hub."""
        return {
            run.id: {
                "status": run.status,
                "last_seq": run.last_seq,
                "stages": {
                    name: (
                        (s.started, s.outcome, s.round, s.index, s.attempts, s.failures, s.unread),
                        (s.open_thought, s.final_thought, s.revises, s.reopened is not None, s.verdict, s.why),
                        [(command, feedback.model_dump()) for command, feedback in s.feedback],
                    )
                    for name, s in run.stages.items()
                },
                "thoughts": {
                    t.id: (t.state, t.text.sha256, t.reasoning.sha256, t.tokens, t.cancelling is not None)
                    for t in run.thoughts.values()
                },
                "members": {a: ([w.session for w in m.workers], m.present) for a, m in run.members.items()},
                "sections": {
                    name: ([(v.number, v.by, v.source, v.whole) for v in s.versions], s.approved, s.stale)
                    for name, s in run.sections.items()
                },
                "commands": sorted(run.commands),
                "budget_spent": run.budget_spent is not None,
                "cancelled": (run.cancelled_by, {n: s.cancelled_by for n, s in run.stages.items() if s.cancelled_by}),
            }
            for run in self.runs.values()
            if run.ended is None
        }


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
