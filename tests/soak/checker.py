"""Judges a history: each promise as a pure check, each finding a sentence that names run, seq and subscriber.

Owns: the checks and the promises' names. Must not: wait, start anything, or use the product's code. What one run's
events must be by themselves is `tests/faults/verdict.py`'s; here they are held against what everybody else was told.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import neighbours  # noqa: F401
from verdict import ENDS, once_faults, order_faults, text_faults

PROMISES: dict[str, str] = {
    "durable": "Acknowledged text survives `kill -9`, and nothing is shown that is not in the log",
    "unique": "Sending again never doubles text",
    "fence": "A worker that comes back too late cannot write",
    "gap": "A gap is never silent",
    "identical": "Who joins late, goes and comes back, or was slow ends with the same bytes",
    "slow": "A slow subscriber costs bounded memory and nobody else's time",
    "end": "A thought and a run end explicitly, durably, once",
    "synthesis": "A synthesis starts only from final thoughts, once",
    "command": "A command is done once",
    "recovery": "Recovery is idempotent: the log comes to the same state however often it is read",
    "goes on": "A run goes on after the hub restarts",
    "permission": "Nobody without permission reads or writes",
}

MARK = re.compile(r"⟨([A-Za-z0-9_.-]+)#(\d+)⟩")


@dataclass(frozen=True, order=True)
class Finding:
    promise: str
    sentence: str

    def __str__(self) -> str:
        return f"[{self.promise}] {self.sentence}"


@dataclass(frozen=True)
class Told:
    """What one subscriber to a run was given: lines as they came. At each place in `began_at` it began anew.

    `joined`: it began with a snapshot, so its lines begin anywhere; what it shows must be whole all the same.
    """

    name: str
    lines: Sequence[bytes]
    done: bool = True
    errors: Sequence[str] = ()
    began_at: Sequence[int] = ()
    texts: Mapping[str, Sequence[str]] | None = None  # thought -> SHA-256 of text and reasoning
    joined: bool = False


@dataclass(frozen=True)
class Sent:
    """A command that was sent twice under one id; `answers` in order: {"ok": data}, {"error": code} or {} for none."""

    id: str
    name: str
    run: str
    answers: Sequence[Mapping[str, Any]]


# ---- one run's log ---------------------------------------------------------------------------------------------------


def check_log(run: str, lines: Sequence[bytes], truth: Path) -> list[Finding]:
    """A run that has ended, as the hub's log has it."""
    events = [json.loads(line) for line in lines]
    end = next((event["kind"] for event in events if event["kind"] in ENDS), "run.finished")
    found = [
        *_named("gap", run, order_faults(events)),
        *_named("durable", run, text_faults(events, truth)),
        *_named("end", run, once_faults(events, truth, end)),
        *_doubled(run, events),
        *_written_late(run, events),
        *_came_back(run, events),
        *_from_finals(run, events),
    ]
    found += [
        Finding("goes on", f"{run}: it failed at seq {event['seq']}, and nobody wanted that: {event['error']}")
        for event in events
        if event["kind"] == "run.failed"
    ]
    return found


def _named(promise: str, run: str, faults: Iterable[str]) -> list[Finding]:
    return [Finding(promise, f"{run}: {fault}") for fault in faults]


def _doubled(run: str, events: list[dict[str, Any]]) -> list[Finding]:
    """Every piece that an agent says carries a mark of its own: there once, and in order."""
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for event in events:
        if event["kind"] == "thought.partial":
            texts[event["thought"], event["channel"]].append(event["text"])
    found = []
    for (thought, _), pieces in texts.items():
        marks = [int(number) for name, number in MARK.findall("".join(pieces)) if name == thought]
        twice = sorted(number for number, count in Counter(marks).items() if count > 1)
        found += [Finding("unique", f"{run}: piece {number} of {thought} is there twice") for number in twice]
        if not twice and marks != sorted(marks):
            found.append(Finding("unique", f"{run}: the pieces of {thought} are not in the order they were said in"))
    return found


def _written_late(run: str, events: list[dict[str, Any]]) -> list[Finding]:
    """Nothing is written to a thought that is over."""
    found = []
    ended: dict[str, int] = {}
    for event in events:
        thought = event.get("thought", "")
        if event["kind"] in ("thought.finalized", "thought.abandoned"):
            ended[thought] = event["seq"]
        elif event["kind"] in ("thought.partial", "thought.cancelling") and thought in ended:
            sentence = f"{run}: seq {event['seq']} writes to {thought}, which had ended at seq {ended[thought]}"
            found.append(Finding("fence", sentence))
    return found


