"""The names in a path.

Owns: that nothing but a name is taken for one. Must not: know whether it names anything.
"""

from __future__ import annotations

import re

from starlette.requests import Request

from felixhub.core.names import NAME_PATTERN
from felixhub.views.web.refusal import Refusal

_NAME = re.compile(NAME_PATTERN)
_THOUGHT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TARGETS = ("agent", "section")


def run_of(request: Request) -> str:
    return _named(request, "run")


def target_of(request: Request) -> dict[str, str]:
    """The one agent, section or thought that the path names."""
    if "thought" in request.path_params:
        return {"thought": thought_of(request)}
    return next({kind: _named(request, kind)} for kind in _TARGETS if kind in request.path_params)


def section_of(request: Request) -> str:
    return _named(request, "section")


def thought_of(request: Request) -> str:
    thought = str(request.path_params["thought"])
    if not _THOUGHT.fullmatch(thought):
        raise Refusal(404, "unknown_thought", "there is no thought of that name", "thought")
    return thought


def number_of(request: Request, name: str, *, at_least: int, at_most: int, otherwise: int | None) -> int | None:
    """A number in the query."""
    given = request.query_params.get(name)
    if given is None:
        return otherwise
    if not given.isascii() or not given.isdecimal() or len(given) > 10 or not at_least <= int(given) <= at_most:
        raise Refusal(400, "bad_input", f"{name} is a number from {at_least} to {at_most}", name)
    return int(given)


def _named(request: Request, kind: str) -> str:
    name = str(request.path_params[kind])
    if not _NAME.fullmatch(name) or name.endswith("\n"):
        raise Refusal(404, f"unknown_{kind}", f"there is no {kind} of that name", kind)
    return name
