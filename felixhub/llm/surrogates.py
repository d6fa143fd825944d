"""The mender of lone surrogates: what UTF-8 cannot hold becomes U+FFFD, and is counted.

Owns: that one replacement, and joining a pair that was cut in two chunks. Must not: change anything else.
"""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"
_PAIR_OR_LONE = re.compile("[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]")


class SurrogateMender:
    """One per channel of one answer. `replaced_count` is how many characters were lost."""

    def __init__(self) -> None:
        self.replaced_count = 0
        self._held = ""

    def feed(self, text: str) -> str:
        """`text` as UTF-8 can hold it; the first half of a pair waits for the second."""
        text = self._held + text
        self._held = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._held = text[-1]
            text = text[:-1]
        return self._mend(text)

    def finish(self) -> str:
        """What waited for a second half that never came."""
        held, self._held = self._held, ""
        return self._mend(held)

    def _mend(self, text: str) -> str:
        return _PAIR_OR_LONE.sub(self._replacement, text)

    def _replacement(self, found: re.Match[str]) -> str:
        characters = found[0]
        if len(characters) == 2:
            return characters.encode("utf-16", "surrogatepass").decode("utf-16")
        self.replaced_count += 1
        return REPLACEMENT


def sendable(text: str) -> str:
    """A prompt as a request can carry it."""
    mender = SurrogateMender()
    return mender.feed(text) + mender.finish()
