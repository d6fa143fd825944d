"""At every start a hub tries its own lock: a key that it knows must open it, one that it does not must not.

ZeroMQ's authentication fails open in more than one way, and none of them can be seen from what was configured.
Owns: the two tries. Must not: be skipped.
"""

from __future__ import annotations

import time
from typing import Literal

import zmq
from zmq.utils.monitor import recv_monitor_message

from felixhub.core.errors import ConfigError
from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.hub.door import Door
from felixhub.hub.guard import Guard
from felixhub.hub.zap import Zap
from felixhub.transport.keys import Curve, HubKey, new_pair
from felixhub.transport.sockets import client_dealer, dial

WAIT_S = 5.0
EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH

Verdict = Literal["admitted", "refused", "no answer"]


def check_guard(context: zmq.Context[zmq.Socket[bytes]], door: Door, guard: Guard, zap: Zap, key: HubKey) -> None:
    """Raises ConfigError, before anybody is served, unless the door tells keys apart."""
    public, secret = new_pair()
    pair = Curve(server=key.public, public=public, secret=secret)
    with guard.for_a_moment(public):
        known = _try(context, door, zap, pair)
    unknown = _try(context, door, zap, pair)
    if (known, unknown) != ("admitted", "refused"):
        raise ConfigError(
            f"the hub's lock does not work: a known key was answered with '{known}' and an unknown one with "
            f"'{unknown}'; it does not listen on {door.where.control}. Start it without --listen, and report this"
        )


def _try(context: zmq.Context[zmq.Socket[bytes]], door: Door, zap: Zap, pair: Curve) -> Verdict:
    socket = client_dealer(context, DEFAULT_LIMITS, pair)
    monitor = socket.get_monitor_socket(EVENTS)
    address = door.control.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(address, bytes)
    try:
        dial(socket, _loopback(address.rstrip(b"\0").decode()))
        poller = zmq.Poller()
        for one in (monitor, zap.socket):
            poller.register(one, zmq.POLLIN)
        deadline = time.monotonic() + WAIT_S
        while (left := deadline - time.monotonic()) > 0:
            ready = dict(poller.poll(int(left * 1000) + 1))
            if zap.socket in ready:
                zap.answer()
            if monitor in ready:
                told = recv_monitor_message(monitor)
                return "admitted" if told["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED else "refused"
        return "no answer"
    finally:
        socket.disable_monitor()
        monitor.close()
        socket.close()


def _loopback(address: str) -> str:
    """An address that listens on all of a machine's is reached on this one."""
    return address.replace("tcp://0.0.0.0:", "tcp://127.0.0.1:").replace("tcp://[::]:", "tcp://[::1]:")
