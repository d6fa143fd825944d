"""Who comes back learns all that it missed, not the texts alone; and who never was there is not left waiting."""

from __future__ import annotations

import asyncio

import pytest
from sse_reader import Reader
from web_place import Web, until

from felixhub.views.web.viewer import Viewer


def ended_run(web: Web, seed: int) -> tuple[str, str, Reader]:
    """A run that was watched to its end: its id, the stream's address, and who watched."""
    run = web.place.start_run(seed, pieces=5)
    path = f"/api/runs/{run}/events"
    reader = Reader(web.port, path)
    until(lambda: reader.mirror.state.get("status") == "finished", 60.0, "the run ends")
    until(lambda: any("finished" in line["text"] for line in reader.mirror.lines), 30.0, "the log says so")
    reader.close()
    return run, path, reader


def test_who_comes_back_after_the_end_is_told_the_state_and_the_words_of_what_it_missed(web: Web) -> None:
    """Its page would show a run that goes on for ever: a run that has ended tells nothing again by itself."""
    _, path, first = ended_run(web, 21)
    boot = str(first.mirror.last_id).partition("-")[0]
    late = Reader(web.port, path, last_id=f"{boot}-1")
    until(lambda: late.mirror.state.get("status") == "finished", 30.0, "the state is told")
    assert "snapshot" not in late.mirror.count
    assert late.mirror.lines == [line for line in first.mirror.lines if line["seq"] > 1]
    late.close()
    # Nothing was missed: the state all the same, for who was cut off before it came.
    last = Reader(web.port, path, last_id=first.mirror.last_id)
    until(lambda: last.mirror.state.get("status") == "finished", 30.0, "the state is told")
    assert not last.mirror.lines
    assert "message" not in last.mirror.count
    last.close()


@pytest.mark.parametrize("seq", ["9999999999999999", "99999999999999999999", "-1", "x", "1-1"])
def test_what_is_no_position_is_answered_with_a_snapshot(web: Web, seq: str) -> None:
    _, path, first = ended_run(web, 22)
    boot = str(first.mirror.last_id).partition("-")[0]
    reader = Reader(web.port, path, last_id=f"{boot}-{seq}")
    until(lambda: reader.mirror.count.get("snapshot"), 30.0, "a snapshot comes")
    assert reader.mirror.texts == first.mirror.texts
    reader.close()


def test_the_position_of_another_run_is_none_of_this_one(web: Web) -> None:
    """Going on from there would leave out what this run said before."""
    _, _, first = ended_run(web, 23)
    _, path, second = ended_run(web, 24)
    reader = Reader(web.port, path, last_id=first.mirror.last_id)
    until(lambda: reader.mirror.ended, 30.0, "it has all of the second run")
    assert reader.began == ["reset"] and reader.mirror.is_another_log
    assert reader.mirror.texts == second.mirror.texts
    reader.close()


def test_another_log_is_told_also_when_the_viewer_must_start_over_for_something_else_too() -> None:
    async def told() -> list[bytes]:
        viewer = Viewer(None)
        viewer.on_reset("it was put back")
        viewer.on_not_missed("too much has happened since")
        frames = viewer.frames()
        return [await anext(frames), await anext(frames)]

    told_last = asyncio.run(asyncio.wait_for(told(), 30.0))[-1]
    assert told_last == b'event: reset\ndata: {"why":"too much has happened since","another_log":true}\n\n'


def test_a_viewer_is_told_that_its_run_is_gone_also_while_it_is_being_sent_something() -> None:
    async def told() -> list[bytes]:
        viewer = Viewer(None)
        viewer.on_latest("hub", b"one")
        viewer.on_latest("runs", b"two")
        frames = viewer.frames()
        got = [await anext(frames), await anext(frames)]
        viewer.on_gone("it was removed")
        return got + [one async for one in frames]

    assert asyncio.run(asyncio.wait_for(told(), 30.0))[1:] == [
        b"one",
        b"two",
        b'event: gone\ndata: {"why":"it was removed"}\n\n',
    ]
