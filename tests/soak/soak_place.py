"""The soak's place: a place of `tests/faults` whose processes are roles that come back, with a proxy and a history.

Owns: which processes there are, that each lives again when a fault is over, and noticing one that died of itself.
Must not: choose faults (`nemesis.py`) or judge (`checker.py`).
"""

from __future__ import annotations

import functools
import itertools
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import neighbours  # noqa: F401
from harness import WRITER, Place, Process, until
from ports import free_ports
from tcp_proxy import Proxy

from felixhub.core import grant
from felixhub.core.limits import Limits
from felixhub.core.messages import Runs
from felixhub.eventlog.sqlite import SqliteLog
from felixhub.hub.loop import fold_log
from felixhub.transport import keys
from felixhub.transport.control import new_id

HERE = Path(__file__).parent
REAL_AGENTS = ("a1", "a2", "a3", "a4")  # each in a `felixhub agent`; the last two through the proxy
SCRIBES = ("s1", "s2")  # the soak's own workers, which write down every acknowledgement; s2 through the proxy
WEB = "web"  # the gateway
PROXIED = ("a3", "a4", "s2")

# A lease of 3 s, so that a fault can outlast it.
LIMITS: dict[str, float] = {
    "worker_beat_s": 0.3,
    "worker_beats_missed_max": 3,
    "lease_grace_s": 2.1,
    "cancel_grace_s": 0.7,
    "live_messages_max": 40,
    "page_bytes_max": 16_384,
    "retention_s": 864_000.0,
}
LEASE_S = 3.0
REVIVE_S = 60.0


