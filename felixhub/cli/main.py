"""The command line. Every command imports what it needs when it runs, so that `--help` answers at once.

Owns: names, options, help texts, and how an error looks and exits. Must not: do the work (`up`, `runs`, `processes`).
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer
from typer.exceptions import Abort, Exit, TyperException

from felixhub.cli import completing
from felixhub.cli.commands import COMMANDS, GROUPS
from felixhub.cli.helping import usage_error

EXIT_FAULT = 1
EXIT_USAGE = 2
EXIT_NO_HUB = 3
EXIT_INTERRUPTED = 130

EXAMPLES = """\b
Examples:
  felixhub up "What should we do about night noise?" --file report.md
  felixhub up --serve                  stay up and wait for runs
  felixhub run "Compare the options"   start a run on that hub and watch it
  felixhub watch                       watch from another terminal
  felixhub cancel RUN critic           stop one agent, the others go on
  felixhub steer RUN critic --wrong "it repeats itself"
  felixhub approve RUN --all           after --review: the document is good
  felixhub show latest                 a run at a glance, and what to do next
  felixhub doctor                      is everything there, and what to do if not
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


for part in COMMANDS:
    app.add_typer(part)
for name, part in GROUPS.items():
    app.add_typer(part, name=name, no_args_is_help=False, invoke_without_command=True, callback=help_without_command)

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


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. Errors are one sentence on standard error."""
    completing.prepare(os.environ)
    if sys.stdout is None:  # It was closed (`>&-`); a file that is opened later must not come into its place.
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
    try:
        code = app(args=arguments, prog_name=completing.PROGRAM, standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except Exit as done:
        return int(done.exit_code)
    except TyperException as error:
        typer.echo(f"felixhub: {usage_error(error, program=completing.PROGRAM)}", err=True)
        return EXIT_USAGE
    except (KeyboardInterrupt, Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _unread()
    except SystemExit as leaving:
        if not isinstance(leaving.__context__, BrokenPipeError):  # What Typer makes of one is exit code 1.
            raise
        return _unread()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            return _failed(error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        typer.echo(f"felixhub: cannot write: {error.strerror}", err=True)
        return EXIT_FAULT
    except Exception as error:  # noqa: BLE001  (the last place that can say it in one sentence)
        return _failed(error)


def _unread() -> int:
    """Whoever read us has gone, which is their right; nothing more may be written at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


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
