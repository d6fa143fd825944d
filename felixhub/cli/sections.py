"""`felixhub sections`: the sections of a run, and the text of one.

Owns: how they are listed. Must not: change one (`steering` does).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from felixhub.cli.printing import print_json, print_table
from felixhub.cli.runs import named
from felixhub.cli.steering import client_of, find_section, title_of
from felixhub.core.errors import ConfigError
from felixhub.core.overview import is_asked_for, section_status
from felixhub.core.run import Run
from felixhub.core.section import Section
from felixhub.views import wording
from felixhub.views.safe_text import safe_text


def list_sections(run: str, *, hub: str | None, as_json: bool) -> None:
    """`felixhub sections RUN`."""
    with client_of(hub) as client:
        known = client.snapshot(named(client, run))
    rows = section_rows(known)
    if as_json:
        asked_for = [one for one in known.sections.values() if is_asked_for(known, one)]
        approved = sum(one.is_approved for one in asked_for)
        print_json({"run": known.id, "approved": approved, "of": len(asked_for), "sections": rows})
        return
    if not rows:
        print(f"run {known.id} has no sections", file=sys.stderr)
        return
    print_table(section_table(rows))
    print(wording.progress(known))


def section_rows(run: Run) -> list[dict[str, Any]]:
    """What there is to say of each section, in the document's order."""
    return [_row(run, section) for section in run.sections.values()]


def section_table(rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The same for people, under a head."""
    return [
        ("SECTION", "STATUS", "VERSION", "WORDS", "BY", "TITLE"),
        *(
            (
                row["section"],
                row["status"],
                str(row["version"] or "-"),
                "-" if row["words"] is None else f"{row['words']:,}",
                row["by"] or "-",
                row["title"],
            )
            for row in rows
        ),
    ]


def print_section(run: str, name: str, *, hub: str | None) -> None:
    """`felixhub sections RUN SECTION`: its text as it is, made harmless on a terminal. Raises ConfigError."""
    with client_of(hub) as client:
        known = client.snapshot(named(client, run))
    section = find_section(known, name)
    if section.current is None:
        raise ConfigError(f"{title_of(section)} has no text yet ({section_status(known, section.name)})")
    text = known.text_of(section.current.source)
    sys.stdout.write(safe_text(text) if sys.stdout.isatty() else text)
    if not text.endswith("\n"):
        sys.stdout.write("\n")


def _row(run: Run, section: Section) -> dict[str, Any]:
    current = section.current
    return {
        "section": section.name,
        "title": section.title,
        "status": section_status(run, section.name),
        "version": current.number if current else None,
        "versions": len(section.versions),
        "by": current.by if current else "",
        "approved_by": section.approved_by if section.is_approved else "",
        "agent": run.stages[section.name].spec.agent,
        "words": len(run.text_of(current.source).split()) if current else None,
    }
