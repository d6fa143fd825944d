"""How a command's help and its mistakes read: arguments by the words that people type, never by Python's types.

Owns: the Arguments of a help page, and the sentence about a wrong command line. Must not: know any one command.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

MISSING = {"Missing argument 'RUN'.": "name a run (`felixhub ps` lists them), or `latest`"}


class Command(TyperCommand):
    """A command whose help says `show RUN`, where Typer would say `show {RUN}` and `RUN <str>`."""

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return [re.sub(r"^\{(.*)\}", r"\1", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            if param.param_type_name == "argument":
                sections["Arguments"].append((param.metavar or param.name or "", record[1]))
            else:
                sections["Options"].append(record)
        for head, rows in sections.items():
            if rows:
                with formatter.section(head):
                    formatter.write_dl(rows)


class Commands(typer.Typer):
    """A list of commands with such help."""

    def command(self, name: str | None = None, **options: Any) -> Callable[..., Any]:
        return super().command(name, cls=Command, **options)


def usage_error(error: TyperException, *, program: str) -> str:
    """What is wrong with the words that were typed, and which help says what there is."""
    context = getattr(error, "ctx", None)
    typed = context.command_path if context is not None else program
    sentence = error.format_message()
    return f"{MISSING.get(sentence, sentence)} ({typed} --help lists what there is)"
