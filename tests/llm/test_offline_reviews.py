"""The offline model in the workflows that ship: forms, reviews, refinements, feedback; all by way of our prompt."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as given_any
from hypothesis import settings
from hypothesis import strategies as st

from felixhub.core import helix
from felixhub.core.events import Feedback
from felixhub.core.expansion import expand
from felixhub.core.messages import Assign, GivenDocument, GivenThought
from felixhub.core.review import Verdict, read_review
from felixhub.core.workflow import Card, Stage
from felixhub.llm.offline_material import sentences_of
from felixhub.llm.offline_prompt import Source
from felixhub.llm.offline_review import contradictions, put_right
from felixhub.llm.offline_writer import write
from felixhub.settings.cards import load_cards
from felixhub.settings.folders import packaged
from felixhub.settings.workflows import check_workflow
from felixhub.worker.prompt import build_prompt

MEMO = (Path(__file__).parents[2] / "examples" / "night-bus-depot.md").read_text("utf-8")
TRIAL = """The study tests whether X-204 tablets prevent migraine attacks in adults. Migraine affects one adult in
seven, and the medicines that are available help only half of them. Earlier research with 212 patients has shown fewer
attacks, but it is not known whether the effect lasts longer than eight weeks.

Adults between 18 and 65 with at least four migraine days a month can take part. Women who are pregnant or
breast-feeding cannot take part. About 300 people will be enrolled at 12 clinics.

Taking part is voluntary, and a person can stop at any time without giving a reason. Participation lasts 24 weeks, with
six visits to the clinic of about one hour each. At each visit a nurse takes a blood sample of 10 ml. Half of the
participants receive X-204 and half receive a placebo, decided by chance.

The most frequent side effects were nausea (12 in 100) and drowsiness (9 in 100). One person in 500 had a severe
allergic reaction. Taking blood may cause pain or a bruise. A loss of privacy cannot be excluded.

Taking part may reduce migraine attacks, but this is not certain. The results may help future patients. Travel costs are
reimbursed up to 25 euros for each visit.

Other treatments are available: beta blockers, antidepressants and injections of antibodies. Refusing has no
consequences for the usual care.
"""
BRIEF = """Residents must be told at least 6 weeks before the work begins. The notice must name a telephone number
that is answered at night. No work is done between 1 am and 4 am. The contractor is Aldermere Rail. A drill costs 9,000
euros.
"""
SOUND = """# Notice

Residents are told at least six weeks before the work begins.
The notice must name a telephone number that is answered at night. No work is
done between 1 am and 4 am.

| who | when |
|---|---|
| crew | at night |

- The contractor is Aldermere Rail.
- Bring ear plugs if you live close to the gate.
"""
TASK = "Write a notice to the residents about the night work."


def told(agent: str, *, role: str = "synthesis", **choices: Any) -> str:
    """What the offline model answers to our worker's prompt."""
    whole: dict[str, Any] = {
        "run": "r",
        "thought": "t",
        "agent": agent,
        "attempt": 1,
        "stage": "one",
        "checkpoint": 0.0,
        "card": Card(name=agent, role=role, prompt="You do your part."),  # type: ignore[arg-type]
        "task": TASK,
        "instruction": "Do it.",
        "endpoint": "offline",
        "model": None,
        "temperature": 0.2,
        "batch_interval_s": 0.1,
        "streaming": True,
        "documents": (GivenDocument(name="brief.md", text=BRIEF),),
    }
    assign = Assign(**{**whole, **choices})
    return write(build_prompt(assign), temperature=assign.temperature)


def thought(agent: str, text: str) -> GivenThought:
    return GivenThought(thought=f"of-{agent}", agent=agent, confidence=0.5, text=text)


def review(text: str, *, by: str = "coder", **choices: Any) -> Verdict:
    return read_review(told("reviewer", role="critic", review=True, context=(thought(by, text),), **choices))


def refine(text: str, *reviews: str, **choices: Any) -> str:
    return told("refiner", revises=text, context=tuple(thought("reviewer", one) for one in reviews), **choices)


