"""The commands that change the course of a run: cancel, steer, regenerate, approve, reopen, edit.

Owns: what a name on the command line means in a run, and the one line that says what was done. Must not: know what
becomes of a command; that is the hub's.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from felixhub.cli.processes import finder, settings_for
from felixhub.cli.runs import EXIT_FAILED, me, named
from felixhub.core.errors import ConfigError, FelixError, Place
from felixhub.core.events import FEEDBACK_CHARACTERS_MAX
from felixhub.core.limits import MIB
from felixhub.core.overview import is_asked_for
from felixhub.core.run import Run
from felixhub.core.section import Section, Version
from felixhub.settings.mistakes import did_you_mean
from felixhub.transport.control import ControlClient
from felixhub.views import wording
from felixhub.views.safe_text import safe_line

TEXT_BYTES_MAX = 3 * MIB  # an edit is one control message of at most 4 MiB
NAMES_SHOWN_MAX = 30
EDITORS = ("sensible-editor", "nano", "vi")  # where neither $VISUAL nor $EDITOR is set


def client_of(hub: str | None) -> ControlClient:
    """A client of the hub that `--hub`, the settings or the data directory name."""
    return ControlClient(finder(settings_for(), hub))


# ---- names -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """What a command is about: exactly one of an agent, a section and a thought."""

    agent: str | None = None
    section: str | None = None
    thought: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        found = {"agent": self.agent, "section": self.section, "thought": self.thought}
        return {name: value for name, value in found.items() if value is not None}


def find_target(run: Run, name: str, *, section_first: bool = False) -> Target:
    """An agent by its name, else a section by its name or title, else a thought by its id. Raises ConfigError.

    With `section_first` an agent that writes one section stands for it.
    """
    section = _section_named(run, name) or (_written_by(run, name) if section_first else None)
    if section is not None and (section_first or name not in run.cards):
        return Target(section=section.name)
    if name in run.cards:
        return Target(agent=name)
    if name in run.thoughts:
        return Target(thought=name)
    known = [*run.cards, *run.sections, *(one.title for one in run.sections.values())]
    raise ConfigError(
        f"run '{run.id}' has no agent '{safe_line(name)}', and no section or thought of that name"
        f"{did_you_mean(name, known)} ({_there_is(run)})"
    )


def find_section(run: Run, name: str) -> Section:
    """A section by its name, its title in any case, or the agent that writes it. Raises ConfigError."""
    section = _section_named(run, name) or _written_by(run, name)
    if section is not None:
        return section
    if not run.sections:
        raise ConfigError(f"run '{run.id}' has no sections")
    several = [one for one, stage in run.stages.items() if one in run.sections and stage.spec.agent == name]
    if several:
        raise ConfigError(f"'{name}' writes several sections, name one: {_listed(several)}")
    known = [*run.sections, *(one.title for one in run.sections.values())]
    raise ConfigError(
        f"run '{run.id}' has no section '{safe_line(name)}'{did_you_mean(name, known)} ({_sections_of(run)})"
    )


def _section_named(run: Run, name: str) -> Section | None:
    if name in run.sections:
        return run.sections[name]
    titled = [one for one in run.sections.values() if one.title.casefold() == name.strip().casefold()]
    return titled[0] if len(titled) == 1 else None


def _written_by(run: Run, agent: str) -> Section | None:
    """The one section that this agent writes, None when it writes none or several."""
    written = [section for name, section in run.sections.items() if run.stages[name].spec.agent == agent]
    return written[0] if len(written) == 1 else None


def _there_is(run: Run) -> str:
    parts = [f"agents: {_listed(run.cards)}"]
    if run.sections:
        parts.append(_sections_of(run))
    if open_thoughts := [one.id for one in run.open_thoughts()]:
        parts.append(f"open thoughts: {_listed(open_thoughts)}")
    return "; ".join(parts)


def _sections_of(run: Run) -> str:
    return f"sections: {_listed(_name_and_title(section) for section in run.sections.values())}"


def _name_and_title(section: Section) -> str:
    if section.title.casefold() == section.name:
        return section.name
    return f"{section.name} ('{safe_line(section.title)}')"


def _listed(found: Any) -> str:
    return wording.names(list(found), at_most=NAMES_SHOWN_MAX)


def title_of(section: Section) -> str:
    """The section as a sentence names it."""
    return f"'{safe_line(section.title or section.name)}'"


# ---- cancel ----------------------------------------------------------------------------------------------------------


def cancel(run: str, name: str | None, *, hub: str | None) -> None:
    """`felixhub cancel`."""
    with client_of(hub) as client:
        run = named(client, run)
        if name is None:
            client.cancel(run, by=me())
            print(f"cancelling {run}")
            return
        known = client.snapshot(run)
        target = find_target(known, name)
        client.cancel(run, **target.fields, by=me())
    what = title_of(known.sections[target.section]) if target.section else name
    print(f"cancelling {what} of {run}")


# ---- steer, regenerate -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Words:
    """What a person says of a text."""

    wrong: str | None = None
    instead: str | None = None
    constraints: str | None = None

    @property
    def fields(self) -> dict[str, str]:
        """Those that were given."""
        found = {"wrong": self.wrong, "instead": self.instead, "constraints": self.constraints}
        return {option: text for option, text in found.items() if text is not None}

    def check(self) -> None:
        """Raises ConfigError for an option that is there and says nothing, and for more than a command takes."""
        for option, text in self.fields.items():
            if not text.strip():
                raise ConfigError(f"--{option} is empty: say something, or leave it out")
            if len(text) > FEEDBACK_CHARACTERS_MAX:
                raise ConfigError(
                    f"--{option} has {len(text):,} characters, at most {FEEDBACK_CHARACTERS_MAX:,} are taken"
                )


def steer(run: str, name: str, words: Words, *, hub: str | None) -> None:
    """`felixhub steer`."""
    words.check()
    with client_of(hub) as client:
        known = client.snapshot(named(client, run))
        target = find_target(known, name)
        reply = client.steer(known.id, **target.fields, **words.fields, by=me())
    print(f"steering {_what_follows(known, reply)}{_approval_withdrawn(known, reply)}")


def regenerate(run: str, name: str, words: Words, *, hub: str | None) -> None:
    """`felixhub regenerate`."""
    words.check()
    with client_of(hub) as client:
        known = client.snapshot(named(client, run))
        target = find_target(known, name, section_first=True)
        reply = client.regenerate(known.id, **target.fields, **words.fields, by=me())
    print(f"regenerating {_what_follows(known, reply)}{_approval_withdrawn(known, reply)}")


def _approval_withdrawn(run: Run, reply: dict[str, Any]) -> str:
    state = run.stages.get(str(reply.get("stage", "")))
    section = run.sections.get(state.target) if state else None
    is_approved = section is not None and section.is_approved and run.started.settings.review
    return "; its approval is withdrawn" if is_approved else ""


def _what_follows(run: Run, reply: dict[str, Any]) -> str:
    """`writer-3 (t41-ab12): version 2 of 'Risks' follows`."""
    agent, stage, revises = str(reply.get("agent", "")), str(reply.get("stage", "")), reply.get("revises")
    state = run.stages.get(stage)
    section = run.sections.get(state.target if state else stage)
    what = f"version {section.next_number} of {title_of(section)}" if section else f"its text anew ({stage})"
    from_what = f"({revises})" if revises else "from the original request"
    return f"{agent} {from_what}: {what} follows"


# ---- approve, reopen -------------------------------------------------------------------------------------------------


def approve(run: str, name: str | None, *, version: int | None, hub: str | None) -> int:
    """`felixhub approve`, with no name every section that can be; returns the exit code."""
    with client_of(hub) as client:
        known = client.snapshot(named(client, run))
        section = None if name is None else find_section(known, name)
        if section is None and known.sections and all(_is_done(known, one) for one in known.sections.values()):
            print(f"nothing to approve: {wording.progress(known)}")
            return 0
        reply = client.approve(known.id, section.name if section else None, version=version, by=me())
    approved = [str(one) for one in reply.get("approved", ())]
    refused = {
        str(one): str(why)
        for one, why in dict(reply.get("refused") or {}).items()
        if one not in known.sections or not _is_done(known, known.sections[one])
    }
    asked_for = [one for one in known.sections.values() if is_asked_for(known, one)]
    now = sum(one.is_approved or one.name in approved for one in asked_for)
    progress = wording.approved(now, len(asked_for))
    versions = dict(reply.get("versions") or {})
    told = _listed(f"{_titles(known, [one])} version {versions.get(one, '?')}" for one in approved)
    print(f"approved {told}: {progress}")
    for one, why in refused.items():
        print(f"felixhub: {_titles(known, [one])} cannot be approved: {safe_line(why)}", file=sys.stderr)
    return EXIT_FAILED if refused else 0


def _is_done(run: Run, section: Section) -> bool:
    """Whether there is nothing left to approve."""
    return (section.is_approved and not section.stale) or not is_asked_for(run, section)


def reopen(run: str, name: str, *, hub: str | None) -> None:
    """`felixhub reopen`."""
    with client_of(hub) as client:
        known = client.snapshot(named(client, run))
        section = find_section(known, name)
        reply = client.reopen(known.id, section.name, by=me())
    print(f"reopened {title_of(section)} of {known.id}: version {reply.get('version')} is not approved any more")


def _titles(run: Run, names: Collection[str]) -> str:
    return _listed(title_of(run.sections[one]) if one in run.sections else one for one in names)


# ---- edit ------------------------------------------------------------------------------------------------------------


def edit(run: str, name: str, file: Path | None, *, hub: str | None) -> None:
    """`felixhub edit`: the text of a file, `-` for standard input, or what is made of the section in an editor."""
    text = None if file is None else _read(file)
    with client_of(hub) as client:
        known = client.snapshot(named(client, run))
        section = find_section(known, name)
        if known.ended is not None:
            raise ConfigError(f"run '{known.id}' has ended already ({known.status}): its sections stay as they are")
        before = section.current
        old = known.text_of(before.source) if before else ""
        kept: Path | None = None
        if text is None:
            text, kept = _edited(old, section)
        try:
            if text == old:
                print(f"unchanged: {title_of(section)} stays at version {before.number if before else 0}")
            else:
                reply = client.edit(known.id, section.name, text, version=_version_of(before), by=me())
                version = reply.get("version")
                print(f"edited {title_of(section)} of {known.id}: version {version}, {wording.words_of(text)}")
        except FelixError as error:
            if kept is None:
                raise
            raise ConfigError(f"{error} (your text is kept in {kept})") from None
    if kept is not None:
        shutil.rmtree(kept.parent, ignore_errors=True)


def _version_of(version: Version | None) -> int | None:
    return version.number if version else None


def _read(file: Path) -> str:
    place = Place("standard input" if str(file) == "-" else str(file))
    try:
        data = sys.stdin.buffer.read(TEXT_BYTES_MAX + 1) if str(file) == "-" else _read_file(file)
    except OSError as error:
        raise ConfigError(f"cannot read this text: {error.strerror}", place=place) from None
    return _checked(data, place)


def _read_file(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(TEXT_BYTES_MAX + 1)


def _checked(data: bytes, place: Place) -> str:
    """The text, as a section can have it. Raises ConfigError."""
    if len(data) > TEXT_BYTES_MAX:
        raise ConfigError(f"this is more than {TEXT_BYTES_MAX:,} bytes: a section takes no more", place=place)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError("this is not UTF-8 text: save it as UTF-8", place=Place(place.file, line)) from None
    if not text.strip():
        raise ConfigError("this text is empty: a section needs one", place=place)
    return text


def _edited(old: str, section: Section) -> tuple[str, Path]:
    """What the user made of the text in an editor, and the file that it is in. Raises ConfigError."""
    command = _editor()
    # In a directory that nobody else can read.
    file = Path(tempfile.mkdtemp(prefix="felixhub-edit-")) / f"{section.name}.md"
    ended = not old or old.endswith("\n")
    given = (old if ended else old + "\n").encode()
    file.write_bytes(given)
    try:
        code = subprocess.run([*command, str(file)], check=False).returncode
    except OSError as error:
        shutil.rmtree(file.parent, ignore_errors=True)
        raise ConfigError(f"cannot start the editor {command[0]} ({error.strerror}): set $VISUAL or $EDITOR") from None
    if code:
        kept = f" (your text is kept in {file})"
        if file.exists() and file.read_bytes() == given:
            shutil.rmtree(file.parent, ignore_errors=True)
            kept = ""
        raise ConfigError(f"the editor {command[0]} ended with {code}: nothing is changed{kept}")
    try:
        text = _checked(_read_file(file), Place(str(file)))
    except OSError as error:
        raise ConfigError(f"cannot read the edited text: {error.strerror}", place=Place(str(file))) from None
    if not ended and text.endswith("\n"):
        text = text[:-1]  # The line end that an editor wants, and that the section did not have.
    return text, file


def _editor() -> list[str]:
    for variable in ("VISUAL", "EDITOR"):
        if given := os.environ.get(variable, "").strip():
            try:
                return shlex.split(given)
            except ValueError as error:
                raise ConfigError(f"${variable} is not a command: {error}") from None
    for name in EDITORS:
        if shutil.which(name):
            return [name]
    raise ConfigError("there is no editor: set $VISUAL or $EDITOR, or give the text with --file")
