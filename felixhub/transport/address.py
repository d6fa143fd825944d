"""Where a hub is: its three endpoints, the directory of its ipc sockets, and `connection.json`.

Owns: finding a hub and saying where one is. Must not: open a socket.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from felixhub.core.errors import ConfigError, FelixError, Place
from felixhub.core.messages import PROTOCOL_VERSION

CONNECTION_FILE = "connection.json"
IPC_PATH_BYTES_MAX = 107
WAIT_S = 10.0  # how long a client looks for a hub before it says that there is none


class NoHub(FelixError):
    """No hub was found, or none answers."""


class Connection(BaseModel):
    """What `connection.json` holds, and what a client needs: where a hub listens."""

    model_config = ConfigDict(frozen=True)

    version: int = PROTOCOL_VERSION
    ingest: str
    live: str
    control: str
    boot: str = ""
    pid: int = 0


def ipc_directory(data_dir: Path, environ: Mapping[str, str] | None = None) -> Path:
    """The directory of this hub's sockets: the same at every start, owned by this user, mode 0700."""
    environ = os.environ if environ is None else environ
    name = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:8]
    runtime = environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) / "felixhub" if runtime else Path(tempfile.gettempdir()) / f"felixhub-{os.getuid()}"
    if len(os.fsencode(base / name / "control")) > IPC_PATH_BYTES_MAX:
        base = Path("/tmp") / f"felixhub-{os.getuid()}"
    directory = base / name
    for one in (base, directory):
        try:
            one.mkdir(mode=0o700, parents=True, exist_ok=True)
            facts = one.lstat()
        except OSError as error:
            raise ConfigError(f"cannot make the sockets' directory {one}: {error.strerror}") from None
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
            raise ConfigError(
                f"{one} must be a directory of yours with mode 0700: somebody else could listen in; "
                "remove it, or set XDG_RUNTIME_DIR to a directory of your own"
            )
    return directory


def endpoints_for(data_dir: Path, listen: str | None) -> Connection:
    """The endpoints a hub binds: ipc by default, else `tcp://host:P` and the two ports after it."""
    if listen is None:
        directory = ipc_directory(data_dir)
        return Connection(**{name: f"ipc://{directory / name}" for name in ("ingest", "live", "control")})
    host, port = _host_and_port(listen)
    if not _is_loopback(host):
        raise ConfigError(
            f"--listen {listen} is not a loopback address: without keys anybody on the network could read and "
            "command; listen on 127.0.0.1 and reach it through an SSH tunnel"
        )
    return _tcp(host, port)


def find_hub(spec: str | None, *, default: Path, environ: Mapping[str, str] | None = None) -> Connection:
    """The hub that `--hub` names (data directory, connection file or `tcp://…`), else `FELIXHUB_HUB`, else `default`.

    Raises NoHub when there is no connection file: the hub is not running, or not yet.
    """
    environ = os.environ if environ is None else environ
    spec = spec or environ.get("FELIXHUB_HUB") or str(default)
    if "://" in spec:
        host, port = _host_and_port(spec)
        return _tcp(host, port)
    path = Path(spec)
    if path.is_dir() or not path.exists():
        path = path / CONNECTION_FILE
    try:
        found = Connection.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise NoHub(no_hub_sentence(str(path.parent))) from None
    except OSError as error:
        raise NoHub(f"cannot read {path}: {error.strerror}") from None
    except ValidationError:
        raise ConfigError(
            "this is not a hub's connection file: name a data directory or its connection.json", place=Place(str(path))
        ) from None
    if found.version != PROTOCOL_VERSION:
        raise ConfigError(
            f"this hub speaks version {found.version} of the protocol, this program {PROTOCOL_VERSION}: "
            "use the same version of felixhub on both sides",
            place=Place(str(path)),
        )
    return found


def no_hub_sentence(where: str) -> str:
    return f"no hub at {where}: start one with `felixhub up --serve`, or name it with --hub"


def write_connection(data_dir: Path, connection: Connection) -> None:
    """Replace the file atomically, readable by its owner only."""
    target = data_dir / CONNECTION_FILE
    draft = target.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_bytes(connection.model_dump_json(indent=2).encode() + b"\n")
    draft.replace(target)


def remove_connection(data_dir: Path) -> None:
    (data_dir / CONNECTION_FILE).unlink(missing_ok=True)


def _tcp(host: str, port: int) -> Connection:
    shown = f"[{host}]" if ":" in host else host
    return Connection(
        control=f"tcp://{shown}:{port}", ingest=f"tcp://{shown}:{port + 1}", live=f"tcp://{shown}:{port + 2}"
    )


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme != "tcp" or not parts.hostname or port is None or not 1 <= port <= 65_533:
        raise ConfigError(f"'{address}' is not an address: write tcp://127.0.0.1:7800 (it and the two ports after it)")
    return parts.hostname, port


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
