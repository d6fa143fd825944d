"""What a worker says about its thoughts: the append rules, the end of a thought, and whether it is tried again.

Owns: partial, finalize and abandon. Must not: change anything, or know sessions beyond who may write what.
"""

from __future__ import annotations

from typing import Any

from felixhub.core import helix
from felixhub.core.decision import Acknowledge, Send, TellEnded, Turn
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import Reason, SynthesisStarted, ThoughtPartial
from felixhub.core.memory import Memory
from felixhub.core.messages import Abandon, Ended, Finalize, Partial, Reject
from felixhub.core.review import Verdict, read_review
from felixhub.core.run import NOT_A_FAILURE, Run
from felixhub.core.thought import Thought, fit
from felixhub.core.workflow import SYNTHESIS

RETRYABLE: frozenset[Reason] = frozenset(
    ("agent_lost", "agent_error", "stalled", "llm_error", "truncated", "conflict", "too_long")
)


def _own(memory: Memory, thought: str, session: str) -> tuple[Run, Thought]:
    run = memory.run_of.get(thought)
    if run is None:
        raise ProtocolViolation("unknown_thought", f"there is no thought '{thought}': drop it", field="thought")
    held = run.thoughts[thought]
    if held.started.session != session:
        raise ProtocolViolation("not_yours", f"thought '{thought}' belongs to another session", field="thought")
    return run, held


def decide_partial(memory: Memory, message: Partial, session: str, turn: Turn) -> None:
    run, thought = _own(memory, message.thought, session)
    if not thought.is_open:
        raise ProtocolViolation("closed", f"thought '{thought.id}' has ended ({thought.state})", field="thought")
    data = message.text.encode()
    if len(data) > memory.limits.partial_bytes_max:
        raise ProtocolViolation(
            "too_large",
            f"a partial holds at most {memory.limits.partial_bytes_max} bytes, this one {len(data)}: split it",
            field="text",
        )
    buffer = thought.buffer(message.channel)
    length = len(buffer)
    fits = fit(buffer, message.offset, data)
    if fits.verdict == "gap":
        turn.effect(Send(session, _gap(thought, message.channel, length)))
        return
    if fits.verdict == "conflict":
        abandon(run, thought, "conflict", f"text at {message.offset} differs from what is in the log", turn)
        return
    if thought.size + len(fits.tail) > memory.limits.thought_bytes_max:
        error = f"a thought holds at most {memory.limits.thought_bytes_max} bytes"
        abandon(run, thought, "too_long", error, turn)
        return
    if fits.tail:
        turn.emit(
            ThoughtPartial.of_checked,
            run.id,
            run.last_seq,
            agent=thought.started.agent,
            thought=thought.id,
            channel=message.channel,
            offset=length,
            text=message.text if len(fits.tail) == len(data) else fits.tail.decode(),
            tokens=max(message.tokens, thought.tokens),
        )
    turn.effect(Acknowledge(session, thought.id, message.channel, length + len(fits.tail)))


def decide_finalize(memory: Memory, message: Finalize, session: str, turn: Turn) -> None:
    run, thought = _own(memory, message.thought, session)
    if not thought.is_open:
        _repeat_end(thought, "final", session, turn)
        return
    for channel, length, sha256 in (
        ("text", message.length, message.sha256),
        ("reasoning", message.reasoning_length, message.reasoning_sha256),
    ):
        buffer = thought.text if channel == "text" else thought.reasoning
        if length > len(buffer):
            turn.effect(Send(session, _gap(thought, channel, len(buffer))))
            return
        if length < len(buffer):
            raise ProtocolViolation(
                "wrong_length",
                f"the hub has {len(buffer)} bytes of {channel}, finalize says {length}",
                field="length" if channel == "text" else "reasoning_length",
            )
        if sha256 != buffer.sha256:
            raise ProtocolViolation(
                "wrong_hash",
                f"the {channel} in the log has another SHA-256 than finalize says",
                field="sha256" if channel == "text" else "reasoning_sha256",
            )
    if by := _superseded_by(run, thought):
        # Its end and the word to stop have crossed; what it says is out of date, and a person waits for the next.
        abandon(run, thought, "superseded", f"superseded by {by}", turn)
        return
    turn.finalize_thought(
        run,
        thought.id,
        length=message.length,
        sha256=message.sha256,
        reasoning_length=message.reasoning_length,
        reasoning_sha256=message.reasoning_sha256,
        finish_reason=message.finish_reason,
        model=message.model,
        truncated=message.truncated,
        usage=message.usage,
        confidence=_confidence(run, thought),
        first_token_s=message.first_token_s,
        seconds=message.seconds,
        verdict=_verdict(run, thought),
    )


