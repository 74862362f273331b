"""The results of several seeds with the same settings: their evaluations over steps, as one JSON
file.

`curves.json` beside the runs: "steps", "updates" and "seconds" at each evaluation; "greedy" and
"sampled", the returns there by seed (rows: evaluations); "last_quarter", their means by seed over
the evaluations in the last quarter of the run's steps; "failed", the step at which each seed that
did not finish failed. It is computed from the runs' own metrics.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import dump_json
from configs.schema import TrainConfig
from replay.atomic import write_text
from training.config_io import load_config
from training.metrics import METRICS, read_metrics

CURVES = "curves.json"
LAST = 0.75  # share of a run's steps after which its last quarter begins


def write_curves(folder: Path, runs: Sequence[Path], failed: Mapping[int, int]) -> Path:
    """Write `curves.json` for these runs; ``failed``: failed seeds and the step of the failure."""
    path = folder / CURVES
    found = (gather(runs) if runs else {"seeds": []}) | {
        "failed": {str(seed): step for seed, step in failed.items()}
    }
    write_text(path, dump_json(found, indent=1) + "\n")
    return path


def gather(runs: Sequence[Path]) -> dict[str, Any]:
    """The curves of runs that differ only in their seeds, at the evaluations that all have."""
    configs = [load_config(TrainConfig, run) for run in runs]
    rows = [read_metrics(run / METRICS) for run in runs]
    found = [{row["step"]: row for row in own if "eval/return" in row} for own in rows]
    steps = sorted(set.intersection(*(set(own) for own in found)))
    costs = [cost(own) for own in rows]
    spent = [
        np.mean([[np.interp(s, at, x) for x in more] for at, *more in costs], 0) for s in steps
    ]
    curves = {"greedy": "eval/return", "sampled": "eval/sampled_return"}
    returns = {k: [[own[s].get(v) for own in found] for s in steps] for k, v in curves.items()}
    late = [i for i, s in enumerate(steps) if s > LAST * configs[0].steps]
    quarter = {
        k: [float(np.mean([rows[i][n] for i in late])) for n in range(len(runs))]
        for k, rows in returns.items()
        if late and not any(None in rows[i] for i in late)
    }
    return {
        "env": configs[0].env.name,
        "strides": list(configs[0].agent.model.strides),
        "seeds": [config.seed for config in configs],
        "steps": steps,
        "updates": [round(float(updates)) for updates, _ in spent],
        "seconds": [float(seconds) for _, seconds in spent],
        **returns,
        "last_quarter": quarter,
    }


def cost(rows: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, updates so far and seconds so far, at a run's lines of metrics.

    Seconds are steps divided by their logged speed, without pauses before a resume; for seeds that
    ran as one program, they are one seed's share.
    """
    lines = [row for row in rows if row.get("speed/env_steps_per_s", 0) > 0]
    steps = np.array([row["step"] for row in lines])
    taken = np.diff(steps, prepend=0)
    updates = [row["speed/updates_per_s"] / row["speed/env_steps_per_s"] for row in lines]
    shares = [1 / row.get("speed/seeds", 1.0) / row["speed/env_steps_per_s"] for row in lines]
    return steps, np.cumsum(taken * updates), np.cumsum(taken * shares)
