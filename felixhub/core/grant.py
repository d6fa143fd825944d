"""What a peer may do: its role, and which agents or runs that covers.

    worker      may take its agents, and so write their thoughts; nothing else
    viewer      may read its runs; nothing else
    operator    may read and command everything

Owns: the roles and every check of them. Must not: know keys, files or sockets (`transport/keys.py` does).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from felixhub.core.errors import ProtocolViolation
from felixhub.core.messages import ClientHello, ControlRequest, Hello, Replay, Runs, Snapshot, Text
from felixhub.core.names import HUB_BEAT_TOPIC, SHORT_CHARACTERS_MAX, Name

Role = Literal["worker", "viewer", "operator"]

# A name, or the beginning of names: `memo-*`. What ZeroMQ matches are prefixes, so this is all that a topic can say.
PATTERN = r"^(\*|[a-z0-9][a-z0-9_-]{0,62}\*|[a-z0-9][a-z0-9_-]{0,63})$"
Pattern = Annotated[str, StringConstraints(pattern=PATTERN)]
PATTERNS_MAX = 1_000
ALL = ("*",)
READING = (ClientHello, Runs, Snapshot, Text, Replay)


class Grant(BaseModel):
    """What one key may do. `agents` counts for a worker, `runs` for a viewer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    role: Role
    agents: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=PATTERNS_MAX)] = ALL
    runs: Annotated[tuple[Pattern, ...], Field(min_length=1, max_length=PATTERNS_MAX)] = ALL

    def check_hello(self, hello: Hello) -> None:
        """Raises ProtocolViolation unless this is a worker's key that covers all of the agents."""
        if self.role != "worker":
            raise self._forbidden(f"is {self._role} key: a worker needs a worker's")
        self.check_agents(hello.agents)

    def check_agents(self, agents: tuple[str, ...]) -> None:
        """Raises ProtocolViolation unless the key covers all of them."""
        foreign = [agent for agent in agents if not _covers(self.agents, agent)]
        if foreign:
            raise self._forbidden(f"is not for {', '.join(foreign[:5])}: it is for {_listed(self.agents)}", "agents")

    def check_request(self, request: ControlRequest) -> None:
        """Raises ProtocolViolation unless this key may ask for it."""
        match self.role:
            case "operator":
                return
            case "worker":
                raise self._forbidden("is a worker's key: it may write its agents' thoughts, not read or command")
            case "viewer" if not isinstance(request, READING):
                raise self._forbidden("is a viewer's key: it may read, not command; an operator's key may")
            case "viewer":
                run = getattr(request, "run", None)
                if run is not None and not self.may_read(run):
                    raise self._forbidden(f"is not for run '{run}': it is for {_listed(self.runs)}", "run")

    def may_read(self, run: str) -> bool:
        return self.role == "operator" or (self.role == "viewer" and _covers(self.runs, run))

    def topics(self, asked: bytes) -> list[bytes]:
        """What a subscription to `asked` becomes: the part of it that this key may read, as prefixes, none twice."""
        if self.role == "worker":
            return []
        if self.role == "operator" or self.runs == ALL:
            return [asked]
        found = []
        for granted in (HUB_BEAT_TOPIC, *map(_topic, self.runs)):
            if asked.startswith(granted):
                found.append(asked)
            elif granted.startswith(asked):
                found.append(granted)
        return list(dict.fromkeys(found))

    def signed(self, by: str) -> str:
        """Who asks, for the log: the key first, since a peer may call itself anything."""
        return f"{self.name}: {by}"[:SHORT_CHARACTERS_MAX] if by else self.name

    def _forbidden(self, what: str, field: str | None = None) -> ProtocolViolation:
        return ProtocolViolation("forbidden", f"the key '{self.name}' {what}", field=field)

    @property
    def _role(self) -> str:
        return "a viewer's" if self.role == "viewer" else "an operator's"


def _covers(patterns: tuple[str, ...], name: str) -> bool:
    return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in patterns)


def _topic(pattern: str) -> bytes:
    return b"run/" + (pattern[:-1].encode() if pattern.endswith("*") else pattern.encode() + b"/")


def _listed(patterns: tuple[str, ...]) -> str:
    shown = ", ".join(patterns[:5])
    return f"{shown} and {len(patterns) - 5} more" if len(patterns) > 5 else shown
