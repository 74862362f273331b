r"""Learning curves of agents over tasks, clocks and seeds, compared with the flat control.

  python -m benchmarks.learning --tasks pure:pendulum --strides 1 1,1 1,4 --seeds 0 1 2 3 4
  python -m benchmarks.learning --tasks pure:pendulum --strides 1,4 \
      --variant "discount 0.98" "--agent.behaviour.discount 0.98" --variant "default" ""

`1` is the flat agent, `1,1` the flat agent with as many levels and about as many parameters as
`1,4`. A variant is a name and flags of `train_agent.py`; `--flags` applies to all variants. Tasks
in pure JAX run all seeds as one compiled program; others run `train_agent.py`, `--jobs` at a time.
Everything is kept under `--output` and resumed from there. Writes
benchmarks/results/NAME.{md,png}.
"""

import argparse
import re
import shlex
import sys
from pathlib import Path

import numpy as np

from benchmarks.learning import compiled_runs, report, script_runs
from benchmarks.learning.curves import Curve
from benchmarks.learning.tasks import TASKS, overridden
from common.entry import enter
from configs import TrainConfig, parse_train
from configs.spelling import wholes
from training.device import (
    Accelerator,
    choose_device,
    enable_compilation_cache,
    keep_freed_memory,
)

RESULTS = Path(__file__).resolve().parents[1] / "results"


def slug(name: str) -> str:
    """A name as part of a path."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-")


def folder_of(task: str, args: argparse.Namespace) -> Path:
    """The directory in which everything about a task is kept."""
    folder: Path = args.output.resolve() / slug(task)
    return folder


def flags_of(task: str, strides: str, extra: list[str]) -> list[str]:
    """Flags of `train_agent.py` for one setting."""
    return [*overridden(*TASKS[task].flags, "--strides", strides, *extra)]


def settings(args: argparse.Namespace) -> list[tuple[str, str, list[str]]]:
    """(task, name, flags) of all requested settings, in order."""
    found = []
    for task in args.tasks:
        for strides in args.strides:
            clocks = ", ".join(map(str, wholes([strides])))
            for variant, extra in args.variant or [("", "")]:
                name = f"({clocks}) {variant}".strip()
                more = [*shlex.split(args.flags), *shlex.split(extra)]
                found.append((task, name, flags_of(task, strides, more)))
    return found


def run(task: str, name: str, flags: list[str], args: argparse.Namespace) -> Curve:
    """Run one setting to its end, or load its curve if that was done before."""
    device: Accelerator = choose_device()
    path = folder_of(task, args) / f"{slug(name)}-seeds-{'-'.join(map(str, args.seeds))}.json"
    command = " ".join(["python train_agent.py", *map(shlex.quote, flags)])
    curve = Curve(task, name, command, device.name, list(args.seeds))
    if path.exists():
        curve = Curve.load(path)
    if curve.command != command:
        raise SystemExit(f"error: {path} holds other flags: {curve.command}; choose --output anew")
    if curve.done:
        return curve
    print(f"{task} {name}, seeds {args.seeds}", flush=True)
    if TASKS[task].pure:
        config: TrainConfig = parse_train(flags, device.kind != "cpu", device.dtype)
        curve = compiled_runs.run_seeds(config, curve, path)
    else:
        curve = script_runs.run_seeds(flags, curve, path, args.jobs)
    curve.done = True
    curve.save(path)
    return curve


def without_places(argv: list[str]) -> list[str]:
    """The arguments that determine the results, without those that say where they are kept."""
    kept, value = [], False
    for arg in argv:
        name, equals, _ = arg.partition("=")
        place = name in ("--output", "--results")
        if not (value or place):
            kept.append(arg)
        value = place and not equals
    return kept


def random_returns(task: str, args: argparse.Namespace) -> np.ndarray:
    """Returns of uniformly random actions, by episode."""
    if TASKS[task].pure:
        device = choose_device()
        config = parse_train(list(TASKS[task].flags), device.kind != "cpu", device.dtype)
        return compiled_runs.random_returns(config)
    folder = folder_of(task, args)
    return script_runs.random_returns(next(folder.glob("*/seed*/evaluation.json")).parent, 16)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=list(TASKS),
        default=["pure:pendulum"],
        metavar="TASK",
        help=", ".join(TASKS),
    )
    parser.add_argument("--strides", nargs="+", default=["1", "1,1", "1,4"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--variant", nargs=2, action="append", metavar=("NAME", "FLAGS"))
    parser.add_argument("--flags", default="", help="of train_agent.py, for every setting")
    parser.add_argument("--jobs", type=int, default=1, help="runs of train_agent.py at a time")
    parser.add_argument("--output", type=Path, default=Path("runs/learning"))
    parser.add_argument("--name", default="learning", help="of the result files")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    enable_compilation_cache(None)
    keep_freed_memory()
    command = shlex.join(["python", "-m", "benchmarks.learning", *without_places(sys.argv[1:])])
    curves: dict[str, list[Curve]] = {task: [] for task in args.tasks}
    random: dict[str, np.ndarray] = {}
    for task, name, flags in settings(args):
        curves[task].append(run(task, name, flags, args))
        random.setdefault(task, random_returns(task, args))
        text = report.write(curves, random, args.results / f"{args.name}.md", command)
    print(text)


if __name__ == "__main__":
    enter(main)
