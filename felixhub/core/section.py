"""A section of a run's document: its versions, who made them, and whether a person has approved the latest.

    ──ready──► unapproved ◄──reopened── approved
                  │  └───────approved──────▲
                  └──edited, ready (a new version)──► unapproved

Owns: what is true of one section. Must not: decide; `Run.apply` folds the events into it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from felixhub.core.events import (
    Event,
    SectionApproved,
    SectionEdited,
    SectionReady,
    SectionReopened,
    SectionStale,
)


@dataclass(frozen=True, slots=True)
class Version:
    """One version. `source` names its text: a thought's id, or `<section>@<number>` for what a person wrote.

    `text` is set for what a person wrote; that of a thought is the thought's. `whole`: not truncated.
    """

    number: int
    by: str
    source: str
    whole: bool
    at: float
    text: str | None = None

    @property
    def by_person(self) -> bool:
        return self.text is not None


@dataclass(slots=True)
class Section:
    """`name` is that of its stage, `approved` the number of the version that was approved last, None for none."""

    name: str
    title: str
    versions: list[Version] = field(default_factory=list)
    approved: int | None = None
    approved_by: str = ""
    stale: bool = False
    is_wanted: bool = False  # a person has written it since anything of it was cancelled

    @property
    def current(self) -> Version | None:
        """The latest whole version: a truncated one never takes the place of good text. Else the latest."""
        return next((one for one in reversed(self.versions) if one.whole), self.versions[-1] if self.versions else None)

    @property
    def is_approved(self) -> bool:
        current = self.current
        return current is not None and self.approved == current.number

    @property
    def next_number(self) -> int:
        return len(self.versions) + 1

    def version(self, number: int) -> Version | None:
        return self.versions[number - 1] if 1 <= number <= len(self.versions) else None

    def apply(self, event: Event) -> None:
        match event:
            case SectionReady():
                self._add(Version(event.version, event.by, event.thought, event.whole, event.at))
            case SectionEdited():
                source = f"{self.name}@{event.version}"
                self._add(Version(event.version, event.by, source, whole=True, at=event.at, text=event.text))
                self.is_wanted = True
            case SectionApproved():
                self.approved, self.approved_by, self.stale = event.version, event.by, False
            case SectionReopened():
                self.approved, self.approved_by = None, ""
            case SectionStale():
                self.stale = True

    def _add(self, version: Version) -> None:
        self.versions.append(version)
        self.stale = False