class History:
    """Every operation and fault as a line of JSON with its monotonic time; any thread may write."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def note(self, what: str, **facts: Any) -> None:
        line = json.dumps({"t": round(time.monotonic(), 4), "what": what, **facts}, ensure_ascii=False)
        with self._lock:
            if not self._file.closed:
                self._file.write(line + "\n")
                self._file.flush()

    def close(self) -> None:
        with self._lock:
            self._file.close()


class Role:
    """A process that must be there. Its lock is held by whoever is about to end it or to bring it back."""

    def __init__(self, place: SoakPlace, name: str, start: Callable[..., Process]) -> None:
        self.name = name
        self.lock = threading.RLock()
        self.process: Process | None = None
        self.kills = 0
        self._place = place
        self._start = start
        self._doomed: set[int] = set()  # ended on purpose, or at a failpoint
        self._before: list[Process] = []  # earlier ones that may still live: stopped, to be fenced

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.exit is None

    @property
    def the_process(self) -> Process:
        assert self.process is not None, "started"
        return self.process

    def doom(self) -> None:
        """Its present process may die, and nobody need wonder."""
        self._doomed.add(self.the_process.pid)

    def kill(self) -> None:
        with self.lock:
            self.doom()
            if self.lives:
                self.kills += 1
            self.the_process.kill()

    def freeze(self) -> None:
        if self.lives:
            self.the_process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for process in (*self._before, self.the_process):
            if process.exit is None:
                process.signal(signal.SIGCONT)

    def replace(self, **how: Any) -> Process:
        """Start another process beside the present one, which is returned and must be fenced."""
        with self.lock:
            late = self.the_process
            self._doomed.add(late.pid)
            self._before.append(late)
            self.process = self._start(**how)
            return late

    def restart(self, **how: Any) -> None:
        """Kill it and start it in another way: `failpoint=`, for the hub `script=`, or variables of its environment."""
        with self.lock:
            self.kill()
            self.process = self._start(**how)
            if how.get("failpoint"):
                self.doom()

    def revive(self) -> None:
        """Have a living process, whatever there was."""
        with self.lock:
            if self.process is not None:
                self.thaw()
            if not self.lives:
                living = [process for process in self._before if process.exit is None]
                self.process = living[-1] if living else self._start()

    def stragglers(self) -> list[Process]:
        """Those that were replaced and live all the same."""
        return [process for process in self._before if process.exit is None and process is not self.process]

    def tend(self) -> str:
        """Bring it back if it died; a sentence if nothing here was to end it."""
        if not self.lock.acquire(blocking=False):
            return ""  # Somebody is at it.
        try:
            process = self.the_process
            if process.exit is None:
                return ""
            said = process.said()
            expected = process.pid in self._doomed or (process.exit == 1 and "another worker has taken over" in said)
            self.revive()
            if expected:
                return ""
            return f"{self.name} (pid {process.pid}) ended of itself with {process.exit}: {said[-600:].strip()}"
        finally:
            self.lock.release()


class SoakPlace(Place):
    """`stopping` ends every fault that only lasts; `current_run` is one that is under way."""

    bind_s = 60.0  # the machine may be very busy

    def __init__(
        self, folder: Path, limits: dict[str, float], *, hub_script: str | None = None, hub_environ: dict[str, str]
    ) -> None:
        super().__init__(folder, limits)
        self.history = History(folder / "history.jsonl")
        self.stopping = threading.Event()
        self.runs_under_way: list[str] = []
        self.run_numbers = itertools.count(1)
        self.proxy: Proxy | None = None
        self.onlookers: list[Process] = []  # processes of subscribers, to be stopped for a while
        self.heard_at: list[float] = []  # for a story about somebody's time
        self.more_eyes: Callable[[str], None] | None = None  # has a run watched by some more
        self._hub_script = hub_script
        self.hub_environ = hub_environ
        self.port = free_ports()
        self.hub_flags = ("--listen", f"tcp://127.0.0.1:{self.port}")
        for agent in (*REAL_AGENTS, WRITER):
            kept = folder / "agents" / "a1.py"
            (folder / "agents" / f"{agent}.py").write_bytes(kept.read_bytes())
        self.proxied = folder / "proxied.json"  # an operator's key, for those who watch and command through the proxy
        self.proxied_worker = folder / "proxied-worker.json"
        self.roles: dict[str, Role] = {"hub": Role(self, "hub", self._start_hub)}
        for agent in (*REAL_AGENTS, WRITER):
            self.roles[agent] = Role(self, agent, functools.partial(self._start_agent, agent))
        for agent in SCRIBES:
            self.roles[agent] = Role(self, agent, functools.partial(self._start_scribe, agent))
        self.web_port = free_ports(1)
        self.roles[WEB] = Role(self, WEB, self._start_web)

    # ---- starting ----------------------------------------------------------------------------------------------------

    def open(self, *roles: str) -> None:
        """Start everything, or only these roles; the others are not there at all."""
        for name in [name for name in self.roles if roles and name not in roles]:
            del self.roles[name]
        names = ("control", "ingest", "live")
        ports = {name: self.port + number for number, name in enumerate(names)}
        self.proxy = Proxy({**ports, WEB: self.web_port})
        where = {name: f"tcp://127.0.0.1:{self.proxy.ports[name]}" for name in names}
        self.data.mkdir(mode=0o700, exist_ok=True)
        self._give_key(self.proxied, "operator", where)
        self._give_key(self.proxied_worker, "worker", where)
        for role in self.roles.values():
            role.revive()

    def _give_key(self, file: Path, role: grant.Role, where: dict[str, str]) -> None:
        """A connection file as `felixhub keys new` writes it, but with the proxy's addresses."""
        known = keys.Keys(self.data)
        secret = known.add(keys.grant_of(file.stem, role))
        pair = {"server": keys.hub_key(self.data).public, "public": known.peer(file.stem).public}
        curve = pair | {"secret": secret.get_secret_value()}
        keys.write_private(file, {**where, "key": file.stem, "curve": curve})

    def _start_hub(self, **how: Any) -> Process:
        how = {"script": self._hub_script, **self.hub_environ, **how}
        self.start_hub(**how)
        hub = self.the_hub
        self.history.note("hub", pid=hub.pid, **{k: v for k, v in how.items() if v})
        return hub

    def _start_agent(self, agent: str, *, failpoint: str | None = None) -> Process:
        return self.start_worker(agent, failpoint=failpoint, hub=self.proxied_worker if agent in PROXIED else None)

    def _start_scribe(self, agent: str, **environ: str) -> Process:
        hub = self.proxied_worker if agent in PROXIED else self.data
        return Process(self, f"scribe-{agent}", [str(HERE / "scribe.py"), agent, str(hub)], **environ)

    def _start_web(self) -> Process:
        """It is called by the proxy's port too."""
        through = f"127.0.0.1:{self.the_proxy.ports[WEB]}"
        arguments = ["--hub", str(self.data), "--no-open", "--port", str(self.web_port), "--allow-host", through]
        return Process(self, WEB, ["-m", "felixhub", "web", *arguments])

    # ---- what faults use ---------------------------------------------------------------------------------------------

    @property
    def workers(self) -> list[str]:
        return [name for name in self.roles if name not in ("hub", WEB)]

    @property
    def the_proxy(self) -> Proxy:
        assert self.proxy is not None, "opened"
        return self.proxy

    def current_run(self) -> str | None:
        return self.runs_under_way[-1] if self.runs_under_way else None

    def living_onlookers(self) -> list[Process]:
        self.onlookers = [process for process in self.onlookers if process.exit is None]
        return list(self.onlookers)

    def storm(self, count: int, *, beats: int) -> Process:
        """So many bare subscribers at once, in a process that ends when each has heard `beats` lives of the hub. Real
        ones come with them; they are onlookers of the run that is under way."""
        if self.more_eyes is not None and (run := self.current_run()) is not None:
            self.more_eyes(run)
        return Process(self, "storm", [str(HERE / "storm.py"), str(count), str(beats)])

    def heal(self) -> None:
        """Everything that a fault may have left is made good."""
        self.the_proxy.heal()
        for process in self.living_onlookers():
            process.signal(signal.SIGCONT)
        for role in self.roles.values():
            role.revive()
        until(self.answers, REVIVE_S, "the hub answers when all is healed")

    def answers(self) -> bool:
        with self.client(wait_s=1.0) as client:
            try:
                client.request(Runs(id=new_id()))
            except Exception:  # noqa: BLE001  (whatever it is, it is no answer)
                return False
            return True

    def tend(self) -> list[str]:
        """Bring back what died; sentences about what nothing here was to end."""
        return [sentence for role in self.roles.values() if (sentence := role.tend())]

    # ---- reading the log ---------------------------------------------------------------------------------------------

    def digest(self) -> dict[str, Any]:
        """What the log of a hub that does not run comes to."""
        log = SqliteLog.open(self.data)
        try:
            return fold_log(log, boot="soak", limits=Limits()).digest()
        finally:
            log.close()

    def acks(self) -> Iterator[dict[str, Any]]:
        """What the scribes wrote down of what they heard."""
        for file in sorted(self.records.glob("acks.*.jsonl")):
            for line in file.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):  # One that was killed may not have finished its last line.
                    yield json.loads(line)

    def close(self) -> list[str]:
        self.stopping.set()
        if self.proxy is not None:
            self.proxy.close()
        left = super().close()
        self.history.close()
        return left
