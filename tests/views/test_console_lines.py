"""What a run looks like as lines: golden outputs from scripted events."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from console_script import BEGAN_AT, Script, council, utc

from felixhub.core.events import (
    AgentLost,
    CommandAccepted,
    RunCancelled,
    RunFailed,
    RunPaused,
    RunResumed,
    StageFinished,
    ThoughtCancelling,
    UnknownEvent,
    Usage,
    WorkerInfo,
)
from felixhub.core.messages import RunBeat
from felixhub.views.console_filter import ConsoleFilter
from felixhub.views.console_lines import ConsoleLines
from felixhub.views.console_look import Look
from felixhub.views.text_width import text_width

PIPE = Look()
TERMINAL = Look(terminal=True)
COLOUR = Look(terminal=True, colour=True)


def lines_of(look: Look = PIPE, **options: Any) -> ConsoleLines:
    return ConsoleLines(look, clock=utc, **options)


def shown(console: ConsoleLines, script: Script, *, start: int = 0) -> list[str]:
    return [line.shown for event in script.events[start:] for line in console.take(event, event.at)]


def test_a_whole_run() -> None:
    assert (
        "\n".join(shown(lines_of(), council()))
        == """\
12:00:00 hub        ▸ run r1 started by ann
12:00:00 hub          council · 3 agents: research, critic, synthesis · qwen3-8b
12:00:00 hub        │ Why?
12:00:00 research   ▸ started   t=0.30  qwen3-8b  attempt 1
12:00:00 critic     ▸ started   t=0.70  lmstudio  attempt 1
12:00:00 research   │ The key findings from the research
12:00:00 research   │
12:00:04 research   │ indicate that helical geometry narrows.
12:00:04 research   ✓ 212 tokens · 11 words · first token 0.4 s · 61 tok/s · 3.9 s · confidence 0.52
12:00:05 critic     │ Not so fast.
12:00:05 critic     ✗ abandoned (stalled): no text for 60 s · 3 words kept
12:00:05 hub        ◆ synthesis from 1 thought, without critic (stalled)
12:00:05 synthesis  ▸ started   t=1.00  qwen3-8b  attempt 1
12:00:05 synthesis  │ Because.
12:00:06 synthesis  ✓ ~1 token · 1 word · first token 0.4 s · ~0.3 tok/s · 3.9 s · confidence 0.52
12:00:06 hub        ⚠ run finished degraded in 6.1 s · 424 tokens · 150 tokens of prompts
12:00:06 hub        ⚠ critic is missing (stalled)
─── result, degraded ───────────────────────────────────────────────────────────
  Because.
────────────────────────────────────────────────────────────────────────────────"""
    )


def test_in_plain_ascii_with_elapsed_time() -> None:
    found = shown(lines_of(Look(ascii_only=True), elapsed=True), council())
    assert all(line.isascii() for line in found)
    assert found[3] == "[+0.1s]   research   > started   t=0.30  qwen3-8b  attempt 1"
    assert found[5] == "[+0.5s]   research   | The key findings from the research"
    assert found[8].startswith("[+4.0s]   research   ok 212 tokens, 11 words")
    assert found[10].startswith("[+5.0s]   critic     x abandoned (stalled)")
    assert found[11].startswith("[+5.1s]   hub        * synthesis from 1 thought")


def test_the_other_hub_lines() -> None:
    script = Script(task="one\ntwo\n\nthree\nfour\nfive")
    worker = WorkerInfo(session="s", pid=42, host="box")
    script.add(RunPaused, 1, by="ann")
    script.add(RunResumed, 2, by="ann")
    script.start("research", 3, attempt=2, stage="research-wide", model=None, endpoint="", steered_by="bo")
    script.add(AgentLost, 4, agent="research", worker=worker)
    script.abandon("research", 4, "agent_lost", retry_s=2.0)
    script.start("critic", 5)
    script.add(CommandAccepted, 6, id="c", name="cancel", args={"run": "r1", "agent": "critic"}, by="ann", reply={})
    script.add(ThoughtCancelling, 6, agent="critic", thought=script.thought("critic"), by="ann")
    script.abandon("critic", 6.5, "cancelled")
    script.add(StageFinished, 7, stage="critic", outcome="abandoned", why="cancelled")
    script.add(StageFinished, 7, stage="synthesis", outcome="skipped")
    script.add(StageFinished, 7, stage="research", outcome="final")
    script.add(CommandAccepted, 8, id="d", name="cancel", args={"run": "r1"}, by="", reply={})
    script.add(CommandAccepted, 8, id="e", name="pause", args={"run": "r1"}, by="ann", reply={})
    script.add(UnknownEvent, 9, kind="section.ready")
    script.add(RunFailed, 9, error="no agent finished a thought", usage=Usage(), seconds=9.0)
    script.add(RunCancelled, 9, by="ann", usage=Usage(completion_tokens=1200, estimated=True), seconds=190.0)
    assert (
        "\n".join(shown(lines_of(), script, start=1))
        == """\
