"""What a run's document contains, and what of it is the agents' to the byte."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest

from felixhub.core.events import (
    CommandAccepted,
    DocumentInfo,
    Missing,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunStarted,
    SectionApproved,
    SectionEdited,
    SectionReady,
    SectionStale,
    StageFinished,
    SynthesisStarted,
    ThoughtFinalized,
    ThoughtPartial,
    ThoughtStarted,
    Usage,
)
from felixhub.core.review import Issue, Verdict
from felixhub.core.run import Run
from felixhub.core.workflow import Card, RunSettings, Stage, Synthesis, Workflow
from felixhub.documents.document import document_of, markdown, page_of
from felixhub.documents.exporting import file_name
from felixhub.documents.tokens import Reader, below, ending, escaped

TASK = "Should the city\nconvert *all* buses?"
USAGE = Usage(prompt_tokens=1_200, completion_tokens=340)


class Tale:
    """A run as its events tell it, one after another."""

    def __init__(
        self, *stages: Stage, synthesis: bool = False, task: str = TASK, documents: Sequence[str] = (), **settings: Any
    ) -> None:
        agents = list(dict.fromkeys(stage.agent for stage in stages)) + ["synthesizer"] * synthesis
        self.seq = 1
        self.run = Run(
            RunStarted(
                **self._head(),
                task=task,
                workflow=Workflow(
                    name="some", stages=stages, synthesis=Synthesis(agent="synthesizer") if synthesis else None
                ),
                agents=tuple(Card(name=name) for name in agents),
                settings=RunSettings(**settings),
                documents=tuple(DocumentInfo(name=name, size=1, sha256="") for name in documents),
                by="ann",
            )
        )

    def _head(self) -> dict[str, Any]:
        return {"seq": self.seq, "prev": self.seq - 1, "run": "r1", "at": 1_795_000_000.0 + 60 * self.seq}

    def tell(self, kind: Any, **fields: Any) -> Tale:
        self.seq += 1
        self.run.apply(kind(**self._head(), **fields))
        return self

    def think(self, stage: str, text: str, *, truncated: bool = False, **fields: Any) -> Tale:
        thought = f"t{self.seq}"
        agent = self.run.stages[stage].spec.agent
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.tell(
            ThoughtStarted,
            agent=agent,
            thought=thought,
            attempt=1,
            stage=stage,
            session="s",
            checkpoint=0.0,
            progress=0.0,
            endpoint="offline",
            model="extractive",
            temperature=0.5,
        )
        self.tell(ThoughtPartial, agent=agent, thought=thought, channel="text", offset=0, text=text, tokens=9)
        self.tell(
            ThoughtFinalized,
            agent=agent,
            thought=thought,
            length=len(text.encode()),
            sha256=digest,
            reasoning_length=0,
            reasoning_sha256="",
            finish_reason="stop",
            truncated=truncated,
            **{"confidence": 0.5, "first_token_s": 0.1, "seconds": 1.0, "usage": USAGE, **fields},
        )
        section = self.run.sections.get(stage)
        if section is not None:
            number = section.next_number
            self.tell(SectionReady, section=stage, version=number, by=agent, thought=thought, whole=not truncated)
        return self

    def finish(self, result: str = "", *degraded: str) -> Tale:
        return self.tell(RunFinished, result=result, degraded=degraded, usage=USAGE, seconds=5.0)

    @property
    def text(self) -> str:
        return markdown(document_of(self.run))


def section(name: str, **more: Any) -> Stage:
    return Stage(**{"name": name, "agent": f"writer-{name}", "section": name.title(), **more})


PLAIN = Stage(name="research", agent="research")


# ---- a result without sections ---------------------------------------------------------------------------------------


def test_a_result_under_the_task_as_title() -> None:
    tale = (
        Tale(PLAIN, documents=["memo.md"]).think("research", "x").finish("Yes,\n\nbut *slowly*.", "critic is missing")
    )
    assert tale.text == (
        "# Should the city convert \\*all\\* buses?\n\nYes,\n\nbut *slowly*.\n\n"
        "> This result is degraded:\n>\n> - critic is missing\n\n---\n\n"
        "*run r1 · workflow some · 1 agents · from memo.md*\n"
    )


def test_a_result_that_begins_with_its_own_title_keeps_it() -> None:
    tale = Tale(PLAIN).finish("# Buses\n\nYes.")
    assert tale.text.startswith("# Buses\n\nYes.\n\n---\n")
    page = page_of(document_of(tale.run))
    assert (page.title, page.task) == ("Buses", "Should the city convert *all* buses?")


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (RunFailed, {"error": "no\nmodel"}, "> The run failed: no model"),
        (RunCancelled, {"by": "ann"}, "> The run was cancelled by ann. What was final by then:"),
        (None, {}, "> The run is running. What is final so far:"),
    ],
)
def test_an_unfinished_run_says_so_and_gives_what_is_final(kind: Any, fields: dict[str, str], words: str) -> None:
    tale = Tale(PLAIN).think("research", "So far this.")
    if kind is not None:
        tale.tell(kind, usage=USAGE, seconds=1.0, **fields)
    assert tale.text.startswith(
        f"# Should the city convert \\*all\\* buses?\n\n{words}\n\n## research\n\nSo far this.\n"
    )


# ---- sections --------------------------------------------------------------------------------------------------------


def test_the_answer_of_the_synthesis_is_the_document() -> None:
    tale = Tale(section("risks"), synthesis=True).think("risks", "Many.").think("synthesis", "The answer.").finish("-")
    assert tale.text.startswith("# Should the city convert \\*all\\* buses?\n\nThe answer.\n\n---\n")


def test_sections_come_in_order_under_their_titles_with_headings_below() -> None:
    tale = Tale(section("summary"), section("risks"), section("costs"))
    tale.think("costs", "Costs\n=====\n\nDear.\n\n### Details").think(
        "summary", "# Short\n\n```\n# no heading\n```\n\n## More"
    )
    tale.think("risks", "Few.")
    assert tale.finish("-").text == (
        "# Should the city convert \\*all\\* buses?\n\n1. Summary\n2. Risks\n3. Costs\n\n"
        "## Summary\n\n### Short\n\n```\n# no heading\n```\n\n#### More\n\n"
        "## Risks\n\nFew.\n\n"
        "## Costs\n\n### Costs\n\nDear.\n\n##### Details\n\n"
        "---\n\n*run r1 · workflow some · 3 agents*\n"
    )
    levels = [(node.number, node.words()) for node in page_of(document_of(tale.run)).headings]
    assert levels == [
        (2, "Summary"),
        (3, "Short"),
        (4, "More"),
        (2, "Risks"),
        (2, "Costs"),
        (3, "Costs"),
        (5, "Details"),
    ]


def test_a_single_section_is_its_text_alone() -> None:
    assert Tale(section("risks")).think("risks", "# Own\n\ntext").finish("-").text.startswith("# Own\n\ntext\n\n---")


def test_a_section_has_its_title_once() -> None:
    tale = (
        Tale(section("risks"), section("costs")).think("risks", "## Risks\n\nFew.").think("costs", "Dear.").finish("-")
    )
    assert tale.text.count("Risks") == 1 and "## Risks\n\nFew.\n" in tale.text


def test_a_code_block_left_open_does_not_swallow_the_next_section() -> None:
    tale = Tale(section("risks"), section("costs")).think("risks", "```\nopen").think("costs", "Dear.").finish("-")
    assert "```\nopen\n\n```\n\n## Costs\n\nDear." in tale.text
    assert [node.words() for node in page_of(document_of(tale.run)).headings] == ["Risks", "Costs"]


def test_each_section_says_what_is_wrong_with_it() -> None:
    names = ("cut", "old", "edited", "gone", "waiting", "fine")
    tale = Tale(*(section(name) for name in names), review=True)
    tale.think("cut", "half", truncated=True).think("old", "made from").think("edited", "first").think("fine", "good")
    tale.tell(SectionStale, section="old", version=1, by="ann")
    tale.tell(SectionEdited, section="edited", version=2, by="ann", text="By hand.")
    tale.tell(StageFinished, stage="gone", outcome="abandoned", why="llm_error: no <model>")
    tale.tell(SectionApproved, section="fine", version=1, by="ann")
    parts = {part.title: part for part in document_of(tale.run).parts}
    unapproved = "Nobody has approved this."
    assert parts["Cut"].marks == ("This text is truncated: the model stopped before its end.", unapproved)
    assert parts["Old"].marks == ("A text that this was made from has changed since.", unapproved)
    assert parts["Edited"].marks == ("Version 2, written by ann.", unapproved)
    assert parts["Edited"].text == "By hand."
    assert parts["Gone"].marks == ("This section is missing: llm_error: no \\<model>.",)
    assert parts["Waiting"].marks == ("This section is not written yet.",)
    assert parts["Fine"].marks == ()
    assert "## Gone\n\n> This section is missing: llm_error: no \\<model>.\n\n## Waiting" in tale.text


def test_without_review_nothing_is_said_of_approval() -> None:
    tale = Tale(section("risks"), section("costs")).think("risks", "a").think("costs", "b").finish("-")
    assert "approved" not in tale.text


def test_an_optional_section_that_was_not_asked_for_is_left_out() -> None:
    tale = Tale(section("risks"), section("tests", optional=True), section("costs")).think("risks", "a")
    tale.tell(StageFinished, stage="tests", outcome="skipped", why="not asked for")
    assert [part.title for part in document_of(tale.run).parts] == ["Risks", "Costs"]


def given_up(**settings: Any) -> Tale:
    tale = Tale(section("risks"), section("tests"), section("costs"), **settings)
    tale.think("risks", "Few.").think("tests", "None.").think("costs", "Dear.")
    return tale.tell(CommandAccepted, id="c1", by="bob", name="cancel", args={"section": "tests"}, reply={})


def test_a_section_that_was_given_up_is_left_out_and_named_once() -> None:
    sentence = "Tests is left out: given up by bob"
    tale = given_up(review=True)
    assert [part.title for part in document_of(tale.run).parts] == ["Risks", "Costs"]
    assert "None." not in tale.text and tale.text.count(sentence) == 1
    tale.finish("-", sentence)
    assert [part.title for part in document_of(tale.run).parts] == ["Risks", "Costs"]
    assert tale.text.count(sentence) == 1


def test_what_a_person_wrote_or_approved_is_not_given_up() -> None:
    edited = given_up(review=True).tell(SectionEdited, section="tests", version=2, by="ann", text="By hand.")
    approved = given_up(review=True).tell(SectionApproved, section="tests", version=1, by="ann")
    for tale in (edited, approved, given_up()):
        assert [part.title for part in document_of(tale.run).parts] == ["Risks", "Tests", "Costs"]
        assert "left out" not in tale.text


# ---- the appendix ----------------------------------------------------------------------------------------------------


def test_a_stage_skipped_as_meant_is_not_missing() -> None:
    stages = (
        Stage(name="review", agent="reviewer", reviews="risks", after=("risks",)),
        Stage(name="refine", agent="refiner", revises="risks", after=("review",)),
        Stage(name="tests", agent="tester", optional=True),
    )
    tale = Tale(section("risks"), section("costs"), *stages).think("risks", "Few.").think("costs", "Dear.")
    for stage in stages:
        tale.tell(StageFinished, stage=stage.name, outcome="skipped", why="as meant")
    assert "What was missing" not in markdown(document_of(tale.run, appendix=True))
    tale.tell(StageFinished, stage="costs", outcome="skipped", why="nothing to write it from")
    text = markdown(document_of(tale.run, appendix=True))
    assert text.count("- Stage ") == 1 and "- Stage costs: skipped, nothing to write it from" in text


def test_the_appendix_tells_who_wrote_what_and_what_was_missing() -> None:
    review = Stage(name="review", agent="reviewer", reviews="risks", after=("risks",))
    tale = Tale(section("risks"), section("costs"), review, synthesis=True)
    tale.think("risks", "Few.")
    issue = Issue(what="no | number", where="line 1", instead="give *one*")
    tale.think("review", "{}", verdict=Verdict(approved=False, issues=(issue,)))
    tale.think("risks", "Three.", usage=Usage(prompt_tokens=10, completion_tokens=5, estimated=True))
    tale.tell(SectionApproved, section="risks", version=2, by="bob")
    tale.tell(StageFinished, stage="costs", outcome="abandoned", why="stalled")
    missing = (Missing(agent="writer-costs", why="stalled"),)
    tale.tell(SynthesisStarted, inputs=("t1",), missing=missing, thought="t1", attempt=1)
    text = markdown(document_of(tale.run, appendix=True))
    assert "## Appendix" in text and "Started 2026-11-18 11:07 by ann." in text
    assert "| writer-risks | research | extractive (offline) | 2 | \\~1,210 | \\~345 |" in text
    assert "| reviewer | research | extractive (offline) | 1 | 1,200 | 340 |" in text
    assert "| writer-costs | research | – | 0 | 0 | 0 |" in text
    assert "| Risks | 1 | writer-risks | 2026-11-18" in text
    assert "current, approved by bob |" in text
    assert "- reviewer on Risks, 2026-11-18" in text and ": **not approved**" in text
    assert "  - Issue: no \\| number (in line 1) Instead: give \\*one\\*" in text
    assert "- Agent writer-costs: stalled" in text and "- Stage costs: abandoned, stalled" in text
    tables = [node for node in page_of(document_of(tale.run, appendix=True)).nodes if node.kind == "table"]
    assert [{len(row.children) for row in table.children} for table in tables] == [{6}, {5}]
    assert "## Appendix" not in tale.text


# ---- words that mean nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        *("*a* _b_ `c` [d](e) ![f](g) <h> &amp; ~~i~~ | \\", "# x", "- x", "1. x", "> x", "+ x", "===", "---", "a # #"),
        *("<https://x.example>", "a_b_c", "2 * 3 < 4 & 5", "12) x", "[a]: b", "``` x", "~~~", "https://x.example"),
    ],
)
def test_escaped_words_come_out_as_they_went_in(words: str) -> None:
    nodes = Reader().read(escaped(words))
    assert nodes is not None
    assert [node.kind for node in nodes] == ["paragraph"]
    assert {node.kind for node in nodes[0].walk()} == {"paragraph", "text"}
    assert nodes[0].words() == words


@pytest.mark.parametrize(
    ("text", "end"),
    [
        *(("plain", ""), ("```\nx\n```", ""), ("```\nx", "```"), ("~~~~\nx\n~~~", "~~~~"), ("<!-- x", "-->")),
        *(
            ("<!-- x -->", ""),
            ("<script>\nx", "</script>"),
            ("<div>\nx", ""),
            ("- a\n\n  ```\n  x", ""),
            ("```", "```"),
        ),
    ],
)
def test_what_is_left_open_is_closed(text: str, end: str) -> None:
    assert ending(text, Reader()) == end


def test_headings_move_and_nothing_else_does() -> None:
    assert below("a\r\n# b\r\n\r\n#c\r\n", 3, Reader()) == "a\r\n### b\r\n\r\n#c\r\n"
    assert below("# a\n###### b", 3, Reader()) == "### a\n###### b"
    assert below("### a", 3, Reader()) == "### a"
    assert below("two\nlines\n---\nx", 3, Reader()) == "### two lines\nx"
    assert below("    # code\n> # quote", 3, Reader()) == "    # code\n> # quote"


# ---- the file's name -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("Should the city convert?", "should-the-city-convert"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden \x00\n C:\\x", "hidden-c-x"),
        ("???", "document"),
        ("W" * 600, "w" * 40),
        ("con", "con"),
        ("夜行バス नमस्ते", "夜行バス-नमस्ते"),
        ("word " * 50, "word-word-word-word-word-word-word-word"),
    ],
)
def test_the_files_name_carries_task_and_day(task: str, name: str) -> None:
    assert file_name(task, 1_795_000_000.0) == f"{name}-2026-11-18"
