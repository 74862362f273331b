"""A sequence laid out one slot at a time, written apart from `replay/layout.py`."""

from collections.abc import Iterator


def slow_slots(
    frame: int, steps: int, following: Iterator[int], stride: int, length: int
) -> list[tuple[int, int, bool] | None]:
    """Every slot as (episode, record, real); None where there is nothing, before an episode.

    Args:
      frame: where the sequence starts, of an episode (number 0) of so many steps.
      following: steps of the episodes 1, 2, … that are packed after it; asked for when needed.
    """
    lead, total = stride - 1, stride - 1 + length
    slots = [(0, time, True) if time >= 0 else None for time in range(frame - lead, frame)]
    number, time = 0, frame
    while True:
        while time < steps and len(slots) < total:
            slots.append((number, time, True))
            time += 1
        absorbing = 0
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
