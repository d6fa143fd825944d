"""The names that peers choose and the topics made of them.

Owns: what a name may look like. Must not: know what it names.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"
SELECTIONS = ("latest", "all")  # reserved: what a viewer says in place of a run's name
HUB = "hub"  # reserved: the agent part of a topic where there is no agent

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]  # ids of sessions, thoughts
SHORT_CHARACTERS_MAX = 200
Short = Annotated[str, StringConstraints(max_length=SHORT_CHARACTERS_MAX)]
Sentence = Annotated[str, StringConstraints(max_length=4_000)]

HUB_BEAT_TOPIC = b"hub/beat/"


def event_topic(run: str, agent: str | None, kind: str) -> bytes:
    """`run/<run>/<agent>/<kind>/`; it ends in `/` because ZeroMQ matches prefixes."""
    return f"run/{run}/{agent or HUB}/{kind}/".encode()


def run_topic(run: str) -> bytes:
    """The smallest filter that loses nothing: everything of one run."""
    return f"run/{run}/".encode()


def run_beat_topic(run: str) -> bytes:
    return f"run/{run}/hub/beat/".encode()
