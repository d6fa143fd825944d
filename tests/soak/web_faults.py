"""Faults of the web gateway: killed, stopped, cut off from its clients, and flooded."""

from __future__ import annotations

import contextlib
import random
import socket
from dataclasses import dataclass

from fault import Fault, Place, hold
from process_faults import SHORT_S, Sigkill, Stopped
from soak_place import WEB
from tcp_proxy import Weather

LONG_S = (3.0, 7.0)
SILENT = 300  # more than the streams that a gateway has


@dataclass(frozen=True)
class CutOff:
    """Its clients come through the proxy: every connection ends, in the middle of whatever was sent."""

    name: str = "web.cut_off"

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        times = dice.randint(1, 6)
        hit = 0
        for _ in range(times):
            hit += place.the_proxy.cut(WEB)
            hold(place, dice.uniform(0.1, 1.0))
        return f"{hit} connections of clients cut in {times} blows"


@dataclass(frozen=True)
class SlowLine:
    """What it sends goes out drop by drop: it must merge, and give up what waits too long, for this client alone."""

    name: str = "web.slow_line"

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        seconds = dice.uniform(*LONG_S)
        place.the_proxy.set(Weather(bytes_per_s=dice.uniform(2_000, 20_000)), WEB)
        hold(place, seconds)
        place.the_proxy.set(Weather(), WEB)
        return f"its clients on a slow line for {seconds:.1f} s"


@dataclass(frozen=True)
class Flooded:
    """More streams than it takes, none of which is read, and commands without a token."""

    name: str = "web.flooded"

    def possible(self) -> str:
        return ""

    def strike(self, place: Place, dice: random.Random) -> str:
        run = place.current_run()
        path = f"/api/runs/{run}/events" if run else "/api/events"
        head = f"Host: 127.0.0.1:{place.web_port}\r\n"
        held: list[socket.socket] = []
        with contextlib.ExitStack() as stack:
            for number in range(SILENT):
                with contextlib.suppress(OSError):
                    one = stack.enter_context(socket.create_connection(("127.0.0.1", place.web_port), timeout=5))
                    post = f"POST /api/runs HTTP/1.1\r\n{head}Content-Length: 99999\r\n\r\nx"
                    get = f"GET {path} HTTP/1.1\r\n{head}\r\n"
                    one.sendall((post if number % 10 == 9 else get).encode())
                    held.append(one)
            hold(place, dice.uniform(*LONG_S))
        return f"{len(held)} clients that read nothing"


FAULTS: tuple[Fault, ...] = (
    Sigkill("web.sigkill", (WEB,)),
    Stopped("web.sigstop_short", (WEB,), SHORT_S),
    Stopped("web.sigstop_long", (WEB,), LONG_S),
    CutOff(),
    SlowLine(),
    Flooded(),
)
