"""Two thousand agents at 10 Hz for five minutes with four subscribers: nothing is lost, and the hub keeps up.

    python -m benchmarks.agents [--quick] [--directory DIR]

A worker hosts at most a thousand agents, so there are two of them; with --quick there is one, for ten seconds. Every
subscriber hashes each thought's text as it comes, and its SHA-256 is compared with what was sent. Subscribers are bare
SUB sockets: four of the real kind would take more than the cores of a small machine for themselves. What one has lost
on the way it reads from the log afterwards, and that is told. The hub's load is the CPU seconds of its process with
all threads, by wall seconds, while text flows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Any

import zmq

from benchmarks.harness import (
    STAMP_DIGITS,
    STAMPED_BYTES,
    Child,
    Options,
    Read,
    Row,
    agent_names,
    cpu_s,
    main,
    note,
    percentile,
    running_hub,
    running_load,
    start_run,
    stored_events,
)
from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.transport.address import Connection
from felixhub.transport.sockets import live_sub

AGENTS_EACH = 1_000  # of a worker; the hub allows no more
FULL = (2, 300.0)  # workers, seconds
QUICK = (1, 10.0)
HZ = 10.0
SUBSCRIBERS = 4
SLACK_S = 1.0
IDLE_S = 3.0
PATIENCE_S = 180.0
LATENCY_OF_ONE_IN = 100
TOPIC_END = b"/thought.partial/"


@dataclass(slots=True)
class _Text:
    """A thought as far as a subscriber has all of it."""

    length: int = 0
    hash: Any = field(default_factory=hashlib.sha256)
    gap: bool = False

    def take(self, offset: int, text: str) -> None:
        if offset != self.length:
            self.gap = True
        if self.gap:
            return
        data = text.encode()
        self.hash.update(data)
        self.length += len(data)


def hashing_main(pipe: Pipe, where: Connection) -> None:
    """A bare SUB that hashes what it gets. Told (how many there are, run), it answers with a `Read`."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = live_sub(context, DEFAULT_LIMITS)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.subscribe(b"")
    socket.connect(where.live)
    socket.recv_multipart()
    pipe.send(None)
    texts: dict[str, _Text] = {}
    latencies: list[tuple[int, float]] = []
    count, sample_at, total, run, heard_at = 0, LATENCY_OF_ONE_IN, None, "", time.monotonic()
    while total is None or (count < total and time.monotonic() - heard_at < IDLE_S):
        if total is None and pipe.poll(0):
            total, run = pipe.recv()
            heard_at = time.monotonic()
        if not socket.poll(100):
            continue
        heard_at = time.monotonic()
        for _ in range(1_000):
            try:
                topic, body = socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            if not topic.endswith(TOPIC_END):
                continue
            event = json.loads(body)
            text = event["text"]
            texts.setdefault(event["thought"], _Text()).take(event["offset"], text)
            count += len(text) // STAMPED_BYTES
            while count >= sample_at:  # Each of what was joined for itself: one in a hundred, whichever it is.
                start = len(text) - (1 + count - sample_at) * STAMPED_BYTES
                sample_at += LATENCY_OF_ONE_IN
                sent = int(text[start : start + STAMP_DIGITS])
                latencies.append((sent, (time.monotonic_ns() - sent) / 1e6))
    short = {name: _Text() for name, text in texts.items() if text.gap}
    if total is not None and count < total:  # A thought may lack its end, and then there is no gap to be seen.
        short = {}
        texts = {}
    if short or not texts:
        for line in stored_events(where, run):
            event = json.loads(line)
            if event["kind"] == "thought.partial" and (not texts or event["thought"] in short):
                short.setdefault(event["thought"], _Text()).take(event["offset"], event["text"])
    hashes = {name: text.hash.hexdigest() for name, text in (texts | short).items()}
    pipe.send(Read(hashes, (total or 0) - count, latencies))


def measure(options: Options) -> list[Row]:
    workers, seconds = QUICK if options.quick else FULL
    agents = agent_names(workers * AGENTS_EACH)
    with options.directory() as directory, running_hub(directory) as hub, contextlib.ExitStack() as stack:
        subscribers = [stack.enter_context(Child(hashing_main, hub.where)) for _ in range(SUBSCRIBERS)]
        for subscriber in subscribers:
            subscriber.ask()
        run = start_run(hub, agents)
        shares = [agents[first : first + AGENTS_EACH] for first in range(0, len(agents), AGENTS_EACH)]
        loads = [stack.enter_context(running_load(hub, share)) for share in shares]
        before = cpu_s(hub.pid)
        for load in loads:
            load.tell(("pace", {"hz": HZ, "seconds": seconds}))
        times = [load.ask(patience_s=seconds + PATIENCE_S) for load in loads]
        took = (max(ended for _, ended in times) - min(began for began, _ in times)) / 1e9
        cores = (cpu_s(hub.pid) - before) / took
        count = sum(int(seconds / (1.0 / (HZ * len(share)))) for share in shares)
        for subscriber in subscribers:
            subscriber.tell((count, run))
        sent: dict[str, str] = {}
        for load in loads:
            load.tell(("finalize", {}))
        for load in loads:
            sent |= load.ask(patience_s=PATIENCE_S)
        reads: list[Read] = [subscriber.ask(patience_s=PATIENCE_S) for subscriber in subscribers]
    wrong = sum(read.hashes != sent for read in reads)
    repaired = sum(read.gaps_repaired for read in reads)
    p99 = percentile([latency for read in reads for _, latency in read.latencies_ms], 99)
    note(f"agents: {took:.1f} s for {seconds:.0f} s, {cores:.2f} cores, p99 {p99:.1f} ms, {repaired} repaired")
    return [
        Row(
            f"{len(agents):,} agents, {HZ:.0f} Hz, {seconds:.0f} s, {count:,} partials ({repaired:,} of "
            f"{count * SUBSCRIBERS:,} came by replay): subscribers of {SUBSCRIBERS} with a wrong text",
            f"{wrong}",
            "0",
            wrong == 0,
        ),
        Row(
            "the same: seconds until the last was acknowledged",
            f"{took:.1f}",
            f"≤ {seconds + SLACK_S:.0f}",
            took <= seconds + SLACK_S,
        ),
        Row("the same: cores the hub used", f"{cores:.2f}", "—", None),
        Row("the same: p99 of the latency, in ms", f"{p99:.1f}", "—", None),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
