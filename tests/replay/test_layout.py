"""The rule by which sequences are cut, against slots laid out one by one."""

from itertools import product

import numpy as np
import pytest

from replay.layout import Placed, blocks, follow, start
from tests.replay.slow_sequences import slow_slots

EPISODES = (2, 1, 5, 3, 8, 1, 2, 4, 6) * 8  # records of those that are packed


def laid(placed: list[Placed], total: int) -> list[tuple[int, int, bool] | None]:
    """What the slots hold by the rule, as `slow_slots` tells it."""
    found = []
    for slot in range(total):
        number = sum(slot >= later.at for later in placed[1:])
        here = placed[number]
        time = here.time(slot)
        there = (number, min(time, here.steps - 1), bool(here.real(slot)))
        found.append(there if time >= 0 else None)
    return found


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 8])
def test_slots_are_those_laid_one_by_one(stride: int) -> None:
    for windows, steps in product(range(1, 6), range(1, 12)):
        total = stride - 1 + windows * stride
        for block in range(blocks(steps, stride)):
            placed = [start(block, steps, stride)]
            for more in EPISODES[: total + 1]:
                placed.append(follow(placed[-1], more, stride))
            want = slow_slots(block * stride, steps, iter(EPISODES), stride, windows * stride)
            assert laid(placed, total) == want, (windows, steps, block)


@pytest.mark.parametrize("stride", [1, 2, 4, 5])
def test_no_window_mixes_episodes_and_every_record_closes_one(stride: int) -> None:
    """The next episode begins on the clock, and the last record's window is over at its phase."""
    for steps in range(1, 14):
        for block in range(blocks(steps, stride)):
            placed = start(block, steps, stride)
            last = placed.at + steps - 1 - placed.frame
            end = placed.end(stride)
            assert (end - (stride - 1)) % stride == 0
            assert last + stride - 1 < end <= last + 2 * stride - 1


def test_arrays_are_laid_as_numbers_are() -> None:
    numbers, slots = np.arange(3)[:, None], np.arange(9)
    together = start(numbers, np.array([[3], [5], [9]]), 4)
    for row, steps in enumerate((3, 5, 9)):
        alone = start(row, steps, 4)
        np.testing.assert_array_equal(together.time(slots)[row], [alone.time(s) for s in slots])
        np.testing.assert_array_equal(together.real(slots)[row], [alone.real(s) for s in slots])
        assert together.end(4)[row, 0] == alone.end(4)
