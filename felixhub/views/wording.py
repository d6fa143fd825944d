"""Events and numbers in words, the same on every screen: a count from a server as it is, an estimate with a `~`.

Owns: the sentences. Must not: know lines, colours or who is looking. What comes back is not yet safe to show.
"""

from __future__ import annotations

from collections.abc import Sequence

from felixhub.core.events import (
    Feedback,
    Passage,
    RunBudgetSpent,
    RunStarted,
    StageReopened,
    SynthesisStarted,
    ThoughtAbandoned,
    ThoughtFinalized,
    ThoughtStarted,
    Usage,
)
from felixhub.core.overview import is_asked_for
from felixhub.core.review import Issue, Verdict
from felixhub.core.run import Run
from felixhub.llm.endpoint import OFFLINE_LABEL, OFFLINE_MODEL

OFFLINE = "offline"  # the endpoint that is always there
RATE_S_MIN = 0.05  # a rate over less time than this says nothing
ISSUES_SHOWN_MAX = 3
PASSAGES_SHOWN_MAX = 4
QUOTE_CHARACTERS_MAX = 160  # of what a person or a model said, in a line about it


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


def quote(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= QUOTE_CHARACTERS_MAX else line[: QUOTE_CHARACTERS_MAX - 1].rstrip() + "…"


def words_of(text: str) -> str:
    return count(len(text.split()), "word")


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
    if event.settings.include:
        parts.append(f"with {names(list(event.settings.include))}")
    if event.settings.review:
        parts.append("with review")
    if event.settings.budget_tokens:
        parts.append(f"at most {count(event.settings.budget_tokens, 'token')}")
    if event.documents:
        parts.append(f"{count(len(event.documents), 'document')}: {names([one.name for one in event.documents])}")
    return f"run {event.run} started{by}{after}", parts


def thought_started(event: ThoughtStarted, *, steered_by: str = "", on_helix: bool = True) -> str:
    """`steered_by` is who gave the command that the event names; its id where that is not known."""
    parts = ["started"]
    if on_helix:
        parts.append(f" t={event.progress:.2f}")
    parts += [model_of(event.endpoint, event.model), f"attempt {event.attempt}"]
    if event.round > 1:
        parts.append(f"round {event.round}")
    if event.stage != event.agent:
        parts.append(f"stage {event.stage}")
    if event.revises:
        parts.append(f"revises {event.revises}")
    if event.steered_by:
        parts.append(f"steered by {steered_by or event.steered_by}")
    return "  ".join(parts)


def passages(found: Sequence[Passage]) -> list[str]:
    """How many passages of the documents a thought was given, and the first of them by file and place."""
    places = [f"{one.document}, {one.place}" if one.place else one.document for one in found]
    more = len(places) - PASSAGES_SHOWN_MAX
    parts = [f"with {count(len(places), 'passage')}: {places[0]}", *places[1:PASSAGES_SHOWN_MAX]]
    return [*parts, f"{more} more"] if more > 0 else parts


def verdict(found: Verdict) -> list[str]:
    """What a review says, with its first issues."""
    if found.fault:
        return [f"the review cannot be read: {quote(found.fault)}"]
    head = "review: approved" if found.approved else "review: not approved"
    if not found.issues:
        return [head]
    more = len(found.issues) - ISSUES_SHOWN_MAX
    shown = [_issue(one) for one in found.issues[:ISSUES_SHOWN_MAX]]
    return [f"{head}, {count(len(found.issues), 'issue')}", *shown, *([f"{more} more"] if more > 0 else [])]


def _issue(issue: Issue) -> str:
    return f"{quote(issue.what)} ({quote(issue.where)})" if issue.where else quote(issue.what)


def feedback(found: Feedback) -> list[str]:
    """What a person wants otherwise, each in a part of its own."""
    said = {"wrong": found.wrong, "instead": found.instead, "constraints": found.constraints}
    return [f"{name}: {quote(text)}" for name, text in said.items() if text.strip()]


def stage_reopened(event: StageReopened, *, what: str) -> list[str]:
    """Why a stage thinks again; `what` it writes."""
    said = feedback(event.feedback) if event.feedback else []
    match event.reason:
        case "steered":
            return [f"{what} is steered by {event.by}", *said]
        case "regenerated":
            how = "" if said else " from the original request"
            return [f"{what} is regenerated by {event.by}{how}", *said]
        case "changed":
            return [f"{what} is done again: a text that it was made from has changed"]


def budget_spent(event: RunBudgetSpent) -> str:
    spent, budget = f"{event.tokens:,}", count(event.budget_tokens, "token")
    return f"the budget is spent: {spent} of {budget}; nothing more is begun"


def approved(number: int, of: int) -> str:
    return f"{number} of {of} approved"


def progress(run: Run) -> str:
    """How many of the document's sections are approved; without review, how many are written."""
    counted = [section for section in run.sections.values() if is_asked_for(run, section)]
    if not run.started.settings.review:
        of = len(counted) or len(run.sections)  # A run that ended before its sections began has skipped them all.
        return f"{sum(bool(one.current and one.current.whole) for one in counted)} of {of} written"
    return approved(sum(section.is_approved for section in counted), len(counted))


def thought_finalized(event: ThoughtFinalized, *, words: int | None, names_model: bool) -> list[str]:
    """`words` is None when not all of its text was seen. `names_model`: nobody has named the model before."""
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
    if names_model and event.model and event.model != OFFLINE_MODEL:
        parts.append(event.model)
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
    section = f"section {args['section']}" if args.get("section") else None
    target = args.get("agent") or args.get("thought") or section or f"run {run}"
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
