"""An environment whose observation is one vector of 24 numbers, as both programs read it."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box


class Walk(gymnasium.Env[np.ndarray, np.ndarray]):
    """Observations are noise; only their shapes matter to what an update costs."""

    observation_space = Box(-3.0, 3.0, (24,), np.float32)
    action_space = Box(-1.0, 1.0, (6,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """The reward is the first action."""
        return self._observation(), float(action[0]), False, False, {}

    def _observation(self) -> np.ndarray:
        return self.np_random.uniform(-3.0, 3.0, 24).astype(np.float32)
