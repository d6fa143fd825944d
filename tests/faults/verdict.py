"""What is wrong with what a subscriber was given, or with a log: every promise about a run's events, as sentences.

Owns: the checks. Must not: wait, or start anything. It folds the events itself, with none of the product's code, and
compares with what the agents wrote down of what they said.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

ENDS = ("run.finished", "run.failed", "run.cancelled")


def faults_of(lines: list[bytes], truth: Path, *, end: str | None = "run.finished") -> list[str]:
    """Everything wrong with a run's events, in the order in which they were received. `end`: how it must have ended."""
    events = [json.loads(line) for line in lines]
    return [*order_faults(events), *text_faults(events, truth), *once_faults(events, truth, end)]


def order_faults(events: list[dict[str, Any]]) -> list[str]:
    """The chain of `prev`, each event once."""
    faults = []
    last = 0
    seen: set[int] = set()
    for event in events:
        if event["seq"] in seen:
            faults.append(f"seq {event['seq']} ({event['kind']}) came twice")
        elif event["prev"] != last:
            faults.append(f"seq {event['seq']} follows {event['prev']}, but {last} was the last to come")
        seen.add(event["seq"])
        last = event["seq"]
    return faults


def text_faults(events: list[dict[str, Any]], truth: Path) -> list[str]:
    """Every thought's text: without a hole, and what its agent said."""
    faults = []
    texts: dict[tuple[str, str], bytearray] = {}
    for event in events:
        thought = event.get("thought", "")
        text = texts.setdefault((thought, "text"), bytearray())
        reasoning = texts.setdefault((thought, "reasoning"), bytearray())
        match event["kind"]:
            case "thought.partial":
                buffer = texts[thought, event["channel"]]
                if event["offset"] != len(buffer):
                    faults.append(f"{thought}: text for {event['offset']} came at {len(buffer)}")
                buffer += event["text"].encode()
            case "thought.finalized":
                said, thought_of = _said(truth, thought)
                if [_sha(text), _sha(reasoning)] != [event["sha256"], event["reasoning_sha256"]]:
                    faults.append(f"{thought}: its texts are not what was finalized")
                if [_sha(text), _sha(reasoning)] != [_sha(said), _sha(thought_of)]:
                    faults.append(f"{thought}: its texts are not what the agent said")
                if (len(text), len(reasoning)) != (event["length"], event["reasoning_length"]):
                    faults.append(f"{thought}: {len(text)} bytes came, finalized were {event['length']}")
            case "thought.abandoned":
                said, thought_of = _said(truth, thought)
                if not (said.startswith(bytes(text)) and thought_of.startswith(bytes(reasoning))):
                    faults.append(f"{thought}: abandoned with a text that the agent never said")
                if event["length"] != len(text):
                    faults.append(f"{thought}: abandoned at {event['length']}, {len(text)} bytes came")
    return faults


def once_faults(events: list[dict[str, Any]], truth: Path, end: str | None) -> list[str]:
    """What may happen only once: ends, beginnings, the synthesis, a command."""
    faults = []
    kinds = [event["kind"] for event in events]
    ends = [kind for kind in kinds if kind in ENDS]
    if end is not None and (ends != [end] or kinds[-1] != end):
        faults.append(f"the run should end once, last and as {end}: {ends}, last {kinds[-1:]}")
    once = ("run.started", "synthesis.finished")
    faults.extend(f"{kinds.count(kind)} × {kind}" for kind in once if kinds.count(kind) > 1)
    for kind, key in (
        ("thought.started", "thought"),
        ("stage.started", "stage"),
        ("stage.finished", "stage"),
        ("command.accepted", "id"),
    ):
        # A stage begins and ends once in each of its rounds.
        names = [(event[key], event.get("round", 1)) for event in events if event["kind"] == kind]
        faults.extend(f"{names.count(name)} × {kind} {name[0]}" for name in set(names) if names.count(name) > 1)
    started = [event["thought"] for event in events if event["kind"] == "thought.started"]
    ended = [event["thought"] for event in events if event["kind"] in ("thought.finalized", "thought.abandoned")]
    if sorted(ended) != sorted(set(ended)) or (ends and sorted(started) != sorted(ended)):
        faults.append(f"{len(started)} thoughts were started, {len(ended)} ended")
    finals = [
        (event["stage"], event.get("round", 1))
        for event in events
        if event["kind"] == "thought.started" and _is_final(events, event)
    ]
    faults.extend(
        f"{finals.count(stage)} final thoughts of stage {stage[0]}" for stage in set(finals) if finals.count(stage) > 1
    )
    synthesis = [event["thought"] for event in events if event["kind"] == "synthesis.finished"]
    if end == "run.finished" and synthesis and kinds[-1] == end:
        said, _ = _said(truth, synthesis[0])
        if events[-1]["result"].encode() != said:
            faults.append("the run's result is not what its synthesizer said")
    return faults


def _is_final(events: list[dict[str, Any]], started: dict[str, Any]) -> bool:
    return any(e["kind"] == "thought.finalized" and e["thought"] == started["thought"] for e in events)


def _said(truth: Path, thought: str) -> tuple[bytes, bytes]:
    """What the agent wrote down that it said; nothing if the thought never came to it."""
    files = (truth / f"{thought}.txt", truth / f"{thought}.reasoning.txt")
    text, reasoning = (file.read_bytes() if file.exists() else b"" for file in files)
    return text, reasoning


def _sha(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


def faults_of_record(records: Path, run: str, kind: str, log: list[bytes], truth: Path) -> list[str]:
    """Everything wrong with what one watcher was given, compared with the hub's log at the end."""
    told_file, lines_file = records / f"{run}.{kind}.json", records / f"{run}.{kind}.jsonl"
    if not told_file.exists():
        return [f"{kind}: it did not come to its end"]
    told = json.loads(told_file.read_text())
    lines = lines_file.read_bytes().splitlines()
    faults = [f"{kind}: {error}" for error in told["errors"]]
    if not told["done"]:
        faults.append(f"{kind}: it still waits for the end")
    faults += [f"{kind}: {fault}" for fault in faults_of(lines, truth)]
    if lines != log:
        faults.append(f"{kind}: it was given {len(lines)} events, the log has {len(log)}, and they differ")
    for line in log:
        event = json.loads(line)
        if event["kind"] == "thought.finalized":
            shown = told["texts"].get(event["thought"])
            if shown != [event["sha256"], event["reasoning_sha256"]]:
                faults.append(f"{kind}: its board shows another text of {event['thought']}")
    return faults
