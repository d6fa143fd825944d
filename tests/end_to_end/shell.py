"""Commands as a user types them: processes with pipes or with a terminal, in a home directory of their own.

Owns: the environment, the processes, what they printed, and that nothing of them is left. Must not: know a run.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from felixhub.core.events import Event, parse_event
from felixhub.core.messages import Replay, Runs
from felixhub.transport.address import find_hub
from felixhub.transport.control import ControlClient, new_id

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
RUN_HUB = ROOT / "run_hub.py"
MEMO = ROOT / "examples" / "night-bus-depot.md"
TASK = "Should the city convert the night bus depot to electric buses?"
TAG = "END_TO_END_PLACE"  # in the environment of every process: how orphans are found
ESCAPE_CODE = re.compile(r"\x1b\[[0-9;]*m")  # the only ones that we write: colours

# One agent, one thought: as little as can run.
SOLO = """name = "solo"
[[stages]]
name = "research"
agent = "research"
"""

# A terminal that the command owns, so that Ctrl-C and hanging up reach it as they reach a user's.
_OWN_THE_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""

T = TypeVar("T")


def until(found: Callable[[], T], seconds: float, what: str | Callable[[], str]) -> T:
    """Ask again and again until it is true; the only way anything here waits."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.01)
    return value


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one sentence about what went wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("felixhub: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err, self.err
        return lines[0].removeprefix("felixhub: ")


class Command:
    """A process in a session of its own whose output goes to files."""

    def __init__(self, shell: Shell, arguments: Sequence[str], cwd: Path, stdin: bytes, **environ: str) -> None:
        shell.count += 1
        self.arguments = arguments
        self._files = [shell.folder / "printed" / f"{shell.count:03}.{kind}" for kind in ("in", "out", "err")]
        self._files[0].write_bytes(stdin)
        with self._files[0].open("rb") as read, self._files[1].open("wb") as out, self._files[2].open("wb") as err:
            self.popen = subprocess.Popen(
                arguments,
                stdin=read,
                stdout=out,
                stderr=err,
                cwd=cwd,
                env={**shell.environ, **environ},
                start_new_session=True,
            )

    @property
    def out(self) -> bytes:
        return self._files[1].read_bytes()

    @property
    def err(self) -> str:
        return self._files[2].read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def interrupt(self) -> None:
        """Ctrl-C: everybody in its process group hears it."""
        os.killpg(self.popen.pid, signal.SIGINT)

    def until_printed(self, text: str, seconds: float = 30.0, *, err: bool = False) -> None:
        def look() -> bool:
            if text.encode() in (self.err.encode() if err else self.out):
                return True
            assert self.is_running, f"ended without '{text}': {self.out!r} {self.err}"
            return False

        until(look, seconds, lambda: f"'{text}' in {self.out[-2000:]!r} {self.err}")

    def wait(self, seconds: float = 60.0) -> Done:
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{' '.join(self.arguments)} did not end within {seconds} s:\n{self.out[-3000:]!r}\n{self.err}"
            ) from None
        return Done(code, self.out, self.err)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.popen.wait(30.0)


