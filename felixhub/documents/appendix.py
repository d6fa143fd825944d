"""The appendix of a run's document, as Markdown: who wrote it, with which models and tokens, in which versions.

Owns: its tables and lists. Must not: let a foreign word mean anything: each goes through `escaped`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from felixhub.core.events import RunFinished, Usage
from felixhub.core.material import was_not_wanted
from felixhub.core.run import Run
from felixhub.core.section import Section, Version
from felixhub.core.thought import Thought
from felixhub.documents.tokens import escaped

WORDS_MAX = 1_000  # of one foreign text
ISSUES_MAX = 20  # of one review that are listed


def appendix_of(run: Run) -> str:
    """The request, the agents, the versions of each section, the reviews, and what was missing."""
    started = run.started
    head = f"Started {_when(started.at)}{f' by {_words(started.by)}' if started.by else ''}."
    if started.after:
        head += f" It continues from run {_words(started.after)}."
    blocks = ["## Appendix", f"{head} Times are in UTC; `~` marks an estimate.", "### Task", _words(started.task)]
    blocks += ["### Agents", _agents(run)]
    if any(section.versions for section in run.sections.values()):
        blocks += ["### Versions", _versions(run)]
    if reviews := _reviews(run):
        blocks += ["### Reviews", reviews]
    if missing := _missing(run):
        blocks += ["### What was missing", missing]
    return "\n\n".join(blocks)


def _when(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"


def _words(text: str) -> str:
    return escaped(text if len(text) <= WORDS_MAX else text[: WORDS_MAX - 1] + "…")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> str:
    """The last `numbers` columns are set to the right."""
    marks = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *rows))


# ---- agents ----------------------------------------------------------------------------------------------------------


def _agents(run: Run) -> str:
    thoughts: dict[str, list[Thought]] = {name: [] for name in run.cards}
    for thought in run.thoughts.values():
        thoughts.setdefault(thought.started.agent, []).append(thought)
    rows = [_agent(run, name, mine) for name, mine in thoughts.items()]
    total = _tokens(run.usage())
    rows.append(["**All**", "", "", str(len(run.thoughts)), *total])
    return _table(["Agent", "Role", "Model", "Thoughts", "Tokens read", "Tokens written"], rows, numbers=3)


def _agent(run: Run, name: str, thoughts: list[Thought]) -> list[str]:
    card = run.cards.get(name)
    models = dict.fromkeys(_model(thought) for thought in thoughts)
    role = card.role if card else ""
    return [_words(name), role, ", ".join(models) or "–", str(len(thoughts)), *_tokens(_usage(thoughts))]


def _model(thought: Thought) -> str:
    """The model, and where it runs."""
    endpoint = thought.started.endpoint
    return _words(f"{thought.model} ({endpoint})" if thought.model else endpoint)


def _usage(thoughts: list[Thought]) -> Usage:
    finals = [thought.final.usage for thought in thoughts if thought.final]
    others = [thought.tokens for thought in thoughts if not thought.final]
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in finals),
        completion_tokens=sum(usage.completion_tokens for usage in finals) + sum(others),
        estimated=any(usage.estimated for usage in finals) or any(others),
    )


def _tokens(usage: Usage) -> tuple[str, str]:
    sign = "\\~" if usage.estimated else ""
    return f"{sign}{usage.prompt_tokens:,}", f"{sign}{usage.completion_tokens:,}"


# ---- versions --------------------------------------------------------------------------------------------------------


def _versions(run: Run) -> str:
    rows = [
        [_words(section.title), str(version.number), _words(version.by), _when(version.at), _state(section, version)]
        for section in run.sections.values()
        for version in section.versions
    ]
    return _table(["Section", "Version", "By", "When", "State"], rows)


def _state(section: Section, version: Version) -> str:
    states = []
    if version == section.current:
        states.append("current")
    if version.by_person:
        states.append("written by a person")
    if not version.whole:
        states.append("truncated")
    if section.approved == version.number:
        states.append(f"approved by {_words(section.approved_by)}")
    return ", ".join(states)


# ---- reviews ---------------------------------------------------------------------------------------------------------


def _reviews(run: Run) -> str:
    blocks: list[str] = []
    for thought in run.thoughts.values():
        final = thought.final
        if final is None or final.verdict is None:
            continue
        target = run.stages[thought.started.stage].target
        section = run.sections.get(target)
        verdict = final.verdict
        said = "approved" if verdict.approved else "not approved"
        if verdict.fault:
            said = f"not read: {_words(verdict.fault)}"
        title = _words(section.title if section else target)
        blocks.append(f"- {_words(final.agent)} on {title}, {_when(final.at)}: **{said}**")
        for issue in verdict.issues[:ISSUES_MAX]:
            where = f" (in {_words(issue.where)})" if issue.where else ""
            instead = f" Instead: {_words(issue.instead)}" if issue.instead else ""
            blocks.append(f"  - Issue: {_words(issue.what)}{where}{instead}")
        if len(verdict.issues) > ISSUES_MAX:
            blocks.append(f"  - and {len(verdict.issues) - ISSUES_MAX} more")
    return "\n".join(blocks)


# ---- what was missing ------------------------------------------------------------------------------------------------


def _missing(run: Run) -> str:
    lines = []
    if run.synthesis_started is not None:
        lines += [f"- Agent {_words(one.agent)}: {_words(one.why)}" for one in run.synthesis_started.missing]
    for stage in run.stages.values():
        if stage.outcome in ("abandoned", "skipped") and not was_not_wanted(stage):
            lines.append(f"- Stage {stage.spec.name}: {stage.outcome}{f', {_words(stage.why)}' if stage.why else ''}")
    for thought in run.thoughts.values():
        if thought.final is not None and thought.final.truncated:
            lines.append(f"- The text of {_words(thought.started.agent)} in {thought.started.stage} is truncated.")
    if isinstance(run.ended, RunFinished):
        lines += [f"- Degraded: {_words(reason)}" for reason in run.ended.degraded]
    return "\n".join(dict.fromkeys(lines))
