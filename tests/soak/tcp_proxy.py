"""A TCP proxy in front of a hub's three ports, whose weather can be made bad.

Owns: carrying bytes, and cutting, delaying, throttling, half-closing and withholding them. A loop in a thread of its
own; its methods may be called from any thread. Bytes are never changed, reordered or dropped within a connection: that
is what TCP promises. They are lost only with their connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

CHUNK_BYTES = 16_384


@dataclass(frozen=True)
class Weather:
    """How bytes are carried from now on."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0  # 0: as fast as they come
    black_hole: bool = False  # nothing is carried; connections stay, new ones come to nothing
    refuse: bool = False  # new connections are closed at once


CLEAR = Weather()


class Proxy:
    def __init__(self, targets: dict[str, int], *, seed: int = 0) -> None:
        """`targets`: the port of the hub for each name; `ports` then says which one stands in front of it."""
        self.ports: dict[str, int] = {}
        self.carried: Counter[str] = Counter()
        self._weather: dict[str, Weather] = dict.fromkeys(targets, CLEAR)
        self._changed: asyncio.Event | None = None
        self._pairs: dict[str, set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]]] = {n: set() for n in targets}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Future[None]] = set()  # aborted: a socket is closed a turn later
        self._dice = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._servers: list[asyncio.Server] = []
        try:
            self._call(self._open(targets))
        except BaseException:
            self.close()
            raise

    # ---- from any thread ---------------------------------------------------------------------------------------------

    def set(self, weather: Weather, *names: str) -> None:
        """For these listeners, or for all."""

        async def change() -> None:
            self._weather.update(dict.fromkeys(names or self._weather, weather))
            assert self._changed is not None
            self._changed.set()
            self._changed = asyncio.Event()

        self._call(change())

    def heal(self) -> None:
        self.set(CLEAR)

    def cut(self, *names: str) -> int:
        """Close every connection there is, without a farewell; returns how many."""
        return self._each_pair(names, lambda writer: writer.transport.abort())

    def half_close(self, *names: str) -> int:
        """End one direction of every connection and leave the other; returns how many."""
        return self._each_pair(names, _end_writing, first_only=True)

    @property
    def connections(self) -> int:
        return sum(len(pairs) for pairs in self._pairs.values())

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5.0)
        self._loop.close()

    # ---- in the loop -------------------------------------------------------------------------------------------------

    def _call(self, work):  # type: ignore[no-untyped-def]
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)

    async def _open(self, targets: dict[str, int]) -> None:
        self._changed = asyncio.Event()
        for name, target in targets.items():

            def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = name, target: int = target
            ) -> None:
                task = self._loop.create_task(self._carry_both(name, target, reader, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

            server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=CHUNK_BYTES)
            self._servers.append(server)
            self.ports[name] = server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        """Leave no socket open: who is just being accepted must have come in before the door is closed."""
        for server in self._servers:
            for listening in server.sockets:
                self._loop.remove_reader(listening.fileno())
        for _ in range(10):
            await asyncio.sleep(0)
        for server in self._servers:
            server.close()
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _carry_both(
        self, name: str, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One connection, from its coming to its end."""
        onward: asyncio.StreamWriter | None = None
        pair = None
        try:
            while self._weather[name].black_hole:
                await self._wait_for_change()
            if self._weather[name].refuse:
                writer.transport.abort()
                return
            back, onward = await asyncio.open_connection("127.0.0.1", target, limit=CHUNK_BYTES)
            pair = (writer, onward)
            self._pairs[name].add(pair)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(name, reader, onward))
                group.create_task(self._carry(name, back, writer))
        except (OSError, ExceptionGroup):
            pass  # The hub is away, or one side went: the other is hung up on below.
        finally:
            if pair is not None:
                self._pairs[name].discard(pair)
            for one in (writer, onward):
                if one is not None:
                    one.transport.abort()
                    closing = asyncio.ensure_future(one.wait_closed())
                    self._closing.add(closing)
                    closing.add_done_callback(self._forget)

    def _forget(self, closed: asyncio.Future[None]) -> None:
        self._closing.discard(closed)
        if not closed.cancelled():
            closed.exception()  # Taken note of: how a connection ended that was cut is nobody's trouble.

    async def _carry(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction, until its end is passed on."""
        while data := await reader.read(CHUNK_BYTES):
            while self._weather[name].black_hole:
                await self._wait_for_change()
            weather = self._weather[name]
            pause_s = weather.delay_s + self._dice.uniform(0.0, weather.jitter_s)
            if weather.bytes_per_s:
                pause_s += len(data) / weather.bytes_per_s
            if pause_s:
                # Better weather ends the pause.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wait_for_change()
            writer.write(data)
            await writer.drain()
            self.carried[name] += len(data)
        _end_writing(writer)

    async def _wait_for_change(self) -> None:
        assert self._changed is not None
        await self._changed.wait()

    def _each_pair(
        self, names: tuple[str, ...], act: Callable[[asyncio.StreamWriter], None], *, first_only: bool = False
    ) -> int:
        async def all_of_them() -> int:
            count = 0
            for name in names or tuple(self._pairs):
                for pair in list(self._pairs[name]):
                    count += 1
                    for writer in pair[:1] if first_only else pair:
                        act(writer)
            return count

        count: int = self._call(all_of_them())
        return count


def _end_writing(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        if writer.can_write_eof() and not writer.transport.is_closing():
            writer.write_eof()
