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
from felixhub.transport.keys import Z85, Curve, check_private, write_private

CONNECTION_FILE = "connection.json"
IPC_PATH_BYTES_MAX = 107
WAIT_S = 10.0  # how long a client looks for a hub before it says that there is none


class NoHub(FelixError):
    """No hub was found, or none answers."""


class KeyRefused(FelixError):
    """A hub answers, and does not let this client in: its key is not known there, or it has none."""


class Endpoints(BaseModel):
    """The three addresses of one way into a hub."""

    model_config = ConfigDict(frozen=True)

    ingest: str
    live: str
    control: str


class Network(Endpoints):
    """The tcp addresses. `server`: the hub's public key; None when it asks for none."""

    server: Z85 | None = None


class Connection(Endpoints):
    """What `connection.json` holds, and what a client needs: where a hub listens.

    A file that `felixhub keys new` wrote has a `key`, the name of the key, and `curve`, the key itself.
    """

    version: int = PROTOCOL_VERSION
    boot: str = ""
    pid: int = 0
    network: Network | None = None
    key: str | None = None
    curve: Curve | None = None


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


def local_endpoints(data_dir: Path) -> Connection:
    """The endpoints that every hub binds: sockets in a directory that only this user may enter."""
    directory = ipc_directory(data_dir)
    return Connection(**{name: f"ipc://{directory / name}" for name in ("ingest", "live", "control")})


def network_endpoints(listen: str, *, server: str | None) -> Network:
    """The endpoints of `--listen tcp://host:P`: control on P, ingest and live on the two ports after it.

    `server`: the hub's public key, None for a hub that asks for no keys, which no other machine may reach.
    """
    host, port = _host_and_port(listen)
    if server is None and not _is_loopback(host):
        raise ConfigError(
            f"--listen {listen} is not a loopback address: with --plain anybody on the network could read and command; "
            "leave out --plain, and give out keys with `felixhub keys new`"
        )
    return Network(**_tcp(host, port), server=server)


def find_hub(spec: str | None, *, default: Path, environ: Mapping[str, str] | None = None) -> Connection:
    """The hub that `--hub` names (data directory, connection file or `tcp://…`), else `FELIXHUB_HUB`, else `default`.

    Raises NoHub when there is no connection file: the hub is not running, or not yet.
    """
    environ = os.environ if environ is None else environ
    spec = spec or environ.get("FELIXHUB_HUB") or str(default)
    if "://" in spec:
        return Connection(**_tcp(*_host_and_port(spec)))
    path = Path(spec)
    if path.is_dir() or not path.exists():
        path = path / CONNECTION_FILE
    try:
        found = Connection.model_validate_json(path.read_bytes())
        if found.curve is not None:
            check_private(path)
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
    write_private(data_dir / CONNECTION_FILE, connection.model_dump(exclude={"key", "curve"}))


def write_key_file(file: Path, *, address: str, key: str, curve: Curve) -> None:
    """The connection file that a key leaves with: where the hub is, and what proves who comes.

    Raises ConfigError for an address that is none, and when there is such a file already.
    """
    value = Connection(**_tcp(*_host_and_port(address)), key=key, curve=curve).model_dump(exclude={"network"})
    if file.exists():
        raise ConfigError(f"{file} is there already: name another file with --out, or remove it")
    write_private(file, value | {"curve": {**curve.model_dump(), "secret": curve.secret.get_secret_value()}})


def reachable(network: Network) -> str | None:
    """The address that others reach a listening hub at; None when it listens on all of a machine's."""
    host, port = _host_and_port(network.control)
    return None if host in ("0.0.0.0", "::") else f"tcp://{_shown(host)}:{port}"


def remove_connection(data_dir: Path) -> None:
    (data_dir / CONNECTION_FILE).unlink(missing_ok=True)


def _tcp(host: str, port: int) -> dict[str, str]:
    names = ("control", "ingest", "live")
    return {name: f"tcp://{_shown(host)}:{port + number}" for number, name in enumerate(names)}


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


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
