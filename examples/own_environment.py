"""Your own environment: any Gymnasium environment, named by its file and class.

    python examples/own_environment.py
    clockwork train --env examples/own_environment.py:Corridor --env.time-limit 50 --steps 20000

The first command checks the environment against Gymnasium's interface and plays an episode with
random actions.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env


class Corridor(gymnasium.Env[dict[str, np.ndarray], np.int64]):
    """Walk to the right end of a corridor; each step costs a little."""

    def __init__(self, places: int = 10) -> None:
        self.places = places
        place = gymnasium.spaces.Box(0, places - 1, (1,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({"place": place})
        self.action_space = gymnasium.spaces.Discrete(2)  # left, right

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Starts at any place but the last."""
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(self.places - 1))
        return self._observe(), {}

    def step(self, action: Any) -> Any:
        """Moves one place left or right. `success` in the info is optional and is counted."""
        self.place = int(np.clip(self.place + 2 * action - 1, 0, self.places - 1))
        there = self.place == self.places - 1
        return self._observe(), float(there) - 0.01, there, False, {"success": there}

    def _observe(self) -> dict[str, np.ndarray]:
        return {"place": np.array([self.place], np.float32)}


def main() -> None:
    """Checks it and plays."""
    env = Corridor()
    check_env(env, skip_render_check=True)
    obs, _ = env.reset(seed=0)
    env.action_space.seed(0)
    steps, there = 0, False
    while not there:
        obs, reward, there, _, info = env.step(env.action_space.sample())
        steps += 1
    print(f"random actions: {steps} steps, reward {reward:.2f}, {info}")


if __name__ == "__main__":
    main()
