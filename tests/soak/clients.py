"""Clients that start runs and command them while faults go on; everything is sent twice under the same id.

Owns: what is sent, and what was answered. Must not: judge it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from checker import Sent
from fault import Place, hold
from harness import until

from felixhub.core.errors import FelixError
from felixhub.core.events import Event
from felixhub.core.messages import CancelRun, Edit, Message, Pause, Regenerate, Reopen, Resume, Runs, Steer
from felixhub.transport.address import find_hub
from felixhub.transport.control import ControlClient, HubRefused, new_id

WAIT_S = 15.0
EVERY_S = (1.0, 3.0)
PER_RUN = {
    "cancel": 1,
    "steer": 1,
    "regenerate": 1,
    "pause": 2,
    "edit": 2,
    "reopen": 1,
}  # more, and a run would not come to its end


def ask(place: Place, message: Message, *, proxied: bool = False, wait_s: float = WAIT_S) -> dict[str, Any]:
    """One answer: {"ok": data}, {"error": code}, or {} when there was none."""
    where = place.proxied if proxied else place.data
    with ControlClient(lambda: find_hub(str(where), default=where), wait_s=wait_s) as client:
        try:
            return {"ok": client.request(message)}
        except HubRefused as error:
            return {"error": error.code}
        except FelixError:
            return {}


class Clients:
    def __init__(self, place: Place, seed: int, events_of: Callable[[str], Sequence[Event]]) -> None:
        self.sent: dict[str, list[Sent]] = {}  # by run
        self._place = place
        self._dice = random.Random(f"clients/{seed}")
        self._events_of = events_of

    def send_twice(self, message: Message, name: str, run: str, *, proxied: bool = False) -> list[dict[str, Any]]:
        """By two clients, one after the other, the second through the proxy if asked."""
        name_of = str(message.id)  # type: ignore[attr-defined]
        answers = []
        for number in (1, 2):
            through = proxied and number == 2
            self._place.history.note("command.sent", id=name_of, name=name, run=run, time=number)
            answer = ask(self._place, message, proxied=through)
            if "error" in answer and answer["error"] == "busy":
                answer = {}  # Nothing happened, and it says so.
            self._place.history.note("command.answered", id=name_of, name=name, run=run, time=number, answer=answer)
            answers.append(answer)
        self.sent.setdefault(run, []).append(Sent(name_of, name, run, tuple(answers)))
        return answers

    def run(self) -> None:
        """Until the place is stopping."""
        dice = self._dice
        while not self._place.stopping.is_set():
            hold(self._place, dice.uniform(*EVERY_S))
            runs = list(self._place.runs_under_way)
            if not runs or self._place.stopping.is_set():
                continue
            self._command(dice.choice(runs), dice.choice(list(PER_RUN)))

    def _command(self, run: str, name: str) -> None:
        if sum(sent.name == name for sent in self.sent.get(run, ())) >= PER_RUN[name]:
            return
        dice, proxied = self._dice, self._dice.random() < 0.3
        events = list(self._events_of(run))
        thoughts = [e for e in events if e.kind == "thought.started" and e.agent != "writer"]  # type: ignore[attr-defined]
        if not thoughts:
            return
        agent: str = dice.choice(thoughts).agent  # type: ignore[attr-defined]
        match name:
            case "pause":
                self.send_twice(Pause(id=new_id(), run=run, by="soak"), name, run, proxied=proxied)
                hold(self._place, dice.uniform(0.2, 1.5))
                self.resume(run)
            case "cancel":
                over = {e.thought for e in events if e.kind in ("thought.finalized", "thought.abandoned")}  # type: ignore[attr-defined]
                living = [e.thought for e in thoughts if e.thought not in over]  # type: ignore[attr-defined]
                if living:
                    message = CancelRun(id=new_id(), run=run, thought=dice.choice(living), by="soak")
                    self.send_twice(message, name, run, proxied=proxied)
            case "steer":
                self.send_twice(Steer(id=new_id(), run=run, agent=agent, wrong="too loud"), name, run, proxied=proxied)
            case "edit" | "reopen" if ready := [e.section for e in events if e.kind == "section.ready"]:  # type: ignore[attr-defined]
                section = dice.choice(ready)
                edit = Edit(id=new_id(), run=run, section=section, text=f"By hand, {dice.random()}. 漢字\n", by="soak")
                reopen = Reopen(id=new_id(), run=run, section=section, by="soak")
                self.send_twice(edit if name == "edit" else reopen, name, run, proxied=proxied)
            case "regenerate":
                self.send_twice(Regenerate(id=new_id(), run=run, agent=agent), name, run, proxied=proxied)

    def resume(self, run: str) -> None:
        """Until the run is known to go on."""
        message = Resume(id=new_id(), run=run, by="soak")

        def answered() -> bool:
            return any(self.send_twice(message, "resume", run))

        until(answered, 90.0, f"{run} is told to go on")

    def resume_all(self) -> None:
        """At the end: no run may be left paused."""
        rows = ask(self._place, Runs(id=new_id()))["ok"]["runs"]
        for row in rows:
            if row["status"] == "paused":
                self.resume(row["run"])
