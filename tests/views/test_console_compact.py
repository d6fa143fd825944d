"""The compact text: one line for each finished thought and each change of state, whatever is said."""

from __future__ import annotations

import io
from typing import Any

import pytest
from console_script import BEGAN_AT, Played, Script, consent, council, utc

from felixhub.core.events import SectionReady
from felixhub.core.review import Issue, Verdict
from felixhub.views.console import ConsoleOptions, watch
from felixhub.views.console_compact import CompactLines
from felixhub.views.console_filter import ConsoleFilter
from felixhub.views.console_look import Look
from felixhub.views.text_width import text_width

PIPE = Look()
TERMINAL = Look(terminal=True)


def lines_of(look: Look = PIPE, **options: Any) -> CompactLines:
    return CompactLines(look, clock=utc, **options)


def shown(console: CompactLines, script: Script, *, start: int = 0) -> list[str]:
    return [line.shown for event in script.events[start:] for line in console.take(event, event.at)]


def test_a_whole_run() -> None:
    assert (
        "\n".join(shown(lines_of(), council()))
        == """\
12:00:00 hub        ▸ run r1 started by ann · council · 3 agents: research, critic, synthesis · qwen3-8b · task: Why?
12:00:04 research   ✓ t=0.30 · 212 tokens · 3.9 s · confidence 0.52 · The key findings from the research indicate \
that helical geometry narrows.
12:00:05 critic     ✗ abandoned (stalled): no text for 60 s
12:00:05 hub        ◆ synthesis from 1 thought, without critic (stalled)
12:00:06 synthesis  ✓ t=1.00 · ~1 token · 3.9 s · confidence 0.52 · Because.
12:00:06 hub        ⚠ run finished degraded in 6.1 s · 424 tokens · 150 tokens of prompts · result of 1 word: \
felixhub export r1
12:00:06 hub        ⚠ critic is missing (stalled)"""
    )


def test_each_is_one_line_that_fits_a_terminal() -> None:
    script = Script(task="A task\nof several lines " + "long " * 100)
    script.start("research", 0.1)
    script.say("research", 0.2, "# 漢字の見出し\n\n" + "words and words\n" * 300)
    script.finalize("research", 1.0)
    script.start("critic", 1.1)
    script.abandon("critic", 1.2, "llm_error", error="why " * 200)
    for width in (40, 60, 100):
        lines = shown(lines_of(TERMINAL, width=width), script)
        assert len(lines) == 3
        assert all("\n" not in line and text_width(line) < width for line in lines)
        assert all(line.endswith("…") for line in lines)


def test_another_attempt_and_a_revision_are_news() -> None:
    script = Script()
    script.start("research", 0.1)
    script.abandon("research", 0.5, "llm_error", error="cut off", retry_s=1.0)
    script.start("research", 1.5, attempt=2)
    script.finalize("research", 2.0)
    script.start("research", 2.5, revises="t1", round=2)
    found = shown(lines_of(), script, start=1)
    assert [line.split()[2] for line in found] == ["✗", "▸", "✓", "▸"]
    assert "again in 1.0 s" in found[0] and "attempt 2" in found[1] and "revises t1" in found[3]


def test_a_review_is_its_verdict_and_no_text_of_it() -> None:
    script = consent()
    script.start("reviewer-1", 0.1, stage="review-risks")
    script.say("reviewer-1", 0.2, '{"approved": false}')
    issue = Issue(what="no owner", where="line 3")
    script.finalize("reviewer-1", 0.3, verdict=Verdict(approved=False, issues=(issue,)))
    (line,) = shown(lines_of(), script, start=1)
    assert line.endswith("confidence 0.52 · review: not approved, 1 issue · no owner (line 3)")
    assert "⚠ review-risks · " in line and "{" not in line


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("# Risks\n\n**Grid:** it is _late_.", "Risks Grid: it is late."),
        ("- one\n- two\n1. three", "one two three"),
        ("> `code` and snake_case, 2 * 3 = 6", "code and snake_case, 2 3 = 6"),
        ("**Answer**\n\nYes", "Answer Yes"),
        ("***", ""),
    ],
)
def test_a_text_begins_with_its_words(said: str, shown: str) -> None:
    script = Script()
    script.start("research", 0.1)
    script.say("research", 0.2, said)
    script.finalize("research", 0.3)
    console = lines_of()
    (line,) = [line.text for event in script.events[1:] for line in console.take(event, event.at)]
    assert line.partition("confidence 0.52")[2].removeprefix(" · ") == shown


