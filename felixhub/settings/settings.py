"""The settings, where the strongest source that says something wins, limit by limit and endpoint by endpoint:

    flags > FELIXHUB_* > the project's config/ > the user's folder > the config/ that ships with us

A key of a model's server is never in here, only the name of the variable or file that holds it.

Owns: the settings of one process, and which source wins. Must not: open a socket, look for servers, or read a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import field_serializer

from felixhub.core.errors import ConfigError, Place
from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.llm.endpoint import Endpoint, origin
from felixhub.settings.endpoint_tables import masked
from felixhub.settings.fields import Given
from felixhub.settings.folders import default_data_dir, packaged, user_config_dir
from felixhub.settings.mistakes import Mistake, did_you_mean, stop
from felixhub.settings.sources import Sources

__all__ = ["Settings", "default_data_dir", "load_settings", "settings_files"]

DEFAULT = "default"  # the source of what nobody has set


class Settings(Given):
    """Everything that was set, or its default; every path is absolute.

    `llm` is an endpoint's name or URL, None when nobody has chosen. `sources` names, for each field, each limit that
    was set (`limits.beat_s`) and each endpoint in a file (`endpoints.mine`), where it comes from: `--llm`,
    `FELIXHUB_LLM`, `/somewhere/config/llm.toml:3` or `default`.
    """

    data_dir: Path
    agents_dir: Path
    workflows_dir: Path
    endpoints: dict[str, Endpoint]
    sources: dict[str, str]

    @property
    def agents_dirs(self) -> list[Path]:
        """Where cards are looked for, the strongest first."""
        return list(dict.fromkeys([self.agents_dir, packaged("agents")]))

    @property
    def workflows_dirs(self) -> list[Path]:
        """Where workflows are looked for, the strongest first."""
        return list(dict.fromkeys([self.workflows_dir, packaged("config") / "workflows"]))

    def endpoint(self, name_or_url: str) -> Endpoint:
        """The endpoint of that name or at that URL. Raises ConfigError that lists the names."""
        if name_or_url in self.endpoints:
            return self.endpoints[name_or_url]
        if "://" in name_or_url:
            made = Endpoint.from_url(name_or_url)
            return next((one for one in self.endpoints.values() if one.base_url == made.base_url), made)
        hint = did_you_mean(name_or_url, self.endpoints) or ": take one of them, or a URL like http://localhost:1234/v1"
        listed = ", ".join(sorted(self.endpoints))
        raise ConfigError(f"there is no endpoint called '{name_or_url}' (there are: {listed}){hint}")

    def key_allowed(self, url: str) -> bool:
        """Whether FELIXHUB_LLM_KEY may be sent to this URL: only to the server whose URL the operator gave as `llm`.

        URLs also come from cards, workflows and whoever starts a run, and none of these may send a key anywhere.
        """
        return self.llm is not None and "://" in self.llm and origin(self.llm) == origin(url)

    @field_serializer("endpoints")
    def _without_secrets(self, endpoints: dict[str, Endpoint]) -> dict[str, Any]:
        return {name: masked(endpoint) for name, endpoint in endpoints.items()}


def load_settings(
    flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path, *, user_dir: Path | None = None
) -> Settings:
    """The settings of a process started in `cwd`. `flags` has fields' names; None means that a flag was not given.

    Raises one ConfigError with all mistakes of all sources, each with its file and line, flag or variable.
    """
    cwd = cwd.absolute()
    user = user_config_dir() if user_dir is None else user_dir.absolute()
    project, shipped = cwd / "config", packaged("config")
    found = Sources()
    if shipped.resolve() != project.resolve():
        found.read_hub_file(shipped / "hub.toml", cwd)
        found.read_llm_file(shipped / "llm.toml")
    found.read_hub_file(user / "hub.toml", user)
    found.read_llm_file(user / "llm.toml")
    found.read_hub_file(project / "hub.toml", cwd)
    found.read_llm_file(project / "llm.toml", project=True)
    found.read_environment(environ, cwd)
    found.read_flags(flags, cwd)
    stop(found.mistakes)
    settings = Settings(
        **{
            "data_dir": default_data_dir(environ),
            "agents_dir": cwd / "agents",
            "workflows_dir": cwd / "config" / "workflows",
            **found.values,
        },
        limits=replace(DEFAULT_LIMITS, **found.limits),
        endpoints=found.endpoints,
        sources={name: str(found.places.get(name, DEFAULT)) for name in [*Given.model_fields, *found.places]},
    )
    stop(_missing(settings, found.places))
    return settings


def settings_files(cwd: Path) -> list[Path]:
    """The files that `load_settings` looks for in this folder, the strongest first."""
    folders = [cwd.absolute() / "config", user_config_dir(), packaged("config")]
    return list(dict.fromkeys(folder / name for folder in folders for name in ("hub.toml", "llm.toml")))


def _missing(settings: Settings, places: Mapping[str, Place]) -> list[Mistake]:
    """What was named but does not exist; only now is everything known."""
    mistakes = []
    for name, folder in (("agents_dir", settings.agents_dir), ("workflows_dir", settings.workflows_dir)):
        if name in places and not folder.is_dir():
            mistakes.append(Mistake(places[name], f"there is no folder {folder}: make it, or name another"))
    if settings.llm is not None:
        try:
            settings.endpoint(settings.llm)
        except ConfigError as error:
            mistakes.append(Mistake(places["llm"], error.sentence))
    return mistakes
