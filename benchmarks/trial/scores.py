"""Statistics of the trial: interquartile means, stratified intervals and permutation tests, Holm.

The scores of an arm are one array per task, with one normalised score per run.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata, trim_mean

SAMPLES = 10_000
Scores = Sequence[np.ndarray]


def iqm(scores: Scores) -> float:
    """Mean of the middle half of all runs. Source: Agarwal et al. 2021, §4.3."""
    return float(trim_mean(np.concatenate(scores), 0.25))


def interval(scores: Scores, seed: int = 0) -> tuple[float, float]:
    """95% interval of the interquartile mean; stratified bootstrap by task. Agarwal et al. 2021."""
    rng = np.random.default_rng(seed)
    drawn = [x[rng.integers(len(x), size=(SAMPLES, len(x)))] for x in scores]
    low, high = np.percentile(trim_mean(np.concatenate(drawn, axis=1), 0.25, axis=1), [2.5, 97.5])
    return float(low), float(high)


def permutation(one: Scores, other: Scores, seed: int = 0) -> float:
    """Two-sided p-value of the difference in interquartile means; arms permuted within tasks."""
    rng = np.random.default_rng(seed)
    both = [permuted(np.concatenate(pair), rng) for pair in zip(one, other, strict=True)]
    parts = [np.split(x, [len(a)], axis=1) for x, a in zip(both, one, strict=True)]
    first, second = (
        trim_mean(np.concatenate([part[i] for part in parts], axis=1), 0.25, axis=1)
        for i in range(2)
    )
    return as_far(first - second)


def order(steps: Sequence[float], scores: Sequence[Scores], seed: int = 0) -> tuple[float, float]:
    """Spearman's correlation of stride and score within tasks, averaged, and its two-sided p-value.

    Args:
      steps: K of each arm.
      scores: scores of each arm, by task.
    """
    rng, found = np.random.default_rng(seed), []
    for runs in zip(*scores, strict=True):
        clocks = np.repeat(steps, [len(x) for x in runs])
        found.append(spearman(clocks, permuted(np.concatenate(runs), rng)))
    means = np.mean(found, axis=0)
    return float(means[0]), as_far(means)


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rank correlation of x [n] with each row of y [m, n]; 0 if all values are equal."""
    a, b = rankdata(x), rankdata(y, axis=-1)
    a, b = a - a.mean(), b - b.mean(-1, keepdims=True)
    spread = np.sqrt((a**2).sum() * (b**2).sum(-1))
    return (b @ a) / np.where(spread > 0, spread, np.inf)


def permuted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[1 + SAMPLES, n]: x itself, then random permutations of it."""
    return np.concatenate([x[None], rng.permuted(np.tile(x, (SAMPLES, 1)), axis=1)])


def as_far(found: np.ndarray) -> float:
    """Share of values, including the first, that are at least as far from 0 as the first."""
    return float(np.mean(np.abs(found) >= abs(found[0]) - 1e-12))


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given. Source: Holm 1979."""
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(np.argsort(p)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted
