"""A workflow as a drawing of plain text: one line for each stage of its file, from the first to the last.

        ● architecture    architect     section “Architecture”
        │
      ╭─▶ review          reviewer      reviews implementation
      ╰── refine          refiner       revises it until the review approves, at most 3 times
        │
    ┌   ● tests           tester        stages side by side
    └   ● documentation   documenter

A level begins when the one above it has ended; a stage that waits for something else says so.
Owns: levels, loops and signs. Must not: judge a workflow, or colour the drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from felixhub.core.expansion import expand
from felixhub.core.workflow import Card, Item, Stage, Synthesis, Workflow
from felixhub.views.safe_text import safe_line
from felixhub.views.text_width import text_width, wrapped

WIDTH_MIN = 40
STAGES_SHOWN_MAX = 200
ITEMS_SHOWN_MAX = 24
NAMES_SHOWN_MAX = 6
NAME_COLUMNS_MAX = 24
GUTTER_COLUMNS = 6
NOTES_COLUMNS_MIN = 20


class Signs(NamedTuple):
    stage: str
    synthesis: str
    down: str
    loop_top: str
    loop_middle: str
    loop_bottom: str
    group_top: str
    group_middle: str
    group_bottom: str
    group_side: str
    times: str
    dots: str
    opening: str
    closing: str
    dash: str


GLYPHS = Signs("●", "◆", "│", "╭─▶", "│", "╰──", "┌", "├", "└", "│", "×", "…", "“", "”", "–")
PLAIN = Signs("o", "*", "|", ",->", "|", "'--", "+", "|", "+", "|", "x", "...", '"', '"', "-")


@dataclass(frozen=True, slots=True)
class Unit:
    """What a level is made of: one stage, or a review and the stages that revise by it."""

    stages: tuple[Stage, ...]
    after: frozenset[str]  # the stages of other units that it waits for

    @property
    def is_loop(self) -> bool:
        return len(self.stages) > 1


def draw(workflow: Workflow, cards: Iterable[Card], *, width: int = 80, ascii_only: bool = False) -> str:
    """The drawing of a sound workflow, ending in a line break. No line is wider than `width`, which is at least 40."""
    return "\n".join(_Drawing(workflow, max(WIDTH_MIN, width), ascii_only).lines(list(cards))) + "\n"


def levels(workflow: Workflow) -> list[list[Unit]]:
    """The units in the order in which they can begin: each level waits for something in the one before."""
    left = _units(workflow)
    done: set[str] = set()
    found: list[list[Unit]] = []
    while left:
        ready = [unit for unit in left if unit.after <= done]
        assert ready, "a sound workflow has no circles"
        found.append(ready)
        left = [unit for unit in left if unit not in ready]
        done |= {stage.name for unit in ready for stage in unit.stages}
    return found


def _units(workflow: Workflow) -> list[Unit]:
    revising: dict[str, list[Stage]] = {}
    reviews = {stage.name: stage for stage in workflow.stages if stage.reviews}
    for stage in workflow.stages:
        review = next((name for name in stage.after if name in reviews), None) if stage.revises else None
        if review is not None and reviews[review].reviews == stage.revises:
            revising.setdefault(review, []).append(stage)
    in_loop = {stage.name for stages in revising.values() for stage in stages}
    units = []
    for stage in workflow.stages:
        if stage.name not in in_loop:
            stages = (stage, *revising.get(stage.name, ()))
            own = {one.name for one in stages}
            units.append(Unit(stages, frozenset(name for one in stages for name in one.after) - own))
    return units


class _Drawing:
    def __init__(self, workflow: Workflow, width: int, ascii_only: bool) -> None:
        self.workflow = workflow
        self.width = width
        self.ascii_only = ascii_only
        self.signs = PLAIN if ascii_only else GLYPHS
        agents = [self.agent_of(stage) for stage in workflow.stages]
        names = [self.name_of(stage) for stage in workflow.stages]
        if workflow.synthesis:
            names.append("synthesis")
            agents.append(workflow.synthesis.agent)
        most = min(NAME_COLUMNS_MAX, (width - GUTTER_COLUMNS - 2) // 2)
        self.name_columns = min(most, max(map(text_width, names)))
        self.agent_columns = min(most, max(map(text_width, agents)))

    def lines(self, cards: Sequence[Card]) -> list[str]:
        about = self.safe(self.workflow.about)
        title = f"{self.workflow.name}: {about}" if about else self.workflow.name
        return [*wrapped(title, self.width), "", *self.stages(), "", *self.lists(), *self.size(cards)]

    def stages(self) -> list[str]:
        lines: list[str] = []
        shown = 0
        above: list[Unit] = []
        for level in levels(self.workflow):
            if lines:
                lines.append(f"    {self.signs.down}")
            for place, unit in enumerate(level):
                if shown >= STAGES_SHOWN_MAX:
                    left = len(self.workflow.stages) - shown
                    return [*lines, f"    {self.signs.dots} and {left} more stages", *self.synthesis()]
                lines.extend(self.unit(unit, self.side(place, len(level)), above))
                shown += len(unit.stages)
            above = level
        return lines + self.synthesis()

    def side(self, place: int, count: int) -> tuple[str, str]:
        """What stands before a unit's first line and before its further ones."""
        if count == 1:
            return " ", " "
        first = self.signs.group_top if place == 0 else self.signs.group_middle
        if place == count - 1:
            return self.signs.group_bottom, " "
        return first, self.signs.group_side

    def unit(self, unit: Unit, side: tuple[str, str], above: Sequence[Unit]) -> list[str]:
        lines: list[str] = []
        for place, stage in enumerate(unit.stages):
            sign = f"  {self.signs.stage} "
            further = "    "
            if unit.is_loop:
                last = place == len(unit.stages) - 1
                middle = f"{self.signs.loop_middle}   "
                sign = f"{self.signs.loop_bottom} " if last else middle
                sign = f"{self.signs.loop_top} " if place == 0 else sign
                further = "    " if last else middle
            notes = self.notes(stage, unit, above)
            name, agent = self.name_of(stage), self.agent_of(stage)
            lines += self.entry(
                (side[0] if not lines else side[1]) + " " + sign, side[1] + " " + further, name, agent, notes
            )
        return lines

    def synthesis(self) -> list[str]:
        synthesis = self.workflow.synthesis
        if synthesis is None:
            return []
        entry = self.entry(
            f"    {self.signs.synthesis} ", " " * GUTTER_COLUMNS, "synthesis", synthesis.agent, self.ending(synthesis)
        )
        return [f"    {self.signs.down}", *entry]

    def entry(self, first: str, further: str, name: str, agent: str, notes: Sequence[str]) -> list[str]:
        """One stage: its sign, name, agent, and what else there is to say, beside them or below."""
        head = f"{first}{self.padded(name, self.name_columns)}  {self.padded(agent, self.agent_columns)}"
        said = "; ".join(notes)
        indent = GUTTER_COLUMNS + self.name_columns + 2 + self.agent_columns + 2
        if not said:
            return [head.rstrip()[: self.width]]
        if self.width - indent >= NOTES_COLUMNS_MIN:
            pieces = wrapped(said, self.width - indent)
            blank = further + " " * (indent - len(further))
            return [f"{head}  {pieces[0]}", *(blank + piece for piece in pieces[1:])]
        below = wrapped(said, self.width - GUTTER_COLUMNS - 2)
        return [head.rstrip(), *(f"{further}  {piece}" for piece in below)]

    def notes(self, stage: Stage, unit: Unit, above: Sequence[Unit]) -> list[str]:
        notes = []
        if stage.section:
            notes.append("a section for each" if stage.for_each else f"section {self.quoted(stage.section)}")
        if stage.reviews:
            notes.append(f"reviews {stage.reviews}")
        if stage.revises and unit.is_loop:
            times = {1: "once", 2: "twice"}.get(unit.stages[0].rounds_max, f"{unit.stages[0].rounds_max} times")
            notes.append(f"revises {stage.revises} until the review approves, at most {times}")
        elif stage.revises:
            notes.append(f"revises {stage.revises}")
        if stage.for_each and self.is_paired(stage):
            notes.append("entry by entry")
        if stage.gate:
            notes.append("with --review held until approved")
        if stage.optional:
            notes.append(f"optional: --with {stage.name}")
        if len(stage.checkpoints) > 1:
            notes.append(
                f"{len(stage.checkpoints)} thoughts, from {stage.checkpoints[0]:g} to {stage.checkpoints[-1]:g}"
            )
        elif stage.checkpoints != (0.0,):
            notes.append(f"at {stage.checkpoints[0]:g} on the helix")
        if stage.context != "after":
            notes.append("sees all others" if stage.context == "latest" else "sees no others")
        if waits := self.waits_for(unit, above) if stage is unit.stages[0] else "":
            notes.append(waits)
        if stage.quorum is not None:
            notes.append(f"needs {stage.quorum} of {len(stage.after)}")
        if stage.on_failure != "retry":
            notes.append(
                "no retry: the run fails with it" if stage.on_failure == "fail" else "no retry: goes on without"
            )
        if stage.on_change == "stale":
            notes.append("marked stale on a change")
        return notes

    def waits_for(self, unit: Unit, above: Sequence[Unit]) -> str:
        """Said when it is not just everything on the level above; what that waited for goes without saying."""
        implied = {stage.name for one in above for stage in one.stages}
        implied_before = frozenset(name for one in above for name in one.after)
        ends = [one for one in above if not unit.after & {stage.name for stage in one.stages}]
        if not ends and unit.after <= implied | implied_before:
            return ""
        names = [stage.name for stage in self.workflow.stages if stage.name in unit.after]
        return f"after {self.listed(names)}" if names else "at once"

    def is_paired(self, stage: Stage) -> bool:
        """Whether each entry of its list goes on by itself, from a stage over the same list."""
        return any(one.name in stage.after and one.for_each == stage.for_each for one in self.workflow.stages)

    def ending(self, synthesis: Synthesis) -> list[str]:
        when = "one answer, again after each thought" if synthesis.when == "each" else "one answer from all"
        notes = [when]
        if synthesis.converge:
            early = synthesis.converge
            notes.append(f"early once all are at {early.progress:g} with confidence {early.confidence:g}")
        if synthesis.on_change == "stale":
            notes.append("marked stale on a change")
        return notes

    def lists(self) -> list[str]:
        lines: list[str] = []
        for name, items in self.workflow.lists.items():
            shown = [self.item(item) for item in items[:ITEMS_SHOWN_MAX]]
            more = [f"and {len(items) - ITEMS_SHOWN_MAX} more"] if len(items) > ITEMS_SHOWN_MAX else []
            text = f"{name} {self.signs.times}{len(items)}: {', '.join([*shown, *more])}"
            first, *rest = wrapped(text, self.width - 2)
            lines += [first, *(f"  {piece}" for piece in rest)]
        return lines

    def item(self, item: Item) -> str:
        beside = [f"{item.temperature:g}"] if item.temperature is not None else []
        beside += [self.safe(part) for part in (item.model, item.endpoint) if part]
        return f"{item.name} ({', '.join(beside)})" if beside else item.name

    def size(self, cards: Sequence[Card]) -> list[str]:
        """How much it comes to once lists and loops are written out."""
        plain, agents, _ = expand(self.workflow, cards)
        most = "at most " if _has_loop(self.workflow) else ""
        return [f"{most}{_count(len(plain.all_stages()), 'stage')}, {_count(len(agents), 'agent')}"]

    def name_of(self, stage: Stage) -> str:
        return f"{stage.name} {self.signs.times}{self.count_of(stage)}" if stage.for_each else stage.name

    def agent_of(self, stage: Stage) -> str:
        count = self.count_of(stage)
        if not stage.for_each or not count:
            return stage.agent
        return f"{stage.agent}-1{self.signs.dots}{count}" if count > 1 else f"{stage.agent}-1"

    def count_of(self, stage: Stage) -> int:
        return len(self.workflow.lists.get(stage.for_each or "", ()))

    def listed(self, names: Sequence[str]) -> str:
        more = [f"{len(names) - NAMES_SHOWN_MAX} more"] if len(names) > NAMES_SHOWN_MAX else []
        shown = [*names[:NAMES_SHOWN_MAX], *more]
        return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"

    def quoted(self, text: str) -> str:
        return f"{self.signs.opening}{self.safe(text)}{self.signs.closing}"

    def safe(self, text: str) -> str:
        return safe_line(text, ascii_only=self.ascii_only)

    def padded(self, name: str, columns: int) -> str:
        """Names are letters, digits, - and _; one that is too long keeps its end, where its number is."""
        if text_width(name) > columns:
            kept = columns - text_width(self.signs.dots)
            name = name[: kept - 6] + self.signs.dots + name[-6:]
        return name + " " * (columns - text_width(name))


def _has_loop(workflow: Workflow) -> bool:
    return any(unit.is_loop for level in levels(workflow) for unit in level)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
