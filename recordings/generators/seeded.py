"""What the generators share: video number i depends on (options, seed, i) and on nothing else.

So any range of numbers can be generated separately: generation resumes anywhere, in any order and
in any number of processes. Read next: `orbiting_ball.py`, `moving_digits.py`, `hallways.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from common import UserError
from recordings.episode import Video

PIXELS = 64  # along one edge of every generated image


@dataclass(frozen=True)
class SeededVideos(ABC):
    """Options of a generator; `video` and `videos` make its videos."""

    name: ClassVar[str]

    length: int = 100
    """Frames per video."""

    def __post_init__(self) -> None:
        """Raise UserError for options out of range."""
        require(self.length >= 1, "length", self.length, "1 frame or more")

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """One video from random numbers: images uint8 [T, 64, 64, C] and factors [T, ...]."""

    def video(self, index: int, seed: int) -> Video:
        """Video number `index` of the endless series that `seed` determines.

        Raises:
          UserError: if either is negative.
        """
        require(index >= 0 and seed >= 0, "index and seed", (index, seed), "0 or more")
        images, factors = self.draw(np.random.default_rng((seed, index)))
        return Video(f"{self.name}-{index:06d}", {"image": images}, factors)

    def videos(self, count: int, seed: int, first: int = 0) -> Iterator[Video]:
        """Videos number `first` to `first + count - 1`, one at a time.

        Raises:
          UserError: if a number is negative.
        """
        require(count >= 0, "count", count, "0 or more")
        for index in range(first, first + count):
            yield self.video(index, seed)


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Raise UserError unless the condition holds."""
    if not condition:
        raise UserError(f"{name}: expected {expected}, received {value!r}; choose such a value")
