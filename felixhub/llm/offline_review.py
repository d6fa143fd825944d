"""The offline model's reviewing: sentences of a text that contradict what was given, and putting them right.

A sentence contradicts one that was given when it says nearly the same but for a word, a figure or a negation; one that
stands there word for word never does.
Owns: finding contradictions, the verdict in JSON, replacing sentences. Must not: word a repair of its own: the sentence
that was given stands in for the wrong one.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from felixhub.core.review import ISSUES_MAX, Issue, read_review
from felixhub.llm.offline_material import sentences_of, stem, terms_of
from felixhub.llm.offline_prompt import Assignment, Source

CLAIMS_MAX = 1_000
GIVEN_MAX = 4_000
COMPARED_MAX = 20  # given sentences that one claim is held against
CLAIM_CHARACTERS_MAX = 1_500

_CITED = re.compile(r"\s*(?:\[[^\[\]]{1,200}\]|\([^()“”]{1,80}\))[.,;]?$")
_LEAD = re.compile(r"^(?:[-*+•>]\s+|\d{1,3}[.)]\s+|\*\*[^*]{1,80}\*\*:?\s*)+")
_QUOTED = re.compile(r"“([^“”]{12,})”")
_WORD = re.compile(r"\d+(?:[.,:]\d+)*|%|[^\W\d_]+(?:['’-][^\W\d_]+)*")
_COUNTED = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS = {word: str(number) for number, word in enumerate(_COUNTED, 2)} | {
    "twenty": "20",
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "hundred": "100",
}
_NEGATIONS = frozenset(("not", "no", "never", "cannot", "without", "neither", "nor", "none", "nobody", "nothing"))
_LITTLE_TEXT = """
    the and are was were been being for with that this these those has have had its from but can could may might must
    shall should will would their his her our your them they you she who which what when than then also into onto there
"""
_LITTLE_WORDS = frozenset(_LITTLE_TEXT.split())
_UNFINISHED = re.compile(r"\b(TODO|TBD|FIXME|lorem ipsum)\b|\[(?:insert|placeholder)[^\]]*\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence, taken apart. `figures` maps each figure to the words around it, which say what it counts."""

    text: str
    source: str
    words: tuple[str, ...]
    terms: frozenset[str]
    figures: Mapping[str, frozenset[str]]
    negative: bool

    @classmethod
    def of(cls, text: str, source: str) -> Claim:
        words = tuple(map(_plain, _WORD.findall(text)))
        figures: dict[str, frozenset[str]] = {}
        for place, word in enumerate(words):
            if word[0].isdigit():
                around = (*words[max(0, place - 1) : place], *words[place + 1 : place + 3])
                counted = {other if other == "%" else stem(other) for other in around if _tells(other)}
                figures[word] = figures.get(word, frozenset()) | counted
        negations = sum(word in _NEGATIONS or word.endswith(("n't", "n’t")) for word in words)
        terms = frozenset(stem(word) for word in words if _tells(word) and word != "%")
        return cls(text, source, words, terms, figures, negations % 2 == 1)


@dataclass(frozen=True, slots=True)
class Contradiction:
    claim: Claim
    given: Claim
    what: str


def verdict(asked: Assignment, focus: frozenset[str]) -> str:
    """The review of what the assignment gives to judge, as the JSON object that is asked for."""
    text = judged(asked)
    whole = text.text if text else "\n".join([*(document.text for document in asked.documents), asked.earlier])
    issues = []
    if text is None and len(whole.split()) < 20:
        issues.append(Issue(what=f"The text has only {len(whole.split())} words."))
    if found := _UNFINISHED.search(whole):
        place = next((one for one in sentences_of(whole) if found[0] in one), found[0])
        issues.append(Issue(what=f"The text still holds a placeholder: {found[0]}.", where=_in_quotes(place)))
    if text is None and len(whole.split()) >= 20 and focus and not focus & terms_of(whole):
        issues.append(Issue(what="The text uses none of the task's words."))
    if text is not None:
        issues.extend(
            Issue(what=one.what, where=_in_quotes(one.claim.text), instead=one.given.text)
            for one in contradictions(text, given(asked))
        )
    told = [issue.model_dump(exclude_defaults=True) for issue in issues[:ISSUES_MAX]]
    return json.dumps({"approved": not issues, "issues": told}, ensure_ascii=False)


def judged(asked: Assignment) -> Source | None:
    """The text to review: the last thought that is not a review itself."""
    texts = [thought for thought in asked.thoughts if read_review(thought.text).fault]
    return texts[-1] if texts else None


def given(asked: Assignment) -> list[Source]:
    """What a text must not contradict."""
    return [Source("the task", asked.task), *asked.documents]


def issues_of(thoughts: Iterable[Source]) -> list[Issue]:
    """What the reviews among these thoughts want put right."""
    verdicts = (read_review(thought.text) for thought in thoughts)
    return [issue for verdict in verdicts if not verdict.fault and not verdict.approved for issue in verdict.issues]


def contradictions(text: Source, sources: Sequence[Source]) -> list[Contradiction]:
    """Each sentence of the text that contradicts a given one, in the text's order."""
    known = [Claim.of(sentence, source.name) for source in sources for sentence in sentences_of(source.text)]
    known = known[:GIVEN_MAX]
    by_term: dict[str, list[int]] = {}
    for place, claim in enumerate(known):
        for term in claim.terms:
            by_term.setdefault(term, []).append(place)
    found = []
    for claim in _claims(text):
        shared = Counter(place for term in claim.terms for place in by_term.get(term, ()))
        near = [known[place] for place, _ in shared.most_common(COMPARED_MAX)]
        if contradiction := _contradiction(claim, near):
            found.append(contradiction)
    return found


