"""The hub process: lock the directory, check the log, fold it, bind, turn the loop, stop cleanly.

Owns: the order of starting and stopping. Must not: know what a turn does (`loop.py`).
"""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import zmq

from felixhub.core.errors import ConfigError
from felixhub.core.limits import DEFAULT_LIMITS, Limits
from felixhub.eventlog import LogBroken, LogBusy
from felixhub.eventlog.sqlite import SqliteLog
from felixhub.failpoint import failpoint
from felixhub.hub.connections import connections_max
from felixhub.hub.door import NAMES, Door
from felixhub.hub.doors import Doors
from felixhub.hub.guard import Guard
from felixhub.hub.loop import HubLoop, fold_log
from felixhub.hub.self_test import check_guard
from felixhub.hub.zap import Zap
from felixhub.logs import get_log
from felixhub.transport.address import (
    Connection,
    Endpoints,
    local_endpoints,
    network_endpoints,
    remove_connection,
    write_connection,
)
from felixhub.transport.keys import HubKey, Keys, hub_key

Unfinished = Literal["continue", "pause"]

EXIT_OK = 0
EXIT_BROKEN = 1


def hub_clock() -> Callable[[], float]:
    """Unix seconds that never jump within one life, however the machine's clock is set."""
    wall, steady = time.time(), time.monotonic()
    return lambda: wall + time.monotonic() - steady


def run_hub(
    data_dir: Path,
    *,
    listen: str | None = None,
    plain: bool = False,
    unfinished: Unfinished = "continue",
    limits: Limits = DEFAULT_LIMITS,
    parent_fd: int | None = None,
    loop_type: type[HubLoop] = HubLoop,
    on_ready: Callable[[Connection], None] | None = None,
) -> int:
    """Run a hub on this data directory until it is told to stop; returns the exit code.

    `listen`: a tcp address besides the sockets in the file system, which asks for keys unless `plain`. `unfinished`:
    what happens to runs that an earlier life left. `parent_fd`: the hub ends when this descriptor is
    readable or closed at the other end. Raises ConfigError or LogError before anything is bound.
    """
    notes = get_log("hub")
    log = SqliteLog.open(data_dir, failpoint=lambda place: failpoint(f"hub.{place}"))
    try:
        boot = secrets.token_hex(8)
        boots = log.start_boot(boot)
        post = fold_log(log, boot=boot, limits=limits)
        clock = hub_clock()
        post.wake(clock())
        where = local_endpoints(data_dir).model_copy(update={"boot": boot, "pid": os.getpid()})
        key = hub_key(data_dir) if listen and not plain else None
        if listen:
            network = network_endpoints(listen, server=key.public if key else None)
            where = where.model_copy(update={"network": network})
        with contextlib.ExitStack() as stack:
            # Before anything is bound, and until all of it is gone: a signal in between must not leave sockets behind.
            stop = stack.enter_context(stop_signals())
            context: zmq.Context[zmq.Socket[bytes]] = stack.enter_context(zmq.Context(io_threads=2 if key else 1))
            doors = open_doors(context, where, key, Keys(data_dir) if key else None, limits, clock(), stack)
            loop = loop_type(post=post, log=log, boots=boots, doors=doors, limits=limits, clock=clock)
            doors.watch(stop.descriptor)
            if parent_fd is not None:
                doors.watch(parent_fd)
            if unfinished == "pause":
                loop.pause_unfinished()
            write_connection(data_dir, where)
            stack.callback(remove_connection, data_dir)
            notes.info("hub_started", boot=boot, tip=post.tip, unfinished=len(post.runs), control=where.control)
            if on_ready:
                on_ready(where)
            # What is here now stays: full collections need not walk it. They stalled the loop for 30 ms.
            gc.freeze()
            while not (loop.stopping or stop.asked):
                if parent_fd in loop.turn():
                    loop.stopping = True
            loop.finish_turn()
            notes.info("hub_stopped", tip=loop.post.tip, counters=dict(loop.counters))
    except LogBroken as error:
        # What is on disk is unknown now: stop, do not retry.
        notes.error("log_broken", why=str(error))
        return EXIT_BROKEN
    except LogBusy as error:
        raise ConfigError(f"the hub cannot write its log: {error}") from None
    finally:
        log.close()
    return EXIT_OK


def open_doors(
    context: zmq.Context[zmq.Socket[bytes]],
    where: Connection,
    key: HubKey | None,
    keys: Keys | None,
    limits: Limits,
    now: float,
    stack: contextlib.ExitStack,
) -> Doors:
    """Open every way in. Raises ConfigError, with nothing left open."""
    guard = Guard(keys, limits, now) if keys else None
    zap = Zap(context, guard.admit) if guard else None
    ways: list[Endpoints] = [where, *([where.network] if where.network else [])]
    connections = connections_max(limits.connections_max, listening=len(NAMES) * len(ways))
    doors = [Door(0, context, where, limits, connections_max=connections)]
    if where.network:
        doors.append(
            Door(1, context, where.network, limits, connections_max=connections, guard=guard, key=key),
        )
    together = Doors(doors, zap)
    stack.callback(together.close)
    for door in doors:
        door.open()
    if guard and zap and key:
        check_guard(context, doors[-1], guard, zap, key)
    together.listen()
    return together


class Stop:
    """Whether a signal has asked the hub to stop; `descriptor` wakes its poll then."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.asked = False


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """SIGTERM, SIGINT and a closed window end the loop after its turn."""
    reading, writing = socket.socketpair()
    reading.setblocking(False)
    writing.setblocking(False)
    stop = Stop(reading.fileno())
    before_fd = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)

    def ask(_number: int, _frame: object) -> None:
        stop.asked = True

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # Else it was started with nohup, to outlive its window.
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        reading.close()
        writing.close()
