"""What an agent yields while it thinks, and how its thinking ends. Values only.

str | Reasoning | Throttled …, then Whole, Broken or Stopped
"""

from __future__ import annotations

from dataclasses import dataclass

from felixhub.core.events import Reason, Usage


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Text that an agent thinks to itself: shown apart, kept, and not part of its thought."""

    text: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """The endpoint answered 429; the hub gives it less to do for a while."""

    endpoint: str
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Whole:
    """The agent has said all it had to say. `truncated`: its model hit its own limit of tokens.

    `model`: the one that answered, as its server calls it.
    """

    finish_reason: str = "stop"
    model: str = ""
    truncated: bool = False
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """The agent failed. `lasting`: another attempt would fail the same way."""

    reason: Reason
    error: str
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """The agent was stopped by us."""


Item = str | Reasoning | Throttled | Whole
End = Whole | Broken | Stopped
