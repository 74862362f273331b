"""Ctrl-C and SIGTERM (schedulers, containers, `timeout`): one ends in order, a second at once.

Python's own handlers wait until a compiling or computing program returns. So a thread reads what
is written into a pipe as a signal comes, says at once what will happen, and ends the process at the
second. Read next: `entry.py`, which listens; `training/loop.py`, which saves.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN = "a second signal ends at once"
SHOW_CURSOR = "\x1b[?25h"


class Stopped(KeyboardInterrupt):
    """Raised where a signal comes that nothing waits for; ``number`` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Plan:
    """What the first signal does: says a line, and calls `stop`, or raises where there is none."""

    line = "stopping"
    stop: Callable[[], None] | None = None
    at_once = False
    said = threading.Event()
    again = 0  # signals of our own to come, for one whose exception was lost


_plan = _Plan()


@contextmanager
def first_signal(line: str, stop: Callable[[], None] | None = None) -> Iterator[None]:
    """What the first signal does within.

    Args:
      line: said at once.
      stop: called as soon as Python's code goes on, and shall end what is done in order; None:
        `Stopped` is raised there.
    """
    before = _plan.line, _plan.stop
    _plan.line, _plan.stop = line, stop
    try:
        yield
    finally:
        _plan.line, _plan.stop = before


def came() -> bool:
    """Whether a signal came while the process listens: what may take long shall not."""
    return _plan.said.is_set()


@contextmanager
def listening() -> Iterator[None]:
    """Handles both signals within; nothing but in a process's main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    _plan.said.clear()
    handlers = {number: signal.signal(number, _first) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    thread = threading.Thread(target=_tell, args=(read,), daemon=True)
    thread.start()
    unraisable = sys.unraisablehook
    sys.unraisablehook = partial(_once_more, unraisable)
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(write)  # ends the thread
        thread.join()
        os.close(read)


def end_at_once() -> None:
    """From here on a signal ends the process and says nothing. For the interpreter's own end, which
    with JAX takes its time: Python's own handler would print a traceback."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def importing() -> Iterator[None]:
    """The first signal ends the process at once, in one line: nothing has begun that could be lost,
    and an exception raised within an import may be caught by whoever imports."""
    _plan.at_once = True
    try:
        with listening():
            yield
    finally:
        _plan.at_once = False


def _first(number: int, _: Any) -> None:
    if _plan.at_once:
        return
    _plan.said.wait(1.0)  # the thread may want what the main one holds just now
    if _plan.stop is None:
        raise Stopped(number)
    _plan.stop()


def _once_more(tell: Callable[[Any], Any], lost: Any) -> None:
    """Python drops what is raised while it tidies up, in a finalizer say: `Stopped` comes again a
    moment later, and all else is told as ever."""
    if not isinstance(lost.exc_value, Stopped):
        tell(lost)
        return
    _plan.again += 1
    main = threading.main_thread().ident
    timer = threading.Timer(0.05, signal.pthread_kill, (main, lost.exc_value.number))
    timer.daemon = True
    timer.start()


def _tell(read: int) -> None:
    came = 0
    while number := os.read(read, 1):
        if number[0] not in SIGNALS:
            continue
        if _plan.again:
            _plan.again -= 1
            continue
        came += 1
        if came == 1 and _plan.at_once:
            print(_plan.line, file=sys.stderr, flush=True)
        elif came == 1:
            print(f"{_plan.line}; {AGAIN}", file=sys.stderr, flush=True)
            _plan.said.set()
            continue
        if sys.stderr.isatty():
            print(SHOW_CURSOR, file=sys.stderr, flush=True)
        os._exit(128 + number[0])
