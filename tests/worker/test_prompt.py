"""The prompt, word for word, and whether it fits."""

from __future__ import annotations

import pytest
from assignments import an_assignment

from felixhub.core.errors import ModelFailed
from felixhub.core.events import Feedback
from felixhub.core.messages import Assign
from felixhub.core.review import FORM
from felixhub.core.workflow import Card
from felixhub.llm.offline_prompt import read_prompt
from felixhub.worker.prompt import build_prompt, check_fits, estimate_tokens

SYSTEM = """\
Be exact.

You are clock, in the role of analysis, at t=0.30 of the helix (phase: analysis)."""

USER = """\
# Task

What time is it?

# Documents

## manual.md

Wind it daily.

# Thoughts of the others

## sundial

The shadow is short.

## hourglass

Half of the sa

# Your earlier thought

Earlier I said eleven.

# What to write

Write an analysis of the task: how the findings fit together, what they imply and how sure that is.

You are at t=0.30 of the helix (phase: analysis). Go deeper: keep what holds, drop what does not, and say why.

Use the thoughts of the others, name whom you answer, and do not repeat them.

Carry your earlier thought forward: what you write replaces it.

Cut off before its end: hourglass.

Missing: cuckoo (llm_error: it flew away). Say what could not be covered because of that."""


def test_everything_has_its_heading() -> None:
    system, user = build_prompt(an_assignment())
    assert system == {"role": "system", "content": SYSTEM}
    assert user == {"role": "user", "content": USER}


def test_what_is_not_there_has_no_heading() -> None:
    bare = an_assignment(own="", context=(), missing=(), documents=(), card=Card(name="clock"), checkpoint=0.0)
    system, user = build_prompt(bare)
    assert system["content"] == "You are clock, in the role of research, at t=0.00 of the helix (phase: exploration)."
    assert [line for line in user["content"].splitlines() if line.startswith("#")] == ["# Task", "# What to write"]


def test_an_instruction_takes_the_place_of_the_default() -> None:
    asked = an_assignment(instruction="Only the hour.", checkpoint=0.9, own="", context=(), missing=())
    user = build_prompt(asked)[1]["content"]
    assert user.endswith("# What to write\n\nOnly the hour.\n\nYou are at t=0.90 of the helix (phase: synthesis).")


def test_at_the_top_with_an_instruction_nothing_is_said_of_the_helix() -> None:
    asked = an_assignment(instruction="Write the section.", checkpoint=0.0, own="", context=(), missing=())
    system, user = build_prompt(asked)
    assert system["content"] == "Be exact.\n\nYou are clock, in the role of analysis."
    assert user["content"].endswith("# What to write\n\nWrite the section.")


STEERED = """\
# The text so far

It is half past

# Feedback

1. What is wrong: It names no
second hand.
What instead: Say the seconds.
Constraints: At most ten words.

2. What instead: And the day.

# What to write

Say the time.

Follow the feedback: put right what is wrong, write what is wanted instead, keep to the constraints. Where two pieces \
contradict each other, the later one counts. Write the whole text, not a comment on it. The text so far is what the \
feedback was given on; it may break off. Keep what is good in it."""

PIECES = (
    Feedback(wrong="It names no\nsecond hand.", instead="Say the seconds.", constraints="At most ten words."),
    Feedback(instead="And the day."),
)


def steered(**changes: object) -> Assign:
    asked = {"instruction": "Say the time.", "revises": "It is half past", "feedback": PIECES, "checkpoint": 0.0}
    return an_assignment(**{**asked, "own": "", "context": (), "missing": (), "documents": (), **changes})


def test_a_steered_attempt_has_the_request_the_text_so_far_and_all_feedback() -> None:
    user = build_prompt(steered())[1]["content"]
    assert user == f"# Task\n\nWhat time is it?\n\n{STEERED}"
    read = read_prompt(build_prompt(steered()))
    assert read.so_far == "It is half past"
    assert [(piece.wrong, piece.instead, piece.constraints) for piece in read.feedback] == [
        (piece.wrong, piece.instead, piece.constraints) for piece in PIECES
    ]
    assert read.instruction == "Say the time."


