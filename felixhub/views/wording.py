"""Events and numbers in words, the same on every screen: a count from a server as it is, an estimate with a `~`.

Owns: the sentences. Must not: know lines, colours or who is looking. What comes back is not yet safe to show.
"""

from __future__ import annotations

from felixhub.core.events import (
    RunStarted,
    SynthesisStarted,
    ThoughtAbandoned,
    ThoughtFinalized,
    ThoughtStarted,
    Usage,
)
from felixhub.llm.endpoint import OFFLINE_LABEL, OFFLINE_MODEL

OFFLINE = "offline"  # the endpoint that is always there
RATE_S_MIN = 0.05  # a rate over less time than this says nothing


def span(seconds: float) -> str:
    """0.04 s, 3.5 s, 42 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 0.1:
        return f"{seconds:.2f} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(number: int, noun: str, *, estimated: bool = False) -> str:
    return f"{'~' if estimated else ''}{number:,} {noun}{'' if number == 1 else 's'}"


def names(found: list[str], *, at_most: int = 6) -> str:
    """a, b, c and 4 more"""
    shown = ", ".join(found[:at_most])
    return shown if len(found) <= at_most else f"{shown} and {len(found) - at_most} more"


def model_of(endpoint: str, model: str | None) -> str:
    """The model that thinks, the endpoint where nobody has named one, or a user's own program."""
    if endpoint == OFFLINE or model == OFFLINE_MODEL:
        return OFFLINE_LABEL
    return model or endpoint or "program"


def run_started(event: RunStarted) -> tuple[str, list[str]]:
    """That it started, and how: by which workflow, whom and what."""
    by = f" by {event.by}" if event.by else ""
    after = f", after {event.after}" if event.after else ""
    agents = event.workflow.agents()
    parts = [event.workflow.name, f"{count(len(agents), 'agent')}: {names(agents)}"]
    parts.append(model_of(event.settings.endpoint, event.settings.model))
    if event.documents:
        parts.append(f"{count(len(event.documents), 'document')}: {names([one.name for one in event.documents])}")
    return f"run {event.run} started{by}{after}", parts


def thought_started(event: ThoughtStarted) -> str:
    parts = [f"started   t={event.progress:.2f}", model_of(event.endpoint, event.model)]
    parts.append(f"attempt {event.attempt}")
    if event.stage != event.agent:
        parts.append(f"stage {event.stage}")
    if event.steered_by:
        parts.append(f"steered by {event.steered_by}")
    return "  ".join(parts)


def thought_finalized(event: ThoughtFinalized, *, words: int | None) -> list[str]:
    """`words` is None when not all of its text was seen."""
    usage = event.usage
    tokens = count(usage.completion_tokens, "token", estimated=usage.estimated)
    if usage.reasoning_tokens:
        tokens += f" ({'~' if usage.estimated else ''}{usage.reasoning_tokens:,} reasoning)"
    parts = [tokens]
    if words is not None:
        parts.append(count(words, "word"))
    if event.first_token_s is not None:
        parts.append(f"first token {span(event.first_token_s)}")
        writing_s = event.seconds - event.first_token_s
        if writing_s >= RATE_S_MIN and usage.completion_tokens:
            rate = usage.completion_tokens / writing_s
            parts.append(f"{'~' if usage.estimated else ''}{rate:.{0 if rate >= 10 else 1}f} tok/s")
    parts.extend((span(event.seconds), f"confidence {event.confidence:.2f}"))
    if event.truncated:
        parts.append(f"TRUNCATED ({event.finish_reason})")
    elif event.finish_reason != "stop":
        parts.append(event.finish_reason)
    return parts


def thought_abandoned(event: ThoughtAbandoned, *, words: int | None, by: str) -> list[str]:
    match event.reason:
        case "cancelled":
            first = f"cancelled by {by}" if by else "cancelled"
        case "paused":
            first = f"paused by {by}" if by else "paused"
        case "superseded":
            first = "superseded"
        case reason:
            first = f"abandoned ({reason})" + (f": {event.error}" if event.error else "")
    parts = [first]
    if words and event.length:
        parts.append(f"{count(words, 'word')} kept")
    if event.reason == "paused":
        parts.append("again when the run is resumed")
    elif event.retry_s is not None:
        parts.append(f"again in {span(event.retry_s)}" if event.retry_s else "again at once")
    return parts


def command(name: str, args: dict[str, object], *, by: str, run: str) -> str:
    """Who asked for what."""
    target = args.get("agent") or args.get("thought") or f"run {run}"
    match name:
        case "cancel":
            return f"{by or 'someone'} cancelled {target}"
        case _:
            return f"{by or 'someone'}: {name} {target}"


def synthesis_started(event: SynthesisStarted) -> str:
    sentence = f"synthesis from {count(len(event.inputs), 'thought')}"
    if event.missing:
        sentence += ", without " + names([f"{one.agent} ({one.why})" for one in event.missing])
    return sentence if event.attempt == 1 else f"{sentence}, attempt {event.attempt}"


def run_usage(head: str, usage: Usage, seconds: float) -> list[str]:
    """How long a run took, and what it cost."""
    parts = [f"{head} {span(seconds)}"]
    if usage.completion_tokens:
        parts.append(count(usage.completion_tokens, "token", estimated=usage.estimated))
    if usage.prompt_tokens:
        parts.append(f"{count(usage.prompt_tokens, 'token', estimated=usage.estimated)} of prompts")
    return parts
