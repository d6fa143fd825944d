"""How often something may die before it is given up, and how soon it is started again. Pure: `now` is an argument.

Owns: the count. Must not: start or stop anything.
"""

from __future__ import annotations

from collections import deque

RESTARTS_MAX = 5
WINDOW_S = 60.0
PAUSES_S = (0.0, 0.2, 0.5, 1.0, 2.0)  # before the first, second … restart within the window


class RestartLimit:
    """Five restarts in sixty seconds, ever slower."""

    def __init__(self, *, restarts_max: int = RESTARTS_MAX, window_s: float = WINDOW_S) -> None:
        self._restarts_max = restarts_max
        self._window_s = window_s
        self._deaths: deque[float] = deque()

    def may_restart(self, now: float) -> bool:
        """Note a death; False when there were too many of them lately."""
        self._deaths.append(now)
        while self._deaths and now - self._deaths[0] > self._window_s:
            self._deaths.popleft()
        return len(self._deaths) <= self._restarts_max

    @property
    def pause_s(self) -> float:
        """How long to wait after the death that was noted last."""
        return PAUSES_S[max(0, min(len(self._deaths), len(PAUSES_S)) - 1)]
