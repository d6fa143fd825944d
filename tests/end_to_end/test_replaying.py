"""`felixhub replay`: a real run is recorded, and played at several paces to every kind of viewer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zmq
from shell import ROOT, TASK, Shell, a_shell, until

from felixhub.client.starting import Wishes, build_start
from felixhub.core.errors import FelixError
from felixhub.core.events import Event, ThoughtFinalized, ThoughtPartial, parse_event
from felixhub.core.follower import Reset
from felixhub.core.messages import Replay, Shutdown
from felixhub.llm.offline import OfflineModel
from felixhub.settings.settings import load_settings
from felixhub.transport.address import find_hub
from felixhub.transport.control import ControlClient, HubRefused, new_id
from felixhub.transport.subscriber import Subscriber, Subscription

Texts = dict[str, tuple[str, str]]  # by thought: the text, and its SHA-256


class Recorded(NamedTuple):
    """A run that went on in front of a viewer, and its export."""

    run: str
    lines: list[bytes]
    texts: Texts

    @property
    def data(self) -> bytes:
        return b"".join(line + b"\n" for line in self.lines)

    def until(self, count: int) -> bytes:
        return b"".join(line + b"\n" for line in self.lines[:count])

    @property
    def middle(self) -> int:
        """How many lines go up to a piece of text after which its thought goes on."""
        places = [
            place
            for place, (one, other) in enumerate(zip(self.lines, self.lines[1:], strict=False), 1)
            if b'"thought.partial"' in one and b'"channel":"text"' in one and b'"thought.partial"' in other
        ]
        return places[len(places) // 2]


def _texts(subscription: Subscription | Subscriber, run: str) -> Texts:
    thoughts = subscription.board.runs[run].thoughts.values()
    return {one.id: (str(one.text), one.text.sha256) for one in thoughts}


def _record(shell: Shell, workflow: str, model: OfflineModel, folder: Path) -> Recorded:
    run = shell.run("run", TASK, "--workflow", workflow, "--llm", model.base_url, "--detach").text.strip()
    with Subscription(run, hub=shell.data, until_done=True) as live:
        seen = [event.raw for event in live]
        texts = _texts(live, run)
    file = folder / f"{workflow}.jsonl"
    shell.run("export", run, "--format", "jsonl", "-o", file)
    assert file.read_bytes().splitlines() == seen
    return Recorded(run, seen, texts)


class Recordings(NamedTuple):
    solo: Recorded  # one agent, a second or two
    helix: Recorded  # four agents
    data: Path  # the hub that they come from, which has gone


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recordings]:
    model = OfflineModel(tokens_per_s=600.0, first_token_s=0.1)
    model.start()
    try:
        with a_shell() as shell:
            hub = shell.serve()
            folder = tmp_path_factory.mktemp("recordings")
            solo, helix = (_record(shell, workflow, model, folder) for workflow in ("solo", "helix"))
            hub.signal(signal.SIGTERM)
            hub.wait()
            yield Recordings(solo, helix, shell.data)
    finally:
        model.stop()


class Playing:
    """A command that serves a recording to others."""

    def __init__(self, shell: Shell, data: bytes, *options: object, name: str = "show") -> None:
        self.file = shell.project / f"{name}.jsonl"
        self.file.write_bytes(data)
        self.at = shell.folder / name
        self.command = shell.start("replay", self.file, "--view", "none", "--data", self.at, *options)
        self.command.until_printed("hub at", err=True)

    def client(self) -> ControlClient:
        return ControlClient(lambda: find_hub(str(self.at), default=self.at), wait_s=20.0)

    def subscription(self, run: str, **options: Any) -> Subscription:
        return Subscription(run, hub=self.at, **options)


@pytest.fixture
def place(shell: Shell) -> Shell:
    """A shell whose temporary files can be looked at, and whose processes keep their environment under another name."""
    (shell.folder / "tmp").mkdir()
    shell.environ |= {"TMPDIR": str(shell.folder / "tmp"), "SPT_NOENV": "1"}
    return shell


def _nothing_is_left(place: Shell) -> None:
    place.until_nothing_is_left()
    assert list((place.folder / "tmp").iterdir()) == []


def _file(place: Shell, data: bytes) -> Path:
    file = place.project / "run.jsonl"
    file.write_bytes(data)
    return file


# ---- every pace, every viewer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("speed", "which"), [("1", "solo"), ("10", "helix"), ("max", "helix"), ("0", "solo")])
def test_all_viewers_get_what_the_live_ones_got(place: Shell, recordings: Recordings, speed: str, which: str) -> None:
    recorded: Recorded = getattr(recordings, which)
    playing = Playing(place, recorded.data, "--speed", speed, "--stay")
    script = place.folder / "script.out"
    with script.open("wb") as out:  # It begins with this one, which shows nothing that was over before it came.
        command = [sys.executable, str(ROOT / "examples" / "viewer_plain_pyzmq.py"), str(playing.at), recorded.run]
        stranger = subprocess.Popen(command, stdout=out, env=place.environ)
    until(lambda: script.stat().st_size, 30.0, "the plain viewer shows something")
    console = place.start("watch", "--run", recorded.run, "--hub", playing.at, "-o", "json", "--until-done")
    plain = place.start("watch", "--hub", playing.at, "--tail", "all", "--until-done")
    try:
        with playing.subscription(recorded.run, until_done=True) as subscription:
            assert [event.raw for event in subscription] == recorded.lines
            assert _texts(subscription, recorded.run) == recorded.texts
        assert asyncio.run(_watched(playing, recorded)) == (recorded.lines, recorded.texts)
        assert console.wait().out == recorded.data
        assert "result" in plain.wait().text
        assert stranger.wait(60.0) == 0
    finally:
        stranger.kill()
        stranger.wait()
    _check_plain_viewer(script.read_text(), recorded)
    with playing.client() as client:
        for thought, (text, digest) in recorded.texts.items():
            assert client.text(recorded.run, thought) == text
            assert hashlib.sha256(text.encode()).hexdigest() == digest
        assert client.pages(Replay(id=new_id(), run=recorded.run)) == recorded.lines
        (row,) = client.runs()
        assert (row["run"], row["status"], row["ended_s_ago"]) == (recorded.run, "finished", 0.0)
    playing.command.interrupt()
    assert playing.command.wait().code == 130
    _nothing_is_left(place)


async def _watched(playing: Playing, recorded: Recorded) -> tuple[list[bytes], Texts]:
    """Late: it is over, or nearly so."""
    async with Subscriber("latest", hub=playing.at, until_done=True) as subscriber:
        return [event.raw async for event in subscriber], _texts(subscriber, recorded.run)


def _check_plain_viewer(shown: str, recorded: Recorded) -> None:
    seen: dict[str, str] = {}
    parts = re.split(r"\n\[([\w-]+)\] ", shown.removesuffix("\n"))
    for agent, piece in zip(parts[1::2], parts[2::2], strict=True):
        seen[agent] = seen.get(agent, "") + piece
    said: dict[str, str] = {}
    for line in recorded.lines:
        event = parse_event(line)
        if isinstance(event, ThoughtFinalized):
            said[event.agent] = said.get(event.agent, "") + recorded.texts[event.thought][0]
    assert seen == said


@pytest.mark.parametrize("speed", ["1", pytest.param("max", marks=pytest.mark.long)])
def test_its_own_view_shows_all_of_it_and_ends(place: Shell, recordings: Recordings, speed: str) -> None:
    file = _file(place, recordings.solo.data)
    assert place.run("replay", file, "--speed", speed, "--view", "json").out == recordings.solo.data
    done = place.run("replay", file, "--speed", speed)
    assert "research ▸ started" in re.sub(r" +", " ", done.text)
    assert "hub at" in done.err and "felixhub watch --run" in done.err
    _nothing_is_left(place)


def test_lines_come_out_as_they_went_in(place: Shell, recordings: Recordings) -> None:
    """However they are written, and whatever a later version has added; who only listens gets all of them."""
    lines = [json.dumps(json.loads(line) | {"later": [1, None]}).encode() for line in recordings.helix.lines]
    playing = Playing(place, b"\r\n".join(lines), "--speed", "max")
    run = recordings.helix.run
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    heard = []
    with context.socket(zmq.SUB) as live:
        live.setsockopt(zmq.RCVHWM, 0)
        live.subscribe(f"run/{run}/")
        live.connect(find_hub(str(playing.at), default=playing.at).live)
        is_over = False
        while not is_over:
            assert live.poll(30_000), f"heard {len(heard)} of {len(lines)}"
            topic, body = live.recv_multipart()
            if topic.endswith(b"/beat/"):
                is_over = json.loads(body)["status"] == "finished"
                continue
            event = parse_event(body)
            assert topic == f"run/{run}/{event.agent_name or 'hub'}/{event.kind}/".encode()
            heard.append(body)
    context.term()
    assert heard == lines
    with playing.client() as client:
        assert client.pages(Replay(id=new_id(), run=run)) == lines
    assert place.run("replay", playing.file, "--speed", "max", "--view", "json").out.splitlines() == lines


def test_nobody_waits_longer_for_a_run_that_failed_or_was_cancelled(place: Shell, recordings: Recordings) -> None:
    solo = recordings.solo
    start = solo.lines[0]
    value = json.loads(start)
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "reasoning_tokens": None, "estimated": False}
    end = {
        "kind": "run.cancelled",
        "seq": value["seq"] + 5,
        "prev": value["seq"],
        "run": value["run"],
        "at": value["at"] + 0.5,
        "by": "ann",
        "usage": usage,
        "seconds": 0.5,
    }
    done = place.run("replay", _file(place, start + b"\n" + json.dumps(end).encode()))
    assert "cancelled by ann" in done.text


def test_in_the_grid_of_a_terminal(place: Shell, recordings: Recordings) -> None:
    terminal = place.terminal("replay", _file(place, recordings.helix.data), "--speed", "max", "--view", "tui")
    terminal.until_shown("4 final")
    terminal.type("\x03")
    assert terminal.wait() in (0, 130)
    _nothing_is_left(place)
    assert place.run("replay", "run.jsonl", "--view", "tui", code=2).complaint.count("needs a terminal")


def test_on_the_page(place: Shell, recordings: Recordings) -> None:
    helix = recordings.helix
    command = place.start("replay", _file(place, helix.data), "--speed", "max", "--view", "web")
    command.until_printed("felixhub web at")
    address = command.out.decode().split("felixhub web at ")[1].split()[0]
    with urllib.request.urlopen(f"{address}api/runs") as answer:
        (row,) = json.load(answer)
    assert row["run"] == helix.run
    with urllib.request.urlopen(f"{address}api/runs/{helix.run}/events", timeout=60.0) as stream:
        assert any(b"run.finished" in line for line in stream)
    command.interrupt()
    assert command.wait().code == 130
    _nothing_is_left(place)


# ---- in the middle ---------------------------------------------------------------------------------------------------


YEAR_S = 400 * 24 * 3_600.0


def _at_other_times(lines: list[bytes], later_s: float) -> list[bytes]:
    """The same bytes but for `at`."""
    told = []
    for line in lines:
        later = f'"at":{json.loads(line)["at"] + later_s:.3f}'.encode()
        told.append(re.sub(rb'"at":[0-9.]+', later, line, count=1))
    return told


def _with_a_pause(recorded: Recorded, seconds: float) -> Recorded:
    """The recording, from long ago, with a long silence while somebody writes."""
    before, after = recorded.lines[: recorded.middle], recorded.lines[recorded.middle :]
    lines = [*_at_other_times(before, -YEAR_S), *_at_other_times(after, seconds - YEAR_S)]
    return recorded._replace(lines=lines)


def _read_until(subscription: Subscription, seq: int) -> list[Event]:
    seen: list[Event] = []

    def look() -> bool:
        seen.extend(_events(subscription.poll(0.1)))
        return subscription.board.last(subscription.board.followed()[0]) >= seq if seen else False

    until(look, 60.0, "the middle")
    return seen


def _events(items: list[Event | FelixError]) -> list[Event]:
    assert all(isinstance(item, Event) for item in items), items
    return [item for item in items if isinstance(item, Event)]


@pytest.mark.long
def test_who_comes_in_the_middle_misses_nothing(place: Shell, recordings: Recordings) -> None:
    recorded = _with_a_pause(recordings.solo, 300.0)
    middle = parse_event(recorded.lines[recorded.middle - 1])
    assert isinstance(middle, ThoughtPartial)
    playing = Playing(place, recorded.data, "--speed", "20")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(playing.subscription(recorded.run, until_done=True))
        seen = _read_until(first, middle.seq)
        late = stack.enter_context(playing.subscription(recorded.run, until_done=True))
        seen_late = _read_until(late, middle.seq)
        snapshot = stack.enter_context(playing.subscription(recorded.run, history=False, until_done=True))
        until(lambda: snapshot.poll(0.05) == [] and snapshot.follower.caught_up, 30.0, "the snapshot")
        assert snapshot.board.last(recorded.run) == middle.seq, "it must have come in the middle"
        held = snapshot.board.thought(recorded.run, middle.thought)
        assert held is not None and held.is_open
        assert str(held.text).encode()[middle.offset :].decode() == middle.text
        with playing.client() as client:
            assert client.text(recorded.run, middle.thought) == str(held.text)
            assert client.snapshot(recorded.run).thoughts[middle.thought].text.sha256 == held.text.sha256

        def silence() -> float:
            """On the recording's clock: twenty seconds in one."""
            seen.extend(_events(first.poll(0.05)))
            beat = first.follower.beats[recorded.run]
            assert (beat.status, beat.wanted) == ("running", ())
            (busy,) = beat.agents
            assert busy.state in ("streaming", "stalled") and busy.silence_s <= 300.0
            return busy.silence_s if busy.state == "stalled" else 0.0

        until(lambda: silence() > 25.0, 30.0, "it looks stalled, as it did")
        seen += list(first)
        assert [event.raw for event in seen] == recorded.lines
        assert [event.raw for event in [*seen_late, *late]] == recorded.lines
        assert [event.raw for event in snapshot] == recorded.lines[recorded.middle :]
        for viewer in (first, late, snapshot):
            assert _texts(viewer, recorded.run) == recorded.texts


