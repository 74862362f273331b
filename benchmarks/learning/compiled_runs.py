"""All seeds of a setting as one compiled program, resumed if it was stopped."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from benchmarks.learning.curves import Curve
from benchmarks.learning.script_runs import gather
from configs import TrainConfig
from envs.pure import make_pure
from training.build import EVAL_SEED
from training.seeds import run_of, train_seeds

PORTIONS = 12  # evaluations of a run, evenly spaced


def run_seeds(config: TrainConfig, curve: Curve, path: Path) -> Curve:
    """Run all seeds of ``curve`` to their end; the runs are kept beside its path.

    Raises:
      SystemExit: if it is stopped before that.
    """
    every = max(1, config.steps // PORTIONS)
    config = replace(config, logdir=path.with_suffix(""), eval_every=every, save_every=every)
    runs = [run_of(config.logdir, seed) for seed in curve.seeds]
    train_seeds(config, curve.seeds)
    if not all((run / "evaluation.json").is_file() for run in runs):
        raise SystemExit(f"stopped; the same command goes on with {config.logdir}")
    gather(curve, runs)
    curve.save(path)
    return curve


def random_returns(config: TrainConfig) -> np.ndarray:
    """Returns of uniformly random actions, by episode, in an environment that never terminates and
    takes actions in [-1, 1]."""
    env = make_pure(config.env.name)

    def episode(key: PRNGKeyArray) -> jax.Array:
        reset_key, act_key, step_key = jax.random.split(key, 3)
        shape = (env.length, *(env.action_space.shape or ()))
        actions = jax.random.uniform(act_key, shape, minval=-1.0, maxval=1.0)
        step = lambda state, at: env.step(state, *at)[:2]  # noqa: E731
        at = actions, jax.random.split(step_key, env.length)
        return jax.lax.scan(step, env.reset(reset_key), at)[1].sum()

    keys = jax.random.split(jax.random.key(EVAL_SEED), 64)
    return np.asarray(jax.jit(jax.vmap(episode))(jnp.asarray(keys)))
