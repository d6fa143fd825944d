"""The processes one by one, without a supervisor: hub, agents, offline model; and the hub on TCP."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
from urllib.parse import urlsplit

import pytest
from pace import all_at_once
from ports import free_ports
from shell import MEMO, TASK, Shell, until
from texts import of_kind, thoughts

from felixhub.core.events import RunFinished, ThoughtStarted
from felixhub.llm.offline import OfflineModel


def test_hub_and_agents_each_by_itself(shell: Shell, model: OfflineModel) -> None:
    """A hub, three workers of one, one and two agents, and nobody who looks after them."""
    hub = shell.start("hub")
    shell.rows()  # It answers.
    workers = [shell.start("agent", *names) for names in (["research"], ["critic"], ["analysis", "synthesizer"])]
    done = shell.run("run", TASK, "--file", MEMO, "--llm", model.base_url)
    run = shell.rows()[-1]["run"]
    assert of_kind(shell.events(run), RunFinished)[0].degraded == ()
    assert all(one.is_final for one in thoughts(shell.events(run)).values())
    sessions = {one.agent: one.session for one in of_kind(shell.events(run), ThoughtStarted)}
    assert len(set(sessions.values())) == 3
    assert sessions["analysis"] == sessions["synthesizer"]
    assert "✓ run finished in" in done.text
    for worker in workers:
        worker.signal(signal.SIGTERM)
        assert worker.wait(30.0).code == 0, worker.err
        logged = [json.loads(line) for line in worker.err.splitlines()]
        assert logged[0]["event"] == "worker_started" and "Traceback" not in worker.err
    hub.signal(signal.SIGTERM)
    assert hub.wait(30.0).code == 0
    assert json.loads(hub.err.splitlines()[0])["event"] == "hub_started"
    shell.until_nothing_is_left()


def test_an_agent_may_come_before_the_hub_and_the_run(shell: Shell, model: OfflineModel) -> None:
    worker = shell.start("agent", "research")
    hub = shell.start("hub")
    done = shell.run("run", TASK, "--workflow", "solo", "--llm", model.base_url, "--json")
    assert b'"run.finished"' in done.out
    worker.interrupt()
    assert worker.wait(30.0).code == 0, worker.err
    hub.interrupt()
    assert hub.wait(30.0).code == 0, hub.err


def test_a_hub_on_tcp(shell: Shell, model: OfflineModel) -> None:
    """Named by its address, its directory and its connection file, on the command line and in the environment."""
    port = free_ports()
    address = f"tcp://127.0.0.1:{port}"
    hub = shell.start("hub", "--listen", address, "--plain")
    nowhere = {"FELIXHUB_DATA": str(shell.folder / "nowhere")}
    worker = shell.start("agent", "research", "--hub", address, **nowhere)
    run = shell.run(
        "run", TASK, "--workflow", "solo", "--llm", model.base_url, "--hub", address, "--detach", **nowhere
    ).text.strip()
    watched = shell.run("watch", "--run", run, "--until-done", "--hub", address, **nowhere)
    assert "✓ run finished in" in watched.text
    for where in (address, str(shell.data), str(shell.data / "connection.json")):
        listed = shell.run("ps", "--json", FELIXHUB_HUB=where, **nowhere).json
        assert [row["run"] for row in listed] == [run]
    assert json.loads((shell.data / "connection.json").read_text())["network"]["control"] == address
    assert (shell.data / "connection.json").stat().st_mode & 0o077 == 0
    worker.signal(signal.SIGTERM)
    hub.signal(signal.SIGTERM)
    assert (worker.wait(30.0).code, hub.wait(30.0).code) == (0, 0)
    shell.until_nothing_is_left()


def test_up_on_tcp(shell: Shell, model: OfflineModel) -> None:
    listen = ("--listen", f"tcp://127.0.0.1:{free_ports()}")
    done = shell.run("up", TASK, "--workflow", "solo", "--llm", model.base_url, "--view", "json", *listen)
    assert b'"run.finished"' in done.out
    shell.until_nothing_is_left()


def test_several_agents_in_one_process(shell: Shell, model: OfflineModel) -> None:
    arguments = ("up", TASK, "--llm", model.base_url, "--view", "none", "--agents-per-worker", "4", "--serve")
    with all_at_once(model, 3):
        up = shell.start(*arguments)
        until(lambda: [row for row in shell.rows() if row["status"] == "finished"], 60.0, "the run finishes")
    events = shell.events(shell.rows()[0]["run"])
    assert len({one.session for one in of_kind(events, ThoughtStarted)}) == 1
    assert model.open_requests_max == 3  # One process, and yet all at once.
    up.signal(signal.SIGTERM)
    assert up.wait(30.0).code == 0  # Of its task, which has long ended.
    shell.until_nothing_is_left()


# ---- the offline model ---------------------------------------------------------------------------------------------


def get(url: str) -> tuple[int, object]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20.0)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_offline_model(shell: Shell, ending: signal.Signals) -> None:
    port = free_ports(1)
    command = shell.start("offline-model", "--port", port, "--tokens-per-s", "5000", "--first-token-s", "0")
    command.until_printed("\n")
    (line,) = command.out.decode().splitlines()
    url = line.split()[-1]
    assert url == f"http://127.0.0.1:{port}/v1"
    assert line.startswith("offline model, extractive, at ")
    status, listed = get(f"{url}/models")
    assert status == 200 and listed["data"][0]["id"] == "offline-extractive"  # type: ignore[index]
    taken = shell.run("offline-model", "--port", port, code=2)
    assert f"cannot listen on port {port}" in taken.complaint and "--port" in taken.complaint
    done = shell.run("up", TASK, "--workflow", "solo", "--llm", url)
    assert "✓ run finished in" in done.text
    command.signal(ending)
    ended = command.wait(30.0)
    assert (ended.code, ended.err) == (0, "")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1.0)


def test_offline_model_takes_any_free_port(shell: Shell) -> None:
    command = shell.start("offline-model")
    command.until_printed("\n")
    assert re.fullmatch(r"offline model, extractive, at http://127\.0\.0\.1:\d+/v1\n", command.out.decode())
