"""The command line. Every command imports what it needs when it runs, so that `--help` answers at once.

Owns: names, options, help texts, and how an error looks and exits. Must not: do the work (`up`, `runs`, `processes`).
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import Abort, Exit, TyperException

from felixhub.cli.keys import app as keys_app
from felixhub.cli.options import Data, Json, Listen, Plain
from felixhub.cli.workflows import app as workflows_app

EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_NO_HUB = 3
EXIT_INTERRUPTED = 130
TASK_BYTES_MAX = 4_000_000

EXAMPLES = """\b
Examples:
  felixhub up "What should we do about night noise?" --file report.md
  felixhub up --serve                  stay up and wait for runs
  felixhub run "Compare the options"   start a run on that hub and watch it
  felixhub watch                       watch from another terminal
  felixhub cancel RUN critic           stop one agent, the others go on
  felixhub steer RUN critic --wrong "it repeats itself"
  felixhub approve RUN --all           after --review: the document is good
"""

app = typer.Typer(
    help=EXAMPLES + "\nA live bus for teams of LLM agents: watch all of them think at once, lose nothing.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for part, name in ((workflows_app, "workflows"), (keys_app, "keys")):
    app.add_typer(part, name=name, no_args_is_help=False, invoke_without_command=True, callback=help_without_command)

Hub = Annotated[
    str | None,
    typer.Option("--hub", help="The hub: its data directory, a connection file, or tcp://host:port.", metavar="WHERE"),
]
Workflow = Annotated[str, typer.Option("--workflow", help="A workflow's name, or a TOML file.", metavar="NAME")]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file", help="A document to think about: text, Markdown, HTML or PDF; may be repeated.", metavar="FILE"
    ),
]
Llm = Annotated[
    str | None,
    typer.Option("--llm", help="The model's server: a name from config/llm.toml, or a URL.", metavar="NAME|URL"),
]
Model = Annotated[
    str | None, typer.Option("--model", help="The model; by default the first the server offers.", metavar="NAME")
]
Task = typer.Argument(help="The task; '-' reads it from standard input.", metavar="TASK")
Out = Annotated[Path | None, typer.Option("--out", help="Also write the result to this file.", metavar="FILE")]
Run = Annotated[str, typer.Argument(help="The run's id; `latest` for the newest.", metavar="RUN")]
Review = Annotated[bool, typer.Option("--review", help="Each section waits for your approval.")]
Budget = Annotated[
    int | None,
    typer.Option("--budget-tokens", help="End the run politely when it has spent so many.", min=1, metavar="N"),
]
With = Annotated[
    list[str] | None,
    typer.Option("--with", help="An optional stage of the workflow to include; may be repeated.", metavar="STAGE"),
]
After = Annotated[str | None, typer.Option("--after", help="Go on from the result of this earlier run.", metavar="RUN")]
Section = Annotated[
    str, typer.Argument(help="A section: its name, its title, or the agent that writes it.", metavar="SECTION")
]
Wrong = Annotated[str | None, typer.Option("--wrong", help="What is wrong with the text.", metavar="TEXT")]
Instead = Annotated[str | None, typer.Option("--instead", help="What you want instead.", metavar="TEXT")]
Constraints = Annotated[
    str | None, typer.Option("--constraints", help="What must hold whatever changes.", metavar="TEXT")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", hidden=True)]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    debug: Debug = False,
) -> None:
    if version:
        from felixhub.version import __version__

        typer.echo(f"felixhub {__version__}")
        raise typer.Exit
    if debug:
        os.environ["FELIXHUB_DEBUG"] = "1"
    help_without_command(context)


@app.command()
def up(
    task: Annotated[
        str | None, typer.Argument(help="The task; none: stay up and wait for runs. '-' reads it.", metavar="TASK")
    ] = None,
    workflow: Workflow = "helix",
    file: Files = None,
    llm: Llm = None,
    model: Model = None,
    view: Annotated[str, typer.Option("--view", help="console, json or none.", metavar="VIEW")] = "console",
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
    from felixhub.cli.starting import Wishes
    from felixhub.cli.up import Up, up

    raise typer.Exit(
        up(
            Up(
                task=_task(task),
                workflow=workflow,
                files=tuple(file or ()),
                llm=llm,
                model=model,
                view=_one_of("--view", view, ("console", "json", "none")),
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
    from felixhub.cli.starting import Wishes

    raise typer.Exit(
        start_and_watch(
            task=_task(task) or "",
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
def ps(hub: Hub = None, json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the runs of a hub, newest last.

    \b
    felixhub ps
    felixhub ps --json
    """
    from felixhub.cli.runs import list_runs

    list_runs(hub=hub, as_json=json)


