"""What a soak has measured, and the block of docs/reliability.md that it writes.

Owns: the figures and their words. Must not: measure or judge.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq
from checker import PROMISES, Finding

from felixhub.version import __version__

PAGE = Path(__file__).parent.parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


SOAK = "python tests/soak/soak.py --minutes 1 --seed"
TESTS = "pytest -m long tests/soak/test_soak.py -k"


@dataclass(frozen=True)
class Row:
    """How one promise is attacked, with the figures of a soak, and the one command that does it again."""

    attack: Callable[[Report], str]
    again: str
    in_soak: bool = True


@dataclass
class Report:
    seed: int
    minutes: float = 0.0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)
    interrupted: bool = False
    runs: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    events: int = 0
    text_bytes: int = 0
    subscribers: int = 0
    gaps_repaired: int = 0
    streams: int = 0  # clients of the web gateway
    stream_connections: int = 0
    stream_snapshots: int = 0
    attempts: int = 0  # thoughts
    lost: int = 0  # thoughts that a worker took with it
    faults: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    kills: Mapping[str, int] = field(default_factory=dict)
    commands: Counter[str] = field(default_factory=Counter)
    acks: int = 0
    acked_bytes: int = 0
    welcomes: int = 0
    fenced: int = 0
    restarts_compared: int = 0
    hub_mb_max: int = 0
    kinds_of: dict[str, list[str]] = field(default_factory=dict)  # run -> its subscribers

    def take_run(self, log: Sequence[bytes], *, subscribers: int) -> None:
        self.runs += 1
        self.events += len(log)
        self.subscribers += subscribers
        for line in log:
            event = json.loads(line)
            match event["kind"]:
                case "thought.partial":
                    self.text_bytes += len(event["text"].encode())
                case "thought.started":
                    self.attempts += 1
                case "thought.abandoned":
                    self.lost += event["reason"] == "agent_lost"
                case "run.finished" | "run.failed" | "run.cancelled" as kind:
                    self.ends[kind.removeprefix("run.")] += 1

    def take_faults(self, struck: Counter[str], missed: Counter[str]) -> None:
        self.faults = Counter(struck)
        self.missed = missed.total()

    def take_acks(self, told: Iterable[Mapping[str, Any]]) -> None:
        most: dict[tuple[str, str], int] = {}
        for one in told:
            match one["told"]:
                case "ack":
                    self.acks += 1
                    key = (one["thought"], one["channel"])
                    most[key] = max(most.get(key, 0), one["length"])
                case "welcome":
                    self.welcomes += 1
                case "fenced":
                    self.fenced += 1
        self.acked_bytes = sum(most.values())

    def figures(self) -> list[tuple[str, str]]:
        kills = sum(self.kills.values())
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        hub = self.kills.get("hub", 0)
        commands = ", ".join(f"{count} {name}" for name, count in sorted(self.commands.items()))
        return [
            ("Faults struck", f"{sum(self.faults.values()):,} of {len(self.faults)} kinds"),
            ("Faults drawn that found nothing to strike, not counted above or below", f"{self.missed}"),
            ("Processes killed with `kill -9`", f"{kills:,}, the hub {hub:,} times"),
            ("Runs, each to its end", f"{self.runs:,} ({ends})"),
            ("Events in the log, all checked", f"{self.events:,}"),
            ("Bytes of text, compared with what agents wrote down", f"{self.text_bytes:,}"),
            ("Thoughts, and those lost with a worker and thought again", f"{self.attempts:,}, {self.lost:,}"),
            ("Subscribers that read a run to its end, compared byte for byte", f"{self.subscribers:,}"),
            ("Gaps that they repaired", f"{self.gaps_repaired:,}"),
            ("Clients of the web gateway, every text compared", f"{self.streams:,}"),
            (
                "Their connections, and how often one began with a snapshot",
                f"{self.stream_connections:,}, {self.stream_snapshots:,}",
            ),
            ("Acknowledgements recorded by workers, bytes in them", f"{self.acks:,}, {self.acked_bytes:,}"),
            ("Welcomes compared with what had been acknowledged", f"{self.welcomes:,}"),
            ("Commands, each sent twice", f"{sum(self.commands.values()):,} ({commands})"),
            ("Restarts whose memory and log were compared", f"{self.restarts_compared}"),
            ("The hub's memory at most", f"{self.hub_mb_max} MB"),
            ("Findings", f"{len(self.findings)}"),
        ]

    def times(self, *names: str) -> int:
        """How often faults were struck whose names begin so."""
        return sum(count for name, count in self.faults.items() if name.startswith(names))

    def result(self, promise: str) -> str:
        if not ROWS[promise].in_soak:
            return "by the tests alone"
        count = sum(finding.promise == promise for finding in self.findings)
        return f"**{count} findings**" if count else "held"

    def in_words(self) -> str:
        lines = [f"  {what}: {figure}" for what, figure in self.figures()]
        lines += [f"  {promise}: {sum(f.promise == promise for f in self.findings)} findings" for promise in PROMISES]
        lines += [f"FINDING {finding}" for finding in self.findings]
        said = "interrupted after" if self.interrupted else "soaked for"
        return "\n".join([f"seed {self.seed}: {said} {self.seconds:.0f} s", *lines])

    def as_markdown(self) -> str:
        versions = ", ".join(
            (
                f"FelixHub {__version__}",
                f"Python {platform.python_version()}",
                f"libzmq {zmq.zmq_version()}",
                f"pyzmq {zmq.pyzmq_version()}",
                f"SQLite {sqlite3.sqlite_version}",
            )
        )
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release().split('-')[0]}"
        lines = [
            f"Measured on {time.strftime('%Y-%m-%d', time.gmtime())} with seed {self.seed}: "
            f"{self.minutes:g} minutes of faults, {self.seconds:.0f} s in all,",
            f"on {machine}, {platform.machine()}; {versions}.",
            f"Again: `make soak MINUTES={self.minutes:g} SEED={self.seed}`.",
            "",
            "| promise | attacked by | result | again, by one command |",
            "|---|---|---|---|",
            *(
                f"| {words} | {ROWS[promise].attack(self)} | {self.result(promise)} | `{ROWS[promise].again}` |"
                for promise, words in PROMISES.items()
            ),
            "",
            "| measured | |",
            "|---|---|",
            *(f"| {what} | {figure} |" for what, figure in self.figures()),
            "",
            "| fault | times | fault | times |",
            "|---|---|---|---|",
        ]
        rows = [f"| `{name}` | {count} " for name, count in sorted(self.faults.items())]
        half = (len(rows) + 1) // 2
        right = [*rows[half:], "| | "]
        lines += [f"{a}{b}|" for a, b in zip(rows[:half], right, strict=False)]
        if self.impossible:
            lines += ["", "Not possible on this machine: " + "; ".join(self.impossible) + "."]
        if self.findings:
            lines += ["", *(f"- **{finding.promise}**: {finding.sentence}" for finding in self.findings)]
        return "\n".join(lines)


ROWS: dict[str, Row] = {
    "durable": Row(
        lambda r: (
            f"{r.kills.get('hub', 0)} × `kill -9` of the hub, {r.times('hub.at_')} × at a named place in its code, "
            f"{r.times('hub.sigkill_with')} × together with a worker, {r.times('disk', 'log')} × its disk or log in "
            f"trouble; {r.acked_bytes:,} acknowledged bytes, written down by workers first of all, looked up in the log"
        ),
        f"{SOAK} 1 --faults hub",
    ),
    "unique": Row(
        lambda r: (
            f"{r.times('proxy')} × connections cut, half-closed, delayed, throttled or withheld; {r.text_bytes:,} "
            "bytes of text, each piece with a mark of its own"
        ),
        f"{SOAK} 2 --faults proxy",
    ),
    "fence": Row(
        lambda r: (
            f"{r.times('worker.sigstop_long', 'proxy.black_hole_long')} × a worker or its connection silent for "
            f"longer than a lease, {r.times('worker.replaced')} × replaced meanwhile and let go on; {r.lost} thoughts "
            "went with a worker and were thought again"
        ),
        f"{SOAK} 3 --faults worker",
    ),
    "gap": Row(
        lambda r: (
            f"subscribers stopped {r.times('subscriber.sigstop')} ×, cut off {r.times('proxy')} ×, slow all the "
            f"time: they repaired {r.gaps_repaired} gaps"
        ),
        f'{TESTS} "prev_ignored or no_tip or router_not"',
    ),
    "identical": Row(
        lambda r: (
            f"{r.subscribers} subscribers of {r.runs} runs compared with the log, byte for byte; "
            f"{r.times('subscriber.storm')} storms of 200 at once; {r.streams} clients of the web gateway, which was "
            f"killed {r.kills.get('web', 0)} ×, and stopped, cut off or flooded "
            f"{r.times('web') - r.times('web.sigkill')} ×"
        ),
        f"{SOAK} 4 --faults subscriber,web,hub.at_while_paging",
    ),
    "slow": Row(
        lambda r: (
            f"a slow one in each run; one that takes nothing while megabytes flow; the hub had {r.hub_mb_max} MB "
            "at most"
        ),
        f"{TESTS} nothing_dropped",
    ),
    "end": Row(
        lambda r: (
            f"{r.attempts} thoughts in {r.runs} runs; {r.times('worker')} faults of workers, "
            f"{r.times('worker.at_before_finalize')} × `kill -9` just before the end is said"
        ),
        f"{SOAK} 5 --faults worker.at_before_finalize,worker.at_mid_stream,hub.at_after_commit",
    ),
    "synthesis": Row(
        lambda r: (
            f"{r.times('synthesizer')} × `kill -9` of the synthesizer; {r.commands.get('steer', 0)} texts steered, "
            f"{r.commands.get('regenerate', 0)} regenerated, {r.commands.get('cancel', 0)} cancelled meanwhile"
        ),
        f"{SOAK} 6 --faults synthesizer,hub.sigkill",
    ),
    "command": Row(
        lambda r: (
            f"{sum(r.commands.values())} commands, each sent twice under the same id; the hub killed "
            f"{r.times('hub.at_after_command')} × when one was durable and nothing had come of it"
        ),
        f"{SOAK} 7 --faults hub.at_after_command,hub.sigkill",
    ),
    "recovery": Row(
        lambda r: (
            f"everybody killed in the middle of a run; memory and log the same over {r.restarts_compared} restarts"
        ),
        "pytest -m long tests/faults/test_restarts.py",
    ),
    "goes on": Row(
        lambda r: (
            f"{r.runs} runs under {r.kills.get('hub', 0)} deaths of the hub: {r.ends.get('finished', 0)} finished, "
            f"{r.ends.get('cancelled', 0)} cancelled, {r.ends.get('failed', 0)} failed"
        ),
        f"{SOAK} 8 --faults hub.sigkill,hub.sigkill_with_worker",
    ),
    "permission": Row(
        lambda _: "strangers, keys of others, keys that are revoked",
        "pytest tests/faults/test_strangers.py",
        in_soak=False,
    ),
}


def write_report(report: Report, page: Path = PAGE) -> None:
    """Replace the block between the markers, and nothing else."""
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    page.write_text(f"{before}{BEGIN}\n{report.as_markdown()}\n{END}{after}", encoding="utf-8")
