"""How the tests are spread over processes: `make test` runs several at a time, most of them wait for real processes."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# `make test` judges a change by the same examples each time; `pytest` alone and `make test-long` look for new ones.
settings.register_profile("same", derandomize=True)

HERE = Path(__file__).parent
# Their tests take seconds each: they are spread one by one, and come first, so that nobody is left with a long one.
SLOW = ("browser", "end_to_end", "faults", "supervisor", "soak", "views/web", "views/tui", "docs/test_snippets.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not _is_slow(item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With plain -n; another --dist is as ever."""
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Spread(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = config.rootpath / nodeid.split("::")[0]
            return nodeid if _is_slow(file) and not _shares(file) else nodeid.split("::")[0]

    config.option.loadscopereorder = False  # The order is ours.
    return Spread(config, log)


def _is_slow(file: Path) -> bool:
    return any(file.is_relative_to(HERE / name) for name in SLOW)


@cache
def _shares(file: Path) -> bool:
    """Whether its tests share what was started for them: they stay together."""
    return file.is_relative_to(HERE / "browser") or 'scope="module"' in file.read_text(encoding="utf-8")
