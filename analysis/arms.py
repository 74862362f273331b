"""Runs grouped into arms, which differ only in the seed, and statistics over an arm's seeds.

Read next: `comparison.py`, the report on arms.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from agents.statistics import half_width
from common import UserError, dump_json
from configs.schema import TrainConfig
from configs.settings import shown
from configs.video import PretrainConfig
from training.build_video import is_video_run
from training.config_io import holds_run, load_config, settings_of
from training.metrics import METRICS, read_metrics

OF_A_SEED = ("seed", "logdir")  # settings in which the runs of an arm differ
MOST_NAMED = 2  # settings in an arm's name, at most
POINTS = 60  # of a curve of training episodes, each the mean of neighbouring episodes


class Arm(NamedTuple):
    """Runs with the same settings except for the seed."""

    name: str
    runs: tuple[Path, ...]
    settings: dict[str, Any]  # by dotted name, without those in `OF_A_SEED`
    rows: tuple[list[dict[str, Any]], ...]  # the rows of each run's metrics


class Curve(NamedTuple):
    """A metric over steps: mean over seeds and half-width of its 95% interval, nan for one seed."""

    time: np.ndarray  # [n] steps
    mean: np.ndarray  # [n]
    half: np.ndarray  # [n]
    seeds: np.ndarray  # [seeds, n]


def gather(given: Sequence[Path]) -> list[Arm]:
    """Group runs into arms, in the order given.

    Raises:
      UserError: if there are no runs, one is not a run, or agents and video models are mixed.
    """
    if not given:
        raise UserError("runs: expected directories of runs, received none; name one or more")
    runs = [run for path in given for run in runs_in(path)]
    kinds = {is_video_run(run) for run in runs}
    if len(kinds) > 1:
        raise UserError(
            "runs: expected agents, or models of video, received both; compare each by themselves"
        )
    cls: type[Any] = PretrainConfig if kinds == {True} else TrainConfig
    found: dict[str, list[Path]] = {}
    for run in dict.fromkeys(runs):
        found.setdefault(dump_json(shared(cls, run)), []).append(run)
    grouped = [(members, shared(cls, members[0])) for members in found.values()]
    several = differing([settings for _, settings in grouped])
    names = distinct([name_of(members, settings, several) for members, settings in grouped])
    return [
        Arm(name, tuple(members), settings, tuple(map(metrics_of, members)))
        for name, (members, settings) in zip(names, grouped, strict=True)
    ]


def runs_in(path: Path) -> list[Path]:
    """The run in a directory, or the runs of all seeds in it.

    Raises:
      UserError: if there is none.
    """
    if holds_run(path):
        return [path]
    found = sorted(run for run in path.glob("seed_*") if holds_run(run))
    if not found:
        raise UserError(f"runs: expected the directory of a run, received {path}; check the path")
    return found


def shared(cls: type[Any], run: Path) -> dict[str, Any]:
    """All settings of a run except those in `OF_A_SEED`."""
    found = settings_of(load_config(cls, run))
    return {name: value for name, value in found.items() if name not in OF_A_SEED}


def metrics_of(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics; empty if it has not logged any yet."""
    path = run / METRICS
    return read_metrics(path) if path.is_file() else []


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the settings whose values differ."""
    names = dict.fromkeys(name for one in settings for name in one)
    return [name for name in names if len({dump_json(one.get(name)) for one in settings}) > 1]


def name_of(runs: Sequence[Path], settings: Mapping[str, Any], several: Sequence[str]) -> str:
    """A name that sets an arm apart from the others: one or two settings, else its directory."""
    if 1 <= len(several) <= MOST_NAMED:
        said = [(name.rpartition(".")[2], value(settings.get(name))) for name in several]
        return ", ".join(f"{name} {number}" for name, number in said)
    one = runs[0].resolve()
    if re.fullmatch(r"seed_\d+", one.name):
        return one.parent.name
    return one.name if len(runs) == 1 else f"{one.name} and {len(runs) - 1} more"


def value(setting: Any) -> str:
    """A setting's value, written as on the command line."""
    return shown(tuple(setting) if isinstance(setting, list) else setting)


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with equal ones numbered."""
    return [
        f"{name} ({names[: n + 1].count(name)})" if names.count(name) > 1 else name
        for n, name in enumerate(names)
    ]


def curve(arm: Arm, key: str) -> Curve | None:
    """A metric over the range of steps that all seeds cover, linear between their rows.

    Training episodes are averaged in groups. None if no seed has the metric at two or more steps,
    or the seeds' ranges do not overlap.
    """
    series = [one for rows in arm.rows if len((one := points(rows, key)).T) > 1]
    if not series:
        return None
    first, last = max(time[0] for time, _ in series), min(time[-1] for time, _ in series)
    time = np.unique(np.concatenate([time for time, _ in series]))
    time = time[(time >= first) & (time <= last)]
    if not len(time):
        return None
    seeds = np.stack([np.interp(time, *one) for one in series])
    return Curve(time, seeds.mean(0), half_width(seeds), seeds)


def points(rows: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """[2, n] steps and finite values of a metric, averaged per step."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if np.isfinite(row.get(key, np.nan)):
            found.setdefault(row["step"], []).append(float(row[key]))
    time, number = np.array([*found]), np.array([np.mean(x) for x in found.values()])
    if key.startswith("episode/") and len(time) > POINTS:
        parts = [np.arange(len(time)) * POINTS // len(time) == n for n in range(POINTS)]
        time, number = (np.array([x[part].mean() for part in parts]) for x in (time, number))
    return np.array([time, number], float).reshape(2, -1)


def at_end(arms: Sequence[Arm], key: str) -> tuple[float, list[np.ndarray]]:
    """A metric at the last step that all seeds of all arms have reached, linear between their rows.

    Returns:
      The step, nan if no seed has the metric; and for each arm [seeds], those that have it by then.
    """
    series = [[one for rows in arm.rows if (one := points(rows, key)).size] for arm in arms]
    step = min((float(time[-1]) for found in series for time, _ in found), default=np.nan)
    return step, [
        np.array([np.interp(step, *one) for one in found if one[0, 0] <= step]) for found in series
    ]


def difference(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Difference of two samples' means, with the half-width of its 95% interval: nan if either
    sample has fewer than two numbers. Source: Welch 1947."""
    gap = float(one.mean() - other.mean())
    if min(len(one), len(other)) < 2:
        return gap, float("nan")
    a, b = (x.var(ddof=1) / len(x) for x in (one, other))
    if a + b == 0:
        return gap, 0.0
    degrees = (a + b) ** 2 / (a**2 / (len(one) - 1) + b**2 / (len(other) - 1))
    return gap, float(stdtrit(degrees, 0.975) * np.sqrt(a + b))


def logged(arms: Sequence[Arm], pattern: str) -> Iterator[str]:
    """Sorted names of the metrics that match ``pattern`` and that at least one run has."""
    names = {name for arm in arms for rows in arm.rows for row in rows for name in row}
    return (name for name in sorted(names) if re.fullmatch(pattern, name))
