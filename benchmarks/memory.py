"""Does a world model keep a cue? Two rooms, scripted visits to either goal, no policy.

  python -m benchmarks.memory --strides 1,8 1
  python -m benchmarks.memory --strides 1,8 --flags "--agent.model.half-life 0"
  python -m benchmarks.memory --task pure:two_rooms_door --strides 1,16 1

The agent's full update trains on 320 episodes in which a script walks to one of the two goals,
chosen at random. The cue of the first 4 steps decides whether the goal pays or costs; it is entered
60 steps later, or about 110 if a door opens late. Measured on 256 other episodes: how often the
sign of the first window's reward in the goal is right (1/2 without memory), and at which times of
the episode ridge regression can read the cue from the top state. Writes
benchmarks/results/memory.md.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from agents.compiled import CompiledRun
from agents.dreamer import known_windows, make_loss
from agents.memory import Memory, cut_sequence, of_episodes, sample
from benchmarks.learning.tasks import TASKS
from common.entry import enter
from configs import parse_train
from configs.spelling import whole, wholes
from envs.pure import PureEnv, make_pure
from training.build import Built
from training.device import choose_device, enable_compilation_cache, keep_freed_memory
from training.seeds import make_program
from worldmodel.learner import Params, TrainState, join, make_update
from worldmodel.records import Records

RESULTS = Path(__file__).resolve().parent / "results"
ROOMS = ("pure:two_rooms", "pure:two_rooms_door")
TRAIN, TEST, PORTION = 320, 256, 250
# A script has no plans to mark, and nothing here estimates a scale.
SCRIPTED = ["--agent.keep-plan", "0", "--agent.model.scale-vectors", "False"]


def walk(position: Array, goal: Array, noise: Array, waiting: Array) -> Array:
    """The script's action: dither, then walk through the hallway to a corner of the second room."""
    x, y = position
    to_line = jnp.stack([0.0 * x, -y / 0.2])
    through = jnp.stack([1.0 + 0.0 * x, -y / 0.2])
    way = jnp.where((x > 2.0) | (jnp.abs(y) < 0.25), through, to_line)
    way = jnp.where(x > 9.1, jnp.stack([1.0 + 0.0 * x, goal]), way)
    return jnp.clip(jnp.where(waiting, 0.6 * noise, jnp.clip(way, -1, 1) + 0.2 * noise), -1.0, 1.0)


