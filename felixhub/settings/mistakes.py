"""The operator's mistakes: what is wrong with some data for a model, said so that it can be put right.

Owns: the check of data against a pydantic model, unknown keys included, and its sentences. Must not: read a file or
know where a key came from; who calls turns a `Fault` into a `Mistake` with its place.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from felixhub.core.errors import ConfigError, Place
from felixhub.core.names import NAME_PATTERN
from felixhub.settings.toml_lines import Key

VALUE_CHARACTERS_MAX = 60
KEYS_SHOWN_MAX = 30

M = TypeVar("M", bound=BaseModel)

NAME_WORDS = "lower-case letters, digits, - and _, at most 64, beginning with a letter or a digit"


class Fault(NamedTuple):
    """What is wrong with the value at `key`."""

    key: Key
    sentence: str


class Mistake(NamedTuple):
    """A fault and where the operator finds it."""

    place: Place
    sentence: str


def stop(mistakes: Collection[Mistake]) -> None:
    """Raise one ConfigError that holds all mistakes, one on each line, file by file; its place is the first one's."""
    if not mistakes:
        return
    files = list(dict.fromkeys(mistake.place.file for mistake in mistakes))
    first, *others = sorted(
        dict.fromkeys(mistakes), key=lambda mistake: (files.index(mistake.place.file), mistake.place.line or 0)
    )
    lines = [first.sentence, *(f"{place}: {sentence}" for place, sentence in others)]
    raise ConfigError("\n".join(lines), place=first.place)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`: did you mean 'x'?` if something known is close, else nothing."""
    close = nearest(word, known)
    return f": did you mean '{close}'?" if close else ""


def nearest(word: str, known: Iterable[str], *, likeness: float = 0.6) -> str | None:
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=likeness)), None)


def check(model: type[M], data: Mapping[str, Any], *, strict: bool = True) -> tuple[M | None, list[Fault]]:
    """The model made of the data, or None and everything that is wrong. A key that the model does not know is wrong.

    `strict`: the data came from a typed file, so a number in quotes is no number; else it came as text.
    """
    unknown = list(_unknown_keys(model, data))
    try:
        made = _made(model, data, strict)
    except ValidationError as error:
        made = None
        meant = {(*fault.key[:-1], fault.meant) for fault in unknown}
        found = [Fault(one["loc"], _sentence(one, data)) for one in error.errors() if _tells(one, meant)]
    else:
        found = []
    if unknown:
        made = None
    return made, [*(Fault(one.key, one.sentence) for one in unknown), *found]


def _made(model: type[M], data: Mapping[str, Any], strict: bool) -> M:
    if not strict:
        return model.model_validate(data)
    # By way of JSON, where a list is good for a tuple; what JSON does not have, such as a date, has no place in it.
    return model.model_validate_json(json.dumps(data, default=lambda _: {}), strict=True)


def _tells(error: Mapping[str, Any], meant: set[tuple[Any, ...]]) -> bool:
    match error["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return False  # Found, with better words, by `_unknown_keys`.
        case "missing":
            return error["loc"] not in meant  # It is there, misspelt.
        case "too_short":
            return bool(len(error["input"]) < error["ctx"]["min_length"])  # pydantic counts only the good ones.
    return True


class _Unknown(NamedTuple):
    key: Key
    sentence: str
    meant: str | None


def _unknown_keys(model: type[BaseModel], data: Mapping[str, Any]) -> Iterator[_Unknown]:
    top = _annotations(model)
    inner = {key: name for name, kind in top.items() for one in _models(kind) for key in _annotations(one)}

    def at(kind: Any, value: Any, path: Key) -> Iterator[_Unknown]:
        origin, args = get_origin(kind), get_args(kind)
        if (known := _annotations(kind)) and isinstance(value, Mapping):
            for key, part in value.items():
                if key in known:
                    yield from at(known[key], part, (*path, key))
                else:
                    yield said(key, known, (*path, key))
        elif origin is Annotated:
            yield from at(args[0], value, path)
        elif origin in (Union, UnionType):
            for arg in args:
                yield from at(arg, value, path)
        elif origin in (tuple, list) and isinstance(value, list):
            for index, part in enumerate(value):
                yield from at(args[0], part, (*path, index))
        elif origin is dict and isinstance(value, Mapping):
            for key, part in value.items():
                yield from at(args[1], part, (*path, key))

    def said(key: str, known: Mapping[str, Any], path: Key) -> _Unknown:
        if len(path) > 1 and key in top:
            return _Unknown(path, f"'{key}' does not belong in this table: move it above the first [table]", None)
        if len(path) == 1 and key in inner:
            return _Unknown(path, f"'{key}' does not belong here: move it into the table '{inner[key]}'", None)
        meant = nearest(key, known)
        listed = list(known)[:KEYS_SHOWN_MAX]
        hint = f"did you mean '{meant}'?" if meant else f"remove it, or use one of {', '.join(listed)}"
        return _Unknown(path, f"there is no key '{key}' here: {hint}", meant)

    return at(model, data, ())


def _annotations(kind: Any) -> dict[str, Any]:
    """The fields of a model or a dataclass; nothing for any other type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return {field.name: field.type for field in fields(kind)}
    return {}


