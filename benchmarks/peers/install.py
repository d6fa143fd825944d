"""Installs the servers that FelixHub is compared with, where that can be done: part of `make bench`.

    python -m benchmarks.peers.install

Redis' server comes with apt-get, when there is one and it may be used: Debian's redis-tools holds the program without
starting a service. nats-server is put beside this Python, out of a newer release of Debian than the machine may have
(`sync_interval: always` needs 2.10): apt fetches it from the mirror that the machine's own sources name, into lists of
its own, so that nothing of the system changes. What cannot be had is said, and the comparison names it too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.peers import PEERS
from benchmarks.peers.nats import ALWAYS_SINCE, program, program_version

NATS_RELEASES = ("sid", "stable")  # the newest first; the next one when it does not run here
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def main() -> None:
    if shutil.which("apt-get") is None:
        print("No apt-get here: the servers are yours to install.")
    else:
        if shutil.which("redis-server") is None:
            install_redis()
        if program() is None or tuple(map(int, program_version().split(".")[:2])) < ALWAYS_SINCE:
            install_nats()
    for peer in PEERS:
        print(f"{peer.name}: {peer.versions() if peer.missing() is None else f'not installed: {peer.missing()}'}")


def install_redis() -> None:
    if os.geteuid() != 0:
        print("redis-server is missing, and only root can install it: apt-get install redis-tools")
        return
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-qy", "--no-install-recommends", "redis-tools"],
    ):
        if _fails(command):
            return


def install_nats() -> None:
    mirror = _mirror()
    if mirror is None or not KEYRING.exists():
        print("No Debian mirror is known here: install nats-server 2.10 or later yourself.")
        return
    for release in NATS_RELEASES:
        with tempfile.TemporaryDirectory(prefix="felixhub-bench-") as name:
            found = _fetch(Path(name), mirror, release)
            if found is not None:
                shutil.copy2(found, Path(sys.executable).with_name("nats-server"))
                return


def _mirror() -> str | None:
    """The address of the machine's own Debian mirror."""
    form = "$(ORIGIN) $(CODENAME) $(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in said.stdout.splitlines():
        origin, codename, address = line.split(maxsplit=2)
        if origin == "Debian" and "security" not in codename and "security" not in address:
            return address
    return None


def _fetch(directory: Path, mirror: str, release: str) -> Path | None:
    """nats-server of that release, when it runs here."""
    directory.chmod(0o755)  # apt fetches as a user of its own.
    for one in ("lists/partial", "cache/archives/partial"):
        (directory / one).mkdir(parents=True)
    sources = directory / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {mirror} {release} main\n")
    options = [
        *("-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null"),
        *("-o", f"Dir::State::Lists={directory / 'lists'}", "-o", f"Dir::Cache={directory / 'cache'}"),
        *("-o", "APT::Sandbox::User=" + ("root" if os.geteuid() == 0 else "")),
    ]
    if _fails(["apt-get", *options, "-q", "update"]):
        return None
    if _fails(["apt-get", *options, "-q", "download", "nats-server"], cwd=directory):
        return None
    (package,) = directory.glob("nats-server_*.deb")
    if _fails(["dpkg", "-x", str(package), str(directory / "x")]):
        return None
    found = directory / "x/usr/sbin/nats-server"
    return None if _fails([str(found), "--version"]) else found


def _fails(command: list[str], *, cwd: Path | None = None) -> bool:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{' '.join(command[:1])} failed: {done.stderr.strip()[-500:]}")
    return done.returncode != 0


if __name__ == "__main__":
    main()
