"""A worker as a process of its own: signals, failpoints, the parent, and what it imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_hub import SmallHub, until

from felixhub.core.errors import ConfigError
from felixhub.failpoint import NAMES, failpoint

Spawn = Callable[..., "subprocess.Popen[str]"]

CLOCK = """
import asyncio, time
async def think(request):
    yield "It is "
    await asyncio.sleep(0.1)
    yield "noon."
"""

SILENT = """
import asyncio
async def think(request):
    yield "so far"
    await asyncio.sleep(60)
"""


@pytest.fixture
def spawn(hub: SmallHub, tmp_path: Path) -> Iterator[Spawn]:
    """`spawn(source)`: a worker process whose agent `clock` is this program."""
    children: list[subprocess.Popen[str]] = []

    def start(source: str, *, failpoint: str = "", parent: bool = False) -> subprocess.Popen[str]:
        (tmp_path / "clock.py").write_text(source)
        code = f"""
            from pathlib import Path
            from felixhub.logs import configure_logs
            from felixhub.transport.address import Connection
            from felixhub.worker.process import leave, run_agents
            configure_logs(file=Path({str(tmp_path / "log")!r}))
            at = Connection(ingest={hub.address!r}, live="", control="")
            leave(run_agents(["clock"], hub=lambda: at, resolve=None,
                             agents_dirs=[Path({str(tmp_path)!r})], parent_fd={0 if parent else None}))
        """
        child = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "FELIXHUB_FAILPOINT": failpoint},
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def test_a_users_own_file_thinks(hub: SmallHub, spawn: Spawn) -> None:
    spawn(CLOCK)
    hub.begin()
    assert hub.text(hub.wait_for("thought.finalized").thought) == "It is noon."


def test_its_mistake_is_told_with_file_and_line(hub: SmallHub, spawn: Spawn) -> None:
    spawn("async def think(request):\n    yield 'x'\n    raise ValueError('no hands')\n")
    hub.begin()
    assert hub.wait_for("thought.abandoned").error == "ValueError: no hands (clock.py, line 3)"


def test_a_file_that_does_not_load_is_told_and_not_tried_again(hub: SmallHub, spawn: Spawn, tmp_path: Path) -> None:
    spawn("def think(:\n")
    hub.begin(retries_max=2)
    abandoned = hub.wait_for("thought.abandoned")
    assert abandoned.error.startswith(f"{tmp_path}/clock.py:1: not valid Python") and abandoned.retry_s is None


def test_a_file_that_was_mended_is_loaded_again(hub: SmallHub, spawn: Spawn, tmp_path: Path) -> None:
    spawn("def think(:\n")
    hub.begin()
    hub.wait_for("thought.abandoned")
    (tmp_path / "clock.py").write_text(CLOCK)
    hub.begin(run="r2")
    assert hub.text(hub.wait_for("thought.finalized").thought) == "It is noon."


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_politely(hub: SmallHub, spawn: Spawn, number: signal.Signals) -> None:
    child = spawn(SILENT)
    hub.begin()
    hub.wait_for("thought.partial")
    child.send_signal(number)
    assert child.wait(20.0) == 0
    abandoned = hub.wait_for("thought.abandoned")
    assert (abandoned.reason, hub.text(abandoned.thought)) == ("agent_lost", "so far")
    assert hub.sent("bye")


def test_a_signal_ends_it_even_while_code_blocks(hub: SmallHub, spawn: Spawn) -> None:
    child = spawn("import time\nasync def think(request):\n    yield 'so far'\n    time.sleep(60)\n")
    hub.begin()
    hub.wait_for("thought.partial")
    child.terminate()
    assert child.wait(20.0) == 0


def test_it_ends_with_its_parent(hub: SmallHub, spawn: Spawn) -> None:
    child = spawn(SILENT, parent=True)
    hub.begin()
    hub.wait_for("thought.partial")
    assert child.stdin is not None
    child.stdin.close()
    child.stdin = None
    assert child.wait(20.0) == 0


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("worker.before_first_text", [""]),
        ("worker.mid_stream", ["It is "]),
        # What ZeroMQ still held dies with the process.
        ("worker.before_finalize", ["It is ", "It is noon."]),
    ],
)
def test_failpoints_kill_where_they_say(hub: SmallHub, spawn: Spawn, name: str, texts: list[str]) -> None:
    child = spawn(CLOCK, failpoint=name)
    hub.begin()
    assert child.wait(20.0) == -signal.SIGKILL
    thought = hub.wait_for("thought.started").thought
    until(lambda: hub.text(thought) in texts, what=str(texts))
    assert not hub.events("thought.finalized")


def test_a_failpoint_counts_its_passings(hub: SmallHub, spawn: Spawn) -> None:
    child = spawn("import asyncio\nasync def think(r):\n    for _ in range(9):\n        yield 'x'\n"
                  "        await asyncio.sleep(0.08)\n", failpoint="worker.mid_stream:3")  # fmt: skip
    hub.begin()
    assert child.wait(20.0) == -signal.SIGKILL
    thought = hub.wait_for("thought.started").thought
    until(lambda: hub.text(thought) == "xxx")


def test_an_unknown_failpoint_is_named(monkeypatch: Any) -> None:
    for setting in ("worker.nowhere", "worker.mid_stream:0", "worker.mid_stream:x"):
        monkeypatch.setenv("FELIXHUB_FAILPOINT", setting)
        with pytest.raises(ConfigError, match="names no failpoint"):
            failpoint("worker.mid_stream")
    monkeypatch.delenv("FELIXHUB_FAILPOINT")
    for name in NAMES:
        failpoint(name)


def test_importing_it_imports_nothing_heavy() -> None:
    code = """
        import sys, felixhub.worker.process as process
        heavy = {"openai", "httpx2", "sqlite3"} & set(sys.modules)
        assert not heavy, heavy
        process.preload()
        assert "openai" in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
