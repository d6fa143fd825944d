"""The agents' cards, from the files of `agents/`: `NAME.md` is a model's agent, `NAME.py` is a user's own program.

Owns: which files are agents, and what a file says about its agent. Must not: run a program (its worker does).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, create_model

from felixhub.core.errors import ConfigError, Place
from felixhub.core.helix import Role
from felixhub.core.names import HUB, NAME_PATTERN
from felixhub.core.workflow import Card
from felixhub.llm.endpoint import Endpoint
from felixhub.settings.front_matter import FrontMatter, read_front_matter
from felixhub.settings.mistakes import NAME_WORDS, Fault, Mistake, check, did_you_mean, placed, stop

ABOUT_CHARACTERS_MAX = 200
PROMPT_CHARACTERS_MAX = 100_000

_NAME = re.compile(NAME_PATTERN)
_ROLES: tuple[str, ...] = get_args(Role)


_FILE_ITSELF = ("prompt", "program")  # what a card has that front matter may not say
_FIELDS: dict[str, Any] = {
    name: (field.annotation, field) for name, field in Card.model_fields.items() if name not in _FILE_ITSELF
}
_Header: type[BaseModel] = create_model("_Header", __config__=ConfigDict(extra="forbid"), **_FIELDS)


def load_cards(
    directories: Iterable[Path],
    endpoints: Collection[str] | None = None,
    *,
    needed: Collection[str] | None = None,
) -> dict[str, Card]:
    """Every agent of these directories by name; of two with one name, the earlier directory's.

    A directory that does not exist has none. Files that begin with `.` or `_` are no agents. With `endpoints` a card
    must name one of them, or a URL. Raises one ConfigError with the mistakes of all files, each with its line. With
    `needed`, only the files of these agents must be free of mistakes: another that has one is left out.
    """
    cards: dict[str, Card] = {}
    known: set[str] = set()  # a bad file hides those of later directories as a good one does
    mistakes: list[Mistake] = []

    def is_needed(name: str) -> bool:
        return needed is None or name in needed

    for directory in directories:
        here: dict[str, Path] = {}
        for path in _agent_files(directory):
            if path.stem in here and is_needed(path.stem):
                sentence = f"the agent '{path.stem}' is in {here[path.stem].name} too: remove or rename one of them"
                mistakes.append(Mistake(Place(str(path)), sentence))
            elif path.stem not in known:
                here.setdefault(path.stem, path)
        for name, path in here.items():
            try:
                cards[name] = load_card(path, endpoints)
            except ConfigError as error:
                if is_needed(name):
                    mistakes.append(Mistake(error.place or Place(str(path)), error.sentence))
        known |= here.keys()
    stop(mistakes)
    return cards


def load_card(path: Path, endpoints: Collection[str] | None = None) -> Card:
    """The card of one file. Raises ConfigError with the line of each mistake."""
    if not _NAME.fullmatch(path.stem):
        sentence = f"'{path.stem}' is not a name for an agent: rename the file, use {NAME_WORDS}"
        raise ConfigError(sentence, place=Place(str(path)))
    if path.stem == HUB:
        raise ConfigError(f"'{HUB}' is reserved: give the file another name", place=Place(str(path)))
    return _program_card(path) if path.suffix == ".py" else _model_card(path, endpoints)


def _agent_files(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    files = (path for path in directory.iterdir() if path.suffix in (".md", ".py") and path.is_file())
    return sorted(path for path in files if not path.name.startswith((".", "_")))


def _model_card(path: Path, endpoints: Collection[str] | None) -> Card:
    matter = read_front_matter(path)
    mistakes = placed(_faults(matter, endpoints), matter.place)
    if not matter.text:
        sentence = "there is no prompt: write below the second --- what the model should be told"
        mistakes.append(Mistake(Place(str(path), matter.text_line), sentence))
    elif len(matter.text) > PROMPT_CHARACTERS_MAX:
        sentence = f"the prompt is longer than {PROMPT_CHARACTERS_MAX} characters: shorten it"
        mistakes.append(Mistake(Place(str(path), matter.text_line + 1), sentence))
    stop(mistakes)
    return Card.model_validate({**matter.data, "name": path.stem, "prompt": matter.text})


def _faults(matter: FrontMatter, endpoints: Collection[str] | None) -> Iterator[Fault]:
    _, faults = check(_Header, {"name": matter.path.stem, **matter.data})
    yield from faults
    name = matter.data.get("name", matter.path.stem)
    if isinstance(name, str) and name != matter.path.stem:
        yield Fault(("name",), f"the name is '{name}' but the file is {matter.path.name}: make them the same")
    endpoint = matter.data.get("endpoint")
    if not isinstance(endpoint, str):
        return
    if "://" in endpoint:
        try:
            Endpoint.from_url(endpoint)
        except ConfigError as error:
            yield Fault(("endpoint",), error.sentence)
    elif endpoints is not None and endpoint not in endpoints:
        hint = did_you_mean(endpoint, endpoints) or ": name one of them, or a URL"
        listed = ", ".join(sorted(endpoints))
        yield Fault(("endpoint",), f"there is no endpoint called '{endpoint}' (there are: {listed}){hint}")


def _program_card(path: Path) -> Card:
    """What can be read of a program without running it."""
    try:
        module = ast.parse(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read this file: {error.strerror or error}", place=Place(str(path))) from None
    except SyntaxError as error:
        raise ConfigError(f"this is not Python: {error.msg}", place=Place(str(path), error.lineno or 1)) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"this is not Python: {error}", place=Place(str(path), 1)) from None
    docstring = ast.get_docstring(module) or ""
    return Card(
        name=path.stem,
        role=_role(module, path),
        about=docstring.split("\n", 1)[0].strip()[:ABOUT_CHARACTERS_MAX],
        program=True,
    )


def _role(module: ast.Module, path: Path) -> Role:
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="ROLE")], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id="ROLE"), value=ast.expr() as value):
                pass
            case _:
                continue
        said = value.value if isinstance(value, ast.Constant) else None
        for role in get_args(Role):
            if said == role:
                found: Role = role
                return found
        hint = did_you_mean(said, _ROLES) if isinstance(said, str) else ""
        listed = " or ".join(repr(role) for role in _ROLES)
        raise ConfigError(f"ROLE must be {listed}, written out{hint}", place=Place(str(path), statement.lineno))
    return "research"
