"""From a run of the suite: which goals agents of a memory task entered, and if they keep the cue.

  python -m benchmarks.learning --tasks pure:two_rooms_door --strides 1,8 1 --output OUTPUT
  python -m benchmarks.memory_agents OUTPUT/pure-two_rooms_door/*.json

Per seed, by quarters of all finished episodes: the mean return, and the goal that was entered first
(none, the one that pays, the one that costs). For the last 200 episodes, as read by the final
model: how often the sign of the first window's reward in a goal is right, and at which times of the
episode ridge regression can read the cue from the top state. Writes benchmarks/results/NAME.md.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from agents.compiled import CompiledRun, RunState
from agents.memory import Memory, rewards
from benchmarks.learning.curves import Curve
from benchmarks.memory import RESULTS, ROOMS, inspect
from common import UserError
from common.entry import enter
from training.device import enable_compilation_cache
from training.seeds import load_program, load_state, run_of

LAST = 200  # episodes that the model reads
IN_GOAL = 0.15  # |reward| that a step exceeds only in a goal


def first_goals(reward: np.ndarray) -> np.ndarray:
    """[E] from rewards [E, T]: +1 if the first goal entered pays, -1 if it costs, 0 without one."""
    entered = np.abs(reward) > IN_GOAL
    first = reward[np.arange(len(reward)), entered.argmax(1)]
    return np.where(entered.any(1), np.sign(first), 0.0)


def finished(memory: Memory) -> np.ndarray:
    """Numbers of the finished episodes, in the order in which they started."""
    steps = np.asarray(memory.steps)
    return np.flatnonzero(steps == steps.max())


def load(path: Path) -> tuple[Curve, CompiledRun, Iterator[RunState]]:
    """Load a finished curve, its program, and the final state of every seed.

    Raises:
      UserError: as for `curve_at`.
    """
    curve = curve_at(path)
    runs = [run_of(path.with_suffix(""), seed) for seed in curve.seeds]
    return curve, load_program(runs[0]), (load_state(run) for run in runs)


def curve_at(path: Path) -> Curve:
    """Load a finished curve of a memory task.

    Raises:
      UserError: if there is no file, or it is no curve, not of a memory task, or not finished.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: expected a JSON file that the suite has left, received none; check the path"
        )
    try:
        curve = Curve.load(path)
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: expected a curve that the suite has left, received: {error}; name its JSON "
            "files alone"
        ) from error
    if curve.task not in ROOMS:
        raise UserError(f"{path}: expected a curve of {' or '.join(ROOMS)}, received {curve.task}")
    if not curve.done:
        raise UserError(f"{path}: expected a finished run; the suite's command goes on with it")
    return curve


def quarters(memory: Memory) -> Iterator[str]:
    """Cells of the first table: episodes, return, and the shares of first goals."""
    reward = np.stack([rewards(memory, number) for number in finished(memory)])
    goals = first_goals(reward)
    for part in np.array_split(np.arange(len(reward)), 4):
        shares = " | ".join(f"{np.mean(goals[part] == goal):.0%}" for goal in (0, 1, -1))
        yield f"{part[0]:,} to {part[-1]:,} | {reward[part].sum(1).mean():.1f} | {shares}"


def tables(path: Path) -> tuple[list[str], list[str]]:
    """Lines of both tables, for every seed of a curve."""
    curve, run, states = load(path)
    met, kept = [], []
    for seed, state in zip(curve.seeds, states, strict=True):
        met += [f"| {curve.name} | {seed} | {cells} |" for cells in quarters(state.memory)]
        rows = jnp.asarray(finished(state.memory)[-LAST:])
        right, cue = inspect(run, state.memory, rows, state.train.params)
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
    curves = {path: curve_at(path) for path in args.curves}
    files = " ".join(path.name for path in args.curves)
    lines = [
        "# What the agents of a memory task met and keep",
        "",
        f"    python -m benchmarks.memory_agents {files} --name {args.name}",
        "",
    ]
    for path, curve in curves.items():
        met, kept = tables(path)
        lines += [
            f"Runs of `{curve.command}`",
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