def _came_back(run: str, events: list[dict[str, Any]]) -> list[Finding]:
    """A session whose agent another one has taken never has it again, within a run."""
    found = []
    sessions: dict[str, list[str]] = defaultdict(list)
    for event in events:
        match event["kind"]:
            case "agent.joined":
                session = event["worker"]["session"]
            case "thought.started":
                session = event["session"]
            case _:
                continue
        known = sessions[event["agent"]]
        if session in known[:-1]:
            found.append(
                Finding(
                    "fence",
                    f"{run}: at seq {event['seq']} session {session} has {event['agent']} again, "
                    f"which {known[-1]} had taken from it",
                )
            )
        elif not known or known[-1] != session:
            known.append(session)
    return found


def _from_finals(run: str, events: list[dict[str, Any]]) -> list[Finding]:
    found = []
    final: set[str] = set()
    for event in events:
        if event["kind"] == "thought.finalized":
            final.add(event["thought"])
        elif event["kind"] == "synthesis.started":
            found += [
                Finding("synthesis", f"{run}: the synthesis at seq {event['seq']} is made from {name}, not yet final")
                for name in event["inputs"]
                if name not in final
            ]
    return found


# ---- what subscribers were told --------------------------------------------------------------------------------------


def check_told(run: str, told: Told, log: Sequence[bytes]) -> list[Finding]:
    """A subscriber that ran to the end has the log, byte for byte; what it lacks is a prefix, a middle or a tail."""
    who = f"{run}: subscriber {told.name}"
    found = [Finding("gap", f"{who} was told {error}") for error in told.errors]
    starts = [0, *told.began_at]
    lives = [told.lines[a:b] for a, b in zip(starts, [*told.began_at, len(told.lines)], strict=True)]
    durable = set(log)
    for line in dict.fromkeys(line for life in lives for line in life if line not in durable):
        event = json.loads(line)
        sentence = f"{who} was given seq {event['seq']} ({event['kind']}), which the log does not have"
        found.append(Finding("durable", sentence))
    begins = _begin(lives[-1], log) if told.joined else 0
    found += _compared(who, lives[-1], log[begins:])
    if not told.done:
        found.append(Finding("gap", f"{who} still waits for the run's end"))
    for line in log if told.texts is not None else ():
        event = json.loads(line)
        if event["kind"] == "thought.finalized":
            shown = list((told.texts or {}).get(event["thought"], ()))
            if shown != [event["sha256"], event["reasoning_sha256"]]:
                found.append(Finding("identical", f"{who} shows another text of {event['thought']} than was finalized"))
    return found


def check_streamed(run: str, name: str, told: Mapping[str, Any] | None, log: Sequence[bytes]) -> list[Finding]:
    """A client of the web gateway has every event but the partials as it is in the log, and every text to the byte."""
    who = f"{run}: client {name} of the gateway"
    if told is None or not told["done"]:
        return [Finding("gap", f"{who} still waits for the run's end")]
    found = [Finding("unique", f"{who}: {error}") for error in told["errors"][:5]]
    marks = [event for line in log if (event := json.loads(line))["kind"] != "thought.partial"]
    if told["marks"] != marks:
        shown, there = ([mark["seq"] for mark in some] for some in (told["marks"], marks))
        lacks, has = sorted(set(there) - set(shown)), sorted(set(shown) - set(there))
        sentence = f"{who} has other events than the log: it lacks {_few(lacks)}, and has {_few(has)} beyond it"
        found.append(Finding("identical", sentence))
    texts: dict[str, bytes] = defaultdict(bytes)
    for line in log:
        event = json.loads(line)
        if event["kind"] == "thought.partial":
            texts[f"{event['thought']} {event['channel']}"] += event["text"].encode()
    digests = {key: hashlib.sha256(text).hexdigest() for key, text in texts.items()}
    found += [
        Finding("identical", f"{who} shows another text of {key} than the log has")
        for key in sorted(digests.keys() | told["texts"].keys())
        if digests.get(key) != told["texts"].get(key)
    ]
    return found