def test_it_begins_when_somebody_watches_and_never_gets_old(place: Shell, recordings: Recordings) -> None:
    """No retention takes it away, and it has always just ended."""
    lines = _at_other_times(recordings.solo.lines, -YEAR_S)
    run = recordings.solo.run
    playing = Playing(place, b"\n".join(lines), "--speed", "max")
    with playing.client() as client:
        (row,) = client.runs()
        assert (row["status"], row["seq"], row["ended_s_ago"]) == ("running", json.loads(lines[0])["seq"], None)
        assert len(client.pages(Replay(id=new_id(), run=run))) == 1
        for selection in (run, "latest"):
            with playing.subscription(selection, until_done=True) as subscription:
                assert [event.raw for event in subscription] == lines
            assert client.runs()[0]["ended_s_ago"] == 0.0


# ---- it can be watched, not steered ----------------------------------------------------------------------------------


def test_every_command_is_refused(place: Shell, recordings: Recordings) -> None:
    run = recordings.solo.run
    playing = Playing(place, recordings.solo.data, "--speed", "max")
    settings = load_settings({}, {}, place.project)
    start = build_start(settings, task="t", workflow="helix", files=(), endpoint="offline", wishes=Wishes())
    with playing.client() as client:
        commands = {
            "cancel": lambda: client.cancel(run),
            "steer": lambda: client.steer(run, agent="research", wrong="all of it"),
            "regenerate": lambda: client.regenerate(run, agent="research"),
            "approve": lambda: client.approve(run),
            "reopen": lambda: client.reopen(run, "Answer".lower()),
            "edit": lambda: client.edit(run, "answer", "Mine."),
            "pause": lambda: client.pause(run),
            "resume": lambda: client.resume(run),
            "remove": lambda: client.remove(run),
            "start": lambda: client.request(start),
            "start again": lambda: client.request(start.model_copy(update={"id": run})),
            "of another run": lambda: client.cancel("another"),
            "shutdown": lambda: client.request(Shutdown(id=new_id())),
        }
        for name, command in commands.items():
            with pytest.raises(HubRefused, match="can be watched, not steered") as caught:
                command()
            assert caught.value.code == "read_only", name
        assert client.hello()["counters"]["rejected.read_only"] == len(commands)
        with playing.subscription(run, until_done=True) as subscription:
            assert [event.raw for event in subscription] == recordings.solo.lines
    done = place.run("cancel", run, "--hub", playing.at, code=2)
    assert done.complaint == "this is a recording: it can be watched, not steered"
    assert "the hub will not have this worker" in place.run("agent", "research", "--hub", playing.at, code=1).err
    assert playing.command.is_running


