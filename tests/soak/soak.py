"""The soak: real processes, a seeded nemesis, and a checker of everything that anybody was told.

    python tests/soak/soak.py --minutes 10 --seed 7 [--faults hub,proxy.cut] [--keep DIR] [--write]

It prints its seed first and a line for each fault; the exit code is 1 when a promise was broken, and the history is
kept then. A seed fixes which faults come in which order and what agents say, not what the machine makes of it.

Owns: the order of a soak: open, run, heal, wait for every end, judge. Must not: know a fault or a check.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import random
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import checker
from checker import Durable, Finding, Told
from clients import Clients
from fault import Fault, hold
from harness import Eye, Process, start_of, task_of
from nemesis import Nemesis
from report import Report, write_report
from soak_place import HERE, LIMITS, REAL_AGENTS, SCRIBES, WEB, SoakPlace

from felixhub.core.errors import FelixError
from felixhub.core.messages import Approve, Start
from felixhub.core.workflow import Card, RunSettings, Stage, Workflow
from felixhub.eventlog.sqlite import SqliteLog
from felixhub.transport.control import new_id

FAULT_MODULES = ("process_faults", "proxy_faults", "storage_faults", "network_garbage", "web_faults")
KINDS = ("early", "late", "slow", "leaving", "joining", "proxied")
HEALED_S = 75.0  # from when all is healed: every run has ended and every subscriber knows it
STRAGGLER_S = 20.0
HUB_MB_MAX = 700  # far above what it needs; a hub that keeps what a stopped subscriber does not take comes to it
RESTARTS = 5
REVIEWED = 0.3  # of all runs
REVIEWED_AGENTS = ("a1", "a3", "s1", "s2")
APPROVE_S = 4.0  # time for others to edit
TEAM: dict[str, Any] = {"agents": (*REAL_AGENTS, *SCRIBES), "retries_max": 10, "words": 30, "marked": True}


@dataclass
class Options:
    minutes: float = 10.0
    seed: int = 0
    faults: tuple[str, ...] = ()
    keep: Path | None = None
    slots: int = 2
    restarts: int = RESTARTS
    limits: dict[str, float] = field(default_factory=lambda: dict(LIMITS))
    say: Callable[[str], None] = print


def all_faults() -> tuple[list[Fault], list[str]]:
    """Every fault that this machine can have, and sentences about those that it cannot."""
    can: list[Fault] = []
    cannot: list[str] = []
    for module in FAULT_MODULES:
        if importlib.util.find_spec(module) is None:
            cannot.append(f"{module}: there is no such module")
            continue
        for fault in importlib.import_module(module).FAULTS:
            if why := fault.possible():
                cannot.append(f"{fault.name}: {why}")
            else:
                can.append(fault)
    return can, cannot


def chosen(faults: list[Fault], names: Sequence[str]) -> list[Fault]:
    """Those named, in full or by what stands before a dot; all of them when none is."""
    found = [one for one in faults if not names or any(one.name == n or one.name.startswith(f"{n}.") for n in names)]
    if not found:
        raise SystemExit(f"no fault is called {', '.join(names)}: there are {', '.join(one.name for one in faults)}")
    return found


def reviewed_start(name: str, **plan: Any) -> Start:
    """Four sections that a person must approve; without a synthesis."""
    stages = tuple(
        Stage(name=agent, agent=agent, section=agent.upper(), context="none", retries_max=10, retry_s=0.1)
        for agent in REVIEWED_AGENTS
    )
    return Start(
        id=name,
        task=task_of(words=30, marked=True, **plan),
        workflow=Workflow(name="reviewed", stages=stages),
        agents=tuple(Card(name=agent, program=True) for agent in REVIEWED_AGENTS),
        settings=RunSettings(batch_interval_s=0.03, review=True),
    )


class Soak:
    def __init__(self, place: SoakPlace, options: Options, faults: Sequence[Fault]) -> None:
        self.place = place
        self.report = Report(seed=options.seed)
        self.interrupted = False
        self.failed = True  # until it has come to its end
        self._options = options
        self._began = time.monotonic()
        self._eyes: dict[str, Eye] = {}
        self._lock = threading.Lock()
        self._judged: dict[str, str] = {}  # run -> SHA-256 of its log
        self._unfinished: dict[str, str] = {}
        self._healed_at: float | None = None
        self.clients = Clients(place, options.seed, lambda run: eye.events if (eye := self._eyes.get(run)) else [])
        self.nemesis = Nemesis(place, faults, options.seed, say=self.say)
        place.more_eyes = self._more_eyes

    def say(self, line: str) -> None:
        self._options.say(f"[{time.monotonic() - self._began:7.1f} s] {line}")

    def found(self, *findings: Finding) -> None:
        for finding in findings:
            self.place.history.note("finding", promise=finding.promise, sentence=finding.sentence)
            self.say(f"FINDING {finding}")
            with self._lock:
                self.report.findings.append(finding)

    # ---- the course of a soak ----------------------------------------------------------------------------------------

    def go(self) -> Report:
        """Ctrl-C ends it at once, with what was found so far."""
        place, options = self.place, self._options
        place.open()
        threads = [
            threading.Thread(target=self._guarded, args=(lambda n=n: self._slot(n),), name=f"slot {n}")
            for n in range(options.slots)
        ]
        others = [
            threading.Thread(target=self._guarded, args=(work,), name=name)
            for name, work in (("nemesis", self.nemesis.run), ("clients", self.clients.run))
        ]
        self._began = time.monotonic()
        for thread in (*threads, *others):
            thread.start()
        try:
            self._wait(lambda: time.monotonic() - self._began > options.minutes * 60)
            place.stopping.set()
            self._wait(lambda: not any(thread.is_alive() for thread in others))
            self.say("healing everything")
            place.heal()
            self.clients.resume_all()
            self._healed_at = time.monotonic()
            self._wait(lambda: not any(thread.is_alive() for thread in threads))
            self._check_stragglers()
            self._examine()
        except KeyboardInterrupt:
            self.interrupted = True
            self._healed_at = 0.0
            self.say("interrupted: judging what there is")
            place.stopping.set()
            for thread in (*others, *threads):
                thread.join(30.0)
        self.report.seconds = time.monotonic() - self._began
        self._judge_the_whole()
        return self.report

    def _wait(self, over: Callable[[], bool]) -> None:
        """Meanwhile every process that dies is brought back, and one that nobody ended is a finding."""
        while not over():
            self.found(*(Finding("goes on", sentence) for sentence in self.place.tend()))
            self._measure_hub()
            time.sleep(0.25)

    def _measure_hub(self) -> None:
        with contextlib.suppress(OSError, StopIteration, AttributeError):
            status = Path(f"/proc/{self.place.the_hub.pid}/status").read_text()
            megabytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) // 1024
            if megabytes > HUB_MB_MAX >= self.report.hub_mb_max:
                self.found(Finding("slow", f"the hub (pid {self.place.the_hub.pid}) has come to {megabytes} MB"))
            self.report.hub_mb_max = max(self.report.hub_mb_max, megabytes)

    def _guarded(self, work: Callable[[], None]) -> None:
        """A thread that fails is a finding: what it would have seen is not known."""
        try:
            work()
        except Exception as error:  # noqa: BLE001
            if not self.interrupted:
                self.found(Finding("goes on", f"{threading.current_thread().name}: {type(error).__name__}: {error}"))

    # ---- runs --------------------------------------------------------------------------------------------------------

    def _slot(self, number: int) -> None:
        """One run after another; the second slot begins in the middle of the first one's run."""
        dice = random.Random(f"slot/{number}/{self._options.seed}")
        hold(self.place, 4.0 * number)
        while not self.place.stopping.is_set():
            self._one_run(dice)

    def _one_run(self, dice: random.Random) -> None:
        place = self.place
        run = f"run-{next(place.run_numbers)}"
        reviewed = dice.random() < REVIEWED
        plan = {"seed": dice.randrange(1_000_000), "pieces": dice.randint(40, 110), "pace_s": dice.uniform(0.02, 0.06)}
        start = reviewed_start(run, **plan) if reviewed else start_of(run, **TEAM, **plan)
        answers = self.clients.send_twice(start, "start", run, proxied=dice.random() < 0.3)
        if not any("ok" in answer for answer in answers):
            if self._healed_at is None and not place.stopping.is_set():
                place.history.note("run.not_started", run=run, answers=answers)
            return
        self._watch(run, *KINDS)
        self._watch(run, "stopped")
        self._watch_streams(run)
        with Eye(place, run) as eye:
            self._eyes[run] = eye
            place.runs_under_way.append(run)
            try:
                approve_at = time.monotonic() + APPROVE_S
                while not eye.ended and not self._is_too_late():
                    eye.look()
                    if reviewed and time.monotonic() > approve_at:
                        self._approve(run)
                        approve_at = time.monotonic() + APPROVE_S
            finally:
                place.runs_under_way.remove(run)
            if not eye.ended:
                self._unfinished[run] = str(eye.kinds())
                return
            self._wait_for_watchers(run)
            self._judge(run, eye)
            del self._eyes[run]

    def _approve(self, run: str) -> None:
        """A person approves what can be approved, once everything is there."""
        done = {e.stage for e in self._eyes[run].events if e.kind == "stage.finished"}  # type: ignore[attr-defined]
        if len(done) == len(REVIEWED_AGENTS):
            self.clients.send_twice(Approve(id=new_id(), run=run, by="soak"), "approve", run)

    def _watch(self, run: str, *kinds: str) -> None:
        process = self.place.watch(run, *kinds, FAULT_WATCH_S="3600", FAULT_WATCH_WAIT_S="600")
        self.place.onlookers.append(process)
        self._kinds_of(run).extend(kinds)

    def _watch_streams(self, run: str) -> None:
        """Clients of the gateway, one of them through the proxy."""
        if WEB not in self.place.roles:
            return
        places = {"stream": self.place.web_port, "stream-proxied": self.place.the_proxy.ports[WEB]}
        arguments = [run, *(f"{name}={port}" for name, port in places.items())]
        Process(self.place, "web-watcher", [str(HERE / "web_watcher.py"), *arguments], FAULT_WATCH_S="3600")
        self._kinds_of(run).extend(places)

    def _kinds_of(self, run: str) -> list[str]:
        return self.report.kinds_of.setdefault(run, [])

    def _more_eyes(self, run: str) -> None:
        """Three more real subscribers, all at once; each has a name of its own."""
        many = sum(kind.startswith("storm") for kind in self._kinds_of(run))
        if many < 6:
            self._watch(run, *(f"storm{many + number}" for number in range(3)))

    def _is_too_late(self) -> bool:
        return self._healed_at is not None and time.monotonic() - self._healed_at > HEALED_S

    def _wait_for_watchers(self, run: str) -> None:
        """Every subscriber must hear the end by itself; none may be waited for longer than faults can take."""
        deadline = time.monotonic() + HEALED_S
        while time.monotonic() < deadline and not self.interrupted:
            if all((self.place.records / f"{run}.{kind}.json").exists() for kind in list(self._kinds_of(run))):
                return
            time.sleep(0.1)

    # ---- judging -----------------------------------------------------------------------------------------------------

    def _judge(self, run: str, eye: Eye) -> None:
        """A run that has ended, as soon as it has: its records need not be kept."""
        place, report = self.place, self.report
        log = self._log_of(run)
        if log is None:
            return
        found = checker.check_log(run, log, place.truth)
        for kind in self._kinds_of(run):
            if kind.startswith("stream"):
                found += checker.check_streamed(run, kind, streamed(place, run, kind), log)
            else:
                found += checker.check_told(run, told_of(place, run, kind), log)
        found += checker.check_told(run, Told("eye", [e.raw for e in eye.events], errors=["a reset"] * eye.resets), log)
        with self._lock:
            report.take_run(log, subscribers=sum(not kind.startswith("stream") for kind in self._kinds_of(run)) + 1)
            streams = [kind for kind in self._kinds_of(run) if kind.startswith("stream")]
            report.streams += len(streams)
            report.gaps_repaired += sum(
                gaps_of(place, run, kind) for kind in self._kinds_of(run) if kind not in streams
            )
            for kind in streams:
                told = streamed(place, run, kind) or {}
                report.stream_connections += told.get("connections", 0)
                report.stream_snapshots += told.get("snapshots", 0)
        self._judged[run] = checker.digest_of(log)
        place.history.note("run.judged", run=run, events=len(log), findings=len(found))
        self.found(*found)
        if not found and self._options.keep is None:
            for file in place.records.glob(f"{run}.*"):
                file.unlink(missing_ok=True)

    def _log_of(self, run: str) -> list[bytes] | None:
        """As the hub tells it; it may be killed meanwhile."""
        for _ in range(20):
            try:
                return self.place.log_of(run)
            except FelixError as error:
                self.place.history.note("log.not_told", run=run, why=str(error))
                if self.interrupted:
                    return None
        self.found(Finding("goes on", f"{run}: the hub would not tell its log in twenty attempts"))
        return None

    def _check_stragglers(self) -> None:
        """A worker that was replaced while it was stopped has heard so and ended."""
        place = self.place

        def left() -> list[str]:
            return [f"{role.name} (pid {p.pid})" for role in place.roles.values() for p in role.stragglers()]

        deadline = time.monotonic() + STRAGGLER_S
        while left() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.found(*(Finding("fence", f"{who} was replaced and lives {STRAGGLER_S:.0f} s later") for who in left()))

    def _examine(self) -> None:
        """The same log, read again and again, comes to the same: the hub is killed in the middle of a run."""
        if self._options.restarts == 0:
            return
        place = self.place
        start = start_of("exam", **TEAM, seed=1, pieces=60)
        self.clients.send_twice(start, "start", "exam")
        states: list[tuple[str, object]] = []
        with Eye(place, "exam") as eye:
            eye.wait_for("thought.partial", count=40, seconds=60.0)
            for role in place.roles.values():
                role.kill()
            states += [("at first", place.digest()), ("when it is read again", place.digest())]
            logs: list[tuple[str, object]] = []
            for number in range(1, self._options.restarts + 1):
                place.roles["hub"].revive()
                logs.append((f"after restart {number}", place.log_of("exam")))
                place.roles["hub"].kill()
                states.append((f"after restart {number}", place.digest()))
            place.heal()
            eye.wait_for_end(HEALED_S)
            self.found(*checker.check_recovery(states), *checker.check_recovery(logs))
            self.report.restarts_compared = self._options.restarts
            self._judge("exam", eye)

    def _judge_the_whole(self) -> None:
        """The log as a whole, from its file, when no process is left that could write it."""
        place, report = self.place, self.report
        report.kills = {name: role.kills for name, role in place.roles.items()}
        for role in place.roles.values():
            if role.process is not None:
                role.thaw()
                role.kill()
        report.take_faults(self.nemesis.struck, self.nemesis.missed)
        for trouble in self.nemesis.troubles:
            self.found(Finding("goes on", trouble))
        if not self.interrupted:
            self.found(*checker.check_ended(self._unfinished, HEALED_S))
        durable = Durable()
        seqs: dict[int, str] = {}
        log = SqliteLog.open(place.data)
        try:
            for row in log.runs():
                name = row.run
                lines = [r.body for r in log.read(name, after=0, through=2**40, rows_max=10**7, bytes_max=2**40)]
                durable.add(lines)
                for line in lines:
                    seq = json.loads(line)["seq"]
                    if seq in seqs:
                        self.found(Finding("durable", f"seq {seq} belongs to {seqs[seq]} and to {name}"))
                    seqs[seq] = name
                if row.ended_at is None and name not in self._unfinished and not self.interrupted:
                    self.found(*checker.check_ended({name: f"{len(lines)} events"}, HEALED_S))
                elif row.ended_at is not None and name not in self._judged:
                    # Nobody watched it: its start was taken, and the answer was lost both times.
                    self.found(*checker.check_log(name, lines, place.truth))
                if name in self._judged:
                    self.found(*checker.check_kept({name: self._judged.pop(name)}, {name: lines}))
                self.found(*checker.check_commands(self.clients.sent.get(name, ()), {name: lines}))
        finally:
            log.close()
        self.found(*checker.check_kept(self._judged, {}))
        acks = list(place.acks())
        self.found(*checker.check_acks(acks, durable))
        report.take_acks(acks)
        report.commands = Counter(sent.name for of_run in self.clients.sent.values() for sent in of_run)
        self.failed = False


