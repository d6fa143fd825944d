"""docs/reliability.md: every command in it that runs tests finds some, marks and all."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = re.compile(r"`(pytest [^`]+)`")


@pytest.mark.long
def test_every_command_finds_tests() -> None:
    commands = sorted(set(COMMAND.findall((ROOT / "docs" / "reliability.md").read_text(encoding="utf-8"))))
    assert len(commands) >= 4
    for command in commands:
        words = [sys.executable, "-m", *shlex.split(command), "--collect-only", "-q", "-p", "no:xdist"]
        found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert found.returncode == 0, f"{command}: {found.stdout[-500:]}"
