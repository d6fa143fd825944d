"""Every command and snippet of the documents: run here, or held to the real command line and named with its test.

All on one hub and the offline model. A page's files (workflows, cards, agents) are put where the page says before its
commands are run.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ports import free_ports
from snippets import PAGES, ROOT, Block, Command, blocks, commands, fault, inline_commands

from felixhub.core.errors import ConfigError
from felixhub.settings.cards import load_cards
from felixhub.settings.settings import load_settings
from felixhub.settings.workflows import check_workflow
from felixhub.testing import HubForTests
from felixhub.worker.sdk import load_agent

BIN = Path(sys.executable).parent
DEADLINE_S = 120.0
MEMO = ROOT / "examples" / "night-bus-depot.md"

# Blocks of these languages have tests of their own.
ELSEWHERE = {
    "docs/protocol.md": "tests/docs/test_protocol.py",
    "docs/http.md": "tests/docs/test_http_page.py",
}
# Commands that stay, that need another machine, a real model or a person, and where they are run.
RUN_IN = {
    "up": "tests/end_to_end/test_newcomer.py",
    "watch": "tests/end_to_end/test_watching.py",
    "agent": "tests/end_to_end/test_processes.py",
    "hub": "tests/end_to_end/test_processes.py",
    "offline-model": "tests/end_to_end/test_processes.py",
    "cancel": "tests/end_to_end/test_commands.py",
    "pause": "tests/end_to_end/test_commands.py",
    "resume": "tests/end_to_end/test_commands.py",
    "steer": "tests/end_to_end/test_steering_commands.py",
    "regenerate": "tests/end_to_end/test_steering_commands.py",
    "approve": "tests/end_to_end/test_steering_commands.py",
    "edit": "tests/end_to_end/test_steering_commands.py",
    "sections": "tests/end_to_end/test_steering_commands.py",
    "doctor": "tests/end_to_end/test_doctor.py",
    "keys": "tests/end_to_end/test_keys_commands.py",
    "export": "tests/end_to_end/test_exporting.py",
    "replay": "tests/end_to_end",
    "top": "tests/views",
    "web": "tests/views",
    "logs": "tests/end_to_end",
    "init": "tests/end_to_end",
    "completion": "tests/end_to_end",
    "rm": "tests/end_to_end/test_removing.py",
    "prune": "tests/end_to_end/test_removing.py",
}
# These end by themselves and harm nobody: where they are written out they are run.
RUN_HERE = ("run", "ps", "workflows", "keys", "export", "show", "config")
RUN_HERE_ALONE = ("up",)  # on a data directory of its own, when the offline model is named
PLACEHOLDER = re.compile(r"[A-Z][A-Z-]+|…|.*\.\.\.")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A project folder of somebody's own."""
    with tempfile.TemporaryDirectory(prefix="felixhub-") as made:
        folder = Path(made)
        for name in ("run", "home", "project"):
            (folder / name).mkdir(mode=0o700)
        yield folder


