"""The commands of a run from its start to its end: up, run, ps, show, pause, resume, cancel, export, rm, prune.

Owns: names, options and help texts. Must not: do the work, or import what does it before a command runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from felixhub.cli.helping import Commands
from felixhub.cli.options import (
    After,
    Budget,
    Data,
    Files,
    Hub,
    Json,
    Listen,
    Llm,
    Model,
    Out,
    Plain,
    Review,
    Run,
    Task,
    With,
    Workflow,
    Yes,
    one_of,
    task_of,
)

app = Commands()


@app.command()
def up(
    task: Annotated[
        str | None, typer.Argument(help="The task; none: stay up and wait for runs. '-' reads it.", metavar="TASK")
    ] = None,
    workflow: Workflow = "helix",
    file: Files = None,
    llm: Llm = None,
    model: Model = None,
    view: Annotated[str, typer.Option("--view", help="console, tui, web, json or none.", metavar="VIEW")] = "console",
    data: Data = None,
    out: Out = None,
    serve: Annotated[bool, typer.Option("--serve", help="Stay up after the task, and go on with old runs.")] = False,
    listen: Listen = None,
    plain: Plain = False,
    agents_per_worker: Annotated[
        int | None,
        typer.Option("--agents-per-worker", help="Pack several agents into one process.", min=1, metavar="N"),
    ] = None,
    review: Review = False,
    budget_tokens: Budget = None,
    after: After = None,
    include: With = None,
) -> None:
    """Start hub, agents and a view, and run a task to its result.

    \b
    felixhub up "What should we do about night noise?" --file report.md --out answer.md
    felixhub up "Compare the two plans" --llm ollama --model qwen3:8b
    felixhub up "Write the consent form" --workflow sections --review --budget-tokens 50000
    felixhub up - < task.txt
    felixhub up --serve

    Ctrl-C once stops politely, twice at once. When nobody reads the view any more (`| head`) the run is cancelled, with
    --out or --serve it goes on. Exit codes: 0 ok, 1 failed or cancelled, 2 usage or configuration, 3 no hub, 4 finished
    degraded, 130 interrupted by Ctrl-C; SIGTERM ends a hub that serves with 0.
    """
    from felixhub.cli.up import Up, up
    from felixhub.client.starting import Wishes

    raise typer.Exit(
        up(
            Up(
                task=task_of(task),
                workflow=workflow,
                files=tuple(file or ()),
                llm=llm,
                model=model,
                view=one_of("--view", view, ("console", "tui", "web", "json", "none")),
                data=data,
                out=out,
                serve=serve,
                listen=listen,
                plain=plain,
                agents_per_worker=agents_per_worker,
                wishes=Wishes(review=review, budget_tokens=budget_tokens, after=after, include=tuple(include or ())),
            )
        )
    )


@app.command()
def run(
    task: Annotated[str, Task],
    workflow: Workflow = "helix",
    file: Files = None,
    llm: Llm = None,
    model: Model = None,
    hub: Hub = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the run's id and return.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Events, or with --detach the run, as JSON.")] = False,
    out: Out = None,
    review: Review = False,
    budget_tokens: Budget = None,
    after: After = None,
    include: With = None,
) -> None:
    """Start a run on a hub that is up, and watch it to its end.

    \b
    felixhub run "Compare the two plans" --file plans.md
    felixhub run "Compare the two plans" --detach
    felixhub run "Build the parser" --workflow pipeline --with tests
    felixhub run "Now in one page" --after latest --review
    felixhub run - < task.txt
    """
    from felixhub.cli.runs import start_and_watch
    from felixhub.client.starting import Wishes

    raise typer.Exit(
        start_and_watch(
            task=task_of(task) or "",
            workflow=workflow,
            files=tuple(file or ()),
            llm=llm,
            model=model,
            wishes=Wishes(review=review, budget_tokens=budget_tokens, after=after, include=tuple(include or ())),
            hub=hub,
            detach=detach,
            as_json=json,
            out=out,
        )
    )


@app.command()
def ps(hub: Hub = None, json: Json = False) -> None:
    """List the runs of a hub, newest last.

    \b
    felixhub ps
    felixhub ps --json
    """
    from felixhub.cli.runs import list_runs

    list_runs(hub=hub, as_json=json)


@app.command()
def show(run: Run, hub: Hub = None, json: Json = False) -> None:
    """Show a run at a glance: its stages, sections and figures, and what to do next.

    \b
    felixhub show latest
    felixhub show RUN --json
    """
    from felixhub.cli.showing import show

    show(run, hub=hub, as_json=json)


@app.command()
def pause(run: Run, hub: Hub = None) -> None:
    """Stop what streams until `resume`. The text so far is kept.

    \b
    felixhub pause RUN
    """
    from felixhub.cli.runs import pause

    pause(run, hub=hub)


@app.command()
def resume(run: Run, hub: Hub = None) -> None:
    """Go on with a paused run. Only what is unfinished is done again.

    \b
    felixhub resume RUN
    """
    from felixhub.cli.runs import resume

    resume(run, hub=hub)


@app.command()
def cancel(
    run: Run,
    what: Annotated[
        str | None,
        typer.Argument(help="Only this agent, section or thought; the others go on.", metavar="AGENT|SECTION|THOUGHT"),
    ] = None,
    hub: Hub = None,
) -> None:
    """Cancel a run, or an agent, section or thought of it. The text so far is kept.

    \b
    felixhub cancel RUN
    felixhub cancel RUN critic
    felixhub cancel RUN risks             the document goes without that section
    """
    from felixhub.cli.steering import cancel

    cancel(run, what, hub=hub)


@app.command()
def export(
    run: Run,
    format: Annotated[str, typer.Option("--format", help="md, html, pdf or jsonl.", metavar="FORMAT")] = "md",
    appendix: Annotated[
        bool, typer.Option("--appendix", help="Also agents, models, tokens and versions, at the end.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            "--out",
            help="A file, or a folder for one named after the task; '-' prints it.",
            metavar="FILE|-",
        ),
    ] = None,
    hub: Hub = None,
) -> None:
    """Write a run's document, or its events as JSON lines.

    \b
    felixhub export latest
    felixhub export RUN --format html --appendix -o report.html
    felixhub export RUN --format pdf               named after the task, in this folder
    felixhub export RUN --format jsonl -o run.jsonl
    """
    from felixhub.cli.exporting import export_run

    kind = one_of("--format", format, ("md", "html", "pdf", "jsonl"))
    if appendix and kind == "jsonl":
        raise typer.BadParameter("the events have no appendix: leave --appendix out")
    if output is not None and output.endswith(os.sep) and not Path(output).is_dir():
        raise typer.BadParameter(f"there is no folder {output}: make it first, or name a file", param_hint="-o")
    export_run(run, kind, None if output is None else Path(output), appendix=appendix, hub=hub)


@app.command("rm")
def remove(
    runs: Annotated[list[str], typer.Argument(help="Runs that have ended, by id.", metavar="RUN")],
    yes: Yes = False,
    hub: Hub = None,
) -> None:
    """Remove runs that have ended, for good.

    \b
    felixhub rm RUN
    felixhub rm RUN RUN --yes

    Exit codes: 0 removed, 1 you said no, 2 one of them is unknown or goes on, so none is removed.
    """
    from felixhub.cli.removing import remove

    raise typer.Exit(remove(runs, hub=hub, yes=yes))


@app.command()
def prune(
    older_than: Annotated[
        str | None, typer.Option("--older-than", help="Those that ended longer ago: 12h, 30d.", metavar="AGE")
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", help="Never the newest N that have ended.", min=0, metavar="N")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    yes: Yes = False,
    hub: Hub = None,
) -> None:
    """Remove old runs that have ended, for good.

    \b
    felixhub prune --older-than 30d --dry-run
    felixhub prune --older-than 7d --keep 20
    felixhub prune --keep 50 --yes

    A hub also does so by itself, see `retention_s` and `retention_bytes_max` in `felixhub config show`.
    """
    from felixhub.cli.removing import prune
    from felixhub.cli.watching import seconds

    older_than_s = None if older_than is None else seconds(older_than, option="--older-than")
    raise typer.Exit(prune(hub=hub, older_than_s=older_than_s, keep=keep, dry_run=dry_run, yes=yes))
