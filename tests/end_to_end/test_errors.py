"""What goes wrong at the user's desk: one sentence that says what, why and what to do, and the right exit code.

Exit codes: 0 ok, 1 run failed or cancelled, 2 usage or configuration, 3 no hub, 4 degraded, 130 interrupted.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from ports import free_ports
from shell import MEMO, TASK, Shell
from strange_server import strange_server

from felixhub.core.events import parse_event
from felixhub.llm.offline import OfflineModel

# One try, so that a test does not wait for back-offs.
ONCE = """name = "once"
[[stages]]
name = "research"
agent = "research"
retries_max = 0
"""


def failed(shell: Shell, url: str, *more: object, **environ: str) -> str:
    """The sentence of a run that fails. What the console says on standard output says the same."""
    shell.write("config/workflows/once.toml", ONCE)
    arguments = ("up", TASK, "--workflow", "once", "--llm", url, *more)
    done = shell.run(*arguments, code=1, seconds=60.0, **environ)
    assert "✗ run failed after" in done.text
    said = done.complaint.removeprefix("the run failed: ")
    assert said in done.text
    shell.until_nothing_is_left()
    return said


# ---- models --------------------------------------------------------------------------------------------------------


def test_no_model_answers(shell: Shell) -> None:
    with socket.socket() as taken:  # Bound and not listening: whoever connects is refused.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        said = failed(shell, url)
    assert f"Nothing answers at {url}" in said
    assert "start that server" in said and "--llm offline" in said


def test_a_wrong_key_is_named_but_never_shown(shell: Shell) -> None:
    key = "sk-very-secret-0123456789"
    body = b'{"error": {"message": "Incorrect API key provided: %s", "code": "invalid_api_key"}}' % key.encode()
    with strange_server(status=401, body=body) as url:
        said = failed(shell, url, FELIXHUB_LLM_KEY=key)
    assert "refuses the key (401)" in said and "FELIXHUB_LLM_KEY" in said
    assert "Incorrect API key provided: ***" in said
    found = [path for path in shell.folder.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert not found  # Neither in the log, nor in a log file, nor on the screen.


def test_a_key_that_is_not_set(shell: Shell) -> None:
    said = failed(shell, "openrouter")
    assert "'openrouter' needs a key" in said and "export OPENROUTER_API_KEY=" in said


def test_a_web_page_instead_of_a_model(shell: Shell) -> None:
    with strange_server(body=b"<!doctype html><h1>Welcome to nginx!</h1>", kind="text/html") as url:
        said = failed(shell, url)
    assert f"What answers at {url} is no OpenAI-compatible server" in said and "/v1" in said


def test_a_web_page_instead_of_an_answer(shell: Shell) -> None:
    with strange_server(body=b"<!doctype html><h1>Welcome to nginx!</h1>", kind="text/html") as url:
        shell.write("config/llm.toml", f'[endpoints.mine]\nbase_url = "{url}"\nmodel = "m"\ncontext_tokens = 9000\n')
        said = failed(shell, "mine")
    assert f"mine ({url}) answered with a web page" in said and "check the base URL" in said


def test_a_document_that_does_not_fit_is_refused_with_the_numbers(shell: Shell) -> None:
    model = OfflineModel(context_tokens=2_000)
    model.start()
    said = failed(shell, model.base_url, "--file", MEMO)
    model.stop()
    assert "the prompt needs about" in said and "takes 2000" in said and "smaller document" in said
    assert not [request for request in model.requests if request.method == "POST"]  # Refused before it was sent.


@pytest.mark.parametrize("view", ["json", "none"])
def test_the_sentence_comes_in_every_view(shell: Shell, view: str) -> None:
    shell.write("config/workflows/once.toml", ONCE)
    with strange_server(status=401, body=b"{}") as url:
        done = shell.run("up", TASK, "--workflow", "once", "--llm", url, "--view", view, code=1)
    assert "refuses the key (401)" in done.complaint
    if view == "json":
        assert parse_event(done.out.splitlines()[-1]).kind == "run.failed"
    else:
        assert done.out == b""


# ---- configuration -------------------------------------------------------------------------------------------------


def test_settings_that_are_wrong_are_named_by_file_and_line(shell: Shell) -> None:
    hub = shell.write("config/hub.toml", '# ours\nbatch_intervall_s = 1.0\nworkers_max = "four"\n')
    llm = shell.write("config/llm.toml", '[endpoints.mine]\nbase_url = "http://localhost:1/v1"\nmodle = "q"\n')
    for command in (("up", TASK), ("ps",), ("watch",), ("hub",)):
        done = shell.run(*command, code=2)
        assert done.out == b""
        assert done.err.splitlines() == [
            f"felixhub: {hub}:2: there is no key 'batch_intervall_s' here: did you mean 'batch_interval_s'?",
            f"{hub}:3: 'workers_max' must be a whole number, not 'four': leave out the quotes",
            f"{llm}:3: endpoint 'mine': there is no key 'modle' here: did you mean 'model'?",
        ]
    assert not shell.data.exists()  # Stopped before anything was started.


def test_a_workflow_that_is_wrong_is_named_by_file_and_line(shell: Shell) -> None:
    file = shell.write(
        "config/workflows/wrong.toml",
        'name = "wrong"\n[[stages]]\nname = "one"\nagent = "reserch"\nafter = ["two"]\n',
    )
    for name in ("wrong", str(file)):
        done = shell.run("up", TASK, "--workflow", name, "--llm", "offline", code=2)
        assert f"{file}:4" in done.err and "there is no agent called 'reserch'" in done.err
        assert f"{file}:5" in done.err and "'two', which does not exist" in done.err
    assert not shell.data.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--workflow", "heli"),
            "there is no workflow called 'heli' (there are: helix, phases, pipeline, sections, solo, swarm): "
            "did you mean 'helix'?",
        ),
        (("--workflow", "none.toml"), "none.toml: cannot read this file: No such file or directory"),
        (("--llm", "lmstudoi"), "did you mean 'lmstudio'?"),
        (("--llm", "gopher://there"), "The endpoint's URL is not usable"),
        (("--llm", "http://ann:secret@there/v1"), "The endpoint's URL is not usable"),
        (("--file", "none.md"), "none.md: cannot read this document: No such file or directory"),
        (("--file", "."), "cannot read this document: Is a directory"),
        (("--file", "binary.md"), "binary.md:2: this is not UTF-8 text: save it as UTF-8"),
        (("--file", "picture.png"), "picture.png: cannot read .png files yet"),
        (("--file", "empty.md"), "empty.md: this document is empty"),
        (("--file", "large.md"), "large.md: the documents come to"),
        (("--out", "no/such/folder.md"), "there is no folder no/such to write the result into"),
        (("--out", "config"), "config: this is a folder: name a file in it"),
        (("--listen", "tcp://0.0.0.0:7800", "--plain"), "--listen tcp://0.0.0.0:7800 is not a loopback address"),
        (("--listen", "tcp://example.org:7800", "--plain"), "is not a loopback address"),
        (("--listen", "7800"), "'7800' is not an address: write tcp://127.0.0.1:7800"),
        (("--view", "jsno"), "'jsno' is none of console, tui, web, json, none; did you mean 'json'?"),
        (("--agents-per-worker", "0"), "greater than or equal to 1"),
        (("--nonsense",), "No such option: --nonsense"),
        (("one too many",), "unexpected extra argument"),
    ],
)
def test_up_says_what_is_wrong_before_it_starts(shell: Shell, arguments: tuple[str, ...], words: str) -> None:
    shell.write("binary.md", "fine\n").write_bytes(b"fine\n\xff\xfe\x00")
    shell.write("picture.png", "no")
    shell.write("empty.md", " \n")
    shell.write("large.md", "word " * 700_000)
    given = () if "--llm" in arguments else ("--llm", "offline")
    done = shell.run("up", TASK, *arguments, *given, code=2)
    assert words in done.complaint
    assert "secret" not in done.err
    assert done.out == b"" and "run helix" not in done.err


@pytest.mark.parametrize("command", ["up", "run"])
def test_an_empty_task(shell: Shell, command: str) -> None:
    for task in ("", "  \n"):
        assert "the task is empty" in shell.run(command, task, "--llm", "offline", code=2).complaint
    assert "the task is empty" in shell.run(command, "-", "--llm", "offline", code=2).complaint
    assert not shell.data.exists()


def test_a_task_from_standard_input(shell: Shell, model: OfflineModel) -> None:
    task = "Which hüts — and why?\nSecond line."
    arguments = ("up", "-", "--workflow", "solo", "--llm", model.base_url, "--view", "json")
    done = shell.run(*arguments, stdin=task + "\n")
    assert parse_event(done.out.splitlines()[0]).task == task  # type: ignore[attr-defined]
    assert f"# Task\n\n{task}\n\n" in model.requests[-1].body["messages"][1]["content"]


def test_documents_and_results_go_with_a_task(shell: Shell) -> None:
    assert "--file and --out go with a task" in shell.run("up", "--file", MEMO, "--llm", "offline", code=2).complaint


def test_a_data_directory_that_cannot_be_written(shell: Shell) -> None:
    file = shell.write("data.txt", "in the way")
    said = shell.run("up", TASK, "--llm", "offline", "--data", file, code=2).complaint
    assert f"cannot write the data directory {file}" in said and "--data" in said
    said = shell.run("hub", "--data", file / "below", code=2).complaint
    assert str(file) in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_of_somebody_else(shell: Shell) -> None:
    shell.data.mkdir(mode=0o500)
    assert (
        f"cannot write the data directory {shell.data}" in shell.run("up", TASK, "--llm", "offline", code=2).complaint
    )


def test_a_port_that_is_taken(shell: Shell) -> None:
    first = free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        taken.listen()
        for command in (("up", TASK, "--llm", "offline"), ("hub",)):
            listen = ("--listen", f"tcp://127.0.0.1:{first}")
            done = shell.run(*command, *listen, code=2)
            assert f"cannot listen on tcp://127.0.0.1:{first + 1}" in done.complaint
    shell.until_nothing_is_left()


# ---- no hub --------------------------------------------------------------------------------------------------------


def test_no_hub(shell: Shell) -> None:
    """All at once: each looks for a hub for a while before it gives up."""
    port = free_ports()
    nowhere = shell.folder / "nowhere"
    commands = {
        name: shell.start(*arguments)
        for name, arguments in {
            "ps": ("ps",),
            "watch": ("watch", "--hub", nowhere),
            "run": ("run", TASK, "--llm", "offline", "--hub", nowhere),
            "cancel": ("cancel", "latest", "--hub", f"tcp://127.0.0.1:{port}"),
            "export": ("export", "latest", "--hub", nowhere / "connection.json"),
        }.items()
    }
    for name, command in commands.items():
        done = command.wait(30.0)
        assert done.code == 3, (name, done.err)
        assert done.out == b""
        assert "no hub at" in done.complaint and "felixhub up --serve" in done.complaint and "--hub" in done.complaint
    assert str(shell.data) in commands["ps"].err and f"tcp://127.0.0.1:{port}" in commands["cancel"].err


def test_no_model_is_announced_where_there_is_no_hub(shell: Shell) -> None:
    done = shell.run("run", TASK, "--hub", shell.folder / "nowhere", code=3)
    assert done.complaint.startswith("no hub at") and len(done.err.splitlines()) == 1


@pytest.mark.parametrize(("text", "words"), [("{}", "not a hub's connection file"), ("no json", "not a hub's")])
def test_a_connection_file_that_is_none(shell: Shell, text: str, words: str) -> None:
    file = shell.write("connection.json", text)
    said = shell.run("ps", "--hub", file, code=2).complaint
    assert words in said and str(file) in said


# ---- flags ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("wacth",), "No such command 'wacth'. Did you mean 'watch'?"),
        *((words, "name a run (`felixhub ps` lists them), or `latest`") for words in (("show",), ("cancel",))),
        (("export",), "(felixhub export --help lists what there is)"),
        (("run",), "Missing argument 'TASK'. (felixhub run --help lists what there is)"),
        (("workflows", "show"), "(felixhub workflows show --help lists what there is)"),
        (("wacth",), "(felixhub --help lists what there is)"),
        (("export", "latest", "--format", "docx"), "'docx' is none of md, html, pdf, jsonl"),
        (("watch", "-o", "txt"), "'txt' is none of text, json, raw, partial; did you mean 'text'?"),
        (("watch", "--since", "soon"), "--since soon: write 30s, 10m, 2h or 1d"),
        (("watch", "--tail", "-3"), "--tail -3: write a number of lines, or all"),
        (("watch", "-i", "("), "--include '(' is not a regular expression"),
        (("watch", "-H", "*", "--no-follow"), "--highlight '*' is not a regular expression"),
        (("ps", "--hub", "http://127.0.0.1:1"), "is not an address: write tcp://127.0.0.1:7800"),
        (("offline-model", "--port", "70000"), "less than or equal to 65535"),
        (("offline-model", "--tokens-per-s", "0"), "greater than or equal to 0.1"),
        (("--nonsense",), "No such option: --nonsense"),
    ],
)
def test_wrong_words_on_the_command_line(shell: Shell, arguments: tuple[str, ...], words: str) -> None:
    done = shell.run(*arguments, code=2)
    assert words in done.complaint
    assert done.out == b""


def test_a_misspelt_variable(shell: Shell) -> None:
    said = shell.run("ps", code=2, FELIXHUB_DATTA="x").complaint
    assert said == "FELIXHUB_DATTA: there is no such variable: did you mean 'FELIXHUB_DATA'?"


def test_debug_shows_the_traceback(shell: Shell) -> None:
    done = shell.start("--debug", "up", TASK, "--workflow", "nope", "--llm", "offline").wait()
    assert done.code != 0 and "Traceback" in done.err and "ConfigError" in done.err
    assert Path(shell.project).is_dir()
