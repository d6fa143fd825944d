"""`felixhub init`: the cards, the workflows and the configuration that ship with us, copied out to be edited.

Owns: what is copied and what is said of it. Must not: change a file that is there.
"""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterator
from pathlib import Path

from felixhub.core.errors import ConfigError, Place
from felixhub.settings.folders import packaged
from felixhub.views import wording

KINDS = {".md": "agents", ".py": "agents", ".toml": "config"}
LEFT_SHOWN_MAX = 20


def init(folder: Path) -> None:
    """Copy `agents/` and `config/` into `folder`. Raises ConfigError for the first file that cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError("this is a file: name a folder", place=Place(str(folder)))
    made: list[str] = []
    same: list[str] = []
    left: list[str] = []
    for source, name in _files():
        target = folder / name
        if _copy(source, target):
            made.append(name)
        else:
            (same if _is_same(source, target) else left).append(name)
    if made:
        print(f"made {_listed(made)} in {_shown(folder)}")
    if same:
        print(f"{wording.count(len(same), 'file')} {'was' if len(same) == 1 else 'were'} there already")
    if left:
        print(f"left as {'it is' if len(left) == 1 else 'they are'}: {wording.names(left, at_most=LEFT_SHOWN_MAX)}")
    here = "" if folder.resolve() == Path.cwd() else f"cd {_shown(folder)} · "
    print(f'next: {here}edit agents/critic.md · felixhub workflows check · felixhub up "TASK"')


def _files() -> Iterator[tuple[Path, str]]:
    """Every file that ships with us, and its name in a project."""
    for kind in ("agents", "config"):
        root = packaged("agents" if kind == "agents" else "config")
        for path in sorted(root.rglob("*")):
            if path.suffix in KINDS and path.is_file():
                yield path, f"{kind}/{path.relative_to(root)}"


def _copy(source: Path, target: Path) -> bool:
    """Whether it was copied; False when something is there, even a link to nowhere."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(source.read_bytes())
    except FileExistsError:
        if not target.parent.is_dir():
            raise ConfigError("a file is in the way of a folder: move it", place=Place(str(target.parent))) from None
        return False
    except NotADirectoryError:
        raise ConfigError("a file is in the way of a folder: move it", place=Place(str(target.parent))) from None
    except OSError as error:
        raise ConfigError(f"cannot write this file: {error.strerror}", place=Place(str(target))) from None
    return True


def _is_same(source: Path, target: Path) -> bool:
    try:
        return filecmp.cmp(source, target, shallow=False)
    except OSError:
        return False


def _listed(made: list[str]) -> str:
    """`14 agents, 5 workflows, config/hub.toml, config/llm.toml`."""
    agents = [name for name in made if name.startswith("agents/")]
    workflows = [name for name in made if name.startswith("config/workflows/")]
    parts = [name for name in made if name not in {*agents, *workflows}]
    if workflows:
        parts.insert(0, wording.count(len(workflows), "workflow"))
    if agents:
        parts.insert(0, wording.count(len(agents), "agent"))
    return ", ".join(parts)


def _shown(folder: Path) -> str:
    path = folder.absolute()
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
