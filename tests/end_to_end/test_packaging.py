"""The wheel and the source distribution: agents and configuration are inside, and both run without the checkout.

Built by the project's own backend in this environment. Nothing is fetched: what an installation needs is here too.
"""

from __future__ import annotations

import configparser
import email
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from packaged import built
from shell import MEMO, ROOT, TASK, Shell

from felixhub.llm.offline import OfflineModel
from felixhub.version import __version__

# What a user may write against the installed package, checked as strictly as a type checker can.
TYPED = """
import asyncio
from pathlib import Path

import felixhub
from felixhub.testing import FAIL, HubForTests, Script, Think, a_hub


def follow(run: felixhub.RunClient) -> str:
    for event in run:
        said: bytes = event.raw
        print(event.kind, event.agent_name, len(said))
    result: felixhub.RunResult = run.wait(timeout_s=60.0)
    return result.text if result.ok else result.error


async def both() -> list[felixhub.RunResult]:
    runs = [await felixhub.start_async(task, files=[Path("notes.md")]) for task in ("One?", "Two?")]
    return await asyncio.gather(*(run.wait() for run in runs))


async def think(request: felixhub.Request) -> object:
    return felixhub.Reasoning(request.task)


def try_it() -> None:
    with a_hub() as hub:
        check(hub)
    with felixhub.connect() as client, felixhub.subscribe("all", until_done=True) as events:
        rows = client.runs()
        board: felixhub.Board = events.board
        print(len(rows), board.runs)


def check(hub: HubForTests) -> None:
    follow(hub.run(ann=Script("One. ", Think("hm"), pace_s=0.1), ben=[Script(FAIL), Script("Two.")]))
"""


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


def test_the_source_distribution_makes_the_wheel(tmp_path: Path) -> None:
    """Somebody who has it needs no checkout: everything, the tests too, is inside."""
    packed = built("sdist", tmp_path / "packed")
    assert packed.name == f"felixhub-{__version__}.tar.gz"
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / packed.name.removesuffix(".tar.gz")
    for name in (
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "Makefile",
        "run_hub.py",
        "tests/conftest.py",
        "docs",
        "examples",
    ):
        assert (source / name).exists(), name
    assert not [path for path in source.rglob("*") if path.name in (".venv", ".git", "felixhub-data", "__pycache__")]
    inside = {str(file.relative_to(source)): file for file in (source / "felixhub").rglob("*") if file.is_file()}
    for kind in ("agents", "config"):
        inside |= {f"felixhub/defaults/{file.relative_to(source)}": file for file in (source / kind).rglob("*.*")}
    with zipfile.ZipFile(built("wheel", tmp_path / "wheel", source)) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        assert sorted(names) == sorted(inside)
        for name, file in inside.items():
            assert archive.read(name) == file.read_bytes(), name


def test_what_it_says_of_itself(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        told = email.message_from_bytes(archive.read(f"felixhub-{__version__}.dist-info/METADATA"))
    assert (told["Name"], told["Version"], told["Requires-Python"]) == ("felixhub", __version__, ">=3.11")
    assert told["License-Expression"] == "MIT" and told["Description-Content-Type"] == "text/markdown"
    assert {"pdf", "dev"} <= set(told.get_all("Provides-Extra", []))
    needed = [one for one in told.get_all("Requires-Dist", []) if "extra ==" not in one]
    assert any(one.startswith("pyzmq") for one in needed)
    for name in ("pytest", "playwright", "matplotlib", "typst", "ruff"):
        assert not [one for one in needed if one.startswith(name)], f"{name} is not for users"


def test_the_command_from_an_empty_folder(installed: Path, shell: Shell, model: OfflineModel) -> None:
    """As pipx has it: a script in a folder of the path. Cards, workflows and configuration come with it."""
    environ = {"PATH": f"{installed / 'bin'}{os.pathsep}{os.environ['PATH']}", "FELIXHUB_DATA": "", "PYTHONPATH": ""}
    empty = shell.folder / "empty"
    empty.mkdir()
    command = str(installed / "bin" / "felixhub")

    def run(*words: str, seconds: float = 90.0) -> str:
        done = subprocess.run(
            [command, *words],
            cwd=empty,
            env={**shell.environ, **environ},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--version") == f"felixhub {__version__}\n"
    listed = run("workflows", "list")
    assert all(name in listed for name in ("helix", "sections", "phases", "pipeline", "swarm"))
    assert str(installed) in run("workflows", "list", "--json") and str(ROOT) not in run("workflows", "list", "--json")
    run("workflows", "check")
    out = run("up", TASK, "--file", str(MEMO), "--llm", model.base_url, "--out", "answer.md")
    assert "run finished" in out
    assert (empty / "answer.md").read_text().startswith("# Should the city")
    assert [path.name for path in empty.iterdir()] == ["answer.md"]
    shell.until_nothing_is_left()


def test_a_typed_program_against_the_installed_package(installed: Path, tmp_path: Path) -> None:
    """mypy --strict finds our types (`py.typed`), and notices when they are used wrongly."""
    check = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(installed / "bin" / "python")]
    check += ["--cache-dir", str(tmp_path / "cache"), "--no-error-summary"]
    (tmp_path / "good.py").write_text(TYPED)
    (tmp_path / "bad.py").write_text('import felixhub\n\nfelixhub.start("x").wait(timeout="soon").txt\n')
    good = subprocess.run([*check, "good.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout) == (0, ""), good.stdout
    bad = subprocess.run([*check, "bad.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert 'Unexpected keyword argument "timeout"' in bad.stdout and 'no attribute "txt"' in bad.stdout
