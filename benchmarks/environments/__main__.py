r"""Train by `python train_agent.py --env ID` alone, and compare with a flat agent and with PPO.

  python -m benchmarks.environments --tasks gym:CartPole-v1 --seeds 0 1 2
  python -m benchmarks.environments --report

Three arms: `ours`, the defaults; `flat`, the same with --strides 1; `ppo`, stable-baselines3's PPO
with its own defaults, for as many steps of the same environment with the same observations
(pip install stable-baselines3). All of it on the CPU, which the bars are for. Runs are kept under
`--output`, and the same command resumes them; each result is written to
benchmarks/results/environments/ when its run ends, and a run with a result is not repeated. Results
and runs of other settings than today's are refused. The report is a table of all results so far
against bars that were set before any of them.
"""

import argparse
import os
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax

from benchmarks.environments.ppo import ppo
from benchmarks.environments.report import RESULTS, check_settings, result_of, write_report
from benchmarks.environments.tasks import ARMS, TASKS, flags, of_arm, settings
from common import dump_json, read_json
from common.entry import enter
from configs import TrainConfig
from replay.atomic import write_text
from training.build import load_run
from training.config_io import holds_run, load_config
from training.device import enable_compilation_cache, keep_freed_memory
from training.versions import versions

ROOT = Path(__file__).resolve().parents[2]
EPISODES = 20  # of each kind, after training
CPU = {**os.environ, "JAX_PLATFORMS": "cpu"}


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
    jax.config.update("jax_platforms", "cpu")
    enable_compilation_cache(None)
    keep_freed_memory()
    cells = (
        []
        if args.report
        else [(t, a, s) for s in args.seeds for t in args.tasks for a in args.arms]
    )
    for task, arm, seed in cells:
        path = result_of(task, arm, seed)
        if arm == "ppo" and not TASKS[task].ppo:
            continue
        if path.is_file():
            check_settings(path, read_json(path).get("settings", {}), settings(task, arm))
            continue
        print(f"{task} {arm}, seed {seed}", flush=True)
        one = train_ppo if arm == "ppo" else train
        found = one(task, arm, seed, args.output.resolve() / task.replace(":", "-") / arm)
        result = {"task": task, "arm": arm, "seed": seed, **found, "versions": versions()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, dump_json(result, indent=1) + "\n")
    write_report(RESULTS.with_suffix(".md"))


def train_ppo(task: str, arm: str, seed: int, folder: Path) -> dict[str, Any]:
    """Train PPO; what ``ppo`` returns, with its settings and the processor time."""
    start = time.process_time()
    found = ppo(flags(task, arm), seed, EPISODES)
    spent = time.process_time() - start
    return {"settings": settings(task, arm), "cpu_seconds": spent, **found}


def train(task: str, arm: str, seed: int, folder: Path) -> dict[str, Any]:
    """Run `train_agent.py` to its end, or resume it, and play with the agent.

    Returns:
      Settings, time and returns by episode; cpu_seconds, cores: of training, None if it was
      resumed.
    Raises:
      UserError: if the run was begun with other settings.
      SystemExit: if it fails, naming its log.
    """
    logdir, told = folder / str(seed), folder / f"{seed}.log"
    anew, today = not holds_run(logdir), settings(task, arm)
    if not anew:
        check_settings(logdir, of_arm(arm, load_config(TrainConfig, logdir)), today)
    folder.mkdir(parents=True, exist_ok=True)
    command = ["train_agent.py", *flags(task, arm), "--seed", str(seed)]
    whole = [sys.executable, "-u", *command, "--logdir", str(logdir), "--report", "False"]
    before, start = _processor(), time.monotonic()
    with told.open("ab") as log:
        code = subprocess.run(whole, cwd=ROOT, stdout=log, stderr=log, env=CPU).returncode
    if code:
        raise SystemExit(f"error: {shlex.join(command)} failed ({code}); its log is {told}")
    spent = {"cpu_seconds": _processor() - before, "seconds": time.monotonic() - start}
    result: dict[str, Any] = {"command": shlex.join(["python", *command]), "settings": today}
    result["cores"] = len(os.sched_getaffinity(0))
    result |= spent if anew else dict.fromkeys(spent)
    built, params, result["steps"] = load_run(logdir, flags(task, arm)[1])
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
