"""`felixhub doctor`: one line for each thing, the fix beside what is wrong, and never a key."""

from __future__ import annotations

import json
import signal
import socket
from typing import Any

import pytest
from shell import Done, Shell
from strange_server import strange_server

from felixhub.llm.offline import OfflineModel

KEY = "sk-very-secret-0123456789"


def checks(done: Done) -> dict[str, list[dict[str, str]]]:
    """What was found, by check."""
    told: dict[str, list[dict[str, str]]] = {}
    for one in done.json["checks"]:
        told.setdefault(one["check"], []).append(one)
    return told


def the_llm(shell: Shell, *arguments: object, code: int = 0, **environ: str) -> dict[str, str]:
    """What is said of the endpoint that must work; it comes first."""
    return checks(shell.run("doctor", "--json", *arguments, code=code, **environ))["llm"][0]


def test_all_is_well(shell: Shell, model: OfflineModel) -> None:
    done = shell.run("doctor", "--llm", model.base_url)
    assert done.lines[-1] == "all is well"
    names = [line.split()[1] for line in done.lines[:-1]]
    assert list(dict.fromkeys(names)) == [
        *("python", "settings", "data", "hub", "agents", "llm", "terminal", "pdf", "page"),
    ]
    (said,) = [line for line in done.lines if model.base_url.split("/")[2] in line]
    assert "model offline-extractive (32,768 tokens of context)" in said
    assert "first token" in said and "streams, counts its tokens" in said
    assert "none is up: `felixhub up --serve` starts one" in done.text
    assert not shell.data.exists(), "it has only looked"
    assert "\x1b" not in done.text


def test_as_json(shell: Shell) -> None:
    done = shell.run("doctor", "--quick", "--llm", "offline", "--json")
    assert set(done.json) == {"ok", "checks"} and done.json["ok"] is True
    assert all(set(one) == {"check", "status", "sentence", "fix"} for one in done.json["checks"])
    assert checks(done)["llm"][0]["sentence"].startswith("offline: the built-in offline model")


def test_quick_asks_for_no_answer(shell: Shell, model: OfflineModel) -> None:
    said = the_llm(shell, "--quick", "--llm", model.base_url)
    assert said["status"] == "ok" and "answers, model offline-extractive" in said["sentence"]
    assert all(request.method == "GET" for request in model.requests)


# ---- models --------------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there(shell: Shell) -> None:
    with socket.socket() as taken:  # Bound and not listening: whoever connects is refused.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        done = shell.run("doctor", "--llm", url, code=1)
    assert done.lines[-1] == "1 thing is wrong"
    (said,) = [line for line in done.lines if "✗" in line]
    assert f"Nothing answers at {url}" in said and "start that server" in said


def test_a_server_that_answers_in_one_piece_and_does_not_count(shell: Shell) -> None:
    answer = {
        "data": [{"id": "m"}],
        "choices": [{"message": {"role": "assistant", "content": "one two three"}, "finish_reason": "stop"}],
    }
    with strange_server(body=json.dumps(answer).encode(), kind="application/json") as url:
        said = the_llm(shell, "--llm", url)
    assert said["status"] == "note" and "model m" in said["sentence"]
    assert "it does not stream" in said["sentence"] and "it does not count its tokens" in said["sentence"]
    assert "streaming = false" in said["fix"]


@pytest.mark.parametrize(("status", "words"), [(401, "refuses the key (401)"), (500, "500")])
def test_a_server_that_refuses_never_shows_the_key(shell: Shell, status: int, words: str) -> None:
    body = b'{"error": {"message": "Incorrect API key provided: %s"}}' % KEY.encode()
    with strange_server(status=status, body=body) as url:
        done = shell.run("doctor", "--llm", url, code=1, FELIXHUB_LLM_KEY=KEY)
    assert words in done.text and KEY not in done.text + done.err


