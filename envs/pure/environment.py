"""The interface of pure environments, and an adapter to Gymnasium's interface.

A pure environment consists of functions of arrays, so any number of environments step together, and
collection and learning compile into one program (`agents/compiled.py`). Read next: `pendulum.py`, a
small example; `of_gymnax.py` and `of_navix.py`, environments of other libraries.
"""

from abc import ABC, abstractmethod
from functools import cache
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from common import UserError
from envs.own import Limited

EnvState = Any  # pytree of arrays, whose shapes and dtypes stay the same from reset on


class Transition(NamedTuple):
    """The outcome of a step."""

    state: EnvState
    reward: Float[Array, ""]  # received on arriving in that state
    terminated: Bool[Array, ""]  # whether that state is terminal; a time limit does not make it so


class PureEnv(ABC):
    """One environment as pure functions; ``vmap`` turns it into a batch."""

    length: int  # steps after which an episode that has not terminated is truncated
    terminates: bool = False  # whether there are terminal states
    observation_space: spaces.Box | spaces.MultiBinary  # [n]
    action_space: spaces.Box | spaces.Discrete  # a Box has shape [A] and finite bounds

    @abstractmethod
    def reset(self, key: PRNGKeyArray) -> EnvState:
        """Draw an initial state."""

    @abstractmethod
    def step(self, state: EnvState, action: Array, key: PRNGKeyArray) -> Transition:
        """Take one step from a non-terminal state.

        Args:
          action: an element of the action space.
        """

    @abstractmethod
    def observe(self, state: EnvState) -> Array:
        """The agent's observation of a state, [n], in the observation space."""


class PureGym(Limited, gymnasium.Env[np.ndarray, Any]):
    """A pure environment with Gymnasium's interface: the same numbers, one step at a time.

    Episodes are truncated after ``length`` steps. The key of step t is the episode's key with t
    folded in.
    """

    def __init__(self, env: PureEnv) -> None:
        self.env, self.time_limit = env, env.length
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self._reset, self._step, self._observe = programs(env)
        self._state: EnvState = None
        self._key, self._time = jax.random.key(0), 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start a new episode."""
        super().reset(seed=seed)
        self._key = jax.random.key(int(self.np_random.integers(2**31)))
        self._state, self._time = self._reset(self._key), 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Take one step.

        Raises:
          UserError: if called before the first reset.
        """
        if self._state is None:
            raise UserError("step: expected reset() before it, received none; call reset() first")
        self._time += 1
        moved = self._step(self._state, action, self._key, self._time)
        self._state = moved.state
        terminated, truncated = bool(moved.terminated), self._time >= self.env.length
        return self._seen(), float(moved.reward), terminated, truncated, {}

    def state(self) -> dict[str, Any]:
        """Everything that the future depends on, as a pytree of arrays and a key. Before the first
        reset, shapes take the place of the pure environment's state."""
        own = jax.eval_shape(self.env.reset, self._key) if self._state is None else self._state
        words = generator_words(self.np_random)
        return {"own": own, "key": self._key, "time": np.array(self._time), "generator": words}

    def go_on(self, state: dict[str, Any]) -> None:
        """Resume from a state that `state()` returned."""
        self._state, self._key, self._time = state["own"], state["key"], int(state["time"])
        set_generator(self.np_random, state["generator"])

    def _seen(self) -> np.ndarray:
        return np.asarray(self._observe(self._state), self.observation_space.dtype)


@cache
def programs(env: PureEnv) -> tuple[Any, Any, Any]:
    """Compiled (reset, step, observe), shared by all users of the same environment."""

    def step(state: EnvState, action: Array, key: PRNGKeyArray, time: Array) -> Transition:
        return env.step(state, action, jax.random.fold_in(key, time))

    return jax.jit(env.reset), jax.jit(step), jax.jit(env.observe)


def generator_words(generator: np.random.Generator) -> np.ndarray:
    """The state of a PCG64 generator, NumPy's default: uint64 [6]."""
    state = generator.bit_generator.state
    pairs = [divmod(state["state"][name], 2**64) for name in ("state", "inc")]
    return np.array([*pairs[0], *pairs[1], state["has_uint32"], state["uinteger"]], np.uint64)


def set_generator(generator: np.random.Generator, words: np.ndarray) -> None:
    """The inverse of ``generator_words``."""
    high, low, inc_high, inc_low, has, left = (int(word) for word in words)
    inner = {"state": high * 2**64 + low, "inc": inc_high * 2**64 + inc_low}
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": inner,
        "has_uint32": has,
        "uinteger": left,
    }


def numbers(count: int) -> spaces.Box:
    """The space of observations of ``count`` numbers."""
    return spaces.Box(-1e3, 1e3, (count,))


def controls(count: int) -> spaces.Box:
    """The space of actions of ``count`` numbers in [-1, 1]."""
    return spaces.Box(-1.0, 1.0, (count,))


def clip_action(action: Float[Array, " A"]) -> Float[Array, " A"]:
    """Clip an action to [-1, 1]."""
    return jnp.clip(action, -1.0, 1.0)
