"""Cost of the guards: the check of every record on arrival, and that of every update.

    python -m benchmarks.guards

The guarded and the plain side alternate in one process, each equally often first. Reported are
processor time and the median over pairs of its difference. Records: a step of the run (policy,
environments, replay) with each environment in its `Checked`, and without. Updates: the run's jitted
update, and the same one traced as if every number were finite, so that the compiler removes the
guard.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import gymnasium
import jax
import jax.numpy as jnp

from agents.driver import Collector, Stepper
from agents.policy import initial_policy
from benchmarks.page_faults import random_records
from common.entry import enter
from configs import parse_train
from envs.checked import Checked
from envs.vector import SeededVectorEnv, make_agent_env
from replay import ReplayConfig, ReplayStore
from training.build import Built
from training.device import choose_device, enable_compilation_cache, keep_freed_memory

STEPPED = ("gym:CartPole-v1", "gym:Pendulum-v1", "dmc:walker_walk", "minerl_navigate")
LEARNED = {
    "--env pure:pendulum --size xs --batch 8 --length 32": 1.0,
    "--env minerl_navigate --env.backend builtin --size debug --batch 4 --length 32": 0.3,
}
"""Flags of a run, and the share of pairs that are measured for it."""
WARM = 20


class Cost(NamedTuple):
    """Milliseconds of processor time; ``low`` to ``high`` is the middle half of the differences."""

    plain: float
    more: float
    low: float
    high: float


def paired(guarded: Callable[[], Any], plain: Callable[[], Any], pairs: int) -> Cost:
    """Time both sides alternately."""
    took: list[tuple[float, float]] = []
    for number in range(pairs + WARM):
        first, second = (guarded, plain) if number % 2 else (plain, guarded)
        times = [_seconds(first), _seconds(second)]
        took.append((times[0], times[1]) if number % 2 else (times[1], times[0]))
    rest = took[WARM:]
    differences = [1e3 * (a - b) for a, b in rest]
    low, more, high = statistics.quantiles(differences, n=4)
    return Cost(1e3 * statistics.median(b for _, b in rest), more, low, high)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def unchecked(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """The same environment without its `Checked` wrapper."""
    outer, inner = None, env
    while not isinstance(inner, Checked):
        assert isinstance(inner, gymnasium.Wrapper)
        outer, inner = inner, inner.env
    assert isinstance(outer, gymnasium.Wrapper)
    outer.env = inner.env
    return env


def stepping(name: str, pairs: int, folder: Path) -> Cost:
    """The guard's cost in a step of a run in an environment with its preset, without updates."""
    config = parse_train(["--env", name], False, "float32")
    built = Built(config)
    params = built.initial().params
    sides: list[Callable[[], Any]] = []
    for strip in (lambda env: env, unchecked):
        envs = [strip(make_agent_env(config.env, i)) for i in range(config.env.num_envs)]
        vector = SeededVectorEnv([partial(_itself, env) for env in envs], 0)
        stepper = Stepper(vector, built.codec, built.agent.model.action_width)
        store = ReplayStore(folder / f"{name}-{len(sides)}", built.fields(), ReplayConfig())
        carry = initial_policy(built.agent, stepper.size, config.agent.replan)
        collector = Collector(stepper, built.policy(greedy=False), carry, store).begin()
        sides.append(partial(collector.step, params, jax.random.key(0)))
    return paired(sides[0], sides[1], pairs)


def _itself(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    return env


def learning(flags: str, pairs: int) -> Cost:
    """The guard's cost in an update on random records."""
    config = parse_train(flags.split(), False, "float32")
    guarded, plain = Built(config), Built(config)
    records, key = random_records(guarded), jax.random.key(0)
    sides = []
    for built, finite in ((guarded, jnp.isfinite), (plain, lambda x: True)):
        state = built.initial()
        with mock.patch.object(jnp, "isfinite", finite):  # during tracing
            state, _ = built.update(state, records, key)
        sides.append(partial(_update, built, [state], records, key))
    return paired(sides[0], sides[1], pairs)


def _update(built: Built, states: list[Any], records: Any, key: Any) -> None:
    states[0], metrics = built.update(states[0], records, key)
    jax.block_until_ready((states[0], metrics))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=400)
    args = parser.parse_args()
    enable_compilation_cache(None)
    keep_freed_memory()
    print("# Guards\n\n    python -m benchmarks.guards\n")
    print(f"{choose_device().name}; {args.pairs} pairs, processor time.\n")
    print("| what | plain, ms | guard, ms: median (middle half) | share |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in STEPPED:
            show(f"step of a run in `{name}`", stepping(name, args.pairs, Path(folder)))
    for flags, share in LEARNED.items():
        show(f"update, `{flags}`", learning(flags, int(args.pairs * share)))


def show(what: str, cost: Cost) -> None:
    """Print a row of the table."""
    spread = f"{cost.more:.3f} ({cost.low:.3f} to {cost.high:.3f})"
    print(f"| {what} | {cost.plain:.3f} | {spread} | {cost.more / cost.plain:.1%} |", flush=True)


if __name__ == "__main__":
    enter(main)
