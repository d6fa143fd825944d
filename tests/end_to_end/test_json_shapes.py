"""docs/commands.md against the commands: what there is, and what they really print with `--json`, field by field."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from shell import MEMO, ROOT, TASK, Done, Shell, a_shell

from felixhub.cli.main import app
from felixhub.core.events import parse_event
from felixhub.llm.offline import OfflineModel

PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `felixhub ([^`]+)`\n(.*?)(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
KINDS: dict[str, Any] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "object": lambda value: isinstance(value, dict),
    "list of string": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "list of object": lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value),
    "any": lambda _: True,
}
ONE = """name = "one"
about = "One section"
[[stages]]
name = "risks"
agent = "research"
section = "Risks"
retries_max = 0
"""


def documented(command: str) -> dict[str, str]:
    """The type of each field."""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", SECTIONS[command], flags=re.MULTILINE)
    found = {name.removesuffix("[]"): kind.strip() for name, kind in rows}
    assert found, command
    return found


def leaves(value: Any, known: dict[str, str], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field with its value; what the page does not look into, we do not look into either."""
    if path in known:
        yield path, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, known, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, known, f"{path}[]" if path else "")
    else:
        yield path, value


def check(command: str, *printed: Any) -> None:
    """All that was printed is documented, with its type, and all that is documented was printed."""
    known = documented(command)
    seen = set()
    for value in printed:
        for path, leaf in leaves(value, known):
            if path not in known and leaf is None and any(name.startswith(f"{path}.") for name in known):
                continue  # An object that may be null.
            assert path in known, f"{command} prints {path} = {leaf!r}, and the page does not say so"
            assert any(KINDS[kind](leaf) for kind in known[path].split(" or ")), (command, path, leaf)
            seen.add(path)
    assert seen == set(known), f"{command} has not printed {set(known) - seen}"


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Shell, str, str]]:
    """A hub, a run that has finished and one that has failed."""
    model = OfflineModel(tokens_per_s=2_000.0, first_token_s=0.0)
    model.start()
    with a_shell() as shell:
        shell.write("config/workflows/one.toml", ONE)
        serving = shell.serve("--view", "none")
        asked = ("run", TASK, "--file", MEMO, "--workflow", "one")
        run = shell.run(*asked, "--llm", model.base_url, "--budget-tokens", "90000").err.split()[1]
        model.stop()
        failed = shell.run(*asked, "--llm", model.base_url, "--after", run, code=1).err.split()[1]
        yield shell, run, failed
        serving.signal(signal.SIGTERM)
        assert serving.wait(30.0).code == 0


def test_every_command_is_on_the_page() -> None:
    def names(command: Any, words: str) -> Iterator[str]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield words
            return
        for name, one in inner.items():
            yield from names(one, f"{words} {name}")

    listed = re.findall(r"^\| `(felixhub [a-z- ]+)` \|", PAGE, flags=re.MULTILINE)
    assert sorted(listed) == sorted(names(typer.main.get_command(app), "felixhub"))


def test_every_command_with_json_has_its_shape_on_the_page() -> None:
    def reading(command: Any, words: str) -> Iterator[str]:
        for name, one in getattr(command, "commands", {}).items():
            yield from reading(one, f"{words} {name}".strip())
        if any("--json" in param.opts for param in command.params):
            yield words

    with_json = {name.removesuffix(" --json").removesuffix(" --detach") for name in SECTIONS if name.endswith("--json")}
    assert set(reading(typer.main.get_command(app), "")) == with_json


def test_runs(place: tuple[Shell, str, str]) -> None:
    shell, run, failed = place
    check("ps --json", shell.run("ps", "--json").json)
    check("show --json", shell.run("show", run, "--json").json, shell.run("show", failed, "--json").json)
    check("sections --json", shell.run("sections", run, "--json").json)
    detached = shell.run("run", TASK, "--workflow", "one", "--llm", "offline", "--detach", "--json").json
    check("run --detach --json", detached)


