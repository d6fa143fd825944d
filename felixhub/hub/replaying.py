"""A recording served as a hub: the same sockets, log, beats and answers, with a player where workers would be.

    ──bound──► waiting for a viewer ──subscribed──► playing ──last event──► over ──told to stop──► gone

It can be watched, not steered. Its log is in a folder for the time being, so it never touches anybody's own.
Owns: what differs from a hub with workers. Must not: know what is due (`core/player.py`), or what a turn does
(`loop.py`).
"""

from __future__ import annotations

import contextlib
import math
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import zmq

from felixhub.core.central_post import CentralPost
from felixhub.core.decision import Decision
from felixhub.core.errors import ConfigError, ProtocolViolation
from felixhub.core.events import Event
from felixhub.core.limits import Limits
from felixhub.core.messages import (
    ClientHello,
    IngestMessage,
    Replay,
    RunBeat,
    Runs,
    Snapshot,
    Text,
    parse_request,
)
from felixhub.core.names import event_topic
from felixhub.core.player import Player
from felixhub.core.run import Run
from felixhub.eventlog import Boot, EventLog, LogBroken, LogBusy, Record
from felixhub.eventlog.directory import DataDirectory
from felixhub.eventlog.sqlite import SqliteLog
from felixhub.hub.desk import Desk, Handled
from felixhub.hub.door import Arrived, Door
from felixhub.hub.doors import Doors
from felixhub.hub.guard import Guard
from felixhub.hub.loop import HubLoop
from felixhub.hub.process import hub_clock, open_doors, stop_signals
from felixhub.hub.recording_file import Recording, changed, recorded_events
from felixhub.logs import get_log
from felixhub.transport.address import Connection, local_endpoints, remove_connection, write_connection

READS = ClientHello | Runs | Snapshot | Replay | Text
EVENTS_MAX = 200  # in one turn; of more, requests and beats get theirs in between
EVENT_BYTES_MAX = 1024 * 1024
LINGER_S = 1.0  # after the last event: two beats say that it is over


def run_recording(
    recording: Recording,
    *,
    data_dir: Path,
    log_dir: Path,
    speed: float,
    limits: Limits,
    stay: bool,
    parent_fd: int | None = None,
    on_ready: Callable[[Connection], None] | None = None,
) -> bool:
    """Serve a recording on this data directory until it is over (`stay`: until it is told to stop).

    Returns whether it ended by itself. `log_dir`: a folder of its own for the log. `speed`: see `Player`. `parent_fd`:
    it ends when this descriptor is readable or closed at the other end. Raises ConfigError or LogError.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(DataDirectory.hold(data_dir).close)
        log = SqliteLog.open(log_dir)
        stack.callback(log.close)
        boot = secrets.token_hex(8)
        boots = log.start_boot(boot)
        clock = hub_clock()
        where = local_endpoints(data_dir).model_copy(update={"boot": boot, "pid": os.getpid()})
        stop = stack.enter_context(stop_signals())
        context: zmq.Context[zmq.Socket[bytes]] = stack.enter_context(zmq.Context())
        doors = open_doors(context, where, None, None, limits, clock(), stack)
        events = recorded_events(recording)
        stack.callback(events.close)
        player = Player(events, speed=speed)
        loop = ReplayLoop(recording, player, stay=stay, log=log, boots=boots, doors=doors, limits=limits, clock=clock)
        doors.watch(stop.descriptor)
        if parent_fd is not None:
            doors.watch(parent_fd)
        try:
            loop.load()
            write_connection(data_dir, where)
            stack.callback(remove_connection, data_dir)
            get_log("replay").info("replay_started", run=recording.run, events=recording.events, control=where.control)
            if on_ready:
                on_ready(where)
            while not (loop.stopping or stop.asked):
                if parent_fd in loop.turn():
                    loop.stopping = True
        except (LogBusy, LogBroken) as error:
            raise ConfigError(f"the recording cannot be served: {error}") from None
        return loop.is_done


class RecordedPost(CentralPost):
    """The memory of a recorded run. It decides nothing, and its time is the recording's."""

    def __init__(self, player: Player, *, boot: str, limits: Limits) -> None:
        super().__init__(boot=boot, limits=limits)
        self._player = player

    def decide(self, message: IngestMessage, session: str, now: float) -> Decision:  # noqa: ARG002
        raise read_only()

    def run_beat(self, run: Run, now: float) -> RunBeat:
        """What each agent was doing. Nobody is wanted: whoever hires workers must not hire any for this."""
        beat = super().run_beat(run, self._player.recorded_now(now))
        return beat.model_copy(update={"wanted": ()})


