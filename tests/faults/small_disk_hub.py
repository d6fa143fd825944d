"""A hub whose log may not grow while the file `full` is there. SQLite says that the disk is full, on any machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from felixhub.hub.loop import HubLoop
from felixhub.hub.process import run_hub
from felixhub.logs import configure_logs

PAGES_MAX = 1_000_000
FULL = Path(os.environ["FAULT_PLACE"]) / "full"


class OnASmallDisk(HubLoop):
    _is_full = False

    def turn(self) -> list[int]:
        if FULL.exists() is not self._is_full:
            self._is_full = not self._is_full
            log: Any = self._log
            (pages,) = log._writer.execute("PRAGMA page_count").fetchone()
            log._writer.execute(f"PRAGMA max_page_count = {pages if self._is_full else PAGES_MAX}")
        return super().turn()


if __name__ == "__main__":
    configure_logs()
    sys.exit(run_hub(Path(os.environ["FELIXHUB_DATA"]), loop_type=OnASmallDisk))
