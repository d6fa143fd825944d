"""A Markdown file with front matter: `key: value` lines between two lines `---`, then a text.

    ---
    role: critic
    temperature: [0.6, 0.1]
    ---
    You look for what is wrong.

Owns: taking the two apart and knowing every key's line. Must not: know what the keys mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from felixhub.core.errors import ConfigError, Place
from felixhub.settings.mistakes import Mistake, stop
from felixhub.settings.toml_file import read_text
from felixhub.settings.toml_lines import Key

FENCE = "---"

_HINTS = (  # how YAML's complaint begins, and what to do about it
    ("mapping values are not allowed", "put a value that holds a colon into quotes"),
    ("could not find expected ':'", "write key: value"),
    ("found character '\\t'", "use spaces, not tabs"),
    ("found character", "put the value into quotes"),
    ("found unexpected end of stream", "a closing quote is missing"),
    ("expected ',' or ']'", "a closing ] is missing"),
)


class FrontMatter:
    """The `data` above, the `text` below, and where each key stands."""

    def __init__(self, path: Path, data: dict[str, Any], lines: dict[str, int], text: str, text_line: int) -> None:
        self.path = path
        self.data = data
        self.text = text
        self.text_line = text_line
        self._lines = lines

    def place(self, key: Key = ()) -> Place:
        """Where a key stands; for one that is missing, where the front matter begins."""
        return Place(str(self.path), self._lines.get(str(key[0]), 1) if key else 1)


def read_front_matter(path: Path) -> FrontMatter:
    """The file, taken apart. Raises ConfigError with the line of each mistake."""
    lines = read_text(path).replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != FENCE:
        raise ConfigError(
            f"the first line must be {FENCE}: front matter (role: research …), another {FENCE}, then the prompt",
            place=Place(str(path), 1),
        )
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == FENCE), None)
    if end is None:
        raise ConfigError(f"the front matter has no end: write {FENCE} below it", place=Place(str(path), 1))
    data, key_lines = _parse("\n".join(["", *lines[1:end], ""]), path)  # A blank for the fence, so that lines agree.
    text = "\n".join(lines[end + 1 :])
    return FrontMatter(path, data, key_lines, text.strip(), end + 1)


def _parse(source: str, path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Plain values and lists of them. A key that is there twice is a mistake, though YAML lets the last one win."""
    data: dict[str, Any] = {}
    lines: dict[str, int] = {}
    mistakes: list[Mistake] = []

    def mistake(line: int, sentence: str) -> None:
        mistakes.append(Mistake(Place(str(path), line), sentence))

    try:
        loader = yaml.SafeLoader(source)
        root = loader.get_single_node()
        if root is not None and not isinstance(root, yaml.MappingNode):
            raise ConfigError("the front matter must be lines of key: value", place=Place(str(path), 2))
        for key, value in root.value if root else ():
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                mistake(line, "a key must be one plain word")
            elif key.value in data:
                mistake(line, f"'{key.value}' is there twice, first on line {lines[key.value]}: keep one")
            elif not _is_plain(value):
                mistake(line, f"'{key.value}' must be one plain value, or a list of plain values")
            else:
                data[key.value], lines[key.value] = _constructed(loader, value), line
    except yaml.YAMLError as error:
        mistake(_line(error, source), _words(error))
    stop(mistakes)
    return data, lines


def _is_plain(node: Any) -> bool:
    if isinstance(node, yaml.SequenceNode):
        return all(isinstance(part, yaml.ScalarNode) for part in node.value)
    return isinstance(node, yaml.ScalarNode)


def _constructed(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    try:
        return loader.construct_object(node, deep=True)
    except ValueError:
        return node.value  # What only looks like a date or number, such as 2024-13-45, is text.


def _line(error: yaml.YAMLError, source: str) -> int:
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        return min(int(mark.line) + 1, source.count("\n"))
    return source.count("\n", 0, getattr(error, "position", 0)) + 1


def _words(error: yaml.YAMLError) -> str:
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    hint = next((f": {hint}" for start, hint in _HINTS if said.startswith(start)), "")
    return f"the front matter is not YAML ({said}){hint}"
