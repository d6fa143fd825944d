"""The fixture `felix_hub` for pytest: `pytest_plugins = ["felixhub.testing.plugin"]` in your conftest.py.

Owns: the fixture. Must not: be loaded by itself; whoever installs FelixHub has not asked for it in every test run.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from felixhub.testing.hub import HubForTests, a_hub


@pytest.fixture
def felix_hub() -> Iterator[HubForTests]:
    """A real hub in a temporary directory, for one test."""
    with a_hub() as hub:
        yield hub
