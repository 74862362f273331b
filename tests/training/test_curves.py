"""What seeds have come to, from logs written by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common import dump_json, read_json
from configs import TrainConfig
from training.config_io import write_run_files
from training.curves import cost, gather, write_curves
from training.metrics import METRICS


def test_cost_leaves_pauses_out() -> None:
    """10 steps at 5/s, then 20 at 10/s with 2 updates/s: 4 seconds and 4 updates."""
    rows = [
        {"step": 10, "speed/env_steps_per_s": 5.0, "speed/updates_per_s": 0.0},
        {"step": 15, "eval/return": 1.0},
        {"step": 30, "speed/env_steps_per_s": 10.0, "speed/updates_per_s": 2.0},
    ]
    steps, updates, seconds = cost(rows)
    np.testing.assert_allclose(steps, [10, 30])
    np.testing.assert_allclose(updates, [0, 4])
    np.testing.assert_allclose(seconds, [2, 4])
    shared = [row | {"speed/seeds": 4.0} for row in rows]
    np.testing.assert_allclose(cost(shared)[2], [0.5, 1])


def write_run(folder: Path, seed: int, last: float) -> Path:
    run = folder / f"seed_{seed}"
    write_run_files(run, replace(TrainConfig(), seed=seed, logdir=run, steps=100))
    speed = {"speed/env_steps_per_s": 10.0, "speed/updates_per_s": 5.0}
    rows = [{"step": step, "time": 0.0, **speed} for step in (40, 75, 80, 100)]
    rows += [
        {"step": step, "time": 0.0, "eval/return": value, "eval/sampled_return": -value}
        for step, value in ((40, 1.0), (75, 2.0), (80, 3.0), (100, last))
    ]
    (run / METRICS).write_text("".join(dump_json(row) + "\n" for row in rows))
    return run


def test_the_last_quarter_is_of_the_last_quarter_of_steps(tmp_path: Path) -> None:
    found = gather([write_run(tmp_path, 3, 4.0), write_run(tmp_path, 4, 6.0)])
    assert found["seeds"] == [3, 4] and found["steps"] == [40, 75, 80, 100]
    assert found["greedy"] == [[1, 1], [2, 2], [3, 3], [4, 6]]
    assert found["sampled"][-1] == [-4, -6]
    assert found["last_quarter"] == {"greedy": [3.5, 4.5], "sampled": [-3.5, -4.5]}
    assert found["updates"] == [20, 38, 40, 50]
    assert found["seconds"] == pytest.approx([4, 7.5, 8, 10])


def test_runs_without_sampled_evaluations_have_a_greedy_curve(tmp_path: Path) -> None:
    run = write_run(tmp_path, 0, 4.0)
    log = run / METRICS
    log.write_text(log.read_text().replace("eval/sampled_return", "eval/other"))
    path = write_curves(tmp_path, [run], {7: 40})
    assert '"last_quarter"' in path.read_text()
    assert read_json(path)["failed"] == {"7": 40}
    assert gather([run])["last_quarter"] == {"greedy": [3.5]}
