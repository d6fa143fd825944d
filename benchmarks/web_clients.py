"""What clients of the gateway cost it, and one that stops reading costs the others: forty agents, ten times a second.

    python -m benchmarks.web_clients [--quick] [--directory DIR]

A real gateway beside a real hub. In turn, and again, so that all are measured side by side: one client; a hundred; a
hundred of which one reads nothing. Delay is from the moment that an agent's worker hands a batch to the hub until its
text is read from a client's socket; it is looked at in a few clients, the bytes of the others are read and dropped.
"""

from __future__ import annotations

import re
import selectors
import socket
import statistics
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe

from benchmarks.harness import (
    STAMP_DIGITS,
    Child,
    Options,
    Row,
    agent_names,
    cpu_s,
    main,
    note,
    percentile,
    rss_bytes,
    running_hub,
    running_load,
    spread,
    start_run,
)
from benchmarks.page import running_gateway

AGENTS = 40
HZ = 10.0
CLIENTS = 100
LOOKED_AT = 5  # clients whose text is looked into
FULL = (3, 10.0)  # rounds, seconds of each phase
QUICK = (1, 6.0)
SETTLE_S = 1.5  # until all are connected and their snapshots are read
STOPPED_BYTES = 4_096  # of the receive buffer of the one that stops
GOAL_CORES = 0.25
GOAL_RATIO = 1.25
_STAMP = re.compile(rb'"text":"(\d{%d})' % STAMP_DIGITS)
_CUT_OFF = re.compile(rb'(?:"(?:t(?:e(?:x(?:t(?:"(?::(?:"\d{0,%d})?)?)?)?)?)?)?)?$' % (STAMP_DIGITS - 1))


@dataclass(slots=True)
class Phase:
    """`cores` of the gateway; delays in ms."""

    cores: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)


def clients_main(pipe: Pipe, port: int, run: str, count: int, stopped: int) -> None:
    """So many clients, the last `stopped` of which read nothing. Told anything it begins to look, again it answers."""
    selector = selectors.DefaultSelector()
    request = f"GET /api/runs/{run}/events?tail=6000 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    held = []
    rest: dict[int, bytes] = {}
    for number in range(count):
        one = socket.socket()
        held.append(one)
        if number >= count - stopped:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STOPPED_BYTES)
        one.connect(("127.0.0.1", port))
        one.sendall(request)
        one.setblocking(False)
        if number < count - stopped:
            selector.register(one, selectors.EVENT_READ, number)
    looks, delays = False, []
    pipe.send(None)
    while True:
        for key, _ in selector.select(0.05):
            try:
                data = key.fileobj.recv(1 << 18)  # type: ignore[union-attr]
            except BlockingIOError:
                continue
            if not data:
                raise RuntimeError("the gateway ended a stream")
            if key.data >= LOOKED_AT:
                continue
            now = time.monotonic_ns()
            data = rest.get(key.data, b"") + data
            if looks:
                delays += [(now - int(stamp)) / 1e6 for stamp in _STAMP.findall(data)]
            rest[key.data] = _CUT_OFF.search(data)[0]  # type: ignore[index]
        if pipe.poll(0):
            pipe.recv()
            if looks:
                pipe.send(delays)
                return
            looks = True


def measure(options: Options) -> list[Row]:
    rounds, seconds = QUICK if options.quick else FULL
    plans = {"one": (1, 0), "hundred": (CLIENTS, 0), "stopped": (CLIENTS, 1)}
    phases = {name: Phase() for name in plans}
    agents = agent_names(AGENTS)
    took = rounds * len(plans) * (seconds + SETTLE_S + 1.0) + 5.0
    with options.directory() as directory, running_hub(directory) as hub, running_gateway(directory) as web:
        port = int(web.address.rstrip("/").rpartition(":")[2])
        run = start_run(hub, agents)
        with running_load(hub, agents) as load:
            load.tell(("pace", {"hz": HZ, "seconds": took}))
            for _ in range(rounds):
                for name, (count, stopped) in plans.items():
                    _measure(phases[name], web.pid, port, run, count, stopped, seconds)
            memory = rss_bytes(web.pid)
            load.ask(patience_s=took + 60.0)
    one, many, hurt = (phases[name] for name in plans)
    each = [(b - a) / (CLIENTS - 1) for a, b in zip(one.cores, many.cores, strict=True)]
    ratios = [b / a for a, b in zip(many.p50, hurt.p50, strict=True)]
    tails = [b / a for a, b in zip(many.p99, hurt.p99, strict=True)]
    what = f"{AGENTS} agents at {HZ:.0f} Hz through the gateway"
    return [
        _goal(f"{what}: cores it uses with one client", one.cores, 3, GOAL_CORES),
        Row(f"the same: cores with {CLIENTS} clients", spread(many.cores, 3), "—", None),
        _goal("the same: cores that one more client costs", each, 4, GOAL_CORES),
        _delay("one client", one),
        _delay(f"{CLIENTS} clients", many),
        _delay(f"{CLIENTS} clients of which one reads nothing", hurt),
        _goal("the same: that delay by the one without, p50", ratios, 2, GOAL_RATIO),
        Row("the same: p99", spread(tails), "—", None),
        Row("the same: the gateway's memory at the end, in MB", f"{memory / 1e6:.0f}", "—", None),
    ]


def _goal(what: str, values: list[float], digits: int, goal: float) -> Row:
    return Row(what, spread(values, digits), f"≤ {goal}", statistics.median(values) <= goal)


def _delay(who: str, phase: Phase) -> Row:
    measured = f"{spread(phase.p50, 1)}, {spread(phase.p99, 1)}"
    return Row(f"the same: delay with {who}, p50 and p99 in ms", measured, "—", None)


def _measure(phase: Phase, gateway: int, port: int, run: str, count: int, stopped: int, seconds: float) -> None:
    with Child(clients_main, port, run, count, stopped) as clients:
        clients.ask()
        time.sleep(SETTLE_S)
        clients.tell(None)
        before, began = cpu_s(gateway), time.monotonic()
        time.sleep(seconds)
        phase.cores.append((cpu_s(gateway) - before) / (time.monotonic() - began))
        clients.tell(None)
        delays: list[float] = clients.ask()
    phase.p50.append(percentile(delays, 50))
    phase.p99.append(percentile(delays, 99))
    found = f"{phase.cores[-1]:.2f} cores, p50 {phase.p50[-1]:.1f} ms, {len(delays)} looks"
    note(f"{count} clients, {stopped} stopped: {found}")


if __name__ == "__main__":
    main(measure, __doc__)
