"""FelixHub: a live bus for teams of LLM agents.

    for event in felixhub.subscribe():
        if event.kind == "thought.partial":
            print(event.agent, event.text, end="")

    with felixhub.connect() as hub:
        hub.steer("memo-1a2b3c", agent="critic", wrong="it repeats itself")

Owns: the public names. Each is imported when it is first used, so that `import felixhub` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from felixhub.version import __version__

if TYPE_CHECKING:
    from felixhub.core.board import Board
    from felixhub.core.errors import FelixError
    from felixhub.core.events import Event
    from felixhub.core.follower import Reset, RunGone
    from felixhub.transport.address import NoHub
    from felixhub.transport.control import ControlClient, HubRefused, connect
    from felixhub.transport.subscriber import Subscriber, Subscription, subscribe
    from felixhub.worker.sdk import Reasoning, Request

__all__ = [
    "Board",
    "ControlClient",
    "Event",
    "FelixError",
    "HubRefused",
    "NoHub",
    "Reasoning",
    "Request",
    "Reset",
    "RunGone",
    "Subscriber",
    "Subscription",
    "__version__",
    "connect",
    "subscribe",
]

_HOMES = {
    "Board": "felixhub.core.board",
    "ControlClient": "felixhub.transport.control",
    "Event": "felixhub.core.events",
    "FelixError": "felixhub.core.errors",
    "HubRefused": "felixhub.transport.control",
    "NoHub": "felixhub.transport.address",
    "Reasoning": "felixhub.worker.sdk",
    "Request": "felixhub.worker.sdk",
    "Reset": "felixhub.core.follower",
    "RunGone": "felixhub.core.follower",
    "Subscriber": "felixhub.transport.subscriber",
    "Subscription": "felixhub.transport.subscriber",
    "connect": "felixhub.transport.control",
    "subscribe": "felixhub.transport.subscriber",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"felixhub has no '{name}'")
    return getattr(import_module(_HOMES[name]), name)
