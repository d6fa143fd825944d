"""The worker process: agents by name, the way to the hub and to the models, and signals.

Owns: putting the parts together. Must not: import anything heavy before it is needed; `preload` does that for a
fork server, whose children then start at once.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import NoReturn

from felixhub.core.limits import DEFAULT_LIMITS, Limits
from felixhub.core.messages import Assign
from felixhub.transport.address import Connection
from felixhub.worker.items import Item
from felixhub.worker.llm_agent import KeyAllowed, LlmAgents, Resolve, nowhere
from felixhub.worker.sdk import Program, agent_file, load_agent, request_of, run_program
from felixhub.worker.session import EXIT_OK, FENCED_EXIT, REFUSED_EXIT, Session

__all__ = ["EXIT_OK", "FENCED_EXIT", "REFUSED_EXIT", "leave", "preload", "run_agents"]

HEAVY = ("openai", "openai.resources.chat", "felixhub.llm.client")


def run_agents(
    agents: Sequence[str],
    *,
    hub: Callable[[], Connection],
    resolve: Resolve,
    agents_dirs: Sequence[Path],
    key_allowed: KeyAllowed = nowhere,
    limits: Limits = DEFAULT_LIMITS,
    parent_fd: int | None = None,
) -> int:
    """Run these agents until told to stop; returns the exit code.

    `hub` says where the hub is now and raises FelixError while there is none, `resolve` the model endpoint of a
    name, `key_allowed` whether FELIXHUB_LLM_KEY may go to a URL. A card says which agents are programs; theirs are
    `<name>.py` in the first of `agents_dirs` that has it. `parent_fd`: end when it is readable or closed at its other
    end. Exit codes: `EXIT_OK`; `FENCED_EXIT` while another worker has these agents; `REFUSED_EXIT` for good.
    """
    models = LlmAgents(resolve, key_allowed=key_allowed)
    programs = _Programs(agents_dirs)

    def think(assign: Assign) -> AsyncGenerator[Item, None]:
        return programs.think(assign) if assign.card.program else models.think(assign)

    session = Session(agents, hub=hub, think=think, close_models=models.aclose, limits=limits, parent_fd=parent_fd)
    with _stop_signals(session):
        return session.run()


def preload() -> None:
    """Import what the first answer of a model would import."""
    for name in HEAVY:
        importlib.import_module(name)


def leave(code: int) -> NoReturn:
    """End the process at once, even if a user's code still runs in a thread that nothing can stop."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class _Programs:
    """The users' own agents, each loaded when it is first needed and again when its file has changed."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._loaded: dict[str, tuple[int, Program]] = {}

    async def think(self, assign: Assign) -> AsyncGenerator[Item, None]:
        folder = next((one for one in self._folders if agent_file(assign.agent, one).exists()), self._folders[0])
        file = agent_file(assign.agent, folder)
        changed_at = file.stat().st_mtime_ns if file.exists() else 0
        known = self._loaded.get(assign.agent)
        if known is None or known[0] != changed_at:
            known = (changed_at, load_agent(assign.agent, folder))
            self._loaded[assign.agent] = known
        async with aclosing(run_program(known[1], request_of(assign), file)) as items:
            async for item in items:
                yield item


@contextmanager
def _stop_signals(session: Session) -> Iterator[None]:
    """SIGTERM and SIGINT end the worker politely. What is ignored stays so: Ctrl-C is the supervisor's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: object) -> None:
        session.stop()

    numbers = [n for n in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
