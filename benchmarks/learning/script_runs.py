"""Every seed of a setting as a run of `train_agent.py`, resumed if it was stopped."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np

from benchmarks.learning.curves import Curve
from common import read_json
from training import curves
from training.build import load_run
from training.loop import EVALUATION

ROOT = Path(__file__).resolve().parents[2]


def run_seeds(flags: list[str], curve: Curve, path: Path, jobs: int) -> Curve:
    """Run all seeds of ``curve`` to their end, ``jobs`` at a time.

    Args:
      path: of the curve; the runs are kept beside it.
    Raises:
      SystemExit: if one fails, naming its log; the others have ended by then.
    """
    folder = path.with_suffix("")

    def one(seed: int) -> Path:
        logdir = folder / f"seed{seed}"
        if not (logdir / "evaluation.json").exists():
            # -u: output printed before an error precedes it in the log
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
    """Fill a curve from the logs of its runs, at the evaluations that all of them have, and from
    their final evaluations."""
    found = curves.gather(runs)
    curve.steps, curve.returns = found["steps"], found["greedy"]
    curve.updates, curve.seconds = found["updates"], found["seconds"]
    ends = [read_json(run / EVALUATION) for run in runs]
    curve.foreseen = [end["foreseen"] for end in ends]
    curve.came = [end["discounted"] for end in ends]
    _, params, _ = load_run(runs[0])
    curve.parameters = sum(int(x.size) for x in jax.tree.leaves(params))


def random_returns(run: Path, episodes: int) -> np.ndarray:
    """Returns of uniformly random actions in a run's environment, by episode."""
    built, _, _ = load_run(run)
    return np.array([e.score for e in built.evaluate_random(episodes).episodes])