def episode(env: PureEnv, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
    """(observations, actions, rewards) of an episode, [T+1, ...], in the arrival convention."""
    reset_key, goal_key, wait_key, noise_key = jax.random.split(key, 4)
    goal = jnp.where(jax.random.bernoulli(goal_key), 1.0, -1.0)
    wait = jax.random.randint(wait_key, (), 0, 30)

    def step(state: Any, at: tuple[Array, Array]) -> tuple[Any, tuple[Array, ...]]:
        now, noise = at
        action = walk(state.position, goal, noise, now < wait)
        state, reward, _ = env.step(state, action, key)  # deterministic
        return state, (env.observe(state), action, reward)

    start = env.reset(reset_key)
    size = (env.action_space.shape or ())[0]
    noise = jax.random.normal(noise_key, (env.length, size))
    _, (obs, action, reward) = jax.lax.scan(step, start, (jnp.arange(env.length), noise))
    first = env.observe(start)[None], jnp.zeros((1, size)), jnp.zeros(1)
    pairs = zip(first, (obs, action, reward), strict=True)
    obs, action, reward = (jnp.concatenate(pair) for pair in pairs)
    return obs, action, reward


def recorded_episodes(env: PureEnv, count: int, seed: int) -> Memory:
    """``count`` finished episodes, as a run's memory."""
    keys = jax.random.split(jax.random.key(seed), count)
    return of_episodes(*jax.jit(jax.vmap(partial(episode, env)))(keys))


def inspect(
    run: CompiledRun, memory: Memory, rows: Array, params: Params
) -> tuple[float, list[float]]:
    """(Share of first windows in a goal whose sign is right, the cue's readability at every eighth
    of an episode) over the whole episodes ``rows``; the share is NaN if no goal was entered."""
    agent, schedule = join(run.graph, params), run.schedule
    stride = agent.model.stride
    zero = jnp.zeros((), jnp.int32)

    def whole(row: Array) -> Records:
        return cut_sequence(memory, row[None], zero, stride, schedule.length)

    records = jax.vmap(whole)(rows)
    noise = agent.model.draw_noise(jax.random.key(3), len(rows), schedule.length)
    top = agent.model.observe(records, noise)[-1].state.features
    windows = known_windows(agent, records)
    goal = (jnp.abs(windows.reward) > 0.15 * stride) & (windows.valid > 0)
    first = goal & (jnp.cumsum(goal, axis=1) == 1)
    right = jnp.sign(agent.predict_reward(top)) == jnp.sign(windows.reward)
    cue = np.sign(np.asarray(records.obs["observation"][:, agent.model.lead, 2]))
    eighths = np.linspace(0, top.shape[1] - 1, 9).astype(int)
    return float(right[first].mean()), [readable(np.asarray(top[:, t]), cue) for t in eighths]


def readable(features: np.ndarray, cue: np.ndarray) -> float:
    """Share of half the rows whose cue ridge regression on the other half predicts correctly."""
    x = np.c_[features, np.ones(len(features))]
    fit, test = slice(0, None, 2), slice(1, None, 2)
    ridge = x[fit].T @ x[fit] + 3.0 * np.eye(x.shape[1])
    weights = np.linalg.solve(ridge, x[fit].T @ cue[fit])
    return float(np.mean(np.sign(x[test] @ weights) == cue[test]))


def learn(task: str, strides: str, flags: Sequence[str], updates: int, seed: int) -> list[str]:
    """Train a model and return its lines of the table, one per portion of updates."""
    env = make_pure(task)
    flags = [*TASKS[task].flags, *SCRIPTED, *flags, "--strides", strides]
    config = parse_train(flags, False, "float32")
    run = make_program(config, Built(config))
    train = jax.jit(run.initial)(jax.random.key(seed)).train._replace(average=())
    update = make_update(make_loss(run.graph), run.optimizer)
    seen, unseen = (recorded_episodes(env, n, s) for n, s in ((TRAIN, 5), (TEST, 6)))
    sizes = config.batch, config.sequence, run.agent.model.stride

    def one(train: TrainState, key: PRNGKeyArray) -> tuple[TrainState, Array]:
        sample_key, noise_key = jax.random.split(key)
        train, metrics = update(train, sample(seen, sample_key, *sizes), noise_key)
        return train, metrics["window_reward/error"]

    portion = jax.jit(partial(jax.lax.scan, one))
    lines, started = [], time.perf_counter()
    clocks = ", ".join(map(str, wholes([strides])))
    for index in range(updates // PORTION):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed + 1), index), PORTION)
        train, _ = jax.block_until_ready(portion(train, keys))
        right, cue = inspect(run, unseen, jnp.arange(TEST), train.params)
        cells = ", ".join(f"{x:.2f}" for x in cue)
        seconds = time.perf_counter() - started
        lines.append(
            f"| ({clocks}) | {(index + 1) * PORTION:,} | {right:.2f} | {cells} | {seconds:.0f} |"
        )
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=ROOMS, default=ROOMS[0])
    parser.add_argument("--strides", nargs="+", default=["1,8"])
    parser.add_argument("--flags", default="", help="of train_agent.py")
    parser.add_argument("--updates", type=whole, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="memory", help="of the result file")
    args = parser.parse_args()
    enable_compilation_cache(None)
    keep_freed_memory()
    lines = [
        "# Keeping a cue",
        "",
        f"    {shlex.join(['python', '-m', 'benchmarks.memory', *sys.argv[1:]])}",
        "",
        f"{choose_device().name}; size xs, seed {args.seed}. Share of {TEST} held-out episodes in "
        "which the sign of the first window in the goal is right; share in which ridge regression "
        "reads the cue off the top state, at every eighth of the episode; seconds with compiling.",
        "",
        "| strides | updates | sign right | cue readable | seconds |",
        "|---|---|---|---|---|",
    ]
    for strides in args.strides:
        lines += learn(args.task, strides, shlex.split(args.flags), args.updates, args.seed)
    (RESULTS / f"{args.name}.md").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    enter(main)
