"""`felixhub keys`: every sentence, every exit code, the files' modes, and that no secret is ever shown."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from ports import free_ports
from shell import Command, Shell, until

from felixhub.llm.offline import OfflineModel
from felixhub.transport.address import find_hub
from felixhub.transport.control import ControlClient

AT = "tcp://10.0.0.5:7800"
ADDRESS = ("--address", AT)
Z85 = r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def key_file(shell: Shell, name: str) -> dict[str, Any]:
    told = json.loads((shell.project / f"felixhub-{name}.json").read_bytes())
    assert isinstance(told, dict)
    return told


def listening(shell: Shell, address: str) -> Command:
    hub = shell.start("hub", "--listen", address)
    hub.until_printed("hub_started", err=True)
    return hub


def secrets(shell: Shell) -> list[str]:
    """Every secret half that there is: the hub's, and those that were given away."""
    files = [shell.data / "keys" / "hub.json", *shell.project.glob("felixhub-*.json")]
    found = [re.search(rf'"secret": "({Z85})"', file.read_text()) for file in files if file.exists()]
    assert found and all(found)
    return [one[1] for one in found if one]


def no_secret_is_printed(shell: Shell) -> None:
    printed = b"".join(path.read_bytes() for path in (shell.folder / "printed").iterdir())
    assert not [one for one in secrets(shell) if one.encode() in printed]


# ---- new -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "more", "first", "use"),
    [
        ("viewer", (), f"a viewer's key for {AT}", "felixhub watch --hub felixhub-k.json"),
        (
            "viewer",
            ("--run", "memo-*"),
            f"a viewer's key for {AT}, runs memo-*",
            "felixhub watch --hub felixhub-k.json",
        ),
        ("operator", (), f"an operator's key for {AT}", "felixhub ps --hub felixhub-k.json"),
        ("worker", (), f"a worker's key for {AT}", "felixhub agent AGENT --hub felixhub-k.json"),
        (
            "worker",
            ("--agent", "research", "--agent", "sec-*"),
            f"a worker's key for {AT}, agents research, sec-*",
            "felixhub agent research --hub felixhub-k.json",
        ),
        (
            "worker",
            ("--agent", "sec-*"),
            f"a worker's key for {AT}, agents sec-*",
            "felixhub agent AGENT --hub felixhub-k.json",
        ),
    ],
)
def test_a_key_is_made(shell: Shell, role: str, more: tuple[str, ...], first: str, use: str) -> None:
    done = shell.run("keys", "new", "k", "--role", role, *more, *ADDRESS)
    assert done.err == ""
    assert done.lines == [
        f"felixhub-k.json: {first}",
        "Take the file to the other machine (scp; whoever has it has the key). There:",
        f"  {use}",
    ]
    folder = shell.data / "keys"
    assert {mode(folder), mode(folder / "peers")} == {0o700}
    files = [folder / "hub.json", folder / "peers" / "k.json", shell.project / "felixhub-k.json"]
    assert {mode(file) for file in files} == {0o600}
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["hub.json", "k.json"]
    told = key_file(shell, "k")
    assert told["key"] == "k" and set(told["curve"]) == {"server", "public", "secret"}
    assert [told[name] for name in ("control", "ingest", "live")] == [f"tcp://10.0.0.5:{7800 + n}" for n in range(3)]
    # What the hub keeps is the public half.
    assert told["curve"]["secret"] not in files[0].read_text() + files[1].read_text()
    no_secret_is_printed(shell)


def test_a_key_with_another_file(shell: Shell) -> None:
    done = shell.run("keys", "new", "k", "--role", "viewer", *ADDRESS, "--out", "elsewhere.json")
    assert done.lines[0] == f"elsewhere.json: a viewer's key for {AT}"
    assert done.lines[2] == "  felixhub watch --hub elsewhere.json"
    assert mode(shell.project / "elsewhere.json") == 0o600


