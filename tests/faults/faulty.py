"""`faulty.c` for Python: make it, put it before a process, tell it what to do, and take a machine's power away.

Owns: the numbers that both sides read. Must not: start a process, or judge.
"""

from __future__ import annotations

import mmap
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Literal

SOURCE = Path(__file__).with_suffix(".c")
BYTES = 256
SECTOR_BYTES = 512  # what a disk writes as a whole
FILES = ("log.sqlite3", "log.sqlite3-wal")

CLOCK_OFFSET_S, KIND, FAIL_AT, KILL_BEFORE, KILL_AFTER, FAILED, SYNCS = range(7)
SYNCS_OF_KIND = SYNCS + 4
IS_FULL = SYNCS_OF_KIND + 1
KINDS = {"any": 0, "wal": 1, "database": 2, "other": 3}

Kind = Literal["any", "wal", "database", "other"]


def why_not() -> str:
    """ "" where the shim can be made and preloaded, else why not."""
    if sys.platform != "linux":
        return "a preloaded disk and clock need Linux"
    return "" if shutil.which("cc") else "there is no C compiler (cc) to make tests/faults/faulty.c with"


class Faulty:
    """The shim in a folder of its own, made there once. `environ` goes to whatever process is to have it."""

    def __init__(self, folder: Path) -> None:
        library, control, self.copies = folder / "faulty.so", folder / "control", folder / "copies"
        if not control.exists():
            self.copies.mkdir(parents=True)
            options = ("-O1", "-Wall", "-Werror", "-shared", "-fPIC")
            subprocess.run(["cc", *options, "-o", str(library), str(SOURCE), "-ldl"], check=True)
            control.write_bytes(b"\0" * BYTES)
        with control.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), BYTES)
        self.environ = {"LD_PRELOAD": str(library), "FAULTY_CONTROL": str(control), "FAULTY_COPIES": str(self.copies)}

    def __getitem__(self, number: int) -> int:
        return int(struct.unpack_from("q", self._page, number * 8)[0])

    def __setitem__(self, number: int, value: int) -> None:
        struct.pack_into("q", self._page, number * 8, value)

    def syncs(self, kind: Kind = "any") -> int:
        """How many there were so far, of files of this kind."""
        return self[SYNCS + KINDS[kind]]

    def aim(self, what: int, *, kind: Kind, number: int) -> None:
        """`FAIL_AT`, `KILL_BEFORE` or `KILL_AFTER` the `number`-th fsync from now, among those of this kind."""
        for one in (FAIL_AT, KILL_BEFORE, KILL_AFTER):
            self[one] = 0
        self[KIND] = KINDS[kind]
        self[what] = self[SYNCS_OF_KIND] + number

    def rest(self) -> None:
        """An honest disk from here on."""
        for one in (FAIL_AT, KILL_BEFORE, KILL_AFTER):
            self[one] = 0

    def fill(self, *, full: bool) -> None:
        """Whether the log's files may not grow: there is no space left."""
        self[IS_FULL] = int(full)

    def jump(self, seconds: int) -> None:
        """The wall clock of all who have the shim is this far from the true one."""
        self[CLOCK_OFFSET_S] = seconds

    def begin(self, data: Path) -> None:
        """Before a life: what is in the files is on the disk."""
        for name in FILES:
            (self.copies / name).unlink(missing_ok=True)
            if (data / name).exists():
                shutil.copyfile(data / name, self.copies / name)

    def lose_power(self, data: Path, dice: random.Random, *, written: float) -> int:
        """Put the log's files as a machine finds them that lost power: what was synced, and of what was written since
        then each sector with this probability. Returns how many sectors were lost. No process may have them open."""
        lost = 0
        for name in FILES:
            now, synced = (folder / name for folder in (data, self.copies))
            if not now.exists():
                continue
            new, old = now.read_bytes(), synced.read_bytes() if synced.exists() else b""
            size = len(new) if dice.random() < written else len(old)
            mixed = bytearray(size)
            for at in range(0, size, SECTOR_BYTES):
                ours, theirs = (part[at : at + SECTOR_BYTES].ljust(SECTOR_BYTES, b"\0") for part in (old, new))
                is_written = ours == theirs or dice.random() < written
                lost += not is_written
                mixed[at : at + SECTOR_BYTES] = theirs if is_written else ours
            now.write_bytes(mixed)
        # The memory that is shared beside them went with the machine.
        (data / f"{FILES[0]}-shm").unlink(missing_ok=True)
        return lost

    def close(self) -> None:
        self._page.close()
