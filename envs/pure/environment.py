"""What a pure environment is, and the same one as a Gymnasium environment.

Episodes have a fixed length and end by time limit alone, so that any number of them step together
without a branch. Actions are floats in [-1, 1] whatever the environment's units are.
"""

from abc import ABC, abstractmethod
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from common import UserError

PhysicsState = Any  # pytree of arrays


class PureEnv(ABC):
    """One environment; ``vmap`` makes many."""

    length: int  # steps of an episode
    observation_size: int  # n
    action_size: int  # A

    @abstractmethod
    def reset(self, key: PRNGKeyArray) -> PhysicsState:
        """A state to start from."""

    @abstractmethod
    def step(
        self, state: PhysicsState, action: Float[Array, " A"]
    ) -> tuple[PhysicsState, Float[Array, ""]]:
        """The state after one step, and the reward on arriving at it.

        Args:
          action: clipped to [-1, 1].
        """

    @abstractmethod
    def observe(self, state: PhysicsState) -> Float[Array, " n"]:
        """What the agent sees of a state."""


class PureGym(gymnasium.Env[np.ndarray, np.ndarray]):
    """A pure environment, one step at a time: the same numbers, for `train_agent.py`.

    Observations [n], actions [A] in [-1, 1]; truncated after ``length`` steps, never terminated.
    """

    def __init__(self, env: PureEnv) -> None:
        self.env, self.time_limit = env, env.length
        shape = (env.observation_size,)
        self.observation_space = gymnasium.spaces.Box(-1e3, 1e3, shape)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (env.action_size,))
        self._reset, self._step = jax.jit(env.reset), jax.jit(env.step)
        self._observe = jax.jit(env.observe)
        self._state: PhysicsState = None
        self._time = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """A new episode."""
        super().reset(seed=seed)
        key = jax.random.key(int(self.np_random.integers(2**31)))
        self._state, self._time = self._reset(key), 0
        return np.asarray(self._observe(self._state), np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One step.

        Raises:
          UserError: before the first reset.
        """
        if self._state is None:
            raise UserError("step: expected reset() before it, received none; call reset() first")
        self._state, reward = self._step(self._state, jnp.asarray(action, jnp.float32))
        self._time += 1
        observation = np.asarray(self._observe(self._state), np.float32)
        return observation, float(reward), False, self._time >= self.env.length, {}


def clip_action(action: Float[Array, " A"]) -> Float[Array, " A"]:
    """Into [-1, 1]."""
    return jnp.clip(action, -1.0, 1.0)