A_NAME = "small letters, digits, - and _, at most 64"
A_PATTERN = f"{A_NAME}; a * at the end stands for anything"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("k", "--role", "boss"), "'boss' is no role: worker, viewer or operator"),
        (("k",), "Missing option '--role'"),
        (("--role", "viewer"), "Missing argument 'NAME'"),
        (("Anna", "--role", "viewer"), f"'Anna' is not a name of a key: {A_NAME}"),
        (("../hub", "--role", "viewer"), f"'../hub' is not a name of a key: {A_NAME}"),
        (("k" * 65, "--role", "viewer"), f"'{'k' * 65}' is not a name of a key: {A_NAME}"),
        (("", "--role", "viewer"), f"'' is not a name of a key: {A_NAME}"),
        (
            ("k", "--role", "viewer", "--agent", "a"),
            "only a worker's key is for certain agents, not a viewer's: leave out --agent",
        ),
        (
            ("k", "--role", "worker", "--run", "r"),
            "only a viewer's key is for certain runs, not a worker's: leave out --run",
        ),
        (("k", "--role", "worker", "--agent", "A b"), f"'A b' is not a name of an agent: {A_PATTERN}"),
        (("k", "--role", "worker", "--agent", "a*b"), f"'a*b' is not a name of an agent: {A_PATTERN}"),
        (("k", "--role", "viewer", "--run", "m*o"), f"'m*o' is not a run's id: {A_PATTERN}"),
        (("k", "--role", "viewer", "--out", "no/k.json"), "cannot write no/k.json: No such file or directory"),
        (("k", "--role", "viewer", "--out", "."), ". is there already: name another file with --out, or remove it"),
    ],
)
def test_what_is_no_key(shell: Shell, arguments: tuple[str, ...], sentence: str) -> None:
    done = shell.run("keys", "new", *arguments, *ADDRESS, code=2)
    assert done.out == b"" and sentence in done.complaint
    # Nothing is left of it: the same name can be tried again.
    assert not list(shell.data.glob("keys/peers/*")) and not list(shell.project.glob("*.json"))


@pytest.mark.parametrize("address", ["foo", "tcp://", "tcp://10.0.0.5", "tcp://10.0.0.5:70000", "http://10.0.0.5:7800"])
def test_what_is_no_address(shell: Shell, address: str) -> None:
    done = shell.run("keys", "new", "k", "--role", "viewer", "--address", address, code=2)
    assert (
        done.complaint == f"'{address}' is not an address: write tcp://127.0.0.1:7800 (it and the two ports after it)"
    )
    assert not list(shell.data.glob("keys/peers/*"))


def test_a_name_and_a_file_that_are_taken(shell: Shell) -> None:
    shell.run("keys", "new", "k", "--role", "viewer", *ADDRESS)
    before = (shell.project / "felixhub-k.json").read_bytes()
    done = shell.run("keys", "new", "k", "--role", "operator", *ADDRESS, code=2)
    assert done.complaint == "felixhub-k.json is there already: name another file with --out, or remove it"
    done = shell.run("keys", "new", "k", "--role", "operator", *ADDRESS, "--out", "second.json", code=2)
    assert done.complaint == "there is a key 'k' already: choose another name, or revoke that one first"
    assert (shell.project / "felixhub-k.json").read_bytes() == before
    assert not (shell.project / "second.json").exists()


def test_where_the_hub_is_reached(shell: Shell) -> None:
    """Nobody is made to say what can be known: the running hub's address, else the settings'."""
    needed = "say where others reach it, --address tcp://HOST:PORT"
    done = shell.run("keys", "new", "k", "--role", "viewer", code=2)
    assert done.complaint == f"no hub listens on the network here: {needed}"
    assert not list(shell.data.glob("keys/peers/*"))
    port = free_ports()
    shell.write("config/hub.toml", f'listen = "tcp://127.0.0.1:{port}"\n')
    assert f" for tcp://127.0.0.1:{port}" in shell.run("keys", "new", "k", "--role", "viewer").lines[0]
    shell.write("config/hub.toml", f'listen = "tcp://0.0.0.0:{port}"\n')
    done = shell.run("keys", "new", "m", "--role", "viewer", code=2)
    assert done.complaint == f"the hub listens on every address of this machine: {needed}"
    shell.write("config/hub.toml", "")
    listening(shell, f"tcp://127.0.0.1:{port}")
    assert f" for tcp://127.0.0.1:{port}" in shell.run("keys", "new", "m", "--role", "viewer").lines[0]


# ---- list, revoke ----------------------------------------------------------------------------------------------------


