"""Statistics of scores over many videos: mean and best of N samples, 95% intervals, ranks.

Read next: ``table.py`` and ``curves.py``, which show them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from agents.statistics import half_width
from common import UserError

HIGHER_IS_BETTER = {"ssim": True, "psnr": True, "lpips": False, "fvd": False}
"""All metrics, and their directions."""


BLIND = "blind_level"
"""Key in ``Line.about``: the level, from 1, that was blind."""


class Score(NamedTuple):
    """One metric of one predictor over V videos."""

    value: float  # mean over videos and times
    half: float  # half-width of its 95% interval over videos; nan for one video
    curve: np.ndarray  # [H] mean over videos at every time
    curve_half: np.ndarray  # [H]


class Line(NamedTuple):
    """One line of the table: a model, or an uninformed reference."""

    name: str
    reference: bool
    mean: dict[str, Score]  # of one sample, by metric
    best: dict[str, Score]  # of the best of N
    fvd: float | None  # None without features
    about: dict[str, Any]  # further entries of the JSON: run, step, strides, …


def make_line(
    name: str,
    reference: bool,
    values: Mapping[str, np.ndarray],
    fvd: float | None,
    about: Mapping[str, Any],
) -> Line:
    """A line from the scores [V, N, H] of every metric."""
    mean = {metric: mean_of_samples(x) for metric, x in values.items()}
    best = {metric: best_of_samples(x, HIGHER_IS_BETTER[metric]) for metric, x in values.items()}
    return Line(name, reference, mean, best, fvd, dict(about))


def mean_of_samples(values: np.ndarray) -> Score:
    """The expected score of one sample. values: [V, N, H]."""
    return _score(values.mean(1))


def best_of_samples(values: np.ndarray, higher: bool) -> Score:
    """Score of each video's best sample by the mean over all times, and its curve. SVG's rule.

    Each metric chooses its own sample.

    Args:
      values: [V, N, H].
      higher: whether more is better.
    """
    over_time = values.mean(2)
    best = over_time.argmax(1) if higher else over_time.argmin(1)
    return _score(values[np.arange(len(values)), best])


def _score(values: np.ndarray) -> Score:
    """values: [V, H]."""
    half = half_width(values)
    return Score(float(values.mean()), float(half_width(values.mean(1))), values.mean(0), half)


def ranks(values: Sequence[float], higher: bool) -> np.ndarray:
    """Rank of each value, 1 for the best; equal values share the mean of their ranks."""
    scores = np.asarray(values, float) * (1 if higher else -1)
    better = (scores[None, :] > scores[:, None]).sum(1)
    equal = (scores[None, :] == scores[:, None]).sum(1)
    return better + (equal + 1) / 2


def mean_ranks(columns: Mapping[tuple[str, str], Mapping[str, float]]) -> dict[str, float]:
    """Mean rank of every model over data sets and metrics. CW-VAE Figure 5c.

    Args:
      columns: per (data set, metric), the score of every model; the metric's name determines its
        direction.
    Raises:
      UserError: if a column lacks a model, or a metric is unknown.
    """
    models = list(next(iter(columns.values()), {}))
    total: dict[str, float] = dict.fromkeys(models, 0.0)
    for (data, metric), scores in columns.items():
        if metric not in HIGHER_IS_BETTER or set(scores) != set(models):
            raise UserError(
                f"mean_ranks: expected {sorted(HIGHER_IS_BETTER)} of {sorted(models)} everywhere, "
                f"received {metric!r} of {sorted(scores)} on {data!r}; leave the metric out"
            )
        values = [scores[model] for model in models]
        for model, rank in zip(models, ranks(values, HIGHER_IS_BETTER[metric]), strict=True):
            total[model] += float(rank)
    return {model: value / len(columns) for model, value in total.items()}


def rank_lines(lines: Sequence[Line], data: str) -> dict[str, float]:
    """Mean rank of the models among ``lines`` by the mean of a sample; empty for fewer than two.
    Models with a blind level are not ranked."""
    models = [line for line in lines if not line.reference and BLIND not in line.about]
    if len(models) < 2:
        return {}
    columns = {
        (data, metric): {line.name: line.mean[metric].value for line in models}
        for metric in models[0].mean
    }
    if all(line.fvd is not None for line in models):
        columns[data, "fvd"] = {line.name: float(line.fvd or 0) for line in models}
    return mean_ranks(columns)


class Usable(NamedTuple):
    """How long a prediction is useful by one metric."""

    frames: int  # before it first falls to an uninformed reference
    horizon: int  # H; if frames is as large, it never does
    falls_to: str  # name of that reference
    by_reference: dict[str, int]  # frames before it falls to each reference


def usable_horizon(
    curve: np.ndarray, references: Mapping[str, np.ndarray], higher: bool = True
) -> Usable:
    """Frames before a metric's curve first falls to that of an uninformed reference.

    Args:
      curve: [H] mean over videos, nan where undefined.
      references: [H] each, by name, at least one.
      higher: whether more is better.
    """
    sign = 1 if higher else -1
    frames = {}
    for name, reference in references.items():
        better = sign * (curve - reference[: len(curve)])
        known = np.flatnonzero(~np.isnan(better))
        filled = np.interp(np.arange(len(better)), known, better[known]) if len(known) else known
        frames[name] = frames_above(filled, 0.0)
    first = min(frames, key=lambda name: frames[name])
    return Usable(frames[first], len(curve), first, frames)


def usable_horizons(lines: Sequence[Line]) -> dict[str, dict[str, Usable]]:
    """Usable horizons of every model among the lines, by name and metric, for a sample's mean."""
    references = [line for line in lines if line.reference]
    return {
        line.name: {
            metric: usable_horizon(
                score.curve,
                {other.name: other.mean[metric].curve for other in references},
                HIGHER_IS_BETTER[metric],
            )
            for metric, score in line.mean.items()
        }
        for line in lines
        if not line.reference and references
    }


def frames_above(curve: np.ndarray, level: float, smooth: int = 9) -> int:
    """Frames before a curve, smoothed over ``smooth`` frames, first falls to ``level``.

    How long a prediction beats an uninformed one (CW-VAE Figure 1, §3.7): the first time at which
    its running mean is no better than the random frame's; H if there is none, 0 if it starts there.
    """
    if not len(curve):
        return 0
    smooth = min(smooth, len(curve))
    running = np.convolve(curve, np.full(smooth, 1 / smooth), mode="valid")
    below = np.flatnonzero(running <= level)
    if not len(below):
        return len(curve)
    return int(below[0]) + smooth // 2 if below[0] else 0
