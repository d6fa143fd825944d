"""One life of a worker: its socket, its agents' words, and the clock that moves them.

    poll → hear the hub → hear the agents → batches that are due → text, endings → hello or beat

The loop runs on the main thread and never runs an agent's code (`places.py` does), so that whatever an agent does,
beats go on. Owns: the order of these, and the thoughts held. Must not: know what a thought owes (`outbox.py`), when to
greet (`link.py`), how text is batched and ends (`thinking.py`), or how an agent thinks.
"""

from __future__ import annotations

import os
import secrets
import socket as sockets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import zmq

from felixhub.core.errors import FelixError, ProtocolViolation
from felixhub.core.events import WorkerInfo
from felixhub.core.limits import DEFAULT_LIMITS, Limits
from felixhub.core.messages import (
    Ack,
    Assign,
    Beat,
    Bye,
    Cancel,
    Ended,
    Fenced,
    Finalize,
    Hello,
    Message,
    Partial,
    Reject,
    Welcome,
    parse_worker_bound,
)
from felixhub.failpoint import failpoint
from felixhub.logs import get_log
from felixhub.transport.address import Connection, KeyRefused
from felixhub.transport.refusal import Refusal
from felixhub.transport.sockets import dial, worker_dealer
from felixhub.worker.items import Broken, End, Item, Stopped, Throttled, Whole
from felixhub.worker.link import Link
from felixhub.worker.places import Job, Places, Think
from felixhub.worker.thinking import STOP_S, Thinking

EXIT_OK = 0
FENCED_EXIT = 3  # another worker has taken this one's place: starting it again would only take it back
REFUSED_EXIT = 4  # the hub does not take this worker: another version of the protocol, a reserved name, too many

LOOK_S = 0.2  # how often the hub's address is looked up while there is none to talk to
BUSY_S = 0.5
CLOSE_S = 0.4
IDLE_S = 1.0
FRAMES_MAX = 1_000  # taken in one turn
ENDED_KEPT_MAX = 10_000
PARTIAL_BYTES_MIN = 64  # whatever a welcome says; a character must fit


@dataclass(slots=True)
class _Held:
    """A thought this worker has not seen the end of, and the agent that thinks it, None once it has stopped."""

    thinking: Thinking
    job: Job | None
    sent_before: bool = False


