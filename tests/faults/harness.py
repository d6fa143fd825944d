"""A hub, workers and watchers as real processes in a folder of their own, to be killed, stopped and started again.

Owns: starting, finding and ending these processes, and waiting for what they do. Must not: judge (`verdict.py` does).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from felixhub.core.events import Event, parse_event
from felixhub.core.messages import Replay, Runs, Start
from felixhub.core.workflow import Card, RunSettings, Stage, Synthesis, Workflow
from felixhub.eventlog.sqlite import SqliteLog
from felixhub.transport.address import Connection, NoHub, find_hub
from felixhub.transport.control import ControlClient, new_id
from felixhub.transport.subscriber import Subscription

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TAG = "FAULT_PLACE"  # in the environment of every process of a place: how orphans are found
ROUNDS = int(os.environ.get("FELIXHUB_FAULT_ROUNDS", "1"))

AGENTS = ("a1", "a2", "a3", "a4")
WRITER = "writer"

# What every agent says is told by the run's seed and the thought's id, and is written down before it is yielded: what
# the hub holds of a thought must be equal to its file, or a prefix of it.
AGENT_FILE = '''
"""Says what its thought's id tells it to say, and writes it down."""

import asyncio
import json
import os
import random
from pathlib import Path

from felixhub import Reasoning

TRUTH = Path(os.environ["FAULT_TRUTH"])
WORDS = ["hub ", "Öl ", "naïve ", "€ 5, ", "漢字 ", "🎉 ", "👩‍🔬 ", "e\\u0301 ", "\\n", "\\u0000", "[/x] ", "ظل "]


async def think(request):
    plan = json.loads(request.task)
    dice = random.Random(f"{plan['seed']}/{request.thought}")
    with (
        (TRUTH / f"{request.thought}.txt").open("xb", buffering=0) as text,
        (TRUTH / f"{request.thought}.reasoning.txt").open("xb", buffering=0) as reasoning,
    ):
        for number in range(plan["pieces"]):
            said = "".join(dice.choices(WORDS, k=dice.randint(1, plan["words"])))
            if plan.get("marked"):
                said = f"⟨{request.thought}#{number}⟩{said}"
            if number % 10 == 3:
                reasoning.write(said.encode())
                yield Reasoning(said)
            else:
                text.write(said.encode())
                yield said
            await asyncio.sleep(plan["pace_s"])