class ReadOnlyDesk(Desk):
    """Answers what changes nothing, and refuses all else, what is new tomorrow too."""

    def take(self, arrived: Arrived, guard: Guard | None, post: CentralPost, now: float) -> Handled:
        try:
            request = parse_request(arrived.frames[-1])
        except ProtocolViolation:
            return super().take(arrived, guard, post, now)
        if isinstance(request, READS):
            return super().take(arrived, guard, post, now)
        return self._refused(arrived.identity, request.id, read_only())


def read_only() -> ProtocolViolation:
    return ProtocolViolation("read_only", "this is a recording: it can be watched, not steered")


class ReplayLoop(HubLoop):
    """A hub's loop whose events come from a player."""

    def __init__(
        self,
        recording: Recording,
        player: Player,
        *,
        stay: bool,
        log: EventLog,
        boots: tuple[Boot, ...],
        doors: Doors,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        post = RecordedPost(player, boot=boots[-1].boot, limits=limits)
        super().__init__(post=post, log=log, boots=boots, doors=doors, limits=limits, clock=clock)
        self._desk = ReadOnlyDesk(self._queries, log, limits, self.counters)
        self.is_done = False
        self._recording = recording
        self._player = player
        self._stay = stay
        self._first: Event | None = None
        self._over_at: float | None = None

    def load(self) -> None:
        """The run's start is there before anybody asks for it."""
        self._settle(self._clock(), leases=False)
        (self._first,) = self._pending.events
        self.finish_turn()

    def _drain_subscriptions(self, door: Door, now: float) -> None:
        super()._drain_subscriptions(door, now)
        if self._player.is_begun:
            return
        assert self._first is not None, "loaded"
        # When the start was published, nobody was there to hear it.
        self._doors.publish(event_topic(self._first.run, None, self._first.kind), self._first.raw)
        self._player.begin(now)

    def _patience_ms(self) -> int:
        due = self._player.next_due()
        patience_ms = super()._patience_ms()
        return patience_ms if due is None else max(0, min(patience_ms, math.ceil((due - self._clock()) * 1000)))

    def _settle(self, now: float, *, leases: bool) -> None:  # noqa: ARG002
        """What is due comes from the recording; nothing follows from it here."""
        self._tick_at = now
        for event in self._player.take_due(now, events_max=EVENTS_MAX, bytes_max=EVENT_BYTES_MAX):
            try:
                self.post.apply(event)
            except Exception:  # noqa: BLE001  (it was checked from its first event to its last)
                raise changed(self._recording) from None
            self._pending.events.append(event)
            self._pending.bodies.append(event.raw)
        if not self._player.is_over or not self._player.is_begun:
            return
        if self._over_at is None:
            self._over_at = now
            self._beat_wanted = True  # The views need not wait to hear how it ended.
        self.is_done = not self._stay and now - self._over_at >= LINGER_S
        self.stopping |= self.is_done

    def _commit_records(self, records: list[Record], ended: dict[str, float]) -> None:
        """A recording does not get old while it is served: it is neither pruned nor long past to a late viewer."""
        super()._commit_records(records, dict.fromkeys(ended, math.inf))

    def _undo(self, why: str) -> None:
        raise LogBusy(why)
