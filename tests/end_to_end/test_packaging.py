"""The wheel: agents and configuration are inside, and it runs without the checkout.

Built by the project's own backend in this environment: nothing is fetched.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from shell import MEMO, ROOT, TASK, Shell

from felixhub.llm.offline import OfflineModel
from felixhub.version import __version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60.0, check=False)
    assert built.returncode == 0, built.stderr
    (made,) = folder.glob("*.whl")
    return made


def test_agents_and_config_are_inside(wheel: Path) -> None:
    assert wheel.name == f"felixhub-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for kind in ("agents", "config"):
            for file in (ROOT / kind).rglob("*"):
                if file.suffix in (".md", ".toml"):
                    inside = f"felixhub/defaults/{file.relative_to(ROOT)}"
                    assert inside in names
                    assert archive.read(inside) == file.read_bytes()
        entries = configparser.ConfigParser()
        entries.read_string(archive.read(f"felixhub-{__version__}.dist-info/entry_points.txt").decode())
        assert dict(entries["console_scripts"]) == {"felixhub": "felixhub.cli.main:entry"}
    assert "felixhub/defaults/config/workflows/helix.toml" in names and "felixhub/py.typed" in names
    # Ours is the only package: `agents`, say, would hide somebody else's.
    assert {name.split("/")[0] for name in names} == {"felixhub", f"felixhub-{__version__}.dist-info"}
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name or "/test_" in name]


def test_it_runs_from_the_wheel_alone(wheel: Path, shell: Shell, model: OfflineModel) -> None:
    """The default workflow, its agents, and the user's own data folder."""
    site = shell.folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    environ = {"PYTHONPATH": str(site), "FELIXHUB_DATA": ""}
    where = shell.run("--version", **environ)
    assert where.text == f"felixhub {__version__}\n"
    done = shell.run("up", TASK, "--file", MEMO, "--llm", model.base_url, "--out", "answer.md", **environ)
    assert f"hub at {shell.folder / 'home' / '.local' / 'share' / 'felixhub'}\n" in done.err
    assert re.search(r"helix · 4 agents: research, analysis, critic, synthesizer", done.text)
    assert (shell.project / "answer.md").read_text().startswith("# Should the city")
    loaded = shell.script(f"PYTHONPATH={site} {sys.executable} -c 'import felixhub; print(felixhub.__file__)'")
    assert loaded.text.startswith(str(site))
    shell.until_nothing_is_left()
