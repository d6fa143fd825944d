"""What the terminal UI costs while forty agents write ten times a second, and how soon it answers a key meanwhile.

    python -m benchmarks.screens [--quick] [--directory DIR]

`felixhub top` runs on a terminal of 200 by 60 that somebody reads, so that all forty panes are to be seen and painted.
Its load is the CPU seconds of its process with all threads, by wall seconds. A key: from Tab being typed to
the next pane having the border of the selected one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import statistics
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Options, Row, agent_names, cpu_s, main, note, running_hub, running_load, start_run

AGENTS = 40
HZ = 10.0
COLUMNS, ROWS = 200, 60
FULL_S = 20.0
QUICK_S = 8.0
KEYS = 20
KEY_GAP_S = 0.37  # out of step with the batches
GOAL_CORES = 0.5
GOAL_KEY_S = 0.1
SHOWN_S_MAX = 60.0
KEYS_S = 15.0  # how long the agents go on for the keys
CORNER = "┏"  # of the selected pane; nothing else is painted with it


class Screen:
    """A terminal with a program on it, and whoever reads what it writes."""

    def __init__(self, arguments: list[str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environ = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "felixhub", *arguments], stdin=slave, stdout=slave, stderr=slave, env=environ
        )
        os.close(slave)
        self._received = bytearray()
        self._grown = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # Everybody at the other end has gone.
            while data := os.read(self._master, 65_536):
                with self._grown:
                    self._received += data
                    self._grown.notify_all()

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    @property
    def size(self) -> int:
        return len(self._received)

    def until_shown(self, text: str, *, after: int = 0) -> None:
        """Wait until this is among what came after so many bytes. Raises TimeoutError."""
        with self._grown:
            if not self._grown.wait_for(lambda: text.encode() in self._received[after:], SHOWN_S_MAX):
                raise TimeoutError(f"'{text}' did not come within {SHOWN_S_MAX:.0f} s")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        os.close(self._master)


@contextlib.contextmanager
def running_top(directory: Path) -> Iterator[Screen]:
    screen = Screen(["top", "--hub", str(directory)])
    try:
        yield screen
    finally:
        screen.close()


def measure(options: Options) -> list[Row]:
    seconds = QUICK_S if options.quick else FULL_S
    agents = agent_names(AGENTS)
    with options.directory() as directory, running_hub(directory) as hub:
        start_run(hub, agents)
        with running_load(hub, agents) as load, running_top(directory) as screen:
            load.tell(("pace", {"hz": HZ, "seconds": seconds + KEYS_S}))
            screen.until_shown(agents[-1])
            time.sleep(2.0)  # It is there; what follows is its everyday.
            before, began, size = cpu_s(screen.process.pid), time.monotonic(), screen.size
            time.sleep(seconds)
            took = time.monotonic() - began
            cores = (cpu_s(screen.process.pid) - before) / took
            written = (screen.size - size) / took
            answers = list(_answers(screen))
            load.ask()
    note(f"screens: {cores:.2f} cores, {written / 1000:.0f} kB/s to the terminal, keys {answers}")
    return [
        Row(
            f"`felixhub top`: {AGENTS} panes at {HZ:.0f} Hz on {COLUMNS} × {ROWS}, {seconds:.0f} s: cores",
            f"{cores:.2f}",
            f"≤ {GOAL_CORES}",
            cores <= GOAL_CORES,
        ),
        Row(
            "the same: from a key to the screen, median of twenty, in ms",
            f"{statistics.median(answers) * 1e3:.0f}",
            f"≤ {GOAL_KEY_S * 1e3:.0f}",
            statistics.median(answers) <= GOAL_KEY_S,
        ),
        Row("the same: kB/s that the terminal is sent", f"{written / 1000:.0f}", "—", None),
    ]


def _answers(screen: Screen) -> Iterator[float]:
    """Go on by a pane some times; how long each took."""
    for _ in range(KEYS):
        time.sleep(KEY_GAP_S)
        size, began = screen.size, time.monotonic()
        screen.type("\t")
        screen.until_shown(CORNER, after=size)
        yield round(time.monotonic() - began, 3)


if __name__ == "__main__":
    main(measure, __doc__)
