"""A run's metrics as lines of JSON: append-only, robust against kills and resumes.

One line per step: `{"step": 100, "time": 1700000000.0, "loss/image": 0.5, …}`; `time` is Unix time
in seconds. A number that is not finite is written as null and read as NaN. Read next: `logger.py`,
which writes the same numbers to TensorBoard.
"""

import json
from pathlib import Path
from typing import Any

from common import UserError, dump_json, null_as_nan
from replay.atomic import write_text

METRICS = "metrics.jsonl"

RENAMED = {
    "return/realised": "return/observed",
    "window_reward/realised": "window_reward/observed",
}
"""Old to new names of numbers that runs before November 2026 logged; read under the new ones."""

DAMAGED = "metrics.damaged.jsonl"
"""File beside the metrics to which unreadable bytes are moved."""


def read_metrics(run: str | Path) -> list[dict[str, Any]]:
    """Read a run's metrics, in the order written, without an incomplete last line.

    Args:
      run: the run's directory, ``--logdir``, or its ``metrics.jsonl``.
    Returns:
      One dict per row, of numbers by name.
    Raises:
      UserError: if there is no run.
    """
    path = Path(run) / METRICS if Path(run).is_dir() else Path(run)
    if not path.is_file():
        names = sorted(file.parent.name for file in Path(run).glob(f"seed_*/{METRICS}"))
        seeds = sorted(names, key=len)  # seed_2 before seed_10
        remedy = f"its runs are {', '.join(seeds)}" if seeds else "check the path"
        raise UserError(f"{path}: expected the metrics of a run, received none; {remedy}")
    rows, _ = _split(path)
    return rows


def metrics_frame(run: str | Path) -> Any:
    """Read a run's metrics as a pandas DataFrame.

    Args:
      run: as for `read_metrics`.
    Returns:
      One row per logged step (the index, ``step``) and per finished episode, one column per metric,
      NaN where a row lacks it; no rows if nothing has been logged yet.
    Raises:
      UserError: if there is no run, or pandas is not installed.
    """
    rows = read_metrics(run)
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise UserError("metrics_frame: expected pandas; pip install pandas") from error
    return pandas.DataFrame(rows, columns=None if rows else ["step"]).set_index("step")


def repair(path: Path, resume_step: int, count: int | None = None) -> str:
    """Prepare a metrics file for resuming after `resume_step`, when it had `count` rows (None: all
    up to that step). Return what was done, or "".

    Later rows come from a part of the run whose state is lost; they are removed, since the resumed
    run will write those steps again. What cannot be read (the end of a killed run) is moved to
    `metrics.damaged.jsonl` beside it.
    """
    if not path.exists():
        return ""
    rows, damaged = _split(path)
    kept = [row for row in rows[:count] if row["step"] <= resume_step]
    done = []
    if damaged:
        with path.with_name(DAMAGED).open("ab") as file:
            file.write(damaged + b"\n")
        done.append(f"{len(damaged)} unreadable bytes moved to {DAMAGED}")
    if len(kept) < len(rows):
        lost = len(rows) - len(kept)
        done.append(f"{lost} rows logged after the checkpoint of step {resume_step} removed")
    if done:
        write_text(path, "".join(dump_json(row) + "\n" for row in kept))
    return f"{path.name}: {', '.join(done)}" if done else ""


def _split(path: Path) -> tuple[list[dict[str, Any]], bytes]:
    """The rows before the first unreadable line, and all bytes from there on."""
    content = path.read_bytes()
    rows: list[dict[str, Any]] = []
    start = 0
    while (end := content.find(b"\n", start)) >= 0:
        row = _parse(content[start:end])
        if row is None:
            break
        rows.append(row)
        start = end + 1
    return rows, content[start:]


def _parse(line: bytes) -> dict[str, Any] | None:
    """Parse a row; None if the line is not an object with an integer step."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    good = isinstance(row, dict) and isinstance(row.get("step"), int)
    if not good:
        return None
    return {RENAMED.get(name, name): null_as_nan(value) for name, value in row.items()}
