"""The fields: what each file, flag and variable may say, with bounds and defaults.

Owns: the names, types and bounds. Must not: know which source wins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from felixhub.core.limits import DEFAULT_LIMITS, Limits
from felixhub.settings.mistakes import Fault

Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]

PREFIX = "FELIXHUB_"
ZERO_ALLOWED = frozenset({"lease_grace_s", "cancel_grace_s", "run_linger_s", "retention_grace_s"})

OTHER_VARIABLES = frozenset({"FELIXHUB_LLM_KEY", "FELIXHUB_DEBUG", "FELIXHUB_FAILPOINT"})  # that are no setting
_UNLIKE_THE_FIELD = {"data_dir": "data"}  # --data, FELIXHUB_DATA


class HubFile(BaseModel):
    """What hub.toml may hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_dir: Path | None = None
    hub: Text | None = None
    listen: Text | None = None
    plain: bool = False
    batch_interval_s: float = Field(default=0.1, ge=0.0, le=10.0)
    streaming: bool = True
    agents_per_worker: int = Field(default=1, ge=1, le=1_000)
    workers_max: int = Field(default=16, ge=1, le=1_000)
    agents_dir: Path | None = None
    workflows_dir: Path | None = None
    limits: Limits = DEFAULT_LIMITS


class LlmFile(BaseModel):
    """What llm.toml may hold. Each endpoint's table is checked over what is known of that endpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: Text | None = None
    model: Text | None = None
    endpoints: dict[str, dict[str, Any]] = Field(default_factory=dict, max_length=100)


class Given(HubFile):
    """What a flag or a variable may give."""

    llm: Text | None = None
    model: Text | None = None


def flag_of(name: str) -> str:
    return "--" + _UNLIKE_THE_FIELD.get(name, name).replace("_", "-")


def variable_of(name: str) -> str:
    return PREFIX + _UNLIKE_THE_FIELD.get(name, name).upper()


def meaningless(environ: Mapping[str, str]) -> list[str]:
    """The variables that begin like ours and mean nothing to us. They are no mistake: they may be somebody else's."""
    known = OTHER_VARIABLES | {variable_of(name) for name in Given.model_fields if name != "limits"}
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def limit_faults(table: object) -> list[Fault]:
    """What is wrong with the numbers in `[limits]`; that names and types are good is HubFile's to check."""
    found = []
    for field in fields(Limits):
        value = table.get(field.name) if isinstance(table, Mapping) else None
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        zero_is_good = field.name in ZERO_ALLOWED
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero_is_good):
            words = "a number from 0 up" if zero_is_good else "a number above 0"
            found.append(Fault(("limits", field.name), f"'{field.name}' must be {words}, not {value}"))
    return found
