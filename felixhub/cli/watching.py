"""`felixhub watch`: a subscription and the console view.

Owns: turning options into both. Must not: render.
"""

from __future__ import annotations

import re
from typing import Literal

from felixhub.cli.processes import settings_for
from felixhub.cli.runs import exit_code
from felixhub.core.errors import ConfigError
from felixhub.transport.subscriber import Subscription
from felixhub.views.console import ConsoleOptions
from felixhub.views.console import watch as watch_console

SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def watch(options: ConsoleOptions, *, hub: str | None, run: str, until_done: bool) -> int:
    """Watch until told to stop, or with `until_done` until the run has ended; returns the exit code."""
    settings = settings_for()
    where = hub or settings.hub or settings.data_dir
    with Subscription(run, hub=where, until_done=until_done) as subscription:
        outcome = watch_console(subscription, options)
    return exit_code(outcome) if until_done else 0


def seconds(text: str, *, option: str = "--since") -> float:
    """`30s`, `10m`, `2h`, `1d` or a bare number of seconds. Raises ConfigError, which names the option."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if not found:
        raise ConfigError(f"{option} {text}: write 30s, 10m, 2h or 1d")
    return float(found[1]) * SECONDS[found[2]]


def lines(text: str) -> int | Literal["all"]:
    """How many lines of the past: a number or `all`. Raises ConfigError."""
    if text == "all":
        return "all"
    if not text.isdecimal():
        raise ConfigError(f"--tail {text}: write a number of lines, or all")
    return int(text)
