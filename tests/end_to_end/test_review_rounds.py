"""The pipeline's review: a seeded defect is found and gone; what goes wrong with reviewing leaves the good text."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from scripted_model import Say, ScriptedModel, scripted_model
from shell import Shell, until
from texts import of_kind, thoughts

from felixhub.core.events import Event, RunFinished, SectionReady, StageFinished, ThoughtFinalized
from felixhub.llm.offline import OfflineModel

BRIEF = """# The boiler house

The boiler heats 40 flats. It burns 9,000 litres of oil a year. The chimney is 12 m high.

A heat pump of 60 kW would replace it. The pump needs a connection of 25 kW. It must not be louder than 35 dB at night.
"""
DEFECT = "It must not be louder than 53 dB at night."
TRUTH = "It must not be louder than 35 dB at night."
CODER = f'''"""Writes the implementation, with one figure turned round."""


async def think(request):
    yield "The boiler heats 40 flats. A heat pump of 60 kW would replace it. "
    yield "{DEFECT} The pump needs a connection of 25 kW."
'''
GOOD = "The good text. "
BETTER = "The better text. "


def verdict(*issues: str) -> str:
    return json.dumps({"approved": not issues, "issues": [{"what": issue} for issue in issues]})


def run(shell: Shell, url: str, *more: object, code: int = 0) -> list[Event]:
    shell.serve("--view", "none")
    brief = shell.write("brief.md", BRIEF)
    shell.run(
        "run",
        "Plan the heat pump.",
        *("--file", brief, "--workflow", "pipeline", "--llm", url),
        *more,
        code=code,
        seconds=60.0,
    )
    return shell.events(shell.rows()[-1]["run"])


def outcomes(events: Sequence[Event]) -> dict[str, tuple[str, str]]:
    return {e.stage: (e.outcome, e.why) for e in of_kind(events, StageFinished)}


def ready(events: Sequence[Event], section: str) -> list[str]:
    """The texts of a section's versions."""
    told = thoughts(events)
    return [told[e.thought].text for e in of_kind(events, SectionReady) if e.section == section]


def test_a_seeded_defect_is_found_and_gone_after_the_refinement(shell: Shell, model: OfflineModel) -> None:
    shell.write("agents/coder.py", CODER)
    events = run(shell, model.base_url)
    reviews = [e for e in of_kind(events, ThoughtFinalized) if e.verdict is not None]
    assert not reviews[0].verdict.approved  # type: ignore[union-attr]
    issues = " ".join(f"{issue.what} {issue.where} {issue.instead}" for issue in reviews[0].verdict.issues)  # type: ignore[union-attr]
    assert "53" in issues and "35" in issues
    assert reviews[-1].verdict.approved  # type: ignore[union-attr]
    first, *_, last = ready(events, "implementation")
    assert DEFECT in first
    assert DEFECT not in last and TRUTH in last
    assert "60 kW" in last and "25 kW" in last, "what was right is kept"
    (finished,) = of_kind(events, RunFinished)
    assert DEFECT not in finished.result.partition("## Documentation")[0]
    assert TRUTH in finished.result
    assert finished.degraded == ()


def scripted(reviews: list[str], refinements: list[Say]) -> object:
    """A script: the coder writes GOOD, and reviewer and refiner say these, one after the other."""

    def script(agent: str, _prompt: str) -> Say:
        match agent:
            case "reviewer":
                return Say(reviews.pop(0))
            case "refiner":
                return refinements.pop(0)
            case "coder":
                return Say(GOOD)
        return Say(f"The word of {agent}. ")

    return script


def pipeline(
    shell: Shell, reviews: list[str], refinements: list[Say], *, code: int = 4
) -> tuple[list[Event], ScriptedModel]:
    with scripted_model(scripted(reviews, refinements)) as model:  # type: ignore[arg-type]
        return run(shell, model.base_url, code=code), model


