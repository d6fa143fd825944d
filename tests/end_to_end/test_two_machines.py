"""docs/security.md, *step by step*: its own commands, typed on two machines that share nothing but a cable.

The machines are two network namespaces joined by a pair of virtual interfaces. Where that is not allowed, both are this
machine, and the hub has a loopback address of its own. The test says which it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_ports
from shell import BIN, ROOT, TAG, Command, Done, Shell, until

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ADDRESS, NETWORK, MODEL_PORT = "10.0.0.5:7800", "10.0.0", "9000"  # as the page has them
STAY = {"up", "offline-model", "agent", "watch"}  # commands that do not end by themselves
REFUSED = "does not know the key '{}': it was revoked, or it is another hub's; ask for a new one"


class Machine(Shell):
    """A shell whose commands run in a namespace of their own, if there is one."""

    def __init__(self, folder: Path, namespace: str | None, said: dict[str, str]) -> None:
        super().__init__(folder)
        self._prefix = ["ip", "netns", "exec", namespace] if namespace else []
        self._said = said  # what the page says, and what it is here

    def begin(self, line: str) -> Command:
        """A line of the page, running."""
        for word, ours in self._said.items():
            line = line.replace(word, ours)
        program, *words = shlex.split(line)
        assert program == "felixhub", line
        command = Command(self, [*self._prefix, str(BIN / program), *words], self.project, b"")
        self._started.append(command)
        return command

    def type(self, line: str, *, code: int = 0, seconds: float = 120.0) -> Done:
        """A line of the page, ended with this exit code."""
        done = self.begin(line).wait(seconds)
        assert done.code == code, f"{line}: exit {done.code}: {done.text[-3000:]}\n{done.err}"
        assert "Traceback" not in done.err, done.err
        return done


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def _cable() -> Iterator[list[str]]:
    """Two namespaces, 10.0.0.5 and 10.0.0.6, which see each other and nobody else. Raises OSError if that cannot be."""
    names = [f"fh{os.getpid()}{end}" for end in "ab"]
    interfaces = [f"fv{os.getpid()}{end}" for end in "ab"]  # a name has 15 characters at most
    with contextlib.ExitStack() as stack:
        try:
            for name in names:
                _ip("netns", "add", name)
                stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False, capture_output=True)
            _ip(
                "link",
                "add",
                interfaces[0],
                "netns",
                names[0],
                "type",
                "veth",
                "peer",
                interfaces[1],
                "netns",
                names[1],
            )
            for number, (name, interface) in enumerate(zip(names, interfaces, strict=True)):
                _ip("-n", name, "address", "add", f"{NETWORK}.{5 + number}/24", "dev", interface)
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", interface, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            raise OSError(f"no namespaces here: {getattr(error, 'stderr', error)!r}") from None
        yield names


@contextlib.contextmanager
def _machines(report: pytest.CaptureFixture[str]) -> Iterator[tuple[Machine, Machine]]:
    with contextlib.ExitStack() as stack:
        namespaces: list[str] | list[None] = [None, None]
        said = {}
        try:
            namespaces = stack.enter_context(_cable())
            how = "two network namespaces"
        except OSError as error:
            said = {ADDRESS: f"127.0.0.2:{free_ports()}", MODEL_PORT: str(free_ports(7))}
            how = f"loopback addresses of one machine ({error})"
        with report.disabled():
            print(f"\ntwo machines: {how}")
        made = []
        for namespace in namespaces:
            folder = Path(tempfile.mkdtemp(prefix="fh-", dir="/tmp"))  # Short: an ipc path holds 107 characters.
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            made.append(Machine(folder, namespace, said))
        left: list[str] = []
        try:
            yield made[0], made[1]
        finally:
            for machine in reversed(made):
                left += machine.close()
        assert not left, f"left behind: {left}"


def _steps() -> list[tuple[str, str]]:
    """Where a command of the page is typed, and the command."""
    found = re.findall(r"^<!-- on the (hub's|other) machine -->\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [(where, line) for where, block in found for line in block.splitlines()]


def _carry(line: str, here: Machine, there: Machine) -> None:
    """What `scp` does: the same file with the same mode."""
    *files, target = shlex.split(line)[1:]
    assert target.endswith(":") and files
    for name in files:
        shutil.copy(here.project / name, there.project / name)
        assert (there.project / name).stat().st_mode & 0o777 == 0o600


def _started(machine: Machine, line: str) -> Command:
    """A command that stays, once it does what it is for."""
    command = machine.begin(line)
    verb = line.split()[1]
    sign = {"up": "Ctrl-C stops", "agent": '"welcomed"', "offline-model": "http://", "watch": "waiting for one"}[verb]
    command.until_printed(sign, 60.0, err=verb != "offline-model")
    return command


def _guide(hub: Machine, other: Machine) -> Iterator[tuple[str, Command | Done]]:
    """Every command of the page in its order, done; the test looks at what came of it."""
    for where, line in _steps():
        machine = hub if where == "hub's" else other
        if line.startswith("scp "):
            _carry(line, hub, other)
            continue
        verb = line.split()[1]
        yield line, _started(machine, line) if verb in STAY else machine.type(line)


def _sessions(events: bytes, agent: str) -> set[str]:
    """Who wrote this agent's thoughts."""
    rows = [json.loads(line) for line in events.splitlines()]
    return {row["session"] for row in rows if row["kind"] == "thought.started" and row["agent"] == agent}


