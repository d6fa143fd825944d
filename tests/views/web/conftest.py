from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from web_place import Place, Web, a_place

# A test run in the background inherits ignored signals and would hand them on to every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def place() -> Iterator[Place]:
    """Leases that outlast every restart of a hub here."""
    with a_place(worker_beat_s=0.3, lease_grace_s=20.0) as one:
        yield one


@pytest.fixture
def web(place: Place) -> Web:
    """A gateway beside a hub and a team of scripted agents."""
    place.start_hub()
    place.start_team()
    made = Web(place)
    made.ready()
    return made
