"""Short stories, each with one kind of harm: told with what is right, nothing is found; with a mutant, its promise is.

Owns: making a harm come at the moment that shows one mutant. Must not: draw anything at random.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import checker
import zmq
from checker import Durable, Finding, Told
from harness import Eye, start_of, until
from soak import a_soak_place, told_of
from soak_place import LIMITS, SoakPlace
from tcp_proxy import Weather

from felixhub.core.limits import DEFAULT_LIMITS
from felixhub.core.messages import Page, Replay, parse_client_bound
from felixhub.transport.sockets import client_dealer

KEEP = None
RUN = "story"
STRICT = LIMITS | {"worker_beat_s": 0.2, "lease_grace_s": 0.8}  # a lease of 1.4 s
SMALL_PAGES = LIMITS | {"page_bytes_max": 2_048}
PATIENCE_S = 40.0  # with what is right, which needs far less
MUTANT_ENDS_S = 8.0
LOST_S = 6.0  # a subscriber that is right has what it lost long before
NAP_S = 1.5
SILENCE_S_MAX = 7.0
SILENT_S = 12.0  # for a mutant to be heard to be silent


@dataclass(frozen=True)
class Story:
    """`told` plays it and returns what subscribers were given; `sentence` is part of what the checker must say."""

    mutation: str
    promise: str
    sentence: str
    told: Callable[[SoakPlace, Eye], list[Told]]
    limits: dict[str, float]
    pieces: int = 60
    words: int = 20


def play(story: Story, mutation: str) -> list[Finding]:
    """One life of a story; `none` is the one in which nothing is wrong."""
    with a_soak_place(
        story.limits,
        hub_script="../soak/wrong_hub.py",
        keep=lambda: KEEP,
        SOAK_MUTATION=mutation,
    ) as place:
        place.open("hub", "s1", "writer")
        start = start_of(
            RUN,
            agents=("s1",),
            retries_max=10,
            marked=True,
            seed=1,
            pieces=story.pieces,
            pace_s=0.03,
            words=story.words,
        )
        with place.client() as client:
            client.request(start)
        with Eye(place, RUN) as eye:
            told = story.told(place, eye)
        for role in place.roles.values():
            role.thaw()
            role.kill()
        log = place.stored(RUN)
        found = checker.check_log(RUN, log, place.truth)
        for one in told:
            found += checker.check_told(RUN, one, log)
        found += checker.check_pace(RUN, "eye", place.heard_at, silence_s_max=SILENCE_S_MAX)
        return found + checker.check_acks(list(place.acks()), Durable().add(log))


def patience(place: SoakPlace, mutant_s: float) -> float:
    """A mutant need not be waited for as long as a machine may be busy: what it does not do, it never does."""
    return PATIENCE_S if place.hub_environ["SOAK_MUTATION"] == "none" else mutant_s


def _end(place: SoakPlace, eye: Eye) -> None:
    """Whoever a story has killed comes back, and the run ends; a mutant may keep it from ending."""
    deadline = time.monotonic() + patience(place, MUTANT_ENDS_S)
    while not eye.ended and time.monotonic() < deadline:
        eye.look()
        place.tend()


def _watched(place: SoakPlace, kind: str, mutation: str = "none") -> Callable[[], Told]:
    process = place.watch(RUN, kind, script="../soak/wrong_watcher.py", SOAK_MUTATION=mutation)
    file = place.records / f"{RUN}.{kind}.json"

    def told() -> Told:
        deadline = time.monotonic() + patience(place, LOST_S)
        while not file.exists() and process.exit is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return told_of(place, RUN, kind)

    until((place.records / f"{RUN}.{kind}.jsonl").exists, PATIENCE_S, "the watcher is there")
    return told


def hub_dies_between(place: SoakPlace, eye: Eye) -> list[Told]:
    """The hub is killed while text flows: a mutant between the two steps it has exchanged, a right one at any time."""
    told = _watched(place, "early")
    eye.wait_for("thought.partial", count=5)
    records = place.records / f"{RUN}.early.jsonl"
    until(lambda: records.read_bytes().count(b'"kind":"thought.partial"') > 5, PATIENCE_S, "it has caught up")
    hub = place.roles["hub"]
    if place.hub_environ["SOAK_MUTATION"] == "none":
        hub.kill()
    else:
        hub.doom()
        (place.folder / "die").touch()
        until(lambda: hub.the_process.exit is not None, PATIENCE_S, "the mutant dies")
    place.tend()
    _end(place, eye)
    return [told()]


def middle_is_lost(place: SoakPlace, eye: Eye) -> list[Told]:
    """The connection of a subscriber is cut for a second in the middle of a run."""
    told = _watched(place, "proxied", place.hub_environ["SOAK_MUTATION"])
    records = place.records / f"{RUN}.proxied.jsonl"
    until(lambda: records.read_bytes().count(b"\n") > 8, PATIENCE_S, "it is given something")
    place.the_proxy.set(Weather(refuse=True), "live")
    place.the_proxy.cut("live")
    eye.wait_for_count(len(eye.look()) + 12)
    place.the_proxy.heal()
    _end(place, eye)
    return [told()]


def tail_is_lost(place: SoakPlace, eye: Eye) -> list[Told]:
    """The connection of a subscriber is cut until the run has ended: there is no later event that would show a gap."""
    told = _watched(place, "proxied")
    records = place.records / f"{RUN}.proxied.jsonl"
    until(lambda: records.read_bytes().count(b"\n") > 8, PATIENCE_S, "it is given something")
    eye.wait_for("synthesis.started")
    place.the_proxy.set(Weather(refuse=True), "live")
    place.the_proxy.cut("live")
    _end(place, eye)
    place.the_proxy.heal()
    return [told()]


def reader_is_slow(place: SoakPlace, eye: Eye) -> list[Told]:
    """A client asks for a long replay and does not read for a while: the hub must wait with what it has no room for."""
    _end(place, eye)
    connection = place.connection()
    assert connection is not None
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = client_dealer(context, DEFAULT_LIMITS)
    socket.setsockopt(zmq.RCVHWM, 1)
    socket.setsockopt(zmq.RCVBUF, 4_096)
    socket.connect(connection.control)
    lines: list[bytes] = []
    done = False
    try:
        socket.send(Replay(id="slow", run=RUN).encode())
        over = time.monotonic() + NAP_S
        until(lambda: time.monotonic() > over, NAP_S + 1.0, "it does not read")
        while not done and socket.poll(int(patience(place, LOST_S) * 1000)):
            header, body = socket.recv_multipart()
            page = parse_client_bound(header)
            assert isinstance(page, Page), page
            lines += [line for line in body.split(b"\n") if line]
            done = page.last
    finally:
        socket.close()
        context.term()
    return [Told("slow reader", lines, done)]


def subscriber_takes_nothing(place: SoakPlace, eye: Eye) -> list[Told]:
    """One subscriber is stopped from early on until the run has ended; nobody else may notice, and it loses nothing."""
    told = _watched(place, "stopped")
    process = place.processes[-1]
    records = place.records / f"{RUN}.stopped.jsonl"
    until(lambda: records.read_bytes().count(b"\n") > 8, PATIENCE_S, "it is given something")
    process.signal(signal.SIGSTOP)
    place.heard_at.append(time.monotonic())
    seen = len(eye.look())
    deadline = time.monotonic() + patience(place, SILENT_S)
    while not eye.ended and time.monotonic() < deadline:
        if len(eye.look()) > seen:
            seen = len(eye.events)
            place.heard_at.append(time.monotonic())
    place.heard_at.append(time.monotonic())
    process.signal(signal.SIGCONT)
    return [told()]


def late_worker_comes_back(place: SoakPlace, eye: Eye) -> list[Told]:
    """A worker is stopped past its lease and replaced; then it goes on."""
    _replace(place, eye)
    _end(place, eye)
    return []


def late_worker_is_deaf(place: SoakPlace, eye: Eye) -> list[Told]:
    """The same with a worker that does not hear that its thought is over, and writes on."""
    eye.wait_for("agent.joined", agent="s1")
    place.roles["s1"].restart(SCRIBE_DEAF="1")
    eye.wait_for("agent.joined", count=2, agent="s1")
    _replace(place, eye)
    _end(place, eye)
    return []


def _replace(place: SoakPlace, eye: Eye) -> None:
    role = place.roles["s1"]
    lost = [e for e in eye.look() if e.kind == "agent.lost"]
    eye.wait_for("thought.partial", count=10, agent="s1")
    role.freeze()
    eye.wait_for("agent.lost", count=len(lost) + 1, agent="s1")
    role.replace()
    before = len([e for e in eye.look() if e.kind == "thought.partial"])
    eye.wait_for("thought.partial", count=before + 5)
    role.thaw()


STORIES: tuple[Story, ...] = (
    Story("publish_before_commit", "durable", "which the log does not have", hub_dies_between, LIMITS),
    Story("acknowledge_before_commit", "durable", "had been acknowledged before", hub_dies_between, LIMITS),
    Story("prev_ignored", "gap", "lost a middle", middle_is_lost, LIMITS, pieces=90),
    Story("no_tip_in_the_beat", "gap", "lost the tail", tail_is_lost, LIMITS, pieces=40),
    Story("router_not_mandatory", "gap", "slow reader lost", reader_is_slow, SMALL_PAGES, pieces=100, words=3_000),
    Story("nothing_dropped", "slow", "heard nothing", subscriber_takes_nothing, LIMITS, pieces=120, words=3_000),
    Story("fence_off", "fence", "which", late_worker_comes_back, STRICT, pieces=80),
    Story("late_text_accepted", "fence", "which had ended at", late_worker_is_deaf, STRICT, pieces=80),
)