def _begin(lines: Sequence[bytes], log: Sequence[bytes]) -> int:
    """Where in the log these lines begin; at its end if there are none."""
    return next((place for place, line in enumerate(log) if lines and line == lines[0]), len(log) if not lines else 0)


def _compared(who: str, lines: Sequence[bytes], log: Sequence[bytes]) -> list[Finding]:
    if list(lines) == list(log):
        return []
    found = []
    seqs = [int(json.loads(line)["seq"]) for line in lines]
    twice = [seq for seq, count in Counter(seqs).items() if count > 1]
    if twice:
        found.append(Finding("unique", f"{who} was given seq {_few(twice)} more than once"))
    if seqs != sorted(seqs):
        late = next(b for a, b in itertools.pairwise(seqs) if b < a)
        found.append(Finding("gap", f"{who} was given seq {late} out of order"))
    there = set(lines)
    has = [line in there for line in log]
    missing = [int(json.loads(line)["seq"]) for line, here in zip(log, has, strict=True) if not here]
    if not missing:
        return found
    if not any(has):
        return [*found, Finding("gap", f"{who} lost everything: it has none of {len(log)} events")]
    first, last = has.index(True), len(has) - 1 - has[::-1].index(True)
    of_log = [int(json.loads(line)["seq"]) for line in log]
    for what, part in (
        ("the prefix", of_log[:first]),
        ("a middle", [seq for seq, here in zip(of_log[first:last], has[first:last], strict=True) if not here]),
        ("the tail", of_log[last + 1 :]),
    ):
        if part:
            found.append(Finding("gap", f"{who} lost {what}: {len(part)} of {len(log)} events, seq {_few(part)}"))
    return found