def _superseded_by(run: Run, thought: Thought) -> str | None:
    """Who wants something else by now. A thought that a pause had stopped already hears no second word to stop."""
    if thought.cancelling and thought.cancelling.reason == "superseded":
        return thought.cancelling.by
    reopened = run.stages[thought.started.stage].reopened
    return reopened.by if reopened is not None and thought.started.seq < reopened.seq else None


def _verdict(run: Run, thought: Thought) -> Verdict | None:
    return read_review(str(thought.text)) if run.stages[thought.started.stage].spec.reviews else None


def _confidence(run: Run, thought: Thought) -> float:
    text = thought.text.data[:80_000].decode(errors="ignore")
    started = run.synthesis_started
    if thought.started.stage == SYNTHESIS and isinstance(started, SynthesisStarted):
        heard = [run.thoughts[name] for name in started.inputs if name in run.thoughts]
        inputs = [thought.final.confidence for thought in heard if thought.final]
        return helix.synthesis_confidence(inputs, len(started.missing), text)
    card = run.cards[thought.started.agent]
    return helix.confidence(card.role, thought.started.checkpoint, text)


def decide_abandon(memory: Memory, message: Abandon, session: str, turn: Turn) -> None:
    run, thought = _own(memory, message.thought, session)
    if not thought.is_open:
        _repeat_end(thought, "abandoned", session, turn)
        return
    if message.length > len(thought.text):
        turn.effect(Send(session, _gap(thought, "text", len(thought.text))))
        return
    reason = message.reason
    if reason in NOT_A_FAILURE and not thought.cancelling:
        reason = "agent_error"  # Nobody asked for it: to try again at once, for ever, would be wrong.
    abandon(run, thought, reason, message.error, turn, lasting=message.lasting)


def _repeat_end(thought: Thought, wanted: str, session: str, turn: Turn) -> None:
    if thought.state != wanted:
        raise ProtocolViolation("closed", f"thought '{thought.id}' has ended ({thought.state})", field="thought")
    turn.effect(TellEnded(session, ended_as(thought)))


def abandon(run: Run, thought: Thought, reason: Reason, error: str, turn: Turn, *, lasting: bool = False) -> None:
    if thought.cancelling:
        reason, lasting = thought.cancelling.reason, False  # Why it was stopped is the hub's to say.
    turn.abandon_thought(
        run,
        thought.id,
        length=len(thought.text),
        reason=reason,
        error=error[:4_000],
        retry_s=None if lasting else _retry_s(run, thought, reason),
    )


def _retry_s(run: Run, thought: Thought, reason: Reason) -> float | None:
    """The back-off before the next attempt, doubled with each failure; None when there is none."""
    if reason in NOT_A_FAILURE:
        return 0.0
    stage = run.stages[thought.started.stage]
    if reason not in RETRYABLE or stage.spec.on_failure != "retry" or stage.failures >= stage.spec.retries_max:
        return None
    if reason == "agent_lost":
        return 0.0
    return stage.spec.retry_s * float(2**stage.failures)


def _gap(thought: Thought, channel: Any, length: int) -> Reject:
    return Reject(
        code="gap",
        sentence=f"the hub has {length} bytes: go on from there",
        thought=thought.id,
        channel=channel,
        length=length,
    )


def ended_as(thought: Thought) -> Ended:
    if thought.final:
        return Ended(thought=thought.id, outcome="finalized")
    return Ended(thought=thought.id, outcome="abandoned", reason=thought.abandon_reason)