def flat(text: str) -> str:
    return " ".join(text.split())


# ── reviews and refinements ──────────────────────────────────────────────────────────────────────────────────────


def test_a_sound_text_is_approved() -> None:
    assert review(SOUND) == Verdict(approved=True)


@pytest.mark.parametrize(
    ("right", "wrong", "repair"),
    [
        ("six weeks", "nine weeks", "Residents must be told at least 6 weeks before the work begins."),
        ("six weeks", "9 weeks", "Residents must be told at least 6 weeks before the work begins."),
        ("No work is\ndone", "Work is\ndone", "No work is done between 1 am and 4 am."),
        ("4 am", "5 am", "No work is done between 1 am and 4 am."),
        ("Aldermere Rail", "Aldermere Road", "The contractor is Aldermere Rail."),
        ("must name a", "must not name a", "The notice must name a telephone number that is answered at night."),
        ("answered at night", "answered at noon", "The notice must name a telephone number that is answered at night."),
    ],
)
def test_a_seeded_defect_is_found_and_gone_after_the_refinement(right: str, wrong: str, repair: str) -> None:
    assert right in SOUND
    seeded = SOUND.replace(right, wrong)
    found = told("reviewer", role="critic", review=True, context=(thought("coder", seeded),))
    verdict = read_review(found)
    assert not verdict.approved and not verdict.fault
    (issue,) = verdict.issues
    assert (
        flat(wrong) in issue.where
        and issue.instead == repair
        and "brief.md says" in issue.what.replace("the opposite of what ", "")
    )
    mended = refine(seeded, found)
    assert flat(wrong) not in flat(mended) and repair in mended
    for line in SOUND.split("\n"):  # What nobody complained of is untouched, to the byte.
        if right.split("\n")[0] not in line and "done between" not in line and "The notice" not in line:
            assert line in mended
    assert review(mended, by="refiner").approved


def test_a_defect_against_the_task_is_found_too() -> None:
    task = "Write a notice. It must say that the road is closed for 3 nights."
    verdict = review("1. The road is closed for 4 nights.\n2. Take the bus.", task=task, documents=())
    assert [issue.instead for issue in verdict.issues] == ["It must say that the road is closed for 3 nights."]


def test_the_text_to_review_is_the_last_one() -> None:
    context = (thought("architect", "The contractor is Aldermere Road."), thought("coder", SOUND))
    assert read_review(told("reviewer", review=True, context=context)).approved
    swapped = context[::-1]
    assert not read_review(told("reviewer", review=True, context=swapped)).approved


@pytest.mark.parametrize(
    "sentence",
    [
        "A drill costs 9,000 euros.",
        "A drill costs 9000 euros, and nobody has one.",
        "There are 11 drills in the shed.",
        "At night a telephone is answered.",
        "Everybody in the street was told about the trees on 3 May.",
        "“No work is done between 1 am and 4 am.” (brief.md)",
        "1. **Work**: “No work is done between 1 am and 4 am.” (brief.md)",
        "No work is done between 1 am and 4 am. [brief.md]",
    ],
)
def test_what_is_only_new_or_shortened_is_no_contradiction(sentence: str) -> None:
    assert contradictions(Source("x", sentence), [Source("brief.md", BRIEF)]) == []


def test_a_figure_that_another_sentence_gives_is_no_contradiction() -> None:
    brief = Source("memo.md", "39 buses cover less than 220 km a day. 14 buses cover between 220 and 290 km a day.")
    assert contradictions(Source("x", "There are 14 buses that cover up to 290 km a day."), [brief]) == []
    (found,) = contradictions(Source("x", "There are 15 buses that cover up to 290 km a day."), [brief])
    assert "“15”" in found.what


def test_a_placeholder_is_an_issue_and_its_sentence_goes() -> None:
    text = SOUND.replace("- Bring ear plugs if you", "- TODO: say what people")
    found = told("reviewer", review=True, context=(thought("coder", text),))
    assert "TODO" in read_review(found).issues[0].what
    assert (
        refine(text, found).strip() == SOUND.replace("\n- Bring ear plugs if you live close to the gate.", "").strip()
    )


