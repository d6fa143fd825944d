"""TOML files: the line of every key, and every mistake said with its line and the right spelling."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from felixhub.core.errors import ConfigError, Place
from felixhub.core.names import Name
from felixhub.settings.mistakes import Mistake, stop
from felixhub.settings.toml_file import FILE_BYTES_MAX, load_toml, read_toml
from felixhub.settings.toml_lines import key_lines

TRICKY = '''\
# [not.a.table]
"quoted key" = "a # b"        # 2
text = """
fake = 1
[fake]
\\""" still text"""
'it' = 0
dotted . name = 'x = 1'       # 8
list = [ 1, # [[
  "two]",

  { deep = 1, b.c = [
    2 ] },
]
[one.two]
three = 1979-05-27T07:32:00Z

[[many]]
name = "a"
[many.inner]
x = 1
[[many.inner.list]]
[[many]]
name = 'b'
[[many.sub]]
y = true
[[many.sub]]
y = false
'''


def test_every_key_has_its_line() -> None:
    lines = key_lines(TRICKY)
    assert lines == {
        ("quoted key",): 2,
        ("text",): 3,
        ("it",): 7,
        ("dotted",): 8,
        ("dotted", "name"): 8,
        ("list",): 9,
        ("list", 0): 9,
        ("list", 1): 10,
        ("list", 2): 12,
        ("list", 2, "deep"): 12,
        ("list", 2, "b"): 12,
        ("list", 2, "b", "c"): 12,
        ("list", 2, "b", "c", 0): 13,
        ("one", "two"): 15,
        ("one", "two", "three"): 16,
        ("many",): 18,
        ("many", 0): 18,
        ("many", 0, "name"): 19,
        ("many", 0, "inner"): 20,
        ("many", 0, "inner", "x"): 21,
        ("many", 0, "inner", "list"): 22,
        ("many", 0, "inner", "list", 0): 22,
        ("many", 1): 23,
        ("many", 1, "name"): 24,
        ("many", 1, "sub"): 25,
        ("many", 1, "sub", 0): 25,
        ("many", 1, "sub", 0, "y"): 26,
        ("many", 1, "sub", 1): 27,
        ("many", 1, "sub", 1, "y"): 28,
    }


class Leaf(BaseModel):
    name: Name = "leaf"
    size: int = Field(default=1, ge=1)


class Tree(BaseModel):
    model_config = ConfigDict(extra="ignore")  # as on the wire; a file's unknown keys are mistakes all the same

    name: str
    height_m: float = 1.0
    tall: bool = False
    kind: str = Field(default="oak", min_length=1, max_length=5)
    range: tuple[float, float] = (0.0, 1.0)
    leaves: tuple[Leaf, ...] = Field(default=(), max_length=3)
    first: Leaf | None = None
    api_key_env: str = ""


def mistakes_of(tmp_path: Path, text: str | bytes) -> list[str]:
    path = tmp_path / "tree.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_toml(path, Tree)
    error = caught.value
    assert error.place is not None and error.place.file == str(path)
    assert str(error) == f"{error.place}: {error.sentence}"
    return [line.removeprefix(f"{path}:") for line in str(error).split("\n")]


def test_a_good_file_with_a_byte_order_mark_and_crlf(tmp_path: Path) -> None:
    path = tmp_path / "tree.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "\xc3\xa9"\r\nheight_m = 3\r\nrange = [0, 1]\r\n[[leaves]]\r\nsize = 2\r\n')
    assert load_toml(path, Tree) == Tree(name="é", height_m=3.0, range=(0, 1), leaves=(Leaf(size=2),))
    assert str(read_toml(path).place(("leaves", 0, "size"))) == f"{path}:5"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name = 'a'\nheigth_m = 2", "2: there is no key 'heigth_m' here: did you mean 'height_m'?"),
        (
            "name = 'a'\nqqq = 2",
            "2: there is no key 'qqq' here: remove it, or use one of name, height_m, tall, kind, range, leaves, first,"
            " api_key_env",
        ),
        ("naem = 'a'", "1: there is no key 'naem' here: did you mean 'name'?"),  # and not also: name is missing
        ("\n\ntall = true", "1: 'name' is missing: add it"),
        ("name = 3", "1: 'name' must be text, in quotes, not 3"),
        ("name = 2024-01-02", "1: 'name' must be text, in quotes"),
        ("name = 'a'\ntall = 'true'", "2: 'tall' must be true or false, not 'true': leave out the quotes"),
        ("name = 'a'\nheight_m = '2'", "2: 'height_m' must be a number, not '2': leave out the quotes"),
        ("name = 'a'\nrange = 1", "2: 'range' must be a list, in square brackets, not 1"),
        ("name = 'a'\nrange = [1]", "2: 'range' must have 2 values, as in [0.9, 0.4]"),
        ("name = 'a'\nrange = [1,\n2,\n3]", "2: 'range' has too many values: at most 2"),
        ("name = 'a'\nrange = [1,\n'x']", "3: 'range', value 2 must be a number, not 'x': leave out the quotes"),
        ("name = 'a'\nkind = ''", "2: 'kind' is empty: write something, or remove the key"),
        ("name = 'a'\nkind = 'spruce'", "2: 'kind' is too long: at most 5 characters"),
        ("name = 'a'\nfirst = 1", "2: 'first' must be a table, not 1"),
        ("name = 'a'\n[first]\nsize = 0", "3: 'size' must be at least 1, not 0"),
        ("name = 'a'\n[first]\nsize = 1.5", "3: 'size' must be a whole number, not 1.5"),
        ("name = 'a'\n[[leaves]]\n[[leaves]]\n\nsiez = 1", "5: there is no key 'siez' here: did you mean 'size'?"),
        (
            "name = 'a'\n[first]\nname = 'A b'",
            "3: 'name' is not a name, not 'A b': use lower-case letters, digits, - and _, at most 64, beginning with a"
            " letter or a digit",
        ),
        (
            "name = 'a'\n[first]\ntall = true",
            "3: 'tall' does not belong in this table: move it above the first [table]",
        ),
        ("name = 'a'\nsize = 1", "2: 'size' does not belong here: move it into the table 'first'"),
        ("name = 'a'\napi_key_env = 12345", "2: 'api_key_env' must be text, in quotes"),  # the value is not repeated
    ],
)
def test_each_mistake_has_its_line_and_the_way_out(tmp_path: Path, text: str, expected: str) -> None:
    assert mistakes_of(tmp_path, text) == [expected]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = "tall = 1\nnmae = 'a'\n[first]\nsize = 0\nshape = 1"
    assert mistakes_of(tmp_path, text) == [
        "1: 'tall' must be true or false, not 1",
        "2: there is no key 'nmae' here: did you mean 'name'?",
        "4: 'size' must be at least 1, not 0",
        "5: there is no key 'shape' here: remove it, or use one of name, size",
    ]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a = 1\nb = hello", 2, "put text in quotes"),
        ("a = True", 1, "write true and false small"),
        ("a = 1\n\na = 2\nb = 1", 3, "twice, keep one"),
        ("[a]\n[b]\n[a]", 3, "twice, keep one"),
        ("a = 1\nb", 2, "write key = value"),
        ("a = 1 b = 2", 1, "one key = value on each line"),
        ("a = [1,\n2\n\n", 2, "a closing ] is missing"),
        ("a = 'x", 1, "a closing quote is missing"),
        ('a = """x\ny\n', 2, "a closing quote is missing"),
        ('a = "C:\\dir"', 1, "write \\\\ for a backslash"),
        ("x\x00", 1, "write key = value"),
    ],
)
def test_what_is_not_toml_is_told_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    (told,) = mistakes_of(tmp_path, text)
    assert told.startswith(f"{line}: this is not TOML (") and words in told


def test_what_is_not_even_text(tmp_path: Path) -> None:
    assert mistakes_of(tmp_path, b"name = 'a'\n# caf\xe9") == ["2: this is not UTF-8 text: save it as UTF-8"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tree\.toml: cannot read this file: No such file"):
        read_toml(tmp_path / "tree.toml")
    with pytest.raises(ConfigError, match="cannot read this file: Is a directory"):
        read_toml(tmp_path)


def test_too_large_or_too_deep(tmp_path: Path) -> None:
    path = tmp_path / "tree.toml"
    path.write_text("#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigError, match="this file is larger than 1048576 bytes"):
        read_toml(path)
    path.write_text("a = " + "[" * 50_000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        read_toml(path)


def test_mistakes_keep_the_order_of_the_files_and_are_told_once() -> None:
    def at(file: str, line: int) -> Mistake:
        return Mistake(Place(file, line), "wrong")

    with pytest.raises(ConfigError) as caught:
        stop([at("b", 2), at("a", 1), at("b", 1), at("b", 2)])
    assert str(caught.value) == "b:1: wrong\nb:2: wrong\na:1: wrong"
    stop([])
