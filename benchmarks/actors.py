"""Environment steps per second against the number of workers, until the learner is the limit.

    python -m benchmarks.actors

Environments that take 20 ms per step without using a processor (`sleeping.py`), each in a Ray
actor: in the cluster at RAY_ADDRESS, which needs as many CPUs, or in one on this machine. A round
is a step of all environments by random actions, into replay. With updates, one is due every `EVERY`
steps, and a program of matrix products stands in for it (`workers.py`).
"""

import argparse
import importlib
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import measured
from benchmarks.workers import PRODUCTS, Side, alone
from common.entry import enter
from configs import parse_train
from envs.actors import ADDRESS

COUNTS = 1, 2, 4, 8, 16
EVERY = 16
"""Environment steps per update."""
UPDATE = "long"
"""Update of `workers.py` that takes about as long as that of an agent of size s on a CPU."""


def rates(count: int, rounds: int, folder: Path) -> tuple[float, float, float]:
    """Steps per second without updates and with them, and processor milliseconds of this process
    per worker and round, without updates."""
    config = parse_train(["--env", "benchmarks.sleeping:Sleeping"], False, "float32")
    config = replace(config, env=replace(config.env, num_envs=count))
    side = Side(config, "ray", True, PRODUCTS[UPDATE], folder / str(count))
    found, spent = [], 0.0
    for every in (0, EVERY):
        side.config = replace(config, updates_per_step=1 / every if every else 0.0)
        side.updates = int(side.steps * side.config.updates_per_step)
        side.turn(EVERY)  # warm-up
        start, used = time.perf_counter(), time.process_time()
        side.turn(rounds)
        found.append(count * rounds / (time.perf_counter() - start))
        if not every:
            spent = 1e3 * (time.process_time() - used) / (count * rounds)
    side.close()
    return found[0], found[1], spent


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    args = parser.parse_args()
    with measured("Actors", "benchmarks.actors"), tempfile.TemporaryDirectory() as folder:
        if ADDRESS not in os.environ:
            os.environ["RAY_worker_niceness"] = "0"
            ray = importlib.import_module("ray")
            ray.init("local", num_cpus=max(args.counts), include_dashboard=False)
        update = alone(UPDATE)
        most = 1e3 * EVERY / update
        print(f"An update takes {update:.1f} ms alone: at most {most:.0f} steps/s.\n")
        print("| workers | of 20 ms alone, steps/s | steps/s | with updates | processor ms each |")
        print("|---|---|---|---|---|")
        for count in args.counts:
            plain, learning, spent = rates(count, args.rounds, Path(folder))
            row = f"| {count} | {count / 0.020:.0f} | {plain:.0f} | {learning:.0f} | {spent:.2f} |"
            print(row, flush=True)


if __name__ == "__main__":
    enter(main)
