"""Observations as pictures: images unchanged, vectors as bars; true above imagined.

Read next: `video.py`, which writes them.
"""

from collections.abc import Mapping

import numpy as np

from training.video import stack_rows, upscale

EDGE = 64
"""Pixels of a vector's picture along each edge."""

RED, GREY, BLUE = (200, 60, 60), (40, 40, 44), (90, 150, 230)


def pictures(obs: Mapping[str, np.ndarray], limits: Mapping[str, float]) -> np.ndarray:
    """Frames of one sequence: its images side by side, or its vectors as bars if it has none.

    Args:
      obs: images uint8 [T, H, W, C], vectors [T, n].
      limits: per vector, the absolute value at which a bar is full (``bar_limits``).
    Returns:
      uint8 [T, H, W, 3].
    """
    images = [_rgb(np.asarray(x)) for x in obs.values() if x.ndim == 4]
    if images:
        return np.concatenate(images, axis=2)
    vectors = [np.asarray(x) / limits[name] for name, x in sorted(obs.items())]
    return bars(np.concatenate(vectors, axis=1))


def bar_limits(obs: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Largest absolute value of every vector, so that true and imagined share one scale."""
    return {
        name: max(float(np.abs(x).max()), 1e-6)
        for name, x in obs.items()
        if np.asarray(x).ndim == 2
    }


def bars(values: np.ndarray) -> np.ndarray:
    """One vertical bar per dimension, up from the middle for positive values: [T, n] in [-1, 1]."""
    length, count = values.shape
    frames = np.full((length, EDGE, EDGE, 3), GREY, np.uint8)
    edges = np.linspace(1, EDGE - 1, count + 1).round().astype(int)
    half = EDGE // 2
    heights = np.round(np.clip(values, -1, 1) * (half - 1)).astype(int)
    for t in range(length):
        for i in range(count):
            height, left, right = heights[t, i], edges[i], max(edges[i] + 1, edges[i + 1] - 1)
            rows = slice(half - height, half) if height > 0 else slice(half, half - height)
            frames[t, rows, left:right] = BLUE if height > 0 else RED
    frames[:, half] = 120
    return frames


def true_above_imagined(
    true: Mapping[str, np.ndarray],
    imagined: Mapping[str, np.ndarray],
    context: int,
    factor: int = 2,
) -> np.ndarray:
    """Videos of a batch side by side, true above imagined; a red edge marks what was never seen.

    Args:
      true, imagined: observations [B, T, ...] over the same times.
      context: frames from the start that the model saw.
      factor: enlargement.
    Returns:
      uint8 [T, 2·H·factor, B·W·factor, 3].
    """
    columns = []
    for row in range(len(next(iter(true.values())))):
        real = {name: np.asarray(x[row]) for name, x in true.items()}
        drawn = {name: np.asarray(x[row]) for name, x in imagined.items()}
        limits = bar_limits(real)
        upper, lower = (upscale(pictures(x, limits), factor) for x in (real, drawn))
        lower = lower.copy()
        lower[context:, :2] = lower[context:, :, :2] = (255, 0, 0)
        columns.append(stack_rows([upper, lower]))
    return np.concatenate(columns, axis=2)


def _rgb(images: np.ndarray) -> np.ndarray:
    """Convert [T, H, W, C] to three channels: repeat the first, or drop all beyond the third."""
    return np.repeat(images[..., :1], 3, axis=-1) if images.shape[-1] < 3 else images[..., :3]
