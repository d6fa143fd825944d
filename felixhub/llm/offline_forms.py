"""The forms of what the offline model writes for the workflows that ship: a section, a brief, an architecture, an
implementation, tests, documentation, an answer of one's own.

Owns: which sentences go into which form. Must not: claim anything: every sentence but the words around it is quoted.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from felixhub.llm.offline_material import THE_TASK, Material, Sentence, phrases, sentences_of, terms_of, unlike
from felixhub.llm.offline_prompt import Assignment, Role, Source
from felixhub.llm.offline_review import contradictions, given, judged

SECTION_WORDS_MAX = 140
NEAR_SHARE = 0.3  # of the best sentence's weight: what is further off speaks of something else
REQUIREMENTS_MAX = 8
ROOT_CHARACTERS = 5  # "randomly" is found by "randomised"
DRONE_REACH = 20  # how many places further down the ranking a drone at temperature 1.0 may reach

_MUST = re.compile(
    r"\b(must|shall|should|needs? to|has to|have to|may not|at (?:most|least)|no more than|never|always|only|within"
    r"|required?|requires|limit)\b",
    re.IGNORECASE,
)
_FIGURE = re.compile(r"\d")
_CONTRAST = re.compile(r"\b(but|however|although|though|while|whereas|despite|yet)\b", re.IGNORECASE)
_REQUEST = re.compile(
    r"(?:please )?(?:write|make|create|build|draft|design|develop|implement|prepare|produce|compare|explain|plan"
    r"|describe|give|find|suggest|propose|summari[sz]e|review|analy[sz]e)\b",
    re.IGNORECASE,
)
_LEANS = re.compile(r"(?:It|They|These|This|Those|That|He|She|Such|Them|Its|Their)\b")  # on the sentence before it
_TESTS = re.compile(r"\d+ requirements?: ")
_OF_TEXTS = frozenset(("secti", "write", "text", "docum", "perso"))  # roots of what is said of every text


class Forms:
    """One text for an assignment. `temperature` is what an answer of one's own is varied by."""

    def __init__(self, asked: Assignment, material: Material, *, seed: int | None, temperature: float | None) -> None:
        self.asked = asked
        self.material = material
        stated = [sentence for sentence in material.ranked if not sentence.text.endswith("?")]
        # The request itself says nothing, as long as there is something that does.
        self.stated = [one for one in stated if not (one.source == THE_TASK and _REQUEST.match(one.text))] or stated
        self._chance = random.Random(hashlib.sha256(f"{asked.agent} {seed} {temperature}".encode()).digest())
        self._temperature = 0.7 if temperature is None else min(2.0, max(0.0, temperature))

    def text(self, role: Role) -> str | None:
        """The text for one of these roles, None for any other, or when there is nothing to write it from."""
        forms = {
            "section": self.section,
            "brief": self.brief,
            "architecture": self.architecture,
            "implementation": self.implementation,
            "tests": self.tests,
            "documentation": self.documentation,
            "answer": self.answer,
        }
        if role not in forms or (role == "answer" and not self.stated):
            return None
        return forms[role]() if self.stated else self.nothing()

    def nothing(self) -> str:
        return (
            "Nothing that was given can be quoted here: the task asks, and there is no document. Add one with `--file`,"
            " or choose a model that knows the subject with `--llm`."
        )

    # ── one section of a document ────────────────────────────────────────────────────────────────────────────────

    def section(self) -> str:
        """The sentences that speak most of what the section asks for, in the order in which they were given."""
        chosen = self.about(self.asked.title, _asked_for(self.asked.instruction), words_max=SECTION_WORDS_MAX)
        if chosen:
            return _paragraphs(chosen)
        return f"Nothing that was given speaks of **{self.asked.title or 'what this section asks for'}**."

    def about(self, title: str, instruction: str, *, words_max: int, count_max: int = 6) -> list[Sentence]:
        """By how rare each word is that a sentence has in common with the instruction; the title's count double."""
        of_title, wanted = _roots(terms_of(title)), _roots(terms_of(instruction)) - _OF_TEXTS
        stands_in = Counter(root for sentence in self.stated for root in _roots(sentence.terms))
        count = max(1, len(self.stated))

        def weight(sentence: Sentence) -> float:
            shared = _roots(sentence.terms) & (of_title | wanted)
            known = sum((1 + 0.5 * (root in of_title)) * math.log(1 + count / stands_in[root]) for root in shared)
            return known / math.sqrt(max(8, sentence.word_count)) * (0.5 if _LEANS.match(sentence.text) else 1.0)

        asks = self.material.ranked if "quest" in wanted else self.stated  # Open questions are wanted too.
        own = [one for one in asks if one.source != THE_TASK or not self.asked.documents]
        weighed = [(weight(sentence), sentence) for sentence in own if 3 <= sentence.word_count <= 60]
        best = max((found for found, _ in weighed), default=0.0)
        near = sorted((-found, one.order, one) for found, one in weighed if found and found >= NEAR_SHARE * best)
        return _fitting((sentence for _, _, sentence in near), words_max=words_max, count_max=count_max)

    # ── what others work from ────────────────────────────────────────────────────────────────────────────────────

    def brief(self) -> str:
        fixed = self.requirements(words_max=150, count_max=6)
        fixed = [one for one in fixed if one.source != THE_TASK] or fixed
        turning = [sentence for term in self.material.terms for sentence in self.material.about(term)[:1]]
        turning = [one for one in unlike(turning, fixed) if not one.text.endswith("?")][:3]
        parts = [f"**What is wanted.** {self.quoted_task()}", "**What is fixed**", self.points(fixed)]
        if turning:
            parts += ["**What it turns on**", self.points(turning)]
        return "\n\n".join([*parts, "**Not known**", self.unknown()])

    def architecture(self) -> str:
        parts: list[str] = []
        kept: list[Sentence] = []
        for term in self.material.terms:
            found = [one for one in unlike(self.material.about(term), kept) if not one.text.endswith("?")][:1]
            if found and len(parts) < 4:
                kept += found
                parts.append(f"{len(parts) + 1}. **{term[:1].upper() + term[1:]}**: {self.quoted(found[0])}")
        must = [one for one in self.requirements(words_max=220) if one not in kept]
        text = [f"**What is to be made.** {self.quoted_task()}", "**Parts**", "\n".join(parts)]
        return "\n\n".join([*text, "**What must hold**", self.points(must)] if must else text)

    def requirements(self, *, words_max: int = 260, count_max: int = REQUIREMENTS_MAX) -> list[Sentence]:
        """What the task and the documents demand, in their order: the task's own first, then duties, then figures."""

        def rank(sentence: Sentence) -> int:
            if sentence.source == THE_TASK:
                return 0
            if _LEANS.match(sentence.text):
                return 4
            return 1 if _MUST.search(sentence.text) else 2 if _FIGURE.search(sentence.text) else 3

        names = {THE_TASK, *(document.name for document in self.asked.documents)}
        own = [one for one in self.stated if names & self.material.said_by[one.key] and one.word_count >= 3]
        return _fitting(sorted(own or self.stated, key=rank), words_max=words_max, count_max=count_max)

    # ── what is made of it ───────────────────────────────────────────────────────────────────────────────────────

    def implementation(self) -> str:
        lines = [f"{number}. {one.text} [{self.who(one)}]" for number, one in enumerate(self.requirements(), 1)]
        return "\n".join(lines)

    def tests(self) -> str:
        text = judged(self.asked)
        if text is None:
            return "0 requirements: there is no implementation to test."
        wrong = {one.given.text: one.claim.text for one in contradictions(text, given(self.asked))}
        flat = " ".join(text.text.split())
        failed, met, untold = [], [], []
        for one in self.requirements():
            if one.text in wrong:
                failed.append(f"*Not met.* {self.quoted(one)}: the implementation says “{wrong[one.text]}” instead.")
            elif one.text in flat:
                met.append(f"*Met.* {self.quoted(one)}: the implementation says so word for word.")
            else:
                untold.append(f"*Cannot be told.* {self.quoted(one)}: the implementation does not say so.")
        lines = [*failed, *untold, *met]
        count = f"{len(lines)} requirement{'' if len(lines) == 1 else 's'}"
        first = f"{count}: {len(met)} met, {len(failed)} not met, {len(untold)} that cannot be told."
        return "\n\n".join([first, "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))])

    def documentation(self) -> str:
        tests = next((thought for thought in self.asked.thoughts if _TESTS.match(thought.text.lstrip())), None)
        others = [thought for thought in self.asked.thoughts if thought is not tests]
        parts = [f"**What it is for.** “{next(iter(sentences_of(self.asked.task)), self.asked.task)}”"]
        if others:
            parts += ["**How it is used**", _steps(others[-1])]
        beside = self.about("", "limit most least before after never only until", words_max=80, count_max=3)
        beside = [one for one in beside if others and one.text not in " ".join(others[-1].text.split())]
        if beside:
            parts += ["**What else to know**", self.points(beside)]
        if tests:
            parts.append(f"**What the tests found.** {tests.text.strip().splitlines()[0]} [{tests.name}]")
        return "\n\n".join(parts)

    # ── an answer of one's own ───────────────────────────────────────────────────────────────────────────────────

    def answer(self) -> str:
        """The hotter, the further down the ranking it may reach: drones on one prompt find different things."""
        reach = self._temperature * DRONE_REACH
        moved = sorted((place + reach * self._chance.random(), one.order, one) for place, one in enumerate(self.stated))
        order = [sentence for _, _, sentence in moved]
        lead = _fitting(order, words_max=60, count_max=2)
        reasons = _fitting(unlike(order, lead), words_max=130, count_max=4)
        against = unlike((one for one in order if _CONTRAST.search(one.text)), [*lead, *reasons])[:1]
        parts = ["**Answer**", " ".join(f"{one.text} [{self.who(one)}]" for one in lead)]
        if reasons:
            parts += ["**Reasons**", "\n".join(f"{n}. {self.quoted(one)}" for n, one in enumerate(reasons, 1))]
        if against:
            parts.append(f"**Against it.** {self.quoted(against[0])}")
        return "\n\n".join(parts)

    # ── words around the quotations ──────────────────────────────────────────────────────────────────────────────

    def points(self, sentences: Iterable[Sentence]) -> str:
        return "\n".join(f"- {self.quoted(sentence)}" for sentence in sentences)

    def quoted(self, sentence: Sentence) -> str:
        return f"“{sentence.text}” ({self.who(sentence)})"

    def who(self, sentence: Sentence) -> str:
        names = self.material.said_by[sentence.key]
        known = [document.name for document in self.asked.documents if document.name in names]
        if not known and THE_TASK in names:
            return THE_TASK
        return ", ".join(known or [thought.name for thought in self.asked.thoughts if thought.name in names][:3])

    def quoted_task(self) -> str:
        words = self.asked.task.split()
        return f"“{' '.join(words[:60])}{' …' if len(words) > 60 else ''}”"

    def unknown(self) -> str:
        """Questions that were given, and words of the task that nothing given speaks of."""
        asked = [one.text for one in self.material.ranked if one.text.endswith("?") and one.word_count <= 30]
        asked = [text for text in asked if text not in " ".join(self.asked.task.split())][:2]
        covered = _roots(term for one in self.stated if one.source != THE_TASK for term in one.terms)
        missing = [term for term in phrases(self.asked.task) if not _roots(terms_of(term)) & covered]
        lines = [f"- {question}" for question in asked]
        lines += [f"- Nothing that was given speaks of **{term}**." for term in missing[:2] if covered]
        return "\n".join(lines) or "- Everything that the task names is spoken of; nothing was given from outside."


def _asked_for(instruction: str) -> str:
    """What an instruction says of this one text: the first paragraph is often the same for all of them."""
    first, _, rest = instruction.partition("\n\n")
    return rest or first


def _roots(terms: Iterable[str]) -> set[str]:
    return {term[:ROOT_CHARACTERS] for term in terms}


def _fitting(sentences: Iterable[Sentence], *, words_max: int, count_max: int) -> list[Sentence]:
    """The first unlike ones that fit, at least one, in the order in which they were given."""
    chosen: list[Sentence] = []
    left = words_max
    for sentence in unlike(sentences, limit=60):
        if len(chosen) < count_max and (sentence.word_count <= left or not chosen):
            chosen.append(sentence)
            left -= sentence.word_count
    return sorted(chosen, key=lambda sentence: sentence.order)


def _paragraphs(sentences: Sequence[Sentence]) -> str:
    by_source: dict[str, list[str]] = {}
    for sentence in sentences:
        by_source.setdefault(sentence.source, []).append(sentence.text)
    return "\n\n".join(f"{' '.join(texts)} [{source}]" for source, texts in by_source.items())


def _steps(text: Source) -> str:
    lines = [sentence for sentence in sentences_of(text.text) if len(sentence.split()) >= 3][:REQUIREMENTS_MAX]
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))
