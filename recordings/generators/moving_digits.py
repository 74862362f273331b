"""Moving digits: two handwritten digits that move over each other and bounce off the borders.

CW-VAE §3.1 makes its Moving MNIST in this way: two digits, 2 to 6 px per frame, bouncing within the
edges. Where digits overlap, the brighter pixel is visible (maximum), as in the original Moving
MNIST (Srivastava et al. 2015); SVG's generator adds and clips instead. The digits are those
included in scikit-learn, unless a folder of real MNIST files is given; only then is this Moving
MNIST.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from recordings.generators.bouncing import bounce, random_flight
from recordings.generators.digits import EDGE, Split, digit_images
from recordings.generators.seeded import PIXELS, SeededVideos, require

_SPEEDS = (2.0, 6.0)  # px per frame; CW-VAE §3.1


@dataclass(frozen=True)
class MovingDigits(SeededVideos):
    """Videos of moving digits, 64 x 64 x 1.

    Factors, all constant except for the motion:
      identity: int32 [T, D], which digit, 0 to 9.
      position: float32 [T, D, 2], (row, column) of the digit's top left corner in px. The digit is
        drawn at the nearest whole pixel.
      velocity: float32 [T, D, 2], (down, right) in px per frame, on leaving the frame.
    """

    name: ClassVar[str] = "moving_digits"

    digits: int = 2
    """Number of digits."""
    speed: float = 1.0
    """Factor on the speed, which is 2 to 6 px per frame at 1."""
    split: Split = "train"
    """train or test: which handwritten images are used; no image is in both."""
    mnist: str | Path | None = None
    """Folder with MNIST's idx files; None: scikit-learn's digits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.digits >= 1, "digits", self.digits, "1 or more")
        require(0 < self.speed < np.inf, "speed", self.speed, "a factor above 0")
        require(self.split in ("train", "test"), "split", self.split, "'train' or 'test'")

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """See `SeededVideos`."""
        source = digit_images(self.split, self.mnist)
        chosen = rng.integers(len(source.labels), size=self.digits)
        speeds = (self.speed * _SPEEDS[0], self.speed * _SPEEDS[1])
        start, velocity = random_flight(rng, (self.digits,), speeds, PIXELS - EDGE)
        position, velocity = bounce(start, velocity, self.length, PIXELS - EDGE)
        images = np.zeros((self.length, PIXELS, PIXELS, 1), np.uint8)
        corners = np.floor(position + 0.5).astype(int)
        for image, places in zip(images[..., 0], corners.tolist(), strict=True):
            for (row, column), digit in zip(places, chosen, strict=True):
                window = image[row : row + EDGE, column : column + EDGE]
                np.maximum(window, source.images[digit], out=window)
        return images, {
            "identity": np.tile(source.labels[chosen], (self.length, 1)),
            "position": position.astype(np.float32),
            "velocity": velocity.astype(np.float32),
        }
