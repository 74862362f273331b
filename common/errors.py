"""Errors meant for users, distinguished from all others by their class.

The entry scripts print a `UserError` as one line and exit with code 2; an `EnvironmentFailed` as
the traceback of the user's own code and one line, and a `RunFailed` as one line, both with code 1.
Every other exception is a bug of ours and keeps its traceback, except that errors of the disk, full
or not writable, are printed as one line too (`disk_error`).
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG}


class UserError(ValueError):
    """A mistake that the user can fix: one line with what was expected, what was received, where,
    and the remedy."""


class EnvironmentFailed(RuntimeError):
    """An environment's code raised `__cause__`; the message says where."""


class RaisedElsewhere(RuntimeError):
    """An error in another interpreter, in one line; `trace` is its traceback as text, empty if
    nothing was raised there."""

    def __init__(self, what: str, trace: str = "") -> None:
        super().__init__(what)
        self.trace = trace


class RunFailed(RuntimeError):
    """A failure of a correctly configured run: one line with what happened, where, and how to
    continue."""


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """Add this path, within the block, to errors of the disk that name no file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and not error.filename:
            error.filename = str(path)
        raise


def disk_error(error: OSError) -> tuple[str, int] | None:
    """The message and exit code for an error caused by the disk; None for any other."""
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
