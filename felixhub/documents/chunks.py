"""Long text cut into chunks that make sense alone and can be cited.

Owns: where to cut and what a place is called. Must not: read files, or know what is searched for.

Chunks follow one another and leave out only white space between them. Each is 700 to 1,100 characters where the text
allows it. They end, in this order of preference, before a heading, at a blank line, a sentence's end, a line's end, a
space. A page ends a chunk, and so does a heading once there is half a chunk.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

CHARACTERS_MIN = 700
CHARACTERS_MAX = 1_100
SECTION_CHARACTERS_MIN = 350  # a heading may end a chunk that is this long
PAGE_CHARACTERS_MIN = 100  # a page shorter than this goes with the next: a title, a part's number
HEADING_CHARACTERS_MAX = 80  # of one that is cited; it is cut

_HEADING = re.compile(
    r"^ {0,3}#{1,6}[ \t]+(?P<hashes>\S[^\n]{0,1000})"
    r"|(?:(?<![^\n\f])[ \t\r]*\n|\A|(?<=\f))(?P<underlined>[^\s#>|`=~-][^\n]{0,200})\n(?:={3,}|-{3,}|~{3,})[ \t\r]*$"
    r"|^ {0,3}(?P<fence>```+|~~~+)",
    re.MULTILINE,
)
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)|[。！？｡]+[”’」』）]*|\N{DEVANAGARI DANDA}")
_BOUNDS = (_BLANK_LINE, _SENTENCE_END, re.compile(r"\n"), re.compile(r"\s"))
_MARKUP = re.compile(r"[*_`#\[\]]+")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document. `place` is for people; the range is in bytes of the text's UTF-8 form."""

    document: str
    place: str
    start: int
    end: int


def chunks_of(name: str, text: str) -> list[Chunk]:
    """The chunks of a document, in order. Form feeds part its pages."""
    headings = _headings(text)
    heading_starts = [start for start, _ in headings]
    has_pages = "\f" in text
    chunks: list[Chunk] = []
    page, line, byte, at = 1, 1, 0, 0  # of the character `at`
    for start, end in _cuts(text, heading_starts):
        page += text.count("\f", at, start)
        line += text.count("\n", at, start)
        byte += _bytes(text[at:start])
        at = start
        size = _bytes(text[start:end])
        if has_pages:
            last = page + text.count("\f", start, end)
            place = f"p. {page}" if last == page else f"p. {page}–{last}"
        else:
            above = bisect_right(heading_starts, start) - 1
            heading = headings[above][1] if above >= 0 else ""
            place = f"{heading}, line {line}" if heading else f"line {line}"
        chunks.append(Chunk(name, place, byte, byte + size))
    return chunks


def _bytes(text: str) -> int:
    return len(text.encode())


def _headings(text: str) -> list[tuple[int, str]]:
    """Where each Markdown heading starts, and its words; not what looks like one in a block of code."""
    found: list[tuple[int, str]] = []
    fence = ""
    for match in _HEADING.finditer(text):
        if match["fence"]:
            if not fence:
                fence = match["fence"]
            elif match["fence"].startswith(fence):
                fence = ""
        elif not fence:
            group = "hashes" if match["hashes"] else "underlined"
            start = match.start() if group == "hashes" else match.start(group)
            found.append((start, _title(match[group])))
    return found


def _title(words: str) -> str:
    plain = " ".join(_MARKUP.sub("", words).split())
    plain = "".join(character for character in plain if character.isprintable())
    return plain if len(plain) <= HEADING_CHARACTERS_MAX else plain[: HEADING_CHARACTERS_MAX - 1].rstrip() + "…"


def _cuts(text: str, heading_starts: list[int]) -> Iterator[tuple[int, int]]:
    """The ranges of the chunks, in characters, without the white space around each."""
    for page_start, page_end in _pages(text):
        start = _skip_space(text, page_start, page_end)
        while start < page_end:
            end = _cut(text, start, page_end, heading_starts)
            yield start, start + len(text[start:end].rstrip())
            start = _skip_space(text, end, page_end)


def _skip_space(text: str, start: int, end: int) -> int:
    while start < end and text[start].isspace():
        start += 1
    return start


def _pages(text: str) -> Iterator[tuple[int, int]]:
    """The ranges that no chunk goes beyond: each page, a very short one with those after it."""
    start = at = 0
    while (found := text.find("\f", at)) >= 0:
        at = found + 1
        if found - start >= PAGE_CHARACTERS_MIN:
            yield start, found
            start = at
    yield start, len(text)


def _cut(text: str, start: int, page_end: int, heading_starts: list[int]) -> int:
    """Where the chunk that begins at `start` ends."""
    rest = page_end - start
    far = start + min(CHARACTERS_MAX, rest)
    heading = _heading_between(heading_starts, start + SECTION_CHARACTERS_MIN, far)
    if heading is not None:
        return heading
    if far == page_end:
        return page_end
    near = start + CHARACTERS_MIN
    if rest < CHARACTERS_MAX + CHARACTERS_MIN:  # Shared between two, so that no scrap remains.
        near, far = start + rest * 2 // 5, start + rest * 3 // 5
    window = text[near:far]
    for pattern in _BOUNDS:
        ends = [match.end() for match in pattern.finditer(window)]
        if ends:
            return near + ends[-1]
    return far


def _heading_between(heading_starts: list[int], near: int, far: int) -> int | None:
    """The first heading in the range."""
    after = bisect_right(heading_starts, near - 1)
    return heading_starts[after] if after < len(heading_starts) and heading_starts[after] < far else None
