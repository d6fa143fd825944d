"""Secrets are planted wherever they may be, everything is made to go wrong, and then what is left behind is searched.

A server gets the key of its endpoint and gives it back in each way that a server can complain in. Nothing of it may be
in the log, in a file, on a screen, in a document or in the list of processes.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import signal
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from ports import free_ports
from scripted_model import ModelServer
from shell import Shell

from felixhub.llm.failures import WORDS_MAX

PIECE = 12  # so much of a secret in a row is a leak too
AGENT = "---\nname: {name}\nrole: research\nendpoint: {name}\n---\nYou write.\n"
STAGE = '[[stages]]\nname = "{name}"\nagent = "{name}"\nretries_max = 0\non_failure = "continue"\n'

# Says its secret in an exception, in a chain of them, and in one that cannot be caught.
RAISES = '''"""Fails with a secret in its words."""

import os


async def think(request):
    yield "So far so good. "
    try:
        raise ValueError(os.environ["MINE_API_KEY"])
    except ValueError as error:
        raise RuntimeError(f"refused: {error}") from error
'''
DIES = '''"""Takes its worker along."""

import os
import signal


async def think(request):
    yield "So far so good. "
    os.kill(os.getpid(), signal.SIGKILL)
'''


@contextlib.contextmanager
def telling_server() -> Iterator[tuple[str, list[str]]]:
    """`URL/MODE/v1` answers in that mode with all headers that it got. Also: every header that it got."""
    heard: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self._answer()

        def _answer(self) -> None:
            mode = self.path.split("/")[1]
            ours = {name: value for name, value in self.headers.items() if name.lower() in ("authorization", "x-team")}
            said = "; ".join(f"{name}: {value}" for name, value in ours.items())
            heard.append(said)
            shown = f"I was sent {said}"
            match mode:
                case "redirect":
                    # To itself, and so for ever.
                    self._send(302, b"", Location=f"{self.path.partition('?')[0]}?{urllib.parse.quote(said)}")
                case "away":
                    self._send(307, b"", Location=f"http://127.0.0.1:9/?{urllib.parse.quote(said)}")
                case "page":
                    self._send(401, f"<html><script>1</script><p>{shown}</p></html>".encode(), kind="text/html")
                case "garbage":
                    self._send(200, shown.encode(), kind="text/plain")
                case "shape":
                    self._json(400, {"detail": [{"headers": ours, "said": shown}]})
                case "cut":
                    # The key lies across the place where long words are cut.
                    key = self.headers.get("Authorization", "")
                    self._json(400, {"error": {"message": "x" * (WORDS_MAX - len("Bearer ") - 21) + " " + key}})
                case "breaks":
                    self._stream('data: {"choices": [{"index": 0, "delta": {"content": "Half. "}}]}')
                    self._stream(f"data: {json.dumps({'error': {'message': shown, 'code': 500}})}")
                case "noise":
                    self._stream(f"data: {shown}")
                case "fine":
                    self._stream('data: {"choices": [{"index": 0, "delta": {"content": "All is well. "}}]}')
                    self._stream('data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}')
                    self._stream("data: [DONE]")
                case _:
                    self._json(
                        int(mode) if mode.isdecimal() else 404, {"error": {"message": shown, "code": "invalid_api_key"}}
                    )

        def _json(self, status: int, value: object) -> None:
            self._send(status, json.dumps(value).encode())

        def _send(self, status: int, data: bytes, *, kind: str = "application/json", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def _stream(self, line: str) -> None:
            if "data" not in self.__dict__.setdefault("began", ""):
                self.began = "data"
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
            self.wfile.write(f"{line}\n\n".encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ModelServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Searched:
    """The secrets, and the search for them."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def plant(self, name: str, value: str | None = None) -> str:
        self.of[name] = value or f"sk{secrets.token_hex(20)}"
        return self.of[name]

    @property
    def _needles(self) -> dict[bytes, str]:
        found: dict[bytes, str] = {}
        for name, value in self.of.items():
            for start in range(len(value) - PIECE + 1):
                found[value[start : start + PIECE].encode()] = f"{name}[{start}:]"
            for said in (value, f"Bearer {value}", f":{value}"):
                for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b85encode):
                    found[encode(said.encode()).rstrip(b"=")] = f"{name} encoded"
                found[said.encode().hex().encode()] = f"{name} in hexadecimal"
        return found

    def check(self, where: str, data: bytes) -> None:
        for needle, what in self._needles.items():
            at = data.find(needle)
            shown = data[max(0, at - 200) : at + len(needle) + 40]
            assert at < 0, f"{what} is in {where}: {shown!r}"

    def check_files(self, folder: Path, *, but: tuple[Path, ...] = ()) -> int:
        """Every file below this folder, as bytes; how many there were."""
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        files = [path for path in files if not any(path.is_relative_to(one) for one in but)]
        for path in files:
            with contextlib.suppress(FileNotFoundError):
                self.check(str(path), path.read_bytes())
        return len(files)


