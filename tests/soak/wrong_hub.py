"""A hub that is wrong on purpose: `python wrong_hub.py hub --data DIR …`, as `felixhub`, with one thing broken.

`SOAK_MUTATION` names what is broken, or `none`. The two about commits die between the steps they exchange when
the file `die` is there. The soak must find each one out.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from felixhub.cli.main import entry
from felixhub.core import sessions, writing
from felixhub.core.central_post import CentralPost
from felixhub.core.decision import Acknowledge, Turn
from felixhub.core.events import ThoughtPartial
from felixhub.core.memory import Memory
from felixhub.core.messages import Partial, RunBeat
from felixhub.core.presence import Presence
from felixhub.core.thought import fit
from felixhub.hub import door
from felixhub.hub.intake import Intake
from felixhub.hub.loop import HubLoop

HEARD_S = 20.0  # on a busy machine; whoever should hear of it does so long before
LAST_S = 0.3  # for what was sent before it and is still on its way
FOLDER = Path(os.environ["FAULT_PLACE"])
DIE = FOLDER / "die"


def _die_between(loop: HubLoop, was_heard: Callable[[int], bool]) -> None:
    """In the next turn in which text is written, once somebody wants it and the step that came first was heard."""
    texts = [event.seq for event in loop._pending.events if isinstance(event, ThoughtPartial)]
    if DIE.exists() and texts:
        DIE.unlink()
        deadline = time.monotonic() + HEARD_S
        while not was_heard(texts[-1]) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(LAST_S)
        os.kill(os.getpid(), signal.SIGKILL)


def _written(pattern: str) -> bytes:
    return b"".join(file.read_bytes() for file in FOLDER.rglob(pattern))


def publish_before_commit() -> None:
    def finish_turn(self: HubLoop) -> None:
        self.publish()
        _die_between(self, lambda seq: b'"seq":%d,' % seq in _written("*.early.jsonl"))
        if self.commit():
            self.answer()

    HubLoop.finish_turn = finish_turn  # type: ignore[method-assign]


def acknowledge_before_commit() -> None:
    def finish_turn(self: HubLoop) -> None:
        before = len(_written("acks.*.jsonl"))
        self._outbox.flush()
        _die_between(self, lambda _: len(_written("acks.*.jsonl")) > before)
        if self.commit():
            self.publish()
            self.answer()

    HubLoop.finish_turn = finish_turn  # type: ignore[method-assign]


def no_tip_in_the_beat() -> None:
    right = CentralPost.run_beat

    def run_beat(self: CentralPost, *given: Any) -> RunBeat:
        return right(self, *given).model_copy(update={"seq": 0})

    CentralPost.run_beat = run_beat  # type: ignore[method-assign]


def router_not_mandatory() -> None:
    """What a client has no room for is dropped without a word."""
    right = door.control_router

    def control_router(*given: Any) -> zmq.Socket[bytes]:
        socket = right(*given)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 0)
        return socket

    door.control_router = control_router


def nothing_dropped() -> None:
    """A subscriber that takes nothing is waited for, and with it everybody."""
    right = door.live_xpub

    def live_xpub(*given: Any) -> zmq.Socket[bytes]:
        socket = right(*given)
        socket.setsockopt(zmq.XPUB_NODROP, 1)
        return socket

    def publish(self: door.Door, topic: bytes, body: bytes) -> None:
        self.live.send_multipart([topic, body])

    door.live_xpub = live_xpub
    door.Door.publish = publish  # type: ignore[method-assign]


def fence_off() -> None:
    """Nobody is told that another one has its place; who says hello last has the agent."""
    sessions.was_replaced = lambda *_: False
    Presence.is_fenced = lambda *_: False  # type: ignore[method-assign, assignment]

    class Unsaid:
        def encode(self) -> bytes:
            return b'{"type":"nothing"}'

    sessions._fenced = lambda _: Unsaid()  # type: ignore[assignment, return-value]


def late_text_accepted() -> None:
    """Whoever writes, and whenever: the text is taken."""

    def decide_partial(memory: Memory, message: Partial, session: str, turn: Turn) -> None:
        run = memory.run_of[message.thought]
        thought = run.thoughts[message.thought]
        length = len(thought.text)
        fits = fit(thought.text, message.offset, message.text.encode())
        if fits.tail:
            known = {"agent": thought.started.agent, "thought": thought.id, "channel": message.channel, "tokens": 1}
            turn.emit(ThoughtPartial, run.id, run.last_seq, offset=length, text=fits.tail.decode(), **known)
        turn.effect(Acknowledge(session, thought.id, message.channel, length + len(fits.tail)))

    writing.decide_partial = decide_partial
    Intake._session = lambda self, identity, _: self._outbox.session_of(identity) or "nobody"  # type: ignore[method-assign]


MUTATIONS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "prev_ignored": lambda: None,  # the subscriber's: `wrong_watcher.py`
    "publish_before_commit": publish_before_commit,
    "acknowledge_before_commit": acknowledge_before_commit,
    "no_tip_in_the_beat": no_tip_in_the_beat,
    "router_not_mandatory": router_not_mandatory,
    "nothing_dropped": nothing_dropped,
    "fence_off": fence_off,
    "late_text_accepted": late_text_accepted,
}

if __name__ == "__main__":
    MUTATIONS[os.environ.get("SOAK_MUTATION", "none")]()
    sys.argv[0] = "felixhub"
    entry()
