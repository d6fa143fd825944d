"""Ports of one's own: no two tests, whichever of them run at the same time, are given the same one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import tempfile
from pathlib import Path

LOCKS = Path(tempfile.gettempdir()) / f"felixhub-test-ports-{os.getuid()}"
BLOCK = 8  # ports in a row
COUNT = 1_000  # blocks

_held: list[int] = []  # open files: until this process ends, the blocks that it was given are locked


def free_ports(count: int = 3) -> int:
    """The first of so many neighbouring ports.

    They lie below those that the kernel hands out by itself, so none of them goes to somebody's connection either.
    """
    assert count <= BLOCK
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    bottom = _ephemeral_from() - BLOCK * COUNT
    for number in range(COUNT):
        lock = os.open(LOCKS / str(number), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        _held.append(lock)
        first = bottom + number * BLOCK
        if _are_free(range(first, first + count)):
            return first
    raise AssertionError("no free ports")


def _ephemeral_from() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 49_152  # what the standard says


def _are_free(ports: range) -> bool:
    with contextlib.ExitStack() as stack:
        try:
            for port in ports:
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
