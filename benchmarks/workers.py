"""Benefit of environments in processes, of steps during updates, and of not drawing every frame.

    python -m benchmarks.workers

Wall time. All sides of a table take turns in one process, each equally often first; ratios of the
first side to another are medians over turns. A turn of a run is `--rounds` rounds of it: a step of
every environment by random actions, into replay, and the updates that are due by the preset, where
a program of matrix products stands in for an update. `sync` steps environments one after another;
`async` steps them in processes and receives the results before it updates, `overlap` after it.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from agents import ActionCodec
from agents.driver import Collector, Stepper
from benchmarks.machine import measured
from common.entry import enter
from configs import TrainConfig, parse_train
from envs import make_agent_env, make_vector
from envs.config import Workers
from envs.wrappers import ActionRepeat
from replay import Field, ReplayConfig, ReplayStore, standard_fields
from training.spaces import ask

HERE, TASK = "benchmarks.workers", "dmc:cartpole_swingup"
RUNS = {
    "Navigate, builtin": ["--env", "minerl_navigate", "--env.backend", "builtin"],
    "`dmc:cartpole_swingup` from pixels": ["--env", TASK, "--preset", "dmc_pixels"],
    "computes for 5 ms": ["--env", f"{HERE}:Slow", "--env.options", "computes", "True"],
    "waits for 5 ms": ["--env", f"{HERE}:Slow"],
}
"""Flags of the runs."""
PRODUCTS = {"short": 30, "long": 300}
"""Lengths of updates: numbers of products of two matrices of 256 x 256."""
SIDES: dict[str, tuple[Workers, bool]] = {
    "sync": ("sync", False),
    "async": ("async", False),
    "overlap": ("async", True),
}


class Slow(gymnasium.Env[np.ndarray, Any]):
    """An environment that takes 5 ms per step, in which it computes or waits, as for a game."""

    observation_space = spaces.Box(-1.0, 1.0, (8,))
    action_space = spaces.Box(-1.0, 1.0, (2,))

    def __init__(self, computes: bool = False) -> None:
        self.computes = computes

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, Any]:
        """Return zeros."""
        super().reset(seed=seed)
        return np.zeros(8, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, Any]:
        """Compute or wait, and return zeros."""
        if self.computes:
            until = time.thread_time() + 0.005
            while time.thread_time() < until:
                pass
        else:
            time.sleep(0.005)
        return np.zeros(8, np.float32), 0.0, False, False, {}


class Side:
    """A run with one kind of workers, and with its own environments and replay."""

    def __init__(
        self, config: TrainConfig, workers: Workers, overlap: bool, products: int, folder: Path
    ) -> None:
        self.config, self.products = config, products
        env, spaces = config.env, ask(config)
        codec = ActionCodec(spaces.action)
        stepper = Stepper(make_vector(replace(env, workers=workers), env.num_envs, 0), codec)
        rng = np.random.default_rng(0)

        def policy(params: Any, carry: Any, obs: Any, is_first: Any, key: Any) -> Any:
            return carry, rng.uniform(-1, 1, (env.num_envs, codec.width)).astype(np.float32)

        seen = spaces.obs.spaces.items()
        obs = {name: Field(tuple(x.shape or ()), str(x.dtype)) for name, x in seen}
        self.replay = ReplayStore(folder, standard_fields(obs, codec.width), ReplayConfig())
        self.collector = Collector(stepper, policy, None, self.replay, overlap).begin()
        self.state, self.steps, self.updates = jnp.eye(256), 0, 0

    def turn(self, rounds: int) -> None:
        """Run ``rounds`` rounds to their end."""
        for _ in range(rounds):
            self.collector.step({}, jax.random.key(0))
            self.steps += self.config.env.num_envs
            while self.updates < int(self.steps * self.config.updates_per_step):
                self.state = update(self.state, self.products)
                self.updates += 1
        self.collector.arrive()
        jax.block_until_ready(self.state)

    def close(self) -> None:
        """Close its environments and replay."""
        self.collector.stepper.envs.close()
        self.replay.close()


@partial(jax.jit, static_argnums=1, donate_argnums=0)
def update(state: jax.Array, products: int) -> jax.Array:
    """A program that stands in for an update."""
    return jax.lax.fori_loop(0, products, lambda _, x: x @ x / jnp.linalg.norm(x), state)


def in_turn(calls: Sequence[Callable[[], Any]], turns: int) -> np.ndarray:
    """Seconds [turns, sides] of the calls, which take turns."""
    took = np.zeros((turns, len(calls)))
    for call in calls:
        call()
    for turn in range(turns):
        for place in range(len(calls)):
            side = (turn + place) % len(calls)  # no side always goes first
            start = time.perf_counter()
            calls[side]()
            took[turn, side] = time.perf_counter() - start
    return took


def row(name: str, took: np.ndarray) -> str:
    """Milliseconds of every side, and ratios to the first one with their middle halves."""
    cells = [f"{1e3 * statistics.median(side):.2f}" for side in took.T]
    for side in took.T[1:]:
        low, middle, high = statistics.quantiles(took[:, 0] / side, n=4)
        cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
    return f"| {name} | {' | '.join(cells)} |"


def drawing(turns: int) -> str:
    """A row for a step of Navigate as the agent takes it: all frames drawn, or only the last."""
    config = parse_train(["--env", "minerl_navigate", "--env.backend", "builtin"], False, "float32")
    calls = []
    for every in (True, False):
        env = make_agent_env(config.env)
        env.reset(seed=0)
        env.action_space.seed(0)
        held = env
        while not isinstance(held, ActionRepeat):
            assert isinstance(held, gymnasium.Wrapper)
            held = held.env
        if every:
            held.sparing = []
        calls.append(partial(_steps, env))
    return row(f"step of {config.env.action_repeat} frames", in_turn(calls, turns) / 50)


def _steps(env: gymnasium.Env[Any, Any]) -> None:
    for _ in range(50):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()


def alone(length: str) -> float:
    """Milliseconds of an update alone."""
    call = partial(lambda: jax.block_until_ready(update(jnp.eye(256), PRODUCTS[length])))
    return 1e3 * statistics.median(in_turn([call], 15)[:, 0])


def running(name: str, length: str, turns: int, rounds: int, folder: Path) -> str:
    """A row for a round of a run, with all sides."""
    config, products = parse_train(RUNS[name], False, "float32"), PRODUCTS[length]
    sides = [
        Side(config, *how, products, folder / f"{name}-{length}-{side}".replace("/", "-"))
        for side, how in SIDES.items()
    ]
    took = in_turn([partial(side.turn, rounds) for side in sides], turns) / rounds
    for one in sides:
        one.close()
    number = config.env.num_envs
    due = number * config.updates_per_step
    return row(f"{name}: {number} environments, {due:g} {length} updates", took)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    with measured("Workers", "benchmarks.workers"), tempfile.TemporaryDirectory() as folder:
        print("| Navigate, ms | all drawn | the last drawn | ratio |\n|---|---|---|---|")
        print(drawing(args.turns), flush=True)
        print(
            f"\nA short update alone takes {alone('short'):.1f} ms, a long one {alone('long'):.1f}."
        )
        print("\n| round of a run, ms | sync | async | overlap | sync / async | sync / overlap |")
        print("|---|---|---|---|---|---|")
        for name in RUNS:
            for length in PRODUCTS:
                told = running(name, length, args.turns, args.rounds, Path(folder))
                print(told, flush=True)


if __name__ == "__main__":
    enter(main)
