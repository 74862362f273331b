"""How far a run is, and the means of its metrics since the last line: what a checkpoint holds of
the loop (`loop.py`) itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from worldmodel.learner import SKIPPED

ACTING, LEARNING, ASSESSING = range(3)  # phases of a round


@dataclass
class Counters:
    """How far a run is; checkpointed."""

    steps: int = 0  # environment steps, or updates where there is no environment
    updates: int = 0
    episodes: int = 0
    skipped: int = 0  # of the updates, those that were not finite and changed nothing
    ahead: int = 0  # updates beyond what today's updates per step would have made of the steps
    in_row: int = 0  # updates skipped one after another, up to the newest
    logged: int = 0  # steps at the last line of metrics
    phase: int = ACTING  # what of the present round is next


class Means:
    """Of every metric over the updates that were not skipped.

    Args:
      sums: of those so far, by metric.
      count: how many they are of.
    """

    def __init__(self, sums: Mapping[str, float], count: int) -> None:
        self.sums, self.count = dict(sums), count
        self._new: list[Any] = []

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Those of one update; they are looked at later, for it may not have been computed yet."""
        self._new.append(metrics)

    @property
    def unseen(self) -> int:
        """Updates that have not been looked at."""
        return len(self._new)

    def look(self) -> list[bool]:
        """Waits for the updates that have not been looked at, fetches their metrics from the device
        in one go and adds them up; of each whether it was skipped."""
        fetched, self._new = jax.device_get(self._new), []
        for metrics in fetched:
            if not metrics[SKIPPED]:
                self.count += 1
                for name, value in metrics.items():
                    self.sums[name] = self.sums.get(name, 0.0) + float(value)
        return [bool(metrics[SKIPPED]) for metrics in fetched]

    def state(self) -> dict[str, Any]:
        """What it goes on from, for JSON; of updates that have been looked at."""
        return {"sums": self.sums, "count": self.count}

    def take(self) -> dict[str, float]:
        """The means; none where all were skipped. The next ones begin anew."""
        found = {name: value / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return found