def _ends(command: Command, name: str) -> None:
    done = command.wait(60.0)
    assert done.code == 2 and REFUSED.format(name) in done.err.splitlines()[-1], done.err


@pytest.mark.timeout(400)
def test_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    with _machines(capsys) as (hub, other):
        stays: dict[str, Command] = {}
        ended: dict[str, Done] = {}
        bystander = None
        for line, what in _guide(hub, other):
            verb = " ".join(line.split()[1:3]) if " keys " in line else line.split()[1]
            if isinstance(what, Command):
                stays[verb] = what
            else:
                ended[verb] = what
            if verb == "watch":
                # The page's viewer shows lines; a second one with the same key notes every byte.
                bystander = other.begin("felixhub watch --run all -o json --tail all --hub felixhub-anna.json")
                bystander.until_printed("waiting for one", 60.0, err=True)
            if verb == "keys list":
                assert [row.split()[:2] for row in what.text.splitlines()] == [  # type: ignore[union-attr]
                    ["anna", "viewer"],
                    ["box", "worker"],
                    ["ops", "operator"],
                ]
            if verb == "export":  # The run has ended, and every key is still good.
                assert bystander is not None
                run = _the_run_is_the_same_on_both(hub, other, bystander, stays["agent"])
                _nobody_does_what_the_key_is_not_for(other, run)
                _other_keys_open_nothing(other)
        assert bystander is not None
        assert set(stays) == STAY and {"run", "ps", "export", "keys revoke"} <= set(ended)
        assert ended["keys revoke"].text == "anna is revoked.\n"
        _ends(stays["watch"], "anna")
        _ends(bystander, "anna")
        assert REFUSED.format("anna") in other.type("felixhub ps --hub felixhub-anna.json", code=2).complaint
        _the_others_go_on(hub, other, stays["agent"])
        assert stays["up"].is_running and stays["offline-model"].is_running


