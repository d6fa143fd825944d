"""NATS core (keeps nothing) and JetStream in files, with its default sync and with `sync_interval: always`.

Followed: JetStream publishes asynchronously with at most `publish_async_max_pending` unacknowledged, the client's
default (nats.py; its documentation says that waiting for each acknowledgement is slow); each subscriber has an ordered
consumer, which the documentation names for a client that wants all of a stream in order (no acknowledgements, kept in
memory, made anew at a gap); core publishes into the client's buffer and flushes at the end. File storage, one replica.
The default sync is one fsync in two minutes, so what was acknowledged before may be lost when the machine fails;
`always` exists from nats-server 2.10 on. One subject, one stream: what a run is for FelixHub. The clients run on uvloop
where it is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.peers.peer import (
    AsyncPublisher,
    Peer,
    Server,
    free_port,
    installed,
    listens,
    loop_factory,
    package_versions,
    running_program,
)
from benchmarks.peers.work import Said, Tally

SUBJECT = "run.bench"
STREAM = "bench"
WINDOW = 4_000
LOOK_S = 0.02
ALWAYS_SINCE = (2, 10)
PATIENCE_S = 60.0


def program() -> str | None:
    """The server that `benchmarks.peers.install` put beside Python, else the one of the system."""
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.is_file() else shutil.which("nats-server")


def program_version() -> str:
    said = subprocess.run([str(program()), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v(\d+\.\d+\.\d+\S*)", said)
    return found[1] if found else said.strip()


class Nats(Peer):
    name: ClassVar[str] = "NATS core"
    durable: ClassVar[str] = "no"
    window: ClassVar[str] = "the client's buffer"
    jetstream: ClassVar[str | None] = None

    def missing(self) -> str | None:
        if program() is None:
            return "nats-server (Debian: nats-server)"
        return None if installed("nats") else "the bench extra (nats-py)"

    def versions(self) -> str:
        clients = package_versions("nats-py", *(["uvloop"] if installed("uvloop") else []))
        return f"nats-server {program_version()}, {clients}"

    @contextlib.contextmanager
    def server(self, directory: Path) -> Iterator[Server]:
        port = free_port()
        lines = [f"listen: 127.0.0.1:{port}"]
        if self.jetstream is not None:
            lines.append(f'jetstream {{ store_dir: "{directory}/jetstream"\n{self.jetstream} }}')
        configuration = directory / "nats.conf"
        configuration.write_text("\n".join(lines) + "\n")
        url = f"nats://127.0.0.1:{port}"
        arguments = [str(program()), "-c", str(configuration)]
        with running_program(arguments, directory / "nats.log", lambda: listens(port)) as child:
            if self.jetstream is not None:
                asyncio.run(_make_stream(url))
            yield Server(url, [child.pid])

    def publisher(self, address: Any, agents: int) -> AsyncPublisher:
        return _Core(address, agents)

    def subscribe(self, address: Any, tally: Tally) -> None:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(self._subscribe(address, tally))

    async def _subscribe(self, address: str, tally: Tally) -> None:
        import nats

        async def take(message: Any) -> None:
            tally.take(message.data)

        client = await nats.connect(address)
        if self.jetstream is None:
            await client.subscribe(SUBJECT, cb=take)
        else:
            await client.jetstream().subscribe(SUBJECT, stream=STREAM, cb=take, ordered_consumer=True)
        await client.flush()
        tally.ready()
        while not tally.over():  # noqa: ASYNC110 - a pipe to another process has no event to wait for
            await asyncio.sleep(LOOK_S)


class JetStream(Nats):
    name: ClassVar[str] = "NATS JetStream, default sync"
    durable: ClassVar[str] = "an fsync every 2 min"
    window: ClassVar[str] = f"{WINDOW:,}"
    jetstream: ClassVar[str | None] = ""

    def publisher(self, address: Any, agents: int) -> AsyncPublisher:
        return _Jet(address, agents)


class JetStreamAlways(JetStream):
    name: ClassVar[str] = "NATS JetStream, sync always"
    durable: ClassVar[str] = "fsync before the acknowledgement"
    jetstream: ClassVar[str | None] = "sync_interval: always"

    def missing(self) -> str | None:
        if (without := super().missing()) is not None:
            return without
        if tuple(map(int, program_version().split(".")[:2])) < ALWAYS_SINCE:
            return f"nats-server 2.10 or later: {program_version()} has no sync_interval"
        return None


async def _make_stream(url: str) -> None:
    import nats
    from nats.js.api import StorageType

    client = await nats.connect(url)
    await client.jetstream().add_stream(name=STREAM, subjects=[SUBJECT], storage=StorageType.FILE, num_replicas=1)
    await client.close()


class _Core(AsyncPublisher):
    def __init__(self, url: str, agents: int) -> None:
        super().__init__(agents)
        self.runner.run(self._connect(url))

    async def _connect(self, url: str) -> None:
        import nats

        self.client = await nats.connect(url)

    async def send(self, batch: list[Said]) -> None:
        for said in batch:
            await self.client.publish(SUBJECT, self.texts.encode(said))
        await asyncio.sleep(0)  # Lets the client's flusher write.

    async def settle(self) -> None:
        await self.client.flush(int(PATIENCE_S))


class _Jet(_Core):
    async def _connect(self, url: str) -> None:
        await super()._connect(url)
        self._jetstream = self.client.jetstream(publish_async_max_pending=WINDOW)
        self._failures: list[BaseException] = []

    async def send(self, batch: list[Said]) -> None:
        for said in batch:
            future = await self._jetstream.publish_async(SUBJECT, self.texts.encode(said))
            future.add_done_callback(self._note)
        await asyncio.sleep(0)

    def _note(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self._failures.append(error)

    async def settle(self) -> None:
        await asyncio.wait_for(self._jetstream.publish_async_completed(), PATIENCE_S)
        if self._failures:
            raise RuntimeError(f"JetStream refused {len(self._failures)} messages: {self._failures[0]}")