def test_feedback_before_the_first_word_needs_no_text() -> None:
    user = build_prompt(steered(revises=""))[1]["content"]
    assert "# The text so far" not in user and user.endswith("not a comment on it.")
    assert "2. What instead: And the day." in user


def test_the_headings_have_one_order() -> None:
    user = build_prompt(an_assignment(revises="So far", feedback=PIECES))[1]["content"]
    assert [line for line in user.splitlines() if line.startswith("# ")] == [
        "# Task",
        "# Documents",
        "# Thoughts of the others",
        "# Your earlier thought",
        "# The text so far",
        "# Feedback",
        "# What to write",
    ]


def test_the_text_to_be_revised_is_not_shown_twice() -> None:
    user = build_prompt(steered(own="It is half past"))[1]["content"]
    assert user.count("It is half past") == 1 and "# Your earlier thought" not in user


def test_a_refinement_is_asked_for_the_whole_text() -> None:
    user = build_prompt(steered(feedback=()))[1]["content"]
    assert user.endswith(
        "Say the time.\n\nRevise the text so far so that every issue of the review, which stands in the thoughts of the"
        " others, is put right. Keep what is good. Write the whole text, not a comment on it."
    )
    assert "# Feedback" not in user


def test_a_review_is_asked_for_the_form_and_nothing_else() -> None:
    asked = an_assignment(review=True, instruction="Judge it.", checkpoint=0.0, missing=(), own="")
    user = build_prompt(asked)[1]["content"]
    before, _, after = user.partition(FORM)
    assert "Judge it.\n\nThe text to review is the last of the thoughts of the others, hourglass's." in before
    assert before.endswith("Your answer is only one JSON object of this form, with no text before or after it:\n\n")
    assert after.startswith("\n\nApprove when nothing has to be put right") and "could not be read" not in after
    assert read_prompt(build_prompt(asked)).role == "review"


def test_a_review_that_could_not_be_read_is_told_why() -> None:
    asked = an_assignment(review=True, repair="approved: Field required", checkpoint=0.0)
    user = build_prompt(asked)[1]["content"]
    assert user.endswith(
        "Your previous answer could not be read as that object: approved: Field required. Answer again."
    )


def test_a_synthesis_is_asked_for_the_answer() -> None:
    user = build_prompt(an_assignment(synthesis=True, checkpoint=1.0))[1]["content"]
    assert "Write the answer to the task as one text" in user


def test_text_is_never_changed() -> None:
    odd = "  # Task\n\n  trailing  \n\n\n"
    assert odd in build_prompt(an_assignment(own=odd))[1]["content"]


def test_the_offline_model_reads_it() -> None:
    read = read_prompt(build_prompt(an_assignment()))
    assert (read.role, read.task, read.progress) == ("analysis", "What time is it?", 0.3)
    assert [source.name for source in read.documents] == ["manual.md"]
    assert [source.name for source in read.thoughts] == ["sundial", "hourglass"]
    assert read.earlier == "Earlier I said eleven."


def test_tokens_are_estimated_from_bytes() -> None:
    assert [estimate_tokens(text) for text in ("", "a", "abcdefg", "é" * 7)] == [0, 1, 2, 4]


def test_a_prompt_that_does_not_fit_is_refused_with_the_numbers() -> None:
    messages = [{"role": "user", "content": "x" * 7_000}]
    check_fits(messages, context_tokens=2_504, reserve=500, model="small", endpoint="lmstudio")
    with pytest.raises(ModelFailed) as caught:
        check_fits(messages, context_tokens=2_503, reserve=500, model="small", endpoint="lmstudio")
    assert (caught.value.reason, caught.value.lasting) == ("context_exceeded", True)
    assert caught.value.sentence == (
        "the prompt needs about 2004 tokens and 500 are kept for the answer, but small at lmstudio takes 2503: "
        "use a model with a larger window or a smaller document"
    )