class Session:
    """`hub` says where the hub is now, or raises FelixError while there is none.

    `close_models` runs in the LLM agents' loop at the end. `parent_fd`: the worker ends when this descriptor is
    readable or closed at its other end.
    """

    def __init__(
        self,
        agents: Sequence[str],
        *,
        hub: Callable[[], Connection],
        think: Think,
        close_models: Callable[[], Awaitable[None]] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        name: str | None = None,
        parent_fd: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.worker = WorkerInfo(session=name or secrets.token_hex(8), pid=os.getpid(), host=sockets.gethostname())
        self._agents = tuple(agents)
        self._hub = hub
        self._limits = limits
        self._parent_fd = parent_fd
        self._clock = clock
        self._places = Places(think, bytes_max=limits.thought_bytes_max, close_models=close_models)
        self._link = Link(beat_s=limits.worker_beat_s)
        self._held: dict[str, _Held] = {}
        self._ended: dict[str, None] = {}  # thoughts that have ended lately, so that a late assignment starts nothing
        self._boot = ""
        self._partial_bytes_max = limits.partial_bytes_max
        self._throttled: dict[str, float] = {}
        self._touched: set[str] = set()
        self._due: dict[str, float] = {}
        self._address: str | None = None
        self._look_at = 0.0
        self._stop_asked = False
        self._stop_deadline: float | None = None
        self._exit: int | None = None
        self._log = get_log("worker").bind(session=self.worker.session)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._refusal: Refusal | None = None
        self._poller = zmq.Poller()

    # ---- one life ----------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End politely, soon. From any thread or signal handler."""
        self._stop_asked = True
        self._places.inbox.wake()

    def run(self) -> int:
        """Until told to stop, fenced or refused; returns the exit code."""
        self._log.info("worker_started", agents=self._agents)
        self._poller.register(self._places.inbox.fileno(), zmq.POLLIN)
        if self._parent_fd is not None:
            self._poller.register(self._parent_fd, zmq.POLLIN | zmq.POLLERR)
        try:
            while self._exit is None:
                self._turn()
        finally:
            for held in self._held.values():
                if held.job:
                    held.job.stop()
            self._places.close(clock=self._clock, seconds=CLOSE_S)
            if self._refusal is not None:
                self._refusal.close()
            if self._socket is not None:
                self._socket.close()
            self._context.term()
        self._log.info("worker_ended", exit=self._exit)
        return self._exit

    def _turn(self) -> None:
        now = self._clock()
        self._look_for_hub(now)
        woken = dict(self._poller.poll(self._patience_ms(now)))
        now = self._clock()
        if self._parent_fd is not None and self._parent_fd in woken and not self._stop_asked:
            self._log.info("parent_gone")
            self._stop_asked = True
        if self._socket is not None and woken.get(self._socket, 0) & zmq.POLLOUT:
            self._link.writable(now)
        self._check_refusal()
        self._hear_hub(now)
        self._hear_agents(now)
        self._wind_down(now)
        self._speak(now)

    def _patience_ms(self, now: float) -> int:
        due = [now + IDLE_S]
        if self._stop_asked and self._stop_deadline is None:
            return 0
        if self._link.state != "up":
            due.append(self._look_at)
        if (link := self._link.next_due(now)) is not None:
            due.append(link)
        if self._due:
            due.append(min(self._due.values()))
        if self._stop_deadline is not None:
            due.append(self._stop_deadline)
        wait_s = min(due) - now
        return 0 if wait_s <= 0 else int(wait_s * 1000) + 1

    # ---- the socket --------------------------------------------------------------------------------------------------

    def _look_for_hub(self, now: float) -> None:
        """While nobody answers: look whether the hub is somewhere else now, and connect there."""
        if self._link.state != "up" and now >= self._look_at:
            self._look_at = now + LOOK_S
            try:
                connection = self._hub()
            except (FelixError, OSError) as error:
                if self._link.state == "away" and self._address is not None:
                    self._log.info("hub_away", why=str(error))
                    self._disconnect()
                return
            if connection.ingest != self._address:
                self._disconnect()
                self._connect(connection)
        if self._socket is not None:
            # Writable means connected (IMMEDIATE); of interest only until it is.
            away = self._link.state == "away"
            self._poller.register(self._socket, zmq.POLLIN | zmq.POLLOUT if away else zmq.POLLIN)

    def _connect(self, connection: Connection) -> None:
        dealer = worker_dealer(self._context, self._limits, connection.curve)
        refusal = Refusal(dealer, connection)
        try:
            dial(dealer, connection.ingest)
        except zmq.ZMQError as error:
            refusal.close()
            dealer.close()
            self._log.error("bad_address", address=connection.ingest, why=str(error))
            return
        self._socket, self._refusal, self._address = dealer, refusal, connection.ingest
        for monitor in refusal.sockets:
            self._poller.register(monitor, zmq.POLLIN)

    def _check_refusal(self) -> None:
        try:
            if self._refusal is not None:
                self._refusal.check()
        except KeyRefused as error:
            self._log.error("refused", code="key", why=str(error))
            self._exit = REFUSED_EXIT

    def _disconnect(self) -> None:
        if self._refusal is not None:
            for monitor in self._refusal.sockets:
                self._poller.unregister(monitor)
            self._refusal.close()
            self._refusal = None
        if self._socket is not None:
            self._poller.unregister(self._socket)
            self._socket.close(linger=0)
        self._socket = self._address = None
        self._link.unsent(self._clock())

    def _send(self, message: Message, now: float) -> bool:
        """False when there is no connection: the thoughts go on from what the next welcome says."""
        if self._socket is None:
            return False
        try:
            self._socket.send(message.encode(), zmq.DONTWAIT)
        except zmq.Again:
            self._link.unsent(now)
            return False
        return True

    # ---- hearing the hub ---------------------------------------------------------------------------------------------

    def _hear_hub(self, now: float) -> None:
        for _ in range(FRAMES_MAX):
            if self._socket is None or self._exit is not None:
                return
            try:
                frame = self._socket.recv_multipart(zmq.DONTWAIT)[-1]
            except zmq.Again:
                return
            self._link.heard(now)
            try:
                message = parse_worker_bound(frame)
            except ProtocolViolation as error:
                self._log.warning("not_understood", why=error.sentence)
                continue
            self._take(message, now)

    def _take(self, message: Message, now: float) -> None:
        match message:
            case Welcome():
                self._take_welcome(message, now)
            case Assign():
                self._take_assign(message, now)
            case Cancel():
                self._take_cancel(message, now)
            case Ack():
                for acked in message.lengths:
                    if held := self._held.get(acked.thought):
                        held.thinking.outbox.acknowledge(acked.channel, acked.length, now)
                        self._touched.add(acked.thought)
                for ended in message.ended:
                    self._forget(ended, now)
            case Reject():
                self._take_reject(message, now)
            case Fenced():
                self._log.error("fenced", why=message.sentence)
                self._exit = FENCED_EXIT

    def _take_welcome(self, welcome: Welcome, now: float) -> None:
        if welcome.boot != self._boot:
            self._log.info("welcomed", boot=welcome.boot, holding=len(self._held))
            self._boot = welcome.boot
            self._ended.clear()  # What ended in a log that was lost has not ended.
        self._link.welcomed(max(0.05, welcome.beat_s), now)
        self._partial_bytes_max = min(self._limits.partial_bytes_max, max(PARTIAL_BYTES_MIN, welcome.partial_bytes_max))
        for ended in welcome.ended:
            self._forget(ended, now)
        there = {one.thought: one for one in welcome.thoughts}
        for name, held in self._held.items():
            one = there.get(name)
            held.thinking.outbox.partial_bytes_max = self._partial_bytes_max
            held.thinking.outbox.resume(text=one.text if one else 0, reasoning=one.reasoning if one else 0)
            self._touched.add(name)

    def _take_assign(self, assign: Assign, now: float) -> None:
        name = assign.thought
        if name in self._held or name in self._ended or self._stop_asked:
            return  # A repeat, or too late.
        thinking = Thinking(assign, now=now, limits=self._limits)
        thinking.outbox.partial_bytes_max = self._partial_bytes_max
        self._touched.add(name)
        if assign.agent in self._agents:
            self._held[name] = _Held(thinking, self._places.start(assign))
            return
        sentence = f"this worker has no agent '{assign.agent}'"
        self._held[name] = _Held(thinking, None)
        thinking.end(Broken("agent_error", sentence), now)

    def _take_cancel(self, cancel: Cancel, now: float) -> None:
        held = self._held.get(cancel.thought)
        if held and held.thinking.cancel(cancel.reason, now):
            self._touched.add(cancel.thought)
            if held.job:
                held.job.stop()

    def _take_reject(self, reject: Reject, now: float) -> None:
        held = self._held.get(reject.thought or "")
        outbox = held.thinking.outbox if held else None
        match reject.code:
            case "gap" if outbox and reject.channel is not None and reject.length is not None:
                outbox.reject_gap(reject.channel, reject.length, now)
                self._touched.add(outbox.thought)
                return
            case "gap":
                return  # Of a thought that has ended here.
            case "unknown_session":
                self._link.unknown(now)
                return
            case "busy":
                self._link.postpone(BUSY_S, now)
                for name, one in self._held.items():
                    if reject.thought in (None, name):
                        one.thinking.outbox.defer(now + BUSY_S)
                        self._touched.add(name)
                return
            case "closed" | "unknown_thought" | "not_yours" if held and reject.thought:
                self._forget(Ended(thought=reject.thought, outcome="unknown"), now)
            case "wrong_length" | "wrong_hash" if held and outbox and isinstance(outbox.ending, Finalize):
                # The log and we disagree about what was said: it must not become final.
                outbox.abandon("conflict", reject.sentence)
                self._touched.add(outbox.thought)
            case "internal":
                pass  # The hub's own fault; a hello is said again, text is sent again.
            case _ if reject.thought is None and self._link.state == "greeting":
                # Of the hello, and the next one would be the same.
                self._log.error("refused", code=reject.code, why=reject.sentence)
                self._exit = REFUSED_EXIT
                return
        self._log.warning("rejected", code=reject.code, why=reject.sentence, thought=reject.thought)

    def _forget(self, ended: Ended, now: float) -> None:
        """The hub has the end of this thought in its log."""
        self._ended[ended.thought] = None
        while len(self._ended) > ENDED_KEPT_MAX:
            del self._ended[next(iter(self._ended))]
        held = self._held.pop(ended.thought, None)
        self._due.pop(ended.thought, None)
        self._touched.discard(ended.thought)
        if held is None:
            return
        if held.job:
            held.job.stop()
        thinking = held.thinking
        self._log.info(
            "thought_ended",
            agent=thinking.assign.agent,
            thought=ended.thought,
            outcome=ended.outcome,
            reason=ended.reason,
            batches=thinking.batches,
            bytes=thinking.outbox.size,
            seconds=thinking.seconds(now),
        )

    # ---- hearing the agents ------------------------------------------------------------------------------------------

    def _hear_agents(self, now: float) -> None:
        for job, item in self._places.inbox.drain():
            self._hear_agent(job, item, now)

    def _hear_agent(self, job: Job, item: Item | End, now: float) -> None:
        if isinstance(item, Throttled):
            self._throttled[item.endpoint[:200]] = min(max(0.0, item.retry_after_s), 3600.0)
            return
        if isinstance(item, Whole | Broken | Stopped):
            job.ended = True
        held = self._held.get(job.thought)
        if held is None or held.job is not job:
            return  # It has ended without it.
        self._touched.add(job.thought)
        if isinstance(item, Whole | Broken | Stopped):
            held.job = None
            if not (isinstance(item, Stopped) and self._stop_asked and held.thinking.stop_reason is None):
                held.thinking.end(item, now)
        else:
            held.thinking.say(item, now)

    # ---- speaking ----------------------------------------------------------------------------------------------------

    def _speak(self, now: float) -> None:
        if self._throttled and self._link.state == "up":
            self._beat(now)  # Before the end of the thought, or the hub would hand out the next one at once.
        for name in self._touched | {name for name, due in self._due.items() if due <= now}:
            self._advance(self._held[name], now)
        self._touched.clear()
        what = self._link.take_due(now)
        if what == "hello":
            self._send(Hello(worker=self.worker, agents=self._agents, holding=tuple(self._held)), now)
        elif what == "beat":
            self._beat(now)

    def _beat(self, now: float) -> None:
        if self._send(Beat(holding=tuple(self._held), throttled=self._throttled), now):
            self._throttled = {}

    def _advance(self, held: _Held, now: float) -> None:
        thinking = held.thinking
        if thinking.advance(now) and held.job:
            self._places.forsake(held.job)
        if thinking.is_ending and held.job:
            held.job.stop()
            held.job = None
        outbox = thinking.outbox
        if self._link.state == "up":
            if outbox.is_overdue(now):
                self._link.unacknowledged(now)
            for message in outbox.take_due(now) if self._link.state == "up" else ():
                self._pass_failpoint(held, message)
                if not self._send(message, now):
                    break
        due = thinking.next_due(now, sending=self._link.state == "up")
        if due is None:
            self._due.pop(outbox.thought, None)
        else:
            self._due[outbox.thought] = due

    def _pass_failpoint(self, held: _Held, message: Message) -> None:
        match message:
            case Partial():
                failpoint("worker.mid_stream" if held.sent_before else "worker.before_first_text")
                held.sent_before = True
            case Finalize():
                failpoint("worker.before_finalize")

    # ---- ending ------------------------------------------------------------------------------------------------------

    def _wind_down(self, now: float) -> None:
        """Told to stop: stop the agents, send what they have said, say bye. Half a second at most."""
        if not self._stop_asked or self._exit is not None:
            return
        if self._stop_deadline is None:
            self._stop_deadline = now + STOP_S
            for held in self._held.values():
                if held.job:
                    held.job.stop()
        if any(held.job for held in self._held.values()) and now < self._stop_deadline:
            return
        for held in self._held.values():
            held.thinking.flush(now)
            self._advance(held, now)
        if self._link.state == "up":
            self._send(Bye(), now)
        self._exit = EXIT_OK