@app.command()
def watch(
    agents: Annotated[list[str] | None, typer.Argument(help="Only these agents.", metavar="AGENT")] = None,
    hub: Hub = None,
    run: Annotated[str, typer.Option("--run", help="A run's id, latest or all.", metavar="RUN")] = "latest",
    output: Annotated[str, typer.Option("-o", "--output", help="text, json, raw or partial.", metavar="FORM")] = "text",
    include: Annotated[
        list[str] | None, typer.Option("-i", "--include", help="Only lines that match.", metavar="REGEX")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("-e", "--exclude", help="No lines that match.", metavar="REGEX")
    ] = None,
    highlight: Annotated[
        list[str] | None, typer.Option("-H", "--highlight", help="Mark what matches.", metavar="REGEX")
    ] = None,
    exclude_agent: Annotated[
        list[str] | None, typer.Option("--exclude-agent", help="Not this agent.", metavar="AGENT")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only what is younger: 30s, 10m, 2h.", metavar="AGE")
    ] = None,
    tail: Annotated[str | None, typer.Option("--tail", help="Lines of history first, or all.", metavar="N|all")] = None,
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Print what there is and end.")] = False,
    until_done: Annotated[bool, typer.Option("--until-done", help="End with the run.")] = False,
    elapsed: Annotated[bool, typer.Option("-t", "--elapsed", help="Time since the run's start.")] = False,
    reasoning: Annotated[bool, typer.Option("--reasoning", help="Show reasoning too.")] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Plain ASCII.")] = False,
) -> None:
    """Watch the thoughts of a run as they come. Closing it never stops the run.

    \b
    felixhub watch
    felixhub watch critic --run all
    felixhub watch -o json --tail all --until-done
    """
    from felixhub.cli import watching
    from felixhub.views.console import ConsoleOptions

    mode = _one_of("--output", output, ("text", "json", "raw", "partial"))
    options = ConsoleOptions(
        mode=mode,  # type: ignore[arg-type]
        agents=tuple(agents or ()),
        exclude_agents=tuple(exclude_agent or ()),
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        highlight=tuple(highlight or ()),
        since_s=None if since is None else watching.seconds(since),
        tail=None if tail is None else watching.lines(tail),
        follow=not no_follow,
        elapsed=elapsed,
        reasoning=reasoning,
        ascii_only=ascii_only,
    )
    raise typer.Exit(watching.watch(options, hub=hub, run=run, until_done=until_done))


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
def steer(
    run: Run,
    agent: Annotated[str, typer.Argument(help="An agent; or a section or thought.", metavar="AGENT|SECTION|THOUGHT")],
    wrong: Wrong = None,
    instead: Instead = None,
    constraints: Constraints = None,
    hub: Hub = None,
) -> None:
    """Say what is wrong, or what instead: a text is revised.

    At once, also while it streams; the others go on.

    \b
    felixhub steer RUN critic --wrong "it repeats the memo"
    felixhub steer RUN risks --instead "name who bears each risk" --constraints "at most 150 words"
    """
    if wrong is None and instead is None:
        raise typer.BadParameter("say what is wrong (--wrong TEXT) or what you want instead (--instead TEXT)")
    from felixhub.cli.steering import Words, steer

    steer(run, agent, Words(wrong, instead, constraints), hub=hub)


@app.command()
def regenerate(
    run: Run,
    what: Annotated[str, typer.Argument(help="A section or an agent.", metavar="SECTION|AGENT")],
    wrong: Wrong = None,
    instead: Instead = None,
    constraints: Constraints = None,
    hub: Hub = None,
) -> None:
    """Write a text anew, fresh or with feedback.

    Without feedback from the original request, with feedback as a revision of what there is.

    \b
    felixhub regenerate RUN risks
    felixhub regenerate RUN risks --wrong "too long" --constraints "at most 150 words"
    """
    if constraints is not None and wrong is None and instead is None:
        raise typer.BadParameter("--constraints goes with --wrong TEXT or --instead TEXT")
    from felixhub.cli.steering import Words, regenerate

    regenerate(run, what, Words(wrong, instead, constraints), hub=hub)


