"""docs/security.md against the code: its numbers are the limits, its files have the modes that it says."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.hub import guard, intake
from felixhub.transport.address import local_endpoints, write_connection, write_key_file
from felixhub.transport.keys import Curve, Keys, grant_of, hub_key

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def _rows(head: str) -> list[list[str]]:
    """The cells of the table that begins with this."""
    lines = PAGE[PAGE.index(f"| {head} |") :].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_limits_are_those_of_the_hub() -> None:
    for name, default, _what in _rows("limit"):
        assert default == str(getattr(DEFAULT_LIMITS, name.strip("`")))
    assert f"a frame of more than {DEFAULT_LIMITS.frame_bytes_max >> 20} MiB" in PAGE
    assert (guard.ASKED_FACTOR, guard.FLOOD_FACTOR, guard.SUSPENDED_S, intake.GUARDED_S) == (10, 20, 60.0, 0.02)
    assert "Ten times `subscriptions_max` asked for, twenty times the messages" in PAGE
    assert "the key rests for 60 s" in PAGE
    assert "gets about 20 ms" in PAGE


def test_every_file_has_the_mode_that_the_page_says(tmp_path: Path) -> None:
    data = tmp_path / "data"
    keys = Keys(data)
    secret = keys.add(grant_of("NAME".lower(), "viewer"))
    curve = Curve(server=hub_key(data).public, public=keys.peer("name").public, secret=secret)
    write_key_file(tmp_path / "felixhub-name.json", address="tcp://10.0.0.5:7800", key="name", curve=curve)
    write_connection(data, local_endpoints(data))
    for names, mode, _what in _rows("file"):
        for name in re.findall(r"`([^`]+)`", names):
            path = tmp_path / name.replace("DATA", "data").replace("NAME", "name")
            assert f"{stat.S_IMODE(path.stat().st_mode):04o}" == mode, path


def test_the_secret_half_is_in_one_file_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    keys = Keys(data)
    secret = keys.add(grant_of("name", "viewer"))
    curve = Curve(server=hub_key(data).public, public=keys.peer("name").public, secret=secret)
    write_key_file(tmp_path / "felixhub-name.json", address="tcp://10.0.0.5:7800", key="name", curve=curve)
    value = secret.get_secret_value()
    with_it = [path.name for path in tmp_path.rglob("*") if path.is_file() and value in path.read_text()]
    assert with_it == ["felixhub-name.json"]