def test_a_failed_refinement_leaves_the_good_text(shell: Shell) -> None:
    shell.write("config/workflows/pipeline.toml", quick_pipeline(shell))
    events, _ = pipeline(shell, [verdict("too short")], [Say(status=400)] * 5)
    assert ready(events, "implementation") == [GOOD]
    (finished,) = of_kind(events, RunFinished)
    assert "The good text." in finished.result
    assert any("Implementation is not revised" in reason for reason in finished.degraded)
    assert outcomes(events)["review-2"][0] == "skipped"


def test_a_truncated_refinement_leaves_the_good_text(shell: Shell) -> None:
    events, _ = pipeline(
        shell,
        [verdict("too short"), verdict("too short"), verdict("too short"), verdict("too short")],
        [Say("Half a sen", finish_reason="length")] * 3,
    )
    (finished,) = of_kind(events, RunFinished)
    assert "The good text." in finished.result and "Half a sen" not in finished.result
    assert ready(events, "implementation")[1] == "Half a sen"  # It stays readable.


def test_the_bound_on_rounds_ends_the_loop(shell: Shell) -> None:
    events, model = pipeline(shell, [verdict("still wrong")] * 4, [Say(f"{BETTER}{n} ") for n in range(3)])
    assert len(model.of("refiner")) == 3 and len(model.of("reviewer")) == 4
    assert len(ready(events, "implementation")) == 4
    (finished,) = of_kind(events, RunFinished)
    assert "The better text. 2" in finished.result
    assert any("Implementation is not approved by its review: 1 issue left" in reason for reason in finished.degraded)
    assert outcomes(events)["documentation"][0] == "final", "the others went on"


def test_approved_at_once_nothing_is_refined(shell: Shell) -> None:
    no_issue = json.dumps({"approved": True, "issues": ["No issues found."]})
    events, model = pipeline(shell, [no_issue], [], code=0)
    assert len(model.of("refiner")) == 0 and len(model.of("reviewer")) == 1
    assert outcomes(events)["refine"][0] == "skipped"
    assert "No issues found" not in str(of_kind(events, RunFinished)[0])


def test_a_review_that_cannot_be_read_is_asked_for_once_more(shell: Shell) -> None:
    events, model = pipeline(shell, ["Looks good to me!", verdict()], [], code=0)
    first, second = model.of("reviewer")
    assert "could not be read" not in first.prompt
    assert "could not be read" in second.prompt and '"approved"' in second.prompt
    verdicts = [e.verdict for e in of_kind(events, ThoughtFinalized) if e.verdict]
    assert verdicts[0].fault and not verdicts[0].approved
    assert verdicts[1].approved


@pytest.mark.parametrize(
    "answer", ["Looks good to me!", pytest.param("LGTM", marks=pytest.mark.long), '{"approved": "yes"}']
)
def test_a_review_that_cannot_be_read_twice_is_no_approval(shell: Shell, answer: str) -> None:
    events, model = pipeline(shell, [answer, answer], [])
    assert len(model.of("reviewer")) == 2 and len(model.of("refiner")) == 0
    assert outcomes(events)["review"][0] == "abandoned"
    (finished,) = of_kind(events, RunFinished)
    assert any("Implementation is not reviewed" in reason for reason in finished.degraded)
    assert "The good text." in finished.result


def test_an_error_of_the_reviewers_model_is_no_approval(shell: Shell) -> None:
    def script(agent: str, _prompt: str) -> Say:
        return Say(status=400) if agent == "reviewer" else Say(f"The word of {agent}. ")

    with scripted_model(script) as model:
        events = run(shell, model.base_url, code=4)
    assert outcomes(events)["review"][0] == "abandoned"
    assert len(model.of("refiner")) == 0
    (finished,) = of_kind(events, RunFinished)
    assert any("Implementation is not reviewed" in reason for reason in finished.degraded)


def quick_pipeline(shell: Shell) -> str:
    """The preset, with no back-off before a retry."""
    from felixhub.settings.folders import packaged

    text = (packaged("config") / "workflows" / "pipeline.toml").read_text()
    until(lambda: shell.project.exists(), 1.0, "the project")
    return text.replace('agent = "refiner"', 'agent = "refiner"\nretry_s = 0.0')
