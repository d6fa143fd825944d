"""Standard output that nobody reads, or that is not there: no fault of ours, and nothing has failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (["workflows", "list"], ["config", "show", "--json"], ["--help"], ["--version"])
PATIENCE_S = 60.0


def _started(arguments: list[str], out: int | None, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "felixhub", *arguments]
    if out is None:  # As `>&-` in a shell.
        command = ["/bin/sh", "-c", '"$@" >&-', "sh", *command]
    environ = os.environ | {"FELIXHUB_DATA": str(folder)}
    return subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, cwd=folder, env=environ)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_reader_that_has_gone_ends_it_quietly(arguments: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with _started(arguments, writing, tmp_path) as command:
        os.close(writing)
        _, complaint = command.communicate(timeout=PATIENCE_S)
    assert (command.returncode, complaint.decode()) == (0, "")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_without_a_standard_output(arguments: list[str], tmp_path: Path) -> None:
    with _started(arguments, None, tmp_path) as command:
        _, complaint = command.communicate(timeout=PATIENCE_S)
    assert (command.returncode, complaint.decode()) == (0, "")
