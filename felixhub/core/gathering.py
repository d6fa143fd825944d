"""The partials that one worker sent in one turn, gathered: what goes on where the one before it ended is one with it.

    ──add──► held ──take──► the same texts, the partials of one thought and channel that follow each other as one

A hub that has fallen behind finds several small partials of a thought waiting. What a partial costs, here and at every
subscriber, it costs once for all of them; so the further behind, the faster. A hub that keeps up finds one at a time.
Owns: which partials become one. Must not: judge them, or know a socket.
"""

from __future__ import annotations

from felixhub.core.batcher import Channel
from felixhub.core.messages import Partial


class _Held:
    __slots__ = ("end", "first", "size", "texts", "tokens")

    def __init__(self, partial: Partial, size: int) -> None:
        self.first = partial
        self.texts = [partial.text]
        self.size = size
        self.end = partial.offset + size
        self.tokens = partial.tokens

    def joined(self) -> Partial:
        if len(self.texts) == 1:
            return self.first
        return self.first.model_copy(update={"text": "".join(self.texts), "tokens": self.tokens})


class Gathering:
    """Nothing is judged here: what does not follow, repeats or is too large is held as it came."""

    def __init__(self, *, bytes_max: int) -> None:
        """`bytes_max`: of UTF-8, in a partial that is made of several."""
        self._bytes_max = bytes_max
        self._done: list[_Held] = []
        self._growing: dict[tuple[str, Channel], _Held] = {}

    def add(self, partial: Partial) -> None:
        text = partial.text
        size = len(text) if text.isascii() else len(text.encode())
        key = (partial.thought, partial.channel)
        held = self._growing.get(key)
        if held is not None:
            if partial.offset == held.end and held.size + size <= self._bytes_max:
                held.texts.append(text)
                held.size += size
                held.end += size
                held.tokens = max(held.tokens, partial.tokens)
                return
            self._done.append(held)
        self._growing[key] = _Held(partial, size)

    def take(self) -> list[Partial]:
        """All that is held; of one thought and channel in the order in which it came."""
        held = [*self._done, *self._growing.values()]
        self._done, self._growing = [], {}
        return [one.joined() for one in held]
