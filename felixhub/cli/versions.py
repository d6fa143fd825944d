"""`felixhub diff`: what has changed between two versions of a section.

Owns: how the difference looks. Must not: change a byte of it anywhere but on a terminal.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from felixhub.cli.runs import named
from felixhub.cli.steering import client_of, find_section, title_of
from felixhub.core.errors import ConfigError, Place
from felixhub.core.run import Run
from felixhub.core.section import Section, Version
from felixhub.views.console_look import Look, Tone, detect_look
from felixhub.views.safe_text import safe_json, safe_line, safe_text

NO_NEWLINE = "\\ no line end"


def diff(run: str, name: str, versions: Sequence[int], output: Path | None, *, hub: str | None, as_json: bool) -> None:
    """Print or write the difference between versions A and B of a section: B is the latest, A the one before it."""
    with client_of(hub) as client:
        known = client.snapshot(named(client, run))
    section = find_section(known, name)
    old, new = _two(known, section, versions)
    lines = [] if old is None else unified(known, section, old, new)
    if as_json:
        told = {
            "run": known.id,
            "section": section.name,
            "title": section.title,
            "from": None if old is None else _told(known, old),
            "to": _told(known, new),
            "diff": "".join(f"{line}\n" for line in lines),
        }
        _write([json.dumps(told, indent=2, ensure_ascii=False)], output)
        return
    if old is None:
        by = safe_line(new.by)
        print(f"{title_of(section)} has one version only, by {by}: there is nothing to compare", file=sys.stderr)
    elif len(lines) <= 2:
        print(f"versions {old.number} and {new.number} of {title_of(section)} are the same", file=sys.stderr)
    else:
        _write(lines, output)


def _two(run: Run, section: Section, asked: Sequence[int]) -> tuple[Version | None, Version]:
    """The versions to compare; the first is None when there is only one. Raises ConfigError."""
    found = section.versions
    if not found:
        raise ConfigError(f"{title_of(section)} of run '{run.id}' has no version yet")
    for number in asked:
        if section.version(number) is None:
            there = "version 1 only" if len(found) == 1 else f"versions 1 to {len(found)}"
            raise ConfigError(f"{title_of(section)} has no version {number}: it has {there}")
    old, new = (found[-2] if len(found) > 1 else None), found[-1]
    if asked:
        old = section.version(asked[0])
        new = section.version(asked[1]) or new if len(asked) > 1 else new
    return old, new


def unified(run: Run, section: Section, old: Version, new: Version) -> list[str]:
    """A unified diff, line by line; its first two lines say which versions, who made them, and when."""
    before, after = _lines(run.text_of(old.source)), _lines(run.text_of(new.source))
    if before[-1:] == after[-1:] == [NO_NEWLINE]:  # The usual case: models do not end their last line.
        before, after = before[:-1], after[:-1]
    head = [
        f"--- {safe_line(section.title)}, version {old.number} by {_by(run, old)}, {_when(old)}",
        f"+++ {safe_line(section.title)}, version {new.number} by {_by(run, new)}, {_when(new)}",
    ]
    return [*head, *list(difflib.unified_diff(before, after, lineterm=""))[2:]]


def _lines(text: str) -> list[str]:
    """The lines of a text, and that its last one is not ended."""
    *lines, last = text.split("\n")
    return [*lines, last, NO_NEWLINE] if last else lines


def _by(run: Run, version: Version) -> str:
    thought = run.thoughts.get(version.source)
    notes = [] if version.whole else ["truncated"]
    if thought is not None and thought.model:
        notes.insert(0, thought.model)
    return safe_line(f"{version.by} ({', '.join(notes)})" if notes else version.by)


def _when(version: Version) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(version.at))


def _told(run: Run, version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "by": version.by,
        "at": version.at,
        "source": version.source,
        "whole": version.whole,
        "text": run.text_of(version.source),
    }


def _write(lines: Sequence[str], output: Path | None) -> None:
    if output is not None and str(output) != "-":
        try:
            output.write_bytes("".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            raise ConfigError(f"cannot write the difference: {error.strerror}", place=Place(str(output))) from None
        print(f"written to {safe_line(str(output))}", file=sys.stderr)
        return
    look = detect_look(sys.stdout, os.environ)
    shown = _shown(lines, look) if look.terminal else lines
    sys.stdout.buffer.write("".join(f"{line}\n" for line in shown).encode())
    sys.stdout.buffer.flush()


def _shown(lines: Sequence[str], look: Look) -> list[str]:
    """The lines as a terminal may have them: what a model wrote is shown there, never obeyed."""
    if len(lines) == 1:
        return [safe_json(lines[0])]
    tones: dict[str, Tone] = {"@": "dim", "-": "bad", "+": "good"}
    safe = [safe_text(line, ascii_only=look.ascii_only) for line in lines]
    head = [look.paint(line, "strong") for line in safe[:2]]
    return head + [look.paint(line, tones.get(line[:1], "")) for line in safe[2:]]