@contextlib.contextmanager
def processes_watched(shell: Shell, searched: Searched) -> Iterator[set[str]]:
    """What every process of the shell is called, as long as this goes on: its command line and its title."""
    names: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for pid, words in shell.kin().items():
                names.add(words)
                with contextlib.suppress(OSError):
                    names.add(Path(f"/proc/{pid}/comm").read_text())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield names
    finally:
        over.set()
        thread.join()
    for name in names:
        searched.check("the list of processes", name.encode())


MODES = (
    "401",
    "400",
    "403",
    "404",
    "429",
    "500",
    "redirect",
    "away",
    "page",
    "garbage",
    "shape",
    "cut",
    "breaks",
    "noise",
)


@pytest.mark.timeout(300)
def test_nothing_that_is_left_behind_holds_a_secret(shell: Shell) -> None:
    searched = Searched()
    with telling_server() as (url, heard), processes_watched(shell, searched) as names:
        environ = {"FELIXHUB_DEBUG": "1", "FELIXHUB_LLM_KEY": searched.plant("FELIXHUB_LLM_KEY")}
        for name in ("MINE_API_KEY", "OPENAI_API_KEY"):
            environ[name] = searched.plant(name)
        header = searched.plant("a header")
        key_file = shell.write("planted/key", searched.plant("a key's file"))
        key_file.chmod(0o600)
        tables = []
        for number, mode in enumerate(MODES):
            source = f'api_key_file = "{key_file}"' if number % 2 else 'api_key_env = "MINE_API_KEY"'
            extra = f'extra_headers = {{ "X-Team" = "{header}" }}\n' if mode in ("400", "shape", "breaks") else ""
            tables.append(
                f'[endpoints.m-{mode}]\nbase_url = "{url}/{mode}/v1"\nmodel = "m"\nretries_max = 0\n'
                f"context_tokens = 9000\n{source}\n{extra}"
            )
            shell.write(f"agents/m-{mode}.md", AGENT.format(name=f"m-{mode}"))
        # Asks for the list of models first, which fails in the same ways.
        for mode in ("401", "garbage", "redirect"):
            tables.append(
                f'[endpoints.list-{mode}]\nbase_url = "{url}/{mode}/v1"\nretries_max = 0\n'
                'api_key_env = "MINE_API_KEY"\n'
            )
            shell.write(f"agents/list-{mode}.md", AGENT.format(name=f"list-{mode}"))
        tables.append(
            f'[endpoints.openai]\nbase_url = "{url}/401/v1"\nmodel = "m"\nretries_max = 0\n'
            'api_key_env = "OPENAI_API_KEY"\n'
        )
        shell.write("agents/openai.md", AGENT.format(name="openai"))
        tables.append(f'[endpoints.well]\nbase_url = "{url}/fine/v1"\nmodel = "m"\ncontext_tokens = 9000\n')
        shell.write("agents/well.md", AGENT.format(name="well"))
        shell.write("agents/plain.md", AGENT.format(name="plain").replace("endpoint: plain\n", ""))
        shell.write("agents/raises.py", RAISES)
        shell.write("agents/dies.py", DIES)
        config = shell.write("config/llm.toml", "\n".join(tables))
        models = [*(f"m-{mode}" for mode in MODES), "list-401", "list-garbage", "list-redirect", "openai", "plain"]
        agents = [*models, "well", "raises", "dies"]
        stages = "\n".join(STAGE.format(name=name) for name in agents)
        # The last: whoever shares its worker goes with it.
        stages += f"after = {json.dumps(agents[:-1])}\n"
        shell.write("config/workflows/leak.toml", f'name = "leak"\n{stages}')
        port = free_ports()
        up = shell.start(
            *(
                "up",
                "--serve",
                "--llm",
                f"{url}/402/v1",
                "--listen",
                f"tcp://127.0.0.1:{port}",
                "--agents-per-worker",
                "8",
            ),
            **environ,
        )
        up.until_printed("Ctrl-C stops", 60.0, err=True)
        for role in ("viewer", "operator", "worker"):
            shell.run("keys", "new", role, "--role", role, **environ)
            told = json.loads((shell.project / f"felixhub-{role}.json").read_bytes())
            searched.plant(f"the {role}'s key", told["curve"]["secret"])
        hub_key = json.loads((shell.data / "keys" / "hub.json").read_bytes())
        searched.plant("the hub's key", hub_key["secret"])
        planted = (shell.data / "keys", shell.project / "planted", config, *shell.project.glob("felixhub-*.json"))

        watching = shell.start(
            "--debug", "watch", "--run", "all", "-o", "json", "--hub", "felixhub-viewer.json", **environ
        )
        watching.until_printed("waiting for one", 60.0, err=True)
        run = ("run", "Think.", "--workflow", "leak", "--llm", f"{url}/402/v1", "--hub", "felixhub-operator.json")
        shown = shell.start("--debug", *run, **environ).wait(150.0)
        assert shown.code == 4, shown.err
        (row,) = shell.run("ps", "--json", "--hub", "felixhub-viewer.json", **environ).json
        for name, more in (("md", ("--appendix",)), ("html", ("--appendix",)), ("jsonl", ())):
            shell.run("export", row["run"], "--format", name, *more, "-o", f"out.{name}", **environ)
        shell.run("keys", "list", "--json", **environ)
        _every_refusal(shell, environ)
        # While it runs: the write-ahead log too.
        assert list(shell.data.glob("*-wal"))
        assert searched.check_files(shell.folder, but=planted) > 20
        events = shell.run("export", row["run"], "--format", "jsonl", "-o", "-").text
        up.signal(signal.SIGTERM)
        up.wait(60.0)
        watching.interrupt()
        watching.wait(60.0)
    # Each key was sent, each failure was told, and each with its key masked.
    for name in ("FELIXHUB_LLM_KEY", "MINE_API_KEY", "OPENAI_API_KEY", "a header", "a key's file"):
        assert any(searched.of[name] in said for said in heard), f"{name} was never sent: this test tests nothing"
    abandoned = {
        one["agent"]: one for one in map(json.loads, events.splitlines()) if one["kind"] == "thought.abandoned"
    }
    assert set(abandoned) == set(agents) - {"well"}
    for name in ("m-401", "m-400", "m-shape", "m-breaks", "m-page", "raises", "openai", "plain"):
        assert "***" in abandoned[name]["error"], abandoned[name]
    assert abandoned["dies"]["reason"] == "agent_lost"
    assert any("felixhub" in name for name in names)
    searched.check_files(shell.folder, but=planted)


