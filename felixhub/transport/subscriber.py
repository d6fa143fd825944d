"""Subscribing to a hub, sync and async: thin shells around `Follower`, which knows the protocol.

Owns: two sockets and their turn. Must not: judge gaps or interpret events.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import zmq
import zmq.asyncio

from felixhub.core.board import Board
from felixhub.core.errors import FelixError, ProtocolViolation
from felixhub.core.events import Event
from felixhub.core.follower import Follower, Reset, RunGone
from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.core.messages import ClientHello, Failed, Message, parse_client_bound
from felixhub.core.names import HUB_BEAT_TOPIC, run_topic
from felixhub.transport.address import WAIT_S, Connection, KeyRefused, NoHub, no_hub_sentence
from felixhub.transport.control import Find, finder, new_id
from felixhub.transport.refusal import Refusal
from felixhub.transport.sockets import client_dealer, dial, live_sub

TICK_S = 0.1
ASK_S = 1.0  # a hub that lets a key in and says nothing for so long is asked whether the key may watch
LOOK_S = 0.5  # how often the hub's address is looked up while it is away
DRAIN_MAX = 2_000  # messages taken in one turn, so that requests and time get theirs

__all__ = ["NoHub", "Reset", "RunGone", "Subscriber", "Subscription", "subscribe"]


class _Link:
    """The two sockets and the follower; everything but waiting."""

    def __init__(self, follower: Follower, find: Find, *, wait_s: float, messages_max: int | None) -> None:
        self.follower = follower
        self.bad_frames = 0
        self._find = find
        self._wait_s = wait_s
        self._messages_max = messages_max
        self._pending: list[Message] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._began = time.monotonic()
        self._ticked = 0.0
        self._not_found = NoHub(no_hub_sentence("the default place"))
        self._looked_at = 0.0
        self._connected_to = ("", "")
        self._has_key = False
        self._hello = new_id()
        self._asked_at = self._began
        self._refusals: list[Refusal] = []
        self.live: zmq.Socket[bytes] | None = None
        self.control: zmq.Socket[bytes] | None = None

    def connect(self) -> bool:
        """Connect to where the hub is now; False while it is nowhere. Raises NoHub after `wait_s` without one.

        Raises KeyRefused when it does not let this subscriber in.
        """
        now = time.monotonic()
        for refusal in self._refusals:
            refusal.check()
        if self.live is None or (self.follower.is_away and now - self._looked_at > LOOK_S):
            self._looked_at = now
            self._look()
        if self.follower.boot is None:
            if now - self._began > self._wait_s:
                raise self._not_found
            if self._has_key and now - self._asked_at > ASK_S:
                self._asked_at = now
                self._pending.append(ClientHello(id=self._hello))
        return self.live is not None

    def _look(self) -> None:
        """A hub that came back may be elsewhere, and an old connection file may have named one that is gone."""
        try:
            connection = self._find()
        except NoHub as error:
            self._not_found = error
            return
        if self.live is None or (connection.live, connection.control) != self._connected_to:
            self._close_sockets()
            self._connected_to = (connection.live, connection.control)
            self._not_found = NoHub(no_hub_sentence(connection.control))
            self._has_key = connection.curve is not None
            self._open(connection)

    def _open(self, connection: Connection) -> None:
        self.live = live_sub(self._context, DEFAULT_LIMITS, connection.curve, messages_max=self._messages_max)
        self.live.subscribe(HUB_BEAT_TOPIC)
        selection = self.follower.selection
        self.live.subscribe(b"run/" if selection in ("latest", "all") else run_topic(selection))
        self.control = client_dealer(self._context, DEFAULT_LIMITS, connection.curve)
        self._refusals = [Refusal(self.live, connection), Refusal(self.control, connection)]
        dial(self.live, connection.live)
        dial(self.control, connection.control)

    def turn(self) -> list[Event | FelixError]:
        """Take what has arrived, send what is due, return what is in order."""
        now = time.monotonic()
        assert self.live is not None, "connected"
        assert self.control is not None, "connected"
        for _ in range(DRAIN_MAX):
            try:
                frames = self.live.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            try:
                self.follower.on_live(frames[0], frames[1], now)
            except (ProtocolViolation, IndexError):
                self.bad_frames += 1  # Not from our hub: counted, never shown.
        for _ in range(DRAIN_MAX):
            try:
                frames = self.control.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                break
            try:
                self._check_whether_forbidden(frames[0])
                self.follower.on_reply(frames, now)
            except ProtocolViolation:
                self.bad_frames += 1
        if now - self._ticked >= TICK_S:
            self._ticked = now
            self.follower.on_tick(now)
        self._pending.extend(self.follower.take_requests())
        self._send()
        return self.follower.take_events()

    def _check_whether_forbidden(self, frame: bytes) -> None:
        """A worker's key is let in, and hears nothing: KeyRefused, in the hub's words."""
        if not self._has_key or self.follower.boot is not None:
            return
        reply = parse_client_bound(frame)
        if isinstance(reply, Failed) and reply.id == self._hello and reply.code == "forbidden":
            raise KeyRefused(f"{reply.sentence}; `felixhub keys new NAME --role viewer` makes one that may watch")

    def _send(self) -> None:
        assert self.control is not None, "connected"
        while self._pending:
            try:
                self.control.send(self._pending[0].encode(), zmq.DONTWAIT)
            except zmq.Again:
                # No hub to take it: the follower asks again when its time is over.
                self._pending.clear()
                return
            self._pending.pop(0)

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """The sockets to wait for; none before the hub was found."""
        return [socket for socket in (self.live, self.control) if socket is not None]

    def _close_sockets(self) -> None:
        for refusal in self._refusals:
            refusal.close()
        self._refusals = []
        for socket in self.sockets:
            socket.close()
        self.live = self.control = None

    def close(self) -> None:
        self._close_sockets()
        self._context.term()


class _Reader:
    """What both shells are: a follower, its link, and what has been taken from it and not yet handed out."""

    def __init__(
        self,
        run: str = "latest",
        *,
        hub: str | Path | None = None,
        history: bool = True,
        until_done: bool = False,
        wait_s: float = WAIT_S,
        messages_max: int | None = None,
    ) -> None:
        """The arguments are those of `subscribe`."""
        self.follower = Follower(run, history=history, until_done=until_done)
        self._link = _Link(self.follower, finder(hub), wait_s=wait_s, messages_max=messages_max)
        self._waiting: deque[Event | FelixError] = deque()

    @property
    def board(self) -> Board:
        """What is known so far, by run: texts, stages, state."""
        return self.follower.board

    def _turn(self) -> list[Event | FelixError] | None:
        """What is in order now, None when there is nothing yet and more may come."""
        if self._link.connect():
            ready = self._link.turn()
            if ready or self.follower.done:
                return ready
        return None

    def _next(self) -> Event:
        item = self._waiting.popleft()
        if isinstance(item, FelixError):
            raise item
        return item

    def close(self) -> None:
        self._link.close()


class Subscription(_Reader):
    """Iterate to get each selected run's events from its first, in order, each once; gaps are repaired on the way.

    Raises `Reset` when the hub's log is another one than before (iterate on: the run begins anew), `RunGone` when the
    run does not exist, `NoHub` when no hub was found for `wait_s` seconds at the start. Later absences are waited out.
    """

    def poll(self, timeout_s: float) -> list[Event | FelixError]:
        """What is in order now; waits at most `timeout_s` for something. `Reset` and `RunGone` come in their place."""
        deadline = time.monotonic() + timeout_s
        while (ready := self._turn()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            self._wait(min(left, TICK_S))
        return ready

    def _wait(self, seconds: float) -> None:
        sockets = self._link.sockets
        if not sockets:
            time.sleep(min(seconds, 0.02))
            return
        poller = zmq.Poller()
        for socket in sockets:
            poller.register(socket, zmq.POLLIN)
        poller.poll(max(1, int(seconds * 1000)))

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        while not self._waiting:
            if self.follower.done:
                raise StopIteration
            self._waiting.extend(self.poll(1.0))
        return self._next()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Subscriber(_Reader):
    """The async twin of `Subscription`: `async for event in subscriber`."""

    async def poll(self, timeout_s: float) -> list[Event | FelixError]:
        """As `Subscription.poll`. Cancelling it loses nothing: messages are taken only when they are handed out."""
        deadline = time.monotonic() + timeout_s
        while (ready := self._turn()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            await self._wait(min(left, TICK_S))
        return ready

    async def _wait(self, seconds: float) -> None:
        poller = zmq.asyncio.Poller()
        for socket in self._link.sockets:
            poller.register(socket, zmq.POLLIN)
        await poller.poll(max(1, int(seconds * 1000)))

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            if self.follower.done:
                raise StopAsyncIteration
            self._waiting.extend(await self.poll(1.0))
        return self._next()

    async def __aenter__(self) -> Subscriber:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def subscribe(
    run: str = "latest",
    *,
    hub: str | Path | None = None,
    history: bool = True,
    until_done: bool = False,
    wait_s: float = WAIT_S,
    messages_max: int | None = None,
) -> Subscription:
    """Events of a hub as an iterator.

    `run`: a run's id, "latest" (the newest run and every one that starts later) or "all". `hub`: a data directory, a
    connection file or `tcp://host:port`; None: the one that `FELIXHUB_HUB` or the settings of this folder name, else
    the one in the data directory. `history=False` starts at now: `board` is filled, past events are not repeated.
    `until_done` ends the iteration when every selected run has ended. `messages_max`: this subscriber's own buffer.
    """
    return Subscription(run, hub=hub, history=history, until_done=until_done, wait_s=wait_s, messages_max=messages_max)
