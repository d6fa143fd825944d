"""The sections of the runs that the console shows: their titles, what is approved, and who gave which feedback.

Owns: what lines about sections say beyond the one event. Must not: know how a line looks.
"""

from __future__ import annotations

from felixhub.core.events import (
    Event,
    RunStarted,
    SectionApproved,
    SectionEdited,
    SectionReady,
    SectionReopened,
    SectionStale,
    StageReopened,
    ThoughtStarted,
)
from felixhub.core.section import Section
from felixhub.core.workflow import Stage
from felixhub.views import wording

AUTO = "auto"  # who approves in a run without review


class Sections:
    """Feed it every event, in order; a run whose start was not seen is known by names alone."""

    def __init__(self) -> None:
        self._stages: dict[str, dict[str, Stage]] = {}
        self._sections: dict[str, dict[str, Section]] = {}
        self._gave_feedback: dict[tuple[str, str], str] = {}  # command -> who
        self._reviewed: set[str] = set()  # runs with review

    def take(self, event: Event) -> None:
        match event:
            case RunStarted():
                stages = {stage.name: stage for stage in event.workflow.all_stages()}
                self._stages[event.run] = stages
                self._sections[event.run] = {
                    name: Section(name, stage.section)
                    for name, stage in stages.items()
                    if stage.section and (not stage.optional or name in event.settings.include)
                }
                if event.settings.review:
                    self._reviewed.add(event.run)
            case SectionReady() | SectionEdited() | SectionApproved() | SectionReopened() | SectionStale():
                self._section(event.run, event.section).apply(event)
            case StageReopened() if event.feedback is not None:
                self._gave_feedback[event.run, event.command] = event.by

    def forget(self, run: str) -> None:
        self._stages.pop(run, None)
        self._sections.pop(run, None)
        self._reviewed.discard(run)
        self._gave_feedback = {key: by for key, by in self._gave_feedback.items() if key[0] != run}

    def knows(self, run: str) -> bool:
        """Whether the run's start was seen."""
        return run in self._stages

    def is_reviewed(self, run: str) -> bool:
        return run in self._reviewed

    def agent_of(self, run: str, stage: str) -> str | None:
        found = self._stages.get(run, {}).get(stage)
        return found.agent if found else None

    def is_loop(self, run: str, stage: str) -> bool:
        """Whether the stage is of a review loop, where a round that is not needed is skipped."""
        found = self._stages.get(run, {}).get(stage)
        return found is not None and bool(found.reviews or found.revises)

    def gave_feedback(self, run: str, command: str | None) -> str:
        return self._gave_feedback.get((run, command or ""), "")

    def is_on_helix(self, event: ThoughtStarted) -> bool:
        """Whether its place on the helix says anything: its stage goes down it, or begins below its top."""
        stage = self._stages.get(event.run, {}).get(event.stage)
        return event.checkpoint > 0.0 or stage is None or len(stage.checkpoints) > 1

    def title(self, run: str, section: str) -> str:
        """The section as a line names it."""
        return f"'{self._section(run, section).title}'"

    def what(self, run: str, stage: str) -> str:
        """What a stage writes."""
        found = self._stages.get(run, {}).get(stage)
        target = (found.reviews or found.revises or stage) if found else stage
        if target != stage or target not in self._sections.get(run, {}):
            return f"stage {stage}"
        return self.title(run, target)

    def titles(self, run: str, sections: tuple[str, ...]) -> str:
        return wording.names([self.title(run, one) for one in sections], at_most=4)

    def approved(self, run: str) -> str:
        found = self._sections.get(run, {}).values()
        return wording.approved(sum(one.is_approved for one in found), len(found))

    def written(self, run: str) -> str:
        """How many sections have a whole text."""
        found = self._sections.get(run, {}).values()
        return f"{sum(bool(one.current and one.current.whole) for one in found)} of {len(found)} written"

    def is_news(self, event: SectionReady) -> bool:
        """Whether a new version deserves a line: not the one text of a run without review, its end says it."""
        alone = len(self._sections.get(event.run, {})) <= 1
        return event.run in self._reviewed or not alone or event.version > 1 or not event.whole

    def _section(self, run: str, name: str) -> Section:
        return self._sections.setdefault(run, {}).setdefault(name, Section(name, name))
