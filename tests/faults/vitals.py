"""What a process costs the machine: descriptors, memory, processor time; and less of them, from outside.

Owns: reading `/proc`, and `prlimit`. Must not: judge.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  (names only; a descriptor may be gone by the time)


def _status_kib(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise AssertionError(f"no {name} of process {pid}")


def resident_bytes(pid: int) -> int:
    return _status_kib(pid, "VmRSS") * 1024


def virtual_bytes(pid: int) -> int:
    return _status_kib(pid, "VmSize") * 1024


def processor_s(pid: int) -> float:
    """Of all its threads, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share_of_a_processor(pid: int, seconds: float) -> float:
    """How busy it is now."""
    before, began = processor_s(pid), time.monotonic()
    time.sleep(seconds)
    return (processor_s(pid) - before) / (time.monotonic() - began)


def limit_descriptors(pid: int, count: int) -> None:
    """No more than these, and it may not raise that by itself."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, count))


def limit_memory(pid: int, more_bytes: int | None) -> None:
    """No more address space than it has, plus this; None: as much as there is."""
    hard = resource.prlimit(pid, resource.RLIMIT_AS)[1]
    most = hard if more_bytes is None else virtual_bytes(pid) + more_bytes
    resource.prlimit(pid, resource.RLIMIT_AS, (most, hard))
