"""The real MineRL Navigate, where the `minerl` package (0.4.4, old Gym, Java) can be imported.

Only the interface is adapted here: Gymnasium's reset and step, the spaces of `envs.navigate`, and
`place` as a word. It runs in this interpreter; nothing is emulated when the package is missing.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import gymnasium
import numpy as np

from envs.navigate.env import PLACE, action_space, observation_space
from envs.navigate.task import FRAMES, GOAL_REWARD


def missing() -> str | None:
    """Why MineRL cannot be used, or None when it can be imported."""
    absent = [name for name in ("minerl", "gym") if importlib.util.find_spec(name) is None]
    return f"the {' and '.join(absent)} package is not installed" if absent else None


def make(dense: bool = False, time_limit: int = FRAMES) -> gymnasium.Env[Any, Any]:
    """MineRLNavigateDense-v0 or MineRLNavigate-v0 behind Gymnasium's interface."""
    importlib.import_module("minerl")
    gym = importlib.import_module("gym")
    return MineRLEnv(gym.make(f"MineRLNavigate{'Dense' if dense else ''}-v0"), time_limit)


class MineRLEnv(gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """An old Gym MineRL Navigate environment as a Gymnasium one."""

    def __init__(self, env: Any, time_limit: int) -> None:
        """Adapt `env`; episodes are truncated after `time_limit` frames."""
        self.env = env
        self.time_limit = time_limit
        self.observation_space = observation_space()
        self.action_space = action_space()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """A new world; the seed goes to MineRL."""
        super().reset(seed=seed)
        if seed is not None:
            self.env.seed(seed)
        self.frames, self.success = 0, False
        return self._observation(self.env.reset()), {"success": False}

    def step(
        self, action: dict[str, Any]
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One frame. The game ends an episode for the goal, for death or for its own time limit."""
        words = {**action, "place": PLACE[int(action["place"])]}
        obs, reward, done, _ = self.env.step(words)
        self.frames += 1
        # A dense frame is worth a few blocks at most, so only the goal can pay half its reward.
        self.success |= float(reward) > GOAL_REWARD / 2
        late = self.frames >= self.time_limit
        terminated = bool(done) and (self.success or not late)
        info = {"success": self.success}
        return self._observation(obs), float(reward), terminated, late and not terminated, info

    def close(self) -> None:
        """Stop the game."""
        self.env.close()

    def _observation(self, obs: dict[str, Any]) -> dict[str, Any]:
        """The same keys with the dtypes of `observation_space`."""
        return {
            "pov": np.asarray(obs["pov"], np.uint8),
            "compass": {"angle": np.asarray(obs["compass"]["angle"], np.float32)},
            "inventory": {"dirt": np.asarray(obs["inventory"]["dirt"], np.int32)},
        }