def test_a_refinement_without_anything_to_put_right_is_the_same_text() -> None:
    assert refine(SOUND, '{"approved": true, "issues": []}') == SOUND
    assert refine(SOUND, "I could not read it") == SOUND


def test_an_issue_whose_place_is_not_found_is_added_once() -> None:
    verdict = (
        '{"approved": false, "issues": [{"what": "x", "where": "nowhere", "instead": "The gate is locked at 6 pm."}]}'
    )
    mended = refine(SOUND, verdict)
    assert mended == SOUND + "\nThe gate is locked at 6 pm.\n"
    assert refine(mended, verdict) == mended


def test_repairs_are_text_and_never_patterns() -> None:
    text = r"Cost: a+b (c) \1 is wrong here."
    verdict = '{"approved": false, "issues": [{"what": "x", "where": "“a+b (c) \\\\1”", "instead": "\\\\g<0> $1"}]}'
    assert refine(text, verdict) == r"Cost: \g<0> $1 is wrong here." + "\n"


def test_the_writer_of_a_section_refines_it_too() -> None:
    seeded = "About 400 people will be enrolled at 12 clinics."
    documents = (GivenDocument(name="trial.md", text=TRIAL),)
    found = told("reviewer-3", review=True, context=(thought("writer-3", seeded),), documents=documents)
    mended = told("writer-3", revises=seeded, context=(thought("reviewer-3", found),), documents=documents)
    assert mended == "About 300 people will be enrolled at 12 clinics.\n"


@settings(max_examples=40)
@given_any(st.text(max_size=300), st.text(max_size=200), st.text(max_size=300))
def test_any_text_can_be_reviewed_and_refined(text: str, where: str, brief: str) -> None:
    verdict = review(text or "x", documents=(GivenDocument(name="b", text=brief),))
    assert not verdict.fault
    put_right(text, verdict.issues, contradictions(Source("x", text), [Source("b", brief)]))
    assert refine(text or "x", '{"approved": false, "issues": ["' + re.sub(r'[\x00-\x1f"\\]', "", where) + ' x"]}')


# ── feedback ─────────────────────────────────────────────────────────────────────────────────────────────────────

FEEDBACK = Feedback(
    wrong="“ear plugs” are not ours to give",
    instead="Say what a drill costs",
    constraints="Address nobody by name",
)


def test_a_steered_text_follows_the_feedback() -> None:
    text = told("coder", revises=SOUND, feedback=(FEEDBACK,))
    assert "“Say what a drill costs”" in text and "“Address nobody by name”" in text
    assert "A drill costs 9,000 euros. [brief.md]" in text
    assert "ear plugs" not in text and "The contractor is Aldermere Rail." in text
    assert text.startswith("# Notice\n\nAs asked instead")


def test_what_the_text_says_already_is_not_said_twice() -> None:
    text = told("coder", revises=SOUND, feedback=(Feedback(instead="Say who the contractor is"),))
    assert text.count("The contractor is Aldermere Rail.") == 1


def test_feedback_adds_up_in_order() -> None:
    second = Feedback(wrong="The contractor is Aldermere Rail.")
    text = told("coder", revises=SOUND, feedback=(FEEDBACK, second))
    assert "ear plugs" not in text and "- The contractor" not in text
    assert text.index("Say what a drill costs") < text.index("Taken back as wrong")


def test_a_text_that_was_broken_off_early_is_written_from_the_request() -> None:
    fresh = told("research", role="research", instruction="")
    text = told("research", role="research", instruction="", revises="**Findings**\n\nRead", feedback=(FEEDBACK,))
    assert "**Findings" in text and "“Say what a drill costs”" in text
    assert len(text.split()) > len(fresh.split())


