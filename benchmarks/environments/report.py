"""The table of all results so far."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.arms import differing
from benchmarks.environments.tasks import ARMS, TASKS, Task
from common import UserError, read_json
from replay.atomic import write_text

RESULTS = Path(__file__).resolve().parents[1] / "results" / "environments"
KINDS = ("sampled", "greedy")


def result_of(task: str, arm: str, seed: int) -> Path:
    """Path of a result."""
    return RESULTS / task.replace(":", "-") / f"{arm}-{seed}.json"


def read_results(task: str, arm: str) -> list[dict[str, Any]]:
    """Results of all seeds so far, in order of the seeds.

    Raises:
      UserError: if the settings of one differ from those of the others.
    """
    paths = result_of(task, arm, 0).parent.glob(f"{arm}-*.json")
    found = sorted(map(read_json, paths), key=lambda result: result["seed"])
    for result in found[1:]:
        path = result_of(task, arm, result["seed"])
        check_settings(path, result.get("settings", {}), found[0].get("settings", {}))
    return found


def check_settings(path: Path, kept: Mapping[str, Any], today: Mapping[str, Any]) -> None:
    """Refuse what was made with other settings.

    Args:
      path: of the result or run, for the message.
      kept: its settings by dotted name.
      today: those expected.
    Raises:
      UserError: naming what differs, and the remedy.
    """
    if names := differing([kept, today]):
        name, more = names[0], f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise UserError(
            f"{path}: expected {name} {today.get(name)}, received {kept.get(name)}{more}; its "
            "settings are not those of today's command: move it away, and run again"
        )


def write_report(path: Path) -> None:
    """Write the table as Markdown."""
    rows = []
    for name, task in TASKS.items():
        cells = [_cell(task, read_results(name, arm)) for arm in ARMS]
        if any(cell != "–" for cell in cells):
            rows.append(f"| `{name}` | {task.of} ≥ {task.bar:g} | {' | '.join(cells)} |")
    lines = [
        "# Default settings on well-known environments",
        "",
        "`python -m benchmarks.environments` for the runs, `--report` for this page. Each entry is "
        "a seed's mean over 20 episodes after training, sampled (greedy), then how many seeds "
        "reach the bar so; `ours` is `python train_agent.py --env ID` alone, `flat` the same with "
        "`--strides 1`, `ppo` stable-baselines3's PPO with its own defaults, for as many steps of "
        "the environment as our agent sees it. Commands, seeds, versions and times are in the "
        "results beside.",
        "",
        f"| environment | bar | {' | '.join(ARMS)} |",
        "|---" * (2 + len(ARMS)) + "|",
        *rows,
    ]
    write_text(path, "\n".join(lines) + "\n")


def scores(task: Task, result: dict[str, Any]) -> tuple[float, float]:
    """(sampled, greedy): mean return or share of successes over a result's episodes."""
    key = {"return": "", "success": "_success"}[task.of]
    sampled, greedy = (float(np.mean(result[kind + key])) for kind in KINDS)
    return sampled, greedy


def _cell(task: Task, results: Sequence[dict[str, Any]]) -> str:
    """One arm's entry: each seed, and how many of them reach the bar."""
    if not results:
        return "–"
    pairs = [scores(task, result) for result in results]
    digits = 0 if max(abs(x) for pair in pairs for x in pair) >= 10 else 2
    each = "; ".join(f"{s:.{digits}f} ({g:.{digits}f})" for s, g in pairs)
    reached = [sum(pair[kind] >= task.bar for pair in pairs) for kind in (0, 1)]
    return f"{each}: {reached[0]} ({reached[1]}) of {len(pairs)}"
