"""Any workflow, any failure, any command, at any moment: it never hangs, never ends twice, and nobody starts early.

`Team` checks each event (see `Story`); here is what happens, and what must be true once a person has approved or given
up what awaits one and the workers answer.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from late_viewer import Viewer
from team import COMMANDS, FencedOut, Team, Worker

from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import RunCancelled, RunFailed, RunFinished, StageFinished, ThoughtStarted, Usage
from felixhub.core.messages import CancelRun, Ok, Resume, Start
from felixhub.core.soundness import faults
from felixhub.core.workflow import Card, Converge, EndpointLimit, Item, RunSettings, Stage, Synthesis, Workflow

AGENTS = ("ada", "ben", "cem", "dee")
CARDS = (*(Card(name=name) for name in AGENTS), Card(name="judge", role="critic"), Card(name="sum", role="synthesis"))
KNOWN = {card.name: card for card in CARDS}
REASONS = ("llm_error", "agent_error", "stalled", "truncated", "too_long", "context_exceeded", "cancelled", "paused")
VERDICTS = (
    '{"approved": true, "issues": []}',
    '{"approved": true, "issues": []}',
    '{"approved": false, "issues": ["It is too long."]}',
    '{"approved": false, "issues": ["It is too long.", "No issues found"]}',
    '{"approved": false, "issues": ["No issues found"]}',
    "I approve of this.",
)
small = st.integers(min_value=0, max_value=7)


@st.composite
def workflows(draw: Any) -> Workflow:
    """Up to four stages that write, each with a list or a loop or neither, and a synthesis or none."""
    stages: list[Stage] = []
    lists: dict[str, tuple[Item, ...]] = {}
    for number in range(draw(st.integers(1, 4))):
        name = f"s{number}"
        earlier = [stage.name for stage in stages]
        after = tuple(draw(st.lists(st.sampled_from(earlier), unique=True, max_size=3))) if earlier else ()
        loops = draw(st.sampled_from([0, 0, 1, 2]))
        has_section = loops > 0 or draw(st.booleans())
        for_each = f"list{number}" if draw(st.sampled_from([False, False, True])) else None
        if for_each:
            lists[for_each] = tuple(Item(name=f"{name}-{letter}") for letter in "xyz"[: draw(st.integers(1, 3))])
        ending = {
            "on_failure": draw(st.sampled_from(["retry", "retry", "retry", "continue", "continue", "fail"])),
            "retries_max": draw(st.integers(0, 2)),
            "retry_s": draw(st.sampled_from([0.0, 0.5])),
        }
        stages.append(
            Stage(
                name=name,
                agent=draw(st.sampled_from(AGENTS)),
                after=after,
                for_each=for_each,
                section="Part {title}" if has_section else "",
                gate=has_section and draw(st.booleans()),
                optional=draw(st.sampled_from([False] * 5 + [True])),
                on_change=draw(st.sampled_from(["redo", "redo", "stale"])),
                checkpoints=draw(st.sampled_from([(0.0,), (0.3,), (0.0, 0.5), (0.3, 0.5, 0.9)])),
                context=draw(st.sampled_from(["latest", "after", "none"])),
                quorum=draw(st.sampled_from([None, None, *range(1, len(after) + 1)])),
                **ending,
            )
        )
        if loops:
            review, refine = f"{name}-review", f"{name}-refine"
            judge, writer = draw(st.sampled_from(["judge", "judge", "ada"])), draw(st.sampled_from(AGENTS))
            stages.append(
                Stage(
                    name=review,
                    agent=judge,
                    after=(name,),
                    for_each=for_each,
                    reviews=name,
                    rounds_max=loops,
                    optional=draw(st.sampled_from([False] * 5 + [True])),
                    **(ending | {"on_failure": "retry"}),
                )
            )
            if draw(st.sampled_from([True, True, False])):
                stages.append(
                    Stage(name=refine, agent=writer, after=(review,), for_each=for_each, revises=name, **ending)
                )
            else:
                stages[-1] = stages[-1].model_copy(update={"rounds_max": 1})
    synthesis = None
    if draw(st.sampled_from([False, True, True])):
        synthesis = Synthesis(
            agent="sum",
            when=draw(st.sampled_from(["all", "each", "each"])),
            on_change=draw(st.sampled_from(["redo", "stale"])),
            converge=draw(st.sampled_from([None, None, Converge(progress=0.3, confidence=0.1)])),
            retries_max=draw(st.integers(0, 1)),
            retry_s=0.0,
        )
    workflow = Workflow(name="any", lists=lists, stages=tuple(stages), synthesis=synthesis)
    assume(not faults(workflow, KNOWN))
    return workflow


class Engine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.team = Team()
        self.workers: dict[str, Worker] = {}
        self.requests: list[tuple[Any, Ok]] = []
        self.dice = random.Random(0)
        self.numbers = iter(range(1_000_000))

    # ---- runs ----

    @initialize(workflow=workflows(), settings=st.data())
    def begin(self, workflow: Workflow, settings: Any) -> None:
        self.start(workflow, settings)

    @precondition(lambda self: len(self.team.story.tales) == 1 and len(self.team.log) > 30)
    @rule(workflow=workflows(), settings=st.data())
    def start(self, workflow: Workflow, settings: Any) -> None:
        optional = [stage.name for stage in workflow.stages if stage.optional]
        chosen = RunSettings(
            endpoint="local",
            endpoints={"local": EndpointLimit(max_concurrent=settings.draw(st.integers(1, 3)))},
            review=settings.draw(st.booleans()),
            budget_tokens=settings.draw(st.sampled_from([None, None, None, 60, 200])),
            include=tuple(name for name in optional if settings.draw(st.sampled_from([True, True, False]))),
        )
        request = Start(id=f"r{next(self.numbers)}", task="Why?", workflow=workflow, agents=CARDS, settings=chosen)
        reply = self.send(request)
        assert isinstance(reply, Ok), reply
        for card in self.team.story.tales[request.id].started.agents:
            if card.name not in self.workers:
                self.workers[card.name] = self.team.worker(card.name)

    def send(self, request: Any, *, fails: bool = False) -> Any:
        at = len(self.team.log)
        reply = self.team.send(request, fails=fails)
        if not isinstance(reply, Ok):
            made = [event.kind for event in self.team.log[at:]]
            assert "command.accepted" not in made and "stage.reopened" not in made, "refused, and done all the same"
        elif not fails:
            self.requests.append((request, reply))
        return reply

    # ---- commands ----

    def order(self, name: str, number: int, *, fails: bool = False, **fields: Any) -> Any:
        runs = list(self.team.story.tales)
        return self.send(
            COMMANDS[name](id=f"c{next(self.numbers)}", run=runs[number % len(runs)], by="anna", **fields), fails=fails
        )

    def whom(self, number: int, how: str) -> dict[str, Any]:
        """An agent, a thought or a section of a run."""
        tale = list(self.team.story.tales.values())[number % len(self.team.story.tales)]
        names = {
            "agent": sorted({spec.agent for spec in tale.specs.values()}),
            "thought": list(tale.thoughts)[-4:],
            "section": list(tale.sections),
        }[how]
        return {how: names[(number // 2) % len(names)]} if names else {"agent": "ada"}

    @rule(
        name=st.sampled_from(["steer", "steer", "regenerate", "regenerate", "cancel"]),
        how=st.sampled_from(["agent", "thought", "section"]),
        number=st.integers(0, 30),
        words=st.booleans(),
        fails=small,
    )
    def direct(self, name: str, how: str, number: int, words: bool, fails: int) -> None:
        given = {"wrong": "It is too long."} if name == "steer" or (words and name == "regenerate") else {}
        self.order(name, number, fails=fails == 0, **self.whom(number, how), **given)

    @rule(number=small, name=st.sampled_from(["pause", "pause", "pause", "cancel"]), fails=small)
    def hold(self, number: int, name: str, fails: int) -> None:
        if name == "pause" or fails == 1:
            self.order(name, number, fails=fails == 0)

    @rule(number=st.integers(0, 30), version=st.sampled_from([None, None, 1, 2]), every=st.booleans(), fails=small)
    def approve(self, number: int, version: int | None, every: bool, fails: int) -> None:
        one = {} if every else self.whom(number, "section")
        if "agent" not in one:
            self.order("approve", number, version=version, fails=fails == 0, **one)

    @rule(number=st.integers(0, 30), edit=st.booleans(), fails=small)
    def change(self, number: int, edit: bool, fails: int) -> None:
        one = self.whom(number, "section")
        if "agent" in one:
            return
        if edit:
            self.order("edit", number, text="As a person says it.", fails=fails == 0, **one)
        else:
            self.order("reopen", number, fails=fails == 0, **one)

    @precondition(lambda self: self.requests)
    @rule(number=small)
    def repeat_a_command(self, number: int) -> None:
        request, reply = self.requests[-1 - number % len(self.requests)]
        if (request.id if isinstance(request, Start) else request.run) not in self.team.post.runs:
            return  # The shell answers from the log.
        at = len(self.team.log)
        assert self.team.send(request) == reply
        done = {event.kind for event in self.team.log[at:]}
        assert not done & {"run.started", "command.accepted", "stage.reopened", "section.edited", "section.reopened"}

    # ---- workers ----

    def thinker(self, number: int) -> tuple[Worker, ThoughtStarted] | None:
        found = [
            (worker, told.started)
            for told in self.team.story.open()
            if (worker := self.workers.get(told.started.agent)) and worker.session == told.started.session
        ]
        return found[number % len(found)] if found else None

    def words(self, started: ThoughtStarted) -> str:
        spec = next(
            tale.specs[started.stage] for tale in self.team.story.tales.values() if started.thought in tale.thoughts
        )
        return self.dice.choice(VERDICTS) if spec.reviews else f"What {started.agent} says in {started.thought}. " * 3

    def act(self, what: Any, *args: Any, **fields: Any) -> None:
        with suppress(ProtocolViolation, FencedOut):
            what(*args, **fields)

    def finish_thought(self, worker: Worker, started: ThoughtStarted, *, truncated: bool = False) -> None:
        if not self.team.said(started.thought):
            self.act(worker.write, self.words(started), thought=started.thought, tokens=8)
        self.act(
            worker.finalize,
            started.thought,
            truncated=truncated,
            usage=Usage(prompt_tokens=5, completion_tokens=5),
        )

    @rule(seed=st.integers(0, 1_000), count=st.integers(1, 6))
    def work(self, seed: int, count: int) -> None:
        """Some thoughts to their ends, whatever comes next; what was paused goes on, mostly."""
        self.dice.seed(seed)
        if seed % 3:
            self.go_on()
        for _ in range(count):
            if found := self.thinker(self.dice.randrange(8)):
                self.finish_thought(*found, truncated=self.dice.random() < 0.1)

    @rule(seed=st.integers(0, 1_000), count=st.integers(3, 9))
    def work_on(self, seed: int, count: int) -> None:
        self.work(seed, count)

    def go_on(self) -> None:
        for name, tale in self.team.story.tales.items():
            if tale.paused and not tale.ended:
                self.send(Resume(id=f"c{next(self.numbers)}", run=name))

    @rule(number=small, seed=small, truncated=small)
    def finish(self, number: int, seed: int, truncated: int) -> None:
        self.dice.seed(seed)
        if found := self.thinker(number):
            self.finish_thought(*found, truncated=truncated == 0)

    @rule(seed=small)
    def finish_all_in_one_turn(self, seed: int) -> None:
        self.dice.seed(seed)
        said = []
        for number in range(len(self.team.story.open())):
            found = self.thinker(number)
            if found and self.team.post.presence.worker_for(found[1].agent):
                worker, started = found
                if not self.team.said(started.thought):
                    self.act(worker.write, self.words(started), thought=started.thought)
                said.append((worker.session, worker.final(started.thought)))
        still = {told.started.thought for told in self.team.story.open()}
        self.act(self.team.together, *[one for one in said if one[1].thought in still])

    @rule(number=small)
    def write(self, number: int) -> None:
        found = self.thinker(number)
        if found and not self.team.said(found[1].thought):
            worker, started = found
            self.dice.seed(number)
            self.act(worker.write, self.words(started), thought=started.thought, tokens=8)

    @rule(number=small, reason=st.sampled_from(REASONS), lasting=st.booleans())
    def abandon(self, number: int, reason: str, lasting: bool) -> None:
        if found := self.thinker(number):
            self.act(found[0].abandon, reason, thought=found[1].thought, lasting=lasting, error="no")

    @rule(number=small, how=st.sampled_from(["bye", "replaced", "lease"]))
    def lose(self, number: int, how: str) -> None:
        if not self.workers:
            return
        agent = list(self.workers)[number % len(self.workers)]
        if how == "bye":
            self.act(self.workers[agent].bye)
        if how == "lease":
            self.team.now += 15.0
            for other, worker in self.workers.items():
                if other != agent:
                    self.act(worker.beat)
            self.team.wait(5.0)
        self.workers[agent] = self.team.worker(agent)

    def everybody_is_here(self) -> None:
        for worker in self.workers.values():
            self.act(worker.hello)

    # ---- the world ----

    @rule(seconds=st.sampled_from([0.1, 0.6, 1.5]))
    def time_passes(self, seconds: float) -> None:
        self.team.wait(seconds)

    @rule(pause=small)
    def restart(self, pause: int) -> None:
        self.team.restart(settle=pause != 0)
        if pause == 0:
            self.team.pause_unfinished()
        self.everybody_is_here()

    @rule(seed=small, snapshot=st.booleans())
    def view(self, seed: int, snapshot: bool) -> None:
        if len(self.team.viewers) < 2:
            self.team.viewers.append(Viewer(self.team, loses=random.Random(seed), snapshot=snapshot))

    # ---- the end ----

    def settle_one(self, run: str) -> None:
        """What a person does who wants the run to end."""
        for section in [
            name for name in self.team.run(run).sections if self.team.story.tales[run].waits_for_person(name)
        ]:
            if not isinstance(self.team.command("approve", run, id=f"c{next(self.numbers)}", section=section), Ok):
                self.team.send(CancelRun(id=f"c{next(self.numbers)}", run=run, section=section))
            if self.team.story.tales[run].ended:
                return

    def teardown(self) -> None:
        team = self.team
        for _ in range(5):
            team.restart(settle=False)
        with team.turn():
            pass
        self.go_on()
        for agent in list(self.workers):
            self.workers[agent] = team.worker(agent)
        for _ in range(300):
            open_runs = [name for name, tale in team.story.tales.items() if not tale.ended]
            if not open_runs:
                break
            for worker in self.workers.values():
                self.act(worker.beat)
            while found := self.thinker(0):
                self.finish_thought(*found)
            team.wait(1.0)
            for name in open_runs:
                run = team.run(name)
                if not team.story.tales[name].ended and not run.open_thoughts() and (awaited := run_awaits(team, name)):
                    assert not set(awaited) - set(run.sections)
                    self.settle_one(name)
        for name, tale in team.story.tales.items():
            assert tale.ended, f"run {name} never ends: {tale.stages}"
            ends = [(event.stage, event.round) for event in team.of(StageFinished, run=name)]
            assert len(set(ends)) == len(ends)
            rounds = {(stage, number) for stage in tale.specs for number in range(1, tale.rounds.get(stage, 1) + 1)}
            assert set(ends) == rounds, "a round that never ended"
            assert len(team.of(RunFinished, RunFailed, RunCancelled, run=name)) == 1
            if isinstance(tale.ended, RunFinished) and not tale.budget_spent:
                check_nothing_is_out_of_date(tale)
        team.viewers.append(Viewer(team, loses=random.Random(1), snapshot=False))
        for viewer in team.viewers:
            viewer.repair()
            viewer.check()


def check_nothing_is_out_of_date(tale: Any) -> None:
    """Every text that is not marked stale was made from the current texts of what it comes after."""
    for stage, spec in tale.specs.items():
        made = [
            told.started for told in tale.thoughts.values() if told.started.stage == stage and told.state == "final"
        ]
        is_exempt = spec.context != "after" or spec.on_change == "stale" or stage in tale.given_up
        if is_exempt or tale.stages[stage] != "final" or stage == "synthesis":
            continue
        for target in {tale.target(other) for other in spec.after} - {tale.target(stage)}:
            writers = {name for name, one in tale.specs.items() if tale.target(name) == target and one.reviews is None}
            written = tale.sections.get(target)
            if written and written.versions and writers <= set(spec.after):
                current = written.versions[written.current - 1][0]
                assert current in made[-1].context, f"{stage} was made from an earlier text of {target}"


def run_awaits(team: Team, run: str) -> tuple[str, ...]:
    return team.post.run_beat(team.run(run), team.now).awaiting


TestEngine = Engine.TestCase
TestEngine.settings = settings(
    max_examples=250, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
