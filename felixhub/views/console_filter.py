"""Which lines the console shows: by agent, by pattern and by age.

Owns: the judgement. Must not: change a line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from felixhub.core.errors import ConfigError


def patterns(texts: Sequence[str], *, option: str) -> tuple[re.Pattern[str], ...]:
    """The regular expressions given with an option. Raises ConfigError."""
    found = []
    for text in texts:
        try:
            found.append(re.compile(text))
        except re.error as error:
            raise ConfigError(f"{option} '{text}' is not a regular expression: {error}") from None
    return tuple(found)


class ConsoleFilter:
    """Agents are names or patterns like `critic-*`; lines without an agent are the agent `hub`'s.

    Patterns are looked for in a line's text, without time and agent. `since` is unix seconds.
    """

    def __init__(
        self,
        *,
        agents: Sequence[str] = (),
        exclude_agents: Sequence[str] = (),
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        since: float | None = None,
    ) -> None:
        self._agents = agents
        self._exclude_agents = exclude_agents
        self._include = patterns(include, option="--include")
        self._exclude = patterns(exclude, option="--exclude")
        self._since = since
        self._judged: dict[str, bool] = {}

    def wants_agent(self, agent: str) -> bool:
        wanted = self._judged.get(agent)
        if wanted is None:
            wanted = not self._agents or any(fnmatchcase(agent, pattern) for pattern in self._agents)
            wanted = wanted and not any(fnmatchcase(agent, pattern) for pattern in self._exclude_agents)
            self._judged[agent] = wanted
        return wanted

    def wants_line(self, at: float, text: str) -> bool:
        if self._since is not None and at < self._since:
            return False
        if self._include and not any(pattern.search(text) for pattern in self._include):
            return False
        return not any(pattern.search(text) for pattern in self._exclude)
