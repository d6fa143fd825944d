"""The splitter of `<think>` tags: which part of a model's text is its reasoning.

Owns: recognizing one leading `<think> … </think>`, however it is cut into chunks. Must not: drop or change a
character other than the two tags themselves; look at a tag that comes after other text (that is text *about* tags).

    ──<think>──► inside ──</think>──► after          ──anything else──► after
"""

from __future__ import annotations

from typing import Literal

BLANK_MAX = 4_096  # characters of white space; whatever comes after more is no leading tag
OPENING = "<think>"
CLOSING = "</think>"

Channel = Literal["text", "reasoning"]


class ThinkSplitter:
    """Feed it text as it comes; it says which channel each piece belongs to. Held back: at most a cut tag."""

    def __init__(self) -> None:
        self._place: Literal["before", "inside", "after"] = "before"
        self._held = ""

    def feed(self, text: str) -> list[tuple[Channel, str]]:
        """The pieces that are certain now, in order; none is empty."""
        text = self._held + text
        self._held = ""
        pieces: list[tuple[Channel, str]] = []
        if self._place == "before":
            start = text.lstrip()
            blank = len(text) - len(start)
            if blank > BLANK_MAX or not (start.startswith(OPENING) or OPENING.startswith(start)):
                self._place = "after"
            elif len(start) < len(OPENING):
                self._held = text  # Only white space and perhaps the beginning of the tag: not decided yet.
                return []
            else:
                self._place = "inside"
                pieces.append(("text", text[:blank]))
                text = start[len(OPENING) :]
        if self._place == "inside":
            reasoning, tag, rest = text.partition(CLOSING)
            if tag:
                self._place = "after"
                pieces.append(("reasoning", reasoning))
                text = rest
            else:
                certain = len(text) - _cut_tag(text)
                self._held = text[certain:]
                pieces.append(("reasoning", text[:certain]))
                text = ""
        pieces.append(("text", text))
        return [piece for piece in pieces if piece[1]]

    def finish(self) -> list[tuple[Channel, str]]:
        """What was held back, as it came: a tag that never got whole is text like any other."""
        held, self._held = self._held, ""
        if not held:
            return []
        return [("reasoning" if self._place == "inside" else "text", held)]


def _cut_tag(text: str) -> int:
    """How many characters at the end of `text` may be the beginning of the closing tag."""
    for length in range(min(len(CLOSING) - 1, len(text)), 0, -1):
        if CLOSING.startswith(text[-length:]):
            return length
    return 0
