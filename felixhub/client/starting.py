"""From what a user said to the `start` command: workflow, cards, documents, endpoint.

Owns: finding and reading these files, and refusing what cannot work before anything starts. Must not: talk to a hub.
The command line, the page and a program of the user's own all start runs through here.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from felixhub.core.errors import ConfigError
from felixhub.core.messages import Start
from felixhub.core.names import NAME_PATTERN
from felixhub.core.workflow import EndpointLimit, RunSettings, Workflow
from felixhub.documents.reader import read_documents
from felixhub.settings.cards import load_cards
from felixhub.settings.mistakes import did_you_mean
from felixhub.settings.settings import Settings
from felixhub.settings.workflows import check_workflow, load_workflow

TASK_CHARACTERS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a run is to be carried through. `after` is an earlier run, or `latest`; `include` names optional stages."""

    review: bool = False
    budget_tokens: int | None = None
    after: str | None = None
    include: tuple[str, ...] = ()


def build_start(
    settings: Settings,
    *,
    task: str,
    workflow: str,
    files: Sequence[Path],
    endpoint: str,
    wishes: Wishes | None = None,
    by: str = "command line",
) -> Start:
    """The `start` command. Raises ConfigError with file and line."""
    wishes = wishes or Wishes()
    _check_task(task)
    if wishes.after is not None and not re.fullmatch(NAME_PATTERN, wishes.after):
        raise ConfigError(f"--after {wishes.after[:80]!r}: this is no run's id, `felixhub ps` lists them")
    named = load_workflow(workflow, settings.workflows_dirs).agents()
    cards = load_cards(settings.agents_dirs, settings.endpoints, needed=named)
    made = check_workflow(workflow, settings.workflows_dirs, cards)
    _check_include(made, wishes.include)
    needed = [cards[name] for name in made.agents()]
    entries = [item.endpoint for items in made.lists.values() for item in items]
    limits = {
        name: EndpointLimit(max_concurrent=settings.endpoints[name].max_concurrent)
        for name in {endpoint, *(card.endpoint for card in needed), *entries}
        if name in settings.endpoints
    }
    return Start(
        id=f"{made.name[:40]}-{secrets.token_hex(3)}",
        by=by,
        task=task,
        workflow=made,
        agents=tuple(needed),
        settings=RunSettings(
            endpoint=endpoint,
            model=settings.model,
            endpoints=limits,
            batch_interval_s=settings.batch_interval_s,
            streaming=settings.streaming,
            review=wishes.review,
            budget_tokens=wishes.budget_tokens,
            include=tuple(dict.fromkeys(wishes.include)),
        ),
        documents=tuple(read_documents(files)),
        after=wishes.after,
    )


def _check_task(task: str) -> None:
    if not task.strip():
        raise ConfigError('the task is empty: say what to think about, for example "Compare the options"')
    if len(task) > TASK_CHARACTERS_MAX:
        raise ConfigError(
            f"the task has {len(task):,} characters, a run takes {TASK_CHARACTERS_MAX:,}: give what is long with --file"
        )


def _check_include(workflow: Workflow, include: Sequence[str]) -> None:
    """Refuse what is no optional stage of this workflow."""
    optional = [stage.name for stage in workflow.stages if stage.optional]
    for name in include:
        if name in optional:
            continue
        if name in [stage.name for stage in workflow.stages]:
            raise ConfigError(f"--with {name}: that stage of workflow '{workflow.name}' is not optional, leave it out")
        there_is = f"optional: {', '.join(optional)}" if optional else "it has none"
        raise ConfigError(
            f"--with {name[:80]!r}: workflow '{workflow.name}' has no optional stage of that name"
            f"{did_you_mean(name, optional)} ({there_is})"
        )


def choose_endpoint(settings: Settings, environ: Mapping[str, str]) -> tuple[str, str]:
    """The endpoint's name or URL, and a sentence for the user when it was found rather than named."""
    if settings.llm:
        settings.endpoint(settings.llm)  # Refused here when there is none of that name.
        return settings.llm, ""
    from felixhub.llm.endpoint import discover

    found, sentence = discover(environ, settings.endpoints)
    return found.name, sentence
