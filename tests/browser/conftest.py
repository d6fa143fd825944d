"""The page in a real browser. Without one these tests are left out, and a line says so."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from stage import Stage

HERE = Path(__file__).parent
for folder in (HERE.parent, HERE.parent / "end_to_end"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

signal.signal(signal.SIGINT, signal.default_int_handler)

IS_THERE = bool(shutil.which("chromium")) and importlib.util.find_spec("playwright") is not None
IS_ASKED_FOR = os.environ.get("FELIXHUB_BROWSER") == "required"  # `make test-all`

if not IS_THERE and not IS_ASKED_FOR:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="module")  # Playwright keeps a loop running in this thread: no other test's must find it.
def browser() -> Iterator[Browser]:
    from benchmarks.chromium import running_chromium

    with running_chromium() as made:
        yield made


@pytest.fixture(scope="module")
def stage_of_module(browser: Browser) -> Iterator[Stage]:
    from stage import a_stage

    with a_stage(browser) as made:
        yield made


@pytest.fixture
def stage(stage_of_module: Stage) -> Iterator[Stage]:
    yield stage_of_module
    stage_of_module.close_pages()
