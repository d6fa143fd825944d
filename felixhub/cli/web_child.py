"""The page of `felixhub up --view web`: `felixhub web` as a child that ends with its parent.

Owns: its beginning and its end. Must not: know what it does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

END_S_MAX = 5.0


@contextlib.contextmanager
def web_child(data_dir: Path) -> Iterator[None]:
    """While this lasts the page is served; its address is printed on our standard output."""
    command = [sys.executable, "-m", "felixhub", "web", "--hub", str(data_dir), "--with-parent"]
    # In a session of its own: Ctrl-C is its parent's, who ends it when the run has been told to stop.
    child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        assert child.stdin is not None, "a pipe"
        child.stdin.close()
        try:
            child.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def end_with_parent() -> None:
    """In the child: when the pipe from the parent closes, however it ended, this process ends as by SIGTERM."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
