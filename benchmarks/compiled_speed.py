"""Seeds as one compiled program compared with the same seeds one by one: curves and speed of both.

  python -m benchmarks.compiled_speed --seeds 0 1 2 --flags "--env pure:pendulum --size xs"

Both use `train_agent.py`; runs are kept under `--output` and not repeated, and those of other flags
or seeds are refused. Speeds are those that the runs logged, without compilation and evaluation.
Writes benchmarks/results/NAME.md.
"""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from agents.statistics import half_width, plus_minus
from benchmarks.kept import claim
from common.entry import enter
from configs.spelling import whole
from replay.atomic import write_text
from training.curves import gather
from training.device import choose_device
from training.loop import EVALUATION
from training.seeds import run_of

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = "--env pure:pendulum --size xs --batch 8 --length 32 --steps 6000 --env.num-envs 5 "
DEFAULT += "--updates-per-step 0.2 --eval-episodes 16 --strides 1 --eval-every 1000 --save-every "
DEFAULT += "6000 --video-every 0 --report False"


def run(flags: list[str], logdir: Path, seeds: list[int], together: bool) -> dict[str, Any]:
    """The curves of all seeds, which are run unless that was done before.

    Raises:
      UserError: if the runs there are of other flags or, as one program, of other seeds.
    """
    runs = [run_of(logdir, seed) for seed in seeds]
    if together:
        own = {logdir: ["--seeds", *map(str, seeds)]}
    else:
        own = {run: ["--seed", str(seed)] for run, seed in zip(runs, seeds, strict=True)}
    commands = {place: ["train_agent.py", *flags, *more] for place, more in own.items()}
    for place, command in commands.items():
        claim(command, place)
    if not all((run / EVALUATION).is_file() for run in runs):
        for place, command in commands.items():
            script = [sys.executable, *command, "--logdir", str(place)]
            subprocess.run(script, cwd=ROOT, check=True)
    return gather(runs)


def row(name: str, found: dict[str, Any]) -> str:
    """One line of the table."""
    last = np.array(found["last_quarter"]["greedy"])
    each = ", ".join(f"{x:.0f}" for x in last)
    shown = plus_minus(float(last.mean()), float(half_width(last)), 0)
    whole_run = np.array(found["greedy"]).mean(0)
    over = plus_minus(float(whole_run.mean()), float(half_width(whole_run)), 0)
    seconds, updates = found["seconds"][-1], found["updates"][-1]
    return f"| {name} | {shown} | {each} | {over} | {updates:,} | {1e3 * seconds / updates:.1f} |"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=whole, default=[0, 1, 2])
    parser.add_argument("--flags", default=DEFAULT, help="of train_agent.py")
    parser.add_argument("--output", type=Path, default=Path("runs/compiled_speed"))
    parser.add_argument("--name", default="compiled_speed", help="of the result file")
    args = parser.parse_args()
    flags = shlex.split(args.flags)
    output = args.output.resolve()
    one = run(flags, output / "compiled", args.seeds, together=True)
    many = run(flags, output / "script", args.seeds, together=False)
    lines = [
        "# Seeds as one compiled program, and one by one",
        "",
        f"    python train_agent.py {args.flags}",
        "",
        f"{choose_device().name}, load {os.getloadavg()[2]:.1f}; seeds "
        f"{', '.join(map(str, args.seeds))}. Greedy returns over the last quarter and over the "
        "whole run, mean over seeds ± half a 95% interval; milliseconds of the program per update "
        "and seed, the steps between updates included.",
        "",
        "| | last quarter | each seed | whole run | updates | ms per update |",
        "|---|---|---|---|---|---|",
        row("`--seeds`, one program", one),
        row("`--seed`, one by one", many),
        "",
    ]
    write_text(ROOT / "benchmarks" / "results" / f"{args.name}.md", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    enter(main)