class Terminal:
    """A process on a pseudo-terminal of its own; `screen` is everything that was ever sent to it."""

    def __init__(
        self, shell: Shell, arguments: Sequence[str], cwd: Path, columns: int, rows: int = 40, **environ: str
    ) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.popen = subprocess.Popen(
            [sys.executable, "-ISc", _OWN_THE_TERMINAL, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**shell.environ, **environ},
        )
        os.close(slave)
        self._received = bytearray()
        self._open = True
        self._enough, self._leave = os.pipe()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # Everybody at the other end has gone.
            while self._enough not in select.select([self.master, self._enough], [], [])[0]:
                self._received += os.read(self.master, 65_536)

    @property
    def received(self) -> bytes:
        return bytes(self._received)

    @property
    def screen(self) -> str:
        """What was received as text, with plain line ends and without colours."""
        text = codecs.decode(self.received, "utf-8", "replace")
        return ESCAPE_CODE.sub("", text).replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def resize(self, columns: int, rows: int = 40) -> None:
        """Pull at the window's corner."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until_shown(self, text: str, seconds: float = 30.0) -> None:
        def look() -> bool:
            if text in self.screen:
                return True
            assert self.popen.poll() is None or text in self.screen, f"ended without '{text}': {self.screen}"
            return False

        until(look, seconds, lambda: f"'{text}' on {self.screen[-3000:]}")

    def wait(self, seconds: float = 60.0) -> int:
        """Its exit code, once all that it wrote was read."""
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {seconds} s: {self.screen[-3000:]}") from None
        if self._open:
            self._reader.join(20.0)
        return code

    def hang_up(self) -> None:
        """Close the window. A terminal that somebody still reads from would not be closed."""
        if self._open:
            self._open = False
            os.close(self._leave)
            self._reader.join(20.0)
            os.close(self._enough)
            os.close(self.master)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.popen.kill()
        self.popen.wait(30.0)
        self._reader.join(20.0)
        self.hang_up()


class Shell:
    """A home, a project folder, a data directory and what was started in them."""

    def __init__(self, folder: Path, bin: Path = BIN) -> None:
        self.folder = folder
        self.bin = bin
        self.project = folder / "project"
        self.data = folder / "data"
        self.runtime = folder / "run"
        self.count = 0
        self._started: list[Command | Terminal] = []
        for one in (self.project, self.runtime, folder / "printed", folder / "home"):
            one.mkdir(mode=0o700)
        self.write("config/workflows/solo.toml", SOLO)
        ours = ("FELIXHUB_", "XDG_", "PYTHON")
        kept = {n: v for n, v in os.environ.items() if not n.startswith(ours) and not n.endswith("_API_KEY")}
        for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
            kept.pop(name, None)
        self.environ = kept | {
            "SPT_NOENV": "1",  # a process that names itself must leave its environment, where the tag is
            TAG: str(folder),
            "HOME": str(folder / "home"),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "FELIXHUB_DATA": str(self.data),
            "PATH": f"{bin}{os.pathsep}{os.environ.get('PATH', '')}",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "USER": "ann",
            # Warnings are errors in the commands too; the log files are theirs until they end.
            "PYTHONWARNINGS": "error,ignore:unclosed file <_io.TextIOWrapper:ResourceWarning",
        }

    # ---- commands ----------------------------------------------------------------------------------------------------

    def write(self, name: str, text: str) -> Path:
        """A file in the project folder."""
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def start(self, *arguments: object, cwd: Path | None = None, stdin: str = "", **environ: str) -> Command:
        """`felixhub ARGUMENTS`, running."""
        command = Command(self, self._felixhub(arguments), cwd or self.project, stdin.encode(), **environ)
        self._started.append(command)
        return command

    def run(
        self,
        *arguments: object,
        cwd: Path | None = None,
        stdin: str = "",
        code: int = 0,
        seconds: float = 60.0,
        **environ: str,
    ) -> Done:
        """`felixhub ARGUMENTS`, ended, with this exit code and nobody's traceback."""
        done = self.start(*arguments, cwd=cwd, stdin=stdin, **environ).wait(seconds)
        assert done.code == code, f"exit {done.code}: {done.out[-3000:].decode(errors='replace')}\n{done.err}"
        assert "Traceback" not in done.err and "Warning" not in done.err, done.err
        return done

    def script(self, line: str, seconds: float = 60.0) -> Done:
        """A line of bash, as somebody types it who knows pipes."""
        command = Command(self, ["bash", "-c", line], self.project, b"")
        self._started.append(command)
        return command.wait(seconds)

    def start_run_hub(self, *arguments: object, **environ: str) -> Command:
        """`python run_hub.py ARGUMENTS`, running."""
        command = Command(self, [sys.executable, str(RUN_HUB), *map(str, arguments)], self.project, b"", **environ)
        self._started.append(command)
        return command

    def terminal(self, *arguments: object, columns: int = 100, run_hub: bool = False, **environ: str) -> Terminal:
        """`felixhub ARGUMENTS`, or run_hub.py, on a terminal."""
        words = [sys.executable, str(RUN_HUB), *map(str, arguments)] if run_hub else self._felixhub(arguments)
        made = Terminal(self, words, self.project, columns, **environ)
        self._started.append(made)
        return made

    def _felixhub(self, arguments: Sequence[object]) -> list[str]:
        return [str(self.bin / "felixhub"), *map(str, arguments)]

    def serve(self, *arguments: object) -> Command:
        """`felixhub up --serve`, once it is up."""
        command = self.start("up", "--serve", "--llm", "offline", *arguments)
        command.until_printed("Ctrl-C stops", err=True)
        return command

    # ---- the hub, from inside the test -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def client(self) -> Iterator[ControlClient]:
        with ControlClient(lambda: find_hub(str(self.data), default=self.data), wait_s=20.0) as client:
            yield client

    def rows(self) -> list[dict[str, Any]]:
        with self.client() as client:
            rows: list[dict[str, Any]] = client.request(Runs(id=new_id()))["runs"]
            return rows

    def status(self, run: str) -> str:
        return str(next(row["status"] for row in self.rows() if row["run"] == run))

    def events(self, run: str) -> list[Event]:
        with self.client() as client:
            return [parse_event(line) for line in client.pages(Replay(id=new_id(), run=run))]

    def until_event(self, run: str, kind: str, seconds: float = 30.0, **fields: object) -> Event:
        """The run's first event of this kind with these fields."""

        def look() -> list[Event]:
            return [
                e for e in self.events(run) if e.kind == kind and all(getattr(e, n) == v for n, v in fields.items())
            ]

        return until(look, seconds, lambda: f"{kind} {fields}; there are {[e.kind for e in self.events(run)]}")[0]

    # ---- the end -----------------------------------------------------------------------------------------------------

    def kin(self) -> dict[int, str]:
        """Every living process of this shell by pid, whoever started it."""
        found = {}
        tag = f"{TAG}={self.folder}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if tag in (entry / "environ").read_bytes().split(b"\0"):
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if words:  # Else it is a zombie, which is its parent's business.
                        found[int(entry.name)] = words.strip()
        return found

    def sockets(self) -> list[str]:
        return [str(path) for path in self.runtime.rglob("*") if path.is_socket()]

    def until_nothing_is_left(self, seconds: float = 30.0) -> None:
        """Every process has ended by itself, and a hub that ended well has taken its sockets along."""
        until(lambda: not self.kin(), seconds, lambda: f"everything ends; there are {self.kin()}")
        left = [*self.sockets(), *(str(path) for path in self.folder.glob("*/connection.json"))]
        assert not left, f"left behind: {left}"

    def close(self) -> list[str]:
        """End everything, politely, then by force; returns what did not end by itself."""
        for command in self._started:
            if command.popen.poll() is None:
                command.popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 20.0
        while (left := self.kin()) and time.monotonic() < deadline:
            for command in self._started:
                command.popen.poll()
            time.sleep(0.02)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for command in self._started:
            command.kill()
        return [*left.values(), *self.sockets()]


@contextlib.contextmanager
def a_shell(bin: Path = BIN) -> Iterator[Shell]:
    """A shell that leaves no process and no socket behind, and fails if it would have."""
    folder = Path(tempfile.mkdtemp(prefix="fh-", dir="/tmp"))  # Short: an ipc path holds 107 characters.
    shell = Shell(folder, bin)
    try:
        yield shell
    finally:
        left = shell.close()
        shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"left behind: {left}"
