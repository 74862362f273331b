"""The colour of a ball on black, read from its frames: the balls of
`recordings/generators/moving_ball.py` and `orbiting_ball.py`."""

import numpy as np

from recordings.generators.moving_ball import PALETTE
from recordings.generators.seeded import PIXELS

FAINT = 0.1  # share of a ball's light below which a frame shows no ball
_RADIUS = 7.0  # px in a frame of PIXELS; of the smaller of the two balls


def colours(frames: np.ndarray) -> np.ndarray:
    """Index of the palette colour nearest in direction to the sum of all pixels: uint8
    [..., h, w, 3] to [...]; -1 where no ball is seen."""
    light = frames.astype(np.float64).sum((-3, -2))
    ways = PALETTE / np.linalg.norm(PALETTE, axis=1, keepdims=True)
    area = np.pi * _RADIUS**2 * (frames.shape[-3] / PIXELS) ** 2
    size = np.linalg.norm(light, axis=-1)
    faint = size < FAINT * area * np.linalg.norm(PALETTE, axis=1).min()
    return np.where(faint, -1, (light @ ways.T).argmax(-1))
