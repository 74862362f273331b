"""What a slow clock predicts: arms of the trial learn from one fixed replay and predict the rewards
of the same held-out plans.

  python -m benchmarks.mechanism
  python -m benchmarks.mechanism --tasks pure:pendulum --arms A E4 --output FILE

Exploration is excluded: random actions, each held for 1 to 8 steps, fill a replay of 12 000 steps,
from which every arm learns by the agent's full update, with the settings of `benchmarks.trial`
except for imagination of 4 steps, which does not affect anything measured here. Then held-out
episodes are filtered up to some step, and the rewards of the following windows of 4 steps are
predicted under the actions that were taken: by E in one tick per window, by a flat arm in four. The
score is the share of the window rewards' variance that is predicted, 1 - error²/variance, by the
mean of 8 imagined futures. D's model is A's, which D's actor does not affect; C holds actions
instead of making plans and cannot be tested. Writes `--output`, by default
benchmarks/results/mechanism.md.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from agents.agent import Agent
from agents.dreamer import estimate, make_loss
from agents.factors import decode_array
from agents.memory import Memory, cut_sequence, of_episodes, sample
from benchmarks.trial.arms import ARMS, GRID, Arm, flags
from benchmarks.trial.tasks import TUNING, Task
from common.entry import enter
from configs import parse_train
from configs.spelling import whole
from envs.pure import PureEnv, make_pure
from replay.atomic import write_text
from training.build import Built
from training.device import choose_device, enable_compilation_cache, keep_freed_memory
from training.seeds import make_program
from worldmodel.learner import Params, TrainState, join, make_update
from worldmodel.level import State
from worldmodel.records import Records

RESULT = Path(__file__).resolve().parent / "results" / "mechanism.md"
STEPS, HELD_OUT, FUTURES = 12_000, 32, 8
WINDOW, AHEAD = 4, (1, 2, 4, 8)  # steps, windows
LENGTH, FILTERED, EVERY = 200, 32, 8  # steps: of an episode, before the first start, between starts
ASKED = ("A", "B", "E2", "E4", "F4")
FLAGS = ["--agent.keep-plan", "0", "--horizon", "4"]  # no plans to mark; imagination is not tested


def episode(env: PureEnv, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
    """(observations, flat actions, rewards) of one episode, [T+1, ...], arrival convention."""
    reset_key, switch_key, draw_key = jax.random.split(key, 3)
    space = env.action_space
    width = (space.shape or ())[0]
    drawn = jax.random.uniform(draw_key, (env.length, width), minval=-1.0)
    switch = jax.random.bernoulli(switch_key, 1 / 4, (env.length,))

    def step(carry: Any, at: tuple[Array, Array]) -> tuple[Any, tuple[Array, ...]]:
        state, held, since = carry
        new = at[1] | (since >= 8)
        flat = jnp.where(new, at[0], held)
        state, reward, _ = env.step(state, decode_array(space, flat), key)  # deterministic
        return (state, flat, jnp.where(new, 1, since + 1)), (env.observe(state), flat, reward)

    start = env.reset(reset_key)
    _, later = jax.lax.scan(step, (start, drawn[0], jnp.array(0)), (drawn, switch))
    first = env.observe(start)[None], jnp.zeros((1, width)), jnp.zeros(1)
    obs, action, reward = (jnp.concatenate(pair) for pair in zip(first, later, strict=True))
    return obs, action, reward


def replay(env: PureEnv, count: int, seed: int) -> Memory:
    """``count`` whole episodes, as a run's memory."""
    keys = jax.random.split(jax.random.key(seed), count)
    return of_episodes(*jax.jit(jax.vmap(partial(episode, env)))(keys))


