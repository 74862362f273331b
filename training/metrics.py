"""The numbers of a run as lines of JSON: append-only, safe to kill, safe to resume.

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
"""Numbers that runs before November 2026 wrote under another name; read under this one."""

DAMAGED = "metrics.damaged.jsonl"
"""Where what cannot be read is set aside, beside the file that it was found in."""


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics file in the order written, without an unfinished last line."""
    rows, _ = _split(path)
    return rows


def metrics_frame(run: str | Path) -> Any:
    """A run's metrics as a pandas DataFrame.

    Args:
      run: the run's directory, ``--logdir``.
    Returns:
      One row per logged step (the index) and per finished episode, one column per metric, NaN where
      a row lacks it.
    Raises:
      UserError: if there is no run, or pandas is not installed.
    """
    path = Path(run) / METRICS
    if not path.is_file():
        raise UserError(f"{path}: expected the metrics of a run, received none; check the path")
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise UserError("metrics_frame: expected pandas; pip install pandas") from error
    return pandas.DataFrame(read_metrics(path)).set_index("step")


def repair(path: Path, resume_step: int, count: int | None = None) -> str:
    """Makes a metrics file ready to go on after `resume_step`, of which the first `count` rows were
    written then (None: all up to that step); returns what was done, or "".

    Rows after these were written by a run whose later state is lost: they go, since the
    resumed run writes those steps again. What cannot be read (the end of a killed run) moves to
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
        done.append(f"{len(rows) - len(kept)} rows after step {resume_step} removed")
    if done:
        write_text(path, "".join(dump_json(row) + "\n" for row in kept))
    return f"{path.name}: {', '.join(done)}" if done else ""


def _split(path: Path) -> tuple[list[dict[str, Any]], bytes]:
    """The rows up to the first line that is not one, and all bytes from there on."""
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
    """A row, or None where the line is not an object with an integer step."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    good = isinstance(row, dict) and isinstance(row.get("step"), int)
    if not good:
        return None
    return {RENAMED.get(name, name): null_as_nan(value) for name, value in row.items()}
