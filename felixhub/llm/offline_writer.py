"""The offline model's writer: it quotes and arranges what it was given, and says nothing that is not there.

Owns: the form of a finding, an analysis, a critique, a synthesis, an outline (`offline_forms.py` has those of the other
workflows). Must not: invent a fact, or use a clock, a network or unseeded randomness: the same messages, seed and
temperature give the same text, to the byte.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from felixhub.llm.endpoint import OFFLINE_LABEL
from felixhub.llm.offline_feedback import refined, steered
from felixhub.llm.offline_forms import Forms
from felixhub.llm.offline_material import Material, Sentence, gather, phrases, sentences_of, terms_of, unlike
from felixhub.llm.offline_prompt import Assignment, read_prompt
from felixhub.llm.offline_questions import COMPARISONS, DOUBTS, DOUBTS_OF_TASK, QUESTIONS
from felixhub.llm.offline_review import verdict

_CONTRAST = re.compile(r"\b(but|however|although|though|while|whereas|despite|yet)\b", re.IGNORECASE)
_STRONG = re.compile(
    r"\b(always|never|clearly|obviously|best|must|every|all|certainly|significant(ly)?|proven|only|most|will)\b",
    re.IGNORECASE,
)
_FIGURE = re.compile(r"\d")
_WORDS = re.compile("")


def write(messages: Sequence[Mapping[str, str]], *, seed: int | None = None, temperature: float | None = None) -> str:
    """The answer to a prompt. It ends with a line break, as a text does."""
    asked = read_prompt(messages)
    material = gather(asked)
    if asked.role == "review":
        return verdict(asked, material.focus) + "\n"
    if asked.so_far and not asked.feedback:
        return refined(asked).strip() + "\n"
    text = Forms(asked, material, seed=seed, temperature=temperature).text(asked.role)
    if text is None:
        digest = hashlib.sha256(json.dumps([list(map(dict, messages)), seed], sort_keys=True).encode()).digest()
        text = _Writer(asked, material, random.Random(digest)).written()
    if asked.feedback:
        text = steered(text, asked, material)
    return text.strip() + "\n"


class _Writer:
    """One text. `chance` chooses between ways to say the same, never what is said."""

    def __init__(self, assignment: Assignment, material: Material, chance: random.Random) -> None:
        self.asked = assignment
        self.material = material
        self.chance = chance
        self.stage = 0 if assignment.progress < 0.3 else 1 if assignment.progress < 0.5 else 2
        if assignment.progress >= 0.7:
            self.stage = 3 if assignment.progress < 0.9 else 4
        used = " ".join(assignment.earlier.split())
        fresh = [sentence for sentence in material.ranked if sentence.text not in used]
        self.exhausted = len(fresh) < 4
        self.fresh = list(material.ranked) if self.exhausted else fresh
        self.fresh_orders = {sentence.order for sentence in self.fresh}

    def written(self) -> str:
        if all(sentence.text.endswith("?") for sentence in self.material.ranked):
            return self.synthesis_of_nothing() if self.asked.role == "synthesizer" else self.from_the_task()
        match self.asked.role:
            case "research":
                return self.research()
            case "analysis":
                return self.analysis()
            case "critic":
                return self.critique()
            case "synthesizer":
                return self.synthesis()
            case "outline":
                return self.outline()
            case _:
                return self.prose()

    # ── thoughts ─────────────────────────────────────────────────────────────────────────────────────────────────

    def research(self) -> str:
        chosen = self.choose(self.narrowed(), words_max=(125, 120, 110, 100, 90)[self.stage])
        items = "\n".join(f"{number}. {self.quoted(sentence)}" for number, sentence in enumerate(chosen, 1))
        return f"**Findings{self.place()}**\n\n{self.opening(len(chosen))}\n\n{items}\n\n{self.closing(chosen)}"

    def analysis(self) -> str:
        count = (3, 3, 2, 2, 1)[self.stage]
        kept: list[Sentence] = []
        lines: list[str] = []
        for term in self.threads(len(self.material.terms)):
            found = [sentence for sentence in self.material.about(term) if sentence.order in self.fresh_orders]
            chosen = unlike(found, kept)[: 1 if count == 3 else 2]
            if chosen and len(lines) < count:
                kept += chosen
                passages = _count(len(self.material.about(term)), "passage")
                lines.append(f"- **{term}**, in {passages}: " + " ".join(map(self.quoted, chosen)))
        parts = ["\n".join(lines)] if lines else []
        for lead, pattern, limit in (("Figures.", _FIGURE, 2), ("Tension.", _CONTRAST, 1), ("Beside that.", _WORDS, 2)):
            wanted = limit if lead != "Beside that." or len(kept) < 4 else 0
            more = unlike((sentence for sentence in self.fresh if pattern.search(sentence.text)), kept)[:wanted]
            if more:
                parts.append(f"**{lead}** " + " ".join(map(self.quoted, more)))
            kept += more
        return "\n\n".join([f"**Analysis{self.place()}**", self.opening(len(kept)), *parts, self.closing(kept)])

    def critique(self) -> str:
        bare = [sentence for sentence in self.fresh if not _FIGURE.search(sentence.text)]
        claims = unlike(sentence for sentence in bare if _STRONG.search(sentence.text)) or unlike(bare)
        alone = [s for s in self.fresh if len(self.material.said_by[s.key]) == 1]
        parts = [f"**Questions and gaps{self.place()}**", self.opening(min(4, len(self.fresh)))]
        asked = claims[: (2, 2, 2, 1, 1)[self.stage]]
        if asked:
            demand = self.chance.choice(
                ("stated without a figure: what is it measured by?", "no figure goes with this: how large is it?")
            )
            parts.append("**Unsupported.**\n" + "\n".join(f"- {self.quoted(s)} {demand.capitalize()}" for s in asked))
        tested = unlike(alone, asked)[: (2, 2, 2, 2, 1)[self.stage]]
        if tested:
            lines = []
            for sentence, question in zip(tested, self.turned(DOUBTS), strict=False):
                lines.append(f"- {question} {self.quoted(sentence)}")
            parts.append("**To be tested.**\n" + "\n".join(lines))
        parts.append(f"**Gaps.** {self.gaps()}")
        return "\n\n".join([*parts, self.closing([*asked, *tested])])

    def prose(self) -> str:
        chosen = sorted(self.choose(self.narrowed(), words_max=150), key=lambda sentence: sentence.order)
        by_source: dict[str, list[str]] = {}
        for sentence in chosen:
            by_source.setdefault(sentence.source, []).append(sentence.text)
        paragraphs = [f"{' '.join(texts)} [{source}]" for source, texts in by_source.items()]
        return "\n\n".join([self.opening(len(chosen)), *paragraphs, self.closing(chosen)])

    def outline(self) -> str:
        lines = []
        kept: list[Sentence] = []
        for number, term in enumerate(self.threads(5), 1):
            lines.append(f"{number}. **{_capital(term)}**")
            for sentence in unlike(self.material.about(term), kept)[:1]:
                kept.append(sentence)
                lines.append(f"   - {self.quoted(sentence)}")
        return "\n\n".join([f"**Outline: {self.title()}**", "\n".join(lines), self.closing(kept)])

    # ── one answer from all ──────────────────────────────────────────────────────────────────────────────────────

    def synthesis(self) -> str:
        said = [sentence for sentence in self.material.ranked if not sentence.text.endswith("?")]
        # The ranking, and three places up for each further source that has it: what several agents chose to quote.
        places = {
            sentence.order: place - 3 * len(self.material.said_by[sentence.key]) for place, sentence in enumerate(said)
        }
        agreed = sorted(said, key=lambda sentence: places[sentence.order])
        summary = self.choose(agreed, words_max=75, count_max=3)
        points = self.choose(unlike(agreed, summary), words_max=135, count_max=6)
        taken: set[str] = set()
        lines = [self.point(sentence, taken) for sentence in points]
        parts = [f"# {self.title()}", "## Summary", " ".join(f"{s.text} [{self.who(s)}]" for s in summary)]
        if lines:
            parts += ["## Key points", "\n".join(lines)]
        parts += ["## Open questions", self.open_questions(), "## Basis", self.basis(summary, points)]
        return "\n\n".join(parts)

    def point(self, sentence: Sentence, taken: set[str]) -> str:
        terms = [term for term in self.material.terms if terms_of(term) <= sentence.terms and term not in taken]
        taken.update(terms[:1])
        lead = f"**{_capital(terms[0])}**: " if terms else ""
        return f"- {lead}{sentence.text} [{self.who(sentence)}]"

    def open_questions(self, count: int = 3) -> str:
        """Questions of the documents and the others, one of each in turn, and what is missing."""
        asked = []
        for source in (*self.asked.documents, *self.asked.thoughts):
            found = [text.lstrip("*- ") for text in sentences_of(source.text) if text.endswith("?")]
            asked.append([q for q in found if 4 <= len(q.split()) <= 30 and not set(q) & set("“”()")])
        in_turn = [question for row in zip_longest(*asked) for question in row if question]
        lines = [f"- {question}" for question in list(dict.fromkeys(in_turn))[:count]]
        return "\n".join(lines + ([f"- {self.gaps()}"] if self.material.ranked and count < 6 else []))

    def basis(self, summary: Sequence[Sentence], points: Sequence[Sentence]) -> str:
        count = len(summary) + len(points)
        thoughts, documents = self.asked.thoughts, self.asked.documents
        given = []
        if thoughts:
            given.append(f"{_count(len(thoughts), 'thought')} ({_listed([thought.name for thought in thoughts])})")
        if documents:
            given.append(f"{_count(len(documents), 'section')} ({_listed([document.name for document in documents])})")
        missing = re.search(r"missing[^:\n]*:\s*([^\n]+)", self.asked.wanted, re.IGNORECASE)
        absent = f" Not heard: {missing[1].strip().rstrip('.')}." if missing else ""
        sentences, words = _count(count, "sentence"), f"{self.material.word_count:,} words"
        return (
            f"Written by the {OFFLINE_LABEL}. What stands under *Summary* and *Key points* ({sentences}) is taken word"
            f" for word from {_listed(given)}, {words} in all; the name behind a sentence is where it stands. It was"
            f" chosen by the weight of its terms and their overlap with the task, not by understanding.{absent}"
        )

    # ── with nothing to read ─────────────────────────────────────────────────────────────────────────────────────

    def from_the_task(self) -> str:
        terms = self.task_terms()
        names = {"research": "What to find out", "analysis": "How to take it apart", "critic": "What to doubt"}
        pool = {"analysis": COMPARISONS, "critic": DOUBTS_OF_TASK}.get(self.asked.role, QUESTIONS)
        why = "the others have only asked" if self.asked.thoughts else "this model knows nothing of its own"
        carrying = _listed([f"**{term}**" for term in terms[:4]])
        if self.asked.earlier:
            opening = f"Still nothing to read. Further questions about {carrying}, which the earlier thought left out:"
            closing = "Each of them can be answered by a document; none of them by more thinking about the wording."
        else:
            opening = (
                f"Nothing was given to read and {why}, so what follows comes from the wording of the task alone:"
                f" “{self.short_task()}”. The words that carry it are {carrying}."
            )
            closing = (
                "With a document, or a model that knows the subject, these become findings; until then they are"
                " questions, and no answer is implied."
            )
        lines = [
            f"{number}. {question.format(term=f'**{terms[(number + self.stage - 1) % len(terms)]}**')}"
            for number, question in enumerate(self.turned(pool)[: 7 if self.stage < 3 else 6], 1)
        ]
        return "\n\n".join(
            [f"**{names.get(self.asked.role, 'Notes')}{self.place()}**", opening, "\n".join(lines), closing]
        )

    def synthesis_of_nothing(self) -> str:
        terms = self.task_terms()
        own = [*self.turned(QUESTIONS)[:2], *self.turned(COMPARISONS)[:2], *self.turned(DOUBTS_OF_TASK)[:2]]
        questions = self.open_questions(6) or "\n".join(
            f"- {question.format(term=f'**{terms[place % len(terms)]}**')}" for place, question in enumerate(own)
        )
        heard = [thought.name for thought in self.asked.thoughts]
        source = f" and the questions of {_listed(heard)}" if heard else " alone"
        return "\n\n".join(
            [
                f"# {self.title()}",
                "## Summary",
                "There is no answer yet: no document was given, and no agent brought anything that could be quoted."
                f" The task asks: “{self.short_task()}”. What can be said honestly is which questions an answer has to"
                " settle.",
                "## Key points",
                "\n".join(f"- **{_capital(term)}** is one of the words that carry the task." for term in terms[:4]),
                "## Open questions",
                questions,
                "## Basis",
                f"Written by the {OFFLINE_LABEL}, from the wording of the task{source}. It quotes and arranges; it"
                " knows nothing of its own. Add a document with `--file`, or choose a model that knows the subject with"
                " `--llm`, and the same run gives an answer.",
            ]
        )

    # ── choosing ─────────────────────────────────────────────────────────────────────────────────────────────────

    def narrowed(self) -> list[Sentence]:
        """The further down the helix, the more one thread counts; which one changes from stage to stage."""
        if self.stage < 2 or not self.material.terms:
            return self.fresh
        thread = terms_of(self.threads(1)[0])
        return sorted(self.fresh, key=lambda sentence: not thread <= sentence.terms)

    def threads(self, count: int) -> list[str]:
        """`count` key terms, other ones at each stage as long as there are any."""
        terms = list(self.material.terms)
        if not terms:
            return []
        turn = (self.stage * count) % len(terms) if self.stage and len(terms) > count else 0
        return (terms[turn:] + terms[:turn])[:count]

    def choose(self, sentences: Sequence[Sentence], *, words_max: int, count_max: int = 6) -> list[Sentence]:
        """The first unlike ones that fit; at least one."""
        chosen: list[Sentence] = []
        left = words_max
        for sentence in unlike(sentences):
            if len(chosen) < count_max and (sentence.word_count <= left or not chosen):
                chosen.append(sentence)
                left -= sentence.word_count
        return chosen

    # ── words around the quotations ──────────────────────────────────────────────────────────────────────────────

    def opening(self, count: int) -> str:
        sources = {sentence.source for sentence in self.material.ranked}
        read = f"{self.material.word_count:,} words from {_count(len(sources), 'source')}"
        if self.exhausted and self.asked.earlier:
            return (
                f"Nothing in the {read} is left unread; what carries the most weight stands here once more, condensed."
            )
        passages = _count(count, "passage")
        if self.asked.earlier:
            return self.chance.choice(
                (
                    f"Going further than the earlier thought: {passages} not used there, out of {read}.",
                    f"Read again for what the earlier thought left out: {passages}, out of {read}.",
                )
            )
        return self.chance.choice(
            (
                f"Read for “{self.short_task()}”: of {read}, {passages} bear on it most.",
                f"From the {read}, {passages} speak most directly to “{self.short_task()}”.",
            )
        )

    def closing(self, chosen: Sequence[Sentence]) -> str:
        terms = [f"**{term}**" for term in self.threads(3)]
        if not terms:
            return f"Still open: {self.gaps()}"
        if self.stage == 0:
            return f"The words that keep coming back are {_listed(terms)}. The next pass should follow {terms[0]}."
        if self.stage < 3:
            count = len(self.material.about(terms[0].strip("*")))
            passages = _count(count, "passage")
            return f"The words that tie these together are {_listed(terms)}; {terms[0]} stands in {passages}."
        names = _listed(sorted({sentence.source for sentence in chosen})) or "the sources"
        return f"Most of what remains turns on {terms[0]}, and rests on {names}."

    def gaps(self) -> str:
        covered = {term for sentence in self.material.ranked for term in sentence.terms}
        roots = {term[:5] for term in covered}  # "replace" is covered by "replaced"
        missing = [term for term in self.task_terms() if not {word[:5] for word in terms_of(term)} & roots]
        if missing:
            them = "it" if len(missing) == 1 else "them"
            names = _listed([f"**{term}**" for term in missing[:3]])
            return f"The task names {names}; no sentence given speaks of {them}."
        rare = [term for term in self.material.terms if len(self.material.about(term)) == 1]
        if rare:
            return f"What is said of {_listed([f'**{term}**' for term in rare[:2]])} rests on a single sentence."
        lead = self.material.terms[0] if self.material.terms else "it"
        return f"Everything said of **{lead}** comes from the same few sources; none from outside was given."

    def quoted(self, sentence: Sentence) -> str:
        return f"“{sentence.text}” ({self.who(sentence)})"

    def who(self, sentence: Sentence) -> str:
        names = self.material.said_by[sentence.key]
        documents = [document.name for document in self.asked.documents if document.name in names]
        return ", ".join(documents or [thought.name for thought in self.asked.thoughts if thought.name in names][:3])

    def turned(self, pool: Sequence[str]) -> list[str]:
        """The pool from a place that changes with the stage, so that the next thought asks other questions."""
        turn = (self.stage * 7 + self.chance.randrange(2)) % len(pool)
        return [*pool[turn:], *pool[:turn]]

    def task_terms(self) -> list[str]:
        return phrases(self.asked.task) or ["the task"]

    def short_task(self) -> str:
        words = self.asked.task.split()
        return " ".join(words).rstrip(".") if len(words) <= 24 else " ".join(words[:24]) + " …"

    def title(self) -> str:
        """The task's first clause, at most fourteen words of it."""
        task = self.short_task().replace("“", "").replace("”", "").strip("#*` ")
        clause = re.split(r"[,;:.?!](?=\s|$)", task)[0]
        words = (clause if len(clause.split()) >= 4 else task).split()
        return _capital(" ".join(words[:14]) + (" …" if len(words) > 14 else "")) or "Answer"

    def place(self) -> str:
        return f", t = {self.asked.progress:.1f}" if self.asked.progress else ""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
