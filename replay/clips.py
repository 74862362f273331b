"""Clips of video for the learner: consecutive frames of one episode, drawn anywhere or as streams.

A clip of T frames lies entirely inside its episode: no lead-in, no padding, no second episode (what
CW-VAE trains on, §3). As *streams*, each row reads through an episode clip by clip, so that the
model's states can be carried from one clip to the next; ``continues`` says where they may be. An
episode's first clip starts within its first T frames, so that every phase occurs; a remainder at
its end that is shorter than a clip is skipped. Read next: `sampler.py`, the sequences of agents.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from common import UserError
from replay.index import Segment
from replay.sampler import SequenceSampler, Stretch
from replay.store import ReplayStore


class ClipSampler(SequenceSampler):
    """Draws batches of clips; the same store and the same seed give the same batches.

    Args:
      store: a `ReplayStore` with the fields of `standard_fields`.
      batch: B, clips per batch.
      length: T, frames per clip.
      streams: whether each row continues where its last clip ended.
      seed: of the draws.
      share: as for `SequenceSampler`.
    Raises:
      UserError: if sizes are not positive, a field is missing, or no episode is long enough.
    """

    def __init__(
        self,
        store: ReplayStore,
        *,
        batch: int,
        length: int,
        streams: bool,
        seed: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__(store, batch=batch, length=length, stride=1, seed=seed, share=share)
        self._check_length()
        self._streams = streams
        self._cursor: list[tuple[Segment, int] | None] = [None] * batch  # where a row continues

    def sample(self) -> dict[str, Any]:
        """Draw a batch, axes [B, T, ...], as in `SequenceSampler.sample`, and "continues" [B] bool:
        whether a clip directly follows the last one of the same row."""
        runs, batch = self._sampled()
        before = self._cursor
        continues = [
            here is not None and here[0] is run.segment and here[1] == run.start
            for here, run in zip(before, runs, strict=True)
        ]
        if self._streams:
            self._cursor = [(run.segment, run.stop) for run in runs]
        read = slice(self._rows[0], self._rows[-1] + 1)
        return {**batch, "continues": np.array(continues)[read]}

    def state(self) -> dict[str, Any]:
        """The state of the draws, for JSON."""
        rows = [here and [*here[0].key, here[1]] for here in self._cursor]
        return {**super().state(), "cursor": rows}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`: over the same data, the same batches follow. A row whose episode
        is no longer there begins anew."""
        super().restore(state)
        rows = [*state["cursor"], *[None] * self._batch][: self._batch]
        find = self._store.index.segment
        self._cursor = [
            (segment, row[2]) if row and (segment := find(row[0], row[1])) else None for row in rows
        ]

    def _draw_row(self, row: int) -> Iterator[Stretch]:
        here, index = self._cursor[row], self._store.index
        if here is not None and index.segment(*here[0].key) is not here[0]:
            here = None  # its episode is no longer there
        if here is None or here[1] + self._length > here[0].steps:
            self._check_length()
            segment, start = index.draw_clip(self._rng, self._length)
            if self._streams:
                start = min(start, int(self._rng.integers(self._length)))
            here = segment, start
        segment, start = here
        yield Stretch(row, 0, segment, start, start + self._length, self._length)

    def _check_length(self) -> None:
        """Raise UserError if no episode, or none any more, is long enough."""
        index = self._store.index
        if not index.clips(self._length):
            raise UserError(
                f"clips: expected an episode of at least {self._length} frames, received a store "
                f"whose longest has {index.longest}; shorten --length, or import longer videos"
            )
