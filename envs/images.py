"""Images made square, then resized: each new pixel is the mean of the area that it covers.

The names of the fits and the possible sizes are defined in `common/images.py`.
"""

from functools import lru_cache

import numpy as np

from common.images import Fit

SQUARED: dict[Fit, str] = {
    "squeeze": "squeezed to a square",
    "pad": "padded to a square with black bars",
    "crop": "cut to the middle square",
}
"""How messages describe what happens to a non-square picture."""
_BLOCK = 2**24  # values of images that are resized at once


def fitted(images: np.ndarray, size: int, fit: Fit) -> np.ndarray:
    """Fit uint8 [..., H, W, C] into uint8 [..., size, size, C]."""
    square = {"squeeze": lambda x: x, "pad": padded_square, "crop": middle_square}[fit]
    return resize(square(images), size)


def described(height: int, width: int, size: int, fit: Fit) -> str:
    """Describe what ``fitted`` does to images; empty if it leaves them unchanged."""
    said = [SQUARED[fit]] * (height != width)
    said += [f"resized to {size} x {size}"] * ((height, width) != (size, size))
    return ", ".join(said)


def padded_square(images: np.ndarray) -> np.ndarray:
    """Pad [..., H, W, C] with black bars to [..., S, S, C], where S is the longer edge."""
    height, width = images.shape[-3:-1]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    bars = ((top, side - height - top), (left, side - width - left), (0, 0))
    return np.pad(images, [(0, 0)] * (images.ndim - 3) + [*bars])


def middle_square(images: np.ndarray) -> np.ndarray:
    """Crop [..., H, W, C] to the middle [..., S, S, C], where S is the shorter edge."""
    height, width = images.shape[-3:-1]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[..., top : top + side, left : left + side, :]


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resize uint8 [..., H, W, C] to uint8 [..., size, size, C] by averaging areas."""
    height, width, channels = images.shape[-3:]
    if (height, width) == (size, size):
        return images
    rows, columns = area_weights(height, size), area_weights(width, size)
    flat = images.reshape(-1, height, width, channels)
    resized = np.empty((len(flat), size, size, channels), np.uint8)
    block = max(1, _BLOCK // (channels * max(height * width, size * size)))
    for at in range(0, len(flat), block):
        part = slice(at, at + block)
        mean = np.einsum("ij,tjkc,lk->tilc", rows, flat[part], columns, optimize=True)
        resized[part] = np.clip(np.rint(mean), 0, 255)
    return resized.reshape(*images.shape[:-3], size, size, channels)


@lru_cache
def area_weights(old: int, new: int) -> np.ndarray:
    """Resampling matrix: each new pixel is the mean of the old pixels that it covers.

    Returns:
      float32 [new, old], rows sum to 1; shared between callers, so read-only.
    """
    edges = np.linspace(0, old, new + 1)
    index = np.arange(old)
    overlap = np.minimum(edges[1:, None], index + 1) - np.maximum(edges[:-1, None], index)
    weights = (np.maximum(overlap, 0) * (new / old)).astype(np.float32)
    weights.flags.writeable = False
    return weights
