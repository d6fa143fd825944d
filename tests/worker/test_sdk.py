"""A user's own agent: what it is given, how it is loaded, what becomes of its mistakes."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from assignments import an_assignment

from felixhub.core.errors import ConfigError, ModelFailed
from felixhub.worker.items import Reasoning
from felixhub.worker.sdk import describe, load_agent, request_of, run_program


def write(folder: Path, source: str, name: str = "clock") -> Path:
    file = folder / f"{name}.py"
    file.write_text(source, encoding="utf-8")
    return file


def run(folder: Path, source: str) -> list[Any]:
    """What the agent of this source says."""
    file = write(folder, source)
    program = load_agent("clock", folder)

    async def collect() -> list[Any]:
        return [item async for item in run_program(program, request_of(an_assignment()), file)]

    return asyncio.run(collect())


def failure(folder: Path, source: str) -> str:
    with pytest.raises(ModelFailed) as caught:
        run(folder, source)
    assert caught.value.reason == "agent_error"
    return caught.value.sentence


def refusal(folder: Path, source: str) -> ConfigError:
    write(folder, source)
    with pytest.raises(ConfigError) as caught:
        load_agent("clock", folder)
    return caught.value


# ---- what it is given ------------------------------------------------------------------------------------------------


def test_a_request_tells_everything_and_cannot_be_changed() -> None:
    request = request_of(an_assignment())
    assert (request.run, request.agent, request.checkpoint, request.task) == ("r1", "clock", 0.3, "What time is it?")
    assert [(one.agent, one.confidence) for one in request.context] == [("sundial", 0.4), ("hourglass", 0.5)]
    assert request.documents[0].name == "manual.md"
    assert request.missing[0].agent == "cuckoo"
    assert [message["role"] for message in request.prompt] == ["system", "user"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.task = "another"  # type: ignore[misc]


def test_an_agent_of_a_few_lines(tmp_path: Path) -> None:
    source = (
        "from felixhub.worker.sdk import Reasoning\n"
        "async def think(request):\n"
        "    yield Reasoning('looking')\n"
        "    yield f'{request.task} Noon.'\n"
    )
    assert run(tmp_path, source) == [Reasoning("looking"), "What time is it? Noon."]


def test_an_instance_uses_the_file_of_its_agent(tmp_path: Path) -> None:
    write(tmp_path, "async def think(request):\n    yield 'x'\n")
    assert load_agent("clock-2", tmp_path).__name__ == "think"


def test_lone_surrogates_become_u_fffd_and_pairs_are_joined(tmp_path: Path) -> None:
    source = "async def think(request):\n    yield 'a\\ud83d'\n    yield '\\ude00b\\ud83d'\n    yield 'c\\ud83d'\n"
    assert "".join(run(tmp_path, source)) == "a😀b\ufffdc\ufffd"


def test_an_agents_module_may_hold_dataclasses(tmp_path: Path) -> None:
    source = (
        "from __future__ import annotations\nimport dataclasses\n"
        "@dataclasses.dataclass\nclass Hand:\n    angle: float\n"
        "async def think(request):\n    yield str(Hand(1.0).angle)\n"
    )
    assert run(tmp_path, source) == ["1.0"]


# ---- its mistakes ----------------------------------------------------------------------------------------------------


def test_a_syntax_error_names_file_and_line(tmp_path: Path) -> None:
    error = refusal(tmp_path, "async def think(request):\n    yield 'x'\n    def\n")
    assert str(error).startswith(f"{tmp_path}/clock.py:3: not valid Python")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"clock\.py: cannot read the agent 'clock': No such file"):
        load_agent("clock", tmp_path)


def test_a_missing_think_is_named(tmp_path: Path) -> None:
    assert "clock.py:1: has no `async def think(request)`" in str(refusal(tmp_path, "x = 1\n"))


@pytest.mark.parametrize("body", ["return 'x'", "pass", "await request"])
def test_a_think_that_does_not_yield_is_named(tmp_path: Path, body: str) -> None:
    error = refusal(tmp_path, f"x = 1\nasync def think(request):\n    {body}\n")
    assert "clock.py:2: `think` is not an async generator" in str(error)


def test_a_plain_generator_is_named(tmp_path: Path) -> None:
    assert "clock.py:1: `think` is not" in str(refusal(tmp_path, "def think(request):\n    yield 'x'\n"))


def test_a_failing_import_names_the_line(tmp_path: Path) -> None:
    error = refusal(tmp_path, "x = 1\nimport no_such_module_at_all\n")
    assert "clock.py:2: failed when it was loaded: ModuleNotFoundError" in str(error)


def test_an_exception_names_itself_and_the_innermost_line_of_the_file(tmp_path: Path) -> None:
    source = (
        "import json\n"
        "def read(text):\n"
        "    return json.loads(text)\n"
        "async def think(request):\n"
        "    yield 'so far'\n"
        "    read('{')\n"
    )
    sentence = failure(tmp_path, source)
    assert sentence.startswith("JSONDecodeError: ") and sentence.endswith("(clock.py, line 3)")


def test_something_else_than_text_is_an_error(tmp_path: Path) -> None:
    sentence = failure(tmp_path, "async def think(request):\n    yield 42\n")
    assert sentence == "it yielded int instead of str or Reasoning (clock.py)"


def test_leaving_the_process_is_an_error_of_the_agent(tmp_path: Path) -> None:
    assert "SystemExit" in failure(tmp_path, "import sys\nasync def think(request):\n    yield 'x'\n    sys.exit(1)\n")


def test_no_secret_gets_into_an_error() -> None:
    environ = {"MY_API_KEY": "abcdef123456", "HOME": "/home/ada"}
    error = RuntimeError(
        "401 for abcdef123456,\n sk-proj-abcdefgh1234 at https://ada:hunter2@example.org with Bearer xyz.123"
        " in /home/ada"
    )
    sentence = describe(error, Path("clock.py"), environ)
    for secret in ("abcdef", "sk-proj", "hunter2", "xyz.123", "\n"):
        assert secret not in sentence
    assert "/home/ada" in sentence


def test_a_long_error_is_shortened() -> None:
    assert len(describe(ValueError("x" * 10_000), Path("clock.py"), {})) < 600