def _models(kind: Any) -> Iterator[Any]:
    """The models inside an annotation such as `tuple[Stage, ...]`."""
    if _annotations(kind):
        yield kind
    for arg in get_args(kind):
        yield from _models(arg)


_KINDS: Mapping[str, str] = {
    "string_type": "text, in quotes",
    "path_type": "text, in quotes",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "tuple_type": "a list, in square brackets",
    "list_type": "a list, in square brackets",
    "model_type": "a table",
    "dict_type": "a table",
    "dataclass_type": "a table",
}
_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _sentence(error: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    key: Key = error["loc"]
    kind, context = error["type"], error.get("ctx", {})
    name, value = _name(key), _value(data, key, error.get("input"))
    if kind == "missing" and isinstance(key[-1], int):
        return f"{_name(key[:-1])} must have {key[-1] + 1} values, as in [0.9, 0.4]"
    if kind == "missing":
        return f"{name} is missing: add it"
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"{name} must be {words} {context[bound]:g}{_not(key, value)}"
    if kind in _KINDS:
        unquote = kind.startswith(("int_", "float_", "bool_")) and kind.endswith("_type") and isinstance(value, str)
        return f"{name} must be {_KINDS[kind]}{_not(key, value)}{': leave out the quotes' if unquote else ''}"
    match kind:
        case "literal_error":
            choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            meant = did_you_mean(value, choices) if isinstance(value, str) else ""
            return f"{name} must be {context['expected']}{_not(key, value)}{meant}"
        case "string_pattern_mismatch" if context["pattern"] == NAME_PATTERN:
            return f"{name} is not a name{_not(key, value)}: use {NAME_WORDS}"
        case "string_too_long":
            return f"{name} is too long: at most {context['max_length']} characters"
        case "string_too_short":
            return f"{name} is empty: write something, or remove the key"
        case "too_long":
            return f"{name} has too many values: at most {context['max_length']}"
        case "too_short":
            return f"{name} has too few values: at least {context['min_length']}"
        case "value_error":
            return f"{name}: {context['error']}"
    return f"{name}: {error['msg'][:1].lower()}{error['msg'][1:]}"


def _name(key: Key) -> str:
    """`'checkpoints', value 2` for ("stages", 0, "checkpoints", 1)."""
    names = [part for part in key if isinstance(part, str)]
    shown = f"'{names[-1]}'" if names else "this"
    return f"{shown}, value {key[-1] + 1}" if key and isinstance(key[-1], int) else shown


def _value(data: Any, key: Key, otherwise: Any) -> Any:
    for part in key:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return otherwise
    return data


def _not(key: Key, value: Any) -> str:
    if any(word in str(part) for part in key for word in ("key", "header")):
        return ""  # It may be a secret.
    match value:
        case bool():
            return f", not {str(value).lower()}"
        case str():
            cut = value if len(value) <= VALUE_CHARACTERS_MAX else value[:VALUE_CHARACTERS_MAX] + "…"
            return f", not {cut!r}"
        case int() | float():
            return f", not {value}"
        case list():
            return ", not a list"
        case dict():
            return ", not a table"
    return ""


def placed(faults: Iterable[Fault], place: Callable[[Key], Place]) -> list[Mistake]:
    return [Mistake(place(fault.key), fault.sentence) for fault in faults]
