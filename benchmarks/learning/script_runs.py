"""Every seed of a setting as `train_agent.py` itself, resumed where it was stopped."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np

from benchmarks.learning.curves import Curve
from training import read_metrics
from training.build import load_run

ROOT = Path(__file__).resolve().parents[2]


def run_seeds(flags: list[str], curve: Curve, path: Path, jobs: int) -> Curve:
    """Runs all seeds of ``curve`` to their end, ``jobs`` at a time.

    Args:
      path: of the curve; the runs lie beside it.
    Raises:
      SystemExit: when one fails, naming its log; the others have ended by then.
    """
    folder = path.with_suffix("")

    def one(seed: int) -> Path:
        logdir = folder / f"seed{seed}"
        if not (logdir / "evaluation.json").exists():
            # -u: what is printed before an error stands before it in the log
            command = [sys.executable, "-u", str(ROOT / "train_agent.py"), *flags]
            command += ["--video-every", "0", "--report", "False"]
            command += ["--seed", str(seed), "--logdir", str(logdir)]
            logdir.parent.mkdir(parents=True, exist_ok=True)
            told = folder / f"seed{seed}.log"
            with told.open("ab") as log:
                code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log).returncode
            if code:
                last = told.read_text(errors="replace").strip().splitlines()[-1:]
                raise SystemExit(f"error: seed {seed} failed ({code}): {last}; {told}")
        return logdir

    with ThreadPoolExecutor(jobs) as pool:
        runs = list(pool.map(one, curve.seeds))
    gather(curve, runs)
    curve.save(path)
    return curve


def gather(curve: Curve, runs: list[Path]) -> None:
    """Fills a curve from the logs of its runs, at the evaluations that all of them have."""
    rows = [read_metrics(run / "metrics.jsonl") for run in runs]
    found = [{row["step"]: row["eval/return"] for row in r if "eval/return" in row} for r in rows]
    curve.steps = sorted(set.intersection(*(set(f) for f in found)))
    curve.returns = [[f[step] for f in found] for step in curve.steps]
    curve.updates, curve.seconds = [], []
    costs = [cost(r) for r in rows]
    for step in curve.steps:
        spent = [[np.interp(step, steps, x) for x in (up, sec)] for steps, up, sec in costs]
        updates, seconds = np.mean(spent, axis=0)
        curve.updates.append(round(float(updates)))
        curve.seconds.append(float(seconds))
    _, params, _ = load_run(runs[0])
    curve.parameters = sum(int(x.size) for x in jax.tree.leaves(params))


def cost(rows: list[dict[str, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, updates so far and seconds so far, at a run's lines of metrics.

    Seconds are steps over their logged speed: pauses between resumed parts are not in it.
    """
    lines = [row for row in rows if row.get("speed/env_steps_per_s", 0) > 0]
    steps = np.array([row["step"] for row in lines])
    seconds = np.diff(steps, prepend=0) / [row["speed/env_steps_per_s"] for row in lines]
    updates = seconds * [row["speed/updates_per_s"] for row in lines]
    return steps, np.cumsum(updates), np.cumsum(seconds)


def random_returns(run: Path, episodes: int) -> np.ndarray:
    """Returns of uniformly random actions in a run's environment, by episode."""
    built, _, _ = load_run(run)
    return np.array([e.score for e in built.evaluate_random(episodes).episodes])
