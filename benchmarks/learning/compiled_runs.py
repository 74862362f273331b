"""All seeds of a setting as one compiled program, resumed from where it was stopped."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import PRNGKeyArray

from agents.agent import Agent
from agents.compiled import CompiledRun, Schedule
from benchmarks.learning.curves import Curve
from common import RunFailed, UserError
from configs import TrainConfig
from envs import make_pure
from training.build import EVAL_SEED, Built
from training.checkpoint import CheckpointStore
from worldmodel.learner import SKIPPED

PORTIONS = 12  # evaluations of a run, evenly spaced


def program(config: TrainConfig) -> CompiledRun:
    """The program of one run of these settings.

    Raises:
      UserError: unless updates come out as a whole number per step of all environments.
    """
    built, n = Built(config), config.env.num_envs
    updates = round(config.updates_per_step * n)
    if updates < 1 or abs(updates - config.updates_per_step * n) > 1e-6:
        raise UserError(
            f"updates_per_step: expected a whole number of updates per step of all {n} "
            f"environments, received {config.updates_per_step:g} x {n}; set --env.num-envs"
        )

    def make(key: PRNGKeyArray) -> Agent:
        return Agent(config.agent, built.spaces.shapes, built.codec, nnx.Rngs(key))

    schedule = Schedule(config.steps, n, updates, config.batch, config.sequence)
    env = make_pure(config.env.name)
    return CompiledRun(built.agent, make, env, built.optimizer, schedule)


def run_seeds(config: TrainConfig, curve: Curve, path: Path, tell: Callable[[str], None]) -> Curve:
    """Runs all seeds of ``curve`` to their end; after each portion, all is on disk.

    Args:
      path: of the curve; checkpoints lie beside it.
      tell: takes a line per portion.
    """
    run, n = program(config), config.env.num_envs
    keys = jnp.stack([jax.random.key(seed) for seed in curve.seeds])
    rounds = max((config.steps - config.prefill) // n // PORTIONS, 1)
    together = partial(jax.jit, donate_argnums=0)
    collect = together(jax.vmap(partial(run.advance, rounds=config.prefill // n, learn=False)))
    advance = together(jax.vmap(partial(run.advance, rounds=rounds, learn=True)))
    evaluate = jax.jit(
        jax.vmap(partial(run.evaluate, count=config.eval_episodes), in_axes=(0, None))
    )
    saves = CheckpointStore(path.with_suffix(".checkpoints"), keep=2)  # one may be ahead
    state: Any = jax.jit(partial(jax.lax.map, run.initial))(keys)
    if curve.returns:
        state = saves.restore(jax.eval_shape(lambda: state), curve.steps[-1]).state
    else:
        state, _ = collect(state, folded(keys, 0))
    curve.parameters = sum(x[0].size for x in jax.tree.leaves(state.train.params))
    compiled = advance.lower(state, folded(keys, 0)).compile()  # outside what is timed
    while len(curve.returns) < PORTIONS:
        portion = len(curve.returns) + 1
        started = time.perf_counter()
        state, metrics = jax.block_until_ready(compiled(state, folded(keys, portion)))
        seconds = (time.perf_counter() - started) / len(curve.seeds)
        scores = np.asarray(evaluate(state.train.average, jax.random.key(EVAL_SEED))).mean(1)
        updates = portion * rounds * run.schedule.updates
        curve.steps.append(config.prefill // n * n + portion * rounds * n)
        curve.updates.append(updates)
        curve.seconds.append((curve.seconds[-1] if curve.seconds else 0.0) + seconds)
        curve.returns.append([round(float(x), 2) for x in scores])
        curve.metrics.append({k: float(np.mean(v)) for k, v in metrics.items()})
        check_learning(curve, np.asarray(metrics[SKIPPED]), rounds * run.schedule.updates)
        saves.save(curve.steps[-1], state, {})
        curve.save(path)
        tell(f"{curve.steps[-1]:,} steps, {curve.seconds[-1]:.0f} s per seed: {np.round(scores)}")
    saves.close()
    return curve


def check_learning(curve: Curve, skipped: np.ndarray, updates: int) -> None:
    """Raises RunFailed where all updates of a portion were skipped for a seed."""
    if (stuck := skipped == updates).any():
        seeds = [seed for seed, one in zip(curve.seeds, stuck, strict=True) if one]
        raise RunFailed(
            f"{curve.task} {curve.name}, seeds {seeds}, update {curve.updates[-1]:,}: expected "
            f"finite losses and gradients, received {updates} updates in a row without; lower "
            "--optimizer.lr; what came before is on disk"
        )


def folded(keys: jax.Array, count: int) -> jax.Array:
    """Every seed's key for a portion of its own."""
    return jax.vmap(lambda key: jax.random.fold_in(key, count))(keys)


def random_returns(config: TrainConfig) -> np.ndarray:
    """Returns of uniformly random actions, by episode."""
    env = make_pure(config.env.name)

    def episode(key: PRNGKeyArray) -> jax.Array:
        reset_key, act_key, step_key = jax.random.split(key, 3)
        shape = (env.length, *(env.action_space.shape or ()))
        actions = jax.random.uniform(act_key, shape, minval=-1.0, maxval=1.0)
        step = lambda state, at: env.step(state, *at)[:2]  # noqa: E731
        at = actions, jax.random.split(step_key, env.length)
        return jax.lax.scan(step, env.reset(reset_key), at)[1].sum()

    return np.asarray(jax.jit(jax.vmap(episode))(jax.random.split(jax.random.key(EVAL_SEED), 64)))
