"""Durable partials a second through the whole hub, beside a bare forwarder that moves the same bytes.

    python -m benchmarks.throughput [--quick] [--directory DIR]

100 agents of one worker, partials of 100 bytes, 4 bare SUB sockets. The hub commits every turn with
`synchronous=FULL` and the load never has more than a window unacknowledged; the forwarder is PULL to PUB and keeps
nothing. A pass ends when the last subscriber has the last message. Passes alternate; the ratio is taken pair by pair.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import zmq

from benchmarks.harness import (
    Child,
    Options,
    Row,
    agent_names,
    main,
    note,
    raw_main,
    running_hub,
    running_load,
    spread,
    start_run,
    stop,
)
from felixhub.core.messages import Partial
from felixhub.core.names import event_topic

AGENTS = 100
SUBSCRIBERS = 4
PARTIAL_BYTES = 100
WINDOW = 4_000
GOAL_RATE = 20_000
GOAL_RATIO = 0.40


def through_hub(directory: Path, count: int) -> tuple[float, int]:
    """Partials a second, and the live messages lost and repaired. Raises when a text is not the one that was sent."""
    with running_hub(directory) as hub, contextlib.ExitStack() as stack:
        agents = agent_names(AGENTS)
        subscribers = [stack.enter_context(Child(raw_main, hub.where.live, True)) for _ in range(SUBSCRIBERS)]
        for subscriber in subscribers:
            subscriber.ask()
        run = start_run(hub, agents)
        load = stack.enter_context(running_load(hub, agents))
        load.tell(("flood", {"count": count, "size": PARTIAL_BYTES, "window": WINDOW}))
        began, acknowledged = load.ask()
        load.tell(("finalize", {}))
        sent = load.ask()
        ended = max(acknowledged, *(last for _, last, _ in stop(subscribers)))
        lost = 0
        for subscriber in subscribers:
            subscriber.tell((hub.where, run))
            hashes, missed = subscriber.ask()
            lost += missed
            if hashes != sent:
                raise RuntimeError("a subscriber's text is not the one that was sent")
    return count / (ended - began) * 1e9, lost


def through_forwarder(directory: Path, count: int) -> float:
    push, pub = f"ipc://{directory}/push", f"ipc://{directory}/pub"
    with contextlib.ExitStack() as stack:
        stack.enter_context(Child(forwarder_main, push, pub))
        load = stack.enter_context(Child(pusher_main, push))
        subscribers = [stack.enter_context(Child(raw_main, pub, False)) for _ in range(SUBSCRIBERS)]
        for subscriber in subscribers:
            subscriber.ask()
        load.tell(count)
        began: int = load.ask()
        received = stop(subscribers)
        while any(got < count for got, _, _ in received):
            raise RuntimeError("the forwarder lost messages")
    return count / (max(last for _, last, _ in received) - began) * 1e9


def forwarder_main(_pipe: Pipe, push: str, pub: str) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    source, sink = context.socket(zmq.PULL), context.socket(zmq.PUB)
    sink.setsockopt(zmq.SNDHWM, 0)
    source.bind(push)
    sink.bind(pub)
    while True:
        sink.send_multipart(source.recv_multipart())


def pusher_main(pipe: Pipe, push: str) -> None:
    """The same partials as `Load.flood` sends, each with a topic. Until told how many: one in a while, to be heard."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.setsockopt(zmq.SNDHWM, WINDOW)
    socket.connect(push)
    while not pipe.poll(0.02):
        socket.send_multipart([b"hello/", b""])
    count = pipe.recv()
    began = time.monotonic_ns()
    topics = [event_topic("bench-00000000", agent, "thought.partial") for agent in agent_names(AGENTS)]
    lengths = [0] * AGENTS
    for number in range(count):
        agent = number % AGENTS
        text = f"{number:08d}".ljust(PARTIAL_BYTES, ".")
        partial = Partial(thought=f"t{agent}-abcd", offset=lengths[agent], text=text, tokens=lengths[agent] // 4)
        lengths[agent] += PARTIAL_BYTES
        socket.send_multipart([topics[agent], partial.encode()])
    pipe.send(began)
    pipe.recv()


def measure(options: Options) -> list[Row]:
    count, passes = (40_000, 3) if options.quick else (150_000, 5)
    rates, ratios, lost = [], [], 0
    for number in range(passes):
        with options.directory() as directory:
            rate, missed = through_hub(directory, count)
        with options.directory() as directory:
            bare = through_forwarder(directory, count)
        note(f"throughput {number + 1}/{passes}: hub {rate:,.0f}/s, forwarder {bare:,.0f}/s, {missed} repaired")
        rates.append(rate)
        ratios.append(rate / bare)
        lost += missed
    ratio, rate = statistics.median(ratios), statistics.median(rates)
    return [
        Row(
            f"durable partials/s, {SUBSCRIBERS} subscribers ({lost} live messages lost and repaired, texts identical)",
            spread(rates, 0),
            f"≥ {GOAL_RATE:,}",
            rate >= GOAL_RATE,
        ),
        Row("the same beside a bare PULL→PUB forwarder", spread(ratios), f"≥ {GOAL_RATIO:.2f}", ratio >= GOAL_RATIO),
    ]


if __name__ == "__main__":
    main(measure, __doc__)
