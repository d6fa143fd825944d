"""The offline model's material: sentences taken word for word from what it was given, ranked; and key terms.

Owns: cutting text into sentences, counting terms, the order of importance. Must not: word anything of its own.
Ranking: the sum of log(1 + frequency) of a sentence's terms over the root of its length, plus its overlap with the
task, plus a little for an early place and for a figure; then the best first, each unlike those before it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from felixhub.llm.offline_prompt import Assignment, Role, Source

THE_TASK = "the task"
TASK_READERS: frozenset[Role] = frozenset(
    ("section", "brief", "architecture", "implementation", "tests", "documentation")
)
SENTENCES_MAX = 4000
SENTENCE_WORDS_MIN = 5
SENTENCE_WORDS_MAX = 45

_STOP_TEXT = """
    a about above after again against all also although among an and any are aren as at be because been before being
    below between both but by can cannot could did do does doing down during each either else etc even ever every few
    for from further get give given gives had has have having he her here hers him his how however i if in into is it
    its itself just keep less let like made make makes many may me might more most much must my need needs neither no
    nor not now of off often on once one only or other others our out over own part per put rather s same she should
    since so some still such t take than that the their them then there therefore these they this those though three
    through thus to too two under until up upon us use used uses using very was we well were what when where whether
    which while who whom whose why will with within without would yet you your
    answer best better compare describe discuss explain following good help list name new please question say tell thing
    things want way ways word words work write written
    done first second last ask asks find keep become becomes
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())
_WORD = re.compile(r"[^\W\d_][\w'’-]*|\d[\d.,%]*")
_END = re.compile(r"(?<=[.!?…])([\"'”’)\]*_]*)\s+(?=[\"'“‘(\[*_]*[A-Z0-9ÄÖÜÉ])")
_ABBREVIATION = re.compile(r"\b(?:e\.g|i\.e|cf|vs|etc|approx|ca|Dr|Mr|Mrs|Ms|Prof|St|No|Fig|Eq|Vol|pp?|al|[A-Z])\.$")
_NO_PROSE = re.compile(r"\s*(?:#{1,6}\s|\||>?\s*[-=*_]{3,}\s*$|\*\*[^*]+\*\*\s*$|\*\*[\w ]{1,30}:\*\*|```|~~~)")
_BULLET = re.compile(r"\s*(?:>\s*)?(?:[-*+•]|\d{1,3}[.)])\s+")
_QUOTED = re.compile(r"“([^“”]{20,})”")
_FIGURE = re.compile(r"\d")
# What this model says around what it quotes; from another agent's thought it is not worth quoting.
_OWN_FRAMES = re.compile(
    r"(?:Read (?:again )?for |Going further than|Nothing (?:was given|in the)|No document was|From the [\d,]+ words"
    r"|The words that (?:keep|tie|carry)|The task (?:names|asks: “)|The next pass|Most of what remains"
    r"|With a document, or|Each of them can be answered"
    r"|Nothing that was given|As asked instead|\d+ requirements?: "
    r"|Still nothing to read|Written by the offline|What is said of \*\*|Everything said of \*\*)"
)


@dataclass(frozen=True)
class Sentence:
    """One sentence as it stands in its source, white space aside. `order` is its place in all that was given."""

    text: str
    source: str
    place: int
    order: int
    terms: frozenset[str] = field(repr=False)

    @property
    def word_count(self) -> int:
        return len(self.text.split())

    @property
    def key(self) -> str:
        """The same for the same sentence in two sources."""
        return " ".join(_WORD.findall(self.text.lower()))


@dataclass(frozen=True)
class Material:
    """All that there is to write from: sentences in the order of importance, key terms, who says what."""

    ranked: tuple[Sentence, ...]
    terms: tuple[str, ...]  # as a reader would write them, the most frequent first
    focus: frozenset[str]  # the task's own terms
    said_by: dict[str, frozenset[str]]  # sentence key → names of sources
    word_count: int

    def about(self, term: str) -> list[Sentence]:
        """The sentences that speak of a term, best first."""
        wanted = terms_of(term)
        return [sentence for sentence in self.ranked if wanted <= sentence.terms]


