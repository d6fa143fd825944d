"""One assignment with everything in it."""

from __future__ import annotations

from typing import Any

from felixhub.core.events import Missing
from felixhub.core.messages import Assign, GivenDocument, GivenThought
from felixhub.core.workflow import Card


def an_assignment(**changes: Any) -> Assign:
    card = Card(name="clock", role="analysis", prompt="Be exact.", tokens_max=300)
    whole: dict[str, Any] = {
        "run": "r1",
        "thought": "t4",
        "agent": "clock",
        "attempt": 1,
        "stage": "one",
        "checkpoint": 0.3,
        "card": card,
        "task": "What time is it?",
        "endpoint": "local",
        "model": None,
        "temperature": 0.5,
        "batch_interval_s": 0.05,
        "streaming": True,
        "own": "Earlier I said eleven.",
        "context": (
            GivenThought(thought="t1", agent="sundial", confidence=0.4, text="The shadow is short."),
            GivenThought(thought="t2", agent="hourglass", confidence=0.5, truncated=True, text="Half of the sa"),
        ),
        "missing": (Missing(agent="cuckoo", why="llm_error: it flew away"),),
        "documents": (GivenDocument(name="manual.md", text="Wind it daily."),),
    }
    return Assign(**{**whole, **changes})
