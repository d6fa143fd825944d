"""The hub's loop. It has no opinions:

    drain what arrived → decide, apply → advance → one log transaction → publish → acknowledge, reply → beats

Owns: the order of these, and the sockets' turn. Must not: know rules (`core`), pages (`paging`) or options (`sockets`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq

from felixhub.core.central_post import CentralPost
from felixhub.core.decision import Acknowledge, Answer, Decision, Send, SendAssignment, TellEnded
from felixhub.core.errors import ProtocolViolation
from felixhub.core.events import Event, RunCancelled, RunFailed, RunFinished, RunStarted, ThoughtPartial, parse_event
from felixhub.core.limits import Limits
from felixhub.core.messages import (
    Failed,
    GivenDocument,
    HubBeat,
    Message,
    Reject,
)
from felixhub.core.names import HUB_BEAT_TOPIC, event_topic, run_beat_topic
from felixhub.documents.passages import text_of
from felixhub.eventlog import Boot, EventLog, LogBusy, Record
from felixhub.failpoint import failpoint
from felixhub.hub.desk import Desk, Handled
from felixhub.hub.door import Door, Stranger
from felixhub.hub.doors import Doors, Ready
from felixhub.hub.intake import Intake
from felixhub.hub.outbox import WorkerOutbox
from felixhub.hub.paging import Frames, Pager
from felixhub.hub.queries import Queries
from felixhub.logs import get_log

SEARCH_MS = 20  # while documents are searched for a start, the loop looks this often whether it is done
TICK_S = 0.1  # how often leases, cancels and back-offs are looked at while a run is unfinished
SUBSCRIBE_BEAT_S = 0.05  # a new subscriber's beat at once, but no more often than this
ASSIGNED_KEPT_MAX = 20_000
PAGE_REST = 3.0  # while text flows, a page is followed by this many times its own duration without one
PAGE_REFUSED_S = 0.02  # a client that has no room for a page gets the time to read
PRUNE_S = 0.5
CONNECTIONS_SPARE = 1_000  # of sessions that have gone, before they are forgotten
COMMIT_FAILED_LOG_S = 5.0  # a full disk fails every turn; the log says so this often
SLOW_TURN_S = 1.0
GUARDED_REQUESTS_MAX = 20


@dataclass(slots=True)
class _Pending:
    """What this turn will commit, publish and answer."""

    events: list[Event] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    replies: list[tuple[bytes, Message]] = field(default_factory=list)
    commanded: bool = False


class HubLoop:
    def __init__(
        self,
        *,
        post: CentralPost,
        log: EventLog,
        boots: tuple[Boot, ...],
        doors: Doors,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self.post = post
        self.counters: Counter[str] = Counter()
        self.stopping = False
        self._log = log
        self._doors = doors
        self._limits = limits
        self._clock = clock
        self._outbox = WorkerOutbox(doors.send_worker, self.counters)
        self._pager = Pager(limits)
        self._queries = Queries(log=log, boots=boots, endpoints=doors.endpoints_for, pager=self._pager, limits=limits)
        self._desk = Desk(self._queries, log, limits, self.counters)
        self._intake = Intake(
            outbox=self._outbox,
            doors=doors,
            carry_out=self._take_decision,
            limits=limits,
            clock=clock,
            counters=self.counters,
        )
        self._pending = _Pending()
        self._notes = get_log("hub")
        now = clock()
        self._beat_at = now
        self._subscribed_at = now
        self._beat_wanted = False
        self._tick_at = now
        self._prune_at = now + PRUNE_S
        self._commit_failed_at = 0.0
        self._assigned_at: dict[tuple[bytes | None, str], float] = {}
        self._page_at = now  # while text flows, the next page no sooner

    # ---- one turn ----------------------------------------------------------------------------------------------------

    def turn(self) -> Ready:
        """One turn; returns what woke it, watched descriptors too."""
        patience_ms = self._patience_ms()
        asleep_at = self._clock()
        ready = self._doors.poll(patience_ms)
        began = self._clock()
        overslept = began - asleep_at - patience_ms / 1000
        if overslept > SLOW_TURN_S:
            # The process was stopped, and ZeroMQ's thread with it: what workers have said is not even in the sockets.
            self._excuse(overslept)
        self._doors.look(ready, began, self.counters)
        drained = True
        for door in self._doors:
            if door.ingest in ready:
                drained &= self._intake.drain(door, self.post, began) or door.guard is not None
            if door.control in ready:
                self._drain_control(door, began)
            if door.live in ready:
                self._drain_subscriptions(door, began)
        for handled in self._desk.prepared(self.post, began) if self._desk.is_preparing else ():
            self._handle(handled)
        failpoint("hub.after_receive")
        self._settle(began, leases=drained)
        is_busy = bool(self._pending.events)
        self.finish_turn()
        self._serve_page(is_busy=is_busy)
        self._beats(self._clock())
        self._prune(began)
        excess = self._clock() - began - SLOW_TURN_S
        if excess > 0:
            self._excuse(excess)
        return ready

    def _excuse(self, seconds: float) -> None:
        """The hub itself was too slow by this much: no worker pays for it."""
        self.post.presence.extend(seconds)
        self._notes.warning("slow_turn", too_slow_by_s=round(seconds, 3))

    def finish_turn(self) -> None:
        """Commit, then publish, then answer: a subscriber never sees what a crash could take back."""
        if self.commit():
            self.publish()
            self.answer()

    def _patience_ms(self) -> int:
        now = self._clock()
        if self._desk.is_preparing:
            return SEARCH_MS
        if self._pager:
            return 0 if now >= self._page_at else 1
        if self._beat_wanted:
            return int(SUBSCRIBE_BEAT_S * 1000)
        until = self._beat_at + self._limits.beat_s
        if self.post.has_unfinished_runs:
            until = min(until, self._tick_at + TICK_S)
        return max(0, min(500, int((until - now) * 1000) + 1))

    # ---- taking in ---------------------------------------------------------------------------------------------------

    def _drain_control(self, door: Door, now: float) -> None:
        # What is answered to clients that do not read waits in memory.
        for _ in range(self._limits.turn_requests_max if door.guard is None else GUARDED_REQUESTS_MAX):
            try:
                arrived = door.receive(door.control)
            except zmq.Again:
                return
            except Stranger:
                self.counters["refused.stranger"] += 1
                continue
            self._handle(self._desk.take(arrived, door.guard, self.post, now))

    def _handle(self, handled: Handled) -> None:
        if handled.reply is not None:
            self._reply(handled.identity, handled.reply)
        if handled.decision is not None:
            self._take_decision(handled.decision, handled.identity)
            # Whoever hires workers learns at once which are wanted.
            self._beat_wanted |= any(isinstance(event, RunStarted) for event in handled.decision.events)
        self._pending.commanded |= handled.is_command
        self.stopping |= handled.stops

    def _reply(self, identity: bytes, reply: Message) -> None:
        self._pending.replies.append((identity, reply))

    def _drain_subscriptions(self, door: Door, now: float) -> None:
        self._beat_wanted |= any(HUB_BEAT_TOPIC.startswith(topic) for topic in door.take_subscriptions(now))

    # ---- deciding ----------------------------------------------------------------------------------------------------

    def _take_decision(self, decision: Decision, client: bytes = b"") -> None:
        """Apply the events to memory and note what is to be committed, published and sent."""
        pending = self._pending
        if decision.fault is not None:
            self._notes.error("run_given_up", run=decision.events[-1].run, exc_info=decision.fault)
        for event in decision.events:
            self.post.apply(event)
            pending.events.append(event)
            pending.bodies.append(event.encode())
        if decision.blobs:
            pending.blobs.update(decision.blobs)
        for effect in decision.effects:
            match effect:
                case Acknowledge():
                    self._outbox.acknowledge(effect)
                case TellEnded():
                    self._outbox.ended(effect.session, effect.ended)
                case Send():
                    self._outbox.send(effect.session, effect.message)
                case SendAssignment():
                    self._send_assignment(effect)
                case Answer():
                    self._reply(client, effect.reply)

    def _send_assignment(self, effect: SendAssignment) -> None:
        """Again when a beat shows that it is missing there, but no more often than a worker beats: it may be large."""
        now, to = self._clock(), (self._outbox.identity_of(effect.session), effect.thought)
        if now - self._assigned_at.get(to, -math.inf) < self._limits.worker_beat_s:
            return
        if len(self._assigned_at) > ASSIGNED_KEPT_MAX:
            self._assigned_at.clear()
        self._assigned_at[to] = now
        found = self.post.assignment(effect.thought)
        if found is None:
            return  # It has ended in this very turn.
        assignment, run, passages = found
        contents = {info.name: self._content(info.sha256) for info in run.started.documents if info.whole}
        given = [GivenDocument(name=name, text=data.decode(errors="replace")) for name, data in contents.items()]
        of = {info.name: info.sha256 for info in run.started.documents}
        for passage in passages:
            if passage.document not in contents:
                contents[passage.document] = self._content(of[passage.document])
            name = f"{passage.document}, {passage.place}" if passage.place else passage.document
            given.append(GivenDocument(name=name, text=text_of(contents[passage.document], passage)))
        self._outbox.send(effect.session, assignment.model_copy(update={"documents": tuple(given)}))

    def _content(self, sha256: str) -> bytes:
        return self._pending.blobs.get(sha256) or self._log.blob(sha256) or b""

    def _settle(self, now: float, *, leases: bool) -> None:
        """Everything that is due of itself, until nothing more is."""
        if now - self._tick_at >= TICK_S:
            self._tick_at = now
            while (decision := self.post.expire(now, leases=leases)).events:
                self._take_decision(decision)
            for run in self.post.forget(now):
                self._queries.forget(run)
        while (decision := self.post.advance(now)).events:
            self._take_decision(decision)

    def pause_unfinished(self) -> None:
        """At a start that must not go on by itself: what an earlier life left waits for `resume`."""
        self._take_decision(self.post.pause_unfinished(self._clock(), by="restart"))
        if not self.commit():
            raise LogBusy("the runs that an earlier life left cannot be paused")  # They would go on by themselves.
        self.publish()
        self.answer()

    # ---- commit, publish, answer -------------------------------------------------------------------------------------

    def commit(self) -> bool:
        """Write the turn's events in one durable transaction. False: none of it happened, memory is rebuilt."""
        pending = self._pending
        if not pending.events:
            return True
        records = [
            Record(event.run, event.seq, event.thought if isinstance(event, ThoughtPartial) else None, body)
            for event, body in zip(pending.events, pending.bodies, strict=True)
        ]
        lives = [
            event for event in pending.events if isinstance(event, RunStarted | RunFinished | RunFailed | RunCancelled)
        ]
        ended = {event.run: event.at for event in lives if not isinstance(event, RunStarted)}
        try:
            self._commit_records(records, ended)
        except LogBusy as error:
            self._undo(str(error))
            return False
        for event in lives:
            self._note(event)
        failpoint("hub.after_commit")
        if pending.commanded:
            failpoint("hub.after_command")
        return True

    def _note(self, event: RunStarted | RunFinished | RunFailed | RunCancelled) -> None:
        """Two lines for the life of a run."""
        if isinstance(event, RunStarted):
            self._notes.info("run_started", run=event.run, workflow=event.workflow.name, by=event.by)
            return
        outcome = event.kind.removeprefix("run.")
        tokens = event.usage.completion_tokens
        self._notes.info("run_ended", run=event.run, outcome=outcome, seconds=event.seconds, tokens=tokens)

    def _commit_records(self, records: list[Record], ended: dict[str, float]) -> None:
        """One transaction; documents belong to the run that starts, so each such run has a part of its own."""
        blobs = self._pending.blobs
        if not blobs:
            self._log.commit(records, ended=ended or None)
            return
        starts = {e.run: e for e in self._pending.events if isinstance(e, RunStarted) and e.documents}
        by_run = {run: {d.sha256: blobs[d.sha256] for d in start.documents} for run, start in starts.items()}
        self._log.commit(records, ended=ended or None, blobs=by_run)

    def _undo(self, why: str) -> None:
        """A commit failed: throw memory away, build it again from the log, tell the peers to come back."""
        self.counters["busy"] += 1
        now = self._clock()
        if now - self._commit_failed_at > COMMIT_FAILED_LOG_S:
            self._commit_failed_at = now
            self._notes.error("commit_failed", why=why, failed=self.counters["busy"])
        presence = self.post.presence
        self.post = fold_log(self._log, boot=self.post.boot, limits=self._limits)
        self.post.presence = presence
        senders = self._intake.take_senders()
        clients = [(identity, getattr(reply, "id", "?")) for identity, reply in self._pending.replies]
        self._pending = _Pending()
        self._outbox.discard()
        clients += self._pager.give_up()  # A snapshot under way may hold text that the log has not.
        for identity in senders:
            self._outbox.tell(identity, Reject(code="busy", sentence=f"the log could not be written ({why})"))
        for identity, name in dict.fromkeys(clients):
            sentence = f"the hub cannot write its log ({why}): make room, then ask again"
            self._reply(identity, Failed(id=name, code="busy", sentence=sentence))
        self.answer()

    def publish(self) -> None:
        pending = self._pending
        publish = self._doors.publish
        for event, body in zip(pending.events, pending.bodies, strict=True):
            # Never blocks: a subscriber whose buffer is full loses this and repairs it from the log.
            publish(event_topic(event.run, event.agent_name, event.kind), body)
        if pending.events:
            failpoint("hub.after_publish")

    def answer(self) -> None:
        replies, had_events = self._pending.replies, bool(self._pending.events)
        self._pending = _Pending()
        self._intake.take_senders()
        self._outbox.flush()
        for identity, reply in replies:
            self._put_control(identity, Frames(reply))
        if had_events:
            failpoint("hub.after_acknowledge")

    def _put_control(self, identity: bytes, frames: Frames) -> bool | None:
        """Whether it went out; None when the client is gone, and with it all that it had asked for."""
        try:
            self._doors.send_client(identity, frames.encode())
        except zmq.Again:
            self.counters["client_full"] += 1
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._pager.drop(identity)
            return None
        return True

    def _serve_page(self, *, is_busy: bool) -> None:
        """At most one page, and while text flows only so many that the live path keeps most of the time."""
        now = self._clock()
        if now < self._page_at:
            return
        found = self._pager.next_page(now)
        if found is None:
            return
        job, page = found
        rest_s = 0.0
        match self._put_control(job.identity, page):
            case True:
                self._pager.sent(job, now)
            case False:
                self._pager.refused(job, page)
                rest_s = PAGE_REFUSED_S
        done = self._clock()
        self._page_at = done + max(rest_s, PAGE_REST * (done - now) if is_busy else 0.0)

    # ---- beats -------------------------------------------------------------------------------------------------------

    def _beats(self, now: float) -> None:
        due = now - self._beat_at >= self._limits.beat_s
        asked = self._beat_wanted and now - self._subscribed_at >= SUBSCRIBE_BEAT_S
        if not due and not asked:
            return
        self._beat_wanted = False
        self._subscribed_at = now
        if due:
            self._beat_at = now
        publish = self._doors.publish
        publish(HUB_BEAT_TOPIC, HubBeat(boot=self.post.boot, tip=self.post.tip).encode())
        for run in self.post.runs.values():
            publish(run_beat_topic(run.id), self.post.run_beat(run, now).encode())

    def _prune(self, now: float) -> None:
        if now < self._prune_at:
            return
        limits = self._limits
        self._prune_at = now + PRUNE_S
        if len(self._outbox) > len(self.post.presence.sessions) + CONNECTIONS_SPARE:
            self._outbox.keep(self.post.presence.sessions)
        try:
            # The hub's clock, which the times in the log are from: the machine's may jump by years, and take all along.
            pruned = self._log.prune(
                now=self._clock(),
                age_s_max=limits.retention_s,
                bytes_max=limits.retention_bytes_max,
                grace_s=limits.retention_grace_s,
            )
        except LogBusy as error:
            self.counters["busy"] += 1
            self._notes.warning("cannot_prune", why=str(error))
            return
        for run in pruned:
            self._queries.forget(run)
            self._notes.info("run_pruned", run=run)


def fold_log(log: EventLog, *, boot: str, limits: Limits) -> CentralPost:
    """The memory that the log's unfinished runs come to.

    A run that cannot be read (a fault of an earlier version) is left alone: it must not keep the others from going on.
    """
    post = CentralPost(boot=boot, tip=log.tip(), limits=limits)
    unreadable: set[str] = set()
    for record in log.read_unfinished():
        if record.run in unreadable:
            continue
        try:
            post.apply(parse_event(record.body))
        except ProtocolViolation as error:
            unreadable.add(record.run)
            post.memory.drop(record.run)
            get_log("hub").error("run_unreadable", run=record.run, seq=record.seq, why=error.sentence)
    return post
