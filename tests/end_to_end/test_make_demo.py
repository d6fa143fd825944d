"""`make demo`, as the README gives it: from nothing but a checkout to an answer. Setting up is left out: it is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_demo_writes_its_answer(tmp_path: Path) -> None:
    demo = tmp_path / "demo"  # as in a fresh checkout, it is not there
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("FELIXHUB_", "MAKE", "MFLAGS"))
    }
    done = subprocess.run(
        ["make", "-o", f"{sys.prefix}/.run", "demo", f"VENV={sys.prefix}", f"DEMO={demo}"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "Summary" in (demo / "answer.md").read_text(encoding="utf-8")
