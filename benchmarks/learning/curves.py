"""Results of a setting so far: evaluation returns of every seed over steps, as JSON."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from common import dump_json, null_as_nan
from replay.atomic import write_text


@dataclass
class Curve:
    """One setting on one task."""

    task: str
    name: str  # strides, and the variant if there is one
    command: str
    hardware: str
    seeds: list[int]
    parameters: int = 0
    steps: list[int] = field(default_factory=list)  # environment steps at each evaluation
    updates: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # per seed, without evaluations
    returns: list[list[float]] = field(default_factory=list)  # [evaluation][seed]
    foreseen: list[float] = field(default_factory=list)  # critic's prediction at the end, per seed
    came: list[float] = field(default_factory=list)  # discounted return of the same greedy episodes
    done: bool = False

    def save(self, path: Path) -> None:
        """Write the curve atomically."""
        write_text(path, dump_json(asdict(self)) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Curve":
        """Inverse of ``save``."""
        found = null_as_nan(json.loads(path.read_text()))
        found.pop("metrics", None)  # in older curves, empty
        return cls(**found)

    def last(self) -> np.ndarray:
        """Returns at the end, by seed."""
        return np.array(self.returns[-1])

    def over_run(self) -> np.ndarray:
        """Mean return over all evaluations, the area under the curve, by seed."""
        return np.array(self.returns).mean(0)

    def at(self, seconds: float) -> tuple[int, np.ndarray] | None:
        """(Updates, returns by seed) of the last evaluation within ``seconds`` per seed."""
        within = [i for i, t in enumerate(self.seconds) if t <= seconds * (1 + 1e-9)]
        return (self.updates[within[-1]], np.array(self.returns[within[-1]])) if within else None
