"""Ctrl-C and SIGTERM (schedulers, containers, `timeout`): one stops cleanly, a second at once.

Python's own handlers wait until a running compilation or computation returns. Therefore a thread
reads a pipe into which every signal is written, announces at once what will happen, and ends the
process at the second signal. Read next: `entry.py`, which listens; `training/loop.py`, which saves.
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
    """Raised by a signal for which no handler was set; ``number`` is the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Plan:
    """What the first signal does: print `line`, then call `stop`, or raise if there is none."""

    line = "stopping"
    stop: Callable[[], None] | None = None
    at_once = False
    said = threading.Event()
    again = 0  # signals that we are about to resend, because an exception was lost


_plan = _Plan()


@contextmanager
def first_signal(line: str, stop: Callable[[], None] | None = None) -> Iterator[None]:
    """Set what the first signal does within the block.

    Args:
      line: printed at once.
      stop: called as soon as Python code runs again, to stop the work cleanly; None: raise
        `Stopped` there.
    """
    before = _plan.line, _plan.stop
    _plan.line, _plan.stop = line, stop
    try:
        yield
    finally:
        _plan.line, _plan.stop = before


def came() -> bool:
    """Whether a signal has arrived while listening; long operations should then be avoided."""
    return _plan.said.is_set()


@contextmanager
def listening() -> Iterator[None]:
    """Handle both signals within the block; does nothing outside the main thread."""
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
    """Make any further signal end the process silently. For the interpreter's shutdown, which takes
    long with JAX: Python's own handler would print a traceback."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def importing() -> Iterator[None]:
    """Make the first signal end the process at once, with one line: no work could be lost yet, and
    an exception raised during an import may be caught by the importing module."""
    _plan.at_once = True
    try:
        with listening():
            yield
    finally:
        _plan.at_once = False


def _first(number: int, _: Any) -> None:
    if _plan.at_once:
        return
    _plan.said.wait(1.0)  # the thread may need a lock that the main one holds
    if _plan.stop is None:
        raise Stopped(number)
    _plan.stop()


def _once_more(tell: Callable[[Any], Any], lost: Any) -> None:
    """Resend the signal of a `Stopped` that Python dropped, as it drops exceptions in finalizers;
    report all other dropped exceptions as usual."""
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
