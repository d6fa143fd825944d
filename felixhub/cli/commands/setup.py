"""The commands about this installation: doctor, init, logs, completion.

Owns: names, options and help texts. Must not: do the work, or import what does it before a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from felixhub.cli.helping import Commands
from felixhub.cli.options import Data, Json, Llm, one_of

app = Commands()


@app.command()
def doctor(
    data: Data = None,
    llm: Llm = None,
    quick: Annotated[bool, typer.Option("--quick", help="Ask no model for an answer.")] = False,
    json: Json = False,
) -> None:
    """Check that everything is there, and say what to do about what is not.

    \b
    felixhub doctor
    felixhub doctor --llm ollama
    felixhub doctor --quick --json

    Looks at Python, the data directory, the hub, agents and workflows, each model's server, the terminal, the fonts for
    PDF and the page. A server that must work is asked for some words. Exit codes: 0 all is well, 1 something is wrong.
    """
    from felixhub.cli.doctor import doctor

    raise typer.Exit(doctor(data=data, llm=llm, quick=quick, as_json=json))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to; it is made when it is not there.", metavar="DIR")] = Path(),
) -> None:
    """Copy agents, workflows and configuration out, to edit them. What is there stays as it is.

    \b
    felixhub init
    felixhub init my-team
    """
    from felixhub.cli.initializing import init

    init(folder)


@app.command()
def logs(
    processes: Annotated[
        list[str] | None, typer.Argument(help="Only these: hub, supervisor, an agent's name.", metavar="PROCESS")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    lines: Annotated[
        int, typer.Option("-n", "--lines", help="How many of the last lines first.", min=0, max=10_000, metavar="N")
    ] = 100,
    level: Annotated[
        str, typer.Option("--level", help="The lowest shown: info, warning or error.", metavar="LEVEL")
    ] = "info",
    data: Data = None,
    json: Json = False,
) -> None:
    """Show what hub, supervisor and workers have noted. To anything but a terminal it goes as JSON lines.

    \b
    felixhub logs
    felixhub logs -f hub
    felixhub logs --level warning --lines 20

    The files are in the data directory, under logs/. A worker that `felixhub agent` runs logs to standard error alone.
    """
    from felixhub.cli.log_files import LEVELS, Asked, logs

    one_of("--level", level, LEVELS)
    logs(Asked(processes or (), lines, level, follow, json), data=data)


@app.command()
def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish.", metavar="SHELL")],
) -> None:
    """Print what lets your shell complete commands and options.

    \b
    eval "$(felixhub completion bash)"            in ~/.bashrc
    eval "$(felixhub completion zsh)"             in ~/.zshrc, after compinit
    felixhub completion fish | source             in ~/.config/fish/config.fish
    """
    from felixhub.cli.completing import completion_script

    typer.echo(completion_script(shell))
