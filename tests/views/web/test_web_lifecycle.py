"""How the gateway begins and ends: its exit codes, its sentences, and what it leaves behind."""

from __future__ import annotations

import json
import signal
import socket
import stat

import pytest
from sse_reader import Reader
from web_place import Place, Process, Web, until


def ended(place: Place, *flags: str) -> tuple[int, str]:
    """A gateway that does not start: its exit code, and what it says."""
    process = Process(place, "web", ["-m", "felixhub", "web", "--no-open", "--hub", str(place.data), *flags])
    return process.wait(60.0), process.said()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_at_once_with_pages_open(web: Web, number: signal.Signals, code: int) -> None:
    run = web.place.start_run(1, pieces=400)
    readers = [Reader(web.port, f"/api/runs/{run}/events"), Reader(web.port, "/api/events")]
    silent = socket.create_connection(("127.0.0.1", web.port))
    silent.sendall(f"GET /api/runs/{run}/events HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\n\r\n".encode())
    until(lambda: all(reader.mirror.count.get("runs") for reader in readers), 30.0, "both streams begin")
    web.process.signal(number)
    assert web.process.wait(15.0) == code, web.process.said()
    assert "Traceback" not in web.process.said()
    for file in ("web.json", "web-token"):
        assert not (web.place.data / file).exists()
    assert web.place.status(run) == "running"  # Closing it never stops a run.
    silent.close()
    for reader in readers:
        reader._stopped = True
        reader.close()


def test_it_starts_before_its_hub_and_finds_it_when_it_comes(place: Place) -> None:
    web = Web(place)
    assert "no hub is up yet" in web.process.said()
    assert web.get("/").status == 200
    assert web.get("/healthz").status == 200
    answer = web.get("/readyz")
    assert (answer.status, answer.code) == (503, "no_hub")
    reader = Reader(web.port, "/api/events")
    until(lambda: reader.mirror.hub == "away", 30.0, "the stream says that there is no hub")
    refused = web.post("/api/runs", {"task": "x"})
    assert (refused.status, refused.code) == (503, "no_hub")
    place.start_hub()
    until(lambda: reader.mirror.hub == "here", 30.0, "the stream says that the hub has come")
    assert web.get("/readyz").status == 200
    assert web.json("/api/runs") == []
    reader.close()


def test_programs_of_this_user_find_it_and_nobody_else_does(place: Place) -> None:
    place.start_hub()
    web = Web(place)
    told = json.loads((place.data / "web.json").read_text())
    assert told == {"address": web.address, "pid": web.process.pid}
    for file in ("web.json", "web-token"):
        assert stat.S_IMODE((place.data / file).stat().st_mode) == 0o600
    assert web.post("/api/runs/nothing/cancel").status == 404  # The token is the right one.
    # Its token is in no log, and no command line.
    assert web.token not in web.process.said()
    assert not any(web.token in words for words in place.kin().values())


def test_a_port_in_use_is_said_in_a_sentence(place: Place) -> None:
    web = Web(place)
    code, said = ended(place, "--port", str(web.port))
    assert code == 2
    assert said == f"felixhub: port {web.port} is in use: choose another with --port, or 0 for any free one\n"


def test_others_may_reach_it_only_with_a_token(place: Place) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        code, said = ended(place, "--host", host, "--port", "0")
        assert code == 2
        assert "--token-file" in said


def test_a_token_file_that_others_can_read_is_refused(place: Place) -> None:
    file = place.folder / "token"
    file.write_text("a-token-that-is-long-enough\n")
    file.chmod(0o640)
    code, said = ended(place, "--token-file", str(file))
    assert code == 2 and "chmod 600" in said
    file.chmod(0o600)
    file.write_text("short\n")
    code, said = ended(place, "--token-file", str(file))
    assert code == 2 and "16" in said
    code, said = ended(place, "--token-file", str(place.folder / "nothing"))
    assert code == 2 and "cannot read the token" in said


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--allow-origin", "*"), ("--allow-origin", "null"), ("--allow-origin", "http://x/path"),
     ("--allow-origin", "http://[::1"), ("--allow-host", "*"), ("--allow-host", "http://x"),
     ("--host", "no.such.host.invalid")],
)  # fmt: skip
def test_what_cannot_be_allowed_is_said(place: Place, flag: str, value: str) -> None:
    more = ("--token-file", str(_token(place))) if flag == "--host" else ()
    code, said = ended(place, flag, value, *more)
    assert code == 2
    assert said.startswith(f"felixhub: {flag}"), said
    assert said.count("\n") == 1


def _token(place: Place):  # type: ignore[no-untyped-def]
    file = place.folder / "token"
    file.write_text("a-token-that-is-long-enough\n")
    file.chmod(0o600)
    return file


def test_a_hub_that_is_killed_ends_no_page(place: Place) -> None:
    place.start_hub()
    web = Web(place)
    web.ready()
    place.the_hub.kill()
    until(lambda: web.get("/readyz").status == 503, 30.0, "it notices")
    assert web.get("/").status == 200
    place.start_hub()
    until(lambda: web.get("/readyz").status == 200, 30.0, "it finds the hub again")


def test_the_page_of_up_ends_with_it_however_it_ends(place: Place) -> None:
    arguments = ["-m", "felixhub", "up", "--serve", "--view", "web", "--data", str(place.data)]
    up = Process(place, "up", arguments, BROWSER="true", FELIXHUB_LLM="offline")
    until(lambda: "http://" in up.out.read_text() or up.exit is not None, 60.0, f"the address is printed: {up.said()}")
    until(lambda: any(" web " in words for words in place.kin().values()), 30.0, "the page is a process of its own")
    up.kill()
    until(lambda: not place.kin(), 30.0, "nothing is left")
