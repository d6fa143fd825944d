"""The supervisor's rules: how often something may die, who is hired, let go and given up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from felixhub.cli.processes import NO_OFFLINE_MODEL, resolver
from felixhub.core.errors import ConfigError
from felixhub.core.messages import BusyAgent, RunBeat, Wanted
from felixhub.settings.settings import load_settings
from felixhub.supervisor.restarts import RestartLimit
from felixhub.supervisor.staffing import GivenUp, Wants, share_out, who_goes


def test_five_restarts_in_sixty_seconds() -> None:
    limit = RestartLimit()
    assert [limit.may_restart(now) for now in range(6)] == [True] * 5 + [False]


def test_old_deaths_are_forgotten() -> None:
    limit = RestartLimit()
    for now in range(5):
        assert limit.may_restart(float(now))
    assert limit.may_restart(61.5)


def test_one_agent_to_a_worker_while_there_is_room() -> None:
    assert share_out(["a", "b", "a"], per_worker=1, places=16) == [("a",), ("b",)]


def test_agents_are_packed_when_there_are_more_than_places() -> None:
    groups = share_out([f"a{n}" for n in range(40)], per_worker=1, places=16)
    assert len(groups) <= 16
    assert [name for group in groups for name in group] == [f"a{n}" for n in range(40)]


def test_packing_on_request() -> None:
    assert share_out(["a", "b", "c"], per_worker=2, places=16) == [("a", "b"), ("c",)]


def test_nobody_is_started_without_a_place() -> None:
    assert share_out(["a"], per_worker=1, places=0) == []
    assert share_out([], per_worker=1, places=4) == []


def test_restarts_are_ever_slower() -> None:
    limit = RestartLimit()
    pauses = []
    for now in range(6):
        limit.may_restart(float(now))
        pauses.append(limit.pause_s)
    assert pauses == [0.0, 0.2, 0.5, 1.0, 2.0, 2.0]


def test_room_is_made_by_the_oldest_idle_and_by_no_more_than_needed() -> None:
    assert who_goes({0: 5.0, 1: 3.0, 2: 4.0}, places=2, now=10.0) == [1, 2]
    assert who_goes({0: 5.0}, places=2, now=10.0) == [0]
    assert who_goes({0: 9.5}, places=1, now=10.0) == [], "between two of its thoughts"


def beat(run: str, *wanted: str, waiting: tuple[str, ...] = (), queued: tuple[str, ...] = ()) -> RunBeat:
    busy = [BusyAgent(agent=agent, state="waiting", silence_s=0.0) for agent in waiting]
    busy += [BusyAgent(agent=agent, state="queued", silence_s=0.0) for agent in queued]
    named = tuple(Wanted(agent=agent) for agent in wanted)
    return RunBeat(run=run, seq=1, status="running", wanted=named, agents=tuple(busy))


def test_only_beats_in_a_row_count_as_wanting() -> None:
    wants = Wants()
    for now in (0.0, 1.0, 2.0):
        wants.take(beat("r", "a"), now)
    assert wants.seconds("a") == 2.0
    wants.take(beat("other"), 2.5)  # Another run, which does not want it, is no break.
    assert wants.seconds("a") == 2.0
    wants.take(beat("r"), 3.0)
    wants.take(beat("r", "a"), 4.0)
    assert wants.seconds("a") == 0.0
    wants.take(beat("r", "a"), 9.0)  # The hub was silent for longer than a beat may be.
    assert wants.agents(13.0) == []


def test_who_is_named_and_who_is_needed_now() -> None:
    wants = Wants()
    wants.take(beat("r", "a", "b", waiting=("a",), queued=("c",)), 0.0)
    assert (wants.needed_now(), wants.named()) == ({"a"}, {"a", "c"})
    assert wants.by_run(1.0) == [("r", "a"), ("r", "b")]
    wants.forget()
    assert not wants.named() and not wants.agents(0.0)


def test_what_is_given_up_is_told_to_each_run_once_and_forgotten_after_a_minute() -> None:
    given_up = GivenUp()
    given_up.add(["a"], "why", 0.0)
    both = [("r1", "a"), ("r2", "a"), ("r2", "b")]
    assert given_up.to_tell(both, 1.0) == [("r1", "a", "why"), ("r2", "a", "why")]
    given_up.told("r1", "a")
    assert given_up.to_tell(both, 59.0) == [("r2", "a", "why")]
    assert given_up.has("a", 59.0) and not given_up.has("a", 60.0)
    assert given_up.to_tell(both, 61.0) == []
    given_up.add(["a"], "why", 70.0)
    assert given_up.to_tell(both, 71.0) == [("r1", "a", "why"), ("r2", "a", "why")]


def test_the_offline_model_of_a_worker_of_its_own(tmp_path: Path) -> None:
    settings = load_settings({}, {"FELIXHUB_DATA": str(tmp_path)}, tmp_path, user_dir=tmp_path)
    with pytest.raises(ConfigError, match="--offline-url"):
        resolver(settings, "", otherwise=NO_OFFLINE_MODEL)("offline")
    url = "http://127.0.0.1:9000/v1"
    assert resolver(settings, url, otherwise="")("offline").base_url == url
    assert resolver(settings, url, otherwise="")("ollama").base_url != url


def test_a_long_log_is_put_aside_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "hub.log"
    code = f"from felixhub.logs import *; from pathlib import Path; configure_logs(file=Path({str(file)!r}))"
    file.write_text("short")
    subprocess.run([sys.executable, "-c", code], check=True)
    assert [one.name for one in tmp_path.iterdir()] == ["hub.log"]
    file.write_text("x" * 5_000_001)
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (file.read_text(), (tmp_path / "hub.log.1").stat().st_size) == ("", 5_000_001)
