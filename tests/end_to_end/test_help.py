"""`--help` of every command: at once, with examples first; and what shells complete."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from shell import ROOT, Shell

HEAVY = {"zmq", "pydantic", "textual", "starlette", "uvicorn", "openai", "structlog", "sqlite3", "asyncio", "jinja2"}

# Every command and group, and after each whether help was printed and what was imported for it.
EVERY_HELP = """
import contextlib, io, json, sys
import typer.main
from felixhub.cli.main import app, main

def paths(command, words):
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from paths(inner, [*words, name])

told = {}
for words in list(paths(typer.main.get_command(app), [])):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main([*words, "--help"])
    told[" ".join(words)] = [code, out.getvalue()]
json.dump({"helps": told, "modules": sorted(sys.modules)}, sys.stdout)
"""


@pytest.fixture(scope="module")
def every() -> dict[str, object]:
    import json

    code = [sys.executable, "-c", EVERY_HELP]
    done = subprocess.run(code, check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_the_help_of_a_command_imports_nothing_that_does_its_work(every: dict[str, object]) -> None:
    loaded = {str(name).partition(".")[0] for name in every["modules"]}  # type: ignore[attr-defined]
    assert "typer" in loaded
    assert loaded & HEAVY <= {"pydantic"}, "which Typer itself reads a command's options with"
    ours = {name for name in every["modules"] if str(name).startswith("felixhub.")}  # type: ignore[attr-defined]
    assert not [name for name in ours if not name.startswith(("felixhub.cli", "felixhub.core", "felixhub.version"))]


def test_the_real_command_imports_nothing_heavy(shell: Shell) -> None:
    """As it is installed: the whole process, from its start to its end."""
    done = shell.run("--help", PYTHONPROFILEIMPORTTIME="1")
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.err.splitlines()}
    assert "typer" in loaded and loaded & HEAVY == set()


def test_help_leads_with_examples(shell: Shell, every: dict[str, object]) -> None:
    lines = [line for line in shell.run("--help").lines if line.strip()]
    assert lines[1].strip() == "Examples:" and lines[2].strip().startswith("felixhub up ")
    helps = every["helps"]
    assert isinstance(helps, dict) and len(helps) > 35
    for command, (code, text) in helps.items():
        assert code == 0
        head = text.partition("Options:")[0]
        assert f"\n  felixhub {command}" in head or command == "", f"no example for '{command}':\n{text}"


def test_every_command_is_listed_with_what_it_does(every: dict[str, object]) -> None:
    helps = every["helps"]
    assert isinstance(helps, dict)
    listed = [line.split(None, 1) for line in helps[""][1].partition("Commands:")[2].splitlines() if line.strip()]
    names = [words[0] for words in listed]
    assert all(len(words) == 2 for words in listed)
    assert set(names) == {command.split()[0] for command in helps if command}
    for name in (
        *("up", "run", "ps", "show", "watch", "top", "web", "cancel", "steer", "regenerate", "approve", "edit"),
        *("export", "agent", "hub", "workflows", "doctor", "init", "config", "completion", "logs", "rm", "prune"),
    ):
        assert name in names


def test_the_help_names_every_way_to_say_where_to_write(every: dict[str, object]) -> None:
    helps = every["helps"]
    assert isinstance(helps, dict)
    for command in ("up", "run", "export", "diff"):
        assert "-o, --output, --out FILE" in helps[command][1]
    assert "It begins with the first viewer." in " ".join(helps["replay"][1].partition("--stay")[2].split())
    for command in ("workflows show", "workflows check", "keys new", "keys revoke"):
        text = helps[command][1]
        assert not set("{}<>") & set(text.partition("\n\n")[0] + text.partition("Arguments:")[2])


@pytest.mark.parametrize("words", [(), ("workflows",), ("keys",), ("config",)])
def test_a_group_without_a_command_shows_its_help(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell.run(*words)
    assert done.text == shell.run(*words, "--help").text and "Commands:" in done.text


# ---- completion ----------------------------------------------------------------------------------------------------


def test_bash_completes_commands_and_options(shell: Shell) -> None:
    script = """eval "$(felixhub completion bash)"
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _felixhub_completion felixhub; echo "${COMPREPLY[*]}"; }
ask felixhub sh
ask felixhub show --
ask felixhub workflows ""
complete -p felixhub
"""
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        env=shell.environ,
        cwd=shell.project,
        check=True,
    )
    commands, options, group, installed = done.stdout.splitlines()
    assert commands == "show"
    assert {"--hub", "--json", "--help"} <= set(options.split())
    assert set(group.split()) == {"list", "check", "show"}
    assert installed == "complete -o default -F _felixhub_completion felixhub"
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_the_other_shells_ask_in_their_way(shell: Shell, name: str) -> None:
    script = shell.run("completion", name).text
    assert f"_FELIXHUB_COMPLETE=complete_{name}" in script
    asked = shell.run(
        _FELIXHUB_COMPLETE=f"complete_{name}",
        _TYPER_COMPLETE_ARGS="felixhub ste",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert "steer" in asked.text and "cancel" not in asked.text
    if shutil.which(name) is not None:
        subprocess.run([name, "-n"], input=script, text=True, check=True)


def test_a_shell_that_is_not_known(shell: Shell) -> None:
    assert (
        "there are completions for bash, zsh, fish, not for 'tcsh'" in shell.run("completion", "tcsh", code=2).complaint
    )
