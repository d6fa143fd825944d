"""Starts that need something first: the result of an earlier run, or passages of documents too large for a prompt.

The search goes on in a thread of its own, since indexing megabytes would stop the loop; the start is decided when it is
done.
Owns: what is under way for whom. Must not: decide whether a run may start (the core does).
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import NamedTuple

from felixhub.core import starting
from felixhub.core.central_post import CentralPost
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import Passage
from felixhub.core.limits import Limits
from felixhub.core.messages import Start
from felixhub.core.starting import Prepared, Search
from felixhub.documents.passages import find_passages
from felixhub.hub.queries import Queries

Passages = dict[str, tuple[Passage, ...]]  # by stage

SEARCHES_MAX = 16  # under way at once; each holds its documents in memory


class Ready(NamedTuple):
    """A start that can be decided now. `fault`: our search failed."""

    identity: bytes
    request: Start
    prepared: Prepared
    fault: BaseException | None = None


class _Under(NamedTuple):
    identity: bytes
    request: Start
    earlier: str | None
    found: Future[Passages]


class Starts:
    def __init__(self, queries: Queries, limits: Limits) -> None:
        self._queries = queries
        self._limits = limits
        self._wanted: queue.SimpleQueue[tuple[Search, Future[Passages]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._under: dict[str, _Under] = {}

    def __len__(self) -> int:
        return len(self._under)

    def take(self, identity: bytes, request: Start, post: CentralPost) -> Prepared | None:
        """What the start needs, or None: it is being searched for, see `ready`. Raises ProtocolViolation."""
        if request.id in post.runs:
            return starting.UNPREPARED  # A repeat, which the core answers.
        under = self._under.get(request.id)
        if under is not None:
            if under.request != request:
                raise ProtocolViolation("id_reused", f"the id '{request.id}' belongs to another start", field="id")
            self._under[request.id] = under._replace(identity=identity)  # It asks again: it may have reconnected.
            return None
        starting.check(post.memory, request)
        earlier = self._queries.result_of(request.after, post) if request.after is not None else None
        search = starting.to_search(request, self._limits, earlier)
        if search is None:
            return Prepared(earlier=earlier)
        if len(self._under) >= SEARCHES_MAX:
            raise ProtocolViolation("busy", f"{len(self._under)} runs are being prepared: ask again in a moment")
        found: Future[Passages] = Future()
        self._under[request.id] = _Under(identity, request, earlier, found)
        self._wanted.put((search, found))
        if self._thread is None:
            # A daemon: a hub that is told to stop does not wait for it.
            self._thread = threading.Thread(target=_search, args=(self._wanted,), name="search", daemon=True)
            self._thread.start()
        return None

    def ready(self) -> list[Ready]:
        """The starts whose search is done."""
        done = [under for under in self._under.values() if under.found.done()]
        for under in done:
            del self._under[under.request.id]
        return [self._ready(under) for under in done]

    def _ready(self, under: _Under) -> Ready:
        fault = under.found.exception()
        passages = {} if fault else under.found.result()
        return Ready(under.identity, under.request, Prepared(passages, under.earlier), fault)


def _search(wanted: queue.SimpleQueue[tuple[Search, Future[Passages]]]) -> None:
    while True:
        search, found = wanted.get()
        try:
            found.set_result(find_passages(search.documents, search.queries))
        except Exception as error:  # noqa: BLE001  (told to the loop, which says it to the client and the log)
            found.set_exception(error)
