"""The passages of long documents that bear most on what a stage is about.

Owns: the search: an index in memory, what of a query is looked for, and which passages are given when little is found.
Must not: keep anything between two calls (it runs in a thread of the hub), or let a query's text be anything but words.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice, pairwise, zip_longest

from felixhub.core.events import Passage
from felixhub.documents.chunks import Chunk, chunks_of

CHUNKS_MAX = 10_000  # in one index; of more, neighbours are joined until they are no more
TERMS_MAX = 120  # looked for at once; a longer query gives half of them from its beginning, half from its end
TERM_CHARACTERS_MAX = 60
QUERY_CHARACTERS_MAX = 100_000  # of a longer query only its two ends are read

# What says nothing about a subject, in English, and what every task says. Ranking takes care of other languages: a
# word that is in most chunks counts for next to nothing.
_COMMON = """
    a about all also an and any are as at be been but by can could did do does for from had has have he her his how
    i if in into is it its just may me more most must my no not of on one only or other our out over please she should
    so some such than that the their them then there these they this those to too under up us was we were what when
    where which while who why will with would you your
"""
COMMON = frozenset(_COMMON.split())

# Scripts that are written without spaces, or with endings grown onto the words: Thai, Lao, Burmese, Khmer, kana, Han,
# Hangul. Their text is indexed by character and looked for by pairs of neighbours.
_RANGES = (
    r"\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u3005-\u3007\u3040-\u30FF\u31F0-\u31FF\u3400-\u4DBF\u4E00-\u9FFF"
    r"\uAC00-\uD7A3\uF900-\uFAFF\U00020000-\U0003FFFF"
)
_UNSPACED = re.compile(f"[{_RANGES}]")
_TERM = re.compile(f"[{_RANGES}]+|[^\\W_{_RANGES}]+")
_SPLIT_WORD = re.compile(r"(?<=[^\W\d_])[-\u2010]\n(?=[^\W\d_])")  # hyphenated at a line's end


def find_passages(
    documents: Sequence[tuple[str, str]], queries: Mapping[str, str], *, count: int = 10
) -> dict[str, tuple[Passage, ...]]:
    """For each query the `count` best passages of the documents (names and texts), in the documents' order.

    When fewer match, the first chunks of each document fill up, so there are `count` unless the documents have fewer.
    """
    of_each = [chunks_of(name, text) for name, text in documents]
    joined = -(-sum(map(len, of_each)) // CHUNKS_MAX)
    if joined > 1:
        of_each = [_joined(chunks, joined) for chunks in of_each]
    chunks = list(chain.from_iterable(of_each))
    firsts = _firsts(of_each)
    with closing(_index(documents, of_each)) as index:
        found = {key: _best(index, query, count) for key, query in queries.items()}
    given = {key: _filled(best, firsts, count) for key, best in found.items()}
    return {key: tuple(_passage(chunks[number]) for number in sorted(numbers)) for key, numbers in given.items()}


def text_of(data: bytes, passage: Passage) -> str:
    """A passage's text, from the UTF-8 bytes of its document."""
    return data[passage.start : passage.end].decode(errors="replace")


def terms_of(query: str) -> list[str]:
    """The words to look for, each once, in the query's order; of an unspaced script pairs of characters."""
    if len(query) > QUERY_CHARACTERS_MAX:
        half = QUERY_CHARACTERS_MAX // 2
        query = f"{query[:half]}\n{query[-half:]}"
    terms = list(dict.fromkeys(_terms(query)))
    if len(terms) > TERMS_MAX:
        half = TERMS_MAX // 2
        terms = terms[:half] + terms[-half:]
    return terms


def _terms(query: str) -> Iterator[str]:
    for match in _TERM.finditer(_normal(query)):
        word = match[0].lower()
        if _UNSPACED.match(word):
            yield from (" ".join(pair) for pair in pairwise(word))
            if len(word) == 1:
                yield word
        elif word not in COMMON and len(word) <= TERM_CHARACTERS_MAX:
            yield word


def _normal(text: str) -> str:
    """One form for what is one letter or word: composed, full width and ligatures undone, line ends healed."""
    text = unicodedata.normalize("NFKC", text).replace("\N{SOFT HYPHEN}", "")
    return _SPLIT_WORD.sub("", text)


def _joined(chunks: list[Chunk], joined: int) -> list[Chunk]:
    """Fewer and longer chunks; each is cited by where it begins."""
    parts = (chunks[at : at + joined] for at in range(0, len(chunks), joined))
    return [Chunk(part[0].document, part[0].place, part[0].start, part[-1].end) for part in parts]


def _index(documents: Sequence[tuple[str, str]], of_each: Sequence[list[Chunk]]) -> sqlite3.Connection:
    """An index whose rows are the chunks, numbered through. It holds no text."""
    index = sqlite3.connect(":memory:", isolation_level=None)
    index.execute(
        "CREATE VIRTUAL TABLE chunk USING fts5(text, content='', tokenize=\"porter unicode61 remove_diacritics 2\")"
    )
    index.execute("BEGIN")
    number = 0
    for (_, text), chunks in zip(documents, of_each, strict=True):
        data = text.encode()
        for chunk in chunks:
            words = _UNSPACED.sub(r" \g<0> ", _normal(data[chunk.start : chunk.end].decode()))
            index.execute("INSERT INTO chunk (rowid, text) VALUES (?, ?)", (number, words))
            number += 1
    index.execute("COMMIT")
    return index


def _best(index: sqlite3.Connection, query: str, count: int) -> list[int]:
    """The numbers of the chunks that match best. Every term is letters and digits in quotes: nothing is an operator."""
    terms = terms_of(query)
    if not terms:
        return []
    rows = index.execute(
        "SELECT rowid FROM chunk WHERE chunk MATCH ? ORDER BY bm25(chunk), rowid LIMIT ?",
        (" OR ".join(f'"{term}"' for term in terms), count),
    )
    return [number for (number,) in rows]


def _firsts(of_each: Sequence[list[Chunk]]) -> list[int]:
    """The chunks' numbers: the first of each document, then the second of each, and so on."""
    starts = [0]
    for chunks in of_each:
        starts.append(starts[-1] + len(chunks))
    numbers = (range(start, end) for start, end in pairwise(starts))
    return [number for turn in zip_longest(*numbers) for number in turn if number is not None]


def _filled(best: list[int], firsts: list[int], count: int) -> list[int]:
    have = set(best)
    return best + list(islice((number for number in firsts if number not in have), count - len(best)))


def _passage(chunk: Chunk) -> Passage:
    return Passage(document=chunk.document, place=chunk.place, start=chunk.start, end=chunk.end)
