"""A run's counters, and the means of its metrics since the last line: the state of the loop
(`loop.py`) itself that checkpoints store."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from worldmodel.learner import SKIPPED

ACTING, LEARNING, ASSESSING = range(3)  # phases of a round


@dataclass
class Counters:
    """Counters of a run's progress; checkpointed."""

    steps: int = 0  # environment steps, or updates without an environment
    updates: int = 0
    episodes: int = 0
    skipped: int = 0  # updates that were not finite and changed nothing
    ahead: int = 0  # updates in excess of what the current updates per step give for these steps
    in_row: int = 0  # consecutive skipped updates, up to the newest
    logged: int = 0  # steps at the last line of metrics
    phase: int = ACTING  # next phase of the current round


class Means:
    """Means of every metric over the updates that were not skipped.

    Args:
      sums: sums so far, by metric.
      count: number of updates in the sums.
    """

    def __init__(self, sums: Mapping[str, float], count: int) -> None:
        self.sums, self.count = dict(sums), count
        self._new: list[Any] = []

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Add the metrics of one update; they are read later, since it may still be computing."""
        self._new.append(metrics)

    @property
    def unseen(self) -> int:
        """Number of updates whose metrics have not been read."""
        return len(self._new)

    def look(self) -> list[bool]:
        """Wait for the unread updates, fetch their metrics from the device in one transfer and add
        them up; return for each update whether it was skipped."""
        fetched, self._new = jax.device_get(self._new), []
        for metrics in fetched:
            if not metrics[SKIPPED]:
                self.count += 1
                for name, value in metrics.items():
                    self.sums[name] = self.sums.get(name, 0.0) + float(value)
        return [bool(metrics[SKIPPED]) for metrics in fetched]

    def state(self) -> dict[str, Any]:
        """State needed to resume, as JSON-compatible values; covers the updates read so far."""
        return {"sums": self.sums, "count": self.count}

    def take(self) -> dict[str, float]:
        """Return the means, empty if all updates were skipped, and reset them."""
        found = {name: value / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return found
