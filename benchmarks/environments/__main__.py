r"""Train by `python train_agent.py --env ID` alone, and compare with a flat agent and with PPO.

  python -m benchmarks.environments --tasks gym:CartPole-v1 --seeds 0 1 2
  python -m benchmarks.environments --report

Three arms: `ours`, the defaults; `flat`, the same with --strides 1; `ppo`, stable-baselines3's PPO
with its own defaults, for as many steps of the same environment with the same observations
(pip install stable-baselines3). Runs are kept under `--output`, and the same command resumes them;
each result is written to benchmarks/results/environments/ when its run ends, and a run with a
result is not repeated. The report is a table of all results so far against bars that were set
before any of them.
"""

import argparse
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.environments.ppo import ppo
from benchmarks.environments.report import RESULTS, result_of, write_report
from benchmarks.environments.tasks import ARMS, TASKS, flags
from common import dump_json
from common.entry import enter
from replay.atomic import write_text
from training.build import load_run
from training.device import enable_compilation_cache, keep_freed_memory
from training.versions import versions

ROOT = Path(__file__).resolve().parents[2]
EPISODES = 20  # of each kind, after training


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.environments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("runs/environments"))
    parser.add_argument("--report", action="store_true", help="only write the table")
    args = parser.parse_args()
    enable_compilation_cache(None)
    keep_freed_memory()
    cells = (
        []
        if args.report
        else [(t, a, s) for s in args.seeds for t in args.tasks for a in args.arms]
    )
    for task, arm, seed in cells:
        if (arm == "ppo" and not TASKS[task].ppo) or result_of(task, arm, seed).is_file():
            continue
        print(f"{task} {arm}, seed {seed}", flush=True)
        one = train_ppo if arm == "ppo" else train
        found = one(flags(task, arm), seed, args.output.resolve() / task.replace(":", "-") / arm)
        result = {"task": task, "arm": arm, "seed": seed, **found, "versions": versions()}
        result_of(task, arm, seed).parent.mkdir(parents=True, exist_ok=True)
        write_text(result_of(task, arm, seed), dump_json(result, indent=1) + "\n")
    write_report(RESULTS.with_suffix(".md"))


def train_ppo(flags: Sequence[str], seed: int, folder: Path) -> dict[str, Any]:
    """Train PPO; what ``ppo`` returns, with the processor time."""
    start = time.process_time()
    return {**ppo(flags, seed, EPISODES), "cpu_seconds": time.process_time() - start}


def train(flags: Sequence[str], seed: int, folder: Path) -> dict[str, Any]:
    """Run `train_agent.py` to its end, or resume it, and play with the agent.

    Returns:
      Settings, time and returns by episode; cpu_seconds, cores: of training, None if it was
      resumed.
    Raises:
      SystemExit: if it fails, naming its log.
    """
    logdir, told = folder / str(seed), folder / f"{seed}.log"
    anew = not logdir.exists()
    folder.mkdir(parents=True, exist_ok=True)
    command = ["train_agent.py", *flags, "--seed", str(seed)]
    whole = [sys.executable, "-u", *command, "--logdir", str(logdir), "--report", "False"]
    before, start = _processor(), time.monotonic()
    with told.open("ab") as log:
        code = subprocess.run(whole, cwd=ROOT, stdout=log, stderr=log).returncode
    if code:
        raise SystemExit(f"error: {shlex.join(command)} failed ({code}); its log is {told}")
    spent = {"cpu_seconds": _processor() - before, "seconds": time.monotonic() - start}
    result = {"command": shlex.join(["python", *command]), "cores": len(os.sched_getaffinity(0))}
    result |= spent if anew else dict.fromkeys(spent)
    built, params, result["steps"] = load_run(logdir, flags[1])
    for kind in ("greedy", "sampled"):
        played = built.evaluate(params, EPISODES, kind == "greedy").episodes
        result[kind] = [episode.score for episode in played]
        if played[0].success is not None:
            result[f"{kind}_success"] = [float(episode.success or 0) for episode in played]
    return result


def _processor() -> float:
    """Processor time of all child processes so far, seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    enter(main)
