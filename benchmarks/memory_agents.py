"""What the agents of a memory task met, and whether they keep the cue, from a run of the suite.

  python -m benchmarks.learning --tasks pure:two_rooms_door --strides 1,8 1 --output OUTPUT
  python -m benchmarks.memory_agents OUTPUT/pure-two_rooms_door/*.json

Per seed, by quarters of all finished episodes: the mean return, and the goal that was entered first
(none, the one that pays, the one that costs). Of the last 200, as the model reads them at the end:
how often the sign of the first window's reward in a goal is right, and from how much of the episode
ridge regression reads the cue off the top state. Writes benchmarks/results/NAME.md.
"""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from agents.compiled import CompiledRun, Episodes, RunState
from benchmarks.learning.compiled_runs import program
from benchmarks.learning.curves import Curve
from benchmarks.memory import RESULTS, ROOMS, inspect
from common import UserError
from common.entry import enter
from configs import parse_train
from training.checkpoint import CheckpointStore
from training.device import enable_compilation_cache

LAST = 200  # episodes that the model reads
IN_GOAL = 0.15  # |reward| of a step that only a goal gives


def first_goals(reward: np.ndarray) -> np.ndarray:
    """[E] of rewards [E, T]: +1 where the first goal entered pays, -1 where it costs, 0 if none."""
    entered = np.abs(reward) > IN_GOAL
    first = reward[np.arange(len(reward)), entered.argmax(1)]
    return np.where(entered.any(1), np.sign(first), 0.0)


def finished(episodes: Episodes, num_envs: int) -> int:
    """How many are over: all but those that every environment is in."""
    return (int(episodes.begun) - 1) * num_envs


def load(path: Path) -> tuple[Curve, CompiledRun, RunState]:
    """A finished curve, its program, and the state of all its seeds at the end.

    Raises:
      UserError: if the curve is not of a memory task, or not at its end.
    """
    curve = Curve.load(path)
    if curve.task not in ROOMS:
        raise UserError(f"{path}: expected a curve of {' or '.join(ROOMS)}, received {curve.task}")
    if not curve.done:
        raise UserError(f"{path}: expected a finished run; the suite's command goes on with it")
    run = program(parse_train(shlex.split(curve.command)[2:], False, "float32"))
    keys = jnp.stack([jax.random.key(seed) for seed in curve.seeds])
    shape = jax.eval_shape(lambda: jax.lax.map(run.initial, keys))
    saved = CheckpointStore(path.with_suffix(".checkpoints"), keep=2)
    state: RunState = saved.restore(shape, curve.steps[-1]).state
    return curve, run, state


def quarters(episodes: Episodes, total: int) -> Iterator[str]:
    """Cells of the first table: episodes, return, and the shares of first goals."""
    reward = np.asarray(episodes.reward[:total])
    goals = first_goals(reward)
    for part in np.array_split(np.arange(total), 4):
        shares = " | ".join(f"{np.mean(goals[part] == goal):.0%}" for goal in (0, 1, -1))
        yield f"{part[0]:,} to {part[-1]:,} | {reward[part].sum(1).mean():.1f} | {shares}"


def tables(path: Path) -> tuple[list[str], list[str]]:
    """Lines of both tables, of every seed of a curve."""
    curve, run, state = load(path)
    met, kept = [], []
    for index, seed in enumerate(curve.seeds):
        one: RunState = jax.tree.map(lambda x, at=index: x[at], state)
        total = finished(one.episodes, run.schedule.num_envs)
        met += [f"| {curve.name} | {seed} | {cells} |" for cells in quarters(one.episodes, total)]
        rows = jnp.arange(max(total - LAST, 0), total)
        right, cue = inspect(run, one.episodes, rows, one.train.params)
        readable = ", ".join(f"{share:.2f}" for share in cue)
        kept.append(f"| {curve.name} | {seed} | {right:.2f} | {readable} |")
    return met, kept


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("curves", nargs="+", type=Path, help="JSON files that the suite has left")
    parser.add_argument("--name", default="memory_agents", help="of the result file")
    args = parser.parse_args()
    enable_compilation_cache(None)
    files = " ".join(path.name for path in args.curves)
    lines = [
        "# What the agents of a memory task met and keep",
        "",
        f"    python -m benchmarks.memory_agents {files} --name {args.name}",
        "",
    ]
    for path in args.curves:
        met, kept = tables(path)
        lines += [
            f"Runs of `{Curve.load(path).command}`",
            "",
            "| strides | seed | episodes | return | no goal | first pays | first costs |",
            "|---|---|---|---|---|---|---|",
            *met,
            "",
            f"The last {LAST} episodes:",
            "",
            "| strides | seed | sign right | cue readable at every eighth |",
            "|---|---|---|---|",
            *kept,
            "",
        ]
    print("\n".join(lines))
    (RESULTS / f"{args.name}.md").write_text("\n".join(lines))


if __name__ == "__main__":
    enter(main)