# ---- what is no recording, or not all of one -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda _: [], "run.jsonl: there is nothing in it"),
        (lambda lines: [b"# A report", *lines], "run.jsonl:1: this is not an event"),
        (lambda lines: lines[3:], "run.jsonl:1: a recording begins with run.started"),
        (lambda lines: [*lines[:9], *lines[10:]], "run.jsonl:10: event "),
        (lambda lines: [*lines[:9], lines[10], lines[9], *lines[11:]], "run.jsonl:10: event "),
        (lambda lines: [*lines[:9], lines[9][:-7], *lines[10:]], "run.jsonl:10: this is not an event"),
        (lambda lines: [*lines[:-1], b'{"\x1b[2J": 1}', lines[-1]], ": this is not an event"),
    ],
)
def test_a_damaged_file_is_refused_before_anything_is_shown(
    place: Shell, recordings: Recordings, damage: Any, words: str
) -> None:
    file = _file(place, b"".join(line + b"\n" for line in damage(recordings.solo.lines)))
    for view in ("console", "none"):
        done = place.run("replay", file, "--view", view, code=2)
        assert words in done.complaint and "\x1b" not in done.err
        assert done.out == b""
    _nothing_is_left(place)


def test_two_runs_in_one_file(place: Shell, recordings: Recordings) -> None:
    lines = sorted([*recordings.solo.lines, *recordings.helix.lines], key=lambda line: int(json.loads(line)["seq"]))
    done = place.run("replay", _file(place, b"\n".join(lines)), code=2)
    assert f"run.jsonl:{len(recordings.solo.lines) + 1}: " in done.complaint and "holds one run" in done.complaint


