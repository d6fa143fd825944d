"""The desk: a client's request in, its answer or the decision that it leads to out.

Owns: reading requests, refusing them, and which of queries, starts and commands one is. Must not: apply a decision or
send anything (the loop does, in its order).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from felixhub.core.central_post import CentralPost
from felixhub.core.decision import Decision
from felixhub.core.errors import ProtocolViolation
from felixhub.core.limits import Limits
from felixhub.core.messages import Failed, Message, Ok, Remove, RunCommand, Shutdown, Start, parse_request
from felixhub.eventlog import EventLog, LogBroken, LogBusy
from felixhub.hub.door import Arrived
from felixhub.hub.guard import BYTES, MESSAGES, Guard
from felixhub.hub.queries import Queries
from felixhub.hub.starts import Starts
from felixhub.logs import get_log


class Handled(NamedTuple):
    """What a request came to: a reply, a decision that holds its reply, or neither yet."""

    identity: bytes
    reply: Message | None = None
    decision: Decision | None = None
    is_command: bool = False
    stops: bool = False


class Desk:
    def __init__(self, queries: Queries, log: EventLog, limits: Limits, counters: Counter[str]) -> None:
        self._queries = queries
        self._log = log
        self._starts = Starts(queries, limits)
        self._limits = limits
        self._counters = counters
        self._notes = get_log("hub")

    @property
    def is_preparing(self) -> bool:
        """Whether some start is being prepared: `prepared` must be looked at."""
        return len(self._starts) > 0

    def take(self, arrived: Arrived, guard: Guard | None, post: CentralPost, now: float) -> Handled:
        """One request. Whatever is wrong with it, or with us, is its answer. Raises LogBroken alone."""
        identity, frames, grant = arrived
        if guard is not None and grant is not None:
            size = sum(map(len, frames[1:]))
            if too_much := guard.too_fast(grant, {MESSAGES: 1.0, BYTES: float(size)}, now):
                told = guard.may_tell(grant, now)
                return Handled(identity, _failed(_id_in(frames[-1]), too_much, "busy") if told else None)
        name = _id_in(frames[-1])
        try:
            if len(frames) != 2:
                raise ProtocolViolation("bad_frames", f"a request is one frame of JSON, this one had {len(frames) - 1}")
            if len(frames[1]) > self._limits.control_bytes_max:
                raise ProtocolViolation(
                    "too_large", f"a request has at most {self._limits.control_bytes_max} bytes: send less at once"
                )
            request = parse_request(frames[1])
            name = request.id
            if grant is not None:
                grant.check_request(request)
                request = request.model_copy(update={"by": grant.signed(request.by)})
            match request:
                case Start():
                    return self._start(identity, request, post, now)
                case Shutdown():
                    return Handled(identity, self._queries.goodbye(request), stops=True)
                case Remove():
                    return Handled(identity, self._remove(request, post))
                case _ if isinstance(request, RunCommand):
                    past = self._queries.past_command(request) if request.run not in post.runs else None
                    if past is not None:
                        return Handled(identity, past)
                    return Handled(identity, decision=post.command(request, now), is_command=True)
                case _:
                    reply = self._queries.answer(request, identity, grant, post, now, self._counters)
                    return Handled(identity, reply)
        except ProtocolViolation as error:
            return self._refused(identity, name, error)
        except LogBroken:
            raise
        except Exception:  # noqa: BLE001  (our own fault must not let one message end the hub; it changed nothing)
            self._notes.exception("cannot_answer", frame=frames[-1][:200].decode(errors="replace"))
            return Handled(identity, _failed(name, "the hub failed on this request; its log says why"))

    def prepared(self, post: CentralPost, now: float) -> list[Handled]:
        """The starts whose documents have been searched."""
        done = []
        for identity, request, prepared, fault in self._starts.ready():
            try:
                if fault is not None:
                    raise fault
                done.append(Handled(identity, decision=post.start(request, now, prepared)))
            except ProtocolViolation as error:
                done.append(self._refused(identity, request.id, error))
            except Exception:  # noqa: BLE001  (as above)
                self._notes.exception("cannot_start", run=request.id)
                sentence = "the hub failed to search the documents; its log says why"
                done.append(Handled(identity, _failed(request.id, sentence)))
        return done

    def _start(self, identity: bytes, request: Start, post: CentralPost, now: float) -> Handled:
        past = self._queries.past_start(request) if request.id not in post.runs else None
        if past is not None:
            return Handled(identity, past)
        prepared = self._starts.take(identity, request, post)
        return Handled(identity, decision=post.start(request, now, prepared) if prepared is not None else None)

    def _remove(self, request: Remove, post: CentralPost) -> Ok:
        """Take an ended run out of the log and out of memory. A run that is not there is removed already."""
        run = request.run
        try:
            removed = self._log.remove(run)
        except LogBusy as error:
            raise ProtocolViolation("busy", f"the log could not be written ({error}): make room, then again") from None
        if removed:
            post.remove(run)
            self._queries.forget(run)
            self._notes.info("run_removed", run=run, by=request.by)
        elif run in post.runs or self._queries.has(run):
            raise ProtocolViolation("not_ended", f"run '{run}' has not ended: cancel it first", field="run")
        return Ok(id=request.id, data={"run": run, "removed": removed})

    def _refused(self, identity: bytes, name: str, error: ProtocolViolation) -> Handled:
        self._counters[f"rejected.{error.code}"] += 1
        return Handled(identity, Failed(id=name, code=error.code, sentence=error.sentence, field=error.field))


def _failed(name: str, sentence: str, code: str = "internal") -> Failed:
    return Failed(id=name, code=code, sentence=sentence)


def _id_in(frame: bytes) -> str:
    """The id of a request that may be unreadable otherwise, so that its client hears why; `?` when there is none."""
    found = re.search(rb'"id"\s*:\s*"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})"', frame[:4096])
    return found[1].decode() if found else "?"
