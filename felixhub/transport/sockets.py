"""Every socket and every option of it, each with its reason. The only place where a ZeroMQ option is set.

Owns: how sockets behave. Must not: know what is in a frame.
"""

from __future__ import annotations

from typing import TypeVar

import zmq

from felixhub.core.limits import Limits
from felixhub.transport.keys import Curve, HubKey

ZAP_DOMAIN = b"felixhub"

_S = TypeVar("_S", bound=zmq.Socket[bytes])


def listen(socket: zmq.Socket[bytes], address: str) -> None:
    """Bind. Raises ZMQError."""
    _speak(socket, address)
    socket.bind(address)


def dial(socket: zmq.Socket[bytes], address: str) -> None:
    """Connect. Raises ZMQError for what is no address; for one where nobody is it tries again and again."""
    _speak(socket, address)
    socket.connect(address)


def _speak(socket: zmq.Socket[bytes], address: str) -> None:
    # Only where the address is one of IPv6: of a name it would change which of its addresses is taken.
    if "://[" in address:
        socket.setsockopt(zmq.IPV6, 1)


def _common(socket: _S) -> _S:
    # No HEARTBEAT_IVL: when a peer dies whose messages wait for room here, its timer fails an assertion of libzmq 4.3.5
    # (`!_io_error`) and that ends our process; one client that floods a hub and dies is enough. Our own beats tell who
    # is there. A machine that vanished without a word is the kernel's to notice, within half a minute.
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 10)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 5)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 4)
    # A peer that connects and says nothing holds a descriptor for this long at most.
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5_000)
    # Come back fast, then ever slower, so that a restarted hub is not stormed.
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2_000)
    # Readers owe nobody anything at close.
    socket.setsockopt(zmq.LINGER, 0)
    return socket


def _guarded(socket: _S, key: HubKey | None) -> _S:
    """The hub's end of CURVE: whoever connects must know the hub's public key, and be known by the hub."""
    # A flood of handshakes over the network keeps a thread of ZeroMQ busy: not the one that serves this machine.
    socket.setsockopt(zmq.AFFINITY, 1 if key is None else 2)
    if key is not None:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, key.secret.get_secret_value().encode())
        # A domain alone fails open: without somebody to ask, every key would do. Enforced, none does.
        socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    return socket


def _proving(socket: _S, curve: Curve | None) -> _S:
    """A client's end of CURVE."""
    if curve is not None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server.encode())
        socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret.get_secret_value().encode())
    return socket


def _router(
    context: zmq.Context[zmq.Socket[bytes]], limits: Limits, key: HubKey | None, *, waiting_max: int
) -> zmq.Socket[bytes]:
    socket = _guarded(_common(context.socket(zmq.ROUTER)), key)
    # A plain ROUTER drops what it cannot route without a word; this one says EHOSTUNREACH or EAGAIN.
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    # Beyond this ZeroMQ disconnects the peer before the frame is in our memory.
    socket.setsockopt(zmq.MAXMSGSIZE, limits.frame_bytes_max)
    # Enough for a thousand workers' bursts in one turn; the rest waits at the senders. Of each of those that come over
    # the network less: what waits is in our memory before their allowance is looked at.
    socket.setsockopt(zmq.RCVHWM, 10_000 if key is None else 1_000)
    # What a peer does not read piles up here, then sending says EAGAIN.
    socket.setsockopt(zmq.SNDHWM, waiting_max)
    return socket


def ingest_router(
    context: zmq.Context[zmq.Socket[bytes]], limits: Limits, key: HubKey | None = None
) -> zmq.Socket[bytes]:
    """The hub's end for workers. Assignments that do not fit are sent again on the worker's next beat."""
    return _router(context, limits, key, waiting_max=1_000 if key is None else 100)


def control_router(
    context: zmq.Context[zmq.Socket[bytes]], limits: Limits, key: HubKey | None = None
) -> zmq.Socket[bytes]:
    """The hub's end for clients. 64 pages of 256 KiB are 16 MiB; the next one waits until the client has read."""
    return _router(context, limits, key, waiting_max=64 if key is None else 16)


def live_xpub(context: zmq.Context[zmq.Socket[bytes]], limits: Limits, key: HubKey | None = None) -> zmq.Socket[bytes]:
    """The hub's broadcast. A subscriber that does not keep up loses messages, never anybody's time: no NODROP."""
    socket = _guarded(_common(context.socket(zmq.XPUB)), key)
    if key is not None:
        # What a subscriber asks for is not what it gets: the hub subscribes it to what its key may read.
        socket.setsockopt(zmq.XPUB_MANUAL, 1)
    # Every subscription is reported, identical ones too, so that each new subscriber gets a beat at once.
    socket.setsockopt(zmq.XPUB_VERBOSE, 1)
    socket.setsockopt(zmq.SNDHWM, limits.live_messages_max)
    # A subscriber only sends subscriptions, and ZeroMQ keeps each. The longest topic has 150 bytes.
    socket.setsockopt(zmq.MAXMSGSIZE, 4_096 if key is None else 1_024)
    return socket


def worker_dealer(
    context: zmq.Context[zmq.Socket[bytes]], limits: Limits, curve: Curve | None = None
) -> zmq.Socket[bytes]:
    """A worker's end."""
    socket = _proving(_common(context.socket(zmq.DEALER)), curve)
    # Do not queue for a hub that is not there: stale text would arrive in a burst. The worker keeps what is not
    # acknowledged and sends it again.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    # A farewell may take this long; correctness never depends on it.
    socket.setsockopt(zmq.LINGER, 1_000)
    # An assignment carries documents and other agents' texts; it is the largest message there is.
    socket.setsockopt(zmq.MAXMSGSIZE, 16 * limits.frame_bytes_max)
    return socket


def client_dealer(
    context: zmq.Context[zmq.Socket[bytes]], limits: Limits, curve: Curve | None = None
) -> zmq.Socket[bytes]:
    """A client's end of control."""
    socket = _proving(_common(context.socket(zmq.DEALER)), curve)
    socket.setsockopt(zmq.MAXMSGSIZE, 16 * limits.frame_bytes_max)
    # A command that was sent and whose hub dies is sent again by the client under the same id.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    return socket


def live_sub(
    context: zmq.Context[zmq.Socket[bytes]],
    limits: Limits,
    curve: Curve | None = None,
    *,
    messages_max: int | None = None,
) -> zmq.Socket[bytes]:
    """A subscriber's end. `messages_max` is its own buffer; what does not fit is lost here and repaired."""
    socket = _proving(_common(context.socket(zmq.SUB)), curve)
    # Above SNDHWM a SUB silently drops its own subscriptions, on reconnecting too. Zero means no limit.
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, messages_max or limits.live_messages_max)
    # A result of control characters takes six bytes each as JSON.
    socket.setsockopt(zmq.MAXMSGSIZE, 4 * limits.frame_bytes_max)
    return socket