def put_right(text: str, issues: Iterable[Issue], contradicting: Iterable[Contradiction]) -> str:
    """The text with each wrong sentence replaced; everything else stays as it is, to the byte.

    A repair whose place is not found is added at the end, unless it is there already.
    """
    for issue in issues:
        wrong = _out_of_quotes(issue.where)
        if wrong and _place_of(wrong, text).search(text):
            text = _replaced(text, wrong, issue.instead) if issue.instead else _without(text, wrong)
        elif issue.instead and not _place_of(issue.instead, text).search(text):
            text = f"{text.rstrip()}\n\n{issue.instead}"
    for one in contradicting:
        text = _replaced(text, one.claim.text, one.given.text)
    return text


def _replaced(text: str, old: str, new: str) -> str:
    """The text with one sentence in the place of another, which was held against it word for word."""
    return new.join(_place_of(old, text).split(text))


def _without(text: str, sentence: str) -> str:
    """The text without a sentence, and without the list item that held only it."""
    place = _place_of(sentence, text)
    lines = []
    for line in text.split("\n"):
        if not place.search(line):
            lines.append(line)
            continue
        left = place.sub("", line)
        if len(_CITED.sub("", _LEAD.sub("", left.strip())).strip("“”\"'*_ .,;:()-").split()) > 2:
            lines.append(left)
    return place.sub("", "\n".join(lines))


def dropped(text: str, fragments: Iterable[str]) -> str:
    """The text without the sentences in which one of the fragments stands."""
    flat = [" ".join(fragment.split()) for fragment in fragments]
    for sentence in _bare_sentences(text) if flat else ():
        if any(fragment in sentence for fragment in flat):
            text = _without(text, sentence)
    return text


def _claims(text: Source) -> list[Claim]:
    return [Claim.of(sentence, text.name) for sentence in _bare_sentences(text.text)]


def _bare_sentences(text: str) -> list[str]:
    """The sentences of a text, without what stands around them; of a sentence that quotes, what it quotes."""
    found: list[str] = []
    for sentence in sentences_of(text):
        quoted = _QUOTED.findall(sentence)
        bare = _CITED.sub("", _LEAD.sub("", sentence)).strip()
        found.extend(quoted or [bare])
    return [one for one in dict.fromkeys(found) if len(one) <= CLAIM_CHARACTERS_MAX][:CLAIMS_MAX]


def _contradiction(claim: Claim, near: Sequence[Claim]) -> Contradiction | None:
    if any(_stands_in(claim, other) for other in near):
        return None
    alike = [other for other in near if _is_alike(claim, other)]
    for other in alike:
        if words := _one_word_apart(claim, other):
            opposite = claim.negative != other.negative
            return Contradiction(claim, other, _opposite(other) if opposite else _says(other, *words))
    for figure, counted in claim.figures.items():
        if any(figure in other.figures for other in alike):
            continue
        for other in alike:
            for instead, its in other.figures.items():
                if instead not in claim.figures and (counted & its or claim.terms == other.terms):
                    return Contradiction(claim, other, _says(other, figure, instead))
    same = [other for other in near if _likeness(claim, other) >= 0.8]
    if same and all(other.negative != claim.negative for other in same):
        return Contradiction(claim, same[0], _opposite(same[0]))
    return None


def _stands_in(claim: Claim, other: Claim) -> bool:
    """Word for word, and not cut so that it says the opposite."""
    return f" {' '.join(claim.words)} " in f" {' '.join(other.words)} " and claim.negative == other.negative


def _is_alike(claim: Claim, other: Claim) -> bool:
    shared = len(claim.terms & other.terms)
    of_claim, of_other = shared / max(1, len(claim.terms)), shared / max(1, len(other.terms))
    return (shared >= 2 and of_claim >= 0.6) or (shared >= 3 and of_other >= 0.7)


def _likeness(claim: Claim, other: Claim) -> float:
    return len(claim.terms & other.terms) / max(2, len(claim.terms | other.terms))


def _one_word_apart(claim: Claim, other: Claim) -> tuple[str, str] | None:
    if len(claim.words) != len(other.words) or len(claim.words) < 5:
        return None
    apart = [pair for pair in zip(claim.words, other.words, strict=True) if pair[0] != pair[1]]
    return apart[0] if len(apart) == 1 else None


def _opposite(other: Claim) -> str:
    return f"It says the opposite of what {other.source} says."


def _says(other: Claim, here: str, there: str) -> str:
    return f"It says “{here}” where {other.source} says “{there}”."


def _tells(word: str) -> bool:
    """Whether a word says what a sentence is about. A claim is compared by more words than a ranking goes by."""
    return word == "%" or (
        len(word) > 2 and not word[0].isdigit() and word not in _LITTLE_WORDS and word not in _NEGATIONS
    )


def _plain(word: str) -> str:
    word = word.lower()
    if word[0].isdigit():
        return re.sub(r",(?=\d{3}\b)", "", word)
    return _NUMBERS.get(word, word)


def _place_of(sentence: str, text: str) -> re.Pattern[str]:
    """Where a sentence stands in a text, however its white space is."""
    words = sentence.split()
    if not words or len(sentence) > len(text):
        return re.compile(r"(?!)")
    return re.compile(r"\s+".join(map(re.escape, words)))


def _in_quotes(sentence: str) -> str:
    return f"“{sentence[:CLAIM_CHARACTERS_MAX]}”"


def _out_of_quotes(where: str) -> str:
    """The quotation in a place; without quotation marks the place itself, if it is a sentence."""
    found = re.search(r"“(.+)”|\"(.+)\"", where, re.DOTALL)
    if found:
        return found[1] or found[2]
    return where.strip() if len(where.split()) >= 4 else ""
