"""What a stream shows is what the agents said, to the byte, whatever is killed, stopped or cut off."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import signal
import socket

import pytest
from sse_reader import Mirror, Reader, messages
from web_place import Place, Web, until

from felixhub.core.board import Board
from felixhub.core.events import ThoughtPartial, parse_event
from felixhub.views.web.bounds import SEND_S_MAX


def texts_in_log(place: Place, run: str) -> dict[tuple[str, str], bytes]:
    board = Board()
    board.follow(run)
    for event in place.events_of(run):
        board.take(event)
    return {
        (thought.id, channel): bytes(buffer.data)
        for thought in board.runs[run].thoughts.values()
        for channel, buffer in thought.buffers()
        if len(buffer)
    }


def check(place: Place, run: str, mirror: Mirror) -> None:
    """The texts are those of the log, and of the files that the agents wrote down before they spoke."""
    assert not mirror.faults, mirror.faults[:5]
    assert {key: bytes(text) for key, text in mirror.texts.items()} == texts_in_log(place, run)
    assert mirror.finals
    for thought, digest in mirror.finals.items():
        text = bytes(mirror.texts[thought, "text"])
        assert hashlib.sha256(text).hexdigest() == digest
        assert text == (place.truth / f"{thought}.txt").read_bytes()


def wait_for_end(reader: Reader, seconds: float = 90.0) -> None:
    until(lambda: reader.mirror.ended, seconds, f"the run ends: {reader.mirror.count} {reader.statuses[-3:]}")


def spoken(reader: Reader) -> int:
    return sum(len(text) for text in reader.mirror.texts.values())


def test_an_early_a_late_and_a_cut_off_client_end_with_the_same_texts(web: Web) -> None:
    run = web.place.start_run(1, pieces=60)
    path = f"/api/runs/{run}/events"
    early, cut = Reader(web.port, path), Reader(web.port, path)
    for connections, size in enumerate((2_000, 8_000, 16_000), 1):
        until(
            lambda n=connections, size=size: len(cut.began) == n and spoken(cut) > size, 60.0, f"{size} bytes of text"
        )
        cut.cut()
    late = Reader(web.port, path)
    for reader in (early, cut, late):
        wait_for_end(reader)
        check(web.place, run, reader.mirror)
        reader.close()
    assert early.mirror.count["snapshot"] == 1
    # Who comes back with the last id goes on where it was.
    assert cut.mirror.count["snapshot"] == 1
    assert "reset" not in cut.mirror.count
    assert set(cut.began[1:]) <= {"message"}
    assert len(cut.statuses) >= 4
    assert early.mirror.state["status"] == late.mirror.state["status"] == "finished"


def test_the_gateway_is_killed_in_the_middle_and_no_character_is_lost_or_doubled(web: Web) -> None:
    run = web.place.start_run(2, pieces=100)
    readers = [Reader(web.port, f"/api/runs/{run}/events") for _ in range(3)]
    for size in (3_000, 12_000):
        until(lambda size=size: all(spoken(one) > size for one in readers), 60.0, f"{size} bytes of text")
        web.process.kill()
        web.start_again()
    for reader in readers:
        wait_for_end(reader)
        check(web.place, run, reader.mirror)
        reader.close()
        assert reader.mirror.count["snapshot"] == 1
        assert "reset" not in reader.mirror.count


def test_the_hub_is_killed_in_the_middle_and_the_stream_says_so_and_goes_on(web: Web) -> None:
    place = web.place
    run = place.start_run(3, pieces=100)
    reader = Reader(web.port, f"/api/runs/{run}/events")
    until(lambda: spoken(reader) > 3_000, 60.0, "some text")
    place.the_hub.kill()
    until(lambda: reader.mirror.hub == "away", 30.0, "the stream says that the hub is away")
    assert web.get("/readyz").status == 503
    # Meanwhile the client goes, and comes back to a gateway that has no hub.
    reader.cut()
    place.start_hub()
    until(lambda: reader.mirror.hub == "here", 30.0, "the stream says that the hub is back")
    wait_for_end(reader)
    check(place, run, reader.mirror)
    assert reader.mirror.count["snapshot"] == 1
    reader.close()


@pytest.mark.long
def test_gateway_and_hub_are_killed_at_once(web: Web) -> None:
    place = web.place
    run = place.start_run(4, pieces=100)
    reader = Reader(web.port, f"/api/runs/{run}/events")
    until(lambda: spoken(reader) > 3_000, 60.0, "some text")
    web.process.kill()
    place.the_hub.kill()
    web.start_again()  # before its hub
    until(lambda: reader.mirror.hub == "away", 60.0, "the stream says that the hub is away")
    place.start_hub()
    wait_for_end(reader)
    check(place, run, reader.mirror)
    reader.close()


@pytest.mark.long
def test_a_gateway_that_was_stopped_for_a_while_repairs_what_it_missed(web: Web) -> None:
    run = web.place.start_run(5, pieces=100)
    reader = Reader(web.port, f"/api/runs/{run}/events")
    until(lambda: spoken(reader) > 3_000, 60.0, "some text")
    before = len(web.place.log_of(run))
    web.process.signal(signal.SIGSTOP)
    until(lambda: len(web.place.log_of(run)) > before + 100, 60.0, "much happens meanwhile")
    web.process.signal(signal.SIGCONT)
    wait_for_end(reader)
    check(web.place, run, reader.mirror)
    reader.close()


@pytest.mark.long
def test_a_client_that_does_not_read_starts_over_from_a_snapshot_and_the_others_see_all(web: Web) -> None:
    run = web.place.start_run(6, pieces=200, words=1_500, pace_s=0.02)
    other = Reader(web.port, f"/api/runs/{run}/events")
    stopped = socket.create_connection(("127.0.0.1", web.port))
    stopped.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    stopped.sendall(f"GET /api/runs/{run}/events HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\n\r\n".encode())
    until(lambda: web.figure("felixhub_web_backlogs_lost") >= 1, 50.0, "what waits for it is too much")
    # It reads on: whatever it was given before, its last snapshot and what follows are whole.
    mirror = Mirror()
    stopped.settimeout(60)
    with stopped, stopped.makefile("rb") as file:
        while file.readline().strip():
            pass  # the answer's head
        for message in messages(_unchunked(file)):
            mirror.take(message)
            if mirror.ended:
                break
    assert mirror.count["reset"] >= 1 and not mirror.is_another_log
    check(web.place, run, mirror)
    wait_for_end(other, 60.0)
    check(web.place, run, other.mirror)
    other.close()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_client_that_reads_nothing_for_a_minute_is_let_go(web: Web) -> None:
    """What it has not read does not stay with us for ever; it may come back where it was."""
    run = web.place.start_run(10, pieces=200, words=1_500, pace_s=0.02)
    stopped = socket.create_connection(("127.0.0.1", web.port))
    stopped.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    stopped.sendall(f"GET /api/runs/{run}/events HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\n\r\n".encode())
    with stopped:
        until(lambda: web.figure("felixhub_web_viewers") == 1, 30.0, "it is a viewer")
        until(lambda: web.figure("felixhub_web_viewers") == 0, SEND_S_MAX + 120.0, "it is let go")
        stopped.settimeout(30.0)
        with contextlib.suppress(ConnectionResetError):
            while stopped.recv(65_536):
                pass  # what the kernels still had of it, and then its end
    again = Reader(web.port, f"/api/runs/{run}/events")
    wait_for_end(again, 120.0)
    check(web.place, run, again.mirror)
    again.close()


def _unchunked(file):  # type: ignore[no-untyped-def]
    """Lines of a body in chunks."""
    rest = b""
    while True:
        size = int(file.readline().split(b";")[0] or b"0", 16)
        if not size:
            return
        rest += file.read(size)
        file.readline()
        *lines, rest = rest.split(b"\n")
        yield from (line + b"\n" for line in lines)


def test_a_position_of_another_log_is_answered_with_a_reset_and_a_snapshot(web: Web) -> None:
    run = web.place.start_run(7, pieces=10)
    first = Reader(web.port, f"/api/runs/{run}/events")
    wait_for_end(first)
    first.close()
    for position in ("0123456789abcdef-5", f"{first.mirror.last_id.rpartition('-')[0]}-99999"):
        reader = Reader(web.port, f"/api/runs/{run}/events", last_id=position)
        wait_for_end(reader)
        assert reader.began == ["reset"]
        check(web.place, run, reader.mirror)
        reader.close()


def test_a_restored_backup_of_the_log_makes_every_client_start_over_and_end_with_what_it_tells(web: Web) -> None:
    """What the hub's log says now is what is shown, also where more had been shown before."""
    place = web.place
    run = place.start_run(9, pieces=150)
    reader = Reader(web.port, f"/api/runs/{run}/events")
    until(lambda: spoken(reader) > 2_000, 60.0, "some text")
    place.the_hub.kill()
    backup = place.folder / "backup"
    shutil.copytree(place.data, backup)
    kept = sum(len(e.text.encode()) for e in map(parse_event, place.stored(run)) if isinstance(e, ThoughtPartial))
    place.start_hub()
    until(lambda: spoken(reader) > kept + 5_000, 60.0, "text that the backup has not")
    place.the_hub.kill()
    shown = spoken(reader)
    shutil.rmtree(place.data)
    shutil.copytree(backup, place.data)
    place.start_hub()
    until(lambda: reader.mirror.count.get("reset"), 60.0, "the client is told to start over")
    assert reader.mirror.is_another_log
    wait_for_end(reader, 120.0)
    assert shown > kept
    assert not reader.mirror.faults, reader.mirror.faults[:5]
    assert {key: bytes(text) for key, text in reader.mirror.texts.items()} == texts_in_log(place, run)
    assert [mark["seq"] for mark in reader.mirror.marks] == [
        event.seq for event in place.events_of(run) if event.kind != "thought.partial"
    ]
    reader.close()


