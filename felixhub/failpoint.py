"""Places where a kill test may end the process: `FELIXHUB_FAILPOINT=name` or `name:n` for the n-th passing.

Owns: the names and the counting. Must not: do anything while the variable is unset.
"""

from __future__ import annotations

import os
import signal

from felixhub.core.errors import ConfigError

VARIABLE = "FELIXHUB_FAILPOINT"

NAMES = frozenset(
    {
        "hub.after_receive",
        "hub.in_transaction",
        "hub.after_commit",
        "hub.after_command",
        "hub.after_publish",
        "hub.after_acknowledge",
        "hub.while_paging",
        "worker.before_first_text",
        "worker.mid_stream",
        "worker.before_finalize",
    }
)

_passed: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Kill this process, as `kill -9` would, if the environment says so. Raises `ConfigError` for a name not known."""
    setting = os.environ.get(VARIABLE)
    if not setting:
        return
    assert name in NAMES, name
    wanted, passing = _parse(setting)
    if wanted != name:
        return
    _passed[name] = _passed.get(name, 0) + 1
    if _passed[name] == passing:
        os.kill(os.getpid(), signal.SIGKILL)


def _parse(setting: str) -> tuple[str, int]:
    """The name and which passing, from 1."""
    name, _, count = setting.partition(":")
    if name not in NAMES or (count and (not count.isdecimal() or int(count) < 1)):
        raise ConfigError(f"{VARIABLE}={setting} names no failpoint: use one of {', '.join(sorted(NAMES))}, or name:n")
    return name, int(count or 1)
