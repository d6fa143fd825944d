"""Who may come in over the network: the hub's own key, and one file for each key that it gave out.

    DATA/keys/hub.json           the hub's pair: what proves to others that it is this hub
    DATA/keys/peers/NAME.json    what a key may do, and its public half; the secret half leaves with its connection file

Owns: these files, their modes, and reading them again when they change. Must not: open a socket, or show a secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import time
from pathlib import Path
from typing import Annotated

import zmq
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from felixhub.core.errors import ConfigError, Place
from felixhub.core.grant import ALL, Grant, Role

KEYS = "keys"
PEERS_MAX = 10_000
COARSE_NS = 50_000_000

Z85_PATTERN = r"^[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}$"  # 32 bytes, as RFC 32 writes them
Z85 = Annotated[str, Field(pattern=Z85_PATTERN)]


def _is_z85(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(Z85_PATTERN, secret.get_secret_value()):
        raise ValueError("not a key")
    return secret


Secret = Annotated[SecretStr, AfterValidator(_is_z85)]


class Curve(BaseModel):
    """What a client needs to come in: the hub's public key and a pair of its own. Printing it shows no secret."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    server: Z85
    public: Z85
    secret: Secret


class HubKey(BaseModel):
    """The hub's own pair."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    public: Z85
    secret: Secret


class Peer(BaseModel):
    """One key that was given out, as the hub keeps it."""

    model_config = ConfigDict(frozen=True)

    public: Z85
    created_at: float
    grant: Grant


def new_pair() -> tuple[str, SecretStr]:
    """A fresh public and secret key."""
    public, secret = zmq.curve_keypair()
    return public.decode(), SecretStr(secret.decode())


def hub_key(data_dir: Path) -> HubKey:
    """The hub's pair, made when it is first needed. Raises ConfigError if others could read it."""
    file = _folder(data_dir) / "hub.json"
    if not file.exists():
        public, secret = new_pair()
        with contextlib.suppress(FileExistsError):  # Somebody else has just made it: that one counts.
            write_private(file, {"public": public, "secret": secret.get_secret_value()}, replace=False)
    try:
        check_private(file)
        return HubKey.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read the hub's key {file}: {error.strerror}") from None
    except ValidationError:
        raise ConfigError(
            "this is not a hub's key: restore the file, or remove it (then every key must be given out anew)",
            place=Place(str(file)),
        ) from None


class Keys:
    """The keys of one data directory that were given out and not revoked."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = _folder(data_dir) / "peers"
        _private_folder(self._folder)

    def add(self, grant: Grant) -> SecretStr:
        """Remember a new key; returns its secret half, which is kept nowhere. Raises ConfigError if the name is taken.

        The public half is in `peer(name)`.
        """
        file = self._file(grant.name)
        if len(self.names()) >= PEERS_MAX:
            raise ConfigError(f"there are {PEERS_MAX:,} keys already: revoke some")
        public, secret = new_pair()
        value = {"public": public, "created_at": time.time(), "grant": grant.model_dump()}
        try:
            write_private(file, value, replace=False)
        except FileExistsError:
            raise ConfigError(
                f"there is a key '{grant.name}' already: choose another name, or revoke that one first"
            ) from None
        return secret

    def revoke(self, name: str) -> bool:
        """Forget a key; False when there is none of that name."""
        file = self._file(name)
        if name not in self.names():
            return False
        file.unlink(missing_ok=True)
        return True

    def names(self) -> list[str]:
        """Of all keys; none when the directory has gone. Raises OSError when it cannot be looked at."""
        try:
            return sorted(file.stem for file in self._folder.iterdir() if file.suffix == ".json")
        except FileNotFoundError:
            return []

    def peer(self, name: str) -> Peer:
        """What is known of one key. Raises ConfigError for a file that cannot be relied on."""
        file = self._file(name)
        try:
            check_private(file)
            peer = Peer.model_validate_json(file.read_bytes())
        except OSError as error:
            raise ConfigError(f"cannot read the key {file}: {error.strerror}") from None
        except ValidationError:
            raise ConfigError("this is not a key: revoke it and make a new one", place=Place(str(file))) from None
        if peer.grant.name != name:
            raise ConfigError(f"the key in it is called '{peer.grant.name}'", place=Place(str(file)))
        return peer

    def stamp(self) -> frozenset[tuple[str, int, int, int]]:
        """Changes when a key is added, changed or revoked. Raises OSError."""
        try:
            files = [(entry.name, entry.stat(follow_symlinks=False)) for entry in os.scandir(self._folder)]
        except FileNotFoundError:
            return frozenset()
        return frozenset(
            (name, facts.st_ino, facts.st_mtime_ns, facts.st_mode) for name, facts in files if name.endswith(".json")
        )

    def changed_at(self) -> int:
        """A number that changes when a key is added or revoked; one look at the directory, however many there are.

        Within the last moment it changes all the time: a file system's clock is coarse.
        """
        try:
            changed_ns = self._folder.stat().st_mtime_ns
        except OSError:
            return 0
        now_ns = time.time_ns()
        return changed_ns if abs(now_ns - changed_ns) > COARSE_NS else now_ns

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def grant_of(name: str, role: Role, *, agents: tuple[str, ...] = (), runs: tuple[str, ...] = ()) -> Grant:
    """The grant for what a person asked for. Raises ConfigError, in words."""
    if agents and role != "worker":
        raise ConfigError(f"only a worker's key is for certain agents, not a {role}'s: leave out --agent")
    if runs and role != "viewer":
        raise ConfigError(f"only a viewer's key is for certain runs, not a {role}'s: leave out --run")
    try:
        return Grant(name=name, role=role, agents=agents or ALL, runs=runs or ALL)
    except ValidationError as error:
        at = error.errors(include_url=False, include_input=True)[0]
        what = {"name": "name of a key", "agents": "name of an agent", "runs": "run's id"}.get(str(at["loc"][0]), "")
        raise ConfigError(
            f"'{at['input']}' is not a {what}: small letters, digits, - and _, at most 64"
            + ("" if at["loc"][0] == "name" else "; a * at the end stands for anything")
        ) from None


# ---- files that nobody else may read ---------------------------------------------------------------------------------


def write_private(file: Path, value: object, *, replace: bool = True) -> None:
    """Write JSON into a file of mode 0600, whole or not at all.

    Without `replace` raises FileExistsError when it is there: of two who make it at once, one has made it.
    """
    draft = file.with_suffix(f".{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(json.dumps(value, indent=2).encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
        if replace:
            draft.replace(file)
        else:
            os.link(draft, file)
            draft.unlink()
    except FileExistsError:
        draft.unlink(missing_ok=True)
        raise
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigError(f"cannot write {file}: {error.strerror}") from None


def check_private(file: Path) -> None:
    """Raises ConfigError if somebody else owns or may read this file, OSError if it is not there."""
    facts = file.lstat()
    if facts.st_uid not in (os.getuid(), 0) or facts.st_mode & 0o077 or not stat.S_ISREG(facts.st_mode):
        raise ConfigError(f"{file} holds a key and others may read or change it: chmod 600 it, and make it yours")


def _folder(data_dir: Path) -> Path:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the data directory {data_dir}: {error.strerror}") from None
    folder = data_dir / KEYS
    _private_folder(folder)
    return folder


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise ConfigError(f"cannot make the directory of keys {folder}: {error.strerror}") from None
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise ConfigError(f"{folder} must be a directory of yours with mode 0700: it holds keys; chmod 700 it")
