"""A subscriber's side of the protocol without its sockets: frames and time in, events, requests and notices out.

    ──hub heard──► runs asked ──► replay or snapshot per run ──► live, with gaps repaired as they show

Owns: when to ask the hub for what, and when a run is lost, gone or started over. Must not: open a socket or read a
clock. The sync and the async `Subscriber` are thin shells around this one class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from felixhub.core.board import Board, Diverged
from felixhub.core.errors import FelixError
from felixhub.core.events import Event, RunStarted, parse_event
from felixhub.core.messages import (
    RUNS_LISTED_MAX,
    Failed,
    HubBeat,
    Message,
    Ok,
    Page,
    Replay,
    RunBeat,
    Runs,
    Snapshot,
    SnapshotText,
    parse_beat,
    parse_client_bound,
)
from felixhub.core.names import HUB_BEAT_TOPIC

REPLY_S_MAX = 3.0  # a request without an answer for this long is sent again, and then given twice as long
REPLY_S_MOST = 30.0  # on the slowest link; what it answers too late would come too late again
UNSEEN_S_MAX = 2.0  # an unfinished run that is in no beat for this long is asked for
AWAY_S = 3.0  # without a beat for this long the hub is away
RECENT_S = 60.0  # a run that ended this long ago at most still satisfies "until done", and is still held

Selection = Literal["latest", "all"] | str


class Reset(FelixError):
    """The hub's log is another one than before: what was read of `run` is void and begins anew."""

    def __init__(self, run: str, why: str) -> None:
        super().__init__(f"run {run} starts over: {why}")
        self.run = run


class RunGone(FelixError):
    """The run that was asked for does not exist on this hub, or has been pruned."""


@dataclass(slots=True)
class _Asked:
    """A request under way for one run. `marks` and `texts` collect a snapshot's pages.

    `held`: what was here when it was asked. `sure`: it asks from a position whose life of the hub is beyond doubt.
    `patience_s`: how long the answer, or its next page, may take.
    """

    request: Message
    id: str
    at: float
    kind: Literal["runs", "replay", "snapshot"]
    run: str = ""
    held: int = 0
    sure: bool = False
    patience_s: float = REPLY_S_MAX
    marks: list[Event] = field(default_factory=list)
    texts: list[SnapshotText] = field(default_factory=list)


