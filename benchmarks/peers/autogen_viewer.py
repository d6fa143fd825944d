"""The agent that stands for a subscriber of AutoGen's runtime. Imported only where AutoGen is installed."""

from __future__ import annotations

from dataclasses import dataclass

from autogen_core import MessageContext, RoutedAgent, message_handler

from benchmarks.peers.work import Tally


@dataclass
class Line:
    """One partial, as JSON."""

    body: str


class Viewer(RoutedAgent):
    def __init__(self, tally: Tally) -> None:
        super().__init__("keeps what is said")
        self._tally = tally

    @message_handler
    async def on_line(self, message: Line, ctx: MessageContext) -> None:  # noqa: ARG002 - AutoGen goes by the names
        self._tally.take(message.body)
