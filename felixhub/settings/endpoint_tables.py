"""The `[endpoints.NAME]` tables of llm.toml, laid over what is already known of that endpoint.

Owns: making an Endpoint of a table, and keeping keys out of it. Must not: read a file or a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from felixhub.core.names import NAME_PATTERN
from felixhub.llm.endpoint import Endpoint, origin
from felixhub.settings.mistakes import NAME_WORDS, Fault, check, did_you_mean

MASK = "***"
KEYS_THEMSELVES = frozenset({"key", "api_key", "apikey", "token", "secret", "password"})
KEY_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "cookie"})
KEY_BELONGS = "put the key into an environment variable and write the variable's name as api_key_env"

_NAME = re.compile(NAME_PATTERN)
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")  # capitals only, so that a key pasted here is not taken for a name


def overlay(
    name: str, table: Mapping[str, Any], known: Mapping[str, Endpoint], *, project: bool = False
) -> tuple[Endpoint | None, list[Fault]]:
    """The endpoint that the table describes, or None and what is wrong; a fault's key is inside the table.

    `project`: the table came with a folder, maybe somebody else's. It may not take a secret along to another server.
    """
    faults = list(_own_faults(name, table, known))
    said = {fault.key[0] for fault in faults if fault.key}
    base = {"name": name} if name not in known else known[name].model_dump(mode="json")
    made, found = check(Endpoint, {**base, **{key: value for key, value in table.items() if key not in said}})
    faults += [fault for fault in found if fault.key[0] in table]
    if project and made is not None and name in known:
        faults += _taken_along(made, table, known[name])
    return (None if faults else made), faults


def masked(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as data that anybody may see: a header may hold what nobody should."""
    return endpoint.model_dump(mode="json") | {"extra_headers": dict.fromkeys(endpoint.extra_headers, MASK)}


def _taken_along(made: Endpoint, table: Mapping[str, Any], before: Endpoint) -> list[Fault]:
    """What another server would get that was said for this one, unless the table itself says it again."""
    if "base_url" not in table or origin(made.base_url) == origin(before.base_url):
        return []
    secrets = []
    if before.api_key_env is not None and "api_key_env" not in table:
        secrets.append(("api_key_env", f"the key in {before.api_key_env}"))
    if before.api_key_file is not None and "api_key_file" not in table:
        secrets.append(("api_key_file", f"the key in {before.api_key_file}"))
    if before.extra_headers and "extra_headers" not in table:
        secrets.append(("extra_headers", f"the headers {', '.join(sorted(before.extra_headers))}"))
    return [
        Fault(
            ("base_url",),
            f"this would send {what} to {made.base_url}: if that is meant, write {key} into this table too; if not,"
            " remove base_url, or give that server a name of its own",
        )
        for key, what in secrets
    ]


def _own_faults(name: str, table: Mapping[str, Any], known: Mapping[str, Endpoint]) -> list[Fault]:
    """What the model itself does not check, or would say in words that do not fit a table."""
    found = []
    if not _NAME.fullmatch(name):
        found.append(Fault((), f"this is not a name: use {NAME_WORDS}"))
    if name not in known and "base_url" not in table:
        hint = did_you_mean(name, known) or ', such as base_url = "http://localhost:1234/v1"'
        found.append(Fault((), f"it is a new one, so it needs a base_url{hint}"))
    if "name" in table:
        found.append(Fault(("name",), "its name is the table's: remove this line"))
    found += [Fault((key,), f"a key has no place in a file: {KEY_BELONGS}") for key in table if key in KEYS_THEMSELVES]
    variable = table.get("api_key_env")
    if isinstance(variable, str) and not _VARIABLE.fullmatch(variable):
        sentence = "'api_key_env' must be a variable's name in capitals, such as MY_API_KEY, never the key itself"
        found.append(Fault(("api_key_env",), sentence))
    headers = table.get("extra_headers")
    if isinstance(headers, Mapping):
        found += [
            Fault(("extra_headers", header), f"the header '{header}' carries a key: {KEY_BELONGS}")
            for header in headers
            if header.lower() in KEY_HEADERS
        ]
    return found