def foreseen(agent: Agent, records: Records, key: PRNGKeyArray) -> tuple[Array, Array]:
    """Window rewards, actual and predicted (mean over futures), [rows · starts, windows]."""
    model, discount, steps = agent.model, agent.config.behaviour.discount, AHEAD[-1] * WINDOW
    length = records.mask.shape[1] - model.lead
    starts, ticks = jnp.arange(FILTERED, length - steps, EVERY), steps // model.stride
    noise_key, key = jax.random.split(key)
    beliefs = model.observe(records, model.draw_noise(noise_key, len(records.mask), length))

    def taken(x: Array, *times: int) -> Array:
        """x [rows, T, ...] at ``times`` steps after every start, [rows · starts, times, ...]."""
        found = x[:, jnp.add.outer(starts, jnp.array(times))]
        return found.reshape(-1, *found.shape[2:])

    windows = taken(records.reward[:, model.lead :], *range(1, steps + 1))
    came = windows.reshape(len(windows), -1, WINDOW) @ discount ** jnp.arange(WINDOW)
    ends = range(model.stride, steps + 1, model.stride)
    chunks = jnp.swapaxes(taken(model.chunks(records), *ends), 0, 1)
    start = jax.tree.map(lambda x: taken(x, 0)[:, 0], beliefs[-1].state)

    def future(key: PRNGKeyArray) -> Array:
        def tick(state: State, step: tuple[Array, Array]) -> tuple[State, Array]:
            state = model.imagine_top(state, *step)
            return state, agent.predict_reward(state.features)

        noise = model.latent.noise(key, (ticks, len(came)))
        rewards = jax.lax.scan(tick, start, (chunks, noise))[1].T
        inside = discount ** (model.stride * jnp.arange(WINDOW // model.stride))
        return rewards.reshape(*came.shape, -1) @ inside

    return came, jax.vmap(future)(jax.random.split(key, FUTURES)).mean(axis=0)


def learn(task: Task, arm: Arm, updates: int, seeds: Sequence[int]) -> np.ndarray:
    """Predicted shares of the window rewards' variance, by seed and number of windows ahead."""
    env = make_pure(task.env)
    given = [*task.command(1), *flags(arm, GRID[0], task), *FLAGS]
    config = parse_train(given, False, "float32")
    run = make_program(config, Built(config))
    update = make_update(make_loss(run.graph), run.optimizer, estimate)
    seen, unseen = (replay(env, n, s) for n, s in ((STEPS // env.length, 5), (HELD_OUT, 6)))
    stride = run.agent.model.stride
    sizes = config.batch, config.sequence, stride

    def one(train: TrainState, key: PRNGKeyArray) -> tuple[TrainState, None]:
        sample_key, noise_key = jax.random.split(key)
        return update(train, sample(seen, sample_key, *sizes), noise_key)[0], None

    def first_steps(row: Array) -> Records:
        return cut_sequence(unseen, row[None], jnp.zeros((), jnp.int32), stride, LENGTH)

    def ask(params: Params) -> tuple[Array, Array]:
        records = jax.vmap(first_steps)(jnp.arange(HELD_OUT))
        return foreseen(join(run.graph, params), records, jax.random.key(7))

    initial, learned, asked = (
        jax.jit(run.initial),
        jax.jit(partial(jax.lax.scan, one)),
        jax.jit(ask),
    )
    rows = []
    for seed in seeds:
        train = initial(jax.random.key(seed)).train._replace(average=())
        train, _ = learned(train, jax.random.split(jax.random.key(1_000 + seed), updates))
        came, told = asked(train.params)
        error = ((came - told) ** 2).mean(0) / came.var(0)
        rows.append([float(1 - error[n - 1]) for n in AHEAD])
    return np.asarray(rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tasks, arms = {task.env: task for task in TUNING}, {arm.name: arm for arm in ARMS}
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=list(tasks))
    parser.add_argument("--arms", nargs="+", choices=ASKED, default=ASKED)
    parser.add_argument("--output", type=Path, default=RESULT, help="where the table goes")
    parser.add_argument("--updates", type=whole, default=1_000)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args()
    enable_compilation_cache(None)
    keep_freed_memory()
    lines = [
        "# What a slow clock foresees",
        "",
        f"    {shlex.join(['python', '-m', 'benchmarks.mechanism', *sys.argv[1:]])}",
        "",
        f"{choose_device().name}; size xs, {args.updates:,} updates on one replay of {STEPS:,} "
        f"steps of held random actions, seeds {', '.join(map(str, args.seeds))}. Share of the "
        f"variance of the discounted rewards of {WINDOW} steps that is foreseen in {HELD_OUT} "
        "held-out episodes, so many windows ahead, under the actions that were taken; mean over "
        "seeds, each seed behind.",
        "",
        "| task | arm | " + " | ".join(f"window {n}" for n in AHEAD) + " |",
        "|---" * (2 + len(AHEAD)) + "|",
    ]
    for name in args.tasks:
        for arm in args.arms:
            found = learn(tasks[name], arms[arm], args.updates, args.seeds)
            cells = [
                f"{column.mean():.3f} ({', '.join(f'{x:.3f}' for x in column)})"
                for column in found.T
            ]
            lines.append(f"| `{name}` | {arm} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    write_text(args.output, "\n".join([*lines, ""]))


if __name__ == "__main__":
    enter(main)
