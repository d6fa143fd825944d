"""What a machine must have: Python, a data directory, a hub that answers or none, agents, a terminal, fonts, a page.

Owns: these checks. Must not: start, write (but for an empty file that goes again) or mend anything.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from felixhub.cli.doctor.finding import Finding
from felixhub.core.errors import ConfigError, FelixError
from felixhub.eventlog.directory import LOCK_NAME
from felixhub.settings.settings import Settings
from felixhub.transport.address import CONNECTION_FILE, KeyRefused, NoHub, find_hub, ipc_directory
from felixhub.transport.control import ControlClient, HubRefused
from felixhub.version import __version__

PYTHON_MIN = (3, 11)
FREE_BYTES_MIN = 200_000_000
ANSWER_S = 5.0  # for a hub that is up; a busy machine may take its time
COLUMNS_MIN = 60
NO_HUB = "none is up: `felixhub up --serve` starts one"
PDF_FONT = "Libertinus Serif"  # what page.typ asks for
WIDE_FONTS = ("CJK", "Source Han", "WenQuanYi", "IPAGothic", "Nanum", "Droid Sans Fallback")
PAGE_NEEDS = ("starlette", "uvicorn", "sse_starlette", "jinja2")


def python() -> Finding:
    found = f"Python {platform.python_version()}, felixhub {__version__}"
    if sys.version_info < PYTHON_MIN:
        return Finding("python", "wrong", found, "install Python 3.11 or newer")
    return Finding("python", "ok", found)


def data_directory(path: Path) -> Finding:
    """That it is there or can be made, is ours alone, can be written, and has room."""
    existing = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not existing.is_dir():
        return Finding("data", "wrong", f"{existing} is a file", "name another directory with --data")
    if not os.access(existing, os.W_OK | os.X_OK):
        fix = "change its owner or mode, or name another with --data"
        return Finding("data", "wrong", f"{existing} cannot be written", fix)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
        facts, free = existing.stat(), shutil.disk_usage(existing).free
    except OSError as error:
        return Finding("data", "wrong", f"{existing} cannot be written ({error.strerror})", "name another with --data")
    if free < FREE_BYTES_MIN:
        return Finding("data", "wrong", f"{existing} has {free // 1_000_000} MB free", "make room, or `felixhub prune`")
    if existing != path:
        return Finding("data", "ok", f"{path} will be made at the first start")
    if stat.S_IMODE(facts.st_mode) & 0o077:
        sentence = f"{path} has mode {stat.S_IMODE(facts.st_mode):04o}: others may look into it"
        return Finding("data", "wrong", sentence, f"chmod 700 {path}")
    return Finding("data", "ok", f"{path}, {free / 1e9:.1f} GB free")


def hub(data_dir: Path, named: str | None) -> Iterator[Finding]:
    """Whether a hub answers, and what an earlier one has left."""
    if not named and not data_dir.is_dir():
        yield Finding("hub", "ok", NO_HUB)
        return
    try:
        ipc_directory(data_dir)
    except ConfigError as error:
        yield Finding("hub", "wrong", str(error))
    try:
        with ControlClient(lambda: find_hub(named, default=data_dir), wait_s=ANSWER_S) as client:
            said = client.hello()
    except NoHub:
        yield _silent(data_dir, named)
    except KeyRefused as error:
        yield Finding("hub", "wrong", str(error))
    except HubRefused as error:
        # A worker's key may not even say hello; that it is told so is an answer.
        is_there = error.code == "forbidden"
        yield Finding("hub", "ok" if is_there else "wrong", f"{named or data_dir} answers: {error}")
    except FelixError as error:
        yield Finding("hub", "wrong", str(error))
    else:
        where = f"at {named or data_dir}, pid {said['pid']}, felixhub {said['felixhub']}"
        if said["felixhub"] != __version__:
            yield Finding("hub", "note", f"one is up {where}", f"this is {__version__}: restart it to have the same")
        else:
            yield Finding("hub", "ok", f"one is up {where}")


def _silent(data_dir: Path, named: str | None) -> Finding:
    if named:
        return Finding("hub", "wrong", f"none answers at {named}", "start it there, or unset FELIXHUB_HUB")
    holder = _holder(data_dir)
    if holder is not None:
        sentence = f"process {holder} holds {data_dir} and does not answer"
        return Finding("hub", "wrong", sentence, f"end it (kill {holder}), then start the hub again")
    if (data_dir / CONNECTION_FILE).exists():
        fix = "the next start goes on from its log: felixhub up --serve"
        return Finding("hub", "note", f"one in {data_dir} has ended without a farewell", fix)
    return Finding("hub", "ok", NO_HUB)


def _holder(data_dir: Path) -> str | None:
    """The process that holds the directory's lock, None when nobody does."""
    try:
        with (data_dir / LOCK_NAME).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read(32).decode(errors="replace").strip() or "unknown"
            fcntl.flock(lock, fcntl.LOCK_UN)
    except OSError:
        return None
    return None


