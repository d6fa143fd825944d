"""Steering, review and sections as the console shows them: golden lines from scripted events."""

from __future__ import annotations

from typing import Any

import pytest
from console_script import BEGAN_AT, Script, consent, council, utc

from felixhub.core.events import (
    CommandAccepted,
    Feedback,
    Passage,
    RunBudgetSpent,
    SectionApproved,
    SectionEdited,
    SectionReady,
    SectionReopened,
    SectionStale,
    StageFinished,
    StageReopened,
)
from felixhub.core.overview import section_status
from felixhub.core.review import Issue, Verdict
from felixhub.views.console_filter import ConsoleFilter
from felixhub.views.console_lines import ConsoleLines
from felixhub.views.console_look import Look

TERMINAL = Look(terminal=True)


def lines_of(look: Look | None = None, **options: Any) -> ConsoleLines:
    return ConsoleLines(look or Look(), clock=utc, **options)


def shown(script: Script, *, start: int = 1, console: ConsoleLines | None = None) -> str:
    console = console or lines_of()
    lines = [[line.shown for line in console.take(event, event.at)] for event in script.events]
    return "\n".join(line for taken in lines[start:] for line in taken)


def ready(
    script: Script, at: float, section: str, version: int = 1, *, whole: bool = True, by: str = "writer-1"
) -> None:
    script.add(SectionReady, at, section=section, version=version, by=by, thought=f"t-{section}-{version}", whole=whole)


def reopen_stage(script: Script, at: float, stage: str, reason: str, **fields: Any) -> None:
    values = {"round": 2, "by": "ann", "checkpoint": 0.0, "command": "c-1"}
    script.add(StageReopened, at, stage=stage, reason=reason, **(values | fields))


def command(script: Script, at: float, name: str, **args: Any) -> None:
    script.add(CommandAccepted, at, id="c-1", name=name, args={"run": "r1", **args}, by="ann", reply={})


def test_sections_from_ready_to_approved() -> None:
    script = consent(review=True)
    ready(script, 1, "risks")
    ready(script, 2, "gains", whole=False)
    command(script, 3, "approve", section="risks")
    script.add(SectionApproved, 3, section="risks", version=1, by="ann")
    command(script, 4, "edit", section="gains")
    script.add(SectionEdited, 4, section="gains", version=2, by="bo", text="Nobody gains.")
    script.add(SectionApproved, 5, section="gains", version=2, by="ann")
    command(script, 6, "reopen", section="risks")
    script.add(SectionReopened, 6, section="risks", version=1, by="ann")
    script.add(SectionStale, 7, section="gains", version=2, by="ann")
    assert (
        shown(script)
        == """\
12:00:01 hub        ◆ 'Risks' is ready · version 1 · 0 of 2 approved
12:00:02 hub        ⚠ 'Gains' is truncated · version 1 · it cannot be approved
12:00:03 hub        ✓ 'Risks' is approved by ann · version 1 · 1 of 2 approved
12:00:04 hub        ◆ 'Gains' is edited by bo · version 2 · 2 words
12:00:05 hub        ✓ 'Gains' is approved by ann · version 2 · 2 of 2 approved
12:00:06 hub        ↻ 'Risks' is reopened by ann · version 1 · 1 of 2 approved
12:00:07 hub        ⚠ 'Gains' is stale: a text that it was made from has changed · version 2"""
    )


def test_a_new_version_takes_the_approval_with_it() -> None:
    script = consent(review=True)
    ready(script, 1, "risks")
    script.add(SectionApproved, 2, section="risks", version=1, by="ann")
    ready(script, 3, "risks", 2)
    assert shown(script, start=3) == "12:00:03 hub        ◆ 'Risks' is ready · version 2 · 0 of 2 approved"


def test_without_review_approvals_are_not_told() -> None:
    script = consent()
    ready(script, 1, "risks")
    script.add(SectionApproved, 1, section="risks", version=1, by="auto")
    assert shown(script) == "12:00:01 hub        ◆ 'Risks' is ready · version 1 · 1 of 2 written"


