"""The first records of stored episodes, in order, as evaluation reads them."""

from typing import Any

from common import UserError
from replay.sampler import SequenceSampler, Stretch
from replay.store import ReplayStore


def first_steps(store: ReplayStore, count: int, length: int, skip: int = 0) -> dict[str, Any]:
    """The first ``length`` records of the first ``count`` episodes that have at least as many.

    Args:
      skip: number of such episodes to skip at the beginning.
    Returns:
      Axes [count, length, ...], nested as in `SequenceSampler.sample`.
    Raises:
      UserError: if there are fewer such episodes.
    """
    long = [s for s in store.index.segments if s.whole and s.steps >= length]
    if len(long) < skip + count or count < 1:
        raise UserError(
            f"episodes: expected {skip + count} of at least {length} steps, received a store with "
            f"{len(long)} of {store.episodes}; ask for fewer or shorter ones"
        )
    runs = [Stretch(n, 0, s, 0, length, length) for n, s in enumerate(long[skip : skip + count])]
    reader = SequenceSampler(store, batch=count, length=length, stride=1, seed=0)
    return reader.gather(runs, [part for run in runs for part in reader.open(run)])
