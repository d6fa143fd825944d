"""Finding passages: the best ones come first, nothing in a query is an operator, no stage goes away empty."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felixhub.core.events import Passage
from felixhub.documents import passages
from felixhub.documents.chunks import chunks_of
from felixhub.documents.passages import TERMS_MAX, find_passages, terms_of, text_of

FILLER = "The meeting went on and the members listened to what the others had to say about it. "
PLAIN = (FILLER * 10).strip()


def document(*marked: str, chunks: int = 40) -> str:
    """A long text of paragraphs, each a chunk; each marked sentence stands in one of its own, far from the others."""
    paragraphs = [PLAIN] * chunks
    for number, sentence in enumerate(marked):
        paragraphs[5 + 7 * number] = f"{PLAIN} {sentence}"
    return "\n\n".join(paragraphs)


def found(text: str, query: str, count: int = 1) -> str:
    """The text of the best passages."""
    (given_passages,) = find_passages([("a.md", text)], {"stage": query}, count=count).values()
    return "\n".join(text_of(text.encode(), passage) for passage in given_passages)


def test_each_query_gets_its_own_passages() -> None:
    text = document("Forty-one decibels at the fence.", "The budget is nine million euros.", "Bats nest in the roof.")
    given_passages = find_passages(
        [("a.md", text)],
        {"noise": "Compare the options\nHow many decibels?", "costs": "What is the budget in euros?"},
        count=1,
    )
    texts = {key: [text_of(text.encode(), one) for one in found] for key, found in given_passages.items()}
    assert len(texts["noise"]) == len(texts["costs"]) == 1
    assert "decibels" in texts["noise"][0]
    assert "nine million" in texts["costs"][0]


def test_a_passage_is_cited_by_document_and_place() -> None:
    text = "\n\n".join(["# Setting", PLAIN, "# Noise", PLAIN + " Forty decibels.", "# Costs", PLAIN])
    (one,) = find_passages([("other.md", PLAIN), ("plan.md", text)], {"stage": "decibels"}, count=1)["stage"]
    assert (one.document, one.place) == ("plan.md", "Noise, line 5")
    assert text_of(text.encode(), one) == "# Noise\n\n" + PLAIN + " Forty decibels."


def test_passages_come_in_the_order_of_the_documents() -> None:
    texts = {name: document("Decibels once.", "Decibels, decibels, decibels.") for name in ("b.md", "a.md")}
    given_passages = find_passages(list(texts.items()), {"stage": "decibels"}, count=4)["stage"]
    assert [one.document for one in given_passages] == ["b.md", "b.md", "a.md", "a.md"]
    assert all("ecibels" in text_of(texts[one.document].encode(), one) for one in given_passages)
    assert given_passages[0].start < given_passages[1].start


def test_the_best_of_many_are_given() -> None:
    text = document(*["Decibels once."] * 4, "Decibels at the fence, decibels at the road, decibels at night.")
    assert "at the road" in found(text, "decibels")


def test_rare_words_count_more_than_what_stands_everywhere() -> None:
    text = document("Forty decibels.")
    assert "decibels" in found(text, "meeting members listened decibels say meeting members")


def test_words_match_in_any_form() -> None:
    for said, asked in [
        ("They measured it.", "measuring"),
        ("Café René", "cafe"),
        ("Strasse GRÖSSE", "größe grosse"),
        ("The o\N{LATIN SMALL LIGATURE FFI}ce", "office"),
        ("infor-\nmation", "information"),
        ("co\N{SOFT HYPHEN}operation", "cooperation"),
        ("cafe\N{COMBINING ACUTE ACCENT} Rome", "café"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}\N{FULLWIDTH LATIN CAPITAL LETTER B}\N{FULLWIDTH DIGIT ONE}", "ab1"),
        ("Уровень шума", "ШУМА"),
        ("शोर का स्तर", "स्तर"),
    ]:
        assert said in found(document(said, chunks=30), asked), (said, asked)


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("夜间噪音达到四十一分贝。", "噪音"),
        ("夜间噪音达到四十一分贝。", "请比较各方案的噪音水平"),
        ("夜間の騒音は四十一デシベルである。", "騒音のデシベルは?"),
        ("야간 소음은 사십일 데시벨이다.", "소음"),
        ("เสียงรบกวนเวลากลางคืน", "เสียง"),
        ("水位升高", "水"),
        ("The value of 噪音 here", "about 噪音"),
    ],
)
def test_scripts_without_spaces_are_searched(said: str, asked: str) -> None:
    filler = "会議は長く続き、参加者は互いの話を聞いた。会议持续了很久。" * 12
    text = "\n\n".join([filler] * 12 + [filler + said] + [filler] * 12)
    assert said in found(text, asked)


def test_pairs_must_be_neighbours() -> None:
    text = "\n\n".join([PLAIN + "音很噪声。" * 5] * 9 + [PLAIN + "噪音"] + [PLAIN] * 9)
    assert found(text, "噪音").endswith("噪音")


def test_common_words_and_signs_are_not_looked_for() -> None:
    assert terms_of("What is the noise, and WHERE is it? noise_level (NOISE) 3.5") == ["noise", "level", "3", "5"]
    assert terms_of('"') == terms_of("") == terms_of("the and of") == []


def test_a_long_query_is_read_from_both_ends() -> None:
    words = [f"word{number}" for number in range(1_000)]
    terms = terms_of(" ".join(words))
    assert len(terms) == TERMS_MAX
    assert terms[0] == "word0" and terms[-1] == "word999"
    assert terms_of("first " + "word " * 500_000 + "last") == ["first", "word", "last"]
    assert terms_of("x" * 61) == []


@pytest.mark.parametrize(
    "query",
    ['"', '""', 'a" OR "b', "text:noise", "NEAR(a b, 5)", "noise*", "^noise", "a AND b NOT c", "- + {text} : x",
     "'; --", "noise\0 decibels", "\ud7ff", "(((", "rank", "chunk MATCH", "\N{COMBINING ACUTE ACCENT}", "AND", "OR NOT",
     "²", "ⅷ"],
)  # fmt: skip
def test_a_query_is_only_words(query: str) -> None:
    text = document("Forty decibels.")
    given_passages = find_passages([("a.md", text)], {"stage": query})["stage"]
    assert len(given_passages) == 10


def test_an_operator_in_a_query_is_a_word() -> None:
    text = document("The near side.", "The column text.")
    assert "near side" in found(text, "NEAR(")
    assert "column text" in found(text, "text:nothing")
    assert "decibels" in found(document("Forty decibels."), "NOT decibels")


@settings(max_examples=60)
@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=60), max_size=3),
    st.lists(
        st.tuples(st.text(min_size=1, max_size=5), st.text(max_size=3_000)), max_size=3, unique_by=lambda one: one[0]
    ),
)
def test_any_query_over_any_text(queries: dict[str, str], documents: list[tuple[str, str]]) -> None:
    given_passages = find_passages(documents, queries, count=3)
    assert given_passages.keys() == queries.keys()
    chunks = [
        Passage(document=one.document, place=one.place, start=one.start, end=one.end)
        for name, text in documents
        for one in chunks_of(name, text)
    ]
    for found in given_passages.values():
        assert len(found) == min(3, len(chunks))
        places = [chunks.index(one) for one in found]
        assert places == sorted(places)


def test_what_does_not_match_is_filled_up_with_beginnings() -> None:
    long, short = document("Forty decibels.", chunks=20), "A short note."
    documents = [("long.md", long), ("empty.md", " \n"), ("short.md", short)]
    given_passages = find_passages(documents, {"none": "zeppelin", "one": "decibels"}, count=4)
    firsts = [chunk.start for chunk in chunks_of("long.md", long)]
    assert [(one.document, one.start) for one in given_passages["none"]] == [
        ("long.md", firsts[0]),
        ("long.md", firsts[1]),
        ("long.md", firsts[2]),
        ("short.md", 0),
    ]
    assert [(one.document, one.start) for one in given_passages["one"]] == [
        ("long.md", firsts[0]),
        ("long.md", firsts[1]),
        ("long.md", firsts[5]),
        ("short.md", 0),
    ]


def test_no_documents_give_no_passages() -> None:
    assert find_passages([], {"stage": "noise"}) == {"stage": ()}
    assert find_passages([("a.md", "")], {"stage": "noise"}) == {"stage": ()}
    assert find_passages([("a.md", PLAIN)], {}) == {}


def test_too_many_chunks_are_joined_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passages, "CHUNKS_MAX", 10)
    text = document("Forty decibels.", "Last of all, bats.", chunks=41)
    documents = [("a.md", text), ("b.md", PLAIN)]
    everything = find_passages(documents, {"stage": ""}, count=1_000)["stage"]
    assert len(everything) <= 11
    assert sum(one.end - one.start for one in everything) >= len(text) + len(PLAIN) - 100
    assert "decibels" in found(text, "decibels") and "bats" in found(text, "bats")


def test_searches_in_several_threads_do_not_meet() -> None:
    results: dict[str, str] = {}

    def search(word: str) -> None:
        results[word] = found(document(f"All about {word}."), word)

    words = ("decibels", "bats", "euros", "trams")
    threads = [threading.Thread(target=search, args=(word,)) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(f"All about {word}." in results[word] for word in words)


def test_a_passage_is_cut_out_by_bytes() -> None:
    data = "aé騒b".encode()
    assert text_of(data, Passage(document="a", place="", start=1, end=6)) == "é騒"
    assert text_of(b"", Passage(document="a", place="", start=1, end=6)) == ""
