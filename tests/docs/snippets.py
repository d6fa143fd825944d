"""The fenced blocks of the documents, and the commands in them.

Owns: finding and reading them. Must not: run anything (`test_snippets.py` does).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from felixhub.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "guides").glob("*.md")),
]
# What a line of commands begins with. A bare block that begins otherwise is a drawing, or what a command prints.
PROGRAMS = (
    *("felixhub", "python", "python3", "make", "pip", "pipx", "npm", "node"),
    *("cat", "chmod", "curl", "scp", "docker", "podman"),
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*=")
_INLINE = re.compile(r"`((?:felixhub|python run_hub\.py) [^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """`line` is that of its fence; `after` the page's text behind it."""

    page: Path
    line: int
    language: str
    text: str
    after: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def holds_commands(self) -> bool:
        if self.language in ("sh", "bash", "console"):
            return True
        return not self.language and bool(self.text.strip()) and _program(_words(self.text.splitlines()[0])) is not None


@dataclass(frozen=True, slots=True)
class Command:
    """A line of a block: variables in front of it, the program, its arguments."""

    where: str
    variables: tuple[str, ...]
    program: str
    arguments: tuple[str, ...]

    @property
    def ours(self) -> tuple[str, ...] | None:
        """The arguments of `felixhub`; None for another program."""
        if self.program.rpartition("/")[2] == "felixhub":
            return self.arguments
        if self.program.startswith("python") and self.arguments[:1] == ("run_hub.py",):
            return ("up", *self.arguments[1:])
        return None


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2], text[found.end() :])
        for found in _FENCE.finditer(text)
    ]


def commands(block: Block) -> Iterator[Command]:
    """Its commands; lines that end in a backslash go on."""
    for number, line in enumerate(block.text.replace("\\\n", " ").splitlines()):
        for words in _parts(_words(line)):
            found = _program(words)
            assert found is not None, f"{block}, line {number + 1}: what is this? {line}"
            yield Command(str(block), tuple(words[:found]), words[found], tuple(words[found + 1 :]))


def inline_commands(page: Path) -> Iterator[Command]:
    """Commands within sentences, as far as they are written out."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8")).replace("\\`", "`")
    for found in _INLINE.finditer(text):
        words = next(_parts(_words(found[1].replace("\n", " "))))
        yield Command(f"{page.relative_to(ROOT)}: {found[1]}", (), words[0], tuple(words[1:]))


def fault(arguments: tuple[str, ...], *, is_whole: bool) -> str | None:
    """What the real command line says against these arguments, None when it would take them.

    In a sentence a command need not be whole: only its name and its options must exist.
    """
    command = typer.main.get_command(app)
    words = list(arguments)
    path = []
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        name = words.pop(0)
        path.append(name)
        if name not in command.commands:
            return None if not is_whole and not re.fullmatch(r"[a-z-]+", name) else f"there is no {' '.join(path)}"
        command = command.commands[name]
    if not is_whole:
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {
            "--help",
            "-h",
        }
        asked = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
        return next((f"no option {word}" for word in asked if word not in known), None)
    if words in (["--help"], ["-h"]):
        return None
    try:
        command.make_context(" ".join(path), words)
    except typer.exceptions.TyperException as error:
        return error.format_message()
    return None


def _parts(words: list[str]) -> Iterator[list[str]]:
    """A line's commands, where one follows another or reads from it, without the file that it writes to."""
    part: list[str] = []
    for word in [*words, ";"]:
        if word in ("&&", "|", ";"):
            if part:
                yield part[: part.index(">")] if ">" in part else part
            part = []
        else:
            part.append(word)


def _words(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def _program(words: list[str]) -> int | None:
    """Which word is the program, None when the line is no command."""
    for number, word in enumerate(words):
        if not _VARIABLE.match(word):
            return number if word.rpartition("/")[2] in PROGRAMS else None
    return None
