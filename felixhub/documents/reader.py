"""Files into text: plain text and Markdown as they are, HTML and PDF as what a reader would see of them.

Owns: which files are taken, and every refusal, as one sentence with the file. Must not: take foreign formats apart in
this process (a hostile file may cost any time and memory), or ask the network for anything.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from felixhub.core.errors import ConfigError, Place
from felixhub.core.limits import DEFAULT_LIMITS, MIB
from felixhub.core.messages import Document

FILE_BYTES_MAX = 50_000_000
DOCUMENTS_BYTES_MAX = 3 * MIB  # of text; a start is one control message of at most 4 MiB
READING_S_MAX = 120.0  # for one HTML or PDF file
NAME_CHARACTERS_MAX = 180  # the protocol takes 200; a number may follow

TEXT_SUFFIXES = frozenset((".txt", ".md", ".markdown", ".text", ".rst", ""))
HTML_SUFFIXES = frozenset((".html", ".htm", ".xhtml"))
PDF_SUFFIXES = frozenset((".pdf",))
SUFFIXES = TEXT_SUFFIXES | HTML_SUFFIXES | PDF_SUFFIXES

_PDF_HEAD_BYTES = 1024  # how far into a file its %PDF- may stand: some mail programs put lines before it
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_documents(files: Sequence[Path]) -> list[Document]:
    """Each file as a document. Raises ConfigError for the first that cannot be taken, or when all are too much."""
    if len(files) > DEFAULT_LIMITS.documents_max:
        raise ConfigError(
            f"these are {len(files)} documents, a run takes {DEFAULT_LIMITS.documents_max}: join some, or choose"
        )
    documents: list[Document] = []
    total = 0
    for file in files:
        text = read_document(file)
        total += len(text.encode())
        _check_total(total, file)
        documents.append(Document(name=_name_of(file, documents), text=text))
    return documents


def read_document(path: Path, *, reading_s_max: float = READING_S_MAX) -> str:
    """The text of one file; the pages of a PDF are parted by form feeds. Raises ConfigError with the file."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(
            f"cannot read {_printable(suffix)} files yet: give it as text, Markdown, HTML or PDF",
            place=Place(str(path)),
        )
    data = _bytes_of(path)
    is_pdf = b"%PDF-" in data[:_PDF_HEAD_BYTES] if suffix in PDF_SUFFIXES else data.startswith(b"%PDF-")
    if suffix in PDF_SUFFIXES:
        if not is_pdf:
            raise ConfigError("this is not a PDF, whatever its name says: look what it is", place=Place(str(path)))
        text = _read_apart("pdf", data, path, reading_s_max)
    elif is_pdf:
        raise ConfigError("this is a PDF, whatever its name says: give it the ending .pdf", place=Place(str(path)))
    elif suffix in HTML_SUFFIXES:
        _check_no_nul(data, path)
        text = _read_apart("html", data, path, reading_s_max)
    else:
        text = _read_plain(data, path)
    _check_total(len(text.encode()), path)
    return text


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = b"" if size > FILE_BYTES_MAX else file.read(FILE_BYTES_MAX + 1)  # A pipe does not tell its size.
    except (OSError, ValueError) as error:  # A name with a NUL in it is a ValueError.
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot read this document: {why}", place=Place(str(path))) from None
    if max(size, len(data)) > FILE_BYTES_MAX:
        raise ConfigError(
            f"this document is larger than {FILE_BYTES_MAX} bytes: give the part that matters", place=Place(str(path))
        )
    if not data.strip():
        raise ConfigError("this document is empty", place=Place(str(path)))
    return data


def _read_plain(data: bytes, path: Path) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError("this is not UTF-8 text: save it as UTF-8", place=Place(str(path), line)) from None
    _check_no_nul(data, path)
    if not text.strip():
        raise ConfigError("this document is empty", place=Place(str(path)))
    return text


def _check_no_nul(data: bytes, path: Path) -> None:
    """A NUL means that it is no text at all, unless it is UTF-16, which HTML may be."""
    found = data.find(b"\0")
    if found >= 0 and not data.startswith(_UTF16_MARKS):
        line = data.count(b"\n", 0, found) + 1
        raise ConfigError(
            "this is not text, it has zero bytes: give it as text, Markdown, HTML or PDF", place=Place(str(path), line)
        )


def _check_total(size: int, path: Path) -> None:
    if size > DOCUMENTS_BYTES_MAX:
        raise ConfigError(
            f"the documents come to more than {DOCUMENTS_BYTES_MAX} bytes of text, the most a run takes: "
            "choose what matters",
            place=Place(str(path)),
        )


def _read_apart(kind: str, data: bytes, path: Path, seconds_max: float) -> str:
    """The text of an HTML or PDF file, taken apart by a process of its own that can be ended."""
    name = {"html": "HTML", "pdf": "PDF"}[kind]
    command = [sys.executable, "-m", "felixhub.documents.apart", kind, str(DOCUMENTS_BYTES_MAX), str(seconds_max)]
    try:
        done = subprocess.run(
            command, input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=seconds_max, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"this {name} is not read after {seconds_max:g} s: split it, or give its text", place=Place(str(path))
        ) from None
    if done.returncode:
        raise ConfigError(
            f"this {name} cannot be read, it is damaged or needs too much memory: save it anew, or give its text",
            place=Place(str(path)),
        )
    answer = json.loads(done.stdout)
    if "fault" in answer:
        raise ConfigError(answer["fault"], place=Place(str(path), answer["line"]))
    return str(answer["text"])


def _name_of(file: Path, others: Sequence[Document]) -> str:
    """The file's name as people see it; two of the same name are told apart by a number."""
    taken = {one.name for one in others}
    name = _printable(file.name)[:NAME_CHARACTERS_MAX]
    numbered = (f"{name} ({number})" for number in range(2, len(others) + 3))
    return next(one for one in (name, *numbered) if one not in taken)


def _printable(text: str) -> str:
    """Without the control characters and broken bytes that a file's name may have."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