def test_diff(place: tuple[Shell, str, str]) -> None:
    shell, run, _ = place
    check("diff --json", {**shell.run("diff", run, "risks", "1", "1", "--json").json})
    only = shell.run("diff", run, "risks", "--json").json
    assert only["from"] is None and only["to"]["version"] == 1


def test_watch(place: tuple[Shell, str, str]) -> None:
    shell, run, _ = place
    done = shell.run("watch", "--run", run, "-o", "json", "--tail", "all", "--no-follow")
    assert [parse_event(line).kind for line in done.out.splitlines()][-1] == "run.finished"


def test_workflows(place: tuple[Shell, str, str]) -> None:
    shell, _, _ = place
    broken = shell.write("config/workflows/broken.toml", "about = 3\n")
    check("workflows list --json", shell.run("workflows", "list", "--json").json)
    told = shell.run("workflows", "check", "--json", code=2).json
    (bad,) = [one for one in told["workflows"] if not one["sound"]]
    assert f"{broken}:1: 'about' must be text, in quotes, not 3" in bad["mistakes"]
    broken.unlink()
    check("workflows check --json", told, shell.run("workflows", "check", "nope", "--json", code=2).json)
    check("workflows show --json", shell.run("workflows", "show", "one", "--json").json)


def test_keys(place: tuple[Shell, str, str]) -> None:
    shell, _, _ = place
    shell.run("keys", "new", "anna", "--role", "viewer", "--address", "tcp://127.0.0.1:7800")
    check("keys list --json", shell.run("keys", "list", "--json").json)


def test_doctor_config_and_logs(place: tuple[Shell, str, str]) -> None:
    shell, _, _ = place
    check("doctor --json", shell.run("doctor", "--quick", "--llm", "offline", "--json").json)
    check("config show --json", shell.run("config", "show", "--json").json)
    lines = [json.loads(line) for line in shell.run("logs", "--json").lines]
    known = documented("logs --json")
    assert all(set(known) <= set(one) and all(KINDS[known[name]](one[name]) for name in known) for one in lines)


def test_show_says_what_it_is_and_what_to_do(place: tuple[Shell, str, str]) -> None:
    shell, run, failed = place
    lines = shell.run("show", run).lines
    assert lines[0].startswith(f"run         {run} · finished · ") and lines[0].endswith(" by command line")
    assert lines[1] == f"task        {TASK}"
    assert f"at most {90_000:,} tokens" in lines[2] and "workflow one" in lines[2]
    assert lines[3] == f"documents   {MEMO.name} ({len(MEMO.read_bytes()):,} bytes)"
    (stage,) = [line.split() for line in lines if line.startswith("risks")][:1]
    assert stage[:4] == ["risks", "research", "final", "1"]
    assert "1 of 1 written" in lines
    assert f"next        felixhub export {run}" in lines
    told = shell.run("show", failed, "--json").json
    assert told["status"] == "failed" and "Nothing answers at" in told["error"] and told["after"] == run
    assert told["stages"][0]["state"] == "failed" and told["stages"][0]["why"]
    said = shell.run("show", failed, "--hub", shell.data)
    assert "error       " in said.text and f"--hub {shell.data}" in said.lines[-1]


def test_what_a_model_said_is_never_obeyed(place: tuple[Shell, str, str]) -> None:
    shell, _, _ = place
    asked = ("run", "sly \x1b]0;owned\x07 \u202e task", "--workflow", "one", "--llm", "offline", "--detach")
    run = shell.run(*asked).lines[0]
    for more in ((), ("--json",)):
        terminal = shell.terminal("show", run, *more)
        assert terminal.wait() == 0
        assert b"\x1b]" not in terminal.received and "\u202e" not in terminal.screen
        assert "sly" in terminal.screen
    plain: Done = shell.run("show", run, "--json")
    assert plain.json["task"] == "sly \x1b]0;owned\x07 \u202e task"