def told_of(place: SoakPlace, run: str, kind: str) -> Told:
    """What one onlooker wrote down."""
    lines = (place.records / f"{run}.{kind}.jsonl").read_bytes().splitlines()
    ended = place.records / f"{run}.{kind}.json"
    if not ended.exists():
        return Told(kind, lines, done=False)
    told = json.loads(ended.read_text())
    began_at, joined = told["began_at"], kind.startswith("joining")
    return Told(kind, lines, told["done"], told["errors"], began_at, told["texts"], joined)


def streamed(place: SoakPlace, run: str, kind: str) -> dict[str, Any] | None:
    """What a client of the gateway came to; None for one that has not seen the end."""
    ended = place.records / f"{run}.{kind}.json"
    return json.loads(ended.read_text()) if ended.exists() else None


def gaps_of(place: SoakPlace, run: str, kind: str) -> int:
    ended = place.records / f"{run}.{kind}.json"
    return int(json.loads(ended.read_text())["gaps_repaired"]) if ended.exists() else 0


@contextlib.contextmanager
def a_soak_place(
    limits: dict[str, float], *, hub_script: str | None = None, keep: Callable[[], Path | None], **hub_environ: str
) -> Iterator[SoakPlace]:
    """A place that leaves no process and no folder; what is worth keeping of it goes to where `keep` says."""
    folder = Path(tempfile.mkdtemp(prefix="fh-", dir="/tmp"))  # Short: an ipc path holds 107 characters.
    place = SoakPlace(folder, limits, hub_script=hub_script, hub_environ=hub_environ)
    try:
        yield place
    finally:
        left = place.close()
        if (kept := keep()) is not None:
            kept.mkdir(parents=True, exist_ok=True)
            for name in ("history.jsonl", "records", "truth", "logs", "data", "config"):
                if (folder / name).exists():
                    shutil.move(folder / name, kept / name)
        shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"left behind: {left}"


