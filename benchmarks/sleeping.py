"""An environment that waits, like one whose simulator runs elsewhere. Nothing else is imported
here, as workers load this module."""

import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Sleeping(gymnasium.Env[np.ndarray, Any]):
    """An environment that takes 20 ms per step without using a processor."""

    observation_space = spaces.Box(-1.0, 1.0, (8,))
    action_space = spaces.Box(-1.0, 1.0, (2,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, Any]:
        """Return zeros."""
        super().reset(seed=seed)
        return np.zeros(8, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, Any]:
        """Wait, and return zeros."""
        time.sleep(0.020)
        return np.zeros(8, np.float32), 0.0, False, False, {}