def gather(assignment: Assignment) -> Material:
    """Everything that the assignment gives to read, ranked. For who makes something, the task is material too."""
    sentences: list[Sentence] = []
    said_by: dict[str, set[str]] = {}
    reads_task = assignment.role in TASK_READERS
    # The task is not an answer to itself.
    seen = set() if reads_task else {" ".join(_WORD.findall(assignment.task.lower()))}
    task = (Source(THE_TASK, assignment.task),) if reads_task else ()
    for source in (*task, *assignment.documents, *assignment.thoughts):
        of_agent = source in assignment.thoughts
        found = sentences_of(source.text) if source in task else quotable(source, of_agent=of_agent)
        for place, text in enumerate(found):
            sentence = Sentence(text, source.name, place, len(sentences), frozenset(terms_of(text)))
            said_by.setdefault(sentence.key, set()).add(source.name)
            if sentence.key not in seen and len(sentences) < SENTENCES_MAX:
                seen.add(sentence.key)
                sentences.append(sentence)
    focus = frozenset(terms_of(f"{assignment.task} {_subject(assignment.wanted)}"))
    return Material(
        ranked=tuple(_ranked(sentences, focus)),
        terms=tuple(key_terms([sentence.text for sentence in sentences], focus)),
        focus=focus,
        said_by={key: frozenset(names) for key, names in said_by.items()},
        word_count=sum(len(source.text.split()) for source in (*assignment.documents, *assignment.thoughts)),
    )


def quotable(source: Source, *, of_agent: bool = False) -> list[str]:
    """The sentences of a source that can stand alone. Of an agent that quotes, what it quotes."""
    if of_agent:
        quoted = [" ".join(text.split()) for text in _QUOTED.findall(source.text)]
        quoted = [text for text in quoted if _stands_alone(text)]
        if len(quoted) >= 2:
            return quoted
    found = [text for text in sentences_of(source.text) if _stands_alone(text)]
    return [text for text in found if not _OWN_FRAMES.match(text)] if of_agent else found


def sentences_of(text: str) -> list[str]:
    """Prose cut into sentences, each verbatim but for white space; no headings, tables or code."""
    sentences: list[str] = []
    for block in _blocks(text):
        start = 0
        for found in _END.finditer(block):
            before = block[start : found.start()]
            if _ABBREVIATION.search(before):
                continue
            sentences.append(block[start : found.end(1)].strip())
            start = found.end()
        sentences.append(block[start:].strip())
    return [sentence for sentence in sentences if sentence]


def terms_of(text: str) -> set[str]:
    """The words of a text that carry meaning, lower case, without a plural s."""
    return {stem(word) for word in _WORD.findall(text) if _means(word)}


def key_terms(texts: Iterable[str], focus: frozenset[str]) -> list[str]:
    """The most frequent terms; two words that keep standing together count as one. At most twelve."""
    counts: Counter[tuple[str, ...]] = Counter()
    written: dict[tuple[str, ...], Counter[str]] = {}
    for text in texts:
        previous = ""
        for word in [*re.findall(r"[\w'’-]+|[^\w\s]", text), ""]:
            single = word if _means(word) and not word[0].isdigit() else ""
            for phrase in ((single,), (previous, single)):
                if all(phrase):
                    stems = tuple(map(stem, phrase))
                    counts[stems] += 1
                    written.setdefault(stems, Counter())[" ".join(phrase)] += 1
            previous = single
    order = {stems: place for place, stems in enumerate(counts)}

    def weight(stems: tuple[str, ...]) -> float:
        together = 1.0
        if len(stems) == 2:  # The more of their words' uses are together, the more they are one term.
            together = 1 + 1.5 * counts[stems] / min(counts[stem,] for stem in stems) if counts[stems] >= 2 else 0.3
        return counts[stems] * together * (1.6 if focus & set(stems) else 1.0)

    chosen: list[tuple[str, ...]] = []
    for stems in sorted(counts, key=lambda stems: (-weight(stems), order[stems])):
        if not any(set(stems) & set(other) for other in chosen):
            chosen.append(stems)
        if len(chosen) == 12:
            break
    return [_as_written(written[stems]) for stems in chosen]


