"""The strict reading of a review; what a verdict does in a loop is in `test_loops.py`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plots import rejected

from felixhub.core.review import ISSUES_MAX, Verdict, read_review


def approved(text: str) -> bool:
    verdict = read_review(text)
    assert not verdict.fault
    return verdict.approved


def issues(text: str) -> list[str]:
    verdict = read_review(text)
    assert not verdict.fault
    return [issue.what for issue in verdict.issues]


def test_a_verdict_is_an_object_alone_or_in_one_fenced_block() -> None:
    assert approved('  {"approved": true, "issues": []}\n')
    assert approved('```json\n{"approved": true, "issues": []}\n```')
    assert approved('Here it is:\n```\n{"approved": true, "issues": []}\n```\nGood work.')
    assert approved('```python\nreturn {}\n```\n```JSON\r\n{"approved": true,\r\n"issues": []}\r\n```\r\n')
    assert issues('{"approved": false, "issues": [{"what": "a", "where": "line 2", "more": 1}, "b"]}') == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I approve of this.",
        "approved: true",
        "true",
        "[]",
        '{"approved": true}',
        '{"issues": []}',
        '{"approved": "true", "issues": []}',
        '{"approved": 1, "issues": []}',
        '{"approved": true, "issues": null}',
        '{"approved": true, "issues": ["a", 7]}',
        '{"approved": true, "issues": [{"where": "line 2"}]}',
        '{"approved": true, "issues": [{"what": ""}]}',
        '{"approved": true, "issues": []',
        '{"approved": true, "issues": []} And more words.',
        '```\n{"approved": true, "issues": []}\n```\n```\n{"approved": false, "issues": ["a"]}\n```',
        '{"approved": false, "issues": [' + ", ".join(['"a"'] * (ISSUES_MAX + 1)) + "]}",
    ],
)
def test_what_cannot_be_read_strictly_is_a_fault_and_never_an_approval(text: str) -> None:
    verdict = read_review(text)
    assert verdict.fault
    assert not verdict.approved


@pytest.mark.parametrize(
    "words",
    [
        "No issues found",
        "no issues found.",
        "None",
        "N/A",
        "**No issues**",
        "Nothing",
        "There are no problems.",
        "I found no issues",
        "No major issues were found",
        "No changes needed",
    ],
)
def test_an_issue_that_says_there_is_none_is_no_issue(words: str) -> None:
    assert issues(rejected(words, "It is too long.")) == ["It is too long."]
    assert issues(f'{{"approved": true, "issues": [{{"what": "{words}"}}]}}') == []


@pytest.mark.parametrize(
    "words",
    [
        "No error handling",
        "No mention of problems",
        "No list of changes",
        "No proof of concerns",
        "Nothing says who may take part",
        "No issues are tracked in the plan",
        "No problems section",
        "None of the risks is named",
        "There is no changelog",
    ],
)
def test_an_issue_that_only_begins_like_that_is_one(words: str) -> None:
    assert issues(rejected(words)) == [words]


def test_no_issues_found_is_not_an_approval_by_itself() -> None:
    verdict = read_review(rejected("No issues found"))
    assert not verdict.approved
    assert verdict.fault == "it does not approve, and names no issue"
    assert read_review(rejected()).fault


@given(st.text() | st.text().map(lambda text: '{"approved": true, "issues": [' + text))
def test_whatever_a_model_says_is_read_without_a_crash(text: str) -> None:
    assert isinstance(read_review(text), Verdict)


def test_fences_without_end_cost_no_more_than_their_length() -> None:
    assert read_review("x```\n" * 400_000).fault  # Looked at once for each fence, this would take hours.
    assert read_review("```\n" + " " * 2_000_000).fault
