"""FelixHub: a live bus for teams of LLM agents.

    run = felixhub.start("Compare the two plans")
    for event in run:
        if event.kind == "thought.partial":
            print(event.agent, event.text, end="")
    print(run.wait().text)

    for event in felixhub.subscribe():
        ...

    with felixhub.connect() as hub:
        hub.steer("memo-1a2b3c", agent="critic", wrong="it repeats itself")

Owns: the public names. Each is imported when it is first used, so that `import felixhub` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from felixhub.version import __version__

if TYPE_CHECKING:
    from felixhub.client.result import RunResult
    from felixhub.client.runs import AsyncRunClient, RunClient, attach, attach_async, start, start_async
    from felixhub.core.board import Board
    from felixhub.core.errors import ConfigError, FelixError
    from felixhub.core.events import Event
    from felixhub.core.follower import Reset, RunGone
    from felixhub.transport.address import KeyRefused, NoHub
    from felixhub.transport.control import ControlClient, HubRefused, connect
    from felixhub.transport.subscriber import Subscriber, Subscription, subscribe
    from felixhub.worker.sdk import Reasoning, Request

__all__ = [
    "AsyncRunClient",
    "Board",
    "ConfigError",
    "ControlClient",
    "Event",
    "FelixError",
    "HubRefused",
    "KeyRefused",
    "NoHub",
    "Reasoning",
    "Request",
    "Reset",
    "RunClient",
    "RunGone",
    "RunResult",
    "Subscriber",
    "Subscription",
    "__version__",
    "attach",
    "attach_async",
    "connect",
    "start",
    "start_async",
    "subscribe",
]

_HOMES = {
    "AsyncRunClient": "felixhub.client.runs",
    "Board": "felixhub.core.board",
    "ConfigError": "felixhub.core.errors",
    "ControlClient": "felixhub.transport.control",
    "Event": "felixhub.core.events",
    "FelixError": "felixhub.core.errors",
    "HubRefused": "felixhub.transport.control",
    "KeyRefused": "felixhub.transport.address",
    "NoHub": "felixhub.transport.address",
    "Reasoning": "felixhub.worker.sdk",
    "Request": "felixhub.worker.sdk",
    "Reset": "felixhub.core.follower",
    "RunClient": "felixhub.client.runs",
    "RunGone": "felixhub.core.follower",
    "RunResult": "felixhub.client.result",
    "Subscriber": "felixhub.transport.subscriber",
    "Subscription": "felixhub.transport.subscriber",
    "attach": "felixhub.client.runs",
    "attach_async": "felixhub.client.runs",
    "connect": "felixhub.transport.control",
    "start": "felixhub.client.runs",
    "start_async": "felixhub.client.runs",
    "subscribe": "felixhub.transport.subscriber",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"felixhub has no '{name}'")
    return getattr(import_module(_HOMES[name]), name)
