"""The workflows, from `config/workflows/NAME.toml` or any other TOML file.

Owns: finding them, and the line of everything that makes one unsound. Must not: decide what is sound (the core does).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from felixhub.core.errors import ConfigError
from felixhub.core.workflow import SYNTHESIS, Card, Workflow, faults
from felixhub.settings.mistakes import Mistake, check, did_you_mean, nearest, placed, stop
from felixhub.settings.toml_file import TomlFile, read_toml
from felixhub.settings.toml_lines import Key

_QUOTED = re.compile(r"'[^']*'")
_KEY_OF_WORD = (  # which word in a sentence of the core, names aside, points to which key
    ("agent", "agent"),
    ("quorum", "quorum"),
    ("checkpoints", "checkpoints"),
    ("after", "after"),
    ("waits", "after"),
)


def list_workflows(directories: Iterable[Path]) -> dict[str, Path]:
    """Every workflow's file by name, in order; of two with one name, the earlier directory's."""
    found: dict[str, Path] = {}
    for directory in directories:
        for path in directory.glob("*.toml") if directory.is_dir() else ():
            if not path.name.startswith("."):
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def find_workflow(name_or_path: str | Path, directories: Iterable[Path]) -> Path:
    """The file of that name, or at that path (it has a `/` or ends in `.toml`). Raises ConfigError that lists all."""
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.name != str(name_or_path):
        return path
    known = list_workflows(directories)
    if str(name_or_path) in known:
        return known[str(name_or_path)]
    hint = did_you_mean(str(name_or_path), known) or ": name one of them, or a file that ends in .toml"
    listed = ", ".join(known) or "none"
    raise ConfigError(f"there is no workflow called '{name_or_path}' (there are: {listed}){hint}")


def load_workflow(name_or_path: str | Path, directories: Iterable[Path]) -> Workflow:
    """The workflow as its file has it. Raises one ConfigError with every mistake of form and its line."""
    return _load(read_toml(find_workflow(name_or_path, directories)))


def check_workflow(name_or_path: str | Path, directories: Iterable[Path], cards: Mapping[str, Card]) -> Workflow:
    """The workflow, sound with these agents. Raises one ConfigError with every mistake and its line."""
    file = read_toml(find_workflow(name_or_path, directories))
    workflow = _load(file)
    stop([_mistake(file, workflow, name, sentence, cards) for name, sentence in faults(workflow, dict(cards))])
    return workflow


def _load(file: TomlFile) -> Workflow:
    """A workflow without a name has its file's."""
    workflow, found = check(Workflow, {"name": file.path.stem, **file.data})
    mistakes = placed(found, file.place)
    name = file.data.get("name", file.path.stem)
    if isinstance(name, str) and name != file.path.stem:
        sentence = f"the name is '{name}' but the file is {file.path.name}: make them the same"
        mistakes.append(Mistake(file.place(("name",)), sentence))
    stop(mistakes)
    assert workflow is not None, "no mistake, so it was made"
    return workflow


def _mistake(file: TomlFile, workflow: Workflow, name: str, sentence: str, cards: Mapping[str, Card]) -> Mistake:
    words = _QUOTED.sub("", sentence)
    key = next((key for word, key in _KEY_OF_WORD if word in words), "name")
    if key == "agent":
        table = _table_of_agent(workflow, name)
        meant = None if name in cards else nearest(name, cards)
    else:
        table = _table_of_stage(workflow, name, key)
        missing = _QUOTED.findall(sentence)[-1].strip("'")  # the stage that it comes after, if that is the fault
        meant = nearest(missing, [stage.name for stage in workflow.stages]) if "does not exist" in words else None
    return Mistake(file.place((*table, key)), f"{sentence}; did you mean '{meant}'?" if meant else sentence)


def _table_of_agent(workflow: Workflow, agent: str) -> Key:
    found = (index for index, stage in enumerate(workflow.stages) if stage.agent == agent)
    index = next(found, None)
    return (SYNTHESIS,) if index is None else ("stages", index)


def _table_of_stage(workflow: Workflow, name: str, key: str) -> Key:
    """The last one of that name, for of two the second is one too many; if it can, one in which the key stands."""
    found = [
        (key in stage.model_fields_set, index) for index, stage in enumerate(workflow.stages) if stage.name == name
    ]
    return ("stages", max(found)[1])
