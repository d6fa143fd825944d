"""A client of the control socket: one request, its answer. Commands are sent again under the same id until answered.

    with felixhub.connect() as hub:
        hub.steer("memo-1a2b3c", section="risks", wrong="it names no owner")
        hub.approve("memo-1a2b3c")

Owns: waiting for a hub and for its answers, and a method for every command. Must not: know what a command does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import zmq
from pydantic import ValidationError

from felixhub.core.batcher import Channel
from felixhub.core.board import Board
from felixhub.core.errors import ConfigError, FelixError
from felixhub.core.events import Event, parse_event
from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.core.messages import (
    Approve,
    CancelRun,
    ClientHello,
    Document,
    Edit,
    Failed,
    Message,
    Ok,
    Page,
    Pause,
    Regenerate,
    Remove,
    Reopen,
    Request,
    Resume,
    Runs,
    Snapshot,
    SnapshotText,
    Start,
    Steer,
    Text,
    parse_client_bound,
)
from felixhub.core.run import Run
from felixhub.core.workflow import Card, RunSettings, Workflow
from felixhub.transport.address import WAIT_S, Connection, NoHub, find_hub, no_hub_sentence
from felixhub.transport.refusal import Refusal
from felixhub.transport.sockets import client_dealer, dial

RESEND_S = 2.0
START_S_MAX = 300.0
SNAPSHOT_TEXT = b'{"kind":"snapshot.text"'

Find = Callable[[], Connection]
_Request = TypeVar("_Request", bound=Request)


def _check_size(message: Message) -> None:
    """A hub would refuse it, or hang up without a word. JSON writes some characters with up to six bytes."""
    size, most = len(message.encode()), DEFAULT_LIMITS.control_bytes_max
    if size > most:
        raise ConfigError(f"this comes to {size:,} bytes as a message, and {most:,} is the most: send less at once")


class HubRefused(FelixError):
    """The hub said no: `code` for programs, the message for people."""

    def __init__(self, code: str, sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.field = field


class TooMuch(FelixError):
    """An answer in pages is longer than was asked for."""


def new_id(prefix: str = "c") -> str:
    """A fresh id for a request or a run."""
    return f"{prefix}-{secrets.token_hex(4)}"


def wait_for_hub(find: Find, *, wait_s: float = WAIT_S) -> Connection:
    """The connection as soon as there is one. Raises NoHub after `wait_s`."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return find()
        except NoHub:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.02)


def connect(hub: str | Path | None = None, *, wait_s: float = WAIT_S) -> ControlClient:
    """A client of the hub, to start, steer, review and stop runs.

    `hub` is its data directory, its connection file or `tcp://host:port`; by default the one that `FELIXHUB_HUB` or the
    settings of this folder name, else the one in the data directory. The hub is looked for at the first request:
    NoHub when none answers for `wait_s` seconds.
    """
    return ControlClient(finder(hub), wait_s=wait_s)


def finder(hub: str | Path | None) -> Find:
    """How to find this hub; None: the one that `FELIXHUB_HUB` or the settings name. Raises ConfigError for bad ones."""
    spec = str(hub) if hub is not None else os.environ.get("FELIXHUB_HUB")
    if spec:
        return lambda: find_hub(spec, default=Path(spec))
    # Imported late: who names the hub needs no settings.
    from felixhub.settings.settings import load_settings

    settings = load_settings({}, dict(os.environ), Path.cwd())
    return lambda: find_hub(settings.hub, default=settings.data_dir)


