"""A real hub, and real workers, in a temporary directory, for as long as a `with` block.

Owns: these processes, their folder, and waiting for them. Must not: judge what they do; that is the test's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from felixhub.client.runs import RunClient, send_start
from felixhub.core.errors import FelixError
from felixhub.core.helix import Role
from felixhub.core.messages import Document, Start
from felixhub.core.workflow import Card, RunSettings, Stage, Synthesis, Workflow
from felixhub.testing.script import Script, release, write_agent
from felixhub.transport.address import NoHub, find_hub
from felixhub.transport.control import ControlClient, connect, new_id
from felixhub.transport.subscriber import Subscription

START_S_MAX = 60.0
STOP_S_MAX = 20.0
LOOK_S = 0.02

Says = str | Script | Sequence[Script]
T = TypeVar("T")


class DidNotHappen(FelixError, AssertionError):
    """What a test waited for did not come in time; the message has the end of the processes' logs."""


@contextlib.contextmanager
def a_hub(**environ: str) -> Iterator[HubForTests]:
    """A hub that is up, in a folder of its own, with `environ` in the environment of every process.

    At the end everything is stopped and the folder removed. Raises DidNotHappen when the hub does not come up.
    """
    # Short, and not under a test's long tmp_path: the path of a local socket holds 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="felixhub-"))
    hub = HubForTests(folder, environ)
    try:
        hub.start()
        yield hub
    finally:
        hub.close()
        shutil.rmtree(folder, ignore_errors=True)


class HubForTests:
    """`data` is what `--hub`, `felixhub.connect` and `felixhub.subscribe` take; `environ` what its processes see.

    `agents` is the folder of agents' files of its workers: a program of your own goes there as `NAME.py`.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.agents = folder / "agents"
        self.agents.mkdir()
        runtime = folder / "run"
        runtime.mkdir(mode=0o700)
        # Settings and keys of whoever runs the tests are no part of them.
        ours = ("FELIXHUB_", "XDG_")
        kept = {n: v for n, v in os.environ.items() if not n.startswith(ours) and not n.endswith("_API_KEY")}
        self.environ = kept | {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(runtime),
            "FELIXHUB_DATA": str(self.data),
            "FELIXHUB_HUB": str(self.data),
            "FELIXHUB_AGENTS_DIR": str(self.agents),
            **environ,
        }
        self._hub: subprocess.Popen[bytes] | None = None
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    # ---- the hub -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the hub and wait until it listens; on the same data after `stop` or `kill`."""
        assert self._hub is None, "it is up"
        self._hub = hub = self._process("hub", "hub", "--data", str(self.data))
        self.until(lambda: self._listens(hub.pid) or hub.poll() is not None, "the hub listens")
        if hub.poll() is not None:
            raise DidNotHappen(f"the hub ended with {hub.returncode}:\n{self.logs()}")

    def stop(self) -> None:
        """Stop the hub politely."""
        self._end(self._the_hub(), kill=False)
        self._hub = None

    def kill(self) -> None:
        """SIGKILL to the hub, as a power cut; `start` brings it back with all that was acknowledged."""
        self._end(self._the_hub(), kill=True)
        self._hub = None

    def _the_hub(self) -> subprocess.Popen[bytes]:
        assert self._hub is not None, "it is not up"
        return self._hub

    def _listens(self, pid: int) -> bool:
        try:
            return find_hub(str(self.data), default=self.data).pid == pid
        except NoHub:
            return False

    # ---- clients -----------------------------------------------------------------------------------------------------

    def connect(self) -> ControlClient:
        """A client of its control socket; close it, or use `with`."""
        return connect(self.data)

    def subscribe(self, run: str = "latest", *, until_done: bool = True) -> Subscription:
        """A subscription; close it, or use `with`."""
        return Subscription(run, hub=self.data, until_done=until_done)

    # ---- agents and runs ---------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        task: str = "Say what your script says.",
        workflow: Workflow | None = None,
        synthesis: Says | None = None,
        settings: RunSettings | None = None,
        documents: Sequence[Document] = (),
        retries_max: int = 2,
        id: str | None = None,
        **agents: Says,
    ) -> RunClient:
        """Start a run of these scripted agents, each in a worker process of its own.

        `critic="All of it."` is one thought, a list of scripts one for each attempt or thought. Without a `workflow`
        they all think at once, a stage each, tried `retries_max` times more when they fail; `synthesis` is what an
        agent `synthesizer` then writes. A workflow may also name agents whose files lie in `agents`.
        """
        scripts = dict(agents) | ({} if synthesis is None else {"synthesizer": synthesis})
        for name, says in scripts.items():
            self.write_agent(name, says)
        made = workflow or _side_by_side(list(agents), synthesis=synthesis is not None, retries_max=retries_max)
        for name in made.agents():
            self.work(name)
        start = Start(
            id=id or new_id("test"),
            by="test",
            task=task,
            workflow=made,
            agents=tuple(Card(name=name, program=True) for name in made.agents()),
            settings=settings or RunSettings(batch_interval_s=0.02),
            documents=tuple(documents),
        )
        return send_start(start, hub=self.data)

    def write_agent(self, name: str, says: Says, *, role: Role = "research") -> None:
        """Make a scripted agent, or give one another script; its next thought follows it."""
        scripts = [says] if isinstance(says, Script) else [Script(says)] if isinstance(says, str) else list(says)
        assert scripts, "at least one script"
        write_agent(self.agents, name, scripts, role=role)

    def work(self, name: str) -> None:
        """A worker process for this agent, unless it has one; for a script or a program of your own in `agents`."""
        running = self._workers.get(name)
        if running is None or running.poll() is not None:
            self._workers[name] = self._process(f"worker-{name}", "agent", name, "--hub", str(self.data))

    def kill_worker(self, name: str) -> None:
        """SIGKILL to the worker of this agent; `work` brings another."""
        self._end(self._workers.pop(name), kill=True)

    def release(self, name: str) -> None:
        """Let a scripted agent go on that holds, or that will hold."""
        release(self.agents, name)

    # ---- waiting -----------------------------------------------------------------------------------------------------

    def until(self, true: Callable[[], T], what: str, *, timeout_s: float = START_S_MAX) -> T:
        """Ask again and again until it is true, and return that. Raises DidNotHappen after `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while not (value := true()):
            if time.monotonic() >= deadline:
                raise DidNotHappen(f"not within {timeout_s} s: {what}\n{self.logs()}")
            time.sleep(LOOK_S)
        return value

    def logs(self) -> str:
        """The last lines of what every process said."""
        said = []
        for file in sorted(self.folder.glob("*.log")):
            lines = file.read_text(errors="replace").splitlines()[-20:]
            said.append("\n".join([f"--- {file.stem}", *lines]))
        return "\n".join(said)

    # ---- processes ---------------------------------------------------------------------------------------------------

    def _process(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "felixhub", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environ,
                start_new_session=True,
            )

    def _end(self, process: subprocess.Popen[bytes], *, kill: bool) -> None:
        if process.poll() is None:
            (process.kill if kill else process.terminate)()
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stop everything that still runs."""
        for worker in self._workers.values():
            worker.terminate()
        for worker in self._workers.values():
            self._end(worker, kill=False)
        if self._hub is not None:
            self.stop()


def _side_by_side(agents: Sequence[str], *, synthesis: bool, retries_max: int) -> Workflow:
    stages = tuple(
        Stage(name=name, agent=name, context="none", retries_max=retries_max, retry_s=0.05) for name in agents
    )
    return Workflow(name="test", stages=stages, synthesis=Synthesis(agent="synthesizer") if synthesis else None)
