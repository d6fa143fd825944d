"""Hubs whose lock is broken on purpose: FAULT_LOCK says how. A hub must find this out by itself, or let nobody in.

admits_all   every key opens      refuses_all   none does      raises   the check itself fails      dead   nobody checks
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from felixhub.core.errors import ConfigError
from felixhub.hub.guard import Guard
from felixhub.hub.process import run_hub
from felixhub.hub.zap import Zap
from felixhub.logs import configure_logs

LOCK = os.environ["FAULT_LOCK"]
honest = Guard.admit


def admit(self: Guard, public: bytes) -> str | None:
    match LOCK:
        case "admits_all":
            return "anybody#1"
        case "refuses_all":
            return None
        case "raises":
            raise RuntimeError("a fault in the lock")
    return honest(self, public)


if __name__ == "__main__":
    configure_logs()
    Guard.admit = admit  # type: ignore[method-assign]
    if LOCK == "dead":
        Zap.answer = lambda _self: None  # type: ignore[method-assign]
    try:
        sys.exit(run_hub(Path(os.environ["FELIXHUB_DATA"]), listen=sys.argv[-1]))
    except ConfigError as error:
        print(f"felixhub: {error}", file=sys.stderr)
        sys.exit(2)
