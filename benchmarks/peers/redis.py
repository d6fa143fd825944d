"""Redis: pub/sub (keeps nothing) and Streams with `appendfsync always` (in the append-only file before the reply).

Followed: pipelining in batches, reading all replies before the next batch (Redis' page on pipelining; redis-py:
`pipeline(transaction=False)`); a unix socket on the same machine (its page on latency); the C parser hiredis, which
redis-py takes by itself when it is installed; no snapshots (`save ""`) beside the append-only file, so that no fork
disturbs it; `XREAD BLOCK` with COUNT and the last ID for each subscriber, without a group, since everyone reads
everything (its page on Streams); for pub/sub an output buffer that does not disconnect a subscriber that is behind,
which the default would (32 MB). One channel, one stream: what a run is for FelixHub.

While text is paced, what has fallen due since the last reply goes out in the next pipeline.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.peers.peer import BlockingPublisher, Peer, Server, installed, package_versions, running_program
from benchmarks.peers.work import Said, Tally

KEY = "run/bench"
FIELD = b"p"
BATCH = 1_000
READ_MAX = 1_000
BLOCK_MS = 20
PROGRAM = "redis-server"


class _Redis(Peer):
    window: ClassVar[str] = f"pipelines of {BATCH:,}"
    settings: ClassVar[tuple[str, ...]]

    def missing(self) -> str | None:
        if shutil.which(PROGRAM) is None:
            return "redis-server (Debian: redis-tools or redis-server)"
        return None if installed("redis") else "the bench extra (redis)"

    def versions(self) -> str:
        said = subprocess.run([str(shutil.which(PROGRAM)), "--version"], capture_output=True, text=True, check=True)
        server = said.stdout.split("v=")[1].split()[0]
        return f"redis-server {server}, {package_versions('redis', *(['hiredis'] if installed('hiredis') else []))}"

    @contextlib.contextmanager
    def server(self, directory: Path) -> Iterator[Server]:
        path = directory / "redis.sock"
        common = ("--port", "0", "--unixsocket", str(path), "--dir", str(directory), "--save", "", "--daemonize", "no")
        arguments = [str(shutil.which(PROGRAM)), *common, *self.settings]
        with running_program(arguments, directory / "redis.log", lambda: _answers(path)) as child:
            yield Server(str(path), [child.pid])


def _answers(path: Path) -> bool:
    import redis

    with contextlib.suppress(redis.RedisError), redis.Redis(unix_socket_path=str(path)) as client:
        return bool(client.ping())
    return False


class RedisPubSub(_Redis):
    name: ClassVar[str] = "Redis pub/sub"
    durable: ClassVar[str] = "no"
    settings: ClassVar[tuple[str, ...]] = ("--appendonly", "no", "--client-output-buffer-limit", "pubsub 0 0 0")

    def publisher(self, address: Any, agents: int) -> BlockingPublisher:
        return _Publishing(address, agents)

    def subscribe(self, address: Any, tally: Tally) -> None:
        import redis

        with redis.Redis(unix_socket_path=address) as client, client.pubsub(ignore_subscribe_messages=True) as reader:
            reader.subscribe(KEY)
            reader.get_message(timeout=5.0)  # The confirmation; it is ignored, so this gives None.
            tally.ready()
            while not tally.over():
                for _ in range(READ_MAX):
                    message = reader.get_message(timeout=BLOCK_MS / 1000)
                    if message is None:
                        break
                    tally.take(message["data"])


class RedisStreams(_Redis):
    name: ClassVar[str] = "Redis Streams, appendfsync always"
    durable: ClassVar[str] = "fsync before the reply"
    settings: ClassVar[tuple[str, ...]] = ("--appendonly", "yes", "--appendfsync", "always")

    def publisher(self, address: Any, agents: int) -> BlockingPublisher:
        return _Adding(address, agents)

    def subscribe(self, address: Any, tally: Tally) -> None:
        import redis

        with redis.Redis(unix_socket_path=address) as client:
            tally.ready()  # It reads from the stream's first entry.
            last: bytes | str = "0"
            while not tally.over():
                answer = client.xread({KEY: last}, count=READ_MAX, block=BLOCK_MS)
                if not answer:
                    continue
                entries = _entries(answer)
                for _, fields in entries:
                    tally.take(fields[FIELD])
                last = entries[-1][0]


def _entries(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of one stream's answer; redis-py gives a list or, in RESP3, a dictionary of lists of them."""
    if isinstance(answer, dict):
        (found,) = answer.values()
        return found[0] if found and isinstance(found[0], list) else found  # type: ignore[no-any-return]
    return answer[0][1]  # type: ignore[no-any-return]


class _Pipelined(BlockingPublisher):
    def __init__(self, path: str, agents: int) -> None:
        import redis

        super().__init__(agents)
        self._client = redis.Redis(unix_socket_path=path)
        self._waiting: list[Said] = []

        self._gather = 1

    def flood(self, count: int, seconds_max: float) -> None:
        self._gather = BATCH
        super().flood(count, seconds_max)
        self._gather = 1

    def send(self, batch: list[Said]) -> None:
        self._waiting += batch
        if len(self._waiting) >= self._gather:
            self.settle()

    def settle(self) -> None:
        if not self._waiting:
            return
        pipeline = self._client.pipeline(transaction=False)
        for said in self._waiting:
            self.add(pipeline, self.texts.encode(said))
        self._waiting.clear()
        pipeline.execute()

    def add(self, pipeline: Any, body: bytes) -> None:
        raise NotImplementedError


class _Publishing(_Pipelined):
    def add(self, pipeline: Any, body: bytes) -> None:
        pipeline.publish(KEY, body)


class _Adding(_Pipelined):
    def add(self, pipeline: Any, body: bytes) -> None:
        pipeline.xadd(KEY, {FIELD: body})
