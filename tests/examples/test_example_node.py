"""The viewer in Node, with zeromq.js from npm, on a real hub beside agents that say what the test tells them to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from felixhub.testing import HOLD, HubForTests, Script

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEADLINE_S = 60.0
NPM_S_MAX = 120.0
ZEROMQ = "zeromq@6"
TOOLS = [name for name in ("node", "npm") if shutil.which(name) is None]

pytestmark = pytest.mark.skipif(bool(TOOLS), reason=f"not on this machine: {', '.join(TOOLS)}")


@pytest.fixture(scope="module")
def modules() -> Path:
    """A folder with zeromq.js in it, kept for the next time."""
    folder = Path(tempfile.gettempdir()) / f"felixhub-test-node-{os.getuid()}"
    if not (folder / "node_modules" / "zeromq" / "package.json").exists():
        with tempfile.TemporaryDirectory() as made:
            command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", made, ZEROMQ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=NPM_S_MAX, check=False)
            assert done.returncode == 0, done.stderr
            shutil.copytree(made, folder, dirs_exist_ok=True, symlinks=True)
    return folder


@pytest.fixture
def viewer(modules: Path, tmp_path: Path) -> Path:
    """The example beside its library, as somebody would have it."""
    (tmp_path / "node_modules").symlink_to(modules / "node_modules")
    return Path(shutil.copy(EXAMPLES / "viewer_node.mjs", tmp_path))


def _start(viewer: Path, hub: HubForTests, run: str) -> subprocess.Popen[bytes]:
    command = ["node", str(viewer), str(hub.data), run]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=viewer.parent)


def _told(shown: str) -> dict[str, str]:
    seen: dict[str, str] = {}
    parts = re.split(r"\n\[(\w+)\] ", shown.removesuffix("\n"))
    assert parts[0] == "", parts[0]
    for agent, piece in zip(parts[1::2], parts[2::2], strict=True):
        seen[agent] = seen.get(agent, "") + piece
    return seen


def test_it_shows_all_text_though_it_came_late(hub: HubForTests, viewer: Path) -> None:
    early = "All of this was said — ünd 🎉 more — before anybody watched.\n"
    late = ["Half of it \x1b[2J\x9b31m\u202e before, ", "hälf of it\tafter."]
    # Beats come all the time, and the ticker speaks until the viewer has shown something: no wait for a moment.
    run = hub.run(early=early, late=Script(late[0], HOLD, late[1]), ticker=Script(*["tick "] * 100, HOLD, pace_s=0.05))
    hub.until(lambda: _finals(hub, run.id), "the first has ended")
    with _start(viewer, hub, run.id) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 65_536)
        hub.release("late")
        hub.release("ticker")
        shown = (first + process.stdout.read()).decode()
        assert process.wait(DEADLINE_S) == 0, shown
    hidden = re.compile("[\x1b\x9b\u202e]")
    seen = _told(shown)
    assert seen.pop("ticker") == "tick " * 100
    assert seen.pop("late") == hidden.sub("\ufffd", "".join(late))
    assert seen in ({}, {"early": early})  # Its thought had ended before there was a viewer; the wire says no more.


def _finals(hub: HubForTests, run: str) -> bool:
    with hub.connect() as client:
        return bool(client.snapshot(run).finals)


def test_it_is_short_and_needs_nothing_of_ours() -> None:
    text = (EXAMPLES / "viewer_node.mjs").read_text()
    assert len(text.splitlines()) < 40
    assert set(re.findall(r'from "([^"]+)"', text)) == {"node:fs", "node:path", "zeromq"}