def test_keys_are_listed(shell: Shell) -> None:
    assert shell.run("keys", "list").text == "No keys: felixhub keys new NAME --role viewer makes one.\n"
    assert shell.run("keys", "list", "--json").json == {"keys": [], "faults": []}
    shell.run("keys", "new", "gpu-box", "--role", "worker", "--agent", "research", *ADDRESS)
    shell.run("keys", "new", "ann", "--role", "viewer", "--run", "memo-*", *ADDRESS)
    shell.run("keys", "new", "ops", "--role", "operator", *ADDRESS)
    at = r"20\d\d-\d\d-\d\d \d\d:\d\d"
    expected = [f"ann      viewer    {at}, runs memo-\\*", f"gpu-box  worker    {at}, agents research"]
    expected.append(f"ops      operator  {at}")
    for pattern, line in zip(expected, shell.run("keys", "list").lines, strict=True):
        assert re.fullmatch(pattern, line), line
    told = shell.run("keys", "list", "--json").json
    assert told["faults"] == []
    assert [(key["name"], key["role"], key["agents"], key["runs"]) for key in told["keys"]] == [
        ("ann", "viewer", ["*"], ["memo-*"]),
        ("gpu-box", "worker", ["research"], ["*"]),
        ("ops", "operator", ["*"], ["*"]),
    ]
    assert told["keys"][0]["public"] == key_file(shell, "ann")["curve"]["public"]
    no_secret_is_printed(shell)


def test_a_key_is_revoked(shell: Shell) -> None:
    done = shell.run("keys", "revoke", "k", code=2)
    assert done.complaint == "there is no key 'k'; there are: none"
    shell.run("keys", "new", "k", "--role", "viewer", *ADDRESS)
    shell.run("keys", "new", "other", "--role", "viewer", *ADDRESS)
    done = shell.run("keys", "revoke", "../hub", code=2)
    assert done.complaint == "there is no key '../hub'; there are: k, other"
    done = shell.run("keys", "revoke", "k")
    assert done.text == "k is revoked.\n" and done.err == ""
    assert [line.split()[0] for line in shell.run("keys", "list").lines] == ["other"]
    assert (shell.data / "keys" / "hub.json").exists()


def test_a_key_that_cannot_be_relied_on(shell: Shell) -> None:
    """It is named and the others are listed; it can be revoked."""
    for name in ("good", "open", "torn", "moved"):
        shell.run("keys", "new", name, "--role", "viewer", *ADDRESS)
    peers = shell.data / "keys" / "peers"
    (peers / "open.json").chmod(0o640)
    (peers / "torn.json").write_text('{"public": "')
    (peers / "moved.json").write_bytes((peers / "good.json").read_bytes())
    done = shell.run("keys", "list")
    assert [line.split()[0] for line in done.lines] == ["good"]
    assert sorted(done.err.splitlines()) == sorted(
        [
            f"not usable: {peers / 'moved.json'}: the key in it is called 'good'",
            f"not usable: {peers / 'open.json'} holds a key and others may read or change it: "
            "chmod 600 it, and make it yours",
            f"not usable: {peers / 'torn.json'}: this is not a key: revoke it and make a new one",
        ]
    )
    told = shell.run("keys", "list", "--json").json
    assert [key["name"] for key in told["keys"]] == ["good"] and len(told["faults"]) == 3
    for name in ("open", "torn", "moved"):
        assert shell.run("keys", "revoke", name).text == f"{name} is revoked.\n"
    assert shell.run("keys", "list").err == ""


@pytest.mark.long
def test_directories_that_others_may_enter(shell: Shell) -> None:
    shell.run("keys", "new", "k", "--role", "viewer", *ADDRESS)
    for folder in (shell.data / "keys", shell.data / "keys" / "peers"):
        folder.chmod(0o750)
        sentence = f"{folder} must be a directory of yours with mode 0700: it holds keys; chmod 700 it"
        for arguments in (("list",), ("revoke", "k"), ("new", "m", "--role", "viewer", *ADDRESS)):
            assert shell.run("keys", *arguments, code=2).complaint == sentence
        done = shell.run("hub", "--listen", f"tcp://127.0.0.1:{free_ports()}", code=2)
        assert done.complaint == sentence
        folder.chmod(0o700)
    assert [line.split()[0] for line in shell.run("keys", "list").lines] == ["k"]


