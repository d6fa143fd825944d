"""AutoGen's gRPC runtime: a host, and worker runtimes that publish to a topic and subscribe to it.

Followed: its page on the distributed agent runtime: `GrpcWorkerAgentRuntimeHost` in a process of its own, a
`GrpcWorkerAgentRuntime` in each other process, an agent type of its own for each subscriber with a `TypeSubscription`
to the topic, `publish_message` to it. Logging stays at its default level. Nothing is kept, and there is no window:
`publish_message` returns before the message is sent, so the publisher lets its loop run after every batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.harness import Child
from benchmarks.peers.peer import AsyncPublisher, Peer, Server, free_port, installed, listens, package_versions
from benchmarks.peers.work import Said, Tally

TOPIC = "partials"
RUN = "bench"
LOOK_S = 0.02
DELIVERIES_MAX = 12_000


class AutoGen(Peer):
    name: ClassVar[str] = "AutoGen gRPC runtime"
    durable: ClassVar[str] = "no"
    window: ClassVar[str] = "none"
    deliveries_max: ClassVar[int] = DELIVERIES_MAX

    def missing(self) -> str | None:
        return None if installed("autogen_core", "autogen_ext", "grpc") else "the bench extra (autogen-ext[grpc])"

    def versions(self) -> str:
        return package_versions("autogen-core", "autogen-ext", "grpcio")

    @contextlib.contextmanager
    def server(self, directory: Path) -> Iterator[Server]:  # noqa: ARG002 - it keeps nothing
        address = f"127.0.0.1:{free_port()}"
        with Child(host_main, address) as child:
            child.ask()
            yield Server(address, [child.pid])

    def publisher(self, address: Any, agents: int) -> AsyncPublisher:
        return _Publishing(address, agents)

    def subscribe(self, address: Any, tally: Tally) -> None:
        asyncio.run(_subscribe(address, tally))


def host_main(pipe: Pipe, address: str) -> None:
    async def serve() -> None:
        from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntimeHost

        host = GrpcWorkerAgentRuntimeHost(address=address)
        host.start()
        while not listens(int(address.rsplit(":", 1)[1])):  # noqa: ASYNC110 - `start` does not say when it is done
            await asyncio.sleep(LOOK_S)
        pipe.send(None)
        await host.stop_when_signal(grace=0)

    asyncio.run(serve())


async def _subscribe(address: str, tally: Tally) -> None:
    from autogen_core import TypeSubscription
    from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime

    from benchmarks.peers.autogen_viewer import Viewer

    kind = f"viewer-{os.getpid()}"
    runtime = GrpcWorkerAgentRuntime(host_address=address)
    await runtime.start()
    await Viewer.register(runtime, kind, lambda: Viewer(tally))
    await runtime.add_subscription(TypeSubscription(topic_type=TOPIC, agent_type=kind))
    tally.ready()
    while not tally.over():  # noqa: ASYNC110 - a pipe to another process has no event to wait for
        await asyncio.sleep(LOOK_S)
    await runtime.stop()


class _Publishing(AsyncPublisher):
    def __init__(self, address: str, agents: int) -> None:
        super().__init__(agents)
        self.runner.run(self._connect(address))

    async def _connect(self, address: str) -> None:
        from autogen_core import TopicId, try_get_known_serializers_for_type
        from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime

        from benchmarks.peers.autogen_viewer import Line

        self._line = Line
        self._topic = TopicId(TOPIC, RUN)
        self._runtime = GrpcWorkerAgentRuntime(host_address=address)
        self._runtime.add_message_serializer(try_get_known_serializers_for_type(Line))
        await self._runtime.start()

    async def send(self, batch: list[Said]) -> None:
        for said in batch:
            await self._runtime.publish_message(self._line(self.texts.encode(said).decode()), self._topic)
            await asyncio.sleep(0)

    async def settle(self) -> None:
        # There is nothing to wait for: it says neither when a message is sent nor when it has arrived. The runtime's
        # tasks only run while this loop does, so it is given the time to hand over what is waiting.
        while self._runtime._background_tasks or not self._runtime._host_connection._send_queue.empty():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        await asyncio.sleep(5 * LOOK_S)
