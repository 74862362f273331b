"""Pictures of any size and kind as uint8 [S, S, C]: the middle square, or the whole squeezed."""

import io
from dataclasses import dataclass
from typing import Literal

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from common import Count, check_bounds

LARGEST = 100_000_000  # pixels of one picture; a larger one is taken for damage
_BLOCK = 64  # frames resized at once


@dataclass(frozen=True)
class Look:
    """How pictures are made to fit, and how long an episode may be."""

    size: Count = 64
    """Pixels along one edge of every picture."""
    fit: Literal["crop", "stretch"] = "crop"
    """Pictures that are no square: their middle square (crop), or the whole squeezed (stretch)."""
    max_frames: Count = 10_000
    """A longer video is stored as several episodes of at most so many frames (named in the report);
    10 000 frames of 64x64x3 are 123 MB of memory."""

    def __post_init__(self) -> None:
        check_bounds(self)


def fit_frame(frame: av.VideoFrame, look: Look, channels: int) -> np.ndarray:
    """A decoded video frame as uint8 [S, S, C], C = 1 (grey) or 3; averaged by area, upright."""
    width, height = _scaled(frame.width, frame.height, look)
    kind = "gray" if channels == 1 else "rgb24"
    image = frame.reformat(width, height, kind, interpolation="AREA").to_ndarray()
    image = image.reshape(height, width, channels)
    top, left = (height - look.size) // 2, (width - look.size) // 2
    image = image[top : top + look.size, left : left + look.size]
    return np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90) % 4))


def fit_images(images: np.ndarray, look: Look) -> np.ndarray:
    """Pictures uint8 [T, H, W, C] as [T, S, S, C]; a new pixel is the mean of what it covers."""
    height, width = images.shape[1:3]
    if look.fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        images = images[:, top : top + side, left : left + side]
        height = width = side
    if (height, width) == (look.size, look.size):
        return np.ascontiguousarray(images)
    rows, columns = area_weights(height, look.size), area_weights(width, look.size)
    blocks = [images[at : at + _BLOCK] for at in range(0, len(images), _BLOCK)]
    resized = [
        np.rint(np.einsum("ij,tjkc,lk->tilc", rows, x, columns, optimize=True)) for x in blocks
    ]
    return np.clip(np.concatenate(resized), 0, 255).astype(np.uint8)


def area_weights(old: int, new: int) -> np.ndarray:
    """Resampling matrix [new, old], float32: each new pixel is the mean of the old it covers."""
    edges = np.linspace(0, old, new + 1)
    pixel = np.arange(old)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (np.maximum(overlap, 0) * (new / old)).astype(np.float32)


def decode_image(data: bytes, channels: int) -> np.ndarray:
    """A PNG or JPEG as uint8 [H, W, C], C = 1 (grey) or 3.

    Raises:
      ValueError: if it is none, is damaged, or is larger than `LARGEST` pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > LARGEST:
                raise ValueError(f"a picture of {image.width}x{image.height} pixels")
            array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"a picture that is no readable PNG or JPEG: {error}") from error
    return array.reshape(*array.shape[:2], channels)


def _scaled(width: int, height: int, look: Look) -> tuple[int, int]:
    """Size before the middle square is taken: the shorter edge becomes S, or both do."""
    if look.fit == "stretch":
        return look.size, look.size
    scale = look.size / min(width, height)
    return max(look.size, round(width * scale)), max(look.size, round(height * scale))
