"""The supervisor: starts hub, offline model and workers, restarts what dies within a limit, stops in reverse order.

It learns which agents are wanted from the runs' beats, like any subscriber. Killing it kills its children: each holds
a pipe to it. Owns: the children. Must not: know what they do, or read anything of a run but its beats.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.context
import multiprocessing.process
import multiprocessing.resource_tracker
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import zmq

from felixhub.core.errors import FelixError, ProtocolViolation
from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.core.messages import CancelRun, RunBeat, parse_beat
from felixhub.logs import get_log
from felixhub.supervisor.restarts import RestartLimit
from felixhub.supervisor.staffing import GIVEN_UP_S, GivenUp, Wants, share_out, who_goes
from felixhub.transport.address import Connection
from felixhub.transport.control import ControlClient, Find, HubRefused, new_id
from felixhub.transport.sockets import live_sub

STEP_S = 0.05
HUB_START_S_MAX = 30.0
HUB_STOP_S_MAX = 5.0
HUB_HURRY_S_MAX = 0.5
HUB_EARLY_S = 5.0  # a hub that dies within this has not served: it counts, bound or not
WORKER_STOP_S_MAX = 2.0
WORKER_HELLO_S_MAX = 5.0  # from a worker's start to its hello
WORKER_LOST_S = 3.0  # an agent wanted for this long although its worker lives: the hub does not hear that worker
FENCED_S = 3.0  # an agent that another worker had taken is hired for when it has been wanted for this long
CANCEL_S_MAX = 0.5

KEEPS_DYING = "its worker keeps dying"
REFUSED = "the hub refuses its worker"


class HubDidNotStart(FelixError):
    """The hub ended before it had bound; it has said why on standard error unless it `was_silent`. `code` is ours."""

    def __init__(self, code: int | None) -> None:
        super().__init__("the hub did not start")
        self.was_silent = code is None or code <= 0  # It took too long, or was killed.
        self.code = 1 if code is None or code <= 0 else code


class StartStopped(FelixError):
    """It was told to stop while it started."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. The entries are run in processes forked from one that has imported `preload`.

    `hub_command(first)` is the hub's command line; its standard input is the pipe that tells it of our end.
    `worker_entry(agents, offline_url)` and `offline_entry(port, connection)` run in children; the latter sends its
    base URL. A worker exits with `fenced_exit` when another one has its agents now, with `refused_exit` when the hub
    will never have it.
    """

    find: Find
    hub_command: Callable[[bool], Sequence[str]]
    worker_entry: Callable[..., None]
    offline_entry: Callable[..., None]
    preload: tuple[str, ...]
    fenced_exit: int
    refused_exit: int
    agents_per_worker: int = 1
    workers_max: int = 16


@dataclass(slots=True)
class _Worker:
    """A place that is taken. `process` is None before it is started, or started again, which is due at `due`."""

    agents: tuple[str, ...]
    due: float
    busy_at: float
    process: multiprocessing.process.BaseProcess | None = None
    started_at: float = 0.0
    limit: RestartLimit = field(default_factory=RestartLimit)


class Supervisor:
    """Runs in a thread of its own between `start` and `stop`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._notes = get_log("supervisor")
        self._context = _fork_context(plan.preload)
        self._hub: subprocess.Popen[bytes] | None = None  # None while it is dead and to be started again
        self._hub_limit = RestartLimit()
        self._hub_started_at = 0.0
        self._hub_has_bound = False
        self._hub_due = 0.0
        self._offline: multiprocessing.process.BaseProcess | None = None
        self._offline_says: multiprocessing.connection.Connection | None = None
        self._offline_limit = RestartLimit()
        self._offline_due = 0.0
        self._offline_url = ""
        self._workers: list[_Worker] = []
        self._wants = Wants()
        self._fenced: set[str] = set()
        self._given_up = GivenUp()
        self._cancel_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._live = ""
        self.failed: str | None = None  # why it has ended by itself, if it has

    # ---- from outside ------------------------------------------------------------------------------------------------

    def start(self, *, stop: Callable[[], bool] = lambda: False) -> Connection:
        """Start the hub and wait until it has bound. Raises HubDidNotStart, and StartStopped when `stop` says so.

        Whatever happens, `stop` must be called.
        """
        self._start_hub(first=True)
        # The model and the fork server come up while the hub does.
        self._start_offline()
        deadline = time.monotonic() + HUB_START_S_MAX
        connection = None
        while connection is None or (self._offline_says is not None and time.monotonic() < deadline):
            if stop():
                raise StartStopped("stopped while starting")
            assert self._hub is not None, "started"
            code = self._hub.poll()
            if code is not None or (connection is None and time.monotonic() > deadline):
                raise HubDidNotStart(code)
            connection = connection or self._bound()
            self._hear_offline()
            time.sleep(0.01)
        self._hub_has_bound = True
        self._live = connection.live
        self._thread.start()
        return connection

    def stop(self, *, at_once: Callable[[], bool] = lambda: False) -> None:
        """Stop everything in reverse order: workers, offline model, hub. `at_once`: do not wait for anybody."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        workers = [worker.process for worker in self._workers if worker.process is not None]
        for process in workers:
            process.terminate()
        _end(workers, WORKER_STOP_S_MAX, at_once)
        if self._offline is not None:
            self._offline.kill()
            self._offline.join()
        if self._hub is not None:
            self._stop_hub(self._hub, at_once)

    # ---- its thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._mind()
        except Exception as error:  # noqa: BLE001  (whatever it is: it must not end unnoticed)
            self._notes.error("supervisor_failed", exc_info=True)
            self.failed = f"the supervisor failed ({type(error).__name__}: {error}); logs/supervisor.log has the rest"

    def _mind(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        beats = live_sub(context, DEFAULT_LIMITS)
        try:
            beats.subscribe(b"run/")
            beats.connect(self._live)  # The same at every start of the hub.
            while not self._stopping.is_set():
                beats.poll(int(STEP_S * 1000))
                self._read_beats(beats)
                self._mind_hub()
                self._mind_offline()
                self._mind_workers()
                self._hire()
                self._cancel_given_up()
        finally:
            beats.close()
            context.term()

    def _read_beats(self, beats: zmq.Socket[bytes]) -> None:
        while True:
            try:
                topic, body = beats.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            if not topic.endswith(b"/hub/beat/"):
                continue  # Text is not our business.
            try:
                beat = parse_beat(body)
            except ProtocolViolation:
                continue
            if isinstance(beat, RunBeat):
                self._wants.take(beat, time.monotonic())

    # ---- workers -----------------------------------------------------------------------------------------------------

    def _hire(self) -> None:
        now = time.monotonic()
        hosted = {agent for worker in self._workers for agent in worker.agents}
        missing = [agent for agent in self._wants.agents(now) if agent not in hosted and self._may_hire(agent, now)]
        if not missing:
            return
        places = self._plan.workers_max - len(self._workers)
        if places <= 0:
            # Only for those who are needed now: else two that are needed in turn would put each other out for ever.
            needed = self._wants.needed_now()
            missing = [agent for agent in missing if agent in needed]
            places = self._make_room(
                len(share_out(missing, per_worker=self._plan.agents_per_worker, places=len(missing)))
            )
        for agents in share_out(missing, per_worker=self._plan.agents_per_worker, places=places):
            self._fenced.difference_update(agents)
            self._workers.append(_Worker(agents, due=now, busy_at=now))
        self._mind_workers()

    def _may_hire(self, agent: str, now: float) -> bool:
        if self._given_up.has(agent, now):
            return False
        return agent not in self._fenced or self._wants.seconds(agent) > FENCED_S

    def _make_room(self, places: int) -> int:
        """Let idle workers go, so that there are up to so many places; how many there are."""
        named = self._wants.named()
        idle = {n: one.busy_at for n, one in enumerate(self._workers) if not named.intersection(one.agents)}
        leaving = [self._workers[number] for number in who_goes(idle, places=places, now=time.monotonic())]
        for worker in leaving:
            self._notes.info("worker_let_go", agents=worker.agents)
            self._workers.remove(worker)
            if worker.process is not None:
                worker.process.terminate()
        _end([worker.process for worker in leaving if worker.process is not None], WORKER_STOP_S_MAX)
        return len(leaving)

    def _mind_workers(self) -> None:
        named = self._wants.named()
        for worker in list(self._workers):
            now = time.monotonic()
            if named.intersection(worker.agents):
                worker.busy_at = now
            if worker.process is None:
                if now >= worker.due:
                    self._start_worker(worker)
                continue
            match worker.process.exitcode:
                case None if self._is_lost(worker, now):
                    self._notes.error("worker_lost", agents=worker.agents, sentence="it lives, but not for the hub")
                    worker.process.kill()
                    worker.process.join(WORKER_STOP_S_MAX)
                    self._worker_died(worker, "killed")
                case None:
                    pass
                case self._plan.fenced_exit:  # Somebody else does its work, until that one leaves.
                    self._notes.warning("worker_fenced", agents=worker.agents)
                    self._workers.remove(worker)
                    self._fenced.update(worker.agents)
                    self._wants.count_again(worker.agents)
                case self._plan.refused_exit:
                    self._give_up(worker, REFUSED)
                case code:
                    self._worker_died(worker, str(code))

    def _is_lost(self, worker: _Worker, now: float) -> bool:
        """Whether the process lives, stopped or cut off, and the hub looks for its agents all the same."""
        if now - worker.started_at < WORKER_HELLO_S_MAX:
            return False
        return any(self._wants.seconds(agent) > WORKER_LOST_S for agent in worker.agents)

    def _start_worker(self, worker: _Worker) -> None:
        try:
            worker.process = self._start_child(self._plan.worker_entry, worker.agents, self._offline_url)
        except (OSError, EOFError) as error:  # No descriptor or process to be had, or the fork server has died.
            self._worker_died(worker, f"{type(error).__name__}: {error}")
            return
        worker.started_at = time.monotonic()
        self._wants.count_again(worker.agents)

    def _worker_died(self, worker: _Worker, how: str) -> None:
        now = time.monotonic()
        if not worker.limit.may_restart(now):
            self._give_up(worker, KEEPS_DYING)
            return
        self._notes.warning("worker_restarted", agents=worker.agents, exit=how)
        worker.process = None
        worker.due = now + worker.limit.pause_s
        if not worker.limit.pause_s:
            self._start_worker(worker)

    def _start_child(
        self, entry: Callable[..., None], *args: Any, daemon: bool = False
    ) -> multiprocessing.process.BaseProcess:
        process: multiprocessing.process.BaseProcess = self._context.Process(target=entry, args=args, daemon=daemon)
        _start_quietly(process)
        return process

    def _give_up(self, worker: _Worker, why: str) -> None:
        """Without it the runs that wait for it would wait for ever."""
        self._workers.remove(worker)
        self._given_up.add(worker.agents, why, time.monotonic())
        self._notes.error("worker_given_up", agents=worker.agents, sentence=f"{why}; see its log")

    def _cancel_given_up(self) -> None:
        """Cancel what has been given up in every run that wants it, again and again while the hub is away."""
        now = time.monotonic()
        pairs = self._given_up.to_tell(self._wants.by_run(now), now) if now >= self._cancel_at else []
        if not pairs:
            return
        with ControlClient(self._plan.find, wait_s=CANCEL_S_MAX) as client:
            for run, agent, why in pairs:
                try:
                    client.request(CancelRun(id=new_id(), run=run, agent=agent, by=f"supervisor ({why})"))
                except HubRefused as error:
                    self._notes.warning("cannot_cancel", run=run, agent=agent, why=str(error))
                except FelixError as error:
                    self._notes.warning("cannot_cancel_yet", run=run, agent=agent, why=str(error))
                    self._cancel_at = time.monotonic() + 1.0
                    return
                self._given_up.told(run, agent)

    # ---- hub ---------------------------------------------------------------------------------------------------------

    def _start_hub(self, *, first: bool) -> None:
        # A session of its own: Ctrl-C is for us, and we stop it politely.
        self._hub_started_at = time.monotonic()
        self._hub_has_bound = False
        self._hub = subprocess.Popen(
            list(self._plan.hub_command(first)),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _bound(self) -> Connection | None:
        try:
            connection = self._plan.find()
        except FelixError:  # There is none yet, or what another life left cannot be read.
            return None
        return connection if self._hub is not None and connection.pid == self._hub.pid else None

    def _mind_hub(self) -> None:
        now = time.monotonic()
        if self._hub is None:
            if now >= self._hub_due:
                try:
                    self._start_hub(first=False)
                except OSError as error:
                    self._hub_died(str(error))
            return
        code = self._hub.poll()
        if code is None:
            self._hub_has_bound = self._hub_has_bound or self._bound() is not None
            return
        if self._hub.stdin is not None:
            self._hub.stdin.close()
        self._hub = None
        if code == 0:
            # Somebody asked it to stop, so that is what they get.
            self._end_by_itself("the hub was told to stop")
            return
        self._hub_died(str(code))

    def _hub_died(self, how: str) -> None:
        # A hub that has served for a while is worth having again; one that dies early is counted.
        now = time.monotonic()
        self._wants.forget()
        early = not self._hub_has_bound or now - self._hub_started_at < HUB_EARLY_S
        self._notes.error("hub_died", exit=how, had_bound=self._hub_has_bound, early=early)
        if not early:
            self._hub_due = now
        elif self._hub_limit.may_restart(now):
            self._hub_due = now + self._hub_limit.pause_s
        else:
            self._end_by_itself("the hub died too often, each time soon after its start; logs/hub.log may say why")

    def _end_by_itself(self, why: str) -> None:
        self._notes.error("supervisor_ended", why=why)
        self.failed = why
        self._stopping.set()

    def _stop_hub(self, hub: subprocess.Popen[bytes], at_once: Callable[[], bool]) -> None:
        """Asked politely even in a hurry: it takes milliseconds and leaves no socket behind."""
        hub.terminate()
        if hub.stdin is not None:
            hub.stdin.close()
        began = time.monotonic()
        while hub.poll() is None:
            if time.monotonic() - began > (HUB_HURRY_S_MAX if at_once() else HUB_STOP_S_MAX):
                hub.kill()
                hub.wait()
            time.sleep(0.005)

    # ---- offline model -----------------------------------------------------------------------------------------------

    def _start_offline(self) -> None:
        """Start it, at its old port if it had one; `_hear_offline` learns where it is."""
        port = int(self._offline_url.rsplit(":", 1)[-1].split("/")[0] or 0)
        try:
            receiving, sending = self._context.Pipe(duplex=False)
        except OSError as error:
            self._offline_died(str(error))
            return
        try:
            self._offline = self._start_child(self._plan.offline_entry, port, sending, daemon=True)
            self._offline_says = receiving
        except (OSError, EOFError) as error:
            receiving.close()
            self._offline_died(f"{type(error).__name__}: {error}")
        finally:
            sending.close()

    def _hear_offline(self) -> None:
        if self._offline_says is None or not self._offline_says.poll():
            return
        try:
            self._offline_url = str(self._offline_says.recv())
        except (OSError, EOFError):
            self._notes.error("offline_model_failed")
        self._offline_says.close()
        self._offline_says = None

    def _mind_offline(self) -> None:
        self._hear_offline()
        if self._offline is None:
            if time.monotonic() >= self._offline_due:
                self._start_offline()
        elif self._offline.exitcode is not None:
            self._offline_died(str(self._offline.exitcode))

    def _offline_died(self, how: str) -> None:
        self._notes.warning("offline_model_restarted", exit=how)
        now = time.monotonic()
        self._offline = None
        self._offline_due = now + (self._offline_limit.pause_s if self._offline_limit.may_restart(now) else GIVEN_UP_S)


def _end(
    processes: Sequence[multiprocessing.process.BaseProcess],
    seconds: float,
    at_once: Callable[[], bool] = lambda: False,
) -> None:
    """Wait for these, that were asked to end, together for so long; then kill."""
    deadline = time.monotonic() + seconds
    while (left := [one for one in processes if one.is_alive()]) and time.monotonic() < deadline and not at_once():
        multiprocessing.connection.wait([one.sentinel for one in left], STEP_S)
    for process in left:
        process.kill()
    for process in processes:
        process.join()


def _start_quietly(process: multiprocessing.process.BaseProcess) -> None:
    """Start a child. Ctrl-C meanwhile is for us: the fork server is born with it blocked, and ignores it later."""
    multiprocessing.resource_tracker.ensure_running()  # Now: it lets Ctrl-C through again once it has started.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fork_context(preload: tuple[str, ...]) -> Any:
    """Children come from one small process that has imported the heavy packages once, and no ZeroMQ context."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preload))
        return context
    return multiprocessing.get_context("spawn")