@pytest.mark.parametrize("cut", [0, pytest.param(20, marks=pytest.mark.long)])
def test_a_recording_without_an_end_ends_with_a_notice(place: Shell, recordings: Recordings, cut: int) -> None:
    middle = recordings.helix.middle
    file = _file(place, recordings.helix.until(middle) + recordings.helix.lines[middle][:cut])
    for view in ("console", "json"):
        done = place.run("replay", file, "--speed", "max", "--view", view)
        assert "the recording ends here, its run had not" in done.err
        assert (f"line {middle + 1} of the recording breaks off" in done.err) == bool(cut)
    assert done.out == recordings.helix.until(middle)
    playing = Playing(place, file.read_bytes(), "--speed", "max", "--no-stay")
    with playing.subscription(recordings.helix.run) as subscription:
        seen = _read_until(subscription, json.loads(recordings.helix.lines[middle - 1])["seq"])
        assert [event.raw for event in seen] == recordings.helix.lines[:middle]
        ended = playing.command.wait()
    assert ended.code == 0 and "its run had not" in ended.err
    _nothing_is_left(place)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run.jsonl"], "there is no file run.jsonl"),
        (["."], ". is a folder"),
        (["solo-abcdef"], "there is no file solo-abcdef, and no hub at"),
        (["x", "--speed", "fast"], "--speed fast: write a number"),
        (["x", "--speed", "-1"], "--speed -1: write a number"),
        (["x", "--speed", "nan"], "--speed nan: write a number"),
        (["x", "--view", "cinema"], "'cinema' is none of console"),
    ],
)
def test_what_cannot_be_played(place: Shell, arguments: list[str], words: str) -> None:
    done = place.run("replay", *arguments, code=3 if "no hub" in words else 2)
    assert words in done.complaint
    _nothing_is_left(place)


