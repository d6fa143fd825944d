from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from felixhub.testing import HubForTests, a_hub

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS / "views"), str(TESTS / "end_to_end")]  # console_script.py, shell.py


@pytest.fixture
def hub() -> Iterator[HubForTests]:
    with a_hub() as one:
        yield one
