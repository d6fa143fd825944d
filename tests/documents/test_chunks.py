"""Cutting long text up: nothing but white space is lost, every range is sound, every place is right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felixhub.documents.chunks import CHARACTERS_MAX, CHARACTERS_MIN, Chunk, chunks_of

SENTENCE = "The night shift measured forty-one decibels at the northern fence. "  # 67 characters


def texts(text: str) -> list[str]:
    data = text.encode()
    return [data[chunk.start : chunk.end].decode() for chunk in chunks_of("a.md", text)]


def places(text: str) -> list[str]:
    return [chunk.place for chunk in chunks_of("a.md", text)]


def check(text: str) -> list[Chunk]:
    """Whatever the text: ranges in order that do not cut a character, and only white space left out."""
    data = text.encode()
    chunks = chunks_of("name", text)
    end = 0
    for chunk in chunks:
        assert end <= chunk.start < chunk.end <= len(data)
        assert not data[end : chunk.start].decode().strip()
        part = data[chunk.start : chunk.end].decode()
        assert part == part.strip()
        assert len(part) <= CHARACTERS_MAX
        assert chunk.document == "name"
        assert chunk.place.isprintable() and len(chunk.place) < 120
        end = chunk.end
    assert not data[end:].decode().strip()
    return chunks


PIECES = st.sampled_from(
    ["\n\n", "\n", "\f", " ", "# ", "## Noise\n", "Title\n====\n", "```\n", "~~~", "\r\n", "\t", ". ", "。", "word ",
     "é", "騒音", "👩\u200d👩\u200d👧", "\N{COMBINING ACUTE ACCENT}", "\x1b[31m", "\x00", "\u2028", "w" * 400,
     SENTENCE * 5, "-" * 300, " " * 500]
)  # fmt: skip


@given(st.lists(st.one_of(PIECES, st.text(max_size=50)), max_size=60).map("".join))
def test_any_text_is_covered(text: str) -> None:
    check(text)


@pytest.mark.parametrize(
    "hostile",
    ["\f" * 200_000, "# " * 100_000, "#" + " " * 200_000 + "\n", "```\n" * 50_000, "\n" * 200_000, " " * 200_000 + "x",
     "a\n===\n" * 40_000, "\n\na\n" * 50_000, "a" * 200_000, "." * 200_000, "a\f" * 100_000, "# x\n" * 50_000,
     "👩‍👩‍👧" * 20_000, "\r" * 100_000, "-" * 200_000, "~~~" + "`" * 200_000]
)  # fmt: skip
def test_hostile_text_is_covered(hostile: str) -> None:
    assert len(check(hostile)) <= len(hostile) // 50 + 2


def test_no_text_has_no_chunks() -> None:
    assert chunks_of("a.md", "") == chunks_of("a.md", " \n\f\t ") == []


def test_a_short_text_is_one_chunk() -> None:
    assert chunks_of("a.md", "\n Größe. \n") == [Chunk("a.md", "line 2", 2, 10)]


def test_ordinary_text_has_chunks_of_700_to_1100_characters() -> None:
    text = "\n\n".join(SENTENCE * (2 + number % 5) for number in range(100))
    sizes = [len(part) for part in texts(text)]
    assert len(sizes) > 20
    assert all(CHARACTERS_MIN - 2 <= size <= CHARACTERS_MAX for size in sizes[:-2])
    assert all(size > CHARACTERS_MIN // 2 for size in sizes[-2:])  # The last two share what is left.


def test_no_scrap_is_left() -> None:
    for sentences in range(17, 60):
        assert min(map(len, texts(SENTENCE * sentences))) > CHARACTERS_MIN // 2


def test_it_cuts_between_paragraphs_before_sentences() -> None:
    text = SENTENCE * 12 + "\n\n" + SENTENCE * 12
    assert texts(text) == [(SENTENCE * 12).strip()] * 2


def test_it_cuts_between_sentences_before_words() -> None:
    assert all(part.endswith("fence.") for part in texts(SENTENCE * 100))
    chinese = "夜班在北侧围栏测得四十一分贝。" * 300
    assert all(part.endswith("。") for part in texts(chinese))


def test_it_cuts_between_words_before_letters() -> None:
    assert all(part.split("word") == [""] + [" "] * (part.count("word") - 1) + [""] for part in texts("word " * 1_000))


def test_a_heading_begins_a_chunk() -> None:
    text = SENTENCE * 6 + "\n\n## Noise\n\n" + SENTENCE * 6 + "\n\nCosts\n-----\n" + SENTENCE * 6
    assert [part[:9] for part in texts(text)] == ["The night", "## Noise\n", "Costs\n---"]


def test_a_heading_is_not_left_behind() -> None:
    for sentences in range(1, 30):
        text = SENTENCE * sentences + "\n\n# Noise\n\n" + SENTENCE * 30
        assert not any(part.endswith("# Noise") for part in texts(text))


def test_places_are_headings_and_lines() -> None:
    section = (SENTENCE.strip() + "\n") * 12
    text = section + "# Noise `at` night ##\n" + section + "\n" + section + "\nCosts\n=====\n" + section
    assert places(text) == ["line 1", "Noise at night, line 13", "Noise at night, line 27", "Costs, line 40"]


def test_an_underlined_heading_is_one() -> None:
    section = (SENTENCE.strip() + "\n") * 12
    assert places("Costs\n=====\n\n" + section) == ["Costs, line 1"]
    assert places("\r\nCosts\r\n-----\r\n" + section) == ["Costs, line 2"]
    assert places("---\ntitle: x\n---\n" + section) == ["line 1"]
    assert places("a | b\n--- | ---\n" + section) == ["line 1"]


def test_a_comment_in_code_is_no_heading() -> None:
    code = "# Setup\n\n```sh\n# comment\n```\n"
    assert places(code + (SENTENCE.strip() + "\n") * 24)[1].startswith("Setup, line ")
    assert places("~~~\n```\n# comment\n" + SENTENCE * 24)[1].startswith("line ")


def test_a_long_heading_is_cut_and_harmless() -> None:
    (place,) = places("# \x1b[31m\u202e**" + "Noise " * 100)
    assert place == "31m" + "Noise " * 12 + "Nois…, line 1"


def test_pages_are_cited_and_end_chunks() -> None:
    page = SENTENCE * 5
    assert places(f"{page}\f{page}\f\f{page}") == ["p. 1", "p. 2", "p. 4"]
    assert texts(f"{page}\f{page}") == [page.strip()] * 2
    assert places(f"# Noise\n{SENTENCE * 20}\f{page}") == ["p. 1", "p. 1", "p. 2"]


def test_very_short_pages_go_with_the_next() -> None:
    assert places(f"Part one\f{SENTENCE * 5}\fThe end") == ["p. 1–2", "p. 3"]
