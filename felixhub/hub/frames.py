"""The two hot ways over a socket, without what pyzmq's multipart calls look up anew for every frame.

Owns: nothing but speed; measured, either costs half of the call it stands for. Must not: know what is in a frame.
"""

from __future__ import annotations

import zmq

_NOW = int(zmq.DONTWAIT)
_MORE_NOW = int(zmq.SNDMORE | zmq.DONTWAIT)


def receive(router: zmq.Socket[bytes]) -> list[bytes]:
    """As `recv_multipart(DONTWAIT)` of a ROUTER: the sender's identity, then at least one frame. Raises zmq.Again."""
    frames = [router.recv(_NOW)]
    more = True
    while more:
        frame = router.recv(_NOW, copy=False)  # It knows by itself whether another one follows.
        frames.append(frame.bytes)
        more = frame.more
    return frames


def publish(xpub: zmq.Socket[bytes], topic: bytes, body: bytes) -> None:
    """As `send_multipart([topic, body], DONTWAIT)`. Never blocks: for who has no room for it, it is lost."""
    xpub.send(topic, _MORE_NOW)
    xpub.send(body, _NOW)
