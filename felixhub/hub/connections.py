"""How many are connected to a socket, and no more than may be.

ZeroMQ takes every connection until the process has no descriptors left, and then spins. So the hub listens to what its
sockets tell of connections and hangs up on those that are too many; whoever is in already is not touched.
Owns: counting and hanging up. Must not: know who they are.
"""

from __future__ import annotations

import itertools
import resource
import socket as sockets

import zmq
from zmq.utils.monitor import parse_monitor_message

from felixhub.core.errors import ConfigError

EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
DESCRIPTORS_SPARE = 192  # for the log, libraries, and what comes in between two looks
CONNECTIONS_MIN = 16
DESCRIPTORS_WANTED = 65_536


_numbers = itertools.count()


class Connections:
    """Watches one listening socket; made before it is bound."""

    def __init__(self, socket: zmq.Socket[bytes], *, most: int) -> None:
        self._socket = socket
        self._most = most
        self._open: set[int] = set()
        address = f"inproc://connections-{next(_numbers)}"  # ZeroMQ lets go of an old one in its own time
        socket.monitor(address, EVENTS)
        self.monitor = socket.context.socket(zmq.PAIR)
        # Without a limit here: ZeroMQ's own thread would wait for us to read.
        self.monitor.setsockopt(zmq.RCVHWM, 0)
        self.monitor.setsockopt(zmq.LINGER, 0)
        self.monitor.connect(address)

    def __len__(self) -> int:
        return len(self._open)

    def look(self) -> int:
        """Take note of who came and went; hang up on who is too many. Returns how many those were."""
        refused = 0
        while True:
            try:
                told = parse_monitor_message(self.monitor.recv_multipart(zmq.DONTWAIT))
            except zmq.Again:
                return refused
            descriptor = int(told["value"])
            if told["event"] == zmq.EVENT_DISCONNECTED:
                self._open.discard(descriptor)
            elif len(self._open) >= self._most:
                refused += 1
                _hang_up(descriptor)
            else:
                self._open.add(descriptor)

    def close(self) -> None:
        """Before the socket is closed."""
        self._socket.disable_monitor()
        self.monitor.close()


def _hang_up(descriptor: int) -> None:
    """End a connection of ZeroMQ's, which notices as if the other end had gone. Needs no descriptor of its own.

    The number may be another connection's by now; then that one ends, and comes again.
    """
    try:
        connection = sockets.socket(fileno=descriptor)
    except OSError:
        return  # It has gone by itself, or is no connection any more.
    try:
        connection.shutdown(sockets.SHUT_RDWR)
    except OSError:
        return
    finally:
        connection.detach()  # It is ZeroMQ's to close.


def connections_max(wanted: int, *, listening: int) -> int:
    """How many connections each of so many sockets can have: `wanted`, or what this process has descriptors for.

    Raises ConfigError when those are too few to serve anybody: without one left ZeroMQ ends the process.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_WANTED)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    room = DESCRIPTORS_WANTED if soft == resource.RLIM_INFINITY else soft
    least = DESCRIPTORS_SPARE + listening * CONNECTIONS_MIN
    if room < least:
        raise ConfigError(
            f"this process may open {room} files and connections, and a hub needs {least}: raise `ulimit -n`"
        )
    return min(wanted, (room - DESCRIPTORS_SPARE) // listening)