@pytest.fixture(scope="module")
def environ(place: Path) -> dict[str, str]:
    ours = ("FELIXHUB_", "XDG_", "PYTHON")
    kept = {n: v for n, v in os.environ.items() if not n.startswith(ours) and not n.endswith("_API_KEY")}
    return kept | {
        "HOME": str(place / "home"),
        "XDG_RUNTIME_DIR": str(place / "run"),
        "FELIXHUB_DATA": str(place / "data"),
        "FELIXHUB_LLM": "offline",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture(scope="module")
def served(place: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """`felixhub up --serve`, with one run that has ended. Its project folder."""
    log = place / "hub.log"
    project = place / "project"
    with log.open("wb") as out:
        listen = f"tcp://127.0.0.1:{free_ports()}"
        command = [str(BIN / "felixhub"), "up", "--serve", "--view", "none", "--listen", listen]
        hub = subprocess.Popen(command, cwd=project, env=dict(environ), stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while b"Ctrl-C stops" not in log.read_bytes():
            assert hub.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        _run(["felixhub", "run", "What does the depot need?", "--workflow", "swarm"], project, environ)
        yield project
    finally:
        hub.send_signal(signal.SIGTERM)
        try:
            hub.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(hub.pid, signal.SIGKILL)
            hub.wait()


def _run(
    words: list[str], cwd: Path, environ: Mapping[str, str], codes: tuple[int, ...] = (0,)
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, cwd=cwd, env=dict(environ), capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode in codes, f"{' '.join(words)}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr}"
    return done


def _has_its_own_test(page: Path) -> bool:
    return str(page.relative_to(ROOT)) in ELSEWHERE


def _of(*languages: str) -> list[Any]:
    found = [block for page in PAGES if page.exists() for block in blocks(page) if block.language in languages]
    return [pytest.param(block, id=str(block)) for block in found]


def _with_commands() -> list[Any]:
    return [pytest.param(page, id=page.name) for page in PAGES if page.exists()]


# ---- what is written ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", _with_commands())
def test_every_command_is_one_that_exists(page: Path) -> None:
    wrong = []
    for command in (command for block in blocks(page) if block.holds_commands for command in commands(block)):
        if command.ours is not None:
            said = fault(command.ours, is_whole="…" not in command.ours)
            wrong += [f"{command.where}: {' '.join(command.arguments)}: {said}"] if said else []
        elif command.program == "make":
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            wrong += [f"{command.where}: no make {word}" for word in command.arguments if _is_no_target(word, targets)]
    for command in inline_commands(page):
        assert command.ours is not None
        if said := fault(command.ours, is_whole=False):
            wrong.append(f"{command.where}: {said}")
    assert not wrong, "\n".join(wrong)


def _is_no_target(word: str, targets: list[str]) -> bool:
    return "=" not in word and word not in targets


def test_every_command_is_run_somewhere() -> None:
    names = {command.ours[0] for command in _all_commands() if command.ours and not command.ours[0].startswith("-")}
    lost = [name for name in names if name not in RUN_HERE and name not in RUN_IN]
    assert not lost, f"no test runs these: {lost}"
    for name in names - set(RUN_HERE):
        place = ROOT / RUN_IN[name]
        files = [place] if place.is_file() else sorted(place.rglob("*.py"))
        typed = re.compile(rf"[\"']{name}[\"']|felixhub {name}\b")
        assert any(typed.search(file.read_text()) for file in files), f"{place} does not run felixhub {name}"


def _all_commands() -> Iterator[Command]:
    for page in PAGES:
        if page.exists():
            for block in blocks(page):
                if block.holds_commands:
                    yield from commands(block)


def test_pages_that_have_a_test_of_their_own() -> None:
    for page, test in ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text(encoding="utf-8")


def test_every_block_has_a_language_that_is_known() -> None:
    known = {
        "",
        "sh",
        "bash",
        "text",
        "python",
        "toml",
        "json",
        "markdown",
        "ini",
        "yaml",
        "html",
        "js",
        "javascript",
        "http",
    }
    odd = [str(block) for page in PAGES if page.exists() for block in blocks(page) if block.language not in known]
    assert not odd


# ---- configuration, workflows, cards -----------------------------------------------------------------------------


@pytest.mark.parametrize("block", _of("toml"))
def test_toml_is_taken_as_it_stands(block: Block, tmp_path: Path) -> None:
    """As a file of a project: the strictest place."""
    table = tomllib.loads(block.text)
    (tmp_path / "config" / "workflows").mkdir(parents=True)
    (tmp_path / "agents").mkdir()
    if "stages" in table:
        _write_files_of(block.page, tmp_path)
        settings = load_settings({}, {}, tmp_path, user_dir=tmp_path / "none")
        named = tmp_path / f"{table['name']}.toml"
        check_workflow(str(named), settings.workflows_dirs, load_cards(settings.agents_dirs))
        return
    name = "hub.toml" if {"limits", "data_dir", "listen"} & set(table) else "llm.toml"
    (tmp_path / "config" / name).write_text(block.text)
    settings = load_settings({}, {}, tmp_path, user_dir=tmp_path / "none")
    for name, endpoint in table.get("endpoints", {}).items():
        for key, value in endpoint.items():
            assert getattr(settings.endpoints[name], key) == value
    assert settings.llm == table.get("default")


def test_a_misspelt_snippet_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "llm.toml").write_text("[endpoints.ollama]\nmax_concurent = 1\n")
    with pytest.raises(ConfigError, match="max_concurrent"):
        load_settings({}, {}, tmp_path, user_dir=tmp_path / "none")
    assert fault(("run", "x", "--lmm", "ollama"), is_whole=True)
    assert fault(("workflow", "list"), is_whole=True) and fault(("export", "RUN", "--fromat"), is_whole=False)


@pytest.mark.parametrize("block", _of("markdown"))
def test_a_card_is_taken_as_it_stands(block: Block, tmp_path: Path) -> None:
    file = _write_card(block, tmp_path)
    card = load_cards([tmp_path])[file.stem]
    assert card.prompt and not card.program


@pytest.mark.parametrize("block", _of("json", "yaml"))
def test_json_is_json(block: Block) -> None:
    if block.language == "json" and not _has_its_own_test(block.page):
        json.loads(block.text)


def _write_card(block: Block, folder: Path) -> Path:
    name = re.search(r"^name: (\S+)$", block.text, re.MULTILINE)
    assert name is not None, f"{block}: a card without a name"
    file = folder / f"{name[1]}.md"
    file.write_text(block.text)
    return file


def _write_files_of(page: Path, project: Path) -> None:
    """The page's own workflows, cards and agents, where it says that they belong."""
    (project / "agents").mkdir(exist_ok=True)
    for block in blocks(page):
        if block.language == "toml" and "stages" in (table := tomllib.loads(block.text)):
            (project / f"{table['name']}.toml").write_text(block.text)
        elif block.language == "markdown":
            _write_card(block, project / "agents")
        elif block.language == "python" and _is_agent(block):
            saved = re.search(r"`(agents/[a-z-]+\.py)`", block.after)
            assert saved is not None, f"{block}: where is this agent saved?"
            (project / saved[1]).write_text(block.text)
        elif block.language == "python" and "pytest_plugins" in block.text:
            (project / "conftest.py").write_text(block.text)


# ---- Python ------------------------------------------------------------------------------------------------------


def _is_agent(block: Block) -> bool:
    return "async def think" in block.text


@pytest.mark.parametrize("block", [one for one in _of("python") if not _has_its_own_test(one.values[0].page)])
def test_python_runs_as_it_stands(block: Block, served: Path, environ: Mapping[str, str]) -> None:
    _write_files_of(block.page, served)
    if _is_agent(block):
        saved = re.search(r"`agents/([a-z-]+)\.py`", block.after)
        assert saved is not None
        load_agent(saved[1], served / "agents")
    elif "def test_" in block.text:
        (served / "conftest.py").write_text('pytest_plugins = ["felixhub.testing.plugin"]\n')
        (served / "test_of_the_page.py").write_text(block.text)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:xdist",
            "-p",
            "no:cacheprovider",
            "test_of_the_page.py",
        ]
        assert "1 passed" in _run(command, served, environ).stdout
    elif "pytest_plugins" not in block.text:
        (served / "page.py").write_text(block.text)
        if "subscribe()" in block.text:
            assert _says_something([sys.executable, "page.py"], served, environ)
        else:
            assert _run([sys.executable, "page.py"], served, environ).stdout or "assert" in block.text


def _says_something(words: list[str], cwd: Path, environ: Mapping[str, str]) -> bool:
    """Whether a program that never ends prints something."""
    with subprocess.Popen(words, cwd=cwd, env=dict(environ), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            ready = selector.select(DEADLINE_S)
            said = bool(ready) and bool(os.read(process.stdout.fileno(), 4096))
        process.kill()
    return said


@pytest.mark.parametrize("block", [one for one in _of("python") if _is_agent(one.values[0])])
def test_an_agent_of_a_page_works(block: Block, hub: HubForTests) -> None:
    from felixhub.core.messages import Document
    from felixhub.core.workflow import Stage, Workflow

    _write_files_of(block.page, hub.folder)
    saved = re.search(r"`agents/([a-z-]+)\.py`", block.after)
    assert saved is not None
    alone = Workflow(name="alone", stages=(Stage(name="it", agent=saved[1], retries_max=0),))
    memo = Document(name=MEMO.name, text=MEMO.read_text())
    result = hub.run(task="Say it.", workflow=alone, documents=[memo]).wait(DEADLINE_S)
    assert result.ok, result.error
    assert result.text


# ---- commands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [one for one in _with_commands() if one.values[0].name != "security.md"])
def test_commands_that_end_by_themselves_are_run(page: Path, served: Path, environ: Mapping[str, str]) -> None:
    """security.md is typed in order, on two machines, by tests/end_to_end/test_two_machines.py."""
    _write_files_of(page, served)
    shutil.copy(MEMO, served / "notes.md")
    for command in (command for block in blocks(page) if block.holds_commands for command in commands(block)):
        if command.ours is None or any(PLACEHOLDER.fullmatch(word) for word in command.ours[1:]):
            continue
        alone = command.ours[0] in RUN_HERE_ALONE and "offline" in command.ours and "--review" not in command.ours
        if command.ours[0] not in RUN_HERE and not alone:
            continue
        if any(word.endswith(".toml") and not (served / word).exists() for word in command.ours):
            continue  # A file of the reader's own.
        more = {"FELIXHUB_DATA": str(served.parent / "alone")} if alone else {}
        words = [str(BIN / "felixhub"), *command.ours]
        done = _run(words, served, {**environ, **more})
        assert done.stdout or done.stderr, command
    for file in served.glob("felixhub-*.json"):
        key = file.stem.removeprefix("felixhub-")
        _run([str(BIN / "felixhub"), "keys", "revoke", key], served, environ, codes=(0, 2))
        file.unlink()
