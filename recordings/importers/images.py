"""Convert images of any size and kind to uint8 [S, S, C], in the terms of `common/images.py`."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import av
import numpy as np
from av.buffer import Buffer
from av.video.reformatter import Interpolation
from PIL import Image, ImageOps, UnidentifiedImageError

from common import Count, UserError, check_bounds
from common.images import FIT, SIZE, Fit, ImageSize
from envs.images import SQUARED, fitted
from recordings.importers.bounds import check_bytes, check_picture

ON_WHITE = "transparent in places: laid on white"

_AVERAGE = int(
    Interpolation.AREA
    | Interpolation.FULL_CHR_H_INT  # without it, white in 4:2:0 colour becomes 253
    | Interpolation.ACCURATE_RND
)


@dataclass(frozen=True)
class Look:
    """Size and fit of images, and the maximum length of an episode."""

    size: ImageSize = SIZE
    """Pixels along each edge of an image: 32, 48, 64, 80, 96, 112 or 128."""
    fit: Fit = FIT
    """How non-square images become square: squeezed whole (squeeze), padded with black bars (pad),
    or cropped to the middle square (crop)."""
    max_frames: Count = 10_000
    """Longer videos are stored as several episodes of at most this many frames (reported at the
    end); 10 000 frames of 64x64x3 take 123 MB of memory."""

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def described(self) -> str:
        """Size and fit in words."""
        return f"{self.size} x {self.size} pixels, non-square ones {SQUARED[self.fit]}"


def fit_frame(frame: av.VideoFrame, look: Look, channels: int) -> tuple[np.ndarray, bool]:
    """Fit a decoded video frame to uint8 [S, S, C], C = 1 (grey) or 3; area-averaged, upright.

    Returns:
      The image, and whether it was transparent in places.
    """
    opaque = _on_white(frame)
    width, height = _scaled(frame.width, frame.height, look)
    kind = "gray" if channels == 1 else "rgb24"
    image = (opaque or frame).reformat(width, height, kind, interpolation=_AVERAGE).to_ndarray()
    image = fitted(image.reshape(height, width, channels), look.size, look.fit)
    return np.ascontiguousarray(_upright(image, frame)), opaque is not None


def fit_images(images: np.ndarray, look: Look) -> np.ndarray:
    """Fit images uint8 [T, H, W, C] to [T, S, S, C]; a new pixel is the mean of the area it covers.

    Raises:
      UserError: if they exceed the limits of `bounds.py`.
    """
    length, height, width, channels = images.shape
    check_picture(width, height)
    check_bytes(length * look.size**2 * channels, f"{length:,} pictures made to fit")
    return np.ascontiguousarray(fitted(images, look.size, look.fit))


def decode_image(data: bytes, channels: int) -> tuple[np.ndarray, bool]:
    """Decode a PNG or JPEG to uint8 [H, W, C], C = 1 (grey) or 3, upright.

    Returns:
      The image, and whether it was transparent in places.
    Raises:
      UserError: if it is neither, is damaged, or exceeds the limits of `bounds.py`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as file:
            check_picture(file.width, file.height)
            image = _eight_bits(ImageOps.exif_transpose(file))
            transparent = image.has_transparency_data and _alpha(image).getextrema()[0] != 255
            if transparent:
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image.convert("RGBA"))
            array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    except Image.DecompressionBombError as error:
        raise UserError(f"a picture that is too large: {error}") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise UserError(f"a picture that is not a readable PNG or JPEG: {error}") from error
    return array.reshape(*array.shape[:2], channels), transparent


def decode_images(
    parts: Sequence[bytes], channels: int, look: Look
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Decode PNG or JPEG images to uint8 [T, S, S, C]; also return notes on what was changed. Each
    image is made to fit before the next is read.

    Raises:
      UserError: as for `decode_image`, and for images of several sizes.
    """
    images, shapes, transparent = [], set(), False
    check_bytes(len(parts) * look.size**2 * channels, f"{len(parts):,} pictures made to fit")
    for part in parts:
        image, seen_through = decode_image(part, channels)
        shapes.add(image.shape)
        transparent |= seen_through
        images.append(fit_images(image[None], look)[0])
    if len(shapes) > 1:
        raise UserError(f"frames of several sizes: {sorted(shapes)}")
    return np.stack(images), (ON_WHITE,) * transparent


def with_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Convert [T, H, W, C] to 1 or 3 channels; grey is the luma of ITU-R BT.601.

    Raises:
      UserError: for images that have neither 1 nor 3 channels.
    """
    have = images.shape[-1]
    if have == channels:
        return images
    if have == 1:
        return np.repeat(images, 3, axis=-1)
    if have != 3:
        raise UserError(f"frames of {have} channels, expected 1 or 3")
    luma = images @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(luma)[..., None].astype(np.uint8)


def _alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGBA").getchannel("A")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale a 16-bit grey image to 8 bits, which PIL would clip at 255."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))


def _scaled(width: int, height: int, look: Look) -> tuple[int, int]:
    """Size to scale to before the image is made square: both edges become S, or the longer one
    (pad) or the shorter one (crop)."""
    if look.fit == "squeeze":
        return look.size, look.size
    scale = look.size / (max if look.fit == "pad" else min)(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _on_white(frame: av.VideoFrame) -> av.VideoFrame | None:
    """Composite the frame on white; None if it is opaque."""
    if not any(part.is_alpha for part in frame.format.components):
        return None
    pixels = frame.reformat(format="rgba", interpolation=_AVERAGE).to_ndarray()
    alpha = pixels[..., 3:].astype(np.float32) / 255
    if alpha.min() == 1:
        return None
    laid = np.rint(alpha * pixels[..., :3] + (1 - alpha) * 255).astype(np.uint8)
    return av.VideoFrame.from_ndarray(laid, format="rgb24")


def _upright(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """Rotate and mirror the image by its display matrix: x' = a x + c y, y' = b x + d y."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, Buffer):
        return image
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    turned = abs(b) + abs(c) > abs(a) + abs(d)
    across, down = (c, b) if turned else (a, d)
    image = image.swapaxes(0, 1) if turned else image
    return image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