def _every_refusal(shell: Shell, environ: dict[str, str]) -> None:
    """The sentences about keys, with tracebacks where there are any."""

    def ask(*arguments: object) -> None:
        done = shell.start(*arguments, **environ).wait(60.0)
        assert done.code not in (0, None), (arguments, done.text)

    ask("--debug", "cancel", "latest", "--hub", "felixhub-viewer.json")
    ask("--debug", "ps", "--hub", "felixhub-worker.json")
    ask("--debug", "keys", "new", "viewer", "--role", "viewer", "--out", "again.json")
    told = json.loads((shell.project / "felixhub-operator.json").read_bytes())
    planted = shell.project / "planted"
    torn = planted / "torn.json"
    for text in (
        json.dumps(told)[:-20],
        json.dumps(told | {"curve": {**told["curve"], "public": "short"}}),
        json.dumps(told | {"curve": told["curve"]["secret"]}),
        json.dumps(told | {"control": 7}),
    ):
        torn.write_text(text)
        torn.chmod(0o600)
        ask("--debug", "ps", "--hub", torn)
        ask("--debug", "watch", "--hub", torn)
    torn.write_text(json.dumps(told))
    torn.chmod(0o644)
    ask("--debug", "ps", "--hub", torn)
    # A hub whose own key is damaged, in a data directory of its own.
    (planted / "data" / "keys").mkdir(mode=0o700, parents=True)
    damaged = planted / "data" / "keys" / "hub.json"
    damaged.write_text((shell.data / "keys" / "hub.json").read_text().replace('"public"', '"pubic"'))
    damaged.chmod(0o600)
    listen = f"tcp://127.0.0.1:{free_ports()}"
    ask("--debug", "hub", "--data", planted / "data", "--listen", listen)
    ask("--debug", "keys", "new", "k", "--role", "viewer", "--data", planted / "data", "--address", listen)