'''

T = TypeVar("T")


def until(found: Callable[[], T], seconds: float, what: str) -> T:
    """Ask again and again until it is true; the only way anything here waits."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return value


def seeds(name: str) -> list[int]:
    """The seeds of a test: always the same, more of them with FELIXHUB_FAULT_ROUNDS."""
    return [random.Random(f"{name}/{number}").randrange(1_000_000) for number in range(ROUNDS)]


class Process:
    """One process in a session of its own; what it prints and what it says (standard error) go to a file each."""

    def __init__(self, place: Place, name: str, arguments: Sequence[str], **environ: str) -> None:
        place.started += 1
        self.name = name
        self.log = place.folder / "logs" / f"{place.started:03}-{name}.log"
        self.out = self.log.with_suffix(".out")
        with self.log.open("wb") as log, self.out.open("wb") as out:
            self.popen = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                cwd=place.folder,
                env={**place.environ, **environ},
                start_new_session=True,
            )
        place.processes.append(self)

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def exit(self) -> int | None:
        return self.popen.poll()

    def interrupt(self) -> None:
        """As Ctrl-C in a terminal: everybody in its group hears it."""
        os.killpg(self.pid, signal.SIGINT)

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.exit is None:
            self.signal(signal.SIGKILL)
        self.popen.wait(30)

    def wait(self, seconds: float) -> int:
        """Its exit code, negative for a signal."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} (pid {self.pid}) did not end within {seconds} s: {self.said()}"
            ) from None

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-4_000:]


class Place:
    """A folder with agents, a workflow, a data directory, and the processes that live on them."""

    hub_flags: tuple[str, ...] = ()  # for every hub of this place
    bind_s = 30.0  # how long a hub may take to come up

    def __init__(self, folder: Path, limits: dict[str, float]) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.truth = folder / "truth"
        self.records = folder / "records"
        self.runtime = folder / "run"
        self.processes: list[Process] = []
        self.started = 0
        self.hub: Process | None = None
        for one in (self.truth, self.records, self.runtime, folder / "logs", folder / "agents", folder / "config"):
            one.mkdir(mode=0o700)
        for agent in (*AGENTS, WRITER):
            (folder / "agents" / f"{agent}.py").write_text(AGENT_FILE, encoding="utf-8")
        (folder / "config" / "workflows").mkdir()
        (folder / "config" / "workflows" / "team.toml").write_text(_toml(), encoding="utf-8")
        table = "".join(f"{name} = {value}\n" for name, value in limits.items())
        (folder / "config" / "hub.toml").write_text(f"batch_interval_s = 0.03\n[limits]\n{table}", encoding="utf-8")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FELIXHUB_", "XDG_"))}
        self.environ = kept | {
            TAG: str(folder),
            "SPT_NOENV": "1",  # as in end_to_end/shell.py
            "FAULT_TRUTH": str(self.truth),
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "FELIXHUB_DATA": str(self.data),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "120",
        }

    # ---- processes ---------------------------------------------------------------------------------------------------

    def start_hub(
        self, *, failpoint: str | None = None, script: str | None = None, wait: bool = True, **env: str
    ) -> None:
        """Start the hub and wait until it has bound. `script`: a hub of the tests' own, given the same words."""
        entry = [str(HERE / script)] if script else ["-m", "felixhub"]
        arguments = [*entry, "hub", "--data", str(self.data), *self.hub_flags]
        if failpoint:
            env["FELIXHUB_FAILPOINT"] = failpoint
        self.hub = Process(self, "hub", arguments, **env)
        if wait:
            self.wait_for_hub()

    def wait_for_hub(self) -> None:
        hub = self.the_hub
        until(lambda: self.has_bound() or hub.exit is not None, self.bind_s, f"the hub binds: {hub.said()}")

    def has_bound(self) -> bool:
        connection = self.connection()
        return connection is not None and connection.pid == self.the_hub.pid

    @property
    def the_hub(self) -> Process:
        assert self.hub is not None, "started"
        return self.hub

    def connection(self) -> Connection | None:
        """Where the hub of this place listens, running or not."""
        try:
            return find_hub(str(self.data), default=self.data)
        except NoHub:
            return None

    def stop_hub(self) -> None:
        """Politely."""
        self.the_hub.signal(signal.SIGTERM)
        assert self.the_hub.wait(30.0) == 0, self.the_hub.said()

    def start_worker(self, *agents: str, failpoint: str | None = None, hub: Path | None = None) -> Process:
        environ = {"FELIXHUB_FAILPOINT": failpoint} if failpoint else {}
        arguments = ["-m", "felixhub", "agent", *agents, "--hub", str(hub or self.data)]
        return Process(self, "worker-" + "-".join(agents), arguments, **environ)

    def start_team(self) -> dict[str, Process]:
        """One worker for each agent."""
        return {agent: self.start_worker(agent) for agent in (*AGENTS, WRITER)}

    def watch(self, run: str, *kinds: str, script: str = "watcher.py", **environ: str) -> Process:
        """A process that watches a run as each of these kinds of subscriber (see `watcher.py`)."""
        return Process(self, "watcher-" + "-".join(kinds), [str(HERE / script), run, *kinds], **environ)

    def kin(self) -> dict[int, str]:
        """Every living process of this place by pid, its command line with it, whoever started it."""
        found = {}
        tag = f"{TAG}={self.folder}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if tag in (entry / "environ").read_bytes().split(b"\0"):
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found[int(entry.name)] = words.strip()
        return found

    def close(self) -> list[str]:
        """Kill everything; returns what was left behind that nobody here had started."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.signal(signal.SIGCONT)
            process.kill()
        # A child that holds a pipe to one of these ends by itself, in a moment.
        deadline = time.monotonic() + 20.0
        while (left := self.kin()) and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return list(left.values())

    def left_open(self) -> list[str]:
        """What a hub that ended well does not leave: its sockets and its connection file."""
        found = [path for path in self.runtime.rglob("*") if path.is_socket()]
        return [str(path) for path in (*found, self.data / "connection.json") if path.exists()]

    # ---- runs --------------------------------------------------------------------------------------------------------

    def client(self, *, wait_s: float = 20.0) -> ControlClient:
        return ControlClient(lambda: find_hub(str(self.data), default=self.data), wait_s=wait_s)

    def start_run(self, seed: int, **plan: float) -> str:
        start = start_of(f"run-{seed}", seed=seed, **plan)
        with self.client() as client:
            client.request(start)
        return start.id

    def follow(self, run: str) -> Subscription:
        """The test's own eye on a run."""
        return Subscription(run, hub=self.data, wait_s=20.0, until_done=True)

    def status(self, run: str) -> str:
        with self.client() as client:
            return str(next(row["status"] for row in client.request(Runs(id=new_id()))["runs"] if row["run"] == run))

    def counters(self) -> dict[str, int]:
        with self.client() as client:
            counted: dict[str, int] = client.hello()["counters"]
            return counted

    def log_of(self, run: str) -> list[bytes]:
        """The events of a run as the hub's log has them."""
        with self.client() as client:
            return client.pages(Replay(id=new_id(), run=run))

    def stored(self, run: str) -> list[bytes]:
        """The same from the file, when no hub runs."""
        log = SqliteLog.open(self.data)
        try:
            records = log.read(run, after=0, through=2**40, rows_max=1_000_000, bytes_max=2**40)
            return [record.body for record in records]
        finally:
            log.close()

    def events_of(self, run: str) -> list[Event]:
        return [parse_event(line) for line in self.log_of(run)]


class Eye:
    """The test's own subscription, kept up to date while the test waits for something."""

    def __init__(self, place: Place, run: str) -> None:
        self._subscription = place.follow(run)
        self.events: list[Event] = []
        self.resets = 0

    def look(self) -> list[Event]:
        for item in self._subscription.poll(0.02):
            if isinstance(item, Event):
                self.events.append(item)
            else:
                self.resets += 1
                self.events.clear()
        return self.events

    def wait_for(self, kind: str, *, count: int = 1, seconds: float = 30.0, agent: str | None = None) -> Event:
        """The `count`-th event of this kind (of this agent)."""

        def found() -> Event | None:
            matching = [e for e in self.look() if e.kind == kind and agent in (None, e.agent_name)]
            return matching[count - 1] if len(matching) >= count else None

        try:
            return until(found, seconds, f"{count} × {kind} of {agent or 'anyone'}")
        except AssertionError as error:
            raise AssertionError(f"{error}; there are {self.kinds()}, and {self._where_it_stands()}") from None

    def _where_it_stands(self) -> dict[str, object]:
        """What the subscription waits for: for whoever must find out why it waits."""
        told = vars(self._subscription.follower)
        names = ("_asked", "_beat_at", "_run_beat_at", "_away", "boot", "_positions", "_known_at_start")
        return {"now": time.monotonic()} | {name: told[name] for name in names}

    def wait_for_count(self, count: int, seconds: float = 30.0) -> None:
        """So many events, or the end of the run."""
        until(lambda: len(self.look()) >= count or self.ended, seconds, f"{count} events; there are {len(self.events)}")

    @property
    def ended(self) -> bool:
        return self._subscription.follower.done

    def wait_for_end(self, seconds: float = 60.0) -> Event:
        until(lambda: self.look() and self.ended, seconds, f"the run ends; there are {self.kinds()}")
        return self.events[-1]

    def kinds(self) -> dict[str, int]:
        kinds = [event.kind for event in self.events]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}

    def close(self) -> None:
        self._subscription.close()

    def __enter__(self) -> Eye:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def task_of(*, seed: int, pieces: int = 60, pace_s: float = 0.03, words: int = 120, marked: bool = False) -> str:
    """What agents are to say. `marked`: every piece begins with a mark of its own, so that a doubled one shows."""
    return json.dumps({"seed": seed, "pieces": pieces, "pace_s": pace_s, "words": words, "marked": marked})


def start_of(name: str, *, agents: Sequence[str] = AGENTS, retries_max: int = 5, **plan: Any) -> Start:
    """Some agents in parallel and one that writes the end."""
    stages = tuple(Stage(name=a, agent=a, context="none", retries_max=retries_max, retry_s=0.1) for a in agents)
    return Start(
        id=name,
        task=task_of(**plan),
        workflow=Workflow(name="team", stages=stages, synthesis=Synthesis(agent=WRITER, retries_max=5, retry_s=0.1)),
        agents=tuple(Card(name=agent, program=True) for agent in (*agents, WRITER)),
        settings=RunSettings(batch_interval_s=0.03),
    )


def _toml() -> str:
    stages = "".join(
        f'[[stages]]\nname = "{a}"\nagent = "{a}"\ncontext = "none"\nretries_max = 5\nretry_s = 0.1\n' for a in AGENTS
    )
    return f'name = "team"\n{stages}[synthesis]\nagent = "{WRITER}"\nretries_max = 5\nretry_s = 0.1\n'


@contextlib.contextmanager
def a_place(**limits: float) -> Iterator[Place]:
    """A place that leaves no process behind, and fails if one of its processes did."""
    folder = Path(tempfile.mkdtemp(prefix="fh-", dir="/tmp"))  # Short: an ipc path holds 107 characters.
    place = Place(folder, limits)
    try:
        yield place
    finally:
        left = place.close()
        shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"left behind: {left}"
