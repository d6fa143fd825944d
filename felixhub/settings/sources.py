"""The sources of the settings, read from the weakest to the strongest.

Each is checked by itself, so that a mistake is reported where it was made, even if a stronger source says otherwise.

Owns: what each source says and where it says it. Must not: fill in defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from felixhub.core.errors import ConfigError, Place
from felixhub.llm.endpoint import KNOWN_ENDPOINTS, Endpoint
from felixhub.settings.endpoint_tables import overlay
from felixhub.settings.fields import PREFIX, Given, HubFile, LlmFile, flag_of, limit_faults, variable_of
from felixhub.settings.mistakes import Mistake, check, nearest, placed
from felixhub.settings.toml_file import TomlFile, read_toml

MISSPELT = 0.8  # how like one of ours another FELIXHUB_ variable must be to be taken for a misspelling

M = TypeVar("M", bound=BaseModel)


class Sources:
    """What was said so far: `values`, `limits`, `endpoints`, the `places` of all of them, and every mistake."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.limits: dict[str, Any] = {}
        self.endpoints: dict[str, Endpoint] = dict(KNOWN_ENDPOINTS)
        self.places: dict[str, Place] = {}
        self.mistakes: list[Mistake] = []

    def read_hub_file(self, path: Path, base: Path) -> None:
        """`base`: what the file's relative paths are relative to."""
        file, made = self._read(path, HubFile)
        if file is None:
            return
        limits = file.data.get("limits", {})
        self.mistakes += placed(limit_faults(limits), file.place)
        if made is None:
            return
        for name, value in limits.items():
            self.limits[name] = value
            self.places[f"limits.{name}"] = file.place(("limits", name))
        for name in made.model_fields_set - {"limits"}:
            self._set(name, getattr(made, name), file.place((name,)), base)

    def read_llm_file(self, path: Path, *, project: bool = False) -> None:
        """`project`: it lies in the folder where the process was started, and may have come with it."""
        file, made = self._read(path, LlmFile)
        if file is None:
            return
        for name, key in (("llm", "default"), ("model", "model")):
            if made and key in made.model_fields_set:
                self._set(name, getattr(made, key), file.place((key,)))
        tables = file.data.get("endpoints")
        for name, table in tables.items() if isinstance(tables, dict) else ():
            if not isinstance(table, dict):
                continue  # A mistake that is known by now.
            endpoint, faults = overlay(name, table, self.endpoints, project=project)
            self.mistakes += [
                Mistake(file.place(("endpoints", name, *key)), f"endpoint '{name}': {said}") for key, said in faults
            ]
            if endpoint is not None:
                self.endpoints[name] = endpoint
                self.places[f"endpoints.{name}"] = file.place(("endpoints", name))

    def read_environment(self, environ: Mapping[str, str], cwd: Path) -> None:
        names = {variable_of(name).removeprefix(PREFIX): name for name in Given.model_fields if name != "limits"}
        for variable, value in environ.items():
            word = variable.removeprefix(PREFIX)
            if word == variable or not value:
                continue  # An empty variable is one that is not set.
            if word in names:
                self._give(names[word], value, Place(variable), cwd)
            elif meant := nearest(word, names, likeness=MISSPELT):
                sentence = f"there is no such variable: did you mean '{PREFIX}{meant}'?"
                self.mistakes.append(Mistake(Place(variable), sentence))

    def read_flags(self, flags: Mapping[str, Any], cwd: Path) -> None:
        for name, value in flags.items():
            assert name in Given.model_fields and name != "limits", f"'{name}' is no flag"
            if value is not None:
                self._give(name, value, Place(flag_of(name)), cwd)

    def _give(self, name: str, value: Any, place: Place, cwd: Path) -> None:
        made, faults = check(Given, {name: value}, strict=False)
        self.mistakes += placed(faults, lambda _: place)
        if made is not None:
            self._set(name, getattr(made, name), place, cwd)

    def _set(self, name: str, value: Any, place: Place, base: Path | None = None) -> None:
        if base is not None and (isinstance(value, Path) or (name == "hub" and "://" not in value)):
            try:
                value = type(value)(base / Path(value).expanduser())
            except RuntimeError:
                self.mistakes.append(Mistake(place, f"'{name}' names the home of a user who does not exist: {value}"))
        self.values[name] = value
        self.places[name] = place

    def _read(self, path: Path, model: type[M]) -> tuple[TomlFile | None, M | None]:
        """The file if it is there, and what it says if that is right."""
        if not path.exists():
            return None, None
        try:
            file = read_toml(path)
        except ConfigError as error:
            self.mistakes.append(Mistake(error.place or Place(str(path)), error.sentence))
            return None, None
        made, mistakes = file.check(model)
        self.mistakes += mistakes
        return file, made
