"""One writer per directory, by `flock`: the kernel releases the lock however the process ends."""

import fcntl
import os
from pathlib import Path
from weakref import WeakSet

from common import UserError


class DirectoryLock:
    """A lock on `path` until `release`. A lock file left behind by a dead process is harmless.

    Raises:
      UserError: if another process, or another store of this process, holds the lock.
    """

    def __init__(self, path: Path) -> None:
        self._file: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip() or "unknown"
            self._close()
            raise UserError(
                f"{path.parent}: expected no other writer, received one that is "
                f"running (process {holder}); stop it, choose another directory, or open read_only"
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        _held.add(self)

    def __enter__(self) -> "DirectoryLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the lock for the next writer; a second call does nothing."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None


_held: WeakSet[DirectoryLock] = WeakSet()


def _forget_in_child() -> None:
    """Close inherited locks: a forked worker must not keep them alive after the writer's death."""
    for lock in list(_held):
        lock._close()


os.register_at_fork(after_in_child=_forget_in_child)