def test_a_limit_of_words_is_kept() -> None:
    limited = Feedback(instead="Be short", constraints="at most 40 words")
    for text in (SOUND, " ".join(SOUND.split())):
        short = told("coder", revises=text, feedback=(limited,))
        assert len(short.split()) <= 40 < len(text.split()) and "Be short" in short
        assert "Residents are told at least six weeks before the work begins." in short


def test_numbers_have_no_gaps_where_items_were_dropped() -> None:
    listed = "1. The contractor is Aldermere Rail.\n2. The shed is red.\n3. The gate is blue, and it was red once."
    text = told("coder", revises=listed, documents=(), task="Who?", feedback=(Feedback(wrong="The shed is red."),))
    assert "1. The contractor is Aldermere Rail.\n2. The gate is blue, and it was red once." in text


def test_a_steered_review_stays_a_review() -> None:
    context = (thought("coder", SOUND),)
    answer = told("reviewer", review=True, context=context, revises="{}", feedback=(FEEDBACK,))
    assert read_review(answer).approved


# ── the workflows that ship ──────────────────────────────────────────────────────────────────────────────────────


def all_texts(name: str, task: str, documents: dict[str, str]) -> dict[str, str]:
    """What every stage writes when all goes well, by stage; the engine's part is done here by hand."""
    cards = load_cards([packaged("agents")])
    workflow = check_workflow(name, [packaged("config") / "workflows"], cards)
    plain, needed, _ = expand(workflow, cards.values())
    by_name = {card.name: card for card in needed}
    texts: dict[str, str] = {}
    authors: dict[str, str] = {}
    for stage in plain.all_stages():
        if stage.revises or _is_later_round(stage):
            continue
        card = by_name[stage.agent]
        given = [other for other in stage.after if other in authors] if stage.context != "none" else []
        written = told(
            stage.agent,
            card=card,
            task=task,
            stage=stage.name,
            instruction=stage.instruction,
            checkpoint=stage.checkpoints[0],
            temperature=helix.temperature(card.role, stage.checkpoints[0], card.temperature),
            context=tuple(thought(authors[other], texts[other]) for other in given),
            documents=tuple(GivenDocument(name=name, text=text) for name, text in documents.items()),
            review=stage.reviews is not None,
            synthesis=stage.name == "synthesis",
        )
        texts[stage.name] = written
        if not stage.reviews:
            authors[stage.name] = stage.agent
    return texts


def _is_later_round(stage: Stage) -> bool:
    return stage.reviews is not None and re.search(r"-\d+$", stage.name) is not None


def claims(text: str) -> list[str]:
    """Quotations, and the sentences that name their source behind them."""
    quoted = re.findall(r"“([^“”]+?)(?: …)?”", text)
    cited = re.findall(r"(?:^|\n|\] )(?:\d+\. |- )?(?:\*\*[^*]+\*\*:? )?([^\[\]\n“”]+?) \[[^\]\n]+\]", text)
    return [flat(part) for part in (*quoted, *(one for part in cited for one in sentences_of(part)))]


@pytest.mark.parametrize("name", ["sections", "phases", "pipeline", "swarm"])
@pytest.mark.parametrize(
    ("task", "documents"),
    [
        ("Write an informed-consent form for the trial of X-204.", {"trial.md": TRIAL}),
        ("Should the depot be converted in one step?", {"memo.md": MEMO}),
        (f"Write a notice to the residents. {flat(BRIEF)}", {}),
    ],
)
def test_every_claim_is_traceable(name: str, task: str, documents: dict[str, str]) -> None:
    given = flat(" ".join([task, *documents.values()]))
    count = 0
    texts = all_texts(name, task, documents)
    for stage, text in texts.items():
        if stage.startswith("review") and name != "phases":
            assert read_review(text).approved, text
            continue
        if "There is no answer yet" in text or "Nothing was given to read" in text:
            continue  # Questions only.
        for claim in claims(text):
            count += 1
            assert claim in given or claim in texts.get("tests", ""), (stage, claim)
    assert count >= 2 or (name == "swarm" and not documents)