def test_a_run_with_one_text_says_no_more_than_before() -> None:
    script = Script()
    ready(script, 1, "synthesis", by="synthesis")
    script.add(SectionApproved, 1, section="synthesis", version=1, by="auto")
    assert shown(script) == ""
    ready(script, 2, "synthesis", 2, by="synthesis")
    assert shown(script) == "12:00:02 hub        ◆ 'Answer' is ready · version 2 · 1 of 1 written"


def test_who_steered_and_what_for() -> None:
    script = consent()
    command(script, 1, "steer", agent="writer-1", wrong="too long")
    said = Feedback(wrong="long,\nand dull", instead="name an owner", constraints="short")
    reopen_stage(script, 1, "risks", "steered", feedback=said)
    script.start("writer-1", 1, stage="risks", round=2, revises="t-1", steered_by="c-1")
    reopen_stage(script, 2, "review-risks", "changed")
    reopen_stage(script, 2, "gains", "changed")
    reopen_stage(script, 3, "gains", "regenerated", fresh=True)
    reopen_stage(script, 4, "gains", "regenerated", feedback=Feedback(wrong="dull"))
    assert (
        shown(script)
        == """\
12:00:01 writer-1   ↻ 'Risks' is steered by ann · wrong: long, and dull · instead: name an owner · constraints: short
12:00:01 writer-1   ▸ started   t=0.30  qwen3-8b  attempt 1  round 2  stage risks  revises t-1  steered by ann
12:00:02 writer-2   ↻ 'Gains' is done again: a text that it was made from has changed
12:00:03 writer-2   ↻ 'Gains' is regenerated by ann from the original request
12:00:04 writer-2   ↻ 'Gains' is regenerated by ann · wrong: dull"""
    )
    only = lines_of(keep=ConsoleFilter(agents=["writer-1"]))
    assert {line.split()[1] for line in shown(script, console=only).splitlines()} == {"writer-1"}


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (Verdict(approved=True), "✓ review: approved"),
        (Verdict(approved=True, issues=(Issue(what="a comma"),)), "✓ review: approved, 1 issue · a comma"),
        (
            Verdict(issues=tuple(Issue(what=f"wrong {n}", where="line 3" if n == 1 else "") for n in range(1, 6))),
            "⚠ review: not approved, 5 issues · wrong 1 (line 3) · wrong 2 · wrong 3 · 2 more",
        ),
        (Verdict(fault="approved: Field required"), "✗ the review cannot be read: approved: Field required"),
    ],
)
def test_verdicts(verdict: Verdict, expected: str) -> None:
    script = consent()
    script.start("reviewer-1", 1, stage="review-risks")
    script.finalize("reviewer-1", 2, verdict=verdict)
    assert shown(script).splitlines()[-1] == f"12:00:02 reviewer-1 {expected}"


def test_passages_are_named_by_file_and_place() -> None:
    script = consent()
    found = [Passage(document="trial.pdf", place=f"page {n}", start=0, end=9) for n in range(1, 7)]
    script.start("writer-1", 1, stage="risks", passages=tuple(found[:1]))
    script.start("writer-2", 2, stage="gains", passages=tuple(found))
    lines = shown(script).splitlines()
    assert lines[1] == "12:00:01 writer-1     with 1 passage: trial.pdf, page 1"
    assert lines[3] == (
        "12:00:02 writer-2     with 6 passages: trial.pdf, page 1 · trial.pdf, page 2 · trial.pdf, page 3 "
        "· trial.pdf, page 4 · 2 more"
    )


def test_the_budget_and_what_is_skipped() -> None:
    script = consent(budget_tokens=10_000)
    script.add(RunBudgetSpent, 1, tokens=10_240, budget_tokens=10_000)
    script.add(StageFinished, 2, stage="refine-risks", outcome="skipped", why="the review approves risks")
    script.add(StageFinished, 3, stage="gains", outcome="skipped", why="not asked for")
    command(script, 4, "cancel", section="gains")
    assert (
        shown(script)
        == """\
12:00:01 hub        ⚠ the budget is spent: 10,240 of 10,000 tokens; nothing more is begun
12:00:03 hub        · stage gains skipped: not asked for
12:00:04 hub        ◆ ann cancelled section gains"""
    )
    assert "at most 10,000 tokens" in shown(script, start=0)