@app.command()
def sections(
    run: Run,
    section: Annotated[
        str | None, typer.Argument(help="Print the text of this one: its name, title, or its agent.", metavar="SECTION")
    ] = None,
    hub: Hub = None,
    json: Json = False,
) -> None:
    """List the sections of a run: versions, approvals; or read one.

    \b
    felixhub sections RUN
    felixhub sections RUN risks
    felixhub sections latest --json
    """
    from felixhub.cli.steering import list_sections, print_section

    if section is not None:
        print_section(run, section, hub=hub)
    else:
        list_sections(run, hub=hub, as_json=json)


@app.command()
def approve(
    run: Run,
    section: Annotated[
        str | None, typer.Argument(help="A section: its name, title, or the agent that writes it.", metavar="SECTION")
    ] = None,
    all_sections: Annotated[bool, typer.Option("--all", help="Every section that can be.")] = False,
    version: Annotated[
        int | None,
        typer.Option("--version", help="Only if this is still its latest version.", min=1, metavar="N"),
    ] = None,
    hub: Hub = None,
) -> None:
    """Approve a section, or all, in a run with --review.

    A truncated section cannot be approved.

    \b
    felixhub approve RUN risks
    felixhub approve RUN --all

    Exit code 1 when something could not be approved.
    """
    if (section is None) == (not all_sections):
        raise typer.BadParameter("name one section, or --all for every section that can be approved")
    if version is not None and all_sections:
        raise typer.BadParameter("--version goes with one section")
    from felixhub.cli.steering import approve

    raise typer.Exit(approve(run, section, version=version, hub=hub))


@app.command()
def reopen(run: Run, section: Section, hub: Hub = None) -> None:
    """Withdraw the approval of a section.

    \b
    felixhub reopen RUN risks
    """
    from felixhub.cli.steering import reopen

    reopen(run, section, hub=hub)


@app.command()
def edit(
    run: Run,
    section: Section,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="The new text; '-' reads it. Without: your $EDITOR opens.", metavar="FILE|-"),
    ] = None,
    hub: Hub = None,
) -> None:
    """Write a version of a section yourself. Refused when somebody made another one meanwhile.

    \b
    felixhub edit RUN risks
    felixhub edit RUN risks --file risks.md
    """
    from felixhub.cli.steering import edit

    edit(run, section, file, hub=hub)


