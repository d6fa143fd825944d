"""The gateway as a process: its socket, its loop, its signals.

Owns: that a port in use is said in a sentence, and that Ctrl-C ends it at once with pages open. Must not: know routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn

from felixhub.core.errors import ConfigError
from felixhub.logs import get_log
from felixhub.views.web import bounds
from felixhub.views.web.app import application
from felixhub.views.web.gateway import WebOptions
from felixhub.views.web.guard import Guard
from felixhub.views.web.patience import Connection

STOP_S_MAX = 2  # for open requests to end after a signal
BACKLOG = 1_024


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening(host: str, port: int, *, or_any: bool = False) -> socket.socket:
    """A socket that listens, with `or_any` on any free port when this one is in use. Raises ConfigError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(f"--host {host} is not an address of this machine: {error.strerror}") from None
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, bounds.SOCKET_BYTES_MAX)  # Accepted ones inherit it.
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE and or_any:
            return listening(host, 0)
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port {port} is in use: choose another with --port, or 0 for any free one") from None
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    made.setblocking(False)
    return made


class _Server(uvicorn.Server):
    """uvicorn's, but a signal ends the streams at once, and is not raised again when all has ended."""

    def __init__(self, config: uvicorn.Config, *, ready: Callable[[], None], stop: Callable[[], None]) -> None:
        super().__init__(config)
        self.signal: int | None = None
        self._ready = ready
        self._stop = stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.signal = self.signal or sig
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # Else it was started with nohup, to outlive its window.
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stop()
        await super().shutdown(sockets)


class _Told(logging.Handler):
    """What uvicorn has to say goes where our log goes."""

    def emit(self, record: logging.LogRecord) -> None:
        get_log("web").warning("server", message=record.getMessage(), exc_info=record.exc_info)


def serve(options: WebOptions, sockets: list[socket.socket], *, ready: Callable[[], None]) -> int | None:
    """Serve until a signal comes, and return it."""
    app = application(options)
    config = uvicorn.Config(
        Guard(app, options),
        log_config=None,
        access_log=False,  # There may be a token in an address.
        lifespan="on",
        http=Connection,
        ws="none",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=STOP_S_MAX,
        limit_concurrency=bounds.CONNECTIONS_MAX,
    )
    server = _Server(config, ready=ready, stop=lambda: app.state.gateway.stop())

    said = logging.getLogger("uvicorn")
    said.handlers, said.propagate = [_Told(logging.WARNING)], False
    asyncio.run(server.serve(sockets))
    return server.signal
