"""Finding a hub: every form of `--hub`, and the directory of its sockets."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from felixhub.core.errors import ConfigError
from felixhub.transport.address import (
    CONNECTION_FILE,
    Connection,
    NoHub,
    find_hub,
    ipc_directory,
    network_endpoints,
    reachable,
    remove_connection,
    write_connection,
)

HERE = Connection(ingest="ipc:///x/ingest", live="ipc:///x/live", control="ipc:///x/control", boot="b", pid=7)


def test_a_hub_is_found_by_its_directory_its_file_and_the_environment(tmp_path: Path) -> None:
    write_connection(tmp_path, HERE)
    assert find_hub(str(tmp_path), default=Path("/nowhere"), environ={}) == HERE
    assert find_hub(str(tmp_path / CONNECTION_FILE), default=Path("/nowhere"), environ={}) == HERE
    assert find_hub(None, default=Path("/nowhere"), environ={"FELIXHUB_HUB": str(tmp_path)}) == HERE
    assert find_hub(None, default=tmp_path, environ={}) == HERE


def test_a_tcp_address_is_the_control_port_and_the_two_after_it() -> None:
    found = find_hub("tcp://127.0.0.1:7800", default=Path("/nowhere"), environ={})
    assert (found.control, found.ingest, found.live) == (
        "tcp://127.0.0.1:7800",
        "tcp://127.0.0.1:7801",
        "tcp://127.0.0.1:7802",
    )
    assert find_hub("tcp://[::1]:7800", default=Path("/nowhere"), environ={}).live == "tcp://[::1]:7802"


@pytest.mark.parametrize("address", ["tcp://", "tcp://host", "tcp://host:0", "tcp://host:99999", "http://host:1"])
def test_a_malformed_address_says_how_to_write_one(address: str) -> None:
    with pytest.raises(ConfigError, match=r"write tcp://127\.0\.0\.1:7800"):
        find_hub(address, default=Path("/nowhere"), environ={})


def test_no_hub_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NoHub, match="start one with `felixhub up --serve`, or name it with --hub"):
        find_hub(str(tmp_path), default=tmp_path, environ={})
    write_connection(tmp_path, HERE)
    remove_connection(tmp_path)
    with pytest.raises(NoHub):
        find_hub(str(tmp_path), default=tmp_path, environ={})


def test_a_file_that_is_no_connection_file_is_named(tmp_path: Path) -> None:
    (tmp_path / CONNECTION_FILE).write_text("{}")
    with pytest.raises(ConfigError, match="not a hub's connection file"):
        find_hub(str(tmp_path), default=tmp_path, environ={})


def test_the_connection_file_is_the_owners_alone(tmp_path: Path) -> None:
    write_connection(tmp_path, HERE)
    write_connection(tmp_path, HERE)
    assert stat.S_IMODE((tmp_path / CONNECTION_FILE).stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONNECTION_FILE]


def test_the_sockets_directory_is_the_same_at_every_start_and_ours_alone(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
    first = ipc_directory(tmp_path / "data", environ)
    assert first == ipc_directory(tmp_path / "data", environ)
    assert first != ipc_directory(tmp_path / "other", environ)
    assert stat.S_IMODE(first.stat().st_mode) == 0o700


def test_a_sockets_directory_open_to_others_is_refused(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    directory = ipc_directory(tmp_path / "data", environ)
    directory.chmod(0o755)
    with pytest.raises(ConfigError, match="mode 0700"):
        ipc_directory(tmp_path / "data", environ)
    directory.rmdir()
    directory.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="mode 0700"):
        ipc_directory(tmp_path / "data", environ)


def test_a_path_too_long_for_a_socket_goes_to_the_temporary_directory(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    directory = ipc_directory(tmp_path / "data", {"XDG_RUNTIME_DIR": str(long)})
    assert len(os.fsencode(directory / "control")) <= 107
    directory.rmdir()


EVERYWHERE = ["tcp://0.0.0.0:7800", "tcp://192.0.2.1:7800", "tcp://example.org:7800", "tcp://[::]:7800"]
KEY = "krjEtlsorA)0shBf^ndZ6cagmAAi*?Yl<U9VW@rI"


@pytest.mark.parametrize("address", EVERYWHERE)
def test_listening_without_keys_where_others_could_listen_in_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="not a loopback address"):
        network_endpoints(address, server=None)
    assert network_endpoints(address, server=KEY).server == KEY


def test_listening_on_loopback_is_fine() -> None:
    assert network_endpoints("tcp://localhost:7800", server=None).live == "tcp://localhost:7802"


def test_where_others_reach_a_hub_is_known_unless_it_listens_everywhere() -> None:
    told = [reachable(network_endpoints(address, server=KEY)) for address in EVERYWHERE]
    assert told == [None, "tcp://192.0.2.1:7800", "tcp://example.org:7800", None]
