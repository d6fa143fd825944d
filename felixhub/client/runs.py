"""One run from a program's side: start it or find it, its events, its result, and stopping it.

Owns: putting settings, the start command and a subscription together. Must not: know what happens in a run.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path

from felixhub.client.result import RunResult
from felixhub.client.starting import Wishes, build_start, choose_endpoint
from felixhub.core.board import Board
from felixhub.core.errors import ConfigError, FelixError
from felixhub.core.events import Event
from felixhub.core.follower import Reset
from felixhub.core.messages import Start
from felixhub.core.names import NAME_PATTERN
from felixhub.settings.settings import Settings, load_settings
from felixhub.transport.address import WAIT_S
from felixhub.transport.control import ControlClient, connect
from felixhub.transport.subscriber import Subscriber, Subscription

POLL_S = 1.0  # how often a wait looks at its deadline


def start(
    task: str,
    *,
    workflow: str | Path = "helix",
    files: Sequence[str | Path] = (),
    llm: str | None = None,
    model: str | None = None,
    review: bool = False,
    budget_tokens: int | None = None,
    after: str | None = None,
    include: Sequence[str] = (),
    hub: str | Path | None = None,
    wait_s: float = WAIT_S,
    by: str = "",
) -> RunClient:
    """Start a run on a hub that is up. Returns as soon as the hub has it; iterate the result, or `wait()` for its end.

    `workflow`: the name of one that ships or lies in `config/workflows/`, or a TOML file. `files`: documents (text,
    Markdown, HTML, PDF). `llm`: an endpoint's name or URL, `model` its model; None takes what the settings of the
    current folder say, else a key in the environment, else LM Studio or Ollama here, else the offline model. `after`:
    an earlier run to go on from, or `latest`. `include`: optional stages. `hub`: a data directory, a connection file
    or `tcp://host:port`; None takes `FELIXHUB_HUB`, then the settings. `wait_s`: seconds to look for the hub.

    Raises ConfigError (a task, file, workflow or card that will not do, with file and line), HubRefused, NoHub.
    """
    settings = _settings(llm, model)
    endpoint, _ = choose_endpoint(settings, os.environ)
    command = build_start(
        settings,
        task=task,
        workflow=str(workflow),
        files=[Path(file) for file in files],
        endpoint=endpoint,
        wishes=Wishes(review=review, budget_tokens=budget_tokens, after=after, include=tuple(include)),
        by=by,
    )
    return send_start(command, hub=hub if hub is not None else settings.hub or settings.data_dir, wait_s=wait_s)


def send_start(command: Start, *, hub: str | Path, wait_s: float = WAIT_S) -> RunClient:
    """Start a run that was made by hand or by `build_start`. Raises HubRefused, NoHub."""
    with connect(hub, wait_s=wait_s) as client:
        if command.after is not None:
            command = command.model_copy(update={"after": named(client, command.after, finished=True)})
        client.request(command)
    return RunClient(command.id, hub=hub, wait_s=wait_s)


def attach(run: str = "latest", *, hub: str | Path | None = None, wait_s: float = WAIT_S) -> RunClient:
    """A run that was started before; `latest` is the newest that there is now. `hub` is that of `start`.

    Raises ConfigError for what is no run's id, NoHub. That there is no such run shows when it is read (RunGone).
    """
    if hub is None:
        settings = _settings(None, None)
        hub = settings.hub or settings.data_dir
    if run == "latest":
        with connect(hub, wait_s=wait_s) as client:
            run = named(client, run)
    elif not _is_id(run):
        raise ConfigError(f"{run[:80]!r} is no run's id: `felixhub ps` lists them")
    return RunClient(run, hub=hub, wait_s=wait_s)


async def start_async(
    task: str,
    *,
    workflow: str | Path = "helix",
    files: Sequence[str | Path] = (),
    llm: str | None = None,
    model: str | None = None,
    review: bool = False,
    budget_tokens: int | None = None,
    after: str | None = None,
    include: Sequence[str] = (),
    hub: str | Path | None = None,
    wait_s: float = WAIT_S,
    by: str = "",
) -> AsyncRunClient:
    """`start` for asyncio: files are read and the hub is asked in a thread. Arguments and errors are those of it."""
    asked = partial(
        start,
        task,
        workflow=workflow,
        files=files,
        llm=llm,
        model=model,
        review=review,
        budget_tokens=budget_tokens,
        after=after,
        include=include,
        hub=hub,
        wait_s=wait_s,
        by=by,
    )
    return AsyncRunClient(await asyncio.to_thread(asked))


async def attach_async(run: str = "latest", *, hub: str | Path | None = None, wait_s: float = WAIT_S) -> AsyncRunClient:
    """`attach` for asyncio."""
    return AsyncRunClient(await asyncio.to_thread(partial(attach, run, hub=hub, wait_s=wait_s)))


class RunClient:
    """One run on one hub. Iterate it for its events from the first; each `for` begins anew. Holds nothing open."""

    def __init__(self, run: str, *, hub: str | Path, wait_s: float = WAIT_S) -> None:
        self.id = run
        self.hub = hub
        self.wait_s = wait_s

    def __repr__(self) -> str:
        return f"<run {self.id}>"

    def __iter__(self) -> Iterator[Event]:
        """The run's events in order, each once, live as they come, up to its end.

        Raises RunGone when there is no such run, NoHub, and Reset when the hub's log is another one than before: what
        was read is void, iterate once more.
        """
        with self.subscription() as subscription:
            yield from subscription

    def subscription(self, *, history: bool = True) -> Subscription:
        """A subscription to this run that ends with it; its `board` knows the texts. Close it, or use `with`."""
        return Subscription(self.id, hub=self.hub, history=history, until_done=True, wait_s=self.wait_s)

    def wait(self, timeout_s: float | None = None) -> RunResult:
        """Wait for the run's end; None waits for ever. A failed or cancelled run is a result too.

        Raises TimeoutError after `timeout_s` seconds (the run goes on), RunGone, NoHub.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self.subscription(history=False) as subscription:
            while not subscription.follower.done:
                left = POLL_S if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"run {self.id} has not ended within {timeout_s} s; it goes on")
                _raise_what_matters(subscription.poll(min(left, POLL_S)))
            return _result(subscription.board, self.id)

    def cancel(self, *, agent: str | None = None, by: str = "") -> None:
        """Cancel the run, or one agent of it. What was written is kept. Raises HubRefused when it has ended."""
        with self.connect() as client:
            client.cancel(self.id, agent=agent, by=by)

    def connect(self) -> ControlClient:
        """A client of its hub for every other command: steer, regenerate, approve … Close it, or use `with`."""
        return connect(self.hub, wait_s=self.wait_s)