def test_what_people_and_models_say_is_never_obeyed() -> None:
    script = consent(review=True)
    reopen_stage(script, 1, "risks", "steered", by="\x1b[2J", feedback=Feedback(wrong="\x1b]0;x\x07\r\nfake line" * 99))
    script.add(SectionEdited, 2, section="risks", version=1, by="a\nb\x9b", text="x")
    script.start("reviewer-1", 3, stage="review-risks")
    script.finalize("reviewer-1", 3, verdict=Verdict(issues=(Issue(what="\x1b[31m\nhub ✓ approved"),)))
    for look in (Look(), TERMINAL):
        text = shown(script, console=lines_of(look))
        assert not any(ord(char) < 32 and char != "\n" for char in text) and "\x9b" not in text
        lines = text.splitlines()
        assert all(line.startswith("12:00:0") for line in lines)
    assert len(shown(script).splitlines()) == 5


# ---- waiting for a person --------------------------------------------------------------------------------------------


def ticked(console: ConsoleLines, script: Script, at: float, **beat: Any) -> list[str]:
    found = console.tick(BEGAN_AT + at, {script.run: script.beat(**beat)})
    return [line.shown for line in found]


def test_a_run_that_waits_for_a_person_says_so() -> None:
    script = consent(review=True)
    ready(script, 1, "risks")
    console = lines_of()
    shown(script, console=console)
    line = "… waiting for a person: 'Risks' · 0 of 2 approved"
    assert ticked(console, script, 2, awaiting=["risks"]) == [f"12:00:02 hub        {line}"]
    assert ticked(console, script, 3, awaiting=["risks"]) == []
    assert ticked(console, script, 4, awaiting=["risks", "gains"]) == [
        "12:00:04 hub        … waiting for a person: 'Risks', 'Gains' · 0 of 2 approved"
    ]
    assert ticked(console, script, 5, awaiting=["gains"]) == [], "somebody is at it"
    assert len(ticked(console, script, 100, awaiting=["gains"])) == 1, "a reminder"
    assert ticked(console, script, 101) == []
    assert len(ticked(console, script, 102, awaiting=["gains"])) == 1, "more has been written"


def test_nobody_is_asked_for_while_somebody_thinks() -> None:
    script = consent(review=True)
    script.start("writer-2", 1, stage="gains")
    console = lines_of()
    shown(script, console=console)
    beat = script.beat(script.busy("writer-2", 0.1, "streaming"), awaiting=["risks"])
    assert console.tick(BEGAN_AT + 2, {script.run: beat}) == []
    script.finish(3)
    shown(script, console=console)
    assert ticked(console, script, 4, awaiting=["risks"]) == [], "a late beat of a run that has ended"


# ---- the state of a section ------------------------------------------------------------------------------------------


def test_the_status_of_a_section() -> None:
    from felixhub.core.board import Board

    script = consent(review=True)
    board = Board()
    board.follow("r1")

    def status() -> tuple[str, str]:
        for event in script.events[board.last("r1") :]:
            board.take(event)
        run = board.runs["r1"]
        return section_status(run, "risks"), section_status(run, "gains")

    assert status() == ("waiting", "waiting")
    script.start("writer-1", 1, stage="risks", thought="t-risks-1")
    assert status() == ("writing", "waiting")
    script.say("writer-1", 1, "a text")
    script.finalize("writer-1", 2)
    ready(script, 2, "risks")
    assert status()[0] == "ready"
    script.add(SectionApproved, 3, section="risks", version=1, by="ann")
    assert status()[0] == "approved"
    script.add(SectionStale, 4, section="risks", version=1, by="ann")
    assert status()[0] == "stale"
    script.start("writer-2", 5, stage="gains", thought="t-gains-1")
    script.finalize("writer-2", 6, truncated=True, finish_reason="length")
    ready(script, 6, "gains", whole=False, by="writer-2")
    assert status()[1] == "truncated"
    command(script, 7, "cancel", section="gains")
    assert status()[1] == "cancelled"
    other = consent()
    other.add(StageFinished, 1, stage="risks", outcome="abandoned", why="stalled")
    script, board = other, Board()
    board.follow("r1")
    assert status() == ("missing", "waiting")


def test_a_whole_run_has_no_new_lines() -> None:
    assert "section" not in shown(council(), start=0)
