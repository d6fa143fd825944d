"""Logs that were written before there were sections, rounds, reviews and budgets: they fold, go on and end."""

from __future__ import annotations

import hashlib

import pytest
from team import Team

from felixhub.core.board import Board
from felixhub.core.events import RunFinished, RunStarted, SectionReady, SynthesisFinished, parse_event

STAGE = (
    '{"name":"%s","agent":"%s","after":[],"checkpoints":[0.0],"context":"after","instruction":"","quorum":null,'
    '"on_failure":"retry","retries_max":2,"retry_s":1.0}'
)
CARD = (
    '{"name":"%s","role":"research","about":"","endpoint":null,"model":null,"temperature":[0.9,0.4],"tokens_max":null,'
    '"prompt":"","program":false}'
)
SYNTHESIS = '{"agent":"synthesizer","when":"all","converge":null,"instruction":"","retries_max":2,"retry_s":1.0}'
TEXT = "Because of scattering."


def old_log(synthesis: str) -> list[str]:
    """A run of two agents in the middle, byte for byte as the first version wrote it."""
    stages = ",".join(STAGE % (name, name) for name in ("research", "critic"))
    cards = ",".join(CARD % name for name in ("research", "critic", "synthesizer"))
    worker = '"worker":{"session":"s1","pid":42,"host":"here"}'
    thought = (
        '"agent":"%s","thought":"%s","attempt":1,"stage":"%s","session":"s1","checkpoint":0.0,"progress":0.0,"endpoint":'
        '"local","model":null,"temperature":0.9,"context":[],"passages":[],"steered_by":null'
    )
    sha256, empty = hashlib.sha256(TEXT.encode()).hexdigest(), hashlib.sha256(b"").hexdigest()
    usage = '"usage":{"prompt_tokens":10,"completion_tokens":20,"reasoning_tokens":null,"estimated":true}'
    return [
        '"kind":"run.started","task":"Why?","workflow":{"name":"two","about":"","stages":['
        f'{stages}],"synthesis":{synthesis}}},"agents":[{cards}],"settings":{{"endpoint":"local","model":null,'
        '"endpoints":{"local":{"max_concurrent":4}},"batch_interval_s":0.1,"streaming":true},'
        '"documents":[{"name":"a.md","size":3,"sha256":"ab"}],"after":null,"by":"anna"',
        '"kind":"stage.started","stage":"research","round":1',
        '"kind":"stage.started","stage":"critic","round":1',
        f'"kind":"agent.joined","agent":"research",{worker}',
        f'"kind":"agent.joined","agent":"critic",{worker}',
        f'"kind":"thought.started",{thought % ("research", "t6-boot", "research")}',
        f'"kind":"thought.started",{thought % ("critic", "t7-boot", "critic")}',
        f'"kind":"thought.partial","agent":"research","thought":"t6-boot","channel":"text","offset":0,"text":"{TEXT}",'
        '"tokens":5',
        f'"kind":"thought.finalized","agent":"research","thought":"t6-boot","length":{len(TEXT)},"sha256":"{sha256}",'
        f'"reasoning_length":0,"reasoning_sha256":"{empty}","finish_reason":"stop","truncated":false,{usage},'
        '"confidence":0.5,"first_token_s":0.2,"seconds":1.0',
        '"kind":"stage.finished","stage":"research","round":1,"outcome":"final","why":""',
    ]


def team_with(synthesis: str) -> Team:
    """A hub of today that finds this log."""
    team = Team()
    for seq, fields in enumerate(old_log(synthesis), start=1):
        kind, rest = fields.split(",", 1)
        event = parse_event(f'{{{kind},"seq":{seq},"prev":{seq - 1},"run":"r1","at":{team.now:.3f},{rest}}}'.encode())
        team.story.hear(event)
        team.log.append(event)
        team.post.apply(event)
    team.restart()
    return team


@pytest.mark.parametrize("synthesis", [SYNTHESIS, "null"])
def test_a_run_from_an_old_log_goes_on_and_ends(synthesis: str) -> None:
    team = team_with(synthesis)
    started = team.of(RunStarted)[0]
    assert started.settings.review is False and started.settings.budget_tokens is None
    assert started.documents[0].whole
    worker = team.worker("research", "critic", "synthesizer", session="s1", hello=False)
    worker.hello("t7-boot")
    worker.finish("I doubt it.")
    if synthesis != "null":
        thought = worker.finish("The answer.")
        assert team.last(SynthesisFinished).thought == thought
        assert [event.section for event in team.of(SectionReady)] == ["synthesis"]
        assert team.last(RunFinished).result == "The answer."
    else:
        assert team.of(SectionReady) == []
        assert team.last(RunFinished).result in (TEXT, "I doubt it.")
    assert team.last(RunFinished).degraded == ()


def test_a_viewer_shows_an_old_log() -> None:
    team = team_with(SYNTHESIS)
    board = Board()
    board.follow("r1")
    for event in team.log:
        board.take(parse_event(event.encode()))
    assert board.runs["r1"].status == "running"
    assert str(board.runs["r1"].thoughts["t6-boot"].text) == TEXT
