"""Screens as a person sees them, through a terminal emulator, compared with the stored ones in `screens/`.

Owns: the emulator, what changes from one run to the next and so is not compared, the stored files. Must not: know a
command. `FELIXHUB_SCREENS=write` stores what is seen in place of comparing it; read the difference before it is kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pyte

STORED = Path(__file__).parent / "screens"
LINES_MAX = 1000  # of the emulator: all that was ever shown fits, so nothing scrolls away
WRITE = os.environ.get("FELIXHUB_SCREENS") == "write"

# What changes, and what stands for it. As long as what it stands for wherever it can be: so tables stay tables.
_CHANGING = [
    (re.compile(r"/tmp/fh-\w{8}"), "/tmp/fh-xxxxxxxx"),
    (re.compile(r"/tmp/felixhub-replay-\w{8}"), "/tmp/felixhub-replay-xxxxxxxx"),
    (re.compile(r"/run/felixhub/[0-9a-f]{8}/"), "/run/felixhub/xxxxxxxx/"),
    (re.compile(r"\b([a-z]+)-[0-9a-f]{6}\b"), r"\1-xxxxxx"),  # a run
    (re.compile(r"\b[0-9a-f]{16}\b"), "x" * 16),  # a session, a life of a hub
    (re.compile(r"\bt\d+-[0-9a-f]{4}\b"), "t#-xxxx"),  # a thought
    (re.compile(r"\d\d:\d\d:\d\d(\.\d{6}Z)?"), "hh:mm:ss"),
    (re.compile(r"(?<!\d)20\d\d-\d\d-\d\d"), "yyyy-mm-dd"),
    (re.compile(r"\b(127\.0\.0\.1|localhost):\d{4,5}\b"), r"\1:#"),
    (re.compile(r"(?<![\w.])\d[\d.,]* ?(s|min|ms|tok/s|GB)\b"), r"# \1"),
    (re.compile(r" · first token # s( · # tok/s)?"), ""),
    (re.compile(r"\d+ earlier lines"), "# earlier lines"),
    (re.compile(r"\b(pid|batches|bytes|tip|seconds)([ =])\d[\d.]*"), r"\1\2#"),
    (re.compile(r"\b(Python|felixhub) \d+\.\d+\.\w+"), r"\1 #"),
]
_SAID = re.compile(r"^(hh:mm:ss) (\S+) +(.*)$")
_THINKING = re.compile(r"^… thinking")


def displayed(received: bytes, columns: int) -> list[str]:
    """What a terminal of that width shows for it, from the first line ever."""
    screen = pyte.Screen(columns, LINES_MAX)
    pyte.ByteStream(screen).feed(received)
    assert screen.cursor.y < LINES_MAX - 1, "more was shown than the emulator holds"
    lines = [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def steady(lines: Sequence[str]) -> list[str]:
    """The lines without what changes; what several said at once is put together by speaker."""
    settled: list[str] = []
    said: list[tuple[str, str]] = []
    for line in [*lines, ""]:
        for pattern, word in _CHANGING:
            line = pattern.sub(word, line)
        if found := _SAID.match(line):
            if not _THINKING.match(found[3]):  # A slow machine has more of them.
                said.append((found[2], f"{found[1]} {found[2]:<12} {found[3]}".rstrip()))
            continue
        settled += [text for _, text in sorted(said, key=lambda one: one[0])]
        said.clear()
        settled.append(line)
    settled.pop()
    return settled


def unpadded(lines: Sequence[str]) -> list[str]:
    """A table whose columns are as wide as their values, which change: two spaces part them."""
    return [re.sub(r"(?<=\S) {2,}", "  ", line) for line in lines]


def compare(name: str, lines: Sequence[str], *, live: bool = False) -> None:
    """With the stored screen of that name; `live` text may have paused, and so been broken, anywhere in a line."""
    file = STORED / f"{name}.txt"
    text = "".join(f"{line}\n" for line in lines)
    if WRITE:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    stored = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    same = _joined(lines) == _joined(stored) if live else list(lines) == stored
    assert same, f"not as in {file.name}; FELIXHUB_SCREENS=write stores what is seen now:\n{text}"


def _joined(lines: Sequence[str]) -> list[str]:
    """Each text in one piece, without its spaces."""
    joined: list[str] = []
    for line in lines:
        before, bar, text = line.partition("│")
        if bar and joined and joined[-1].startswith(before + bar):
            joined[-1] += text.replace(" ", "")
        else:
            joined.append(before + bar + text.replace(" ", ""))
    return joined