12:00:01 hub        ‖ paused by ann
12:00:02 hub        ▸ resumed by ann
12:00:03 research   ▸ started   t=0.30  program  attempt 2  stage research-wide  steered by bo
12:00:04 research   ⚠ worker lost (process 42 on box)
12:00:04 research   ✗ abandoned (agent_lost) · again in 2.0 s
12:00:05 critic     ▸ started   t=0.30  qwen3-8b  attempt 1
12:00:06 hub        ◆ ann cancelled critic
12:00:06 critic     ■ cancelled by ann
12:00:07 hub        ✗ stage critic abandoned: cancelled
12:00:07 hub        · stage synthesis skipped
12:00:08 hub        ◆ someone cancelled run r1
12:00:09 hub        · section.ready
12:00:09 hub        ✗ run failed after 9.0 s: no agent finished a thought
12:00:09 hub        ■ run cancelled by ann after 3 min 10 s · ~1,200 tokens"""
    )
    assert [line.text for line in lines_of().take(script.events[0], 0.0)][2:] == [
        "one",
        "two",
        "three",
        "… 2 more lines",
    ]


def test_a_cancel_is_told_by_its_thought_and_not_by_its_stage_too() -> None:
    def run(console: ConsoleLines) -> list[str]:
        script = Script()
        script.start("critic", 5)
        script.start("research", 5)
        script.add(ThoughtCancelling, 6, agent="critic", thought=script.thought("critic"), by="ann")
        script.abandon("critic", 6.5, "cancelled")
        script.add(StageFinished, 7, stage="critic", outcome="abandoned", why="cancelled by ann")
        script.abandon("research", 7, "stalled", error="no text for 60 s")
        script.add(StageFinished, 7, stage="research", outcome="abandoned", why="stalled: no text for 60 s")
        return [line for line in shown(console, script, start=0) if "cancelled" in line or "stage" in line]

    assert run(lines_of()) == [
        "12:00:06 critic     ■ cancelled by ann",
        "12:00:07 hub        ✗ stage research abandoned: stalled",
    ]
    hub_alone = run(lines_of(keep=ConsoleFilter(agents=("hub",))))
    assert hub_alone[0] == "12:00:07 hub        ✗ stage critic abandoned: cancelled by ann", "nobody else has told it"


def test_honest_ends() -> None:
    script = Script()
    script.start("research", 0)
    script.say("research", 1, "half wo")
    script.say("research", 1, "rds here")
    script.finalize(
        "research",
        2,
        truncated=True,
        finish_reason="length",
        usage=Usage(completion_tokens=9, reasoning_tokens=4, estimated=True),
        first_token_s=None,
    )
    line = shown(lines_of(), script)[-1]
    assert line.endswith("⚠ ~9 tokens (~4 reasoning) · 3 words · 3.9 s · confidence 0.52 · TRUNCATED (length)")
    late = lines_of()
    assert [one.text for one in late.take(script.events[3], 0.0)] == []
    assert "words" not in late.take(script.events[-1], 0.0)[-1].text, "not all of the text was seen"


# ---- whole lines -----------------------------------------------------------------------------------------------------


def test_still_text_is_shown_on_a_terminal_only() -> None:
    script = Script()
    script.start("research", 0)
    script.say("research", 1, "half a line")
    for look, expected in ((TERMINAL, ["12:00:01 research   │ half a line"]), (Look(), [])):
        console = lines_of(look)
        shown(console, script)
        assert console.tick(BEGAN_AT + 1.3, {}) == []
        assert [line.shown for line in console.tick(BEGAN_AT + 1.5, {})] == expected
        assert [line.text for line in console.finish()] == ([] if expected else ["half a line"])


def test_two_agents_never_share_a_line() -> None:
    script = Script()
    for agent in ("research", "critic"):
        script.start(agent, 0)
    for step in range(60):
        script.say("research", step / 10, "r" * (step % 7) + " ")
        script.say("critic", step / 10, "c" * (step % 5) + "\n" * (step % 9 == 0))
    console = lines_of(TERMINAL, width=50)
    found = shown(console, script, start=1)
    for line in found:
        assert "\n" not in line and not ({"r", "c"} <= set(line.partition("│")[2])), line
        assert text_width(line) < 50


def test_the_width_changes_while_a_line_grows() -> None:
    script = Script()
    script.start("research", 0)
    console = lines_of(TERMINAL, width=80)
    shown(console, script)
    wide = console.take(script.say("research", 1, "seven words that fit a wide terminal"), 1.0)
    console.width = 45
    narrow = console.take(script.say("research", 1, " but no more"), 1.1)
    assert wide == []
    assert [line.text for line in narrow] == ["seven words that fit a", "wide terminal but no"]
    assert all(text_width(line.shown) < 45 for line in narrow)
    console.width = 10
    assert all(line.text for line in console.take(script.say("research", 1, " word" * 20), 1.2)), (
        "at least some columns"
    )


def test_the_agents_column_grows() -> None:
    script = Script(("research", "a-rather-long-name", "x" * 40))
    script.start("a-rather-long-name", 0)
    script.start("research", 0)
    script.start("x" * 40, 0)
    for keep, columns in ((None, 24), (ConsoleFilter(agents=("research", "hub", "a-*")), 18)):
        begun = [line.index("▸") for line in shown(lines_of(TERMINAL, keep=keep), script) if "▸" in line]
        assert set(begun) == {len("12:00:00 ") + columns + 1}, "wide enough from the start for whoever will speak"
    first, second, third = shown(lines_of(TERMINAL), script, start=1)
    assert first.index("▸") == second.index("▸") == len("12:00:00 a-rather-long-name ")
    assert third.split()[1] == "xxxxxxxxxxxxxxx…xxxxxxxx"
    assert "x" * 40 in shown(lines_of(), script, start=1)[2], "never cut in a pipe"


def test_long_sentences_are_wrapped_on_a_terminal_only() -> None:
    script = Script()
    script.start("research", 0)
    script.finalize("research", 4.0)
    assert (
        shown(lines_of(TERMINAL, width=61), script)[-3:]
        == [
            "12:00:00 research   ▸ started   t=0.30  qwen3-8b  attempt 1",
            "12:00:04 research   ✓ 212 tokens · 0 words",
            "12:00:04 research     first token 0.4 s · 61 tok/s · 3.9 s",
            "12:00:04 research     confidence 0.52",
        ][-3:]
    )
    assert len(shown(lines_of(width=61), script)) == len(script.events) + 2


# ---- hostile text ----------------------------------------------------------------------------------------------------

HOSTILE = "a\x1b[2Jb\x1b]52;c;x\x07c\x9b31md\re\u202ef\n12:00:00 hub        ✓ run finished\x00"


@pytest.mark.parametrize("look", [Look(), TERMINAL, COLOUR, Look(terminal=True, ascii_only=True)])
def test_hostile_text_is_inert_wherever_it_stands(look: Look) -> None:
    script = Script(task=HOSTILE)
    script.start("research", 0, model=HOSTILE, steered_by=HOSTILE)
    script.say("research", 1, HOSTILE)
    script.say("research", 1, HOSTILE, channel="reasoning")
    script.abandon("research", 2, "llm_error", error=HOSTILE)
    script.add(CommandAccepted, 3, id="c", name=HOSTILE, args={"agent": HOSTILE}, by=HOSTILE, reply={})
    script.add(StageFinished, 4, stage=HOSTILE, outcome="abandoned", why=HOSTILE)
    script.add(UnknownEvent, 5, kind=HOSTILE)
    script.add(AgentLost, 5, agent=HOSTILE, worker=WorkerInfo(session="s", pid=1, host=HOSTILE))
    script.finish(6, HOSTILE, degraded=(HOSTILE,))
    console = lines_of(look, reasoning=True)
    for line in shown(console, script):
        ours = re.sub(r"\x1b\[\d+m", "", line) if look.colour else line
        assert ours.isprintable(), line
        assert re.match(r"12:00:\d\d |[─-]{3}|  |$", ours), line
        if ours.startswith("12:00:00 hub "):
            assert "finished" not in ours or "│ 12:00:00" in ours or "| 12:00:00" in ours, (
                "nobody can speak for the hub"
            )


# ---- colour ----------------------------------------------------------------------------------------------------------


def test_colours_go_round_on_first_sight() -> None:
    names = [f"a{n}" for n in range(12)]
    script = Script(names)
    for name in names:
        script.start(name, 0)
    found = shown(lines_of(COLOUR), script, start=1)
    colours = [re.findall(r"\x1b\[(\d+)ma\d", line)[0] for line in found]
    assert colours[:3] == ["36", "35", "33"]
    assert len(set(colours)) == 10 and colours[10:] == colours[:2]
    assert all(line.count("\x1b[") % 2 == 0 for line in found), "each is taken back"


def test_highlights_are_marked_without_touching_the_rest() -> None:
    script = Script()
    script.start("research", 0)
    script.say("research", 1, "the helix, THE turn 7m\n")
    patterns = [re.compile("(?i)the"), re.compile("e h"), re.compile("7|m"), re.compile("x*")]
    line = shown(lines_of(COLOUR, highlight=patterns), script)[-1]
    assert line.endswith("\x1b[7mthe h\x1b[27meli\x1b[7mx\x1b[27m, \x1b[7mTHE\x1b[27m turn \x1b[7m7m\x1b[27m")
    assert shown(lines_of(TERMINAL, highlight=patterns), script)[-1].endswith("│ the helix, THE turn 7m")


# ---- reasoning and silence -------------------------------------------------------------------------------------------


def test_reasoning_is_shown_when_asked_for_and_told_from_text_without_colour() -> None:
    script = Script()
    script.start("research", 0)
    script.say("research", 1, "let me think", channel="reasoning", tokens=3)
    script.say("research", 2, "Because.\n")
    assert shown(lines_of(reasoning=True), script)[-2:] == [
        "12:00:02 research   ┊ let me think",
        "12:00:02 research   │ Because.",
    ]
    assert "\x1b[2mlet me think\x1b[0m" in shown(lines_of(COLOUR, reasoning=True), script)[-2]
    assert not any("think" in line for line in shown(lines_of(), script))


def test_reasoning_that_is_not_shown_is_counted() -> None:
    script = Script()
    script.start("research", 0)
    console = lines_of(TERMINAL)
    shown(console, script)
    found = []
    for step in range(1, 90):
        now = BEGAN_AT + step / 10
        console.take(script.say("research", step / 10, "hm ", channel="reasoning", tokens=step), now)
        found += [line.shown for line in console.tick(now, {})]
    assert found == ["12:00:02 research   … reasoning ~21 tokens", "12:00:07 research   … reasoning ~71 tokens"]


def silence(console: ConsoleLines, script: Script, agent: str, upto: float, **options: Any) -> list[str]:
    found = []
    for step in range(int(upto * 2)):
        beat = script.beat(script.busy(agent, step / 2, **options))
        found += [line.shown for line in console.tick(BEGAN_AT + step / 2, {"r1": beat})]
    return found


def test_silence_is_told_after_two_seconds_and_then_every_five() -> None:
    script = Script()
    script.start("research", 0)
    console = lines_of()
    shown(console, script)
    assert silence(console, script, "research", 13) == [
        "12:00:02 research   … thinking 2 s",
        "12:00:07 research   … thinking 7 s",
        "12:00:12 research   … thinking 12 s",
    ]
    script.say("research", 13, "a")
    assert silence(lines_of(), script, "research", 3, state="streaming") == ["12:00:02 research   … silent for 2 s"]
    assert silence(lines_of(), script, "research", 3, state="stalled") == [
        "12:00:02 research   ⚠ stalled, silent for 2 s"
    ]
    assert silence(lines_of(), script, "research", 9, state="queued")[:1] == [
        "12:00:02 hub        … queued for a model: research"
    ]
    assert silence(lines_of(keep=ConsoleFilter(agents=["critic"])), script, "research", 9) == []


def test_a_beat_from_before_the_end_says_nothing() -> None:
    script = Script()
    script.start("research", 0)
    old = script.beat(script.busy("research", 60.0, "stalled"))
    script.abandon("research", 1, "stalled")
    console = lines_of()
    shown(console, script)
    assert console.tick(BEGAN_AT + 1, {"r1": old}) == []
    console.take(script.finish(2), BEGAN_AT + 2)
    assert console.tick(BEGAN_AT + 9, {"r1": script.beat(script.busy("critic", 60.0))}) == []


def test_while_the_hub_is_away_nothing_is_claimed() -> None:
    script = Script()
    script.start("research", 0)
    beats = {"r1": script.beat(script.busy("research", 0.0))}
    console = lines_of()
    found = [line.text for step in range(60) for line in console.tick(BEGAN_AT + step / 2, beats)]
    assert found == ["thinking 2 s"]


def test_many_silent_agents_share_a_line() -> None:
    script = Script([f"agent-{n:02d}" for n in range(100)])
    for n in range(100):
        script.start(f"agent-{n:02d}", 0)
    console = lines_of()
    shown(console, script)
    found = []
    for step in range(20):
        beat = script.beat(*(script.busy(f"agent-{n:02d}", step / 2 + n / 1000) for n in range(100)))
        found += [line.shown for line in console.tick(BEGAN_AT + step / 2, {"r1": beat})]
    assert found == [
        "12:00:02 100 agents … silent, the longest for 2 s: agent-00, agent-01, agent-02 and 97 more",
        "12:00:07 100 agents … silent, the longest for 7 s: agent-00, agent-01, agent-02 and 97 more",
    ]


# ---- filters and more runs -------------------------------------------------------------------------------------------


def test_lines_of_some_agents_only() -> None:
    found = shown(lines_of(keep=ConsoleFilter(agents=["critic"])), council())
    assert [line.split()[1] for line in found] == ["critic"] * 3
    assert not any(
        "hub " in line or "result" in line
        for line in shown(lines_of(keep=ConsoleFilter(exclude_agents=["hub"])), council())
    )


def test_patterns_look_at_the_text_alone() -> None:
    assert shown(lines_of(keep=ConsoleFilter(include=["^Not so"])), council()) == ["12:00:05 critic     │ Not so fast."]
    assert shown(lines_of(keep=ConsoleFilter(include=["research   "])), council()) == []


def test_several_runs_are_told_apart() -> None:
    first, second = council(), Script(run="r2")
    console = lines_of(run_shown=True)
    assert shown(console, first)[-3].startswith("─── result, degraded of run r1 ─")
    assert shown(console, second)[0].split()[1] == "r2/hub"


def test_a_run_that_starts_over_forgets_what_was_not_shown() -> None:
    script = Script()
    script.start("research", 0)
    script.say("research", 1, "void")
    console = lines_of()
    shown(console, script)
    console.forget("r1")
    assert console.finish() == []


def test_a_hundred_agents_at_ten_hertz_are_cheap() -> None:
    script = Script([f"a{n}" for n in range(100)])
    for n in range(100):
        script.start(f"a{n}", 0)
    events = [
        script.say(f"a{n}", step / 10, "some forty characters of a model's text. ")
        for step in range(50)
        for n in range(100)
    ]
    console = lines_of(COLOUR, width=120)
    count = 0
    began = time.process_time()
    for number, event in enumerate(events):
        count += len(console.take(event, event.at))
        if number % 50 == 0:
            console.tick(event.at, {})
    spent = time.process_time() - began
    assert count > 1000
    assert spent < 1.0, f"five seconds of text took {spent:.2f} s of processor time"


def test_a_beat_of_an_unknown_run_is_harmless() -> None:
    assert lines_of().tick(BEGAN_AT, {"rx": RunBeat(run="rx", seq=1, status="running")}) == []
