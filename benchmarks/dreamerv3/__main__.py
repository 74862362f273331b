"""Cost of an agent's update beside DreamerV3's (danijar/dreamerv3), in turns on one core.

  python -m benchmarks.dreamerv3 --python PEER/bin/python --repository dreamerv3 --core 0

Needs a checkout of DreamerV3 and a Python with its requirements, which are no part of this project.
The task is of a walker's size: a vector of 24 numbers, 6 actions, batches of 4 sequences of 32
steps, as many parameters and as many imagined environment steps for all. Agents are measured
without novelty, which DreamerV3 has none of, and flat also with it, as by default. Writes
benchmarks/results/dreamerv3.md.
"""

import argparse
import math
import os
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np

from benchmarks.run import Work, update
from common import UserError
from common.entry import enter
from configs import parse_train
from replay.atomic import write_text
from training.build import Built
from training.device import enable_compilation_cache, keep_freed_memory

RESULTS = Path(__file__).resolve().parents[1] / "results" / "dreamerv3.md"
PEER = Path(__file__).with_name("peer.py")
TASK = (
    "--env benchmarks.dreamerv3.walk:Walk --size xs --batch 4 --length 32 "
    "--agent.behaviour.horizon 16"
)
ROWS = {
    "flat": "--strides 1 --agent.model.deter 159 --agent.model.hidden 159 --agent.novelty 0",
    "(1, 4)": "--strides 1 4 --agent.model.deter 123 --agent.model.hidden 123 --agent.novelty 0",
    "flat, with novelty": "--strides 1 --agent.model.deter 142 --agent.model.hidden 142 "
    "--agent.novelty 1",
}
UPDATES, ROUNDS = 10, 9  # updates in a turn; turns of each, of which the first is not counted


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dreamerv3",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--python", type=Path, required=True, help="with DreamerV3's requirements")
    parser.add_argument("--repository", type=Path, required=True, help="a checkout of DreamerV3")
    cores = sorted(os.sched_getaffinity(0))
    parser.add_argument("--core", type=int, choices=cores, default=cores[0], help="to run on")
    args = parser.parse_args()
    for path in (args.python, args.repository / "dreamerv3" / "configs.yaml"):
        if not path.is_file():
            raise UserError(f"expected a file, received none at {path}; check the path")
    os.sched_setaffinity(0, {args.core})
    jax.config.update("jax_platforms", "cpu")
    enable_compilation_cache(None)
    keep_freed_memory()
    command = [args.python, PEER, args.repository.resolve()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdin is not None and run.stdout is not None
        parameters = {"DreamerV3": int(number(run.stdout))}
        works = {name: update(f"{TASK} {flags}") for name, flags in ROWS.items()}
        parameters |= {name: count(f"{TASK} {flags}") for name, flags in ROWS.items()}
        seconds: dict[str, list[float]] = {name: [] for name in parameters}
        for _ in range(ROUNDS):
            run.stdin.write(f"{UPDATES}\n")
            run.stdin.flush()
            seconds["DreamerV3"].append(number(run.stdout))
            for name, work in works.items():
                seconds[name].append(spent(work))
        run.stdin.close()
    write_text(RESULTS, page({name: x[1:] for name, x in seconds.items()}, parameters))
    print(RESULTS.read_text(encoding="utf-8"))


def number(lines: Iterable[str]) -> float:
    """The next line that is a number; what the other program prints besides is left out."""
    for line in lines:
        try:
            return float(line)
        except ValueError:
            continue
    raise SystemExit("error: DreamerV3 ended; what it printed last is above")


def spent(work: Work) -> float:
    """CPU-seconds of an update."""
    start = time.process_time()
    for _ in range(UPDATES):
        jax.block_until_ready(work.call())
    return (time.process_time() - start) / UPDATES


def count(flags: str) -> int:
    """Number of an agent's parameters."""
    built = Built(parse_train(flags.split(), False, "float32"))
    params = jax.eval_shape(built.initial).params
    return sum(math.prod(x.shape) for x in jax.tree.leaves(params))


def page(seconds: dict[str, list[float]], parameters: dict[str, int]) -> str:
    """The table, as Markdown."""
    peer = np.array(seconds["DreamerV3"])
    rows = []
    for name, found in seconds.items():
        low, ratio, high = np.quantile(np.array(found) / peer, (0.25, 0.5, 0.75))
        shown = "1" if name == "DreamerV3" else f"{ratio:.2f} ({low:.2f} to {high:.2f})"
        rows.append(f"| {name} | {parameters[name]:,} | {1e3 * np.median(found):.0f} | {shown} |")
    lines = [
        "# An update beside DreamerV3's",
        "",
        "    python -m benchmarks.dreamerv3 --python PYTHON --repository DREAMERV3",
        "",
        "Vectors of 24 numbers, 4 sequences of 32 steps, 16 imagined steps, float32, one core; "
        f"medians of {len(peer)} turns of {UPDATES} updates, in CPU-seconds, and of their ratios, "
        "with the middle half.",
        "",
        "| agent | parameters | CPU-ms | of DreamerV3's |",
        "|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    enter(main)
