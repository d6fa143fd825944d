"""A hub small enough for a test: the real CentralPost behind a real ROUTER socket, in a thread. Its log is a list."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import zmq

from felixhub.core.central_post import CentralPost
from felixhub.core.decision import Acknowledge, Decision, Send, SendAssignment, TellEnded
from felixhub.core.errors import ProtocolViolation
from felixhub.core.limits import Limits
from felixhub.core.messages import Ack, Acked, CancelRun, Hello, Reject, Start, parse_ingest
from felixhub.core.workflow import Card, RunSettings, Stage, Workflow
from felixhub.transport.address import Connection
from felixhub.transport.sockets import ingest_router

DEADLINE_S = 20.0
_T = TypeVar("_T")


def until(condition: Callable[[], _T], *, what: str = "", seconds: float = DEADLINE_S) -> _T:
    """Poll until the condition holds; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"did not happen within {seconds} s: {what or condition}"
        time.sleep(0.005)
    return value


class SmallHub:
    def __init__(self, folder: Path, *, limits: Limits) -> None:
        self.address = f"ipc://{folder}/ingest"
        self.limits = limits
        self.log: list[Any] = []
        self.heard: list[tuple[float, Any]] = []  # what workers sent, and when
        self.loses: Callable[[Any], bool] = lambda _message: False  # which messages of workers vanish
        self.refuses: Callable[[Any], str | None] = lambda _message: None  # which are rejected, with this code
        self.mute = False
        self._boots = 0
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]]] = queue.SimpleQueue()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._running = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- from the test's thread ----

    def where(self) -> Connection:
        return Connection(ingest=self.address, live="", control=self.address)

    def start(self) -> None:
        """A life of the hub, from the log alone."""
        self._boots += 1
        self.post = CentralPost(boot=f"boot{self._boots}", tip=len(self.log), limits=self.limits)
        for event in self.log:
            self.post.apply(event)
        self.post.wake(time.monotonic())
        self._session_of: dict[bytes, str] = {}
        self._identity_of: dict[str, bytes] = {}
        self._running.set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._live, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(DEADLINE_S)

    def stop(self) -> None:
        self._running.clear()
        if self._thread:
            self._thread.join(DEADLINE_S)
            assert not self._thread.is_alive()
            self._thread = None

    def close(self) -> None:
        self.stop()
        self._context.term()

    def ask(self, call: Callable[[], _T]) -> _T:
        """The call's result, made in the hub's thread."""
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._calls.put((call, answer))
        value = answer.get(timeout=DEADLINE_S)
        if isinstance(value, BaseException):
            raise value
        return value

    def begin(
        self,
        agent: str = "clock",
        *,
        program: bool = True,
        run: str = "r1",
        batch_interval_s: float = 0.05,
        streaming: bool = True,
        endpoint: str = "local",
        retries_max: int = 0,
        tokens_max: int | None = None,
        task: str = "What time is it?",
        model: str | None = None,
    ) -> None:
        """Start a run of one stage."""
        start = Start(
            id=run,
            task=task,
            workflow=Workflow(name="w", stages=(Stage(name="one", agent=agent, retries_max=retries_max, retry_s=0.0),)),
            agents=(Card(name=agent, program=program, prompt="Be exact.", tokens_max=tokens_max),),
            settings=RunSettings(
                endpoint=endpoint, model=model, batch_interval_s=batch_interval_s, streaming=streaming
            ),
        )
        self.ask(lambda: self._settle(self.post.start(start, time.monotonic())))

    def cancel(self, run: str = "r1") -> None:
        self.ask(lambda: self._settle(self.post.command(CancelRun(id=f"cancel-{run}", run=run), time.monotonic())))

    def events(self, kind: str) -> list[Any]:
        return [event for event in list(self.log) if event.kind == kind]

    def sent(self, kind: str) -> list[Any]:
        """The workers' messages of one type, in order."""
        return [message for _, message in list(self.heard) if message.type == kind]

    def text(self, thought: str, channel: str = "text") -> str:
        return "".join(e.text for e in self.events("thought.partial") if e.thought == thought and e.channel == channel)

    def wait_for(self, kind: str, *, count: int = 1, seconds: float = DEADLINE_S) -> Any:
        """The event of that kind and number, once it is in the log."""
        return until(lambda: self.events(kind)[count - 1 :], what=kind, seconds=seconds)[0]

    # ---- in the hub's thread ----

    def _live(self, ready: threading.Event) -> None:
        self._socket = ingest_router(self._context, self.limits)
        self._socket.bind(self.address)
        ready.set()
        while self._running.is_set():
            self._socket.poll(5)
            self._drain()
            while not self._calls.empty():
                call, answer = self._calls.get()
                try:
                    answer.put(call())
                except Exception as error:  # noqa: BLE001  (the test's thread raises it)
                    answer.put(error)
            self._settle(self.post.expire(time.monotonic()))
        self._socket.close()

    def _drain(self) -> None:
        while True:
            try:
                identity, frame = self._socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            message = parse_ingest(frame)
            self.heard.append((time.monotonic(), message))
            if not self.loses(message):
                self._take(identity, message)

    def _take(self, identity: bytes, message: Any) -> None:
        now = time.monotonic()
        thought = getattr(message, "thought", None)
        try:
            if code := self.refuses(message):
                raise ProtocolViolation(code, "the test says no")
            session = message.worker.session if isinstance(message, Hello) else self._session_of.get(identity, "")
            if not isinstance(message, Hello) and session not in self.post.presence.sessions:
                raise ProtocolViolation("unknown_session", "say hello first")
            decision = self.post.decide(message, session, now)
        except ProtocolViolation as error:
            self._put(identity, Reject(code=error.code, sentence=error.sentence, thought=thought))
            return
        if isinstance(message, Hello):
            self._session_of[identity] = session
            self._identity_of[session] = identity
        self._settle(decision)
        self.post.observe(message, session, now)
        self._settle(Decision())

    def _settle(self, decision: Decision) -> None:
        while True:
            for event in decision.events:
                self.log.append(event)
                self.post.apply(event)
            for effect in decision.effects:
                self._do(effect)
            decision = self.post.advance(time.monotonic())
            if not decision.events:
                return

    def _do(self, effect: Any) -> None:
        match effect:
            case Send(session=session, message=message):
                self.tell(session, message)
            case SendAssignment(session=session, thought=thought):
                if assignment := self.post.assignment(thought):
                    self.tell(session, assignment[0])
            case Acknowledge(session=session):
                acked = Acked(thought=effect.thought, channel=effect.channel, length=effect.length)
                self.tell(session, Ack(lengths=(acked,)))
            case TellEnded(session=session, ended=ended):
                self.tell(session, Ack(ended=(ended,)))

    def tell(self, session: str, message: Any) -> None:
        if session in self._identity_of:
            self._put(self._identity_of[session], message)

    def _put(self, identity: bytes, message: Any) -> None:
        if self.mute:
            return
        with contextlib.suppress(zmq.ZMQError):  # The worker has gone.
            self._socket.send_multipart([identity, message.encode()], zmq.DONTWAIT)
