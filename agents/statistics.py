"""Statistics of a set of episodes: mean return with its 95% interval, success rate, length.

Episodes, seeds and videos share one interval: Student's, because samples are small.
"""

from collections.abc import Sequence
from math import isnan

import numpy as np
from scipy.special import stdtrit

from agents.driver import Episode
from common import UserError


def half_width(values: np.ndarray) -> np.ndarray:
    """Half-width of the 95% interval of a mean over the first axis: t s/√n; nan at n = 1.

    t: quantile of Student's distribution with n-1 degrees of freedom. s: standard deviation with
    denominator n-1.
    """
    count = len(values)
    if count < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(stdtrit(count - 1, 0.975) * values.std(0, ddof=1) / count**0.5)


def plus_minus(mean: float, half: float | None, digits: int, note: str = "") -> str:
    """`mean ± half` and a note; the mean alone if the half is unknown (None or nan)."""
    known = half is not None and not isnan(half)
    return f"{mean:.{digits}f}" + (f" ± {half:.{digits}f}{note}" if known else "")


def summary(episodes: Sequence[Episode]) -> dict[str, float]:
    """Summary statistics by name.

    Returns:
      return: mean sum of rewards; return_95: half-width of its 95% interval over episodes, if there
      are several; success: share of successes, if the environment reports them; length: mean
      environment steps; discounted: mean discounted sum of rewards, and foreseen: the critic's mean
      prediction of it at the first observation, where recorded. If foreseen far exceeds discounted,
      the agent exploits its model (docs/adr/0013); a truncated episode has only part of the sum.
    Raises:
      UserError: if there are no episodes.
    """
    if not episodes:
        raise UserError("summary: expected at least one episode, received none")
    scores = np.array([e.score for e in episodes])
    values = {"return": float(scores.mean())}
    if len(scores) > 1:
        values["return_95"] = float(half_width(scores))
    known = [e.success for e in episodes if e.success is not None]
    if known:
        values["success"] = float(np.mean(known))
    values["length"] = float(np.mean([e.length for e in episodes]))
    for name in ("discounted", "foreseen"):
        told = [getattr(e, name) for e in episodes if getattr(e, name) is not None]
        if told:
            values[name] = float(np.mean(told))
    return values
