from __future__ import annotations

from collections.abc import Iterator

import pytest

from felixhub.testing import HubForTests, a_hub


@pytest.fixture
def hub() -> Iterator[HubForTests]:
    with a_hub() as one:
        yield one