# ---- several at once, and how it ends --------------------------------------------------------------------------------


def test_two_replays_of_one_file_at_once(place: Shell, recordings: Recordings) -> None:
    helix = recordings.helix
    one, other = (Playing(place, helix.data, "--speed", "max", name=name) for name in ("one", "other"))
    with one.subscription(helix.run, until_done=True) as a, other.subscription(helix.run, until_done=True) as b:
        assert [event.raw for event in a] == [event.raw for event in b] == helix.lines
    same = place.run("replay", one.file, "--view", "none", "--data", one.at, code=2)
    assert "in use by another hub" in same.complaint
    assert one.command.is_running and find_hub(str(one.at), default=one.at).pid == one.command.popen.pid


def test_again_at_the_same_place_under_the_eyes_of_a_viewer(place: Shell, recordings: Recordings) -> None:
    solo = recordings.solo
    first = Playing(place, solo.until(solo.middle), "--speed", "max")
    with first.subscription(solo.run, until_done=True) as subscription:
        seen = _read_until(subscription, json.loads(solo.lines[solo.middle - 1])["seq"])
        first.command.signal(signal.SIGKILL)
        first.command.popen.wait()
        second = Playing(place, solo.data, "--speed", "max")
        while not subscription.follower.done:
            for item in subscription.poll(0.5):
                if isinstance(item, Event):
                    seen.append(item)
                else:  # It is another life of a hub, whatever it says.
                    assert isinstance(item, Reset)
                    seen.clear()
        assert [event.raw for event in seen] == solo.lines
    second.command.signal(signal.SIGTERM)
    second.command.wait()


