"""The live line of a run: steps, speeds, the last return, the costliest part, the time left.

On a terminal it is redrawn in place; elsewhere (a file, a pipe, CI) a plain line appears every few
seconds. Read next: `logger.py`, which keeps the numbers.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.live import Live
from rich.text import Text

WINDOW_SECONDS = 30.0
"""Seconds over which speeds and the time left are computed."""

SAMPLE_SECONDS = 0.25
"""Minimum seconds between samples of the counters."""

BAR = 16
"""Width of the progress bar in characters."""


PARTS = ("environments", "data", "updates", "evaluations")
"""Parts into which a run's time is divided: acting, sampling, waiting for updates, evaluating."""


class Sample(NamedTuple):
    """The counters at one moment."""

    time: float  # seconds
    steps: int
    updates: int
    spent: tuple[float, ...] = (0.0,) * len(PARTS)  # seconds

    def shares(self, before: "Sample") -> dict[str, float]:
        """Share of the time since an earlier sample, by part."""
        total = self.time - before.time
        took = zip(PARTS, self.spent, before.spent, strict=True)
        return {name: (now - then) / total for name, now, then in took}


class Progress:
    """A context manager that shows the progress of a run.

    Args:
      total_steps: environment steps at which the run ends; updates without an environment.
      environment: whether there is an environment, with returns to show.
      every: seconds between plain lines if standard error is not a terminal.
      console: where to draw; None for standard error.
      clock: a monotonic clock in seconds; tests pass their own.
    """

    def __init__(
        self,
        total_steps: int,
        environment: bool = True,
        every: float = 30.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._environment = total_steps, environment
        self._every = every
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._samples: deque[Sample] = deque()
        self._now = Sample(clock(), 0, 0)
        self._return: float | None = None
        self._success: float | None = None
        self._printed = ""
        self._next_print = clock()
        self._live: Live | None = None
        self._doing: tuple[str, float] | None = None
        self._spent = dict.fromkeys(PARTS, 0.0)

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live = Live(
                console=self._console,
                refresh_per_second=4,
                get_renderable=lambda: Text(self.line(), no_wrap=True, overflow="ellipsis"),
                redirect_stdout=sys.stdout.isatty(),  # piped output stays in the pipe
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._samples:
            self._print()

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show an activity that delays the run, such as compiling; its duration is excluded from
        speeds and the time left."""
        began = self._clock()
        self._doing = what, began
        if self._live is None:
            self._console.print(Text(f"{what} …"), soft_wrap=True)
        try:
            yield
        finally:
            self._doing, took = None, self._clock() - began
            self._samples.clear()
        self._console.print(Text(f"{what}: {_duration(took)}"), soft_wrap=True)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Attribute the time within to one of `PARTS`."""
        began = self._clock()
        try:
            yield
        finally:
            self._spent[name] += self._clock() - began

    def sample(self, steps: int, updates: int) -> Sample:
        """Sample the counters now."""
        return Sample(self._clock(), steps, updates, tuple(self._spent.values()))

    def update(
        self,
        steps: int,
        updates: int,
        last_return: float | None = None,
        success_rate: float | None = None,
    ) -> None:
        """Update the progress shown; cheap enough to call at every step.

        Args:
          steps: environment steps so far, including those before a resume.
          updates: gradient steps so far.
          last_return: return of the last finished episode; None until there is one.
          success_rate: in [0, 1], over recent episodes; None if undefined.
        """
        self._now = self.sample(steps, updates)
        self._return, self._success = last_return, success_rate
        if not self._samples or self._now.time - self._samples[-1].time >= SAMPLE_SECONDS:
            self._samples.append(self._now)
        while len(self._samples) > 2 and self._samples[1].time <= self._now.time - WINDOW_SECONDS:
            self._samples.popleft()
        if self._live is None and self._now.time >= self._next_print:
            self._next_print = self._now.time + self._every
            self._print()

    def line(self) -> str:
        """The progress of the run in one line."""
        steps_rate, updates_rate = self._rates()
        done = min(1.0, self._now.steps / self._total) if self._total else 1.0
        filled = int(BAR * done)
        parts = [
            f"{'█' * filled}{'░' * (BAR - filled)} {done:4.0%}",
            f"{self._now.steps:,}/{self._total:,} {'steps' if self._environment else 'updates'}, "
            f"{_rate(steps_rate)}",
        ]
        if self._environment:
            parts.append(f"{self._now.updates:,} updates, {_rate(updates_rate)}")
            parts.append("return –" if self._return is None else f"return {self._return:.1f}")
        if self._success is not None:
            parts.append(f"success {self._success:.0%}")
        parts += self._slowest()
        if self._doing is not None:
            what, began = self._doing
            parts.append(f"{what} {_duration(self._clock() - began)}")
        else:
            left = self._total - self._now.steps
            parts.append(f"ETA {_duration(left / steps_rate)}" if steps_rate else "ETA –")
        return " · ".join(parts)

    def _slowest(self) -> list[str]:
        """The part that took most of the window, and its share."""
        if not self._samples or self._now.time <= self._samples[0].time:
            return []
        shares = self._now.shares(self._samples[0])
        name = max(shares, key=shares.__getitem__)
        return [f"{shares[name]:.0%} {name}"] if shares[name] > 0 else []

    def _rates(self) -> tuple[float, float]:
        """Environment steps and updates per second; 0 until known."""
        if not self._samples or self._now.time <= self._samples[0].time:
            return 0.0, 0.0
        first = self._samples[0]
        seconds = self._now.time - first.time
        steps, updates = self._now.steps - first.steps, self._now.updates - first.updates
        return steps / seconds, updates / seconds

    def _print(self) -> None:
        line = self.line()
        if line != self._printed:
            self._console.print(Text(line), soft_wrap=True)
        self._printed = line


def _rate(per_second: float) -> str:
    digits = 0 if per_second >= 10 else 1 if per_second >= 1 else 2
    return f"{per_second:,.{digits}f}/s"


def _duration(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour."""
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
