"""A run as one JSON value: its events but the partials, and what the partials came to.

Owns: the bytes of a snapshot, and of each text the piece that is not made again as long as the text has not grown.
Must not: fold events (the board does).
"""

from __future__ import annotations

from collections.abc import Sequence

from felixhub.core.batcher import Channel
from felixhub.core.run import Run
from felixhub.core.thought import TextBuffer
from felixhub.views.web.frames import json_bytes

UTF8_BYTES_MAX = 4  # of one character
TAILS_MAX = 3  # lengths of tails that pieces are kept for


class Snapshots:
    """Of one run. `tail` is how many characters of each text are kept, None for all."""

    def __init__(self) -> None:
        self._texts: dict[int | None, dict[tuple[str, Channel], tuple[int, bytes]]] = {}  # by tail
        self._made: dict[int | None, tuple[str, bytes]] = {}

    def make(self, run: Run, marks: Sequence[bytes], *, position: str, tail: int | None) -> bytes:
        """The snapshot as of the board's last event. `position` is `<boot>-<seq>`."""
        known = self._made.get(tail)
        if known is not None and known[0] == position:
            return known[1]
        boot, _, seq = position.rpartition("-")
        head = json_bytes({"run": run.id, "boot": boot, "seq": int(seq)})[:-1]
        tailed = b"" if tail is None else f',"tail":{tail}'.encode()
        texts = b",".join(self._texts_of(run, tail))
        made = b"".join((head, tailed, b',"marks":[', b",".join(marks), b'],"texts":[', texts, b"]}"))
        self._made = {tail: (position, made)}  # The latest alone: one of a long run is large.
        return made

    def forget(self) -> None:
        self._texts = {}
        self._made = {}

    def _texts_of(self, run: Run, tail: int | None) -> list[bytes]:
        kept = self._texts.setdefault(tail, {})
        if len(self._texts) > TAILS_MAX:
            del self._texts[next(iter(self._texts))]
        found = []
        for thought in run.thoughts.values():
            for channel, buffer in thought.buffers():
                if not len(buffer):
                    continue
                key = (thought.id, channel)
                length, piece = kept.get(key, (-1, b""))
                if length != len(buffer):
                    offset, text = tail_of(buffer, tail)
                    piece = json_bytes(
                        {
                            "thought": thought.id,
                            "channel": channel,
                            "offset": offset,
                            "text": text,
                            "tokens": thought.tokens,
                        }
                    )
                    if not thought.is_open:  # It grows no more.
                        kept[key] = (len(buffer), piece)
                found.append(piece)
        return found


def tail_of(buffer: TextBuffer, characters: int | None) -> tuple[int, str]:
    """The last so many characters of a text, and where they begin in it, in UTF-8 bytes."""
    length = len(buffer)
    if characters is None or length <= characters:
        return 0, str(buffer)
    start = max(0, length - UTF8_BYTES_MAX * characters)
    data = bytes(buffer.data[start:])
    while data and start and data[0] & 0xC0 == 0x80:  # The middle of a character.
        data = data[1:]
    text = data.decode()[-characters:] if characters else ""
    return length - len(text.encode()), text
