"""An environment that waits, as one whose simulator is elsewhere does. Nothing else is imported
here: workers load it."""

import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Sleeping(gymnasium.Env[np.ndarray, Any]):
    """Takes 20 ms a step, in which it needs no processor."""

    observation_space = spaces.Box(-1.0, 1.0, (8,))
    action_space = spaces.Box(-1.0, 1.0, (2,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, Any]:
        """Zeros."""
        super().reset(seed=seed)
        return np.zeros(8, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, Any]:
        """The same again."""
        time.sleep(0.020)
        return np.zeros(8, np.float32), 0.0, False, False, {}
