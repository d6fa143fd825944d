"""How fast the offline model writes in a test which is about what happens at the same time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from felixhub.llm.offline import OfflineModel


@contextlib.contextmanager
def all_at_once(model: OfflineModel, count: int, *, after: int = 0) -> Iterator[None]:
    """Once it was asked `after` times it dawdles until so many ask at the same time: it does not matter how soon each
    of them comes."""
    pace = model.tokens_per_s
    over = threading.Event()

    def asked() -> int:
        return sum(request.path.endswith("/chat/completions") for request in list(model.requests))

    def wait() -> None:
        while after and asked() <= after and not over.wait(0.01):
            pass
        model.tokens_per_s = 4.0
        while model.open_requests < count and not over.wait(0.01):
            pass
        model.tokens_per_s = pace

    thread = threading.Thread(target=wait)
    if not after:
        model.tokens_per_s = 4.0
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
