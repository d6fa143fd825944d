"""Where configuration and data lie: in a checkout, in an install, in the user's home.

Owns: these places. Must not: read what is in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

PACKAGE = Path(__file__).resolve().parent.parent


def checkout() -> Path | None:
    """The root of the checkout that this package runs from, None when it was installed."""
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "config").is_dir() else None


def packaged(kind: Literal["agents", "config"]) -> Path:
    """The folder that ships with us: inside the package when installed, else the checkout's."""
    root = checkout()
    return PACKAGE / "defaults" / kind if root is None else root / kind


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """`FELIXHUB_DATA`, else `felixhub-data` in the checkout, else the user's data directory."""
    if named := environ.get("FELIXHUB_DATA"):
        return Path(named).expanduser().absolute()
    root = checkout()
    if root is not None:
        return root / "felixhub-data"
    import platformdirs  # Imported late: mostly not needed.

    return Path(platformdirs.user_data_dir("felixhub", appauthor=False))


def user_config_dir() -> Path:
    """Where the user's own hub.toml and llm.toml are looked for."""
    import platformdirs

    return Path(platformdirs.user_config_dir("felixhub", appauthor=False))
