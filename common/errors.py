"""Errors that are meant for users, told from all others by their class.

The entry scripts print a `UserError` as one line and end with code 2, an `EnvironmentFailed` as the
traceback of the user's own code and one line, and a `RunFailed` as one line, both with code 1;
every other exception is a fault of ours and keeps its traceback. An error of the disk itself, full
or not to be written to, is one line too (`disk_error`).
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG}


class UserError(ValueError):
    """A mistake that a user can mend: one line, what was expected, what came, where, the remedy."""


class EnvironmentFailed(RuntimeError):
    """Code of an environment raised; `__cause__` is what it raised, the message says where."""


class RaisedElsewhere(RuntimeError):
    """What went wrong in another interpreter, in one line; `trace`, the traceback there as text,
    empty where nothing raised."""

    def __init__(self, what: str, trace: str = "") -> None:
        super().__init__(what)
        self.trace = trace


class RunFailed(RuntimeError):
    """What ends a run that was set up well: one line, what happened, where, how to go on."""


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Within, an error of the disk that does not say which file it is of says this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and not error.filename:
            error.filename = str(path)
        raise


def disk_error(error: OSError) -> tuple[str, int] | None:
    """The line and the exit code of an error that the disk is the cause of; None of any other."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in FULL:
        return (
            f"{where}expected room on the disk, received: {error.strerror}; what was already "
            "written is kept: make room, then run the same command to resume"
        ), 1
    if error.errno in REFUSED:
        return (
            f"{where}expected a readable and writable path, received: {error.strerror}; "
            "change its permissions, or choose another path"
        ), 2
    return None
