"""Uninformed predictions as references: a model below them has predicted nothing.

On two moving digits, a black frame already has an SSIM of .60, so every model is compared with:

- ``blank``: black frames;
- ``mean frame``: the mean of the video's own context frames, at every time;
- ``random frame``: at every time another frame, drawn from the other videos that are scored (the
  paper's Figure 1 draws from the training images, which an evaluation of stored runs may lack).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from common import UserError
from worldmodel.observations import pixels

BLANK, MEAN, RANDOM = "blank", "mean frame", "random frame"

POOL = 4096
"""Number of frames, from all videos, among which random ones are drawn."""


class Source(NamedTuple):
    """What ``frames.score_frames`` draws a reference from: frame ``number`` of ``pool``."""

    pool: Array  # [P, h, w, C] uint8, or float pixel values
    number: Array  # int32 [N, B, H]


def drawer(pool: Array) -> Callable[[Any], Array]:
    """``draw`` for ``frames.score_frames``: numbers [n] to frames [n, h, w, C]."""
    return lambda number: pixels(pool[number])


def blank(videos: int, horizon: int, shape: tuple[int, ...]) -> Source:
    """Black frames of ``shape`` (h, w, C)."""
    return Source(jnp.zeros((1, *shape), jnp.uint8), jnp.zeros((1, videos, horizon), jnp.int32))


def mean_frame(context: np.ndarray, horizon: int) -> Source:
    """The mean over time of ``context``, uint8 [B, T, h, w, C]."""
    videos = context.shape[0]
    number = np.broadcast_to(np.arange(videos, dtype=np.int32)[None, :, None], (1, videos, horizon))
    return Source(jnp.asarray(context.mean(1, dtype=np.float32) / 255), jnp.asarray(number))


class RandomFrames:
    """Random frames of other videos.

    Args:
      videos: uint8 [V, T, h, w, C], V at least 2.
      seed: of the pool and of every draw from it.
    Raises:
      UserError: if there is only one video.
    """

    def __init__(self, videos: np.ndarray, seed: int) -> None:
        count, length = videos.shape[:2]
        if count < 2:
            raise UserError(
                "random frame: expected at least 2 videos to draw from, received 1; raise --videos"
            )
        self._rng = np.random.default_rng(seed)
        size = min(POOL, count * length)
        chosen = np.sort(self._rng.choice(count * length, size=size, replace=False))
        video, time = np.divmod(chosen, length)
        self.pool = jnp.asarray(videos[video, time])
        # frames of video v in the pool: bounds[v] … bounds[v+1]-1
        self._bounds = np.searchsorted(video, np.arange(count + 1))

    def draw(self, rows: np.ndarray, samples: int, horizon: int) -> Source:
        """Draw N = ``samples`` predictions for the videos ``rows`` [B], never from their frames."""
        first, end = (self._bounds[rows + i][None, :, None] for i in (0, 1))
        others = len(self.pool) - (end - first)
        number = self._rng.integers(0, others, (samples, len(rows), horizon))
        number = np.where(number < first, number, number + end - first)
        return Source(self.pool, jnp.asarray(number, jnp.int32))