def _the_run_is_the_same_on_both(hub: Machine, other: Machine, bystander: Command, agent: Command) -> str:
    """The run went to its end with the other machine's agent, and its viewer has every byte of the hub's log."""
    (row,) = hub.type("felixhub ps --json").json
    run = str(row["run"])
    assert row["status"] == "finished"
    log = hub.type(f"felixhub export {run} --format jsonl -o -").out
    assert _sessions(log, "research") == {json.loads(agent.err.splitlines()[0])["session"]}
    assert len(_sessions(log, "critic")) == 1 and _sessions(log, "critic") != _sessions(log, "research")
    until(lambda: bystander.out == log, 30.0, lambda: f"{len(bystander.out)} bytes of {len(log)}")
    assert other.type(f"felixhub export {run} --format jsonl -o - --hub felixhub-anna.json").out == log
    result = next(json.loads(line)["result"] for line in log.splitlines() if b'"kind":"run.finished"' in line)
    answer = (other.project / "answer.md").read_text(encoding="utf-8")
    assert result.strip() in answer
    assert answer == hub.type(f"felixhub export {run} -o -").text
    return run


def _nobody_does_what_the_key_is_not_for(other: Machine, run: str) -> None:
    viewer = "the key 'anna' is a viewer's key: it may read, not command; an operator's key may"
    for line in (f"felixhub cancel {run} critic", f"felixhub pause {run}", 'felixhub run "Another." --llm offline'):
        assert viewer in other.type(f"{line} --hub felixhub-anna.json", code=2).complaint
    worker = "the key 'box' is a worker's key: it may write its agents' thoughts, not read or command"
    for line in ("felixhub ps", f"felixhub export {run} -o -", f"felixhub cancel {run}"):
        assert worker in other.type(f"{line} --hub felixhub-box.json", code=2).complaint
    refused = other.type("felixhub agent critic --hub felixhub-box.json", code=1)
    assert "the key 'box' is not for critic: it is for research" in refused.err
    for name, role in (("anna", "viewer"), ("ops", "operator")):
        refused = other.type(f"felixhub agent research --hub felixhub-{name}.json", code=1)
        assert f"{role}'s key: a worker needs a worker's" in refused.err


def _other_keys_open_nothing(other: Machine) -> None:
    """Another hub's key: as it is there seems to be no hub; with this hub's public key in it, it is not known."""
    other.type(f"felixhub keys new stranger --role operator --address tcp://{ADDRESS} --data elsewhere")
    stranger = other.project / "felixhub-stranger.json"
    assert "no hub at" in other.type("felixhub ps --hub felixhub-stranger.json", code=3).complaint
    told, ours = (json.loads(path.read_bytes()) for path in (stranger, other.project / "felixhub-ops.json"))
    told["curve"]["server"] = ours["curve"]["server"]
    stranger.write_text(json.dumps(told))
    assert REFUSED.format("stranger") in other.type("felixhub ps --hub felixhub-stranger.json", code=2).complaint
    stranger.chmod(0o644)
    assert "others may read" in other.type("felixhub ps --hub felixhub-stranger.json", code=2).complaint
    # Without any key. Which of the two it hears is a matter of who hangs up first.
    done = other.begin(f"felixhub ps --hub tcp://{ADDRESS}").wait(60.0)
    assert done.code in (2, 3) and not done.out
    assert "asks for a key" in done.complaint or "no hub at" in done.complaint


def _the_others_go_on(hub: Machine, other: Machine, agent: Command) -> None:
    """The worker has come back by itself, and writes for the next run as it did for the first."""
    done = other.type('felixhub run "And the trams?" --llm offline --json --hub felixhub-ops.json')
    run = json.loads(done.out.splitlines()[0])["run"]
    assert done.out == hub.type(f"felixhub export {run} --format jsonl -o -").out
    assert _sessions(done.out, "research") == {json.loads(agent.err.splitlines()[0])["session"]}
    assert agent.is_running


def test_the_page_is_what_is_tested() -> None:
    """No command of the guide that is not typed, and nothing of this machine in it."""
    part = PAGE[PAGE.index("## Agents and viewers on another machine, step by step\n") :]
    steps = _steps()
    lines = [line for block in re.findall(r"```\n(.*?)```", part, re.DOTALL) for line in block.splitlines()]
    assert lines == [line for _, line in steps]
    assert {line.split()[1] for _, line in steps if " keys " not in line and not line.startswith("scp ")} >= STAY
    assert TAG not in part and ADDRESS in part