def test_a_section_is_its_thoughts_line_and_a_review_says_more() -> None:
    for settings, count in (({}, 0), ({"review": True}, 1)):
        script = consent(**settings)
        console = lines_of()
        shown(console, script)
        script.add(SectionReady, 0.5, section="risks", version=1, by="writer-1", thought="t1", whole=True)
        assert len(shown(console, script, start=1)) == count
    script = consent()
    script.add(SectionReady, 0.5, section="risks", version=1, by="writer-1", thought="t1", whole=False)
    assert "truncated" in shown(lines_of(), script)[-1]


def test_filters_and_highlights_work_on_the_line() -> None:
    keep = ConsoleFilter(agents=("research",), include=("helical",))
    (line,) = shown(lines_of(keep=keep), council())
    assert "research" in line and "helical" in line
    assert shown(lines_of(keep=ConsoleFilter(exclude_agents=("*",))), council()) == []
    late = shown(lines_of(keep=ConsoleFilter(since=BEGAN_AT + 5.5)), council())
    assert [line[:8] for line in late] == ["12:00:06"] * 3


def test_in_plain_ascii() -> None:
    script = council()
    script.start("research", 7.0)
    script.say("research", 7.1, "long " * 100)
    script.finalize("research", 7.2)
    found = shown(lines_of(Look(ascii_only=True)), script)
    assert all(line.isascii() for line in found) and found[-1].endswith("...")


def test_hostile_text_is_shown_and_not_obeyed() -> None:
    script = Script()
    script.start("research", 0.1)
    script.say("research", 0.2, "\x1b[2J\x1b]0;owned\x07\r12:00:00 hub ✓ fake\u202e")
    script.finalize("research", 0.3)
    (line,) = shown(lines_of(), script, start=1)
    assert "\x1b" not in line and "\r" not in line and "\u202e" not in line
    assert "fake" in line and line.startswith("12:00:00 research ")


def test_now_and_then_what_all_are_doing() -> None:
    script = Script(agents=[f"a-{number}" for number in range(100)])
    console = lines_of()
    shown(console, script)

    def tick(at: float, *states: str) -> list[str]:
        busy = (script.busy(f"a-{number}", 1.0, state) for number, state in enumerate(states))
        beats = {script.run: script.beat(*busy)}
        return [line.shown for line in console.tick(BEGAN_AT + at, beats)]

    many = ["streaming"] * 60 + ["thinking"] * 30 + ["queued"] * 8 + ["stalled"] * 2
    (first,) = tick(1.0, *many)
    assert first.endswith("hub        … 60 streaming · 30 thinking · stalled: a-98, a-99 · 8 queued · 0 final")
    assert tick(2.0, "streaming") == [], "so soon there is nothing new to say"
    script.start("a-0", 6.0)
    for event in (script.events[-1], script.finalize("a-0", 6.1)):
        console.take(event, event.at)
    (later,) = tick(6.2, "streaming")
    assert later.endswith("… 1 streaming · 1 final")
    assert tick(12.0, "streaming") == [], "it is as it was"
    assert tick(18.0) == [], "nobody is busy"


def test_what_was_not_finished_has_no_line() -> None:
    script = Script()
    script.start("research", 0.1)
    script.say("research", 0.2, "half a sent")
    console = lines_of()
    shown(console, script)
    assert console.finish() == []
    console.forget(script.run)  # The run starts over, and comes again from its beginning.
    script.finalize("research", 0.5)
    assert len(shown(console, script)) == 2


def test_watch_takes_it_as_an_option() -> None:
    script, out = council(), io.StringIO()
    played = Played(script.events)
    watch(played, ConsoleOptions(compact=True), out, io.StringIO(), environ={}, clock=played.clock)
    assert len(out.getvalue().splitlines()) == 7


def test_since_shows_all_that_is_younger() -> None:
    """Not only the last twenty lines of a run that goes on."""
    script = Script()
    for number in range(50):
        script.start("research", 100.0 + number)
        script.finalize("research", 100.5 + number)
    script.start("critic", 3_000.0)
    for since_s, count in ((None, 21), (86_400.0, 51), (2_885.6, 36)):
        out = io.StringIO()
        played = Played(script.events, [[]], began=3_000.0, ends=True)
        played.follower.board.is_complete = lambda _run: False
        options = ConsoleOptions(compact=True, since_s=since_s)
        watch(played, options, out, io.StringIO(), environ={}, clock=played.clock)
        assert len(out.getvalue().splitlines()) == count, since_s
