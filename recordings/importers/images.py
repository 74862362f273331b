"""Pictures of any size and kind as uint8 [S, S, C]: the middle square, or the whole squeezed."""

import io
from dataclasses import dataclass
from typing import Literal

import av
import numpy as np
from PIL import Image, UnidentifiedImageError

from common import Count, UserError, check_bounds
from envs.images import middle_square, resize
from recordings.importers.bounds import check_bytes, check_picture


@dataclass(frozen=True)
class Look:
    """How pictures are made to fit, and how long an episode may be."""

    size: Count = 64
    """Pixels along one edge of every picture."""
    fit: Literal["crop", "stretch"] = "crop"
    """Pictures that are no square: their middle square (crop), or the whole squeezed (stretch)."""
    max_frames: Count = 10_000
    """A longer video is stored as several episodes of at most so many frames (told at the end);
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
    """Pictures uint8 [T, H, W, C] as [T, S, S, C]; a new pixel is the mean of what it covers.

    Raises:
      UserError: if they are larger than `bounds.py` has it.
    """
    length, height, width, channels = images.shape
    check_picture(width, height)
    check_bytes(length * look.size**2 * channels, f"{length:,} pictures made to fit")
    images = middle_square(images) if look.fit == "crop" else images
    return np.ascontiguousarray(resize(images, look.size))


def decode_image(data: bytes, channels: int) -> np.ndarray:
    """A PNG or JPEG as uint8 [H, W, C], C = 1 (grey) or 3.

    Raises:
      UserError: if it is none, is damaged, or is larger than `bounds.py` has it.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
            check_picture(image.width, image.height)
            array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except Image.DecompressionBombError as error:
        raise UserError(f"a picture that is too large: {error}") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UserError(f"a picture that is no readable PNG or JPEG: {error}") from error
    return array.reshape(*array.shape[:2], channels)


def _scaled(width: int, height: int, look: Look) -> tuple[int, int]:
    """Size before the middle square is taken: the shorter edge becomes S, or both do."""
    if look.fit == "stretch":
        return look.size, look.size
    scale = look.size / min(width, height)
    return max(look.size, round(width * scale)), max(look.size, round(height * scale))
