"""`felixhub completion`: what a shell needs to complete our commands and options, made by Typer.

Owns: the program's name and the variable that asks for completions. Must not: know a command.
"""

from __future__ import annotations

from collections.abc import MutableMapping

from felixhub.core.errors import ConfigError

PROGRAM = "felixhub"
VARIABLE = "_FELIXHUB_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


def completion_script(shell: str) -> str:
    """The script for one of `SHELLS`, to be sourced. Raises ConfigError for any other shell."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    if shell not in SHELLS:
        raise ConfigError(f"there are completions for {', '.join(SHELLS)}, not for '{shell}'")
    return str(get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell))


def prepare(environ: MutableMapping[str, str]) -> None:
    """Where a shell asks what could come next, have Typer know the shells; it answers then and ends the process."""
    if VARIABLE in environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