def test_a_key_is_named_and_masked(shell: Shell, model: OfflineModel) -> None:
    table = f'default = "mine"\n[endpoints.mine]\nbase_url = "{model.base_url}"\napi_key_env = "MINE"\n'
    shell.write("config/llm.toml", table)
    done = shell.run("doctor", "--json", MINE=KEY)
    (said,) = [one["sentence"] for one in checks(done)["llm"] if one["sentence"].startswith("mine:")]
    assert "key *** from MINE" in said and KEY not in done.text + done.err
    said = the_llm(shell, code=1)["sentence"]
    assert "the environment variable MINE is not set" in said and "export MINE=" in said


def test_what_was_set_up_must_work_even_when_another_is_chosen(shell: Shell, model: OfflineModel) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        shell.write("config/llm.toml", f'[endpoints.mine]\nbase_url = "http://127.0.0.1:{taken.getsockname()[1]}/v1"\n')
        done = shell.run("doctor", "--json", "--llm", model.base_url, code=1)
    found = {one["sentence"].split(":")[0]: one["status"] for one in checks(done)["llm"]}
    assert found["mine"] == "wrong" and found["lmstudio"] == "ok"


# ---- the rest ------------------------------------------------------------------------------------------------------


def wrong(done: Done) -> list[dict[str, Any]]:
    return [one for one in done.json["checks"] if one["status"] == "wrong"]


def test_settings_and_agents_that_are_wrong(shell: Shell) -> None:
    hub = shell.write("config/hub.toml", "workers_maxx = 4\n")
    (said,) = wrong(shell.run("doctor", "--quick", "--json", code=1))
    assert said["sentence"] == f"{hub}:1: there is no key 'workers_maxx' here: did you mean 'workers_max'?"
    hub.unlink()
    card = shell.write("agents/mine.md", "---\ntemprature: 1\n---\nThink.\n")
    (said,) = wrong(shell.run("doctor", "--quick", "--llm", "offline", "--json", code=1))
    assert said["check"] == "agents" and f"{card}:2" in said["sentence"] and said["fix"] == "felixhub workflows check"


def test_a_data_directory_that_is_none_or_open(shell: Shell) -> None:
    file = shell.write("data.txt", "in the way")
    quick = ("doctor", "--quick", "--llm", "offline", "--json")
    (said,) = wrong(shell.run(*quick, "--data", file, code=1))
    assert said == {
        "check": "data",
        "status": "wrong",
        "sentence": f"{file} is a file",
        "fix": "name another directory with --data",
    }
    shell.data.mkdir(mode=0o755)
    shell.data.chmod(0o755)
    (said,) = wrong(shell.run(*quick, code=1))
    assert said["fix"] == f"chmod 700 {shell.data}" and "0755" in said["sentence"]


def test_a_hub_that_is_up_one_that_hangs_and_one_that_was_killed(shell: Shell) -> None:
    quick = ("doctor", "--quick", "--llm", "offline", "--json")
    hub = shell.start("hub")
    with shell.client() as client:
        pid = client.hello()["pid"]
    (said,) = checks(shell.run(*quick))["hub"]
    assert said["status"] == "ok" and f"one is up at {shell.data}, pid {pid}" in said["sentence"]
    hub.signal(signal.SIGSTOP)
    (said,) = wrong(shell.run(*quick, code=1))
    assert said["sentence"] == f"process {pid} holds {shell.data} and does not answer" and f"kill {pid}" in said["fix"]
    hub.kill()
    (said,) = checks(shell.run(*quick))["hub"]
    assert said["status"] == "note" and "has ended without a farewell" in said["sentence"]
    hub = shell.start("hub")
    with shell.client() as client:
        client.hello()
    (said,) = checks(shell.run(*quick))["hub"]
    assert "one is up" in said["sentence"]
    hub.signal(signal.SIGTERM)
    hub.wait()
    (said,) = checks(shell.run(*quick))["hub"]
    assert said["status"] == "ok" and "none is up" in said["sentence"]


def test_a_terminal_has_colours_and_signs(shell: Shell) -> None:
    terminal = shell.terminal("doctor", "--quick", "--llm", "offline")
    assert terminal.wait() == 0
    assert "✓ terminal  xterm-256color, 100x40, utf-8, colours" in terminal.screen
    assert b"\x1b[32m" in terminal.received
