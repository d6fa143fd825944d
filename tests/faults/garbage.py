"""Strangers at a hub's sockets: those who say nothing, half a greeting, garbage, or far too much.

They speak by raw sockets, so that no library of ours is polite for them. Owns: what they say, and how they connect.
Must not: know what the hub should make of it.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import time
from collections.abc import Iterator, Sequence

import zmq

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
CURVE_GREETING = GREETING[:12] + b"CURVE".ljust(20, b"\0") + bytes(32)
UNKNOWN_GREETING = GREETING[:12] + b"ANONYMOUS".ljust(20, b"\0") + bytes(32)


def ready(kind: bytes) -> bytes:
    """The command that ends a handshake without keys."""
    properties = b"".join(
        bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
        for name, value in ((b"Socket-Type", kind), (b"Identity", b""))
    )
    body = b"\x05READY" + properties
    return b"\x04" + bytes([len(body)]) + body


def frame(body: bytes, *, more: bool = False) -> bytes:
    flags = int(more)
    if len(body) < 256:
        return bytes([flags, len(body)]) + body
    return bytes([flags | 2]) + struct.pack(">Q", len(body)) + body


HUGE_FRAME = b"\x02" + struct.pack(">Q", 2**63 - 1) + b"x" * 100
OPENINGS: tuple[bytes, ...] = (  # to each of these the stranger adds nothing and waits
    b"",
    GREETING[:5],
    GREETING[:40],
    b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
    b"\xff" * 200,
    CURVE_GREETING,
    UNKNOWN_GREETING,
    GREETING,
    GREETING + HUGE_FRAME,
    GREETING + ready(b"DEALER") + HUGE_FRAME,
    GREETING + ready(b"PUB") + frame(b"x"),
    GREETING + ready(b"NOSUCH"),
    GREETING + b"\x04\xff" + b"\xffREADY",
)
CONNECT_S = 2.0
DEEP = b"[" * 200_000
GARBAGE: tuple[Sequence[bytes], ...] = (  # messages on a connection that is sound
    (b"",),
    (b"",) * 20,
    (b"{}",) * 20,
    (DEEP,),
    (b'{"type":' * 5_000,),
    (b"\0" * 1_000,),
    (b'{"type":"beat","x":"\xff\xfe\xc0\xaf"}',),
    (b'{"type":17}',),
    (b'{"type":"partial","thought":"t1","offset":-1,"text":7}',),
    (b'{"type":"hello","worker":{"session":"a\\u0000b"},"agents":["a1"]}',),
    (b'{"type":"start","id":"x","workflow":[],"task":{}}',),
    (b'{"type":"replay","id":"x","run":"none","after":1e400}',),
    (b'{"type":"text","id":"x","run":"\\ud800","thought":"t"}',),
    (json.dumps({"type": "runs", "id": "x" * 100_000}).encode(),),
)


def connect(address: str) -> socket.socket:
    """To `tcp://HOST:PORT` or `ipc://PATH`; does not wait for the other side."""
    if address.startswith("ipc://"):
        one = socket.socket(socket.AF_UNIX)
        target: str | tuple[str, int] = address.removeprefix("ipc://")
    else:
        one = socket.socket(socket.AF_INET)
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        target = (host, int(port))
    over = time.monotonic() + CONNECT_S
    try:
        while not _is_connected(one, target):
            if time.monotonic() > over:
                raise TimeoutError(f"no room at {address}")
            time.sleep(0.001)  # As many wait as may; there is a place when the hub has taken one in.
    except OSError:
        one.close()
        raise
    one.setblocking(False)
    return one


def _is_connected(one: socket.socket, target: str | tuple[str, int]) -> bool:
    one.settimeout(CONNECT_S)
    try:
        one.connect(target)
    except BlockingIOError:
        return False
    return True


def shake_hands(one: socket.socket, kind: bytes) -> None:
    """The whole handshake. What is sent before the other side's end of it makes libzmq hang up."""
    one.sendall(GREETING + ready(kind))
    heard = b""
    while b"READY" not in heard:
        more = one.recv(1_000)
        if not more:
            raise ConnectionResetError
        heard += more


@contextlib.contextmanager
def strangers(addresses: Sequence[str], count: int, openings: Sequence[bytes]) -> Iterator[list[socket.socket]]:
    """So many connections in all, which say one of the openings each and stay as long as they are let."""
    with contextlib.ExitStack() as stack:
        connections = []
        for number in range(count):
            with contextlib.suppress(OSError):
                one = stack.enter_context(connect(addresses[number % len(addresses)]))
                connections.append(one)
                one.send(openings[number // len(addresses) % len(openings)])
        yield connections


def say_slowly(address: str, seconds: float) -> None:
    """A greeting, a byte at a time, as long as it is listened to."""
    over = time.monotonic() + seconds
    with contextlib.suppress(OSError), connect(address) as one:
        one.settimeout(1.0)
        for byte in (GREETING + ready(b"DEALER") + frame(b'{"type":"beat"}')) * 10:
            one.send(bytes([byte]))
            if time.monotonic() > over:
                return
            time.sleep(0.02)


def say_at_random(address: str, dice: random.Random, *, times: int) -> None:
    """Random bytes, some of them after a sound handshake."""
    for number in range(times):
        with contextlib.suppress(OSError), connect(address) as one:
            one.settimeout(1.0)
            one.sendall(
                (b"", GREETING + ready(b"DEALER"), GREETING)[number % 3] + dice.randbytes(dice.randint(1, 4_000))
            )


def say_garbage(address: str, dice: random.Random, *, rounds: int) -> int:
    """Messages that are none, by a sound connection; returns how many were taken by ZeroMQ."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    said = 0
    with context, context.socket(zmq.DEALER) as one:
        one.setsockopt(zmq.LINGER, 500)
        one.setsockopt(zmq.SNDTIMEO, 2_000)
        one.connect(address)
        for _ in range(rounds):
            for message in (*GARBAGE, (dice.randbytes(1_000_000),)):
                with contextlib.suppress(zmq.Again):
                    one.send_multipart(list(message))
                    said += 1
    return said


def say_garbage_to_a_publisher(address: str, dice: random.Random) -> None:
    """What is no subscription, from a sound subscriber; whatever ends the connection is followed by another one."""
    for message in (*GARBAGE, (dice.randbytes(1_000_000),), (b"\x07",), (b"\x01", b"\x00"), (b"\x00never",)):
        with contextlib.suppress(OSError), connect(address) as one:
            one.settimeout(1.0)
            *first, last = message
            shake_hands(one, b"SUB")
            one.sendall(b"".join(frame(part, more=True) for part in first) + frame(last))


def subscribe_to_everything(address: str, count: int, *, seconds: float = 15.0) -> bool:
    """So many subscriptions by one subscriber, then some topics of a megabyte each. Whether the hub has taken the
    subscriptions in: the last one is to its beat, which is waited for."""
    taken = False
    with contextlib.suppress(OSError), connect(address) as one:
        one.settimeout(seconds)
        shake_hands(one, b"SUB")
        for first in range(0, count, 1_000):
            one.sendall(b"".join(frame(b"\x01nothing/%d/" % number) for number in range(first, first + 1_000)))
        one.sendall(frame(b"\x01hub/beat/"))
        heard = b""
        while b"hub/beat/" not in heard and (more := one.recv(65_536)):
            heard += more
        taken = b"hub/beat/" in heard
    for _ in range(5):
        with contextlib.suppress(OSError), connect(address) as one:
            one.settimeout(5.0)
            shake_hands(one, b"SUB")
            one.sendall(frame(b"\x01" + b"t" * 1_000_000))
    return taken
