"""What a model says is data: on a terminal it is shown and never obeyed, in files it is exact."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from shell import SOLO, TASK, Shell, a_shell
from strange_server import strange_server
from texts import check_chain, of_kind, thoughts

from felixhub.core.events import RunFinished, parse_event

LONG = 90_000
PIECES = [
    "\x1b[45mred\x1b[49m \x1b[2J\x1b[H cleared ",
    "\x1b]52;c;cm0gLXJmIC8=\x07 clipboard \x1b]0;title\x1b\\ ",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\ \x1bP+q\x1b\\ ",
    "\x9b31m \x9d52;c;eA==\x9c c1 \x85 nel ",
    "\u202egnirts\u202c \u2066isolated\u2069 \u200fmark \u061c bidi ",
    "over\rwritten\r\nand \x08\x08back \x7f\x07\x00 nul\x0b\x0c ",
    "\n12:03:04 hub        ✓ run finished in 0.1 s\n\n─── result ─────\n",
    "[/markup] [bold]no[/bold] {0} %s %(x)d ${HOME} `id` \\e[31m \u2028 \u2029 \ufeff ",
    "👩\u200d🔬 漢字 e\u0301 na\u00efve \ud83d\ude00 ",  # Fair text: it must come through as it is.
    "\n" + "x" * (LONG // 2),
    "y" * (LONG // 2) + "\n",
    "a tail without an end",
]
TEXT = "".join(PIECES).encode("utf-16", "surrogatepass").decode("utf-16")  # The pair above is one character.
OURS = re.compile(rb"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Hostile:
    shell: Shell
    url: str


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    with strange_server(pieces=PIECES) as url, a_shell() as shell:
        yield Hostile(shell, url)


def harmful(text: str) -> set[str]:
    """The characters that a terminal, or whoever lays out text, would obey."""
    return {c for c in text if c != "\n" and (unicodedata.category(c) == "Cc" or c in BIDI)}


BIDI = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"


def test_on_a_terminal_nothing_of_it_is_obeyed(hostile: Hostile) -> None:
    arguments = ("up", TASK, "--workflow", "solo", "--llm", hostile.url)
    terminal = hostile.shell.terminal(*arguments, columns=80)
    assert terminal.wait(60.0) == 0
    received = OURS.sub(b"", terminal.received).replace(b"\r\n", b"\n").decode()
    assert not harmful(received), harmful(received)
    # Escape codes are ours alone: colours, each of them one that the console has.
    codes = set(re.findall(rb"\x1b\[([0-9;]*)m", terminal.received))
    assert codes <= {b"0", b"1", b"2", b"31", b"32", b"33", b"34", b"35", b"36"}, codes
    for shown in ("␛[45mred␛[49m", "␛]52;c;cm0gLXJmIC8=␇", "\\x9b31m", "<U+202E>gnirts", "over␍written", "␀"):
        assert shown in received
    for fair in ("[/markup] [bold]no[/bold] {0} %s %(x)d ${HOME} `id`", "👩\u200d🔬 漢字 e\u0301 naïve 😀"):
        assert fair in received
    console = received[received.index(" hub        ▸ run ") :]
    assert max(len(line) for line in console.split("\n")) <= 80
    joined = "".join(re.sub(r"^\S+ research +│ ?", "", line) for line in received.split("\n"))
    assert "x" * (LONG // 2) + "y" * (LONG // 2) in joined.replace(" ", "")
    # Its lines cannot pass for ours: they stand behind the agent's name, or indented in the result.
    assert re.search(r"^\S+ research +│ 12:03:04 hub +✓ run finished in 0.1 s$", received, re.MULTILINE)
    assert len(re.findall(r"^─── result ─", received, re.MULTILINE)) == 1


def test_in_a_pipe_nothing_of_it_is_obeyed_either(hostile: Hostile) -> None:
    done = hostile.shell.run("up", TASK, "--workflow", "solo", "--llm", hostile.url)
    assert not harmful(done.text), harmful(done.text)


def test_json_export_and_result_are_exact(hostile: Hostile) -> None:
    shell = hostile.shell
    out = shell.project / "answer.txt"
    done = shell.run("up", TASK, "--workflow", "solo", "--llm", hostile.url, "--view", "json", "--out", out)
    events = [parse_event(line) for line in done.out.splitlines()]  # bytes: a NEL in a text parts no lines
    check_chain(events)
    (told,) = thoughts(events).values()
    assert told.text == TEXT
    assert of_kind(events, RunFinished)[0].result == TEXT
    assert out.read_bytes() == TEXT.encode()

    hub = shell.start("hub")
    run = events[0].run
    assert shell.run("export", run, "--format", "jsonl").out == done.out
    assert shell.run("watch", "--run", run, "--no-follow", "-o", "json").out == done.out
    assert shell.run("watch", "--run", run, "--no-follow", "-o", "raw").out == TEXT.encode()
    assert TEXT.encode() in shell.run("export", run).out
    for form in ("text", "partial"):
        assert not harmful(shell.run("watch", "--run", run, "--no-follow", "-o", form).text)
    raw = shell.terminal("watch", "--run", run, "--no-follow", "-o", "raw")
    assert raw.wait() == 0
    assert not harmful(raw.received.replace(b"\r\n", b"\n").decode())
    hub.interrupt()
    assert hub.wait(30.0).code == 0


def test_a_hostile_task_is_data_too(hostile: Hostile) -> None:
    """In the console, in `ps` and in what `up` says of unfinished runs."""
    shell = hostile.shell
    task = "\x1b]0;owned\x07\u202eksat\r\x9b2J"
    workflow = shell.write("nobody.toml", 'name = "nobody"\n[[stages]]\nname = "one"\nagent = "nobody"\n')
    shell.write("agents/nobody.md", "---\nname: nobody\n---\nNever started.\n")
    hub = shell.start("hub")
    run = shell.run("run", task, "--workflow", workflow, "--llm", hostile.url, "--detach").text.strip()
    assert not harmful(shell.run("ps").text)
    assert not harmful(shell.run("watch", "--run", run, "--no-follow").text)
    assert shell.run("ps", "--json").json[-1]["task"] == task
    hub.interrupt()
    assert hub.wait(30.0).code == 0
    done = shell.run("up", TASK, "--workflow", "solo", "--llm", hostile.url, "--view", "none")
    assert f"unfinished run {run} is paused" in done.err
    assert not harmful(done.err)


VIEWS = [
    *(
        "show RUN",
        "ps",
        "logs",
        "sections RUN",
        "sections RUN research",
        "diff RUN research",
        "diff RUN research 1 2",
        "export RUN",
    ),
    *("watch --run RUN --no-follow --tail all --compact", "watch --run RUN --no-follow --tail all --ascii"),
    *("watch --run RUN --no-follow --tail all -o partial", "watch --run RUN --no-follow --tail all -o raw"),
    *("replay run.jsonl --speed max"),
    *(
        "approve RUN research",
        "edit RUN research --file hostile.md",
        "cancel RUN",
        "steer RUN research --wrong \x1b[2J",
    ),
]


def test_no_console_view_obeys_it(hostile: Hostile) -> None:
    """On a terminal, where it would do harm: text, task, title, feedback and the name of whoever says it."""
    shell = hostile.shell
    bad = "\x1b]0;owned\x07\u202eksat\r\x9b2J\x1b[45mred"
    environ = {"USER": "a\x1b[45mb\u202ec"}
    workflow = shell.write(
        "titled.toml", SOLO.replace('"solo"', '"titled"') + 'section = "\\u001b[45mred \\u202e\\u009b31m title"\n'
    )
    shell.write("hostile.md", TEXT[:400] + bad)
    hub = shell.serve("--view", "none")
    asked = ("run", bad, "--workflow", workflow, "--llm", hostile.url, "--review", "--detach")
    run = shell.run(*asked, **environ).lines[0]
    shell.until_event(run, "section.ready")
    shell.run("edit", run, "research", "--file", "hostile.md", **environ)
    shell.run("export", run, "--format", "jsonl", "-o", "run.jsonl")
    wrong = {}
    for view in VIEWS:
        words = [run if word == "RUN" else word for word in view.split()]
        terminal = shell.terminal(*words, **environ)
        terminal.wait()
        received = OURS.sub(b"", terminal.received).replace(b"\r\n", b"\n").decode(errors="replace")
        codes = set(re.findall(rb"\x1b\[([0-9;]*)m", terminal.received))
        if found := harmful(received) or codes & {b"45", b"49"}:
            wrong[view] = (found, received[-300:])
        assert "Traceback" not in received
    assert not wrong, wrong
    hub.interrupt()
    assert hub.wait(30.0).code == 130
