"""What a scripted agent says, as data: pieces of text, thinking, waits for the test, and failures.

Owns: the shape, and saying it. Must not: start a process (`hub.py` does). The agent's own file reads its scripts from a
JSON file beside it, so that they can be anything a test thinks of.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from felixhub.worker.items import Reasoning
from felixhub.worker.sdk import Request

LOOK_S = 0.01  # how often an agent that holds looks whether it may go on

AGENT_FILE = '''"""A scripted agent of felixhub.testing."""

from pathlib import Path

from felixhub.testing.script import say

ROLE = {role!r}


async def think(request):
    async for item in say(Path({folder!r}), {name!r}, request):
        yield item
'''


@dataclass(frozen=True, slots=True)
class Fail:
    """The agent raises an exception with these words here; what it has said is kept, and another attempt may follow."""

    words: str = "as the script says"


@dataclass(frozen=True, slots=True)
class Think:
    """Text on the `reasoning` channel: shown apart, no part of the thought."""

    text: str


@dataclass(frozen=True, slots=True)
class Hold:
    """The agent says nothing more until the test calls `release`."""


FAIL = Fail()
HOLD = Hold()

Piece = str | Think | Fail | Hold


class Script:
    """One thought: `Script("The first ", "and the last.", pace_s=0.05)`.

    Each str is yielded by itself; after each the agent waits for `pace_s` seconds. Pieces that come quickly travel in
    one partial, as ever.
    """

    def __init__(self, *pieces: Piece, pace_s: float = 0.0) -> None:
        self.pieces = pieces
        self.pace_s = pace_s

    @property
    def text(self) -> str:
        """The text up to its end or its first failure: what a viewer has of it then."""
        said = []
        for piece in self.pieces:
            if isinstance(piece, Fail):
                break
            if isinstance(piece, str):
                said.append(piece)
        return "".join(said)

    def to_json(self) -> dict[str, Any]:
        pieces = [
            ["text", piece] if isinstance(piece, str) else [type(piece).__name__.lower(), *asdict(piece).values()]
            for piece in self.pieces
        ]
        return {"pieces": pieces, "pace_s": self.pace_s}


def write_agent(folder: Path, name: str, scripts: Sequence[Script], *, role: str = "research") -> None:
    """The agent's file and its scripts, one for each thought or attempt; the last is repeated."""
    (folder / f"{name}.py").write_text(AGENT_FILE.format(role=role, folder=str(folder), name=name), encoding="utf-8")
    written = json.dumps([script.to_json() for script in scripts], ensure_ascii=True)
    (folder / f"{name}.script.json").write_text(written, encoding="utf-8")


def release(folder: Path, name: str) -> None:
    """Let the agent go on at the next place where it holds, or at which it holds now."""
    file = folder / f"{name}.released"
    file.write_text(str(_released(file) + 1))


async def say(folder: Path, name: str, request: Request) -> AsyncGenerator[str | Reasoning, None]:
    """What the agent's next script says. Raises RuntimeError where it says so."""
    scripts = json.loads((folder / f"{name}.script.json").read_text(encoding="utf-8"))
    counter = folder / f"{name}.{request.run}.thoughts"
    count = len(counter.read_text()) if counter.exists() else 0
    counter.write_text("." * (count + 1))
    script = scripts[min(count, len(scripts) - 1)]
    for kind, *value in script["pieces"]:
        match kind:
            case "text":
                yield value[0]
            case "think":
                yield Reasoning(value[0])
            case "fail":
                raise RuntimeError(value[0])
            case "hold":
                await _hold(folder, name)
        await asyncio.sleep(script["pace_s"])


async def _hold(folder: Path, name: str) -> None:
    passed, released = folder / f"{name}.passed", folder / f"{name}.released"
    number = _released(passed) + 1
    while _released(released) < number:  # noqa: ASYNC110  (the test is another process)
        await asyncio.sleep(LOOK_S)
    passed.write_text(str(number))


def _released(file: Path) -> int:
    """The number in a file that is being written by somebody else, 0 while there is none."""
    try:
        return int(file.read_text() or 0)
    except FileNotFoundError:
        return 0
