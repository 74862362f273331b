"""Moving ball: a ball that bounces off the borders and changes its colour.

Zakharov et al. 2022 (VPR) introduced it, with a colour that changes at a bounce or at a random
time; DLH §4.4 adds a random change at each step with probability λ. Neither gives radius, speed or
palette, so these are ours. A change at a bounce is predictable and goes to the next colour of the
palette; a random change is not, and goes to any other colour.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recordings.generators.bouncing import bounce, random_flight
from recordings.generators.seeded import PIXELS, SeededVideos, require

PALETTE = np.array(
    [
        (230, 50, 50),
        (240, 150, 30),
        (240, 230, 60),
        (60, 200, 70),
        (50, 200, 220),
        (60, 90, 235),
        (160, 70, 220),
        (240, 110, 190),
    ],
    np.uint8,
)  # RGB
_SPEEDS = (2.0, 4.0)  # px per frame


@dataclass(frozen=True)
class MovingBall(SeededVideos):
    """Videos of a ball on black, 64 x 64 x 3.

    Factors:
      position: float32 [T, 2], (row, column) of the ball's centre in px; the top left corner of the
        picture is (0, 0), the bottom right one (64, 64).
      velocity: float32 [T, 2], (down, right) in px per frame, on leaving the frame.
      colour: int32 [T], index into PALETTE.
      changed: int32 [T], 1 where the colour differs from that of the previous frame.
      bounced: int32 [T], 1 where the ball has met a border since the previous frame.
    """

    name: ClassVar[str] = "moving_ball"

    change: float = 0.1
    """λ: probability of a random change of colour at each frame after the first."""
    bounce_change: bool = True
    """Whether the colour also changes at each bounce."""
    radius: float = 7.0
    """Radius of the ball, px."""
    speed: float = 1.0
    """Factor on the speed, which is 2 to 4 px per frame at 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.change <= 1, "change", self.change, "a probability")
        require(1 <= self.radius < PIXELS / 2, "radius", self.radius, "1 to 31 px")
        require(0 < self.speed < np.inf, "speed", self.speed, "a factor above 0")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See `SeededVideos`."""
        span = PIXELS - 2 * self.radius
        speeds = (self.speed * _SPEEDS[0], self.speed * _SPEEDS[1])
        start, speed = random_flight(rng, (), speeds, span)
        corner, velocity = bounce(start, speed, self.length, span)
        bounced = np.zeros(self.length, np.int32)
        bounced[1:] = _borders_met(start, speed, self.length, span) > 0
        colour = self._colours(rng, bounced)
        position = corner + self.radius
        changed = np.diff(colour, prepend=colour[:1]) != 0
        return paint(position, self.radius, PALETTE[colour]), {
            "position": position.astype(np.float32),
            "velocity": velocity.astype(np.float32),
            "colour": colour,
            "changed": changed.astype(np.int32),
            "bounced": bounced,
        }

    def _colours(self, rng: np.random.Generator, bounced: np.ndarray) -> np.ndarray:
        """int32 [T]: random at first, then changed at random and, if enabled, at bounces."""
        step = bounced * int(self.bounce_change)
        random = rng.random(self.length) < self.change
        step = np.where(random, rng.integers(1, len(PALETTE), self.length), step)
        step[0] = rng.integers(len(PALETTE))
        return (np.cumsum(step) % len(PALETTE)).astype(np.int32)


def _borders_met(start: np.ndarray, velocity: np.ndarray, length: int, span: float) -> np.ndarray:
    """Number of borders met between frames t-1 and t, [T - 1], from the unfolded motion."""
    crossed = np.floor((start + velocity * np.arange(length)[:, None]) / span)
    return np.abs(np.diff(crossed, axis=0)).sum(1).astype(np.int64)


def paint(position: np.ndarray, radius: float, colour: np.ndarray) -> np.ndarray:
    """Discs on black with a soft edge one pixel wide: coverage = clip(radius - distance + 1/2).

    Args:
      position: [T, 2] centre (row, column), px.
      radius: px.
      colour: uint8 [T, 3].
    Returns:
      uint8 [T, 64, 64, 3].
    """
    images = np.zeros((len(position), PIXELS, PIXELS, 3), np.uint8)
    low = np.maximum(np.floor(position - radius - 1), 0).astype(int)
    high = np.ceil(position + radius + 1).astype(int)  # slicing stops at the border by itself
    centres = np.arange(PIXELS) + 0.5
    for image, (row, column), (top, left), (bottom, right), ink in zip(
        images, position.tolist(), low.tolist(), high.tolist(), colour, strict=True
    ):
        down, across = centres[top:bottom] - row, centres[left:right] - column
        distance = np.sqrt((down * down)[:, None] + across * across)
        cover = np.clip(radius - distance + 0.5, 0, 1)
        image[top:bottom, left:right] = np.rint(cover[..., None] * ink)
    return images
