"""Orbiting ball: a ball that keeps its colour and circles the middle of the picture.

Made for a first look at clocks, so that a small model learns it in minutes: colour, orbit and
direction never change, and they determine the ball's motion, as all turns take the same time. The
data set is ours; no paper uses it.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recordings.generators.moving_ball import PALETTE, paint
from recordings.generators.seeded import PIXELS, SeededVideos, require

COLOURS = (0, 2, 4, 6)  # of PALETTE: red, yellow, cyan, violet
_ORBITS = (14.0, 22.0)  # px from the middle


@dataclass(frozen=True)
class OrbitingBall(SeededVideos):
    """Videos of a ball on black, 64 x 64 x 3.

    Factors:
      position: float32 [T, 2], (row, column) of the ball's centre in px; the top left corner of the
        picture is (0, 0), the bottom right one (64, 64).
      colour: int32 [T], index into PALETTE, one of COLOURS, the same for the whole video.
      direction: int32 [T], 1 clockwise, 0 the other way, the same for the whole video.
    """

    name: ClassVar[str] = "orbiting_ball"

    turn: float = 36.0
    """Frames of one turn: as many as a tick of the top level with strides (1, 6, 36)."""
    radius: float = 8.0
    """Radius of the ball, px."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(2 <= self.turn < np.inf, "turn", self.turn, "2 frames or more")
        require(1 <= self.radius <= PIXELS / 2 - _ORBITS[1], "radius", self.radius, "1 to 10 px")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See `SeededVideos`."""
        orbit, start = rng.uniform(*_ORBITS), rng.uniform(0, 2 * np.pi)
        clockwise, colour = rng.integers(2), COLOURS[rng.integers(len(COLOURS))]
        speed = (2 * clockwise - 1) * 2 * np.pi / self.turn
        angle = start + speed * np.arange(self.length)
        position = PIXELS / 2 + orbit * np.stack((np.sin(angle), np.cos(angle)), -1)
        lasting = np.ones(self.length, np.int32)
        return paint(position, self.radius, PALETTE[colour * lasting]), {
            "position": position.astype(np.float32),
            "colour": (colour * lasting).astype(np.int32),
            "direction": (clockwise * lasting).astype(np.int32),
        }
