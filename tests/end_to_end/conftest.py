from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaged import built, installed_in, once
from shell import Shell, a_shell

from felixhub.llm.offline import OfflineModel

# A test run in the background inherits ignored signals and would hand them on to every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def shell() -> Iterator[Shell]:
    with a_shell() as one:
        yield one


@pytest.fixture
def model() -> Iterator[OfflineModel]:
    """Fast enough for a test, slow enough for thoughts to overlap. Its pace can be changed while it writes."""
    made = OfflineModel(tokens_per_s=600.0, first_token_s=0.1)
    made.start()
    yield made
    made.stop()
    assert made.open_requests == 0


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (made,) = once(tmp_path_factory, "wheel", lambda folder: built("wheel", folder)).glob("*.whl")
    return made


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment into which pip has put the wheel, and nothing else of ours."""
    return once(tmp_path_factory, "environment", lambda folder: installed_in(folder, wheel))
