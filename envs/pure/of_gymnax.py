"""Environments of gymnax (Lange 2022): `gymnax:CartPole-v1`, `gymnax:Breakout-MinAtar`, ...

Observations of any shape are flattened; categories are one-hot encoded. Options are the fields of
the environment's own parameters, such as `max_steps_in_episode`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from jaxtyping import Array, PRNGKeyArray

from common import UserError
from envs.pure.environment import PureEnv, Transition
from envs.pure.of_library import as_at_first, check_known, imported


class GymnaxState(NamedTuple):
    """The library's state, and the observation that came with it."""

    inner: Any
    obs: Array  # [n]


class Gymnax(PureEnv):
    """One environment of gymnax.

    Args:
      name: a name that `gymnax.make` accepts.
      options: values for fields of the environment's parameters.
    Raises:
      UserError: for an unknown name or option, or an action space that is neither Box nor Discrete.
    """

    terminates = True

    def __init__(self, name: str, **options: Any) -> None:
        library = imported("gymnax")
        check_known("environment of gymnax", [name], library.registered_envs)
        self.inner, params = library.make(name)
        check_known(f"options of gymnax:{name}", options, vars(params))
        self.params = params.replace(**options)
        self.length = int(self.params.max_steps_in_episode)
        self.action_space = _actions(self.inner.action_space(self.params))
        seen = self.inner.observation_space(self.params)
        self.categories = int(seen.n) if type(seen).__name__ == "Discrete" else None
        key = jax.random.key(0)
        self.first = jax.eval_shape(lambda: self.inner.reset_env(key, self.params)[1])
        obs = jax.eval_shape(lambda: self._flat(self.inner.reset_env(key, self.params)[0]))
        binary = obs.dtype == jnp.int8
        self.observation_space = (
            spaces.MultiBinary(obs.size) if binary else spaces.Box(-np.inf, np.inf, obs.shape)
        )

    def reset(self, key: PRNGKeyArray) -> GymnaxState:
        """The library's reset."""
        obs, inner = self.inner.reset_env(key, self.params)
        return GymnaxState(as_at_first(inner, self.first), self._flat(obs))

    def step(self, state: GymnaxState, action: Array, key: PRNGKeyArray) -> Transition:
        """The library's step, without its automatic reset."""
        found = self.inner.step_env(key, state.inner, action, self.params)
        obs, inner, reward, terminated, _ = found
        moved = GymnaxState(as_at_first(inner, self.first), self._flat(obs))
        return Transition(
            moved,
            jnp.asarray(reward, jnp.float32).reshape(()),
            jnp.asarray(terminated, bool).reshape(()),
        )

    def observe(self, state: GymnaxState) -> Array:
        """The observation that came with the state."""
        return state.obs

    def _flat(self, obs: Array) -> Array:
        """Flatten an observation to [n]: int8 if it has only two values, else float32."""
        if self.categories is not None:
            return jax.nn.one_hot(obs, self.categories, dtype=jnp.int8)
        flat = jnp.ravel(obs)
        return flat.astype(jnp.int8 if flat.dtype == bool else jnp.float32)


def _actions(space: Any) -> spaces.Box | spaces.Discrete:
    """Convert an action space of gymnax to one of Gymnasium."""
    kind = type(space).__name__
    if kind == "Discrete":
        return spaces.Discrete(int(space.n))
    if kind == "Box":
        low, high = (np.broadcast_to(np.asarray(x), space.shape) for x in (space.low, space.high))
        return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
    raise UserError(f"expected actions of gymnax that are Box or Discrete, received {space}")