@pytest.mark.parametrize("what", ["open", "torn"])
def test_a_hub_whose_own_key_cannot_be_relied_on_does_not_listen(shell: Shell, what: str) -> None:
    shell.run("keys", "new", "k", "--role", "viewer", *ADDRESS)
    file = shell.data / "keys" / "hub.json"
    if what == "open":
        file.chmod(0o644)
        sentence = f"{file} holds a key and others may read or change it: chmod 600 it, and make it yours"
    else:
        file.write_text("{}")
        sentence = (
            f"{file}: this is not a hub's key: restore the file, or remove it (then every key must be given out anew)"
        )
    done = shell.run("hub", "--listen", f"tcp://127.0.0.1:{free_ports()}", code=2)
    assert done.complaint == sentence
    assert shell.run("keys", "new", "m", "--role", "viewer", *ADDRESS, code=2).complaint == sentence
    assert not (shell.data / "connection.json").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_files_of_somebody_else(shell: Shell) -> None:
    shell.run("keys", "new", "k", "--role", "viewer", *ADDRESS)
    file = shell.data / "keys" / "peers" / "k.json"
    os.chown(file, 65_534, 65_534)
    assert "not usable: " in shell.run("keys", "list").err
    os.chown(shell.data / "keys", 65_534, 65_534)
    assert "must be a directory of yours with mode 0700" in shell.run("keys", "list", code=2).complaint


# ---- while the hub runs ----------------------------------------------------------------------------------------------


def test_a_key_is_good_at_once_and_ends_at_once(shell: Shell) -> None:
    address = f"tcp://127.0.0.1:{free_ports()}"
    hub = listening(shell, address)
    for number in range(5):
        name = f"k{number}"
        shell.run("keys", "new", name, "--role", "viewer")
        assert shell.run("ps", "--hub", f"felixhub-{name}.json").code == 0  # the very next command
    with ControlClient(lambda: find_hub(str(shell.project / "felixhub-k0.json"), default=shell.data)) as stays:
        assert stays.runs() == []
        shell.run("keys", "revoke", "k1")
        sentence = f"the hub at {address} does not know the key 'k1': it was revoked, or it is another hub's"

        def is_out() -> bool:
            done = shell.start("ps", "--hub", "felixhub-k1.json").wait()
            assert done.code in (0, 2, 3), done.err
            return done.code == 2 and sentence in done.complaint

        until(is_out, 30.0, "the key ends")
        until(lambda: stays.runs() == [], 30.0, "the others go on")
    assert shell.run("ps", "--hub", "felixhub-k2.json").code == 0
    # The same name again is another key: the old file stays shut out.
    (shell.project / "felixhub-k1.json").rename(shell.project / "old.json")
    shell.run("keys", "new", "k1", "--role", "viewer")
    assert shell.run("ps", "--hub", "felixhub-k1.json").code == 0
    assert sentence in shell.run("ps", "--hub", "old.json", code=2).complaint
    assert hub.is_running
    no_secret_is_printed(shell)


@pytest.mark.long
def test_over_ipv6(shell: Shell, model: OfflineModel) -> None:
    """All three sockets: a worker's, a viewer's and an operator's key."""
    listening(shell, f"tcp://[::1]:{free_ports()}")
    for name, role in (("w", "worker"), ("v", "viewer"), ("o", "operator")):
        shell.run("keys", "new", name, "--role", role)
    shell.start("agent", "research", "--hub", "felixhub-w.json")
    asked = ("--workflow", "solo", "--llm", model.base_url, "--hub", "felixhub-o.json")
    run = shell.run("run", "Why?", *asked, "--detach").text.strip()
    until(lambda: shell.status(run) == "finished", 60.0, "the run ends")
    watched = shell.run("watch", "--run", run, "--no-follow", "-o", "json", "--hub", "felixhub-v.json")
    assert '"run.finished"' in watched.lines[-1]


def test_a_copy_that_others_may_read_is_refused(shell: Shell) -> None:
    shell.run("keys", "new", "k", "--role", "viewer", *ADDRESS)
    (shell.project / "felixhub-k.json").chmod(0o644)
    for command in (("ps",), ("watch",), ("cancel", "latest"), ("export", "latest")):
        complaint = shell.run(*command, "--hub", "felixhub-k.json", code=2).complaint
        assert complaint.endswith("holds a key and others may read or change it: chmod 600 it, and make it yours")


# ---- help ------------------------------------------------------------------------------------------------------------


def test_help(shell: Shell) -> None:
    listed = shell.run("keys").text
    assert listed == shell.run("keys", "--help").text
    for name, words in (
        ("new", "Make a key, and the connection file that it leaves with."),
        ("list", "List the keys that were given out and not revoked."),
        ("revoke", "Take a key back."),
    ):
        assert name in listed and words in listed
        told = shell.run("keys", name, "--help").text
        assert words in told and f"felixhub keys {name}" in told and "--data DIR" in told
    assert "felixhub keys" in shell.run("hub", "--help").text
    assert "keys" in shell.run("--help").text
    assert not shell.data.exists()  # Asking costs nothing.
