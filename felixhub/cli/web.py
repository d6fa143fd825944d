"""`felixhub web`: the gateway, from its options to its end.

Owns: which addresses are ours, the token, what is printed, and the exit code. Must not: know a route.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from signal import SIGINT
from urllib.parse import quote, urlsplit

from felixhub.cli.main import EXIT_INTERRUPTED
from felixhub.cli.processes import settings_for
from felixhub.cli.web_child import end_with_parent
from felixhub.core.errors import ConfigError, Place
from felixhub.logs import configure_logs, get_log, log_file
from felixhub.transport.address import NoHub, find_hub
from felixhub.transport.keys import check_private

TOKEN_BYTES = 32
TOKEN_CHARACTERS_MIN = 16
TOKEN_CHARACTERS_MAX = 512
PLACE_FILE = "web.json"
TOKEN_FILE = "web-token"


def web(
    *,
    hub: str | None,
    host: str,
    port: int,
    token_file: Path | None,
    allow_origins: Sequence[str],
    allow_hosts: Sequence[str],
    open_page: bool,
    with_parent: bool = False,
) -> int:
    """Serve until a signal comes; returns the exit code."""
    from felixhub.views.web.gateway import WebOptions
    from felixhub.views.web.server import is_loopback, listening, serve

    settings = settings_for()
    where = hub or settings.hub or settings.data_dir
    if token_file is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host} can be reached by others, who could read and command all runs: "
            "ask for a token with --token-file FILE, or leave --host out"
        )
    token = secrets.token_urlsafe(TOKEN_BYTES) if token_file is None else _token_in(token_file)
    origins = frozenset(map(_origin, allow_origins))
    try:
        configure_logs(file=log_file(_data_dir(where, settings.data_dir), "web"))
    except OSError:
        configure_logs()  # To standard error: what it notes must be somewhere.
    _hosts(host, port, allow_hosts)  # What is wrong with a name is said first, whoever has the port.
    is_there = _is_there(where, settings.data_dir)
    socket = listening(host, port, or_any=with_parent)
    port = socket.getsockname()[1]
    hosts = _hosts(host, port, allow_hosts)
    options = WebOptions(
        hub=where,
        hosts=hosts,
        origins=frozenset(f"{scheme}://{one}" for one in hosts for scheme in ("http", "https")),
        token=token,
        token_for_all=token_file is not None,
        cross_origins=origins,
    )
    address = f"http://{_shown(host)}:{port}/"
    full = f"{address}?token={quote(token, safe='')}" if options.token_for_all else address

    def ready() -> None:
        print(f"felixhub web at {full}", flush=True)
        if sys.stdout.isatty() and not with_parent:
            print("Ctrl-C ends it; runs go on without it", flush=True)
        if not is_there:
            print("felixhub: no hub is up yet: the page waits for it", file=sys.stderr, flush=True)
        if open_page and _has_screen():
            threading.Thread(target=_open, args=(full,), daemon=True).start()

    if with_parent:
        end_with_parent()
    log = get_log("web")
    with _told(_data_dir(where, settings.data_dir), address, token):
        log.info("web_started", address=address)
        signal = serve(options, [socket], ready=ready)
        log.info("web_stopped")
    return EXIT_INTERRUPTED if signal == SIGINT else 0


def _is_there(where: str | Path, default: Path) -> bool:
    try:
        find_hub(str(where), default=default)
    except NoHub:
        return False
    return True


def _has_screen() -> bool:
    """Whether a browser would open beside this terminal, and not in it."""
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")))


def _open(address: str) -> None:
    """In a browser, if there is one; the address has been printed."""
    with contextlib.suppress(Exception):
        webbrowser.open(address)


# ---- addresses -------------------------------------------------------------------------------------------------------


def _shown(host: str) -> str:
    """A host as an address has it; all of a machine's are one of them."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _hosts(host: str, port: int, allowed: Sequence[str]) -> frozenset[str]:
    """The values of the header Host that are ours."""
    found = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]", _shown(host).lower())}
    for name in allowed:
        if not name or any(part in name for part in ("/", "@", " ", "*")):
            raise ConfigError(f"--allow-host {name!r} is no host: write a name like lab.example, or lab.example:8443")
        name = name.lower()
        has_port = name.rpartition("]")[2].count(":") == 1 or (":" in name and not name.startswith("["))
        found |= {name} if has_port else {name, f"{name}:{port}"}
    return frozenset(found)


def _origin(url: str) -> str:
    """A front end's origin as browsers send it. Raises ConfigError."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.path in ("", "/") and not parts.query:
            shown = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            usual = {"http": 80, "https": 443}[parts.scheme]
            return f"{parts.scheme}://{shown}" + (f":{parts.port}" if parts.port not in (None, usual) else "")
    raise ConfigError(f"--allow-origin {url!r} is no origin: write http://HOST:PORT, without a path")


# ---- the token -------------------------------------------------------------------------------------------------------


def _token_in(file: Path) -> str:
    try:
        check_private(file)
        token = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"cannot read the token: {error.strerror}", place=Place(str(file))) from None
    except UnicodeDecodeError:
        raise ConfigError("the token is not text", place=Place(str(file))) from None
    if not TOKEN_CHARACTERS_MIN <= len(token) <= TOKEN_CHARACTERS_MAX or not token.isascii() or not token.isprintable():
        raise ConfigError(
            f"a token is one line of {TOKEN_CHARACTERS_MIN} to {TOKEN_CHARACTERS_MAX} letters and digits: "
            'make one with `python -c "import secrets; print(secrets.token_urlsafe())"`',
            place=Place(str(file)),
        )
    return token


def _data_dir(where: str | Path, default: Path) -> Path:
    """The folder of the hub's data, or this machine's own where the hub is elsewhere."""
    path = Path(where)
    return path if path.is_dir() else default


@contextlib.contextmanager
def _told(folder: Path, address: str, token: str) -> Iterator[None]:
    """For programs of this user: where the page is, and the token that commands need."""
    place, secret = folder / PLACE_FILE, folder / TOKEN_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_private(secret, f"{token}\n")
        _write_private(place, json.dumps({"address": address, "pid": os.getpid()}) + "\n")
    except OSError as error:
        print(f"felixhub: cannot write {place}: {error.strerror}; programs do not find this page", file=sys.stderr)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError, KeyError):
            if json.loads(place.read_text())["pid"] == os.getpid():  # Another one may have come since.
                place.unlink()
                secret.unlink()


def _write_private(file: Path, text: str) -> None:
    """Whole or not at all, for this user's eyes only."""
    draft = file.with_name(f".{file.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    draft.replace(file)
