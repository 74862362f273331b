"""What a cell's runs cost: processor time of their program, measured alternately with a product.

Logged speeds are those of the wall clock, which other programs slow down, some runs more than
others. docs/protocol.md, Runs.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from agents.compiled import Orders
from benchmarks.run import Work, measure
from configs import parse_train
from configs.cli import take_seeds
from training.build import Built
from training.seeds import Together, run_of
from training.spaces import ask

ROUNDS = 20  # without an update, per turn
UPDATES = 2  # in one round, per turn


class Cost(NamedTuple):
    """Processor time of one seed's share, in products of two float32 matrices of 1024 by 1024."""

    step: float  # of one environment
    update: float
    product: float  # seconds, as measured beside

    def at(self, result: dict[str, Any]) -> list[float]:
        """Products per seed, at each evaluation of a result."""
        pairs = zip(result["steps"], result["updates"], strict=True)
        return [self.step * steps + self.update * updates for steps, updates in pairs]


def cost(command: Sequence[str], folder: Path, seconds: float) -> Cost:
    """Measure the program of all seeds; medians of turns.

    Args:
      command: arguments of `train_agent.py`, without the directory.
      folder: an empty directory for its files.
      seconds: for which steps, and for which updates are measured.
    """
    seeds, flags = take_seeds([*command, "--logdir", str(folder)])
    config = parse_train(flags, False, "float32")
    runs = [replace(config, seed=seed, logdir=run_of(folder, seed)) for seed in seeds]
    with ExitStack() as stack:
        together = Together(config, runs, Built(config, ask(config, check=True)))
        together.open(stack)
        program = together.compile()
        many, one = rounds(together, program, ROUNDS, 0), rounds(together, program, 1, UPDATES)
        for _ in range(config.prefill // config.env.num_envs // ROUNDS):
            many()
        playing, learning = (measure(Work(call), seconds) for call in (many, one))
    steps = playing["products"] / ROUNDS  # of all environments and seeds
    return Cost(
        steps / config.env.num_envs / len(seeds),
        (learning["products"] - steps) / UPDATES / len(seeds),
        min(playing["product_ms"], learning["product_ms"]) / 1e3,
    )


def rounds(together: Together, program: Any, count: int, updates: int) -> Callable[[], Any]:
    """A call of the program for that many rounds, with updates in the last of them."""
    ordered = np.zeros(together.portion, np.int32)
    ordered[count - 1] = updates
    counters = together.seeds[0].counters

    def call() -> Any:
        begun = counters.steps // together.config.env.num_envs, counters.updates
        orders = Orders(np.int32(count), ordered, *map(np.int32, begun))
        together.state, report = program(together.state, together.keys, orders)
        counters.steps += count * together.config.env.num_envs
        counters.updates += updates
        return jax.block_until_ready(report)

    return call
