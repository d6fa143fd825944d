"""What befalls the files of a log whose hub is not running: a lost tail, flipped bits, a lost file, an old copy.

Owns: doing it to the files. Must not: know what a hub makes of it.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

FILE, WAL, SHM = "log.sqlite3", "log.sqlite3-wal", "log.sqlite3-shm"
PAGE_BYTES = 4096
WAL_HEADER_BYTES = 32
FRAME_BYTES = 24 + PAGE_BYTES


def copy_log(data: Path, target: Path) -> None:
    """As a backup tool does while no hub runs: the file, and the write-ahead log if there is one."""
    target.mkdir(exist_ok=True)
    for name in (FILE, WAL):
        (target / name).unlink(missing_ok=True)
        if (data / name).exists():
            shutil.copyfile(data / name, target / name)
    (target / SHM).unlink(missing_ok=True)


def checkpoint(data: Path) -> None:
    """Move the write-ahead log into the file and delete it, as a hub that ends well does."""
    connection = sqlite3.connect(data / FILE)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def frames(data: Path) -> int:
    """Whole frames in the write-ahead log."""
    return max(0, (data / WAL).stat().st_size - WAL_HEADER_BYTES) // FRAME_BYTES


# ---- damage after which there is a log, perhaps a shorter one --------------------------------------------------------


def junk_at_the_tail(data: Path, dice: random.Random) -> None:
    """A write that was never finished: nothing is lost."""
    with (data / WAL).open("ab") as file:
        file.write(dice.randbytes(dice.randint(1, 3 * FRAME_BYTES)))


def cut_the_tail(data: Path, dice: random.Random) -> None:
    """Its last frames are gone, and half of another."""
    keep = max(0, frames(data) - dice.randint(4, 10))
    with (data / WAL).open("r+b") as file:
        file.truncate(WAL_HEADER_BYTES + keep * FRAME_BYTES + dice.randrange(FRAME_BYTES))


def flip_in_the_last_frames(data: Path, dice: random.Random) -> None:
    """A few bits in some frames near its end; whole ones follow them."""
    count = frames(data)
    with (data / WAL).open("r+b") as file:
        for _ in range(3):
            at = WAL_HEADER_BYTES + (count - dice.randint(6, 10)) * FRAME_BYTES + dice.randrange(FRAME_BYTES)
            file.seek(at)
            (byte,) = file.read(1)
            file.seek(at)
            file.write(bytes([byte ^ 1 << dice.randrange(8)]))


def delete_the_wal(data: Path, _dice: random.Random) -> None:
    """All that was not yet in the file is gone."""
    (data / WAL).unlink()


# ---- damage that is refused ------------------------------------------------------------------------------------------


def truncate_the_file(data: Path, dice: random.Random) -> None:
    checkpoint(data)
    path = data / FILE
    pages = path.stat().st_size // PAGE_BYTES
    with path.open("r+b") as file:
        file.truncate(dice.randrange(PAGE_BYTES, pages * PAGE_BYTES - PAGE_BYTES))


def zero_its_first_page(data: Path, _dice: random.Random) -> None:
    checkpoint(data)
    zero_page(data, 0)


def zero_a_page_of_its_tree(data: Path, dice: random.Random) -> None:
    """A page of the table of events, or of its index; not one in the middle of a long body."""
    checkpoint(data)
    content = (data / FILE).read_bytes()
    trees = [at // PAGE_BYTES for at in range(PAGE_BYTES, len(content), PAGE_BYTES) if content[at] in (2, 5, 10, 13)]
    roots = [page for page in trees if page < 8]
    zero_page(data, dice.choice(roots))


def zero_page(data: Path, page: int) -> None:
    with (data / FILE).open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))


Damage = Callable[[Path, random.Random], None]

SURVIVED: tuple[Damage, ...] = (junk_at_the_tail, cut_the_tail, flip_in_the_last_frames)
REFUSED: tuple[Damage, ...] = (truncate_the_file, zero_its_first_page, zero_a_page_of_its_tree)