def test_a_hundred_clients_end_with_the_same_texts(web: Web) -> None:
    run = web.place.start_run(10, pieces=60)
    readers = [Reader(web.port, f"/api/runs/{run}/events?curve=0") for _ in range(100)]
    until(lambda: web.figure("felixhub_web_viewers") == 100, 60.0, "all are there")
    assert web.figure("felixhub_web_feeds") == 1  # The run is followed once for all of them.
    for reader in readers:
        wait_for_end(reader, 120.0)
        check(web.place, run, reader.mirror)
    for reader in readers:
        reader.close()
    until(lambda: web.figure("felixhub_web_viewers") == 0, 60.0, "all have left")


def test_a_run_that_is_removed_is_gone_and_its_clients_do_not_come_back(web: Web) -> None:
    place = web.place
    run = place.start_run(8, pieces=5)
    reader = Reader(web.port, f"/api/runs/{run}/events")
    wait_for_end(reader)
    with place.client() as client:
        client.remove(run)
    until(lambda: reader.mirror.gone, 30.0, "the stream says that the run is gone")
    reader.close()
    again = Reader(web.port, f"/api/runs/{run}/events", last_id=reader.mirror.last_id)
    until(lambda: again.is_over, 30.0, "it is told not to come back")
    assert again.statuses == [204]
    assert web.get(f"/api/runs/{run}/events").status == 404
    assert web.get(f"/api/runs/{run}").code == "unknown_run"
