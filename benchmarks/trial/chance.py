"""What random actions earn on a task of the trial, from the starts that evaluations begin from."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box, Discrete
from jaxtyping import Array, PRNGKeyArray

from benchmarks.trial.tasks import STARTS
from envs.pure import PureEnv
from training.build import EVAL_SEED

REPEATS = 128  # episodes from each start


class Chance(NamedTuple):
    """Returns of uniformly random actions."""

    mean: float
    error: float  # standard error of the mean, over episodes
    episodes: int


def chance(env: PureEnv, repeats: int = REPEATS) -> Chance:
    """Play with uniformly random actions, ``repeats`` times from each of the trial's starts."""
    reset_key, act_key = jax.random.split(jax.random.key(EVAL_SEED))
    starts = jax.vmap(env.reset)(jax.random.split(reset_key, STARTS))
    again = jax.tree.map(lambda x: jnp.repeat(x, repeats, axis=0), starts)
    keys = jax.random.split(act_key, STARTS * repeats)
    returns = np.asarray(jax.jit(jax.vmap(lambda s, k: _episode(env, s, k)))(again, keys))
    error = returns.std(ddof=1) / len(returns) ** 0.5
    return Chance(float(returns.mean()), float(error), len(returns))


def _episode(env: PureEnv, start: Array, key: PRNGKeyArray) -> Array:
    """Return of one episode."""

    def step(now: tuple[Array, Array], time: Array) -> tuple[tuple[Array, Array], Array]:
        state, going = now
        act_key, step_key = jax.random.split(jax.random.fold_in(key, time))
        moved = env.step(state, _draw(env, act_key), step_key)
        return (moved.state, going & ~moved.terminated), jnp.where(going, moved.reward, 0.0)

    return jax.lax.scan(step, (start, jnp.asarray(True)), jnp.arange(env.length))[1].sum()


def _draw(env: PureEnv, key: PRNGKeyArray) -> Array:
    """A uniformly random action."""
    space = env.action_space
    if isinstance(space, Discrete):
        return jax.random.randint(key, (), 0, int(space.n))
    assert isinstance(space, Box)
    return jax.random.uniform(key, space.shape, minval=space.low, maxval=space.high)
