"""The first records of stored episodes, in order, as evaluation reads them."""

from contextlib import suppress
from typing import Any

from common import UserError
from replay.sampler import SequenceSampler, Stretch
from replay.store import EpisodeGone, ReplayStore


def first_steps(store: ReplayStore, count: int, length: int, skip: int = 0) -> dict[str, Any]:
    """The first ``length`` records of the first ``count`` episodes that have at least as many.

    Args:
      skip: number of such episodes to skip at the beginning.
    Returns:
      Axes [count, length, ...], nested as in `SequenceSampler.sample`.
    Raises:
      UserError: if there are fewer such episodes.
    """
    while True:
        long = [s for s in store.index.segments if s.whole and s.steps >= length]
        if len(long) < skip + count or count < 1:
            raise UserError(
                f"episodes: expected {skip + count} of at least {length} steps, received a store "
                f"with {len(long)} of {store.episodes}; ask for fewer or shorter ones"
            )
        some = long[skip : skip + count]
        runs = [Stretch(n, 0, segment, 0, length, length) for n, segment in enumerate(some)]
        reader = SequenceSampler(store, batch=count, length=length, stride=1, seed=0)
        with suppress(EpisodeGone):  # the next one takes its place
            return reader.gather(runs)
