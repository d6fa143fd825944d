"""The commands about what the agents write: steer, regenerate, sections, approve, reopen, edit, diff.

Owns: names, options and help texts. Must not: do the work, or import what does it before a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from felixhub.cli.helping import Commands
from felixhub.cli.options import Constraints, Hub, Instead, Json, Run, Section, Wrong

app = Commands()


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
    from felixhub.cli.sections import list_sections, print_section

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
        typer.Argument(help="Two versions; by default the last two. One: that one and the latest.", metavar="VERSION"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", "--out", help="A file instead of standard output.", metavar="FILE")
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
