"""The example viewers as a user runs them: processes of their own, on a real hub, beside a scripted worker."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEADLINE_S = 30.0
AGENTS = ("early", "late", "ticker")

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(*arguments)`: a Python process that ends with the test."""
    children: list[subprocess.Popen[bytes]] = []
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FELIXHUB_")}

    def begin(*arguments: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ | {"PYTHONIOENCODING": "utf-8"},
            cwd=tmp_path,
        )
        children.append(child)
        return child

    yield begin
    for child in reversed(children):
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(20.0)
        child.kill()
        child.communicate()


class Team:
    """A run of three agents that say what the test tells them to, and a client beside."""

    def __init__(self, data: Path, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        where = json.loads((data / "connection.json").read_bytes())
        self.data = data
        self.said = dict.fromkeys(AGENTS, b"")
        self._control, self._ingest = (_dealer(context, where[name]) for name in ("control", "ingest"))
        stages = [{"name": agent, "agent": agent} for agent in AGENTS]
        self._control.send_json(
            {
                "type": "start",
                "id": "r1",
                "task": "Talk.",
                "workflow": {"name": "talk", "stages": stages},
                "agents": [{"name": agent, "program": True} for agent in AGENTS],
            }
        )
        assert self._hear(self._control)["type"] == "ok"
        self._ingest.send_json({"type": "hello", "worker": {"session": "s1"}, "agents": list(AGENTS)})
        self._thoughts: dict[str, str] = {}
        while len(self._thoughts) < len(AGENTS):
            message = self._hear(self._ingest)
            if message["type"] == "assign":
                self._thoughts[message["agent"]] = message["thought"]

    def say(self, agent: str, text: str) -> None:
        """New text of this agent, durable when this returns."""
        offset = len(self.said[agent])
        self.said[agent] += text.encode()
        self._ingest.send_json({"type": "partial", "thought": self._thoughts[agent], "offset": offset, "text": text})
        while not any(ack["length"] == len(self.said[agent]) for ack in self._hear(self._ingest).get("lengths", ())):
            pass

    def finish(self) -> None:
        for agent, thought in self._thoughts.items():
            said = self.said[agent]
            digest = hashlib.sha256(said).hexdigest()
            self._ingest.send_json({"type": "finalize", "thought": thought, "length": len(said), "sha256": digest})

    def replay(self) -> bytes:
        """All of the run's events as stored, one a line."""
        self._control.send_json({"type": "replay", "id": "all", "run": "r1"})
        lines, last = b"", False
        while not last:
            assert self._control.poll(int(DEADLINE_S * 1000))
            header, page = self._control.recv_multipart()
            last = json.loads(header)["last"]
            lines += page + b"\n"
        return lines

    def _hear(self, socket: zmq.Socket[bytes]) -> dict[str, Any]:
        assert socket.poll(int(DEADLINE_S * 1000)), "the hub did not answer"
        return dict(socket.recv_json())  # type: ignore[call-overload]

    def close(self) -> None:
        self._control.close()
        self._ingest.close()


def _dealer(context: zmq.Context[zmq.Socket[bytes]], address: str) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(address)
    return socket


@pytest.fixture
def team(start: Start, tmp_path: Path) -> Iterator[Team]:
    data = tmp_path / "data"
    hub = start("-m", "felixhub", "hub", "--data", str(data))
    deadline = time.monotonic() + DEADLINE_S
    while not (data / "connection.json").exists():
        assert hub.poll() is None, "the hub ended"
        assert time.monotonic() < deadline, "the hub did not start"
        time.sleep(0.01)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    team = Team(data, context)
    yield team
    team.close()
    context.term()


def _output_of(viewer: subprocess.Popen[bytes], meanwhile: Callable[[], None]) -> bytes:
    """Its first output; `meanwhile` is called until there is some."""
    assert viewer.stdout is not None
    deadline = time.monotonic() + DEADLINE_S
    with selectors.DefaultSelector() as selector:
        selector.register(viewer.stdout, selectors.EVENT_READ)
        while not selector.select(0.05):
            assert viewer.poll() is None, "the viewer ended"
            assert time.monotonic() < deadline, "the viewer shows nothing"
            meanwhile()
    return os.read(viewer.stdout.fileno(), 65_536)


def test_the_plain_viewer_shows_all_text_though_it_came_late(start: Start, team: Team) -> None:
    team.say("early", "All of this was said — ünd more — before anybody watched.")
    team.say("late", "Half of it before, ")
    viewer = start(str(EXAMPLES / "viewer_plain_pyzmq.py"), str(team.data), "r1")
    shown = _output_of(viewer, lambda: team.say("ticker", "tick "))
    team.say("late", "hälf of it \x1b[2J after.")
    team.finish()
    rest, _ = viewer.communicate(timeout=DEADLINE_S)
    assert viewer.returncode == 0

    text = (shown + rest).decode()
    seen = dict.fromkeys(AGENTS, "")
    parts = re.split(r"\n\[(\w+)\] ", text.removesuffix("\n"))
    for agent, piece in zip(parts[1::2], parts[2::2], strict=True):
        seen[agent] += piece
    assert seen == {agent: said.decode().replace("\x1b", "\ufffd") for agent, said in team.said.items()}


def test_the_logger_writes_the_very_bytes_of_the_log(start: Start, team: Team, tmp_path: Path) -> None:
    team.say("early", "Before the logger.")
    file = tmp_path / "run.jsonl"
    logger = start(str(EXAMPLES / "logger_to_file.py"), str(file), "r1", str(team.data))
    deadline = time.monotonic() + DEADLINE_S
    while not (file.exists() and file.stat().st_size):
        assert logger.poll() is None, "the logger ended"
        assert time.monotonic() < deadline, "the logger writes nothing"
        time.sleep(0.02)
    for number in range(20):
        team.say("late", f"Line {number} — while it löoks on.\n")
    team.finish()
    assert logger.wait(DEADLINE_S) == 0
    assert file.read_bytes() == team.replay()


@pytest.mark.parametrize("name", ["viewer_plain_pyzmq.py", "logger_to_file.py"])
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) < 40


def test_the_plain_viewer_needs_nothing_of_ours() -> None:
    assert not re.search(r"(import|from) felixhub", (EXAMPLES / "viewer_plain_pyzmq.py").read_text())
