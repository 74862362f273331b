"""What a set of episodes says: mean return with its 95% interval, success rate, length."""

from collections.abc import Sequence

import numpy as np

from agents.driver import Episode


def summary(episodes: Sequence[Episode]) -> dict[str, float]:
    """Numbers by name.

    Returns:
      return: mean sum of rewards; return_95: half-width of its normal 95% interval, 1.96 s/√n over
      episodes (0 for a single one); success: share of successes, where the environment tells;
      length: mean environment steps; discounted: mean discounted sum of rewards, and foreseen: mean
      of what the critic expected of it at the first observation, where it was asked. Far above what
      came, the agent exploits its model (docs/adr/0013); a truncated episode holds only part.
    Raises:
      ValueError: without episodes.
    """
    if not episodes:
        raise ValueError("summary: expected at least one episode, received none")
    scores = np.array([e.score for e in episodes])
    spread = float(scores.std(ddof=1)) if len(scores) > 1 else 0.0
    values = {"return": float(scores.mean()), "return_95": 1.96 * spread / len(scores) ** 0.5}
    known = [e.success for e in episodes if e.success is not None]
    if known:
        values["success"] = float(np.mean(known))
    values["length"] = float(np.mean([e.length for e in episodes]))
    for name in ("discounted", "foreseen"):
        told = [getattr(e, name) for e in episodes if getattr(e, name) is not None]
        if told:
            values[name] = float(np.mean(told))
    return values