class AsyncRunClient:
    """The async twin of `RunClient`: `async for event in run`, `await run.wait()`."""

    def __init__(self, run: RunClient) -> None:
        self._run = run
        self.id = run.id
        self.hub = run.hub

    def __repr__(self) -> str:
        return repr(self._run)

    async def __aiter__(self) -> AsyncIterator[Event]:
        """As `RunClient.__iter__`. Leave it early through `contextlib.aclosing`, which closes its sockets at once."""
        async with self.subscriber() as subscriber:
            async for event in subscriber:
                yield event

    def subscriber(self, *, history: bool = True) -> Subscriber:
        """As `RunClient.subscription`, for `async with` and `async for`."""
        return Subscriber(self.id, hub=self.hub, history=history, until_done=True, wait_s=self._run.wait_s)

    async def wait(self) -> RunResult:
        """Wait for the run's end. For a limit use `asyncio.timeout`; the run goes on. Raises RunGone, NoHub."""
        async with self.subscriber(history=False) as subscriber:
            while not subscriber.follower.done:
                _raise_what_matters(await subscriber.poll(POLL_S))
            return _result(subscriber.board, self.id)

    async def cancel(self, *, agent: str | None = None, by: str = "") -> None:
        """As `RunClient.cancel`."""
        await asyncio.to_thread(partial(self._run.cancel, agent=agent, by=by))


def named(client: ControlClient, run: str, *, finished: bool = False) -> str:
    """A run's id; `latest` is the newest (that has finished). Raises ConfigError for what is no run's id."""
    if run == "latest":
        rows = [row for row in client.runs() if not finished or row["status"] == "finished"]
        if not rows:
            raise ConfigError("no run has finished yet" if finished else "there are no runs yet")
        return str(rows[-1]["run"])
    if not _is_id(run):
        raise ConfigError(f"{run[:80]!r} is no run's id: `felixhub ps` lists them")
    return run


def _is_id(run: str) -> bool:
    return re.fullmatch(NAME_PATTERN, run) is not None


def _settings(llm: str | None, model: str | None) -> Settings:
    return load_settings({"llm": llm, "model": model}, dict(os.environ), Path.cwd())


def _raise_what_matters(items: Sequence[Event | FelixError]) -> None:
    """Who waits for the end alone does not mind that the log is read anew."""
    for item in items:
        if isinstance(item, FelixError) and not isinstance(item, Reset):
            raise item


def _result(board: Board, run: str) -> RunResult:
    ended = board.runs[run].ended
    assert ended is not None, "the subscription is done"
    return RunResult.of(ended)
