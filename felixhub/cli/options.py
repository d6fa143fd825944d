"""Options and arguments that commands take, and what may be typed for them.

Owns: their names, helps and bounds. Must not: know what a command does with them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

TASK_BYTES_MAX = 4_000_000

Data = Annotated[Path | None, typer.Option("--data", help="The hub's data directory.", metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
Listen = Annotated[
    str | None,
    typer.Option(
        "--listen", help="Also listen on the network, for those with keys: tcp://HOST:PORT.", metavar="ADDRESS"
    ),
]
Plain = Annotated[bool, typer.Option("--plain", help="With --listen on a loopback address: ask nobody for a key.")]
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
Out = Annotated[
    Path | None,
    typer.Option("-o", "--output", "--out", help="Also write the result to this file.", metavar="FILE"),
]
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
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def one_of(option: str, value: str, choices: tuple[str, ...]) -> str:
    if value in choices:
        return value
    import difflib

    near = difflib.get_close_matches(value, choices, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise typer.BadParameter(f"'{value}' is none of {', '.join(choices)}{hint}", param_hint=option)


def task_of(text: str | None) -> str | None:
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
