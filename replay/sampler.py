"""Sequences for the learner, cut from the store by the rule in `layout.py`.

Every sealed step is drawn equally often. The one exception: steps after a gap (in an episode that
lost a file) are not the beginning of an episode, so they are never packed after another one. Read
next: `layout.py`.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from common import UserError
from replay.chunk import Field
from replay.index import Segment
from replay.layout import follow, start
from replay.store import OPEN_MAPS, EpisodeGone, ReplayStore

REQUIRED = ("action_mask", "reward", "terminal", "is_first")


class Stretch(NamedTuple):
    """Frames start..stop-1 of a segment from slot `at` of a row on; then absorbing up to `end`."""

    row: int
    at: int
    segment: Segment
    start: int
    stop: int
    end: int


class SequenceSampler:
    """Draws batches of sequences; the same store and the same seed give the same batches.

    Args:
      store: a `ReplayStore` with the fields of `standard_fields`.
      batch: B, sequences per batch.
      length: environment steps per sequence without the lead-in; a multiple of stride.
      stride: K, environment steps per tick of the top level.
      seed: of the draws.
      share: (i, n): all rows are drawn, but only the i-th of n equal shares of them is read.
    Raises:
      UserError: if sizes are not positive, length is not a multiple of stride, a field is missing,
        or the batch cannot be divided into such shares.
    """

    def __init__(
        self,
        store: ReplayStore,
        *,
        batch: int,
        length: int,
        stride: int,
        seed: int,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        number, shares = share
        if batch % shares:
            raise UserError(
                f"replay sampler: expected a batch of {shares} equal shares, received {batch}; "
                f"choose a multiple of {shares}"
            )
        if min(batch, length, stride) < 1 or length % stride:
            raise UserError(
                f"replay sampler: expected batch, length, stride >= 1 with length a multiple of "
                f"stride, received {batch}, {length}, {stride}; choose a length that stride divides"
            )
        missing = [name for name in REQUIRED if name not in store.fields]
        if missing:
            raise UserError(
                f"replay sampler: expected fields {REQUIRED}, received a store without {missing}; "
                f"create it with `standard_fields`"
            )
        self._store, self._batch, self._length, self._stride = store, batch, length, stride
        self._rows = range(batch * number // shares, batch * (number + 1) // shares)
        self._lead = stride - 1
        self._rng = np.random.default_rng(seed)

    def sample(self) -> dict[str, Any]:
        """Draw a batch, axes [B, lead + length, ...].

        Returns:
          "obs": the `obs/<key>` fields by key; every other field by name, with "action" of width 0
          if the store has none; "mask": float32, 1 on real steps, 0 on padding. The caller owns the
          arrays.
        Raises:
          UserError: if the store has no sealed step.
        """
        return self._sampled()[1]

    def gather(self, runs: list[Stretch]) -> dict[str, Any]:
        """Read runs into a batch. Of its pieces, at most `OPEN_MAPS` are mapped at once; the kernel
        begins to read all of these before the first is copied.

        Raises:
          EpisodeGone: if a file has vanished.
        """
        flat = self._empty()
        pieces = (piece for run in runs for piece in self.open(run))
        while mapped := list(islice(pieces, OPEN_MAPS)):
            for row, at, records in mapped:
                self._copy(flat, row, at, records)
            mapped.clear()
        self._pad(flat, runs)
        return self._nested(flat)

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of the store."""
        return self._store.fields

    def draw(self) -> list[Stretch]:
        """Draw the runs of the next batch, row by row in order of slots; nothing is read."""
        return [run for row in range(self._batch) for run in self._draw_row(row)]

    def state(self) -> dict[str, Any]:
        """The state of the draws, for JSON."""
        return {"rng": self._rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`: over the same data, the same batches follow. With another batch
        size the same sequences follow; with another length, different ones."""
        self._rng.bit_generator.state = state["rng"]

    def _sampled(self) -> tuple[list[Stretch], dict[str, Any]]:
        """The runs of the next batch, and the batch of those that are read."""
        while True:
            with self._store.lock:
                runs = self.draw()
            try:
                return runs, self.gather(self._read(runs))
            except EpisodeGone:
                continue  # the store has removed it from its index: draw again

    def _read(self, runs: list[Stretch]) -> list[Stretch]:
        """The runs of the rows that are read; rows are then counted from the first of these."""
        first = self._rows[0]
        return [run._replace(row=run.row - first) for run in runs if run.row in self._rows]

    def _draw_row(self, row: int) -> Iterator[Stretch]:
        """Draw the runs of one sequence, in order of slots."""
        index = self._store.index
        if not index.steps:
            raise UserError(
                "replay sampler: expected a store with sealed steps, received an empty one; "
                "collect at least one chunk or one whole episode first"
            )
        segment, block = index.draw_block(self._rng, self._stride)
        total = self._lead + self._length
        placed = start(block, segment.steps, self._stride)
        while True:
            end = placed.end(self._stride)
            following = index.draw_whole(self._rng) if end < total else None
            first, stop = max(0, placed.time(0)), min(segment.steps, placed.time(total))
            at = placed.at - (placed.frame - first)
            yield Stretch(row, at, segment, first, stop, end if following else total)
            if following is None:
                return
            segment, placed = following, follow(placed, following.steps, self._stride)

    def open(self, run: Stretch) -> Iterator[tuple[int, int, np.ndarray]]:
        """(row, slot, mapped records) of each contiguous piece of a run."""
        at = run.at
        for chunk, first, end in run.segment.pieces(run.start, run.stop):
            yield run.row, at, self._store.read(chunk, first, end)
            at += end - first

    def _empty(self) -> dict[str, np.ndarray]:
        axes = (len(self._rows), self._lead + self._length)
        flat = {k: np.empty((*axes, *f.shape), f.dtype) for k, f in self._store.fields.items()}
        flat.setdefault("action", np.empty((*axes, 0), np.float32))
        flat["mask"] = np.empty(axes, np.float32)
        return flat

    def _copy(self, flat: dict[str, np.ndarray], row: int, at: int, records: np.ndarray) -> None:
        slots = slice(at, at + len(records))
        for name in self._store.fields:
            flat[name][row, slots] = records[name]
        flat["mask"][row, slots] = 1

    def _pad(self, flat: dict[str, np.ndarray], runs: list[Stretch]) -> None:
        """Fill slots without a record: with zeros, except the observations of absorbing steps."""
        row = -1
        for run in runs:
            if run.row != row and run.at:
                for array in flat.values():
                    array[run.row, : run.at] = 0
            row, last = run.row, run.at + run.stop - run.start - 1
            if last + 1 < run.end:
                for name, array in flat.items():
                    hold = name.startswith("obs/")
                    array[row, last + 1 : run.end] = array[row, last] if hold else 0

    def _nested(self, flat: dict[str, np.ndarray]) -> dict[str, Any]:
        batch: dict[str, Any] = {k: v for k, v in flat.items() if not k.startswith("obs/")}
        batch["obs"] = {k[4:]: v for k, v in flat.items() if k.startswith("obs/")}
        return batch