def phrases(text: str) -> list[str]:
    """The phrases of a short text that carry it: two words that stand together, then the single ones."""
    pairs: list[str] = []
    singles: list[str] = []
    run: list[str] = []
    for word in [*re.findall(r"[\w'’-]+|[^\w\s]", text), ""]:
        if word and _means(word) and not word[0].isdigit():
            run.append(word)
            continue
        for start in range(0, len(run), 2):
            pair = run[start : start + 2]
            (pairs if len(pair) == 2 else singles).append(" ".join(pair))
        run = []
    return list(dict.fromkeys([*pairs, *singles]))


def unlike(sentences: Iterable[Sentence], kept: Sequence[Sentence] = (), *, limit: int = 24) -> list[Sentence]:
    """The first `limit` that do not say what one before them or in `kept` says, by the share of common terms."""
    fresh: list[Sentence] = []
    for sentence in sentences:
        if all(_likeness(sentence, other) < 0.6 for other in (*kept, *fresh)):
            fresh.append(sentence)
            if len(fresh) == limit:
                break
    return fresh


def _ranked(sentences: Sequence[Sentence], focus: frozenset[str]) -> list[Sentence]:
    counts = Counter(term for sentence in sentences for term in sentence.terms)

    def score(sentence: Sentence) -> float:
        weight = sum(math.log1p(counts[term]) for term in sentence.terms) / math.sqrt(max(8, sentence.word_count))
        overlap = len(sentence.terms & focus) / math.sqrt(max(1, len(focus)))
        early = 0.3 / (1 + sentence.place)
        figure = 0.15 if _FIGURE.search(sentence.text) else 0.0
        return weight + 1.5 * overlap + early + figure - (0.8 if sentence.text.endswith("?") else 0.0)

    return sorted(sentences, key=lambda sentence: (-score(sentence), sentence.order))


def _blocks(text: str) -> list[str]:
    """Paragraphs and list items, on one line each."""
    blocks: list[list[str]] = [[]]
    in_code = False
    for line in text.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            in_code = not in_code
        if in_code or not line.strip() or _NO_PROSE.match(line):
            blocks.append([])
            continue
        bullet = _BULLET.match(line)
        if bullet:
            blocks.append([])
            line = line[bullet.end() :]
        blocks[-1].append(line)
    return [" ".join(" ".join(block).split()) for block in blocks if block]


def _stands_alone(text: str) -> bool:
    return SENTENCE_WORDS_MIN <= len(text.split()) <= SENTENCE_WORDS_MAX and not text.endswith(":")


def _likeness(one: Sentence, other: Sentence) -> float:
    return len(one.terms & other.terms) / max(1, min(len(one.terms), len(other.terms)))


def _subject(wanted: str) -> str:
    """What is wanted often names a section in quotation marks or bold; the rest is manners."""
    return " ".join(re.findall(r"[\"“*]{1,2}([^\"”*\n]{3,60})[\"”*]{1,2}", wanted))


def _means(word: str) -> bool:
    return len(word) > 2 and word[0].isalnum() and word.lower() not in _STOP_WORDS


def stem(word: str) -> str:
    word = word.lower().removesuffix("'s").removesuffix("’s")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _as_written(forms: Counter[str]) -> str:
    """The most frequent spelling; at the beginning of a sentence a word only looks like a name."""
    form = forms.most_common(1)[0][0]
    lower = form.lower()
    return lower if lower in forms or (form.istitle() and len(form) > 1 and forms.total() < 2) else form
