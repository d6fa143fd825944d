"""The offline model's revising: a text put right by a review, or made to follow what people said of it.

Owns: what becomes of the text so far. Must not: claim anything: what is wanted instead is quoted as such.
"""

from __future__ import annotations

import re
from itertools import islice

from felixhub.llm.offline_material import Material, sentences_of, terms_of
from felixhub.llm.offline_prompt import Assignment, Source
from felixhub.llm.offline_review import contradictions, dropped, given, issues_of, put_right

FRAGMENTS_MAX = 20
FRAGMENT_WORDS_MIN = 2
FRAGMENT_CHARACTERS_MIN = 4
ADDED_MAX = 2
KEPT_SHARE = 0.6  # a text so far that is shorter than this share of a fresh one was broken off early

_FRAGMENT = re.compile(r"“([^“”]+)”|\"([^\"]+)\"|(?<!\w)'([^'\n]+)'(?!\w)")
_WORDS_MAX = re.compile(
    r"(?:at most|no more than|not more than|no longer than|under|below|max(?:imum)?(?: of)?|up to) (\d{1,5}) words",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?…][\"”’)\]*_]*(?: [\[(][^\[\]()\n]{1,80}[\])])?(?=\s|$)")
_NUMBERED = re.compile(r"\d{1,3}\. ")
_FIRST_BLOCK = re.compile(r"(?:#{1,6} [^\n]+|\*\*[^*\n]+\*\*)\n+")


def refined(asked: Assignment) -> str:
    """The text so far with every issue of the review put right, and nothing else changed.

    Without a review that can be read, what contradicts the task and the documents is put right all the same.
    """
    issues = issues_of(asked.thoughts)
    wrong = contradictions(Source("the text so far", asked.so_far), given(asked))
    return put_right(asked.so_far, issues, () if issues else wrong)


def steered(fresh: str, asked: Assignment, material: Material) -> str:
    """The text so far, or the fresh one if that was broken off early, following every piece of feedback."""
    whole = len(asked.so_far.split()) >= KEPT_SHARE * len(fresh.split())
    text = _to_its_last_sentence(asked.so_far) if whole else fresh
    before = text
    for piece in asked.feedback:
        text = dropped(text, _fragments(piece.wrong, text))
    text = text if text == before else _renumbered(text)
    for limit in [int(found[1]) for piece in asked.feedback for found in _WORDS_MAX.finditer(piece.constraints)][-1:]:
        text = _at_most(text, limit - len(_answer(asked, text, material).split()))
    answer = _answer(asked, text, material)
    first = _FIRST_BLOCK.match(text)
    head, rest = (text[: first.end()], text[first.end() :]) if first else ("", text)
    return f"{head}{answer}\n\n{rest}".rstrip() + "\n"


def _answer(asked: Assignment, text: str, material: Material) -> str:
    """What is wanted instead and the constraints, quoted, and what was given that speaks of it."""
    flat = " ".join(text.split())
    quoted = [fragment for piece in asked.feedback for fragment in _quoted(piece.wrong)]
    wrong = " ".join(word for piece in asked.feedback for word in piece.wrong.split())
    parts = []
    for piece in asked.feedback:
        said = [f"As asked instead: “{_line(piece.instead)}”."] if piece.instead else []
        if piece.wrong and not piece.instead:
            said.append(f"Taken back as wrong: “{_line(piece.wrong)}”.")
        if piece.constraints:
            said.append(f"Within the constraints: “{_line(piece.constraints)}”.")
        wanted = terms_of(piece.instead)
        found = (
            sentence
            for sentence in material.ranked
            if wanted
            and len(sentence.terms & wanted) >= min(2, (len(wanted) + 1) // 2)
            and sentence.text not in flat
            and sentence.text not in wrong
            and not any(fragment in sentence.text for fragment in quoted)
        )
        said += [f"{sentence.text} [{sentence.source}]" for sentence in islice(found, ADDED_MAX)]
        parts.append(" ".join(said))
    return "\n\n".join(part for part in parts if part)


def _fragments(wrong: str, text: str) -> list[str]:
    """What feedback says is wrong word for word: in quotation marks, or a whole sentence of the text."""
    flat = " ".join(wrong.split())
    whole = (sentence for sentence in sentences_of(text) if len(sentence.split()) >= 3 and sentence in flat)
    return [*_quoted(wrong), *islice(whole, FRAGMENTS_MAX)] if flat else []


def _quoted(wrong: str) -> list[str]:
    found = (next(filter(None, groups)).strip() for groups in _FRAGMENT.findall(wrong))
    telling = (one for one in found if len(one.split()) >= FRAGMENT_WORDS_MIN or len(one) >= FRAGMENT_CHARACTERS_MIN)
    return list(islice(telling, FRAGMENTS_MAX))


def _line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _to_its_last_sentence(text: str) -> str:
    """A text that breaks off, up to where its last sentence ends; one without any sentence as it is."""
    ends = [found.end() for found in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else text


def _renumbered(text: str) -> str:
    """Each numbered list without the gaps that dropped items leave."""
    lines = []
    number = 0
    for line in text.split("\n"):
        found = _NUMBERED.match(line)
        number = number + 1 if found else number if line.startswith((" ", "\t")) else 0
        lines.append(f"{number}. {line[found.end() :]}" if found else line)
    return "\n".join(lines)


def _at_most(text: str, words: int) -> str:
    """The text up to the last sentence or line with which it has at most so many words; at least its first one."""
    ends = sorted({*(found.end() for found in _SENTENCE_END.finditer(text)), *_line_ends(text), len(text)})
    kept = 0
    count = 0
    for end in ends:
        count += len(text[kept:end].split())
        if count > words and kept:
            break
        kept = end
    return text[:kept].rstrip()


def _line_ends(text: str) -> list[int]:
    return [found.start() for found in re.finditer(r"(?<=\S)\s*\n", text)]
