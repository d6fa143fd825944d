"""A hub that is wrong on purpose: it publishes before it commits, and dies between the two.

`python mutant_hub.py`: FAULT_TURN says at which turn with events it dies. What checks a hub must find this one out.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from felixhub.hub.loop import HubLoop
from felixhub.hub.process import run_hub
from felixhub.logs import configure_logs

SENT_S = 0.2  # ZeroMQ's thread needs a moment to send what was published


class PublishesFirst(HubLoop):
    _turns_left = int(os.environ.get("FAULT_TURN", "0"))

    def finish_turn(self) -> None:
        if self._pending.events:
            self.publish()
            self._turns_left -= 1
            if self._turns_left == 0:
                time.sleep(SENT_S)
                os.kill(os.getpid(), signal.SIGKILL)
        if self.commit():
            self.answer()


if __name__ == "__main__":
    configure_logs()
    sys.exit(run_hub(Path(os.environ["FELIXHUB_DATA"]), loop_type=PublishesFirst))
