"""A sequence laid out one slot at a time, written apart from `replay/layout.py`."""

from collections.abc import Iterator


def slow_slots(
    frame: int, steps: int, following: Iterator[int], stride: int, length: int
) -> list[tuple[int, int, bool] | None]:
    """Every slot as (episode, record, real); None where there is nothing, before an episode.

    Args:
      frame: where the sequence starts, of an episode (number 0) of so many steps; one of its
        absorbing steps where it is not below ``steps``.
      following: steps of the episodes 1, 2, … that are packed after it; asked for when needed.
    """
    lead, total = stride - 1, stride - 1 + length
    times = range(max(0, frame - lead), frame)
    before = [(0, min(time, steps - 1), time < steps) for time in times]
    slots = [None] * (lead - len(before)) + before
    number, time = 0, frame
    while True:
        while time < steps and len(slots) < total:
            slots.append((number, time, True))
            time += 1
        absorbing = time - steps
        while absorbing < lead or (len(slots) - lead) % stride:
            if len(slots) == total:
                return slots
            slots.append((number, steps - 1, False))
            absorbing += 1
        if len(slots) == total:
            return slots
        more = next(following, None)
        if more is None:
            return slots + [(number, steps - 1, False)] * (total - len(slots))
        number, time, steps = number + 1, 0, more
