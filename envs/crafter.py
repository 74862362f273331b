"""Crafter (Hafner 2021) with Gymnasium's interface; the package's own step returns four values.

Importing this module registers `Crafter-v1`, which rewards achievements, and `CrafterNoReward-v1`.
"""

from typing import Any

import crafter
import gymnasium
import numpy as np
from gymnasium import spaces

from envs.own import Limited


class CrafterEnv(Limited, gymnasium.Env[np.ndarray, Any]):
    """One world; by default, episodes are truncated after the package's own 10 000 steps.

    Args:
      reward: whether achievements and health are rewarded.
      size: pixels along each edge of the picture.
      length: steps after which an episode is truncated.
    """

    metadata = {"render_modes": ["rgb_array"]}

    def __init__(
        self, reward: bool = True, size: int = 64, length: int = 10_000, render_mode: Any = None
    ) -> None:
        self._options = {"size": (size, size), "length": length, "reward": reward}
        self._env = crafter.Env(**self._options, seed=0)
        self.time_limit, self.render_mode = length, render_mode
        self.observation_space = spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = spaces.Discrete(int(self._env.action_space.n))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start in a new world; the same seed gives the same world."""
        super().reset(seed=seed)
        world = int(self.np_random.integers(2**31 - 1))
        self._env = crafter.Env(**self._options, seed=world)
        return self._env.reset(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one step; death is terminal, the time limit is a truncation."""
        obs, reward, over, info = self._env.step(int(action))
        dead = bool(over) and info["discount"] == 0
        return obs, float(reward), dead, bool(over) and not dead, {}

    def render(self) -> Any:
        """The picture of the current state."""
        return self._env.render()


gymnasium.register("Crafter-v1", "envs.crafter:CrafterEnv")
gymnasium.register("CrafterNoReward-v1", "envs.crafter:CrafterEnv", kwargs={"reward": False})
