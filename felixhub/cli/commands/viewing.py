"""The commands that show runs as they go on, or went on: watch, top, web, replay.

Owns: names, options and help texts. Must not: do the work, or import what does it before a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from felixhub.cli.helping import Commands
from felixhub.cli.options import Hub, one_of

app = Commands()


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
    compact: Annotated[
        bool, typer.Option("--compact", help="One line for each finished thought: for a hundred agents.")
    ] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Plain ASCII.")] = False,
) -> None:
    """Watch the thoughts of a run as they come. Closing it never stops the run.

    \b
    felixhub watch
    felixhub watch critic --run all
    felixhub watch --compact --since 10m
    felixhub watch -o json --tail all --until-done
    """
    from felixhub.cli import watching
    from felixhub.views.console import ConsoleOptions

    mode = one_of("--output", output, ("text", "json", "raw", "partial"))
    if compact and mode != "text":
        raise typer.BadParameter(f"--compact is for text, not for -o {mode}")
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
        compact=compact,
    )
    raise typer.Exit(watching.watch(options, hub=hub, run=run, until_done=until_done))


@app.command()
def top(
    run: Annotated[str, typer.Argument(help="A run's id; `latest` for the newest.", metavar="RUN")] = "latest",
    hub: Hub = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Plain ASCII.")] = False,
) -> None:
    """Watch and steer a run in a terminal grid. Closing it never stops the run.

    \b
    felixhub top
    felixhub top RUN
    felixhub top --hub felixhub-gpu-box.json

    Press ? for the keys.
    """
    from felixhub.cli.top import top

    raise typer.Exit(top(run, hub=hub, ascii_only=ascii_only))


@app.command()
def web(
    hub: Hub = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.", metavar="HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes any free one.", min=0, max=65535, metavar="PORT")] = 7780,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="Ask everybody for the token in this file (mode 0600).", metavar="FILE"),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin", help="A front end of your own that may call this; may be repeated.", metavar="URL"
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A name that this page is called by; may be repeated.", metavar="NAME"),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Serve the page, and the JSON and SSE interface behind it. Closing it never stops a run.

    \b
    felixhub web
    felixhub web --port 0 --no-open
    felixhub web --host 0.0.0.0 --token-file web-token --allow-host lab.example
    """
    from felixhub.cli.web import web

    raise typer.Exit(
        web(
            hub=hub,
            host=host,
            port=port,
            token_file=token_file,
            allow_origins=tuple(allow_origin or ()),
            allow_hosts=tuple(allow_host or ()),
            open_page=open_page,
            with_parent=with_parent,
        )
    )


@app.command()
def replay(
    what: Annotated[
        str,
        typer.Argument(help="A file that `export --format jsonl` wrote; or a run's id, or latest.", metavar="FILE|RUN"),
    ],
    speed: Annotated[
        str, typer.Option("--speed", help="1 is as it was, 10 ten times as fast; max does not wait.", metavar="X|max")
    ] = "1",
    view: Annotated[str, typer.Option("--view", help="console, json, tui, web or none.", metavar="VIEW")] = "console",
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Where others find it (their --hub); by default a new folder.", metavar="DIR"),
    ] = None,
    stay: Annotated[
        bool | None,
        typer.Option(
            "--stay/--no-stay", help="Serve it on after its end; --view none does. It begins with the first viewer."
        ),
    ] = None,
    hub: Hub = None,
) -> None:
    """Play a recorded run into any view, as if it went on now.

    \b
    felixhub export RUN --format jsonl -o run.jsonl
    felixhub replay run.jsonl
    felixhub replay run.jsonl --speed 10 --view tui
    felixhub replay latest --speed max --view json
    felixhub replay run.jsonl --view none --data /tmp/show     for `felixhub watch --hub /tmp/show`

    It is served as a hub that can be watched, not steered, and begins when the first viewer has come. Ctrl-C ends it.
    """
    from felixhub.cli.replaying import Played, replay, speed_of

    view = one_of("--view", view, ("console", "json", "tui", "web", "none"))
    raise typer.Exit(replay(Played(what, speed=speed_of(speed), view=view, data=data, stay=stay, hub=hub)))
