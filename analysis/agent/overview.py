"""The report's overview of a run: what ran, and how it learned.

Read next: `episode.py`, one of the run's episodes.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from analysis.agent.figures import draw_training
from analysis.pages import report
from common import read_json
from envs import describe_backend
from training.build import Built
from training.config_io import VERSIONS
from training.metrics import read_metrics


def overview(run: Path, built: Built, step: int) -> str:
    """A table of what ran: environment, settings, size, commit and device."""
    c, model = built.config, built.agent.model
    size = sum(x.size for x in jax.tree.leaves(built.shapes))
    made = run / VERSIONS
    versions = read_json(made) if made.is_file() else {}
    rows = [
        ("environment", describe_backend(c.env).removeprefix("environment: ")),
        *built.spaces.overview,
        ("trained for", f"{step:,} environment steps, seed {c.seed}"),
        ("strides", f"{' '.join(map(str, model.strides))} environment steps per tick"),
        ("replans", f"after {c.agent.replan} of the {model.stride} steps of a plan"),
        ("keeps a plan", f"to its end in {c.agent.keep_plan:.0%} of cases"),
        ("marks plans", "yes" if built.agent.codec.marked else "no"),
        ("parameters", f"{size / 1e6:.2f} M"),
        ("commit", str(versions.get("git") or "not known")),
        ("device", str(versions.get("device") or "not known")),
    ]
    return report.heading("What ran") + report.table(["run", run.resolve().name], rows)


def metrics(run: Path) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl; empty if there is no such file."""
    path = run / "metrics.jsonl"
    return read_metrics(path) if path.is_file() else []


def training_section(run: Path, chance: np.ndarray) -> list[str]:
    """Learning curves of the run, compared with the return of random actions."""
    drawn = draw_training(metrics(run), chance)
    if drawn is None:
        return []
    caption = (
        "Return of episodes and KL of the posterior from the prior per level during training, over "
        "environment steps. The band is the 95% interval over an evaluation's episodes; the dashed "
        "line shows random actions with the same seeds."
    )
    return [report.heading("How it learned"), report.figure(drawn, caption)]