class Follower:
    """Follows one run, the latest (and every run that starts later), or all.

    `history=False` begins at a snapshot: `board` is filled and only what happens later is yielded. With `until_done`
    the follower is `done` once every selected run has ended; one that ended in the last minute counts.
    """

    def __init__(self, run: Selection = "latest", *, history: bool = True, until_done: bool = False) -> None:
        self.board = Board()
        self.beats: dict[str, RunBeat] = {}
        self.boot: str | None = None
        self.gaps_repaired = 0
        self.selection = run
        self._history = history
        self._until_done = until_done
        self._ready: list[Event | FelixError] = []
        self._requests: list[Message] = []
        self._notices: list[str] = []
        self._asked: dict[str, _Asked] = {}  # by run, "" for `runs`
        # Events do not say which life of the hub wrote them, and those of a new life may come before its first beat. By
        # run: the last position (boot, seq) that a beat or a page vouched for, and what has come live since, by seq.
        self._positions: dict[str, tuple[str, int]] = {}
        self._unsure: dict[str, dict[int, bytes]] = {}
        self._last_id = 0
        self._known_at_start: set[str] | None = None
        self._ignored: set[str] = set()
        self._beat_at: float | None = None
        self._run_beat_at: dict[str, float] = {}
        self._complete_at: dict[str, float] = {}
        self._away = False

    # ---- what the shell takes away -----------------------------------------------------------------------------------

    def take_events(self) -> list[Event | FelixError]:
        """Events in order; a `Reset` or `RunGone` among them is for the shell to raise at its place."""
        ready, self._ready = self._ready, []
        return ready

    def take_requests(self) -> list[Message]:
        requests, self._requests = self._requests, []
        return requests

    def take_notices(self) -> list[str]:
        """Sentences for a person: the hub is away, or back."""
        notices, self._notices = self._notices, []
        return notices

    @property
    def done(self) -> bool:
        """With `until_done`: every selected run has ended and everything of it has been taken."""
        if not self._until_done or self._ready or self._known_at_start is None:
            return False
        followed = self.board.followed()
        return bool(followed) and all(self.board.is_complete(run) for run in followed)

    @property
    def caught_up(self) -> bool:
        """Whether everything known to exist is here: history has been read and no gap is open."""
        if self._known_at_start is None or self._asked:
            return False
        return not any(self.board.is_behind(run) for run in self.board.followed())

    @property
    def is_away(self) -> bool:
        """Whether no hub has been heard yet, or not for a while."""
        return self._beat_at is None or self._away

    def boot_of(self, run: str) -> str:
        """The life of the hub that last vouched for what is here of a run; "" for none yet.

        `(boot_of(run), board.last(run))` is a position that a hub either knows or answers with `reset`, never a wrong
        one.
        """
        position = self._positions.get(run)
        return position[0] if position is not None else self.boot or ""

    # ---- what comes in -----------------------------------------------------------------------------------------------

    def on_live(self, topic: bytes, body: bytes, now: float) -> None:
        """A message of the live socket. Raises ProtocolViolation when it is not one of ours."""
        if topic == HUB_BEAT_TOPIC or topic.endswith(b"/hub/beat/"):
            self._on_beat(parse_beat(body), now)
            return
        event = parse_event(body)
        if not self.board.follows(event.run):
            if not self._wants_new(event.run):
                return
            self.board.follow(event.run)
        self._take(event, now)

    def on_reply(self, frames: list[bytes], now: float) -> None:
        """A message of the control socket: a reply, or a page with its lines in the second frame."""
        reply = parse_client_bound(frames[0])
        asked = next((one for one in self._asked.values() if one.id == reply.id), None)
        if asked is None:
            return  # An answer to a request that was given up and sent again.
        match reply:
            case Page():
                asked.at = now
                self._on_page(asked, reply, frames[1] if len(frames) > 1 else b"", now)
            case Ok():
                del self._asked[asked.run]
                if asked.kind == "runs":
                    self._on_runs(reply.data.get("runs", []), now)
            case Failed():
                del self._asked[asked.run]
                self._on_failed(asked, reply, now)

    def on_tick(self, now: float) -> None:
        """Time has passed: a few times a second."""
        if self._beat_at is None:
            return
        if now - self._beat_at > AWAY_S:
            if not self._away:
                self._away = True
                self._notices.append("the hub is away; waiting for it")
            return
        for asked in list(self._asked.values()):
            if now - asked.at > asked.patience_s:
                self._ask_again(asked, now, patience_s=min(2 * asked.patience_s, REPLY_S_MOST))
        for run in self.board.followed():
            if self.board.is_complete(run):
                self._let_go(run, now)
                continue
            if run in self._asked:
                continue
            if now - self._run_beat_at.setdefault(run, now) > UNSEEN_S_MAX:
                self._run_beat_at[run] = now
                self._ask("replay", run, now)

    def _let_go(self, run: str, now: float) -> None:
        """Whoever follows run after run does not keep them all: one that ended a while ago is forgotten."""
        if self.selection not in ("latest", "all") or self._until_done:
            return
        if now - self._complete_at.setdefault(run, now) > RECENT_S:
            self._ignored.add(run)
            self.board.drop(run)
            for table in (self.beats, self._run_beat_at, self._positions, self._unsure, self._complete_at):
                table.pop(run, None)

    # ---- beats -------------------------------------------------------------------------------------------------------

    def _on_beat(self, beat: HubBeat | RunBeat, now: float) -> None:
        if isinstance(beat, RunBeat):
            self.beats[beat.run] = beat
            if not self.board.follows(beat.run):
                if not self._wants_new(beat.run):
                    return
                self.board.follow(beat.run)
            self._run_beat_at[beat.run] = now
            self.board.saw_tip(beat.run, beat.seq)
            # Events go before the beat that counts them on the same connection: to be behind is to have lost some.
            self._repair(beat.run, now)
            return
        self._beat_at = now
        if self._away:
            self._away = False
            self._notices.append("the hub is back")
        if self.boot is None:
            self.boot = beat.boot
            self._ask("runs", "", now)
        elif self.boot == beat.boot:
            self._vouch(beat.boot)
        else:
            # Another life: whatever it says of a position that it does not know is `reset`.
            for run in self.board.followed():
                self._positions.setdefault(run, (self.boot, 0))
                if self.board.is_complete(run):
                    continue
                if run in self._asked:
                    self._ask_again(self._asked[run], now)
                else:
                    self._ask("replay", run, now)
            self.boot = beat.boot
            self._asked.pop("", None)
            self._ask("runs", "", now)

    def _vouch(self, boot: str) -> None:
        """A beat of this life has come, so what came before it was not written later."""
        for run in self.board.followed():
            position = self._positions.get(run)
            if position is None or position[0] == boot:
                self._positions[run] = (boot, self.board.last(run))
                self._unsure.pop(run, None)

    def _wants_new(self, run: str) -> bool:
        """Whether a run that is heard of for the first time belongs to the selection."""
        if run in self._ignored:
            return False
        if self.selection == "all":
            return True
        if self.selection == "latest":
            known = self._known_at_start
            return known is not None and run not in known
        return run == self.selection

    def _on_runs(self, rows: list[dict[str, object]], now: float) -> None:
        names = [str(row["run"]) for row in rows]
        first_time = self._known_at_start is None
        self._known_at_start = set(names) if self._known_at_start is None else self._known_at_start
        wanted: list[str] = []
        if self.selection == "all":
            wanted = [name for name in names if name not in self._ignored]
        elif self.selection == "latest":
            wanted = [name for name in names if self._wants_new(name)]
            if first_time and rows and not (self._until_done and _ended_long_ago(rows[-1])):
                wanted.append(names[-1])
        elif self.selection in names or len(names) >= RUNS_LISTED_MAX:
            wanted = [str(self.selection)]  # An old one is not listed: whether there is one, its replay says.
        elif first_time:
            self._known_at_start = None  # It may start yet: ask again when it is not there.
            self._ready.append(RunGone(f"there is no run '{self.selection}' on this hub: `felixhub ps` lists them"))
        for run in wanted:
            if not self.board.follows(run) or (first_time and self.board.last(run) == 0):
                self.board.follow(run)
                if run not in self._asked:
                    self._ask("replay" if self._history else "snapshot", run, now)

    # ---- events ------------------------------------------------------------------------------------------------------

    def _take(self, event: Event, now: float) -> None:
        try:
            ready = self.board.take(event)
        except Diverged as error:
            self._start_over(event.run, str(error), now)
            return
        if ready:
            self._ready.extend(ready)
            self._unsure.setdefault(event.run, {}).update((one.seq, one.raw) for one in ready)
        if isinstance(event, RunStarted):
            self._run_beat_at[event.run] = now
        self._repair(event.run, now)

    def _repair(self, run: str, now: float) -> None:
        if run not in self._asked and self.board.follows(run) and self.board.is_behind(run):
            self._ask("replay" if self._history or self.board.last(run) else "snapshot", run, now)

    def _on_page(self, asked: _Asked, page: Page, lines: bytes, now: float) -> None:
        run = asked.run
        if asked.kind == "snapshot":
            self._on_snapshot_page(asked, page, lines, now)
            return
        before = self.board.last(run)
        try:
            self._take_lines(asked, page, lines)
        except Diverged as error:
            self._start_over(run, str(error), now)
            return
        self._positions[run] = (page.boot, page.through)
        if page.last:
            if before and self.board.last(run) > before:
                self.gaps_repaired += 1
            self._asked.pop(run, None)
            self.board.skip_early(run)
            self._run_beat_at[run] = now
            self._repair(run, now)

    def _take_lines(self, asked: _Asked, page: Page, lines: bytes) -> None:
        """A replay's page. Raises Diverged when what came live is not what the log says."""
        unsure = self._unsure.setdefault(asked.run, {})
        after = asked.request.after if isinstance(asked.request, Replay) else 0
        for line in lines.split(b"\n"):
            if not line:
                continue
            event = parse_event(line)
            if unsure.pop(event.seq, line) != line:
                raise Diverged(f"event {event.seq} is another one in the hub's log")
            ready = self.board.take(event)
            self._ready.extend(ready)
            unsure.update((one.seq, one.raw) for one in ready if one is not event)
        if any(after < seq <= page.through for seq in unsure) or (page.last and page.through < asked.held):
            raise Diverged("the hub's log lacks what it had published")
        self._unsure[asked.run] = {seq: raw for seq, raw in unsure.items() if seq > page.through}

    def _on_snapshot_page(self, asked: _Asked, page: Page, lines: bytes, now: float) -> None:
        for line in lines.split(b"\n"):
            if not line:
                continue
            if line.startswith(b'{"kind":"snapshot.text"'):
                asked.texts.append(SnapshotText.model_validate_json(line))
            else:
                asked.marks.append(parse_event(line))
        if not page.last:
            return
        self._asked.pop(asked.run, None)
        try:
            ready = self.board.load(asked.run, marks=asked.marks, texts=asked.texts, position=page.through)
        except Diverged as error:
            self._start_over(asked.run, str(error), now)
            return
        self._ready.extend(ready)
        self._positions[asked.run] = (page.boot, page.through)
        self._unsure[asked.run] = {one.seq: one.raw for one in ready}
        self._run_beat_at[asked.run] = now
        self._repair(asked.run, now)

    def _on_failed(self, asked: _Asked, reply: Failed, now: float) -> None:
        match reply.code:
            case "reset" if not asked.sure:
                # Perhaps only the boot was wrong: some of it may have been written by a life that we know no beat of.
                self._ask("replay", asked.run, now, sure=True)
            case "reset":
                self._start_over(asked.run, reply.sentence, now)
            case "gone" | "unknown_run":
                self.board.drop(asked.run)
                if reply.code == "gone" or asked.run != self.selection:
                    self._ignored.add(asked.run)  # One that was named may start yet.
                self._ready.append(RunGone(reply.sentence))
            case code:
                if code != "busy":
                    self._notices.append(f"the hub could not answer ({reply.sentence}); asking again")
                asked.at = now  # Asked again when its time is over.
                self._asked[asked.run] = asked

    def _start_over(self, run: str, why: str, now: float) -> None:
        self.board.drop(run)
        self.board.follow(run)
        self._ready = [one for one in self._ready if not (isinstance(one, Event) and one.run == run)]
        self._ready.append(Reset(run, why))
        self._asked.pop(run, None)
        self._positions.pop(run, None)
        self._unsure.pop(run, None)
        self._ask("replay" if self._history else "snapshot", run, now)

    # ---- requests ----------------------------------------------------------------------------------------------------

    def _ask(self, kind: Literal["runs", "replay", "snapshot"], run: str, now: float, *, sure: bool = False) -> None:
        self._last_id += 1
        name = f"r{self._last_id}"
        request: Message
        match kind:
            case "runs":
                request = Runs(id=name)
            case "snapshot":
                request = Snapshot(id=name, run=run)
            case "replay":
                boot, after = self._positions.get(run, ("", 0)) if sure else (self.boot, self.board.last(run))
                request = Replay(id=name, run=run, after=after, boot=boot if after else None)
        self._asked[run] = _Asked(request, name, now, kind, run, held=self.board.last(run), sure=sure)
        self._requests.append(request)

    def _ask_again(self, asked: _Asked, now: float, *, patience_s: float = REPLY_S_MAX) -> None:
        """The same once more: a position that was taken in an earlier life of the hub keeps that life's name."""
        self._last_id += 1
        name = f"r{self._last_id}"
        request = asked.request.model_copy(update={"id": name})
        held = self.board.last(asked.run)
        self._asked[asked.run] = _Asked(
            request, name, now, asked.kind, asked.run, held=held, sure=asked.sure, patience_s=patience_s
        )
        self._requests.append(request)


def _ended_long_ago(row: dict[str, object]) -> bool:
    ago = row.get("ended_s_ago")
    return isinstance(ago, int | float) and ago > RECENT_S
