"""The entry point of all commands: a user's mistake ends in one line, a bug in a traceback.

Read next: `errors.py`, the kinds of errors; `signals.py`, Ctrl-C.
"""

import atexit
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, NoReturn

from common.errors import EnvironmentFailed, RaisedElsewhere, RunFailed, UserError, disk_error
from common.signals import Stopped, end_at_once, listening

OURS = {
    "agents",
    "analysis",
    "benchmarks",
    "clockwork",
    "common",
    "configs",
    "envs",
    "recordings",
    "replay",
}
OURS |= {"training", "worldmodel"}
BETWEEN = OURS | sys.stdlib_module_names | {"__main__", "gymnasium"}
"""Top-level names of the modules whose frames lie between a command and a user's code."""


def enter(main: Callable[[], None]) -> None:
    """Run a command.

    Raises:
      SystemExit: 2 after a `UserError`; 1 after a `RunFailed`, or an `EnvironmentFailed`, whose
        traceback is printed from the user's file on; 1 or 2 after a `disk_error`. Each prints its
        line first. After an unhandled signal, the process ends with 128 + the signal's number
        (Ctrl-C: 130); so it does, silently, if the reader of its output has left (`| head`: 141).
    """
    for stream in (sys.stdout, sys.stderr):  # whose encoding may lack a character
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    atexit.register(end_at_once)
    try:
        with listening():
            printed(main)
    except Stopped as stopped:
        leave(128 + stopped.number)
    except UserError as error:
        fail(str(error))
    except EnvironmentFailed as error:
        print(user_traceback(error), end="", file=sys.stderr)
        fail(str(error), 1)
    except RunFailed as error:
        fail(str(error), 1)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and unread():
            leave(128 + signal.SIGPIPE)
        told = disk_error(error)
        if told is None:
            raise
        fail(*told)


def printed(main: Callable[[], None]) -> None:
    """Run a command until what it printed has been written out, also if it exits."""
    try:
        main()
    except SystemExit:
        print(end="", flush=True)
        raise
    print(end="", flush=True)


def unread() -> bool:
    """Whether the reader of standard output has left, found by an empty line; the breaking of any
    other pipe is an error."""
    try:
        print(flush=True)
    except BrokenPipeError:
        return True
    return False


def leave(code: int) -> NoReturn:
    """End the process without the interpreter's shutdown, in which JAX crashes (a segmentation
    fault) if the signal came during compilation. By then, all open files have been closed."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


_end: list[Callable[[int], NoReturn]] = [sys.exit]


def leave_at_once() -> None:
    """Make errors end the process by `leave` from now on, bugs after their traceback. For one of
    several processes: the interpreter's shutdown would wait for the others, which wait for it."""

    def hook(*error: Any) -> None:
        sys.__excepthook__(*error)
        leave(1)

    sys.excepthook = hook
    _end.append(leave)


def fail(text: str, code: int = 2) -> NoReturn:
    """Print an error, usually of one line (a list of settings has one per line), and exit."""
    print(f"error: {visible(text.strip())}", file=sys.stderr)
    _end[-1](code)


def visible(text: str) -> str:
    """Escape the control characters in a text, which names read from files may contain."""
    plain = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape") for c in text)
    return "".join(c if isinstance(c, str) else c.decode() for c in plain)


def user_traceback(error: EnvironmentFailed) -> str:
    """The traceback of the environment's exception, from its own file on; empty if it raised
    none."""
    cause = error.__cause__
    if cause is None:
        return ""
    if isinstance(cause, RaisedElsewhere):
        return cause.trace
    start = from_user(cause.__traceback__) or cause.__traceback__
    return "".join(traceback.format_exception(type(cause), cause, start))


def from_user(frames: TracebackType | None) -> TracebackType | None:
    """The part of a traceback from the first frame outside `BETWEEN` on; None if there is none."""
    while frames is not None:
        module = str(frames.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in BETWEEN:
            return frames
        frames = frames.tb_next
    return None
