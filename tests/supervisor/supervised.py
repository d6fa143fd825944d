from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from felixhub.core.events import Event, parse_event
from felixhub.core.messages import Replay, Runs, Start
from felixhub.core.workflow import Card, RunSettings, Stage, Workflow
from felixhub.transport.address import NoHub, find_hub
from felixhub.transport.control import ControlClient, new_id

# A test run in the background inherits ignored signals and would hand them on to every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

ROOT = Path(__file__).parent.parent.parent

# Does what its task tells it to: `wait`, `die`, `talk` for ever, or just end.
AGENT = """
import asyncio, os


async def think(request):
    yield "said. "
    if "die" in request.task:
        os._exit(9)
    while "wait" in request.task and not os.path.exists("go"):
        await asyncio.sleep(0.02)
    while "talk" in request.task:
        yield "on and on "
        await asyncio.sleep(0.05)
    yield "done."
"""
T = TypeVar("T")


def until(found: Callable[[], T], seconds: float, what: Callable[[], str] | str) -> T:
    """Ask again and again until it is true; the only way anything here waits."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.02)
    return value


class Place:
    """A folder with agents that are programs, and `felixhub` commands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.started: list[subprocess.Popen[str]] = []
        for one in ("run", "agents", "config", "config/workflows"):
            (folder / one).mkdir(mode=0o700)
        for agent in ("a", "b"):
            (folder / "agents" / f"{agent}.py").write_text(AGENT)
        (folder / "config/workflows/one.toml").write_text('name = "one"\n[[stages]]\nname = "a"\nagent = "a"\n')
        self.configure()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FELIXHUB_", "XDG_"))}
        self.environ = kept | {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "FELIXHUB_DATA": str(self.data),
            "FELIXHUB_LLM": "offline",
            "PYTHONPATH": str(ROOT),
        }

    def configure(self, **more: Any) -> None:
        lines = [f"{name} = {value}\n" for name, value in more.items()]
        limits = "worker_beat_s = 0.1\nlease_grace_s = 1.2\nbeat_s = 0.2\n"
        (self.folder / "config/hub.toml").write_text("".join([*lines, "[limits]\n", limits]))

    # ---- processes ---------------------------------------------------------------------------------------------------

    def start(self, *arguments: str, stdout: Any = subprocess.DEVNULL, **environ: str) -> subprocess.Popen[str]:
        with (self.folder / f"{len(self.started)}.err").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "felixhub", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=err,
                text=True,
                cwd=self.folder,
                env={**self.environ, **environ},
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def said(self, process: subprocess.Popen[str]) -> str:
        return (self.folder / f"{self.started.index(process)}.err").read_text()

    def run(self, *arguments: str, code: int, **environ: str) -> str:
        """The command's standard error, after it has ended with this code."""
        process = self.start(*arguments, **environ)
        assert process.wait(60.0) == code, self.said(process)
        assert "Traceback" not in self.said(process), self.said(process)
        return self.said(process)

    def serve(self, **environ: str) -> subprocess.Popen[str]:
        process = self.start("up", "--serve", "--view", "none", **environ)
        until(lambda: "Ctrl-C stops" in self.said(process), 30.0, lambda: self.said(process))
        return process

    def kin(self) -> dict[int, str]:
        """Every living process of this place by pid, whoever started it."""
        found = {}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                # By its folder: a process that has given itself a title has overwritten its environment.
                if entry.name.isdecimal() and (entry / "cwd").readlink() == self.folder:
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                    if words:
                        found[int(entry.name)] = words
        return found

    def worker(self, agent: str) -> int:
        """The pid of the supervisor's worker for this agent, 0 if there is none."""
        return next((pid for pid, words in self.kin().items() if words == f"felixhub agent {agent}"), 0)

    def until_nobody_is_left(self) -> None:
        until(lambda: not self.kin(), 30.0, lambda: f"everybody ends: {self.kin()}")

    def log(self, name: str) -> str:
        file = self.data / "logs" / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
        for pid in self.kin():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait(30.0)
            if process.stdout is not None:
                process.stdout.close()

    # ---- runs --------------------------------------------------------------------------------------------------------

    def begin(self, task: str, *agents: str) -> str:
        stages = tuple(
            Stage(
                name=agent,
                agent=agent,
                context="none",
                after=agents[n - 1 : n] if n else (),
                retries_max=9,
                retry_s=0.1,
            )
            for n, agent in enumerate(agents)
        )
        start = Start(
            id=new_id("run"),
            task=task,
            workflow=Workflow(name="w", stages=stages, synthesis=None),
            agents=tuple(Card(name=agent, program=True) for agent in agents),
            settings=RunSettings(),
        )
        with self.client() as client:
            client.request(start)
        return start.id

    def client(self) -> ControlClient:
        return ControlClient(lambda: find_hub(str(self.data), default=self.data), wait_s=20.0)

    def status(self, run: str) -> str:
        with self.client() as client:
            return str(next(row["status"] for row in client.request(Runs(id=new_id()))["runs"] if row["run"] == run))

    def latest(self) -> str:
        with self.client() as client:
            rows = client.request(Runs(id=new_id()))["runs"]
        return str(rows[-1]["run"]) if rows else ""

    def until_status(self, run: str, status: str, seconds: float = 30.0) -> None:
        until(lambda: self.status(run) == status, seconds, lambda: f"{status}: {self.kinds(run)} {self.kin()}")

    def events(self, run: str) -> list[Event]:
        with self.client() as client:
            return [parse_event(line) for line in client.pages(Replay(id=new_id(), run=run))]

    def kinds(self, run: str) -> list[str]:
        return [event.kind for event in self.events(run)]

    def hub_pid(self) -> int:
        with contextlib.suppress(NoHub):
            return find_hub(str(self.data), default=self.data).pid
        return 0


@pytest.fixture
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="fh-", dir="/tmp"))  # Short: an ipc path holds 107 characters.
    made = Place(folder)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)
