"""Each preset from one command on the offline model, to its end; its document says nothing that the input does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pace import all_at_once
from shell import MEMO, TASK, Shell
from texts import check_chain, of_kind, thoughts

from felixhub.core.events import RunFinished, RunStarted, SectionReady, StageFinished
from felixhub.llm.offline import OfflineModel
from felixhub.llm.offline_material import sentences_of

SECTIONS = ["summary", "background", "participants", "procedures", "alternatives", "risks", "benefits"]
LEAD = re.compile(r"^[-\d. ]*(?:\*\*[^*]*\*\*:? *)?(?:\d+ requirements:.*)?")  # a number, a heading word, a tally
PHASES = ["plan", "design", "implement", "test", "review"]


def flat(text: str) -> str:
    return " ".join(text.replace("**", "").split())


def claims(document: str) -> list[str]:
    """What a document quotes, and every sentence with a figure: whoever invents something, invents one of these."""
    document = document.partition("## Basis")[0]  # what it is made from, counted
    document = re.sub(r"\s*\[[^\]]*\]", "", document)  # where it is from
    quoted = [part.partition("”")[0] for part in document.split("“")[1:]]
    said = [sentence for line in document.splitlines() for sentence in sentences_of(LEAD.sub("", line))]
    figures = [re.sub(r"\s*\([^)]*\)$", "", flat(one)) for one in said if re.search(r"\d{2,}", one)]
    return [flat(one) for one in (*quoted, *figures) if len(one.split()) >= 6 and "“" not in one]


def check_traceable(document: str) -> None:
    given = flat(f"{TASK} {MEMO.read_text()}")
    found = claims(document)
    assert len(found) >= 5, document
    for claim in found:
        assert claim.strip(" .*") in given, f"nobody said: {claim}"


def run(shell: Shell, workflow: str, model: OfflineModel, *more: object) -> tuple[Path, list[object]]:
    """`run_hub.py` with this preset, to its good end."""
    answer = shell.project / "answer.md"
    arguments = (TASK, "--file", MEMO, "--llm", model.base_url, "--workflow", workflow, "--out", answer, *more)
    done = shell.start_run_hub(*arguments).wait(60.0)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err and "Warning" not in done.err
    shell.until_nothing_is_left()
    shell.start("hub", "--data", shell.data)
    name = shell.rows()[-1]["run"]
    events = shell.events(name)
    check_chain(events)
    thoughts(events)
    (finished,) = of_kind(events, RunFinished)
    assert finished.degraded == ()
    assert answer.read_text() == finished.result
    check_traceable(finished.result)
    return answer, list(events)


def outcomes(events: list[object]) -> dict[str, str]:
    return {e.stage: e.outcome for e in events if isinstance(e, StageFinished)}


def test_sections(shell: Shell, model: OfflineModel) -> None:
    with all_at_once(model, 4):
        answer, events = run(shell, "sections", model)
    (started,) = [e for e in events if isinstance(e, RunStarted)]
    titles = [stage.section for stage in started.workflow.stages if stage.section]
    assert re.findall(r"^## (.+)$", answer.read_text(), re.MULTILINE)[:7] == titles
    assert {e.section for e in events if isinstance(e, SectionReady)} == set(SECTIONS)
    writers = {e.by for e in events if isinstance(e, SectionReady)}
    assert writers == {f"writer-{number}" for number in range(1, 8)}
    parts = re.split(r"^## .+$", answer.read_text(), flags=re.MULTILINE)[1:]
    assert len({flat(part) for part in parts}) == 7, "two sections say the same"
    assert model.open_requests_max == 4  # As many as a local server takes.


def test_phases(shell: Shell, model: OfflineModel) -> None:
    with all_at_once(model, 3, after=1):
        answer, events = run(shell, "phases", model)
    assert set(PHASES) <= {e.section for e in events if isinstance(e, SectionReady)}
    asked = [str(r.body["messages"][1]["content"]) for r in model.requests if r.path.endswith("/chat/completions")]
    assert len(asked) == 6
    assert model.open_requests_max >= 3
    assert answer.read_text().count("\n## ") >= 4


def test_pipeline_without_its_tester(shell: Shell, model: OfflineModel) -> None:
    answer, events = run(shell, "pipeline", model)
    assert outcomes(events)["tests"] == "skipped"
    assert not [r for r in model.requests if "You are tester" in str(r.body)]
    assert "## Tests" not in answer.read_text()


def test_pipeline_with_its_tester(shell: Shell, model: OfflineModel) -> None:
    answer, events = run(shell, "pipeline", model, "--with", "tests")
    assert outcomes(events)["tests"] == "final"
    assert [r for r in model.requests if "You are tester" in str(r.body)]
    assert "## Tests" in answer.read_text()


def test_swarm(shell: Shell, model: OfflineModel) -> None:
    with all_at_once(model, 3):
        _, events = run(shell, "swarm", model)
    asked = [r for r in model.requests if r.path.endswith("/chat/completions")]
    drones = [r for r in asked if "You are drone-" in str(r.body["messages"][0])]
    assert sorted(r.body["temperature"] for r in drones) == [0.5, 0.7, 0.9]
    assert len({str(r.body["messages"][1]["content"]) for r in drones}) == 1, "the same prompt for each"
    (arbiter,) = [r for r in asked if "You are arbiter" in str(r.body["messages"][0])]
    assert arbiter.body["temperature"] == 0.2
    assert model.open_requests_max == 3
    assert outcomes(events)["synthesis"] == "final"


@pytest.mark.parametrize("workflow", ["helix", "sections", "phases", "pipeline", "swarm"])
def test_every_preset_is_listed_checked_and_drawn(shell: Shell, workflow: str) -> None:
    assert workflow in shell.run("workflows", "list").text
    assert "sound" in shell.run("workflows", "check", workflow).text
    drawn = shell.run("workflows", "show", workflow).text
    assert workflow in drawn and max(map(len, drawn.splitlines())) <= 80
