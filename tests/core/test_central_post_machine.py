"""Anything in any order: runs, workers that come, go and come back too late, repeats, losses, restarts, late viewers.

`Team` checks each event (see `Story`) and each acknowledgement; here is what happens, and what must be true in the end.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from late_viewer import Viewer
from team import CARDS, FencedOut, Team, Worker, helix_workflow, solo

from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import (
    RunCancelled,
    RunFailed,
    RunFinished,
    StageFinished,
    ThoughtAbandoned,
)
from felixhub.core.messages import CancelRun, Ok, Pause, Resume, Start
from felixhub.core.workflow import EndpointLimit, RunSettings, Stage, Workflow

AGENTS = [card.name for card in CARDS]
WORKFLOWS = {
    "helix": helix_workflow(retry_s=0.5),
    "chain": Workflow(
        name="chain",
        stages=(
            Stage(name="first", agent="research", on_failure="continue"),
            Stage(name="second", agent="critic", after=("first",), retry_s=0.5),
            Stage(name="third", agent="research", after=("second",), context="latest"),
        ),
    ),
    "fan": Workflow(
        name="fan",
        stages=(
            Stage(name="one", agent="research", on_failure="continue"),
            Stage(name="two", agent="analysis", retry_s=0.0),
            Stage(name="judge", agent="critic", after=("one", "two"), quorum=1),
        ),
    ),
    "strict": solo(on_failure="fail", checkpoints=(0.0, 0.9)),
}
PIECES = ("Scattering. ", "é", "蓝天 ", "🌈🌍", "\n", "a longer piece of text, as models write it, ", "\x00", "\u2028")

small = st.integers(min_value=0, max_value=7)


def script(thought: str, channel: str) -> str:
    """What the agent says in this thought: characters of one to four bytes, different for each thought."""
    dice = random.Random(f"{thought}/{channel}")
    return "".join(dice.choice(PIECES) for _ in range(4 if channel == "text" else 2))


def is_by(told: Any, worker: Worker) -> bool:
    return told.started.session == worker.session


class Hub(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.team = Team()
        self.workers: list[Worker] = []
        self.requests: list[tuple[Any, Ok]] = []
        self.contradicted: set[str] = set()
        self.numbers = iter(range(1_000_000))

    # ---- saying things, and hearing what the shell makes of them ----

    def act(self, worker: Worker, what: Any, *args: Any, fails: bool = False, **fields: Any) -> None:
        worker.fails = fails
        with suppress(ProtocolViolation, FencedOut):
            what(*args, **fields)
        worker.fails = False

    def pick(self, number: int) -> Worker:
        return self.workers[number % len(self.workers)]

    def thinker(self, number: int) -> tuple[Worker, str] | None:
        """One of those who have something to think."""
        found = [(worker, told) for told in self.team.story.open() for worker in self.workers if is_by(told, worker)]
        worker, told = found[number % len(found)] if found else (None, None)
        return (worker, told.started.thought) if worker and told else None

    def its_thought(self, worker: Worker, number: int) -> str | None:
        mine = [told.started.thought for told in self.team.story.open() if told.started.session == worker.session]
        return mine[number % len(mine)] if mine else None

    # ---- runs and commands ----

    @initialize(workflow=st.sampled_from(sorted(WORKFLOWS)), at_once=st.integers(1, 3))
    def begin(self, workflow: str, at_once: int) -> None:
        self.start(workflow, at_once)
        for agent in AGENTS:
            self.join([agent])

    @precondition(lambda self: len(self.team.story.tales) < 3)
    @rule(workflow=st.sampled_from(sorted(WORKFLOWS)), at_once=st.integers(1, 3))
    def start(self, workflow: str, at_once: int) -> None:
        request = Start(
            id=f"r{next(self.numbers)}",
            task="Why?",
            workflow=WORKFLOWS[workflow],
            agents=CARDS,
            settings=RunSettings(endpoint="local", endpoints={"local": EndpointLimit(max_concurrent=at_once)}),
        )
        self.send(request)

    def send(self, request: Any, *, fails: bool = False) -> None:
        reply = self.team.send(request, fails=fails)
        if isinstance(reply, Ok) and not fails:
            self.requests.append((request, reply))

    @rule(
        kind=st.sampled_from([CancelRun, Pause, Pause, Resume, Resume, "agent", "thought"]), number=small, fails=small
    )
    def command(self, kind: Any, number: int, fails: int) -> None:
        runs = list(self.team.story.tales)
        run = runs[number % len(runs)]
        fields: dict[str, Any] = {"id": f"c{next(self.numbers)}", "run": run, "by": "anna"}
        if kind == "agent":
            fields["agent"] = AGENTS[number % len(AGENTS)]
        if kind == "thought":
            told = [t.started.thought for t in self.team.story.tales[run].thoughts.values()]
            if not told:
                return
            fields["thought"] = told[-1]
        self.send((CancelRun if isinstance(kind, str) else kind)(**fields), fails=fails == 0)

    @precondition(lambda self: self.requests)
    @rule(number=small)
    def repeat_a_command(self, number: int) -> None:
        request, reply = self.requests[-1 - number % len(self.requests)]
        if (request.id if isinstance(request, Start) else request.run) not in self.team.post.runs:
            return  # The shell answers from the log.
        at = len(self.team.log)
        again = self.team.send(request)
        assert again == reply
        assert not [event for event in self.team.log[at:] if event.kind in ("run.started", "command.accepted")]

    # ---- workers ----

    @rule(agents=st.lists(st.sampled_from(AGENTS), min_size=1, max_size=2, unique=True), fails=small)
    def join(self, agents: list[str], fails: int = 1) -> None:
        worker = self.team.worker(*agents, hello=False)
        self.workers.append(worker)
        self.act(worker, worker.hello, fails=fails == 0)

    @rule(number=small)
    def come_back(self, number: int) -> None:
        """Hello again: after a restart of the hub, after the lease, or after somebody has taken its place."""
        worker = self.pick(number)
        thought = self.its_thought(worker, number)
        self.act(worker, worker.hello, *([thought] if thought else []))

    @rule(number=small)
    def come_back_replaced(self, number: int) -> None:
        """Silent past its lease (the others were not), replaced, and back again."""
        worker = self.pick(number)
        self.team.now += 10.0
        for other in self.workers:
            if other is not worker:
                self.act(other, other.beat)
        self.team.wait(9.0)
        self.join(list(worker.agents))
        new = self.workers[-1].session
        runs = [run for run in self.team.post.runs.values() if not run.ended]
        members = [run.members[agent] for run in runs for agent in worker.agents if agent in run.members]
        known = any({worker.session, new} <= {one.session for one in member.workers} for member in members)
        self.act(worker, worker.beat)
        self.act(worker, worker.hello)
        for agent in worker.agents if known else ():
            assert self.team.post.presence.session_of(agent) == new, "the older one took its place back"

    @rule(number=small, fails=small)
    def leave(self, number: int, fails: int) -> None:
        worker = self.pick(number)
        self.act(worker, worker.bye, fails=fails == 0)

    @rule(number=small, throttled=st.booleans())
    def beat(self, number: int, throttled: bool) -> None:
        worker = self.pick(number)
        self.act(worker, worker.beat, throttled={"local": 1.0} if throttled else None)

    @rule()
    def everybody_beats(self) -> None:
        for worker in self.workers:
            self.act(worker, worker.beat)

    # ---- thoughts ----

    @rule(
        number=small,
        channel=st.sampled_from(["text", "text", "reasoning"]),
        start=st.sampled_from([-30, -7, -2, -1, 0, 0, 0, 1, 3]),
        size=st.integers(0, 40),
        fails=small,
    )
    def write(self, number: int, channel: Any, start: int, size: int, fails: int) -> None:
        """A piece of the script at, before or beyond what the hub has: repeats, losses and reorderings alike."""
        found = self.thinker(number)
        if found is None:
            return
        worker, thought = found
        whole = script(thought, channel)
        has = len(self.team.said(thought, channel).decode())
        first = max(0, min(len(whole), has + start))
        piece = whole[first : first + size]
        offset = len(whole[:first].encode())
        self.act(
            worker, worker.write, piece, thought=thought, channel=channel, offset=offset, tokens=first, fails=fails == 0
        )

    @rule(number=small)
    def contradict(self, number: int) -> None:
        """Text that differs from what is in the log already."""
        found = self.thinker(number)
        if found and self.team.said(found[1]):
            worker, thought = found
            self.contradicted.add(thought)
            self.act(worker, worker.write, "#!", thought=thought, offset=0)

    def finish_thought(self, worker: Worker, thought: str) -> None:
        for channel in ("reasoning", "text"):
            has = len(self.team.said(thought, channel).decode())
            self.act(worker, worker.write, script(thought, channel)[has:], thought=thought, channel=channel)
        self.act(worker, worker.finalize, thought)

    @rule(number=small)
    def finish(self, number: int) -> None:
        found = self.thinker(number)
        if found:
            self.finish_thought(*found)

    @rule(
        number=small, wrong=st.sampled_from([{}, {"length": 1}, {"length": 9_999}, {"sha256": "0" * 64}]), fails=small
    )
    def finalize(self, number: int, wrong: dict[str, Any], fails: int) -> None:
        found = self.thinker(number)
        if found:
            worker, thought = found
            self.act(worker, worker.finalize, thought, fails=fails == 0, **wrong)

    @rule(
        number=small,
        reason=st.sampled_from(["llm_error", "cancelled", "paused", "stalled", "agent_error", "context_exceeded"]),
        lasting=st.booleans(),
        fails=small,
    )
    def abandon(self, number: int, reason: str, lasting: bool, fails: int) -> None:
        found = self.thinker(number)
        if found:
            worker, thought = found
            self.act(worker, worker.abandon, reason, thought=thought, lasting=lasting, error="no", fails=fails == 0)

    @rule(number=st.integers(0, 60))
    def say_again(self, number: int) -> None:
        """Something from the past arrives once more, or only now."""
        session, message = self.team.past[-1 - number % len(self.team.past)]
        with suppress(ProtocolViolation, FencedOut):
            self.team.say(session, message)

    # ---- the world ----

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.3, 1.0, 1.5, 6.0, 19.0]))
    def time_passes(self, seconds: float) -> None:
        self.team.wait(seconds)

    @rule(after_s=st.sampled_from([-5.0, 0.0, 0.1, 30.0]), pause=st.booleans())
    def restart(self, after_s: float, pause: bool) -> None:
        self.team.restart(settle=not pause, after_s=after_s)
        if pause:
            self.team.pause_unfinished()

    @rule()
    def forget(self) -> None:
        self.team.post.forget(self.team.now)

    @rule(seed=st.integers(0, 1000), snapshot=st.booleans())
    def view(self, seed: int, snapshot: bool) -> None:
        if len(self.team.viewers) < 4:
            self.team.viewers.append(Viewer(self.team, loses=random.Random(seed), snapshot=snapshot))

    @precondition(lambda self: self.team.viewers)
    @rule(number=small, at_most=st.integers(1, 30))
    def repair(self, number: int, at_most: int) -> None:
        self.team.viewers[number % len(self.team.viewers)].repair(at_most=at_most)

    # ---- the end ----

    def teardown(self) -> None:
        team = self.team
        for name in list(team.story.tales):
            if team.story.tales[name].paused and not team.story.tales[name].ended:
                self.send(Resume(id=f"c{next(self.numbers)}", run=name))
        fresh = [team.worker(agent) for agent in AGENTS] if team.story.tales else []
        for _ in range(200):
            if all(tale.ended for tale in team.story.tales.values()):
                break
            for worker in fresh:
                self.act(worker, worker.beat)
                while worker.is_thinking:
                    self.finish_thought(worker, worker.thought)
            team.wait(1.0)
        for name, tale in team.story.tales.items():
            assert tale.ended, f"run {name} never ends: {tale.stages}"
            ends = team.of(StageFinished, run=name)
            assert sorted(e.stage for e in ends) == sorted(s.name for s in tale.started.workflow.all_stages())
            assert len(team.of(RunFinished, RunFailed, RunCancelled, run=name)) == 1
            for thought, told in tale.thoughts.items():
                for channel, said in told.said.items():
                    whole = script(thought, channel).encode()
                    assert whole.startswith(said), "the log has what the agent never said"
                    assert team.acked.get((thought, channel), 0) <= len(said)
        for ended in team.of(ThoughtAbandoned):
            assert ended.reason != "conflict" or ended.thought in self.contradicted, "true words called a conflict"
        for _ in range(5):
            team.restart()
        team.viewers.append(Viewer(team, loses=random.Random(1), snapshot=False))
        for viewer in team.viewers:
            viewer.repair()
            viewer.check()


TestHub = Hub.TestCase
TestHub.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
