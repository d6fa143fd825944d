from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_hub import SmallHub

from felixhub.core.limits import Limits
from felixhub.worker.session import Session

FAST = Limits(worker_beat_s=0.2, cancel_grace_s=60.0)


@pytest.fixture
def hub() -> Iterator[SmallHub]:
    with tempfile.TemporaryDirectory(prefix="fh-") as folder:  # Short: an ipc path holds 107 characters.
        one = SmallHub(Path(folder), limits=FAST)
        one.start()
        yield one
        one.close()


class Worker:
    """A session in a thread."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.exit: int | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.exit = self.session.run()

    def join(self, seconds: float = 20.0) -> int | None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the session did not end"
        return self.exit

    def stop(self) -> int | None:
        self.session.stop()
        return self.join()


@pytest.fixture
def work(hub: SmallHub) -> Iterator[Callable[..., Worker]]:
    """`work(think)`: a worker whose one agent `clock` thinks so."""
    workers: list[Worker] = []

    def start(think: Callable[[Any], Any], *, agents: tuple[str, ...] = ("clock",), **options: Any) -> Worker:
        options = {"limits": FAST, "hub": hub.where, **options}
        worker = Worker(Session(agents, think=think, **options))
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.stop()
