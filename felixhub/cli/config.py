"""`felixhub config`: every setting, its value, and who has said so.

Owns: how they are listed. Must not: read a file (the settings do), or show a secret.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from felixhub.cli.helping import Commands
from felixhub.cli.options import Data, Json, Llm, Model

if TYPE_CHECKING:
    from felixhub.llm.endpoint import Endpoint
    from felixhub.settings.settings import Settings

app = Commands(
    help="""The settings: what is set, to what, and where.

\b
felixhub config show
felixhub config show --json

The strongest wins: a flag, then FELIXHUB_*, then config/ in this folder, then your own configuration folder, then what
ships with FelixHub. `felixhub init` writes config/ with every setting explained.
""",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command("show")
def show(data: Data = None, llm: Llm = None, model: Model = None, json: Json = False) -> None:
    """List every setting, its value and where it comes from. Keys are never shown.

    \b
    felixhub config show
    felixhub config show --llm ollama --json
    """
    from felixhub.cli.printing import print_json, print_table
    from felixhub.cli.processes import settings_for
    from felixhub.settings.fields import meaningless

    settings = settings_for(data_dir=data, llm=llm, model=model)
    told: dict[str, Any] = {
        "settings": _settings(settings, os.environ),
        "endpoints": _endpoints(settings, os.environ),
        "files": _files(),
        "meaningless": meaningless(os.environ),
    }
    if json:
        print_json(told)
        return
    rows = [(row["name"], _shown(row["value"]), row["source"]) for row in told["settings"]]
    print_table([("SETTING", "VALUE", "FROM"), *rows])
    typer.echo("")
    print_table(
        [
            ("ENDPOINT", "URL", "MODEL", "KEY", "FROM"),
            *(
                (one["name"], one["base_url"] or "built in", one["model"] or "-", one["key"], one["source"])
                for one in told["endpoints"]
            ),
        ]
    )
    typer.echo("")
    for file in told["files"]:
        typer.echo(f"{'read' if file['there'] else 'none'}  {file['file']}")
    for name in told["meaningless"]:
        typer.echo(f"means nothing: {name}")


def _settings(settings: Settings, environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every field and every limit by name; of the key in FELIXHUB_LLM_KEY only that there is one."""
    from felixhub.settings.endpoint_tables import MASK
    from felixhub.settings.fields import Given
    from felixhub.settings.settings import DEFAULT
    from felixhub.worker.llm_agent import KEY_VARIABLE

    values = {name: getattr(settings, name) for name in Given.model_fields if name != "limits"}
    limits = {f"limits.{name}": value for name, value in dataclasses.asdict(settings.limits).items()}
    found = [
        {
            "name": name,
            "value": str(value) if isinstance(value, Path) else value,
            "source": settings.sources.get(name, DEFAULT),
        }
        for name, value in (values | limits).items()
    ]
    has_key = bool(environ.get(KEY_VARIABLE))
    key = {"name": "llm_key", "value": MASK if has_key else None, "source": KEY_VARIABLE if has_key else DEFAULT}
    return [*found[: len(values)], key, *found[len(values) :]]


def _endpoints(settings: Settings, environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """The models' servers, with what may be seen of them; `key` says whether there is one, never which."""
    from felixhub.settings.endpoint_tables import masked
    from felixhub.settings.settings import DEFAULT

    return [
        {
            **masked(endpoint),
            "name": name,
            "key": _key(endpoint, environ),
            "source": settings.sources.get(f"endpoints.{name}", DEFAULT),
        }
        for name, endpoint in settings.endpoints.items()
    ]


def _key(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    from felixhub.core.errors import ConfigError
    from felixhub.llm.endpoint import resolve_key
    from felixhub.settings.endpoint_tables import MASK

    if endpoint.api_key_env is None and endpoint.api_key_file is None:
        return "none"
    where = endpoint.api_key_env or endpoint.api_key_file
    try:
        resolve_key(endpoint, environ)
    except ConfigError:
        return f"not usable, from {where}" if environ.get(endpoint.api_key_env or "") else f"not set, from {where}"
    if endpoint.api_key_file is not None and not environ.get(endpoint.api_key_env or "", "").strip():
        where = endpoint.api_key_file
    return f"{MASK} from {where}"


def _files() -> list[dict[str, Any]]:
    """Where settings are looked for, the strongest first."""
    from felixhub.settings.settings import settings_files

    return [{"file": str(path), "there": path.is_file()} for path in settings_files(Path.cwd())]


def _shown(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case int():
            return f"{value:,}"
        case float():
            return f"{int(value):,}" if value == int(value) else f"{value:g}"
    return str(value)