# What somebody writes who takes the name of a variable, or a URL, for the place of the key.
BAD_LINES = [
    '[endpoints.mine]\nbase_url = "http://localhost:1/v1"\napi_key = "KEY"',
    '[endpoints.mine]\nbase_url = "http://localhost:1/v1"\ntoken = "KEY"',
    '[endpoints.mine]\nbase_url = "http://localhost:1/v1"\napi_key_env = "KEY"',
    '[endpoints.mine]\nbase_url = "http://localhost:1/v1"\nextra_headers = { Authorization = "Bearer KEY" }',
    '[endpoints.mine]\nbase_url = "http://localhost:1/v1"\nextra_headers = { Authorization = "Bearer KEY" ',
    '[endpoints.mine]\nbase_url = "http://ann:KEY@localhost:1/v1"',
    '[endpoints.mine]\nbase_url = "http://localhost:1/v1?key=KEY"',
    '[endpoints.mine]\nbase_url = "http://localhost:KEY/v1"',
    'default = "http://ann:KEY@localhost:1/v1"',
    'default = "http://localhost:1/v1?key=KEY"',
    'api_key = "KEY"',
    "KEY",
    '[endpoints.mine]\nbase_url = "http://localhost:1/v1"\napi_key_file = { path = "KEY" }',
    '[endpoints.mine]\nbase_url = "http://localhost:1/v1"\nextra_headers = "Bearer KEY"',
    '[endpoints.mine]\nbase_url = "http://localhost:1/v1"\nextra_headers = ["Bearer KEY"]',
]


@pytest.mark.timeout(200)
@pytest.mark.long
def test_a_key_in_a_bad_configuration_is_not_shown(shell: Shell) -> None:
    searched = Searched()
    key = searched.plant("the key")
    for number, line in enumerate(BAD_LINES):
        config = shell.write("config/llm.toml", line.replace("KEY", key) + "\n")
        done = shell.start(*(("--debug",) if number % 2 else ()), "ps").wait(60.0)
        assert done.code in (1, 2), (line, done.text, done.err)  # 1: a traceback was asked for
        assert str(config) in done.err, line
        searched.check(line, done.out + done.err.encode())
    config.unlink()
    for name, value in (
        ("FELIXHUB_LLM", f"http://ann:{key}@localhost:1/v1"),
        ("FELIXHUB_LLM", f"http://localhost:1/v1?key={key}"),
        ("FELIXHUB_LISTEN", f"tcp://ann:{key}@127.0.0.1:x"),
    ):
        done = shell.start("--debug", "hub" if "LISTEN" in name else "ps", **{name: value}).wait(60.0)
        assert done.code in (1, 2), (name, done.err)
        if name == "FELIXHUB_LLM":
            searched.check(name, done.out + done.err.encode())
    assert not shell.data.exists() or searched.check_files(shell.data)


def test_the_search_finds_what_is_there() -> None:
    searched = Searched()
    key = searched.plant("the key")
    searched.check("nothing", b"sk" + bytes(100))
    for data in (key, key[5:20], base64.b64encode(f"Bearer {key}".encode()).decode(), key[-PIECE:]):
        with pytest.raises(AssertionError, match=re.escape("the key")):
            searched.check("here", f"…{data}…".encode())
