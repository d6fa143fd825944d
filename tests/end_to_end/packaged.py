"""The wheel, the source distribution, and an environment that has nothing of ours but the wheel.

Owns: building and installing them, once for all processes of a test run. Must not: fetch anything.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from shell import ROOT


def built(kind: str, folder: Path, source: Path = ROOT) -> Path:
    """The `wheel` or `sdist` of the checkout, made by the project's own backend."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=60.0, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = folder.glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[kind])
    return made


def installed_in(folder: Path, wheel: Path) -> None:
    """An environment into which pip has put the wheel; what the wheel needs is found where the tests have it."""
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    command += ["--disable-pip-version-check", str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120.0, check=False, env=environ)
    assert done.returncode == 0, done.stderr
    (site,) = folder.glob("lib/python*/site-packages")
    # A path in such a file is searched last, and the one in it that names the checkout is not followed.
    (site / "what-it-needs.pth").write_text(sysconfig.get_path("purelib") + "\n")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first process to ask fills; the others of this test run wait and take it as it is."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, made = shared / name, shared / f"{name}.made"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():  # One that failed half-way is not taken for one that was made.
            make(folder)
            made.touch()
    return folder