def _few(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (f" … {numbers[-1]}" if len(numbers) > 5 else "")


# ---- what workers were told ------------------------------------------------------------------------------------------


class Durable:
    """What the log has of every thought at the end, run by run."""

    def __init__(self) -> None:
        self.lengths: Counter[tuple[str, str]] = Counter()
        self.ends: dict[str, str] = {}

    def add(self, lines: Iterable[bytes]) -> Durable:
        for line in lines:
            event = json.loads(line)
            match event["kind"]:
                case "thought.started":
                    self.lengths[event["thought"], "text"] += 0
                case "thought.partial":
                    self.lengths[event["thought"], event["channel"]] += len(event["text"].encode())
                case "thought.finalized" | "thought.abandoned" as kind:
                    self.ends[event["thought"]] = kind.removeprefix("thought.")
        return self


def check_acks(told: Iterable[Mapping[str, Any]], durable: Durable) -> list[Finding]:
    """What a hub had acknowledged is in the log at the end, and was there whenever it said how much it had."""
    found: list[Finding] = []
    most: dict[tuple[str, str], tuple[int, str]] = {}
    for one in told:
        who = f"worker {one['agent']} (session {one['worker']})"
        match one["told"]:
            case "ack":
                key = (one["thought"], one["channel"])
                most[key] = max(most.get(key, (0, who)), (one["length"], who))
            case "welcome":
                for thought, length in one["lengths"].items():
                    before, _ = most.get((thought, "text"), (0, ""))
                    if length < before:
                        sentence = f"{who} heard that {length} bytes of {thought} are durable: {before} had been"
                        found.append(Finding("durable", f"{sentence} acknowledged before (boot {one['boot']})"))
            case "ended" if one["outcome"] != "unknown" and durable.ends.get(one["thought"]) != one["outcome"]:
                really = durable.ends.get(one["thought"], "not ended")
                sentence = f"{who} heard that {one['thought']} is {one['outcome']}; in the log it is {really}"
                found.append(Finding("durable", sentence))
    for key, (length, who) in most.items():
        if durable.lengths.get(key, -1) < length:
            has = f"the log has {durable.lengths[key]}" if key in durable.lengths else "the log has no such thought"
            found.append(Finding("durable", f"{who}: {length} bytes of {key[0]} ({key[1]}) were acknowledged, {has}"))
    return found


# ---- commands --------------------------------------------------------------------------------------------------------


def check_commands(sent: Iterable[Sent], logs: Mapping[str, Sequence[bytes]]) -> list[Finding]:
    """Each was done once if it was answered `ok`, and at most once otherwise; the same id got the same answer."""
    events = {run: [json.loads(line) for line in lines] for run, lines in logs.items()}
    times: Counter[str] = Counter()
    for of_run in events.values():
        times.update(event["id"] for event in of_run if event["kind"] == "command.accepted")
        times.update(event["run"] for event in of_run if event["kind"] == "run.started")
    found: list[Finding] = []
    for one in sent:
        if one.run not in logs:
            continue
        what = f"{one.run}: {one.name} {one.id}"
        good = [answer["ok"] for answer in one.answers if "ok" in answer]
        if times[one.id] > 1:
            found.append(Finding("command", f"{what} was done {times[one.id]} times"))
        if good and not times[one.id]:
            found.append(Finding("command", f"{what} was answered with ok, and the log does not have it"))
        if any(answer != good[0] for answer in good):
            found.append(Finding("command", f"{what} was answered {good[0]} and {good[-1]}"))
        was_done = False
        for answer in one.answers:
            if was_done and "error" in answer:
                found.append(Finding("command", f"{what} was answered with ok and then with {answer['error']}"))
            was_done |= "ok" in answer
    for run, of_run in events.items():
        found += _effects(run, of_run)
    return found


def _effects(run: str, events: list[dict[str, Any]]) -> list[Finding]:
    """As many effects as commands."""
    accepted = [event for event in events if event["kind"] == "command.accepted"]
    kinds = Counter(event["kind"] for event in events)
    found = []
    for name, kind in (("pause", "run.paused"), ("resume", "run.resumed"), ("edit", "section.edited")):
        count = sum(event["name"] == name for event in accepted)
        if count != kinds[kind]:
            found.append(Finding("command", f"{run}: {count} × {name} was accepted, {kinds[kind]} × {kind} came of it"))
    for event in accepted:
        if event["name"] not in ("steer", "regenerate"):
            continue
        came = [e for e in events if e["kind"] == "stage.reopened" and e["command"] == event["id"]]
        doubled = [stage for stage, count in Counter(e["stage"] for e in came).items() if count > 1]
        if not came or doubled:
            found.append(
                Finding("command", f"{run}: {event['name']} {event['id']} reopened {len(came)} times {doubled}".strip())
            )
    return found


# ---- others' time ----------------------------------------------------------------------------------------------------


def check_pace(run: str, name: str, heard_at: Sequence[float], *, silence_s_max: float) -> list[Finding]:
    """A subscriber of a run in which somebody always speaks never waits long. The last time is when it ended."""
    silence_s = max((b - a for a, b in itertools.pairwise(heard_at)), default=0.0)
    if silence_s <= silence_s_max:
        return []
    return [Finding("slow", f"{run}: subscriber {name} heard nothing for {silence_s:.1f} s while another took nothing")]


# ---- the log as a whole ----------------------------------------------------------------------------------------------


def check_kept(judged: Mapping[str, str], logs: Mapping[str, Sequence[bytes]]) -> list[Finding]:
    """What a log said of a run when it was judged is what it says at the end. `judged`: the SHA-256 of its lines."""
    found = []
    for run, sha256 in judged.items():
        if run not in logs:
            found.append(Finding("durable", f"{run}: it had ended, and at the end the log has nothing of it"))
        elif digest_of(logs[run]) != sha256:
            found.append(Finding("durable", f"{run}: at the end the log says something else than when the run ended"))
    return found


def digest_of(lines: Sequence[bytes]) -> str:
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def check_order(logs: Mapping[str, Sequence[bytes]]) -> list[Finding]:
    """The log is one sequence: no seq belongs to two events."""
    owner: dict[int, str] = {}
    found = []
    for run, lines in logs.items():
        for line in lines:
            seq = json.loads(line)["seq"]
            if seq in owner and owner[seq] != run:
                found.append(Finding("durable", f"seq {seq} belongs to {owner[seq]} and to {run}"))
            owner[seq] = run
    return found


def check_recovery(states: Sequence[tuple[str, Any]]) -> list[Finding]:
    """Each state is what the same log came to, with the name of the occasion."""
    return [
        Finding("recovery", f"the log came to another state {name} than {states[0][0]}")
        for name, state in states[1:]
        if state != states[0][1]
    ]


def check_ended(open_runs: Mapping[str, str], seconds: float) -> list[Finding]:
    """Runs that should have ended once all was well; the value is what there is of them."""
    return [
        Finding("goes on", f"{run}: it had not ended {seconds:.0f} s after everything was healed ({state})")
        for run, state in open_runs.items()
    ]
