"""An environment of a user's own, in a file."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Walk(gymnasium.Env[Any, Any]):
    """A random walk of 13 steps, which keeps its state to itself; every so many steps it raises."""

    observation_space = spaces.Box(-1e3, 1e3, (3,))
    action_space = spaces.Box(-1.0, 1.0, (1,))

    def __init__(self, raises: int = 0) -> None:
        self.raises, self.steps = raises, 0

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.at, self.time = np.zeros(3, np.float32), 0
        return self.at, {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        if self.steps == self.raises:
            raise RuntimeError("fell")
        self.time += 1
        self.at = (self.at + self.np_random.normal(size=3)).astype(np.float32)
        return self.at, float(action[0]), False, self.time == 13, {}
