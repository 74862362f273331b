"""Interpretation of an array of observations [T, ...] without a declared space: pictures or vector.

| array | becomes |
|---|---|
| bytes of 3 axes at each step, or of 2 with edges of 8 or more | picture |
| other numbers of that form called image, pixels, ..., or with 3 colours | picture, see `_scale` |
| any other numbers | vector |

A picture's axes may be in any order (`envs/spaces.py`): colours first or last, frames stacked.
"""

import re

import numpy as np

from common import UserError
from envs.spaces import channels_last, picture_shape
from recordings.importers.images import Look, fit_images

_NAMES = re.compile(r"image|img|pixel|rgb|frame|video|pov|screen|camera", re.IGNORECASE)
_EDGE = 8  # pixels, the smallest edge at which an array of 2 axes at each step is a picture
_MOST_CHANNELS = 32


def observed(key: str, array: np.ndarray, look: Look) -> tuple[np.ndarray, tuple[str, ...]]:
    """Pictures uint8 [T, S, S, C] or vectors float32 [T, n], and what was changed or guessed.

    Args:
      key: name of the array.
      array: [T, ...], T of 1 or more.
      look: how pictures are made to fit.
    Raises:
      UserError: naming the array, if it does not contain numbers, or is named as a picture but is
        not one.
    """
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise UserError(f"{key} of {array.dtype} {array.shape}, expected numbers [T, ...]")
    shape = array.shape[1:]
    if not _may_be_picture(key, array):
        return array.reshape(len(array), -1).astype(np.float32), ()
    *_, channels = picture_shape(shape)
    sure = array.dtype == np.uint8 or _NAMES.search(key) is not None
    try:
        if channels > _MOST_CHANNELS:
            raise UserError(
                f"{key}: pictures of {channels} channels, expected at most {_MOST_CHANNELS}; one "
                "file per video, [T, height, width, channels]"
            )
        scale, note = _scale(key, array)
    except UserError:
        if sure:
            raise
        vector = array.reshape(len(array), -1).astype(np.float32)
        return vector, (f"{key}: {array.dtype} {shape} stored as a vector of {vector.shape[1]}",)
    images = channels_last(array, len(shape))
    if images.dtype != np.uint8:
        images = np.clip(np.rint(images * scale), 0, 255).astype(np.uint8)
    return fit_images(images, look), note


def _may_be_picture(key: str, array: np.ndarray) -> bool:
    """Whether the shape is a picture's, and dtype and name do not contradict it."""
    shape = array.shape[1:]
    if len(shape) not in (2, 3, 4):
        return False
    height, width, channels = picture_shape(shape)
    bytes_or_named = array.dtype == np.uint8 or _NAMES.search(key) is not None
    if len(shape) == 3 and bytes_or_named:
        return True
    large = min(height, width) >= _EDGE
    return large and (bytes_or_named or (len(shape) == 3 and channels == 3))


def _scale(key: str, array: np.ndarray) -> tuple[float, tuple[str, ...]]:
    """The factor by which pictures are scaled to [0, 255], and a note on it: 1 for bytes and for
    integers and floats within [0, 255], 255 for floats within [0, 1] and booleans.

    Raises:
      UserError: for numbers outside these ranges, or not finite.
    """
    if array.dtype.kind == "b":
        return 255.0, (f"{key}: booleans, stored as black and white",)
    low, high = float(array.min()), float(array.max())
    floats = array.dtype.kind == "f"
    if not floats and low == 0 and high == 1:
        dark = "numbers of 0 and 1, nearly black as bytes; store booleans or floats"
        return 1.0, (f"{key}: {dark}",)
    if array.dtype == np.uint8:
        return 1.0, ()
    if floats and -1e-6 <= low and high <= 1 + 1e-6:
        return 255.0, (f"{key}: pictures of floats from 0 to 1, stored times 255",)
    if low >= 0 and high <= 255:
        return 1.0, (f"{key}: pictures of {array.dtype} from 0 to 255, stored as bytes",)
    raise UserError(
        f"{key}: pictures of {array.dtype} from {low:g} to {high:g}, expected numbers from 0 to 1 "
        "or from 0 to 255"
    )
