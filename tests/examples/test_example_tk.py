"""The window: in a process of its own on a virtual screen, beside agents that say what the test tells them to."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from felixhub.testing import FAIL, HOLD, HubForTests, Script

VIEWER = Path(__file__).resolve().parents[2] / "examples" / "viewer_tk.py"
DEADLINE_S = 60.0
MISSING = [
    what
    for what, there in (("Xvfb", shutil.which("Xvfb")), ("Python's tkinter", importlib.util.find_spec("_tkinter")))
    if not there
]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not on this machine: {', '.join(MISSING)}")

# Opens the example's window as the example does, tells what is in it whenever that has changed, and closes it when the
# title says that the run has ended.
DRIVER = """
import json, runpy, sys
window = runpy.run_path(sys.argv[1])["window"](*sys.argv[2:])
told = None

def look():
    global told
    panes = [child for child in window.winfo_children() if child.winfo_class() == "Labelframe"]
    texts = {pane["text"]: pane.winfo_children()[0].winfo_children()[1].get("1.0", "end-1c") for pane in panes}
    now = {"title": window.title(), "texts": texts, "mapped": window.winfo_ismapped()}
    if now != told:
        told = now
        print(json.dumps(told), flush=True)
    if any(word in window.title() for word in ("finished", "cancelled", "failed", "no run")):
        window.destroy()
    else:
        window.after(20, look)

window.after(20, look)
window.mainloop()
"""


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A virtual screen of one's own."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1000x600x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=(write,), stderr=subprocess.DEVNULL) as screen:
        os.close(write)
        with open(read) as told:  # noqa: PTH123  (a pipe has no path)
            yield f":{told.readline().strip()}"
        screen.terminate()


@contextlib.contextmanager
def _window(display: str, *arguments: str) -> Iterator[Iterator[dict[str, Any]]]:
    """What is in the window, again and again, until it closes."""
    command = [sys.executable, "-c", DRIVER, str(VIEWER), *arguments]
    environ = {**os.environ, "DISPLAY": display}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stdout is not None
        yield (json.loads(line) for line in process.stdout)
        _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, said


def _at_the_end(told: Iterator[dict[str, Any]]) -> dict[str, Any]:
    return list(told)[-1]


def test_a_pane_for_each_agent_with_all_that_it_said(hub: HubForTests, display: str) -> None:
    run = hub.run(
        ann=[Script("One — ", FAIL), Script("One — ünd ", "two.\n", pace_s=0.1)],
        ben="\x1b[2J\u202ehostile [/b]",
        synthesis="Both.",
    )
    with _window(display, run.id, str(hub.data)) as window:
        told = _at_the_end(window)
    assert told["title"] == f"FelixHub: {run.id} finished"
    assert told["texts"] == {
        "ann": "\n▸ One — \n▸ One — ünd two.\n",
        "ben": "\n▸ \ufffd[2J\ufffdhostile [/b]",
        "synthesizer": "\n▸ Both.",
    }
    assert told["mapped"]


def test_a_run_that_does_not_exist(hub: HubForTests, display: str) -> None:
    hub.run(ann="One.")
    with _window(display, "nobody", str(hub.data)) as window:
        assert "there is no run 'nobody'" in _at_the_end(window)["title"]


def test_another_log_empties_the_panes(hub: HubForTests, display: str) -> None:
    """What was shown is no longer true, as after a restored backup."""
    run = hub.run(ann=Script("Before. ", HOLD), id="talk-1")
    with _window(display, run.id, str(hub.data)) as window:
        assert any(told["texts"] == {"ann": "\n▸ Before. "} for told in window)
        hub.stop()
        hub.kill_worker("ann")
        shutil.rmtree(hub.data)
        hub.start()
        hub.run(ben="After.", id="talk-1")
        assert _at_the_end(window)["texts"] == {"ben": "\n▸ After."}


def test_the_example_itself_runs_until_it_is_closed(hub: HubForTests, display: str) -> None:
    run = hub.run(ann="One.")
    command = [sys.executable, str(VIEWER), run.id, str(hub.data)]
    with subprocess.Popen(command, env={**os.environ, "DISPLAY": display}, stderr=subprocess.PIPE) as process:
        run.wait(DEADLINE_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        assert process.poll() is None, process.stderr and process.stderr.read()
        process.terminate()


def test_it_is_short() -> None:
    assert len(VIEWER.read_text().splitlines()) < 40
