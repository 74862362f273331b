"""How every command ends: one line for a mistake, a traceback for a fault.

Read next: `errors.py`, which errors are whose; `signals.py`, Ctrl-C.
"""

import atexit
import io
import os
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
"""Modules, by the first part of their names, that stand between a command and a user's code."""


def enter(main: Callable[[], None]) -> None:
    """Runs a command.

    Raises:
      SystemExit: 2 after a `UserError`, 1 after an `EnvironmentFailed`, whose traceback is printed
        from the user's file on, or a `RunFailed`, one of both after a `disk_error`; each has
        printed its line. After a signal that nothing waited for the process ends, with 128 + its
        number (Ctrl-C: 130).
    """
    for stream in (sys.stdout, sys.stderr):  # of a terminal or pipe that lacks a character
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    atexit.register(end_at_once)
    try:
        with listening():
            main()
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
        told = disk_error(error)
        if told is None:
            raise
        fail(*told)


def leave(code: int) -> NoReturn:
    """Ends the process without the interpreter's own end, in which JAX crashes (a segmentation
    fault) where the signal came while it compiled. What was open is closed by then."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


_end: list[Callable[[int], NoReturn]] = [sys.exit]


def leave_at_once() -> None:
    """From here on an error ends the process by `leave`, a fault of ours after its traceback: for
    one that others wait for, whose interpreter's own end would wait for them."""

    def hook(*error: Any) -> None:
        sys.__excepthook__(*error)
        leave(1)

    sys.excepthook = hook
    _end.append(leave)


def fail(text: str, code: int = 2) -> NoReturn:
    """Prints an error, most of one line, a list of settings one a line; leaves the program."""
    print(f"error: {visible(text.strip())}", file=sys.stderr)
    _end[-1](code)


def visible(text: str) -> str:
    """Text whose control characters, which a name from a file may hold, a terminal only shows."""
    plain = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape") for c in text)
    return "".join(c if isinstance(c, str) else c.decode() for c in plain)


def user_traceback(error: EnvironmentFailed) -> str:
    """The traceback of what the environment raised, from its own file on; empty where it raised
    nothing."""
    cause = error.__cause__
    if cause is None:
        return ""
    if isinstance(cause, RaisedElsewhere):
        return cause.trace
    start = from_user(cause.__traceback__) or cause.__traceback__
    return "".join(traceback.format_exception(type(cause), cause, start))


def from_user(frames: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins with the first frame that is not `BETWEEN`; None where
    there is none."""
    while frames is not None:
        module = str(frames.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in BETWEEN:
            return frames
        frames = frames.tb_next
    return None
