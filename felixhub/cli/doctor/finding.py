"""What one check has found.

Owns: its shape, which `felixhub doctor --json` prints. Must not: look at anything.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Status = Literal["ok", "note", "wrong"]


class Finding(NamedTuple):
    """`note`: good to know, and nothing is broken. `fix` says what to do about it; empty when there is nothing."""

    check: str
    status: Status
    sentence: str
    fix: str = ""