def agents(settings: Settings) -> Iterator[Finding]:
    """Every card and every workflow, and what is wrong in them."""
    from felixhub.settings.cards import load_cards
    from felixhub.settings.workflows import check_workflow, list_workflows, load_workflow

    sound, faults = 0, []
    workflows = list_workflows(settings.workflows_dirs)
    for path in workflows.values():
        try:
            needed = load_workflow(path, []).agents()
            cards = load_cards(settings.agents_dirs, settings.endpoints, needed=needed)
            check_workflow(path, settings.workflows_dirs, cards)
            sound += 1
        except ConfigError as error:
            faults += str(error).split("\n")
    try:
        cards_found = len(load_cards(settings.agents_dirs, settings.endpoints))
    except ConfigError as error:
        faults += str(error).split("\n")
        cards_found = 0
    for line in dict.fromkeys(faults):
        yield Finding("agents", "wrong", line, "felixhub workflows check")
    if not faults:
        yield Finding("agents", "ok", f"{cards_found} agents, {sound} workflows, all sound")


def terminal() -> Finding:
    encoding = (sys.stdout.encoding or "ascii").lower()
    if not encoding.startswith("utf"):
        return Finding("terminal", "note", f"it shows {encoding}", "signs are plain; export LANG=C.UTF-8 has all")
    if not sys.stdout.isatty():
        return Finding("terminal", "ok", "none: what is printed goes elsewhere, without colours")
    if os.environ.get("TERM", "dumb") == "dumb":
        return Finding("terminal", "note", "TERM is dumb", "no colours, and `felixhub top` needs another")
    columns, rows = shutil.get_terminal_size()
    if columns < COLUMNS_MIN:
        return Finding("terminal", "note", f"{columns} columns", f"lines read better with {COLUMNS_MIN} or more")
    colours = "no colours (NO_COLOR)" if os.environ.get("NO_COLOR") else "colours"
    return Finding("terminal", "ok", f"{os.environ['TERM']}, {columns}x{rows}, {encoding}, {colours}")


def pdf() -> Iterator[Finding]:
    """Whether `felixhub export --format pdf` can work, and for which scripts."""
    try:
        import typst
    except ImportError:
        yield Finding("pdf", "note", "the package typst is not there", "pip install 'felixhub[pdf]' to export PDF")
        return
    families = typst.Fonts().families()
    if PDF_FONT not in families:
        yield Finding("pdf", "note", f"the font {PDF_FONT} is missing: another is taken", "reinstall the package typst")
    elif not any(wide in family for family in families for wide in WIDE_FONTS):
        fix = "for those install a font such as fonts-noto-cjk"
        yield Finding("pdf", "note", f"{len(families)} fonts, none for Chinese, Japanese or Korean", fix)
    else:
        yield Finding("pdf", "ok", f"{len(families)} fonts")


def page() -> Finding:
    """Whether `felixhub web` and `felixhub top` have what they are made of."""
    missing = [name for name in (*PAGE_NEEDS, "textual") if find_spec(name) is None]
    if missing:
        return Finding(
            "page", "wrong", f"missing for the page and `top`: {', '.join(missing)}", "install felixhub again"
        )
    return Finding("page", "ok", "the browser's page and the terminal's grid can be served")
