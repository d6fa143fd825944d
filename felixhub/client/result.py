"""What a run has come to, as one value.

Owns: the shape, and what of it an event says. Must not: judge a run (the core has done it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from felixhub.core.events import RunCancelled, RunEnded, RunFailed, RunFinished, Usage

Status = Literal["finished", "degraded", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class RunResult:
    """`text` is the result as Markdown, "" when there is none (`failed`, `cancelled`); `error` then says why.

    `degraded` holds a sentence for each thing that is not as it should be; `status` is then `degraded`. `seconds` are
    wall seconds from the start to the end, `usage` the tokens of all thoughts.
    """

    run: str
    status: Status
    text: str
    degraded: tuple[str, ...]
    error: str
    seconds: float
    usage: Usage

    @property
    def ok(self) -> bool:
        """Whether there is a result, degraded or not."""
        return self.status in ("finished", "degraded")

    @classmethod
    def of(cls, event: RunEnded) -> RunResult:
        match event:
            case RunFinished():
                status: Status = "degraded" if event.degraded else "finished"
                text, degraded, error = event.result, event.degraded, ""
            case RunFailed():
                status, text, degraded, error = "failed", "", (), event.error
            case RunCancelled():
                status, text, degraded, error = "cancelled", "", (), f"cancelled by {event.by}"
        return cls(event.run, status, text, degraded, error, event.seconds, event.usage)