@app.command()
def diff(
    run: Run,
    section: Section,
    versions: Annotated[
        list[int] | None,
        typer.Argument(help="Two versions; by default the last two. One: that one and the latest.", metavar="[A [B]]"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A file instead of standard output.", metavar="FILE")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Both texts and the difference as JSON.")] = False,
    hub: Hub = None,
) -> None:
    """Show what has changed between two versions of a section.

    \b
    felixhub diff RUN risks
    felixhub diff RUN risks 1 3
    """
    if len(versions or ()) > 2:
        raise typer.BadParameter("at most two versions can be compared")
    from felixhub.cli.versions import diff

    diff(run, section, tuple(versions or ()), output, hub=hub, as_json=json)


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
def export(
    run: Run,
    format: Annotated[str, typer.Option("--format", help="md, html, pdf or jsonl.", metavar="FORMAT")] = "md",
    appendix: Annotated[
        bool, typer.Option("--appendix", help="Also agents, models, tokens and versions, at the end.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="A file, or a folder for one named after the task; '-' prints it.", metavar="FILE|-"
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

    kind = _one_of("--format", format, ("md", "html", "pdf", "jsonl"))
    if appendix and kind == "jsonl":
        raise typer.BadParameter("the events have no appendix: leave --appendix out")
    if output is not None and output.endswith(os.sep) and not Path(output).is_dir():
        raise typer.BadParameter(f"there is no folder {output}: make it first, or name a file", param_hint="-o")
    export_run(run, kind, None if output is None else Path(output), appendix=appendix, hub=hub)


@app.command()
def hub(
    data: Data = None,
    listen: Listen = None,
    plain: Plain = False,
    pause_unfinished: Annotated[
        bool, typer.Option("--pause-unfinished", help="Pause what an earlier life left, instead of going on.")
    ] = False,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Run the hub alone, without agents.

    \b
    felixhub hub
    felixhub hub --listen tcp://0.0.0.0:7800     for those with keys, see `felixhub keys`
    felixhub hub --listen tcp://127.0.0.1:7800 --plain
    """
    from felixhub.cli.processes import run_hub_process

    raise typer.Exit(
        run_hub_process(
            data=data, listen=listen, plain=plain, pause_unfinished=pause_unfinished, with_parent=with_parent
        )
    )


@app.command()
def agent(
    names: Annotated[list[str], typer.Argument(help="The agents this process hosts.", metavar="AGENT")],
    hub: Hub = None,
    llm: Annotated[
        str | None, typer.Option("--llm", help="The server that FELIXHUB_LLM_KEY may be sent to.", metavar="URL")
    ] = None,
    offline_url: Annotated[
        str | None, typer.Option("--offline-url", help="Where `felixhub offline-model` listens.", metavar="URL")
    ] = None,
) -> None:
    """Run one worker process that hosts these agents. Which model they use is said by the run.

    \b
    felixhub agent critic
    felixhub agent research analysis --hub felixhub-gpu-box.json
    """
    from felixhub.cli.processes import run_agent_process

    raise typer.Exit(run_agent_process(tuple(names), hub=hub, llm=llm, offline_url=offline_url))


@app.command("offline-model")
def offline_model(
    port: Annotated[int, typer.Option("--port", help="0 takes any free one.", min=0, max=65535, metavar="PORT")] = 0,
    tokens_per_s: Annotated[
        float, typer.Option("--tokens-per-s", help="How fast it writes.", min=0.1, metavar="RATE")
    ] = 60.0,
    first_token_s: Annotated[
        float, typer.Option("--first-token-s", help="How long it thinks first.", min=0.0, metavar="SECONDS")
    ] = 0.3,
) -> None:
    """Run the offline model alone, at an address of its own.

    \b
    felixhub offline-model --port 9000
    felixhub offline-model --tokens-per-s 500 --first-token-s 0

    An extractive writer behind an OpenAI-compatible server on loopback.
    """
    from felixhub.cli.processes import run_offline_model

    run_offline_model(port=port, tokens_per_s=tokens_per_s, first_token_s=first_token_s)


def _task(text: str | None) -> str | None:
    if text != "-":
        return text
    if sys.stdin.isatty():
        typer.echo("Type the task, then Ctrl-D:", err=True)
    data = sys.stdin.buffer.read(TASK_BYTES_MAX + 1)
    if len(data) > TASK_BYTES_MAX:
        raise typer.BadParameter("that is too much for a task: give what is long with --file", param_hint="TASK")
    try:
        task = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise typer.BadParameter("standard input is not UTF-8 text", param_hint="TASK") from None
    if not task:
        raise typer.BadParameter("the task is empty: standard input held no text", param_hint="TASK")
    return task


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> str:
    if value in choices:
        return value
    import difflib

    near = difflib.get_close_matches(value, choices, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise typer.BadParameter(f"'{value}' is none of {', '.join(choices)}{hint}", param_hint=option)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. Errors are one sentence on standard error."""
    try:
        code = app(args=arguments, prog_name="felixhub", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except Exit as done:
        return int(done.exit_code)
    except TyperException as error:
        typer.echo(f"felixhub: {error.format_message()} (felixhub COMMAND --help lists what there is)", err=True)
        return EXIT_USAGE
    except (KeyboardInterrupt, Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone, which is their right; nothing more may be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            return _failed(error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        typer.echo(f"felixhub: cannot write: {error.strerror}", err=True)
        return EXIT_FAULT
    except Exception as error:  # noqa: BLE001  (the last place that can say it in one sentence)
        return _failed(error)


def _failed(error: Exception) -> int:
    from felixhub.core.errors import FelixError
    from felixhub.eventlog import LogError
    from felixhub.transport.address import NoHub

    if os.environ.get("FELIXHUB_DEBUG"):
        raise error
    if not isinstance(error, FelixError | LogError):
        typer.echo(f"felixhub: this is a fault of ours: {type(error).__name__}: {error} (--debug shows more)", err=True)
        return EXIT_FAULT
    typer.echo(f"felixhub: {error}", err=True)
    return EXIT_NO_HUB if isinstance(error, NoHub) else EXIT_USAGE


def entry() -> None:
    sys.exit(main())
