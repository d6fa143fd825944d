"""`felixhub workflows`: which workflows there are, whether one is sound, and what it looks like.

Owns: how they are listed, checked and shown. Must not: decide what is sound, draw a stage, or talk to a hub.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from felixhub.cli.helping import Commands
from felixhub.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from felixhub.core.workflow import Card
    from felixhub.settings.settings import Settings

EXIT_UNSOUND = 2
WIDTH_MAX = 100
WIDTH_ELSEWHERE = 80  # when nobody's terminal says how wide it is

app = Commands(
    help="""The workflows: list them, check one, draw one.

\b
felixhub workflows list
felixhub workflows check my-team.toml
felixhub workflows show pipeline
""",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command("list")
def list_all(json: Json = False) -> None:
    """List the workflows that `--workflow` knows by name.

    \b
    felixhub workflows list
    felixhub workflows list --json
    """
    from felixhub.core.errors import ConfigError
    from felixhub.settings.workflows import list_workflows, load_workflow

    rows: list[dict[str, Any]] = []
    for name, path in list_workflows(_settings().workflows_dirs).items():
        try:
            workflow = load_workflow(path, [])
            about, agents, fault = workflow.about, workflow.agents(), None
        except ConfigError as error:
            about, agents, fault = "", [], str(error).partition("\n")[0]
        rows.append({"name": name, "about": about, "file": str(path), "agents": agents, "fault": fault})
    if json:
        _print_json(rows)
    else:
        _print_rows(rows)


@app.command()
def check(
    workflows: Annotated[
        list[str] | None, typer.Argument(help="Names or TOML files; all known ones by default.", metavar="WORKFLOW")
    ] = None,
    json: Json = False,
) -> None:
    """Say every mistake in a workflow, with its file and line.

    \b
    felixhub workflows check
    felixhub workflows check pipeline mine.toml
    felixhub workflows check --json

    Without a name it also says the mistakes of agents that no workflow needs; they stop no run.

    Exit codes: 0 all are sound, 2 one is not, or does not exist.
    """
    from felixhub.settings.workflows import list_workflows

    settings = _settings()
    names = workflows or [str(path) for path in list_workflows(settings.workflows_dirs).values()]
    checked = [_checked(settings, name) for name in names]
    said = {line for one in checked for line in one["mistakes"]}
    others = [] if workflows else [line for line in _mistakes_in_cards(settings) if line not in said]
    if json:
        _print_json({"workflows": checked, "other_mistakes": others})
    else:
        _print_checked(checked, others)
    if not all(one["sound"] for one in checked):
        raise typer.Exit(EXIT_UNSOUND)


def _checked(settings: Settings, name: str) -> dict[str, Any]:
    """Whether this workflow is sound with its agents; `mistakes` has a line for each, with its place."""
    from felixhub.core.errors import ConfigError
    from felixhub.core.expansion import expand
    from felixhub.settings.workflows import check_workflow, find_workflow

    told: dict[str, Any] = {"workflow": name, "file": None, "sound": False, "stages": 0, "agents": 0, "mistakes": []}
    try:
        told["file"] = str(find_workflow(name, settings.workflows_dirs))
        cards = _cards(settings, name)
        plain, agents, _ = expand(check_workflow(name, settings.workflows_dirs, cards), cards.values())
    except ConfigError as error:
        return told | {"mistakes": str(error).split("\n")}
    return told | {"sound": True, "stages": len(plain.all_stages()), "agents": len(agents)}


def _print_checked(checked: Sequence[Mapping[str, Any]], others: Sequence[str]) -> None:
    """A line for each sound one, and every mistake once."""
    said: set[str] = set()
    for one in checked:
        if one["sound"]:
            _say(f"{one['file']}: sound, {_count(one['stages'], 'stage')}, {_count(one['agents'], 'agent')}")
        for line in one["mistakes"]:
            if line not in said:
                _say(line)
        said.update(one["mistakes"])
    for line in others:
        _say(line)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@app.command()
def show(
    workflow: Annotated[str, typer.Argument(help="A workflow's name, or a TOML file.", metavar="WORKFLOW")],
    json: Annotated[
        bool, typer.Option("--json", help="As JSON, as it is and with lists and loops written out.")
    ] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Plain ASCII.")] = False,
) -> None:
    """Draw the stages of a workflow.

    \b
    felixhub workflows show pipeline
    felixhub workflows show mine.toml --json
    """
    from felixhub.core.expansion import expand
    from felixhub.settings.workflows import check_workflow, find_workflow
    from felixhub.views.workflow_drawing import draw

    settings = _settings()
    cards = _cards(settings, workflow)
    found = check_workflow(workflow, settings.workflows_dirs, cards)
    if json:
        plain, agents, _ = expand(found, cards.values())
        _print_json(
            {
                "name": found.name,
                "about": found.about,
                "file": str(find_workflow(workflow, settings.workflows_dirs)),
                "workflow": found.model_dump(mode="json"),
                "written_out": plain.model_dump(mode="json"),
                "agents": [agent.model_dump(mode="json") for agent in agents],
            }
        )
        return
    width = min(WIDTH_MAX, shutil.get_terminal_size((WIDTH_ELSEWHERE, 24)).columns)
    encoding = sys.stdout.encoding or "ascii"
    drawing = draw(found, cards.values(), width=width, ascii_only=ascii_only or not encoding.lower().startswith("utf"))
    sys.stdout.write(drawing)


def _settings() -> Settings:
    import os

    from felixhub.settings.settings import load_settings

    return load_settings({}, dict(os.environ), Path.cwd())


def _cards(settings: Settings, workflow: str) -> Mapping[str, Card]:
    """The agents, of which those that the workflow needs must be free of mistakes."""
    from felixhub.settings.cards import load_cards
    from felixhub.settings.workflows import load_workflow

    needed = load_workflow(workflow, settings.workflows_dirs).agents()
    return load_cards(settings.agents_dirs, settings.endpoints, needed=needed)


def _mistakes_in_cards(settings: Settings) -> list[str]:
    from felixhub.core.errors import ConfigError
    from felixhub.settings.cards import load_cards

    try:
        load_cards(settings.agents_dirs, settings.endpoints)
    except ConfigError as error:
        return str(error).split("\n")
    return []


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    from felixhub.views.safe_text import safe_line

    columns = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        about = safe_line(f"not sound: {row['fault']}" if row["fault"] else row["about"])
        _say(f"{row['name']:<{columns}}  {about}".rstrip())
        _say(f"{'':<{columns}}  {row['file']}")


def _print_json(value: Any) -> None:
    from felixhub.cli.printing import print_json

    print_json(value)


def _say(line: str) -> None:
    from felixhub.views.safe_text import safe_line

    typer.echo(safe_line(line) if "\n" in line or not line.isprintable() else line)
