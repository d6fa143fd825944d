"""What a user's own agent is written against: a file `agents/clock.py` with an async generator of text.

    async def think(request):
        yield f"It is {datetime.now():%H:%M}. "
        yield Reasoning("Nobody asked for the seconds.")

Owns: `Request`, loading such a file, and what becomes of its mistakes. Must not: know the hub or a thread.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import traceback
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from felixhub.core.errors import ConfigError, ModelFailed, Place
from felixhub.core.events import Feedback, Missing
from felixhub.core.messages import Assign, GivenDocument, GivenThought
from felixhub.llm.surrogates import SurrogateMender
from felixhub.worker.items import Item, Reasoning
from felixhub.worker.prompt import ChatMessage, build_prompt

__all__ = ["Program", "Reasoning", "Request", "load_agent", "request_of"]

ERROR_CHARACTERS_MAX = 500
SECRET_CHARACTERS_MIN = 6

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_SECRET_SHAPE = re.compile(r"\bsk-[\w-]{8,}|(?<=Bearer )\S+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
_INSTANCE = re.compile(r"-\d+$")


@dataclass(frozen=True, slots=True)
class Request:
    """What an agent is asked. `checkpoint` is its place on the helix, 0.0 wide to 1.0 narrow.

    `own` is its previous final thought in this run, `context` the others' final thoughts (each with `agent`, `text`,
    `confidence`), `documents` have `name` and `text`, `missing` have `agent` and `why`. `revises` is a text to be
    revised, `feedback` what people said of it (`wrong`, `instead`, `constraints`). With `review` a verdict is asked
    for, as JSON. `prompt` is the list of chat messages that an LLM agent in its place would get.
    """

    run: str
    thought: str
    agent: str
    task: str
    stage: str
    checkpoint: float
    attempt: int
    temperature: float
    instruction: str = ""
    own: str = ""
    context: tuple[GivenThought, ...] = ()
    documents: tuple[GivenDocument, ...] = ()
    missing: tuple[Missing, ...] = ()
    revises: str = ""
    feedback: tuple[Feedback, ...] = ()
    review: bool = False
    prompt: tuple[ChatMessage, ...] = field(default=(), repr=False)


Program = Callable[[Request], AsyncGenerator[Any, None]]


def request_of(assign: Assign) -> Request:
    return Request(
        run=assign.run,
        thought=assign.thought,
        agent=assign.agent,
        task=assign.task,
        stage=assign.stage,
        checkpoint=assign.checkpoint,
        attempt=assign.attempt,
        temperature=assign.temperature,
        instruction=assign.instruction,
        own=assign.own,
        context=assign.context,
        documents=assign.documents,
        missing=assign.missing,
        revises=assign.revises,
        feedback=assign.feedback,
        review=assign.review,
        prompt=tuple(build_prompt(assign)),
    )


def agent_file(name: str, folder: Path) -> Path:
    """The file of an agent; `clock-2` is an instance of `clock` unless it has a file of its own."""
    file = folder / f"{name}.py"
    return file if file.exists() else folder / f"{_INSTANCE.sub('', name)}.py"


def load_agent(name: str, folder: Path) -> Program:
    """The `think` of `<folder>/<name>.py`. Raises ConfigError with file and line.

    The module gets a private name: no package called `agents` is ever importable.
    """
    file = agent_file(name, folder)
    try:
        source = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read the agent '{name}': {error.strerror}", place=Place(str(file))) from None
    module = ModuleType(f"_felixhub_agent_{re.sub(r'[^a-z0-9]', '_', file.stem)}")
    module.__file__ = str(file)
    try:
        code = compile(source, str(file), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else None
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"not valid Python: {said}", place=Place(str(file), line)) from None
    sys.modules[module.__name__] = module  # Dataclasses look their module up.
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  (a user's code; all of it is told)
        raise ConfigError(
            f"failed when it was loaded: {_said(error, os.environ)}", place=Place(str(file), _line(error, file))
        ) from None
    think = module.__dict__.get("think")
    if think is None:
        raise ConfigError("has no `async def think(request)`: add it", place=Place(str(file), 1))
    if not inspect.isasyncgenfunction(think):
        line = think.__code__.co_firstlineno if inspect.isfunction(think) else 1
        raise ConfigError(
            "`think` is not an async generator: write `async def think(request)` and `yield` its text in it",
            place=Place(str(file), line),
        )
    program: Program = think
    return program


async def run_program(program: Program, request: Request, file: Path) -> AsyncGenerator[Item, None]:
    """What a user's agent says, checked. Raises ModelFailed("agent_error") for its mistakes."""
    menders = {"text": SurrogateMender(), "reasoning": SurrogateMender()}
    try:
        async with aclosing(program(request)) as said:
            async for item in said:
                match item:
                    case str():
                        if text := menders["text"].feed(item):
                            yield text
                    case Reasoning():
                        if text := menders["reasoning"].feed(item.text):
                            yield Reasoning(text)
                    case _:
                        raise ModelFailed(
                            "agent_error",
                            f"it yielded {type(item).__name__} instead of str or Reasoning ({file.name})",
                        )
    except ModelFailed:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001  (a user's code; all of it is told)
        raise ModelFailed("agent_error", describe(error, file)) from None
    if text := menders["text"].finish():
        yield text
    if text := menders["reasoning"].finish():
        yield Reasoning(text)


def describe(error: BaseException, file: Path, environ: Mapping[str, str] | None = None) -> str:
    """`ValueError: … (clock.py, line 7)`: what happened and where in the user's file, on one line, without secrets."""
    line = _line(error, file)
    where = file.name if line is None else f"{file.name}, line {line}"
    return f"{_said(error, os.environ if environ is None else environ)} ({where})"


def _said(error: BaseException, environ: Mapping[str, str]) -> str:
    try:
        words = " ".join(str(error).split())
    except Exception:  # noqa: BLE001  (a user's exception may fail to say what it is)
        words = ""
    for name, value in environ.items():
        if len(value) >= SECRET_CHARACTERS_MIN and _SECRET_NAME.search(name):
            words = words.replace(value, "***")
    words = _SECRET_SHAPE.sub("***", words)
    if len(words) > ERROR_CHARACTERS_MAX:
        words = words[: ERROR_CHARACTERS_MAX - 1] + "…"
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _line(error: BaseException, file: Path) -> int | None:
    """The innermost line of the user's file that was running."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(file)), None)