def run_soak(options: Options) -> Report:
    """The whole of it: print the seed, soak, judge; the report says where the history is, if it was kept."""
    can, cannot = all_faults()
    faults = chosen(can, options.faults)
    options.say(f"seed {options.seed}: {options.minutes:g} minutes, {len(faults)} kinds of fault")
    for sentence in cannot:
        options.say(f"not possible here: {sentence}")
    soak: Soak | None = None

    def keep() -> Path | None:
        if options.keep is not None:
            return options.keep
        if soak is not None and not soak.report.findings and not soak.failed:
            return None
        return Path(tempfile.mkdtemp(prefix="felixhub-soak-"))

    kept: list[Path] = []

    def keep_and_say() -> Path | None:
        where = keep()
        if where is not None:
            kept.append(where)
            options.say(f"the history is kept in {where}")
        return where

    with a_soak_place(options.limits, keep=keep_and_say) as place:
        soak = Soak(place, options, faults)
        report = soak.go()
    report.impossible = cannot
    report.minutes = options.minutes
    report.interrupted = soak.interrupted
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description="Seeded faults against real processes, and a check of every promise.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--faults", default="", help="names, or what stands before the dot, with commas; all if empty")
    parser.add_argument("--keep", type=Path, default=None, help="keep the history in this directory, whatever comes")
    parser.add_argument("--write", action="store_true", help="write the results into docs/reliability.md")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # One that runs in the background inherits it as ignored.
    seed = given.seed if given.seed is not None else secrets.randbelow(1_000_000)
    names = tuple(name.strip() for name in given.faults.split(",") if name.strip())
    options = Options(
        given.minutes, seed, names, given.keep.resolve() if given.keep else None, say=lambda s: print(s, flush=True)
    )
    report = run_soak(options)
    print(report.in_words(), flush=True)
    if given.write and not report.interrupted:
        write_report(report)
    return 1 if report.findings else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # A thread that a dead hub holds up must not hold up the exit.
