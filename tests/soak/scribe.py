"""The soak's own worker: `python scribe.py AGENT HUB`. It writes down every acknowledgement first of all.

It speaks the protocol by itself, through the product's socket only, so it is a second opinion on how a worker writes.
With `SCRIBE_DEAF` it hears neither that it is fenced nor that a thought is over, and writes on: a hub must refuse it.
`records/acks.AGENT.SESSION.jsonl` has a line for each thing that the hub told it; `truth/THOUGHT.txt` what it said.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import zmq

from felixhub.core.events import WorkerInfo
from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.core.messages import (
    Abandon,
    Ack,
    Assign,
    Beat,
    Cancel,
    Fenced,
    Finalize,
    Hello,
    Message,
    Partial,
    Reject,
    Welcome,
    parse_worker_bound,
)
from felixhub.transport.address import find_hub
from felixhub.transport.sockets import worker_dealer

FOLDER = Path(os.environ["FAULT_PLACE"])
DEAF = bool(os.environ.get("SCRIBE_DEAF"))
WORDS = ["hub ", "Öl ", "naïve ", "€ 5, ", "漢字 ", "🎉 ", "\n", "[/x] ", "ظل "]
RESEND_S = 1.0
BUSY_S = 0.5
POLL_MS = 20


class Writing:
    """One thought: what is said by now, what was sent, and what is durable."""

    def __init__(self, assign: Assign, now: float) -> None:
        plan = json.loads(assign.task)
        self.name = assign.thought
        self.text = bytearray()
        self.sent = self.acked = 0
        self.cancelled = False
        self.heard_at = now
        self.ending_at = 0.0
        self._pieces: int = plan["pieces"]
        self._pace_s: float = plan["pace_s"]
        self._words: int = plan["words"]
        self._dice = random.Random(f"{plan['seed']}/{assign.thought}")
        self._said = 0
        self._next_at = now
        self._truth = (FOLDER / "truth" / f"{assign.thought}.txt").open("xb", buffering=0)

    @property
    def is_whole(self) -> bool:
        return self._said >= self._pieces

    def speak(self, now: float) -> None:
        """Say what is due; it is written down before it can be sent."""
        while not self.is_whole and not self.cancelled and now >= self._next_at:
            words = "".join(self._dice.choices(WORDS, k=self._dice.randint(1, self._words)))
            piece = f"⟨{self.name}#{self._said}⟩{words}".encode()
            self._truth.write(piece)
            self.text += piece
            self._said += 1
            self._next_at += self._pace_s

    def part(self) -> str:
        """From the last sent byte on; a whole number of characters, because pieces are."""
        return self.text[self.sent :].decode()

    def close(self) -> None:
        self._truth.close()


class Scribe:
    def __init__(self, agent: str, hub: str) -> None:
        self.agent = agent
        self.worker = WorkerInfo(session=secrets.token_hex(8), pid=os.getpid(), host=socket.gethostname()[:64])
        self.held: dict[str, Writing] = {}
        self.known: set[str] = set()  # every thought that was ever assigned to it
        self.ended: set[str] = set()  # for a deaf one: what it should have heard
        self.over = 0  # its exit code, once it has one
        self.running = True
        self.beat_s = 0.3
        self._where = find_hub(hub, default=Path(hub))
        self._socket = worker_dealer(zmq.Context.instance(), DEFAULT_LIMITS, self._where.curve)
        self._log = (FOLDER / "records" / f"acks.{agent}.{self.worker.session}.jsonl").open("ab", buffering=0)
        self._beat_at = 0.0
        self._quiet_until = 0.0
        self._welcomed = False

    def note(self, **facts: Any) -> None:
        line = {"t": round(time.monotonic(), 4), "worker": self.worker.session, "agent": self.agent, **facts}
        self._log.write(json.dumps(line).encode() + b"\n")

    def run(self) -> int:
        self._socket.connect(self._where.ingest)
        while self.running:
            self._socket.poll(POLL_MS)
            self._hear(time.monotonic())
            self._say(time.monotonic())
        self._socket.close(0)
        zmq.Context.instance().term()
        return self.over

    # ---- hearing -----------------------------------------------------------------------------------------------------

    def _hear(self, now: float) -> None:
        while True:
            try:
                message = parse_worker_bound(self._socket.recv(zmq.DONTWAIT))
            except zmq.Again:
                return
            match message:
                case Ack():
                    self._on_ack(message, now)
                case Welcome():
                    self._on_welcome(message)
                case Assign() if message.thought not in self.known:
                    self.known.add(message.thought)
                    self.held[message.thought] = Writing(message, now)
                case Cancel() if message.thought in self.held:
                    self.held[message.thought].cancelled = True
                case Reject():
                    self._on_reject(message, now)
                case Fenced():
                    self.note(told="fenced")
                    if not DEAF:
                        self.running, self.over = False, 3

    def _on_ack(self, ack: Ack, now: float) -> None:
        for one in ack.lengths:
            self.note(told="ack", thought=one.thought, channel=one.channel, length=one.length)
        for end in ack.ended:
            self.note(told="ended", thought=end.thought, outcome=end.outcome)
        for one in ack.lengths:
            writing = self.held.get(one.thought)
            if writing is not None and one.channel == "text" and one.length > writing.acked:
                writing.acked, writing.heard_at = one.length, now
                writing.sent = max(writing.sent, writing.acked)
        for end in ack.ended:
            self._forget(end.thought)

    def _on_welcome(self, welcome: Welcome) -> None:
        lengths = {one.thought: one.text for one in welcome.thoughts}
        self.note(told="welcome", boot=welcome.boot, lengths=lengths)
        for end in welcome.ended:
            self.note(told="ended", thought=end.thought, outcome=end.outcome)
        self._welcomed = True
        self.beat_s = welcome.beat_s
        for name, writing in self.held.items():
            writing.sent = writing.acked = lengths.get(name, 0)
        for end in welcome.ended:
            self._forget(end.thought)

    def _on_reject(self, reject: Reject, now: float) -> None:
        self.note(told="reject", code=reject.code, thought=reject.thought)
        if DEAF:
            return
        match reject.code:
            case "unknown_session":
                self._welcomed, self._beat_at = False, 0.0
            case "gap":
                writing = self.held.get(reject.thought or "")
                if writing is not None and reject.channel == "text":
                    writing.sent = writing.acked = reject.length or 0
            case "busy":
                self._quiet_until = now + BUSY_S
                for writing in self.held.values():
                    writing.sent = writing.acked
            case "closed" | "not_yours" | "unknown_thought":
                self._forget(reject.thought or "")
            case "version" | "reserved":
                self.running, self.over = False, 4

    def _forget(self, thought: str) -> None:
        if DEAF:
            self.ended.add(thought)
        elif (writing := self.held.pop(thought, None)) is not None:
            writing.close()

    # ---- saying ------------------------------------------------------------------------------------------------------

    def _say(self, now: float) -> None:
        for writing in self.held.values():
            writing.speak(now)  # Its model goes on while the hub is away.
        if now >= self._beat_at:
            self._beat_at = now + self.beat_s
            holding = tuple(self.held)
            if self._welcomed:
                self._send(Beat(holding=holding))
            else:
                self._send(Hello(worker=self.worker, agents=(self.agent,), holding=holding))
        if not self._welcomed or now < self._quiet_until:
            return
        for writing in self.held.values():
            self._say_of(writing, now)

    def _say_of(self, writing: Writing, now: float) -> None:
        if now - writing.heard_at > RESEND_S and writing.sent > writing.acked:
            writing.sent, writing.heard_at = writing.acked, now
        if text := writing.part():
            if not self._send(Partial(thought=writing.name, offset=writing.sent, text=text)):
                return
            writing.sent = len(writing.text)
        if not (writing.is_whole or writing.cancelled) or now < writing.ending_at:
            return
        length = len(writing.text)
        end: Message = (
            Abandon(thought=writing.name, length=length, reason="cancelled")
            if writing.cancelled
            else Finalize(thought=writing.name, length=length, sha256=hashlib.sha256(writing.text).hexdigest())
        )
        if self._send(end):
            writing.ending_at = now + RESEND_S

    def _send(self, message: Message) -> bool:
        try:
            self._socket.send(message.encode(), zmq.DONTWAIT)
        except zmq.Again:  # No hub, or no room: it is due again.
            return False
        return True


def main() -> int:
    scribe = Scribe(*sys.argv[1:])

    def stop(*_: object) -> None:
        scribe.running = False

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    code = scribe.run()
    if code == 3:
        print(f"another worker has taken over ({scribe.agent})", file=sys.stderr)
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
