"""The data directory of one hub, locked for as long as it is held.

Owns: that the directory exists, is private, and has one holder. Must not: know what is kept in it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from felixhub.eventlog import LogError

LOCK_NAME = "lock"


class DataDirectory:
    """A directory with an exclusive `flock` on its file `lock`, which carries the holder's pid.

    The kernel gives the lock back however the holder dies, so there is no stale lock. The file itself is never
    removed: two processes could then lock two files of the same name.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock: int | None = lock

    @classmethod
    def hold(cls, directory: Path) -> DataDirectory:
        """Create the directory if it is missing and lock it, or raise one `LogError` that says why not."""
        path = directory.absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LogError(_sentence(path, error)) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(lock)
            raise LogError(
                f"The data directory {path} is in use by another hub (pid {holder}): stop that one or name another."
            ) from None
        except OSError as error:
            os.close(lock)
            raise LogError(_sentence(path, error)) from error
        return cls(path, lock)

    def create(self, name: str) -> Path:
        """The path of a file in here, created empty if it is missing; only its owner may open it."""
        path = self.path / name
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(file, 0o600)  # A restored backup comes with whatever mode it was copied with.
            finally:
                os.close(file)
        except OSError as error:
            raise LogError(_sentence(self.path, error)) from error
        return path

    def sync(self) -> None:
        """Make the names of new files durable, and that of the directory itself."""
        for path in (self.path, self.path.parent):
            try:
                entry = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            except PermissionError:
                continue  # A parent that we may pass through but not list.
            try:
                os.fsync(entry)
            except OSError as error:
                raise LogError(_sentence(self.path, error)) from error
            finally:
                os.close(entry)

    def close(self) -> None:
        """Give the directory free. A second call does nothing."""
        if self._lock is not None:
            lock, self._lock = self._lock, None
            os.ftruncate(lock, 0)
            os.close(lock)


def _sentence(path: Path, error: OSError) -> str:
    match error.errno:
        case errno.ENOTDIR | errno.EEXIST:
            return f"The data directory {path} cannot be made, a file is in its place: name another directory."
        case errno.EISDIR:
            return f"In the data directory {path} a directory stands where a file belongs: {error.filename}."
        case errno.EACCES | errno.EPERM:
            return f"No permission to write in the data directory {path}: change its owner or mode, or name another."
        case errno.EROFS:
            return f"The data directory {path} is on a read-only file system: name another."
        case errno.ENOSPC | errno.EDQUOT:
            return f"No space is left for the data directory {path}: free some, or name another."
        case _:
            return f"The data directory {path} cannot be used: {error.strerror or error}."
