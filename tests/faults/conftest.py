from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from harness import Place, a_place

# A test run in the background inherits ignored signals and would hand them on to every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def place() -> Iterator[Place]:
    """Leases that outlast every restart of a hub here."""
    with a_place(worker_beat_s=0.3, lease_grace_s=20.0) as one:
        yield one


@pytest.fixture
def strict_place() -> Iterator[Place]:
    """Leases that are soon over."""
    with a_place(worker_beat_s=0.2, worker_beats_missed_max=3, lease_grace_s=2.4, cancel_grace_s=0.5) as one:
        yield one
