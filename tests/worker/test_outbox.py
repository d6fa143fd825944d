"""The outbox: one plain example per rule, then every kind of network against the real CentralPost."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from felixhub.core.central_post import CentralPost
from felixhub.core.decision import Acknowledge, Decision, Send, TellEnded
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import WorkerInfo
from felixhub.core.limits import Limits
from felixhub.core.messages import Abandon, Finalize, Hello, Partial, Reject, Start, Welcome
from felixhub.core.workflow import Card, Stage, Workflow
from felixhub.worker.outbox import RESEND_S, Outbox

LIMITS = Limits(partial_bytes_max=16, thought_bytes_max=100_000)


def outbox() -> Outbox:
    return Outbox("t1", limits=LIMITS)


def said(messages: list) -> list[tuple[int, str]]:
    return [(m.offset, m.text) for m in messages if isinstance(m, Partial)]


# ---- one example per rule --------------------------------------------------------------------------------------------


def test_text_is_sent_once_and_in_pieces_that_fit() -> None:
    box = outbox()
    box.write("text", "0123456789abcdefXYZ")
    assert said(box.take_due(0.0)) == [(0, "0123456789abcdef"), (16, "XYZ")]
    assert box.take_due(0.1) == []


def test_a_piece_never_splits_a_character() -> None:
    box = outbox()
    box.write("text", "aaaaaaaaaaaaaa😀b")
    assert said(box.take_due(0.0)) == [(0, "a" * 14), (14, "😀b")]


def test_what_is_not_acknowledged_is_sent_again_after_a_second() -> None:
    box = outbox()
    box.write("text", "one two")
    box.take_due(0.0)
    box.acknowledge("text", 4, 0.5)
    assert box.next_due(0.6) == 0.5 + RESEND_S
    assert box.take_due(1.4) == []
    assert said(box.take_due(1.5)) == [(4, "two")]


def test_all_acknowledged_leaves_nothing_to_wait_for() -> None:
    box = outbox()
    box.write("text", "one")
    box.take_due(0.0)
    box.acknowledge("text", 3, 0.1)
    assert box.next_due(0.2) is None


def test_an_old_acknowledgement_says_nothing() -> None:
    box = outbox()
    box.write("text", "one two")
    box.take_due(0.0)
    box.acknowledge("text", 7, 0.1)
    box.acknowledge("text", 3, 0.2)
    assert box.take_due(9.0) == []


def test_a_gap_rewinds_and_its_repeat_does_not() -> None:
    box = outbox()
    box.write("text", "one two")
    box.take_due(0.0)
    box.reject_gap("text", 4, 0.1)
    assert said(box.take_due(0.1)) == [(4, "two")]
    box.reject_gap("text", 4, 0.2)
    assert box.take_due(0.2) == []
    box.reject_gap("text", 4, 0.1 + RESEND_S)
    assert said(box.take_due(0.1 + RESEND_S)) == [(4, "two")]


def test_the_same_gap_counts_again_after_progress() -> None:
    box = outbox()
    box.write("text", "one two")
    box.take_due(0.0)
    box.reject_gap("text", 4, 0.1)
    box.take_due(0.1)
    box.acknowledge("text", 7, 0.2)
    box.reject_gap("text", 4, 0.3)
    assert said(box.take_due(0.3)) == [(4, "two")]


def test_a_welcome_says_where_to_go_on_forwards_or_back() -> None:
    box = outbox()
    box.write("text", "one two")
    box.take_due(0.0)
    box.resume(text=4, reasoning=0)
    assert said(box.take_due(0.1)) == [(4, "two")]
    box.acknowledge("text", 7, 0.2)
    box.resume(text=0, reasoning=0)  # A log that was restored from a backup.
    assert said(box.take_due(0.3)) == [(0, "one two")]


def test_a_hub_that_is_busy_is_left_alone() -> None:
    box = outbox()
    box.write("text", "one")
    box.take_due(0.0)
    box.defer(2.0)
    assert box.take_due(1.9) == []
    assert box.next_due(0.1) == 2.0
    assert said(box.take_due(2.0)) == [(0, "one")]


def test_the_ending_comes_after_all_text_and_is_repeated() -> None:
    box = outbox()
    box.write("reasoning", "hm")
    box.write("text", "yes")
    box.finalize(seconds=1.5)
    *partials, last = box.take_due(0.0)
    assert [p.channel for p in partials] == ["reasoning", "text"]
    assert isinstance(last, Finalize)
    assert (last.length, last.sha256) == (3, hashlib.sha256(b"yes").hexdigest())
    assert (last.reasoning_length, last.reasoning_sha256) == (2, hashlib.sha256(b"hm").hexdigest())
    box.acknowledge("text", 3, 0.1)
    box.acknowledge("reasoning", 2, 0.1)
    assert box.next_due(0.2) == RESEND_S
    assert box.take_due(0.9) == []
    assert box.take_due(1.0) == [last]


def test_the_ending_waits_while_too_much_is_in_flight() -> None:
    box = outbox()
    box.write("text", "x" * 100)
    box.abandon("cancelled")
    assert [len(text) for _, text in said(box.take_due(0.0))] == [16] * 4
    box.acknowledge("text", 64, 0.1)
    messages = box.take_due(0.1)
    assert said(messages) == [(64, "x" * 16), (80, "x" * 16), (96, "x" * 4)]
    assert isinstance(messages[-1], Abandon) and messages[-1].length == 100


def test_a_thought_takes_what_fits_and_says_so() -> None:
    box = Outbox("t1", limits=Limits(partial_bytes_max=16, thought_bytes_max=5))
    assert box.write("text", "abc")
    assert not box.write("text", "😀")
    assert (box.size, box.length("text")) == (3, 3)


def test_nonsense_from_the_hub_does_no_harm() -> None:
    box = outbox()
    box.write("text", "😀x")
    box.acknowledge("text", 99, 0.0)
    box.reject_gap("text", 2, 0.1)  # In the middle of a character.
    assert said(box.take_due(0.1)) == [(0, "😀x")]
    box.resume(text=50, reasoning=50)
    assert box.take_due(0.2) == []


# ---- any network -----------------------------------------------------------------------------------------------------


@dataclass
class Wire:
    """A hub with one open thought and a wire that loses, doubles and reorders."""

    post: CentralPost
    thought: str
    log: list = field(default_factory=list)
    to_hub: list = field(default_factory=list)
    to_worker: list = field(default_factory=list)

    @classmethod
    def laid(cls) -> Wire:
        post = CentralPost(boot="b" * 8, limits=LIMITS)
        wire = cls(post, "")
        wire.take(Hello(worker=WorkerInfo(session="s1"), agents=("a",)), 0.0)
        workflow = Workflow(name="w", stages=(Stage(name="one", agent="a", retries_max=0),))
        start = Start(id="r1", task="think", workflow=workflow, agents=(Card(name="a"),))
        wire.settle(post.start(start, 0.0), 0.0)
        wire.to_worker.clear()
        wire.thought = post.runs["r1"].open_thoughts()[0].id
        return wire

    def settle(self, decision: Decision, now: float) -> None:
        while True:
            for event in decision.events:
                self.log.append(event)
                self.post.apply(event)
            self.to_worker.extend(decision.effects)
            decision = self.post.advance(now)
            if not decision.events:
                return

    def take(self, message: object, now: float) -> None:
        try:
            decision = self.post.decide(message, "s1", now)
        except ProtocolViolation as error:
            self.to_worker.append(Reject(code=error.code, sentence=str(error), thought=self.thought or None))
            return
        self.settle(decision, now)
        self.post.observe(message, "s1", now)

    def restart(self, now: float) -> None:
        """Another life of the hub: the same log, nothing else."""
        self.post = CentralPost(boot="c" * 8, limits=LIMITS)
        for event in self.log:
            self.post.apply(event)
        self.post.wake(now)
        self.to_hub.clear()
        self.to_worker.clear()

    def greet(self, now: float) -> None:
        self.take(Hello(worker=WorkerInfo(session="s1"), agents=("a",), holding=(self.thought,)), now)


def hear(box: Outbox, effect: object, now: float) -> bool:
    """True when the end of the thought was heard."""
    match effect:
        case Acknowledge():
            box.acknowledge(effect.channel, effect.length, now)
        case TellEnded():
            return True
        case Send(message=Welcome() as welcome):
            if welcome.ended:
                return True
            held = welcome.thoughts[0]
            box.resume(text=held.text, reasoning=held.reasoning)
        case Send(message=Reject() as reject) if reject.code == "gap":
            box.reject_gap(reject.channel, reject.length, now)
        case Reject():
            assert reject_is_late(effect), effect
    return False


def reject_is_late(reject: Reject) -> bool:
    """A stray of an earlier life of the wire: the thought has ended already."""
    return reject.code == "closed"


ACTS = (
    "say",
    "think",
    "send",
    "deliver",
    "lose",
    "double",
    "swap",
    "answer",
    "miss",
    "swap_answers",
    "wait",
    "restart",
)
WORDS = st.text(alphabet="aé😀\n ", min_size=1, max_size=40)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    acts=st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 10), WORDS), max_size=80),
    whole=st.booleans(),
)
def test_whatever_the_wire_does_the_hub_has_what_was_said(acts: list, whole: bool) -> None:
    wire = Wire.laid()
    box = Outbox(wire.thought, limits=LIMITS)
    texts = {"text": "", "reasoning": ""}
    now, over = 1.0, False

    def check() -> None:
        thought = wire.post.thought(wire.thought)
        assert thought is not None
        for channel, full in texts.items():
            assert full.encode().startswith(bytes(thought.buffer(channel).data))

    for act, place, words in acts:
        match act:
            case "say" | "think":
                channel = "text" if act == "say" else "reasoning"
                if box.write(channel, words):
                    texts[channel] += words
            case "send":
                wire.to_hub.extend(box.take_due(now))
            case "deliver" if wire.to_hub:
                wire.take(wire.to_hub.pop(0), now)
            case "lose" if wire.to_hub:
                wire.to_hub.pop(place % len(wire.to_hub))
            case "double" if wire.to_hub:
                wire.to_hub.append(wire.to_hub[place % len(wire.to_hub)])
            case "swap" if wire.to_hub:
                wire.to_hub.append(wire.to_hub.pop(place % len(wire.to_hub)))
            case "answer" if wire.to_worker:
                over = hear(box, wire.to_worker.pop(0), now) or over
            case "miss" if wire.to_worker:
                wire.to_worker.pop(place % len(wire.to_worker))
            case "swap_answers" if wire.to_worker:
                wire.to_worker.append(wire.to_worker.pop(place % len(wire.to_worker)))
            case "wait":
                now += place / 5
            case "restart":
                wire.restart(now)
                wire.greet(now)
        check()
    assert not over, "it cannot have ended: nobody has said so"

    if whole:
        box.finalize()
    else:
        box.abandon("agent_error", "broke")
    for _ in range(200):  # From here on the wire is good, and answers come.
        for message in [*wire.to_hub, *box.take_due(now)]:
            wire.take(message, now)
        wire.to_hub.clear()
        answers, wire.to_worker = wire.to_worker, []
        for answer in answers:
            over = hear(box, answer, now) or over
        check()
        if over:
            break
        now += 0.3
    assert over, "the ending was never confirmed"
    thought = wire.post.thought(wire.thought)
    assert thought is not None
    assert thought.state == ("final" if whole else "abandoned")
    assert str(thought.text) == texts["text"]
    if whole:
        assert str(thought.reasoning) == texts["reasoning"]
