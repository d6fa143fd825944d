"""The workflows, from `config/workflows/NAME.toml` or any other TOML file.

Owns: finding them, and the line of everything that makes one unsound. Must not: decide what is sound (the core does).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from felixhub.core.errors import ConfigError, Place
from felixhub.core.soundness import faults
from felixhub.core.workflow import SYNTHESIS, Card, Workflow
from felixhub.settings.mistakes import Mistake, check, did_you_mean, nearest, placed, stop
from felixhub.settings.toml_file import TomlFile, read_toml
from felixhub.settings.toml_lines import Key

_QUOTED = re.compile(r"'([^']*)'")
_KEYS_OF_WORDS = (  # which words in a sentence of the core, names aside, point to which keys; the first that is there
    ("reviews and revises", ("revises",)),
    ("revises by", ("after",)),
    ("revise by the same", ("revises",)),
    ("side by side", ("revises",)),
    ("must come after", ("after", "reviews", "revises")),
    ("for_each", ("for_each", "reviews", "revises")),
    ("section of its own", ("section",)),
    ("checkpoints", ("checkpoints",)),
    ("gate opens", ("after",)),
    ("gate", ("gate",)),
    ("rounds_max", ("rounds_max",)),
    ("quorum", ("quorum",)),
    ("agent", ("agent",)),
    ("reviews", ("reviews",)),
    ("revises", ("revises",)),
    ("after", ("after",)),
    ("waits", ("after",)),
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
    """A fault with its place. `name` is the stage, the list or the agent at fault."""
    words = _QUOTED.sub("", sentence)
    if words.startswith("the list"):
        return Mistake(file.place(_entry_of_list(workflow, name, sentence)), sentence)
    keys = next((keys for said, keys in _KEYS_OF_WORDS if said in words), ("name",))
    if words.startswith(("there is no agent", " is reserved")):
        place = file.place((*_table_of_agent(workflow, name), "agent"))
    else:
        place = _place_in_stage(file, workflow, name, keys, sentence)
    meant = _meant(workflow, cards, sentence)
    return Mistake(place, f"{sentence}; did you mean '{meant}'?" if meant else sentence)


def _meant(workflow: Workflow, cards: Mapping[str, Card], sentence: str) -> str | None:
    """What a name that does not exist was probably meant to be."""
    names = _QUOTED.findall(sentence)
    if sentence.startswith("there is no agent"):
        return nearest(names[0], cards)
    if "no such list" in sentence:
        return nearest(names[1], workflow.lists)
    if "does not exist" in sentence:
        return nearest(names[-1], [stage.name for stage in workflow.stages if stage.name != names[0]])
    return None


def _place_in_stage(file: TomlFile, workflow: Workflow, name: str, keys: Sequence[str], sentence: str) -> Place:
    """Where the first of the keys stands in the stage; of names in a list, the line of the one that is meant."""
    table, key = _table_of_stage(workflow, name, keys)
    if key == "after" and "does not exist" in sentence:
        after = workflow.stages[table[1]].after
        missing = _QUOTED.findall(sentence)[-1]
        if missing in after:
            return file.place((*table, key, after.index(missing)))
    return file.place((*table, key))


def _entry_of_list(workflow: Workflow, name: str, sentence: str) -> Key:
    """The list, or, of two entries with one name, the second."""
    entry = _QUOTED.findall(sentence)[-1]
    found = [index for index, item in enumerate(workflow.lists.get(name, ())) if item.name == entry]
    return ("lists", name, found[1], "name") if len(found) > 1 else ("lists", name)


def _table_of_agent(workflow: Workflow, agent: str) -> Key:
    found = (index for index, stage in enumerate(workflow.stages) if stage.agent == agent)
    index = next(found, None)
    return (SYNTHESIS,) if index is None else ("stages", index)


def _table_of_stage(workflow: Workflow, name: str, keys: Sequence[str]) -> tuple[tuple[str, int], str]:
    """The last stage of that name, for of two the second is one too many; if it can, one in which a key stands."""
    stages = [(index, stage.model_fields_set) for index, stage in enumerate(workflow.stages) if stage.name == name]
    for key in keys:
        having = [index for index, given in stages if key in given]
        if having:
            return ("stages", having[-1]), key
    return ("stages", stages[-1][0]), keys[0]