class ControlClient:
    """Talks to one hub. A context manager; not for several threads at once.

    Every command takes `by` (who asks, for people) and `id`: the same id again is done once and answered the same, so
    choose one to repeat a command after a crash of your own. All raise HubRefused when the hub says no (`code`,
    `field`), NoHub when nobody answers, KeyRefused when a hub does not let this client in, and ConfigError for a value
    that no hub would take.
    """

    def __init__(self, find: Find, *, wait_s: float = WAIT_S) -> None:
        self._find = find
        self._wait_s = wait_s
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._refusal: Refusal | None = None
        self._where = ""

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._disconnect()
        self._context.term()

    def _disconnect(self) -> None:
        if self._refusal is not None:
            self._refusal.close()
            self._refusal = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # ---- what there is -----------------------------------------------------------------------------------------------

    def hello(self, *, wait_s: float | None = None) -> dict[str, Any]:
        """Who the hub is: version, boot, tip, pid, counters."""
        return self.request(ClientHello(id=new_id()), wait_s=wait_s)

    def runs(self, *, before: str | None = None) -> list[dict[str, Any]]:
        """The latest runs, newest last: run, status, task, workflow, started_at, open, awaiting …

        At most 200; with `before` those that began before that run.
        """
        rows: list[dict[str, Any]] = self.request(_made(Runs, before=before))["runs"]
        return rows

    def snapshot(self, run: str) -> Run:
        """The run as it is now: stages, sections with their versions, thoughts with their texts."""
        lines = self.pages(_made(Snapshot, run=run))
        marks: list[Event] = []
        texts: list[SnapshotText] = []
        for line in lines:
            if line.startswith(SNAPSHOT_TEXT):
                texts.append(SnapshotText.model_validate_json(line))
            else:
                marks.append(parse_event(line))
        board = Board()
        board.follow(run)
        board.load(run, marks=marks, texts=texts, position=marks[-1].seq)
        return board.runs[run]

    def text(self, run: str, thought: str, channel: Channel = "text") -> str:
        """The text of one thought as far as it goes, or its reasoning."""
        return str(self.request(_made(Text, run=run, thought=thought, channel=channel))["text"])

    # ---- commands ----------------------------------------------------------------------------------------------------

    def start(
        self,
        task: str,
        *,
        workflow: Workflow,
        agents: Sequence[Card],
        settings: RunSettings | None = None,
        documents: Sequence[Document] = (),
        after: str | None = None,
        by: str = "",
        id: str | None = None,
    ) -> dict[str, Any]:
        """Start a run; `id` will be the run's. Returns {"run"}."""
        message = _made(
            Start,
            id=id or new_id(workflow.name[:40]),
            by=by,
            task=task,
            workflow=workflow,
            agents=tuple(agents),
            settings=settings or RunSettings(),
            documents=tuple(documents),
            after=after,
        )
        return self.request(message)

    def cancel(
        self,
        run: str,
        *,
        agent: str | None = None,
        thought: str | None = None,
        section: str | None = None,
        by: str = "",
        id: str | None = None,
    ) -> dict[str, Any]:
        """Cancel the run, or one agent, open thought or section of it. What was written is kept. Returns {"run"}."""
        return self.request(_made(CancelRun, id=id, by=by, run=run, agent=agent, thought=thought, section=section))

    def steer(
        self,
        run: str,
        *,
        wrong: str = "",
        instead: str = "",
        constraints: str = "",
        agent: str | None = None,
        thought: str | None = None,
        section: str | None = None,
        by: str = "",
        id: str | None = None,
    ) -> dict[str, Any]:
        """Have a text revised: what is `wrong`, or what `instead`, for exactly one agent, thought or section.

        Returns {"run", "stage", "agent", "revises"}; `revises` names the text that is worked on.
        """
        target = {"agent": agent, "thought": thought, "section": section}
        words = {"wrong": wrong, "instead": instead, "constraints": constraints}
        return self.request(_made(Steer, id=id, by=by, run=run, **target, **words))

    def regenerate(
        self,
        run: str,
        *,
        wrong: str = "",
        instead: str = "",
        constraints: str = "",
        agent: str | None = None,
        thought: str | None = None,
        section: str | None = None,
        by: str = "",
        id: str | None = None,
    ) -> dict[str, Any]:
        """Have a text written anew: without feedback from the original request, with feedback as a revision.

        Returns what `steer` returns.
        """
        target = {"agent": agent, "thought": thought, "section": section}
        words = {"wrong": wrong, "instead": instead, "constraints": constraints}
        return self.request(_made(Regenerate, id=id, by=by, run=run, **target, **words))

    def approve(
        self,
        run: str,
        section: str | None = None,
        *,
        version: int | None = None,
        by: str = "",
        id: str | None = None,
    ) -> dict[str, Any]:
        """Approve a section, or every one that can be. With `version` only if that is still its latest.

        Returns {"run", "approved": [section …], "refused": {section: why}}.
        """
        return self.request(_made(Approve, id=id, by=by, run=run, section=section, version=version))

    def reopen(self, run: str, section: str, *, by: str = "", id: str | None = None) -> dict[str, Any]:
        """Withdraw the approval of a section. Returns {"run", "section", "version"}."""
        return self.request(_made(Reopen, id=id, by=by, run=run, section=section))

    def edit(
        self,
        run: str,
        section: str,
        text: str,
        *,
        version: int | None = None,
        by: str = "",
        id: str | None = None,
    ) -> dict[str, Any]:
        """Make this text the section's next version. With `version` only if that is still its latest.

        Returns {"run", "section", "version"}.
        """
        return self.request(_made(Edit, id=id, by=by, run=run, section=section, text=text, version=version))

    def pause(self, run: str, *, by: str = "", id: str | None = None) -> dict[str, Any]:
        """Stop what streams until `resume`; what was written is kept. Returns {"run"}."""
        return self.request(_made(Pause, id=id, by=by, run=run))

    def resume(self, run: str, *, by: str = "", id: str | None = None) -> dict[str, Any]:
        """Go on with a paused run. Returns {"run"}."""
        return self.request(_made(Resume, id=id, by=by, run=run))

    def remove(self, run: str, *, by: str = "") -> bool:
        """Remove an ended run for good. False when the hub has no such run (any more)."""
        return bool(self.request(_made(Remove, by=by, run=run))["removed"])

    # ---- the exchange ------------------------------------------------------------------------------------------------

    def request(self, message: Message, *, wait_s: float | None = None) -> dict[str, Any]:
        """The data of the hub's `ok`. Raises HubRefused, or NoHub when nobody answered for `wait_s` seconds."""
        reply, _ = self._exchange(message, wait_s if wait_s is not None else self._wait_s)
        if isinstance(reply, Ok):
            return reply.data
        assert isinstance(reply, Failed), "a request that is answered in pages goes through `pages`"
        raise HubRefused(reply.code, reply.sentence, reply.field)

    def pages(self, message: Message, *, wait_s: float | None = None, bytes_max: int | None = None) -> list[bytes]:
        """The lines of a replay or snapshot, as stored. Raises HubRefused, NoHub, and TooMuch beyond `bytes_max`."""
        wait_s = wait_s if wait_s is not None else self._wait_s
        reply, lines = self._exchange(message, wait_s)
        collected: list[bytes] = []
        size = 0
        while True:
            match reply:
                case Failed():
                    raise HubRefused(reply.code, reply.sentence, reply.field)
                case Page():
                    size += len(lines)
                    if bytes_max is not None and size > bytes_max:
                        raise TooMuch(f"this comes to more than {bytes_max:,} bytes")  # The rest is not looked at.
                    collected.extend(line for line in lines.split(b"\n") if line)
                    if reply.last:
                        return collected
            reply, lines = self._receive(message, time.monotonic() + wait_s)

    def _exchange(self, message: Message, wait_s: float) -> tuple[Ok | Failed | Page, bytes]:
        deadline = time.monotonic() + wait_s
        _check_size(message)
        if isinstance(
            message, Start
        ):  # Large documents are searched before it is answered; the hub is there meanwhile.
            deadline += START_S_MAX
        while True:
            self._send(message, min(deadline, time.monotonic() + wait_s))
            try:
                # A page request is not repeated: its pages would come twice.
                repeat = message.model_dump(include={"type"}).get("type") not in ("replay", "snapshot")
                until = min(deadline, time.monotonic() + RESEND_S) if repeat else deadline
                return self._receive(message, until)
            except NoHub:
                if time.monotonic() >= deadline:
                    raise
                self._look_again()

    def _look_again(self) -> None:
        """The hub may have come back elsewhere since the connection was made."""
        with contextlib.suppress(NoHub):
            if self._socket is not None and self._find().control != self._where:
                self._disconnect()

    def _send(self, message: Message, deadline: float) -> None:
        while True:
            try:
                self._connected(deadline).send(message.encode(), zmq.DONTWAIT)
                return
            except zmq.Again:
                self._check_refusal()
                if time.monotonic() >= deadline:
                    raise NoHub(no_hub_sentence(self._where)) from None
                time.sleep(0.01)
                self._look_again()

    def _receive(self, message: Message, deadline: float) -> tuple[Ok | Failed | Page, bytes]:
        socket = self._connected(deadline)
        poller = zmq.Poller()
        for one in (socket, *(self._refusal.sockets if self._refusal else ())):
            poller.register(one, zmq.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            ready = dict(poller.poll(int(left * 1000) + 1))
            self._check_refusal()
            if socket in ready:
                frames = socket.recv_multipart()
                reply = parse_client_bound(frames[0])
                if reply.id in (getattr(message, "id", None), "?"):  # "?": the hub could not even read the id
                    return reply, frames[1] if len(frames) > 1 else b""
        raise NoHub(no_hub_sentence(self._where))

    def _connected(self, deadline: float) -> zmq.Socket[bytes]:
        if self._socket is None:
            connection = wait_for_hub(self._find, wait_s=max(0.0, deadline - time.monotonic()))
            self._where = connection.control
            self._socket = client_dealer(self._context, DEFAULT_LIMITS, connection.curve)
            self._refusal = Refusal(self._socket, connection)
            dial(self._socket, connection.control)
        return self._socket

    def _check_refusal(self) -> None:
        if self._refusal is not None:
            self._refusal.check()


def _made(shape: type[_Request], *, id: str | None = None, **fields: Any) -> _Request:
    """The request, under a fresh id unless one is given. Raises ConfigError for what no hub would take."""
    try:
        return shape(id=id or new_id(), **fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    raise ConfigError(f"{place}: {first['msg']}" if place else first["msg"])