def test_head_ends_it(place: Shell, recordings: Recordings) -> None:
    recorded = _with_a_pause(recordings.helix, 3_000.0)
    file = _file(place, recorded.data)
    done = place.script(f"felixhub replay {file} --view json | head -n 3; exit ${{PIPESTATUS[0]}}")
    assert done.code == 0 and done.lines == [line.decode() for line in recorded.lines[:3]]
    assert "Traceback" not in done.err
    _nothing_is_left(place)


@pytest.mark.parametrize("view", ["console", "json", "none"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_once_ends_it(place: Shell, recordings: Recordings, view: str, how: signal.Signals) -> None:
    file = _file(place, _with_a_pause(recordings.solo, 3_000.0).data)
    command = place.start("replay", file, "--view", view, "--stay")
    command.until_printed("hub at", err=True)
    if view != "none":
        command.until_printed("research")
    if how == signal.SIGINT:
        command.interrupt()
    else:
        command.signal(how)
    done = command.wait()
    assert done.code == 130 and "Traceback" not in done.err and "felixhub:" not in done.err
    _nothing_is_left(place)


def test_it_stays_until_ctrl_c(place: Shell, recordings: Recordings) -> None:
    file = _file(place, recordings.solo.data)
    command = place.start("replay", file, "--speed", "max", "--stay", "--data", "show")
    command.until_printed("Ctrl-C ends it", err=True)
    done = place.run("watch", "--hub", "show", "-o", "json", "--tail", "all", "--until-done")
    assert done.out == recordings.solo.data
    assert command.is_running
    command.interrupt()
    assert command.wait().code == 130
    assert not (place.project / "show" / "connection.json").exists()
    _nothing_is_left(place)


def test_its_hub_ends_with_it_however_it_dies(place: Shell, recordings: Recordings) -> None:
    file = _file(place, _with_a_pause(recordings.solo, 3_000.0).data)
    command = place.start("replay", file)
    command.until_printed("research")
    command.signal(signal.SIGKILL)
    command.popen.wait()
    _nothing_is_left(place)


def test_its_view_ends_with_its_hub(place: Shell, recordings: Recordings) -> None:
    file = _file(place, _with_a_pause(recordings.solo, 3_000.0).data)
    command = place.start("replay", file, "--data", "show")
    command.until_printed("research")
    pid = find_hub(str(place.project / "show"), default=place.project).pid
    os.kill(pid, signal.SIGKILL)
    done = command.wait()
    assert done.code == 2 and "the process that served the recording has ended" in done.complaint
    until(lambda: not place.kin(), 30.0, "everything ends")
    for socket in place.sockets():  # A hub that was killed leaves its sockets; the next one takes their place.
        Path(socket).unlink()


# ---- a run instead of a file -----------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_run_of_a_hub_or_of_its_log(place: Shell, recordings: Recordings) -> None:
    solo, helix = recordings.solo, recordings.helix
    from_log = place.run("replay", solo.run, "--hub", recordings.data, "--speed", "max", "--view", "json")
    assert from_log.out == solo.data
    latest = place.run("replay", "latest", "--hub", recordings.data, "--speed", "max", "--view", "json")
    assert latest.out == helix.data
    done = place.run("replay", "none-such", "--hub", recordings.data, code=2)
    assert "no such run in the log" in done.complaint

    hub = place.start("hub", "--data", recordings.data)
    until(lambda: (recordings.data / "connection.json").exists(), 30.0, "the hub")
    for what, expected in ((solo.run, solo), ("latest", helix)):
        done = place.run("replay", what, "--hub", recordings.data, "--speed", "max", "--view", "json")
        assert done.out == expected.data
    assert "there is no run 'none-such'" in place.run("replay", "none-such", "--hub", recordings.data, code=2).complaint
    hub.interrupt()
    hub.wait()
    _nothing_is_left(place)


def test_the_text_of_a_stranger_is_data_on_a_terminal(place: Shell, recordings: Recordings) -> None:
    lines = []
    for line in recordings.solo.lines[: recordings.solo.middle]:
        value = json.loads(line)
        if value["kind"] == "thought.partial":
            value["text"] = "\x1b" + value["text"][1:] if value["text"][0].isascii() else value["text"]
        lines.append(json.dumps(value).encode())
    terminal = place.terminal("replay", _file(place, b"\n".join(lines)), "--speed", "max")
    assert terminal.wait() == 0
    assert "␛" in terminal.screen and "\x1b" not in terminal.screen
    _nothing_is_left(place)