def test_the_seven_sections_differ_and_speak_of_what_they_are_for() -> None:
    texts = all_texts("sections", "Write an informed-consent form for the trial of X-204.", {"trial.md": TRIAL})
    sections = {name: text for name, text in texts.items() if not name.startswith("review")}
    assert len(set(sections.values())) == 7
    for name, sentence in {
        "summary": "Taking part is voluntary",
        "background": "Earlier research with 212 patients",
        "participants": "Adults between 18 and 65",
        "procedures": "a blood sample of 10 ml",
        "alternatives": "Other treatments are available",
        "risks": "nausea (12 in 100)",
        "benefits": "The results may help future patients",
    }.items():
        assert sentence in sections[name], name
    assert "nausea" not in sections["benefits"] + sections["alternatives"] + sections["procedures"]


def test_each_phase_speaks_of_something_else() -> None:
    texts = all_texts("phases", "Convert the depot in one step.", {"memo.md": MEMO})
    assert len(set(texts.values())) == 6
    for name, sentence in {
        "brief": "What would a 2 MWh battery in the depot",
        "plan": "by the end of next year",
        "implement": "could be replaced",
        "test": "Trials on route 7 last year measured",
        "review": "Nobody has yet calculated",
    }.items():
        assert sentence in texts[name], (name, texts[name])


def test_a_section_that_nothing_speaks_of_says_so() -> None:
    text = told("writer-1", instruction='Write the section "Warranty".\n\nSay how long the guarantee holds.')
    assert text == "Nothing that was given speaks of **Warranty**.\n"


def test_the_tester_finds_what_the_implementation_gets_wrong() -> None:
    context = (thought("architect", "**Parts**"), thought("coder", SOUND.replace("Rail", "Road")))
    text = told("tester", role="critic", context=context)
    assert re.match(r"\d requirements: \d met, 1 not met, \d that cannot be told\.", text)
    assert "*Not met.* “The contractor is Aldermere Rail.” (brief.md)" in text
    assert "*Met.* “No work is done between 1 am and 4 am.”" in text


def test_the_documentation_describes_the_implementation_and_the_tests() -> None:
    context = (
        thought("architect", "**Parts**"),
        thought("refiner", SOUND),
        thought("tester", "4 requirements: 4 met."),
    )
    text = told("documenter", context=context)
    assert "Bring ear plugs" in text and "4 requirements: 4 met. [tester]" in text


def test_drones_differ_and_the_same_drone_does_not() -> None:
    documents = (GivenDocument(name="memo.md", text=MEMO),)
    task = "Should the depot be converted in one step?"
    drones = [(f"drone-{n}", heat) for n, heat in enumerate((0.5, 0.7, 0.9), 1)]
    texts = [told(name, temperature=heat, task=task, documents=documents) for name, heat in drones]
    assert len(set(texts)) == 3
    assert texts == [told(name, temperature=heat, task=task, documents=documents) for name, heat in drones]
    assert told("drone-1", temperature=0.9, task=task, documents=documents) != texts[0]


@settings(max_examples=60)
@given_any(
    st.sampled_from(
        ["writer-2", "planner", "architect", "coder", "refiner", "tester", "documenter", "drone", "arbiter"]
    ),
    st.text(min_size=1, max_size=200),
    st.text(max_size=300),
    st.lists(st.text(max_size=200), max_size=3),
    st.text(max_size=200),
    st.lists(st.builds(Feedback, wrong=st.text(max_size=50), instead=st.text(max_size=50)), max_size=2),
)
def test_it_writes_something_whatever_it_is_given(
    agent: str, task: str, document: str, texts: list[str], so_far: str, feedback: list[Feedback]
) -> None:
    choices: dict[str, Any] = {
        "task": task,
        "documents": (GivenDocument(name="d", text=document),),
        "context": tuple(thought(f"a{number}", text) for number, text in enumerate(texts)),
        "revises": so_far,
        "feedback": tuple(feedback),
    }
    assert told(agent, **choices).strip() or not so_far.strip() or not feedback
    assert told(agent, **choices) == told(agent, **choices)
