"""Writing videos as .mp4 or .gif, stacking rows of frames, and labelling frames.

Frames are `uint8[T, H, W, 3]`, RGB. Read next: `logger.py`, which shows the same GIFs in
TensorBoard.
"""

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from common import UserError
from replay.atomic import replacing

SUFFIXES = (".gif", ".mp4")

GIF_TICK = 10
"""Milliseconds: the time unit of a GIF."""

GIF_SHORTEST = 20
"""Milliseconds: browsers slow down GIFs whose frames are shorter than this."""

MP4_QUALITY = 18
"""x264's constant rate factor; 18 looks lossless, 51 is the worst."""

LINE = 14
"""Height of a line of text in pixels."""


class Film(NamedTuple):
    """Frames, and the text shown above each when written as a video."""

    frames: np.ndarray  # uint8 [T, H, W, 3]
    texts: Sequence[Sequence[str]]  # [T] lines, the same number for each frame


def write_video(path: Path, frames: np.ndarray, fps: float) -> None:
    """Write a video, whole or not at all; the suffix of `path` selects the format.

    Args:
      path: ends in .mp4 (H.264 in yuv420p, which every player shows; an odd height or width repeats
        its last row or column) or .gif (256 colours per frame, loops).
      frames: uint8 [T, H, W, 3], RGB.
      fps: frames per second. A GIF counts in units of 10 ms and shows at most 50 per second.
    Raises:
      UserError: for another suffix, other frames, or fps that are not positive.
    """
    path = Path(path)
    check_frames(frames)
    _check_fps(fps)
    check_suffix(path)
    with replacing(path) as temporary:
        encode = encode_gif if path.suffix == ".gif" else encode_mp4
        temporary.write_bytes(encode(frames, fps))


def check_suffix(path: Path) -> None:
    """Raise UserError for a path that does not end as that of a video does."""
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"expected a video path ending in {' or '.join(SUFFIXES)}, received {str(path)!r}; "
            "rename the output"
        )


def encode_gif(frames: np.ndarray, fps: float) -> bytes:
    """Encode `frames`, uint8 [T, H, W, 3], as an endlessly looping GIF.

    Raises:
      UserError: for other frames, or fps that are not positive.
    """
    check_frames(frames)
    _check_fps(fps)
    images = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    milliseconds = max(GIF_SHORTEST, GIF_TICK * round(1000 / fps / GIF_TICK))
    buffer = io.BytesIO()
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0
    )
    return buffer.getvalue()


def encode_mp4(frames: np.ndarray, fps: float) -> bytes:
    """Encode `frames`, uint8 [T, H, W, 3], as an H.264 video; see `write_video`."""
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(MP4_QUALITY)}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return buffer.getvalue()


def stack_rows(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Stack videos vertically: [T, H_i, W, C] each, to [T, ΣH_i, W, C], first on top.

    Raises:
      UserError: if there are no rows, or T, W or C differ.
    """
    shapes = [row.shape for row in rows]
    alike = {(len(shape), shape[0], shape[2:]) for shape in shapes if len(shape) == 4}
    if len(alike) != 1 or any(len(shape) != 4 for shape in shapes):
        raise UserError(
            f"expected rows [T, H, W, C] of equal T, W and C, received {shapes}; cut or resize "
            "them to the same length and width"
        )
    return np.concatenate(rows, axis=1)


def upscale(frames: np.ndarray, factor: int) -> np.ndarray:
    """Repeat every pixel `factor` times in both directions: [T, H, W, C] to [T, fH, fW, C].

    Raises:
      UserError: unless factor is a positive integer.
    """
    if factor < 1 or factor != int(factor):
        raise UserError(f"expected a factor of 1, 2, …, received {factor}; pass a whole number")
    return frames.repeat(int(factor), axis=1).repeat(int(factor), axis=2)


def labelled(film: Film) -> np.ndarray:
    """Draw each frame's text above it, white on black: [T, H, W, 3] to [T, n·LINE + H, W, 3].

    Text wider than the frame is cut off at the right.
    """
    check_frames(film.frames)
    font, width = ImageFont.load_default(size=LINE - 3), film.frames.shape[2]

    def above(lines: Sequence[str]) -> np.ndarray:
        bar = Image.new("RGB", (width, LINE * len(lines)))
        draw = ImageDraw.Draw(bar)
        for n, line in enumerate(lines):
            place = (3, n * LINE + LINE // 2)
            draw.text(place, line, fill=(255, 255, 255), font=font, anchor="lm")
        return np.asarray(bar)

    bars = np.stack([above(lines) for lines in film.texts])
    return np.concatenate([bars, film.frames], axis=1)


def check_frames(frames: np.ndarray) -> None:
    """Raise a UserError unless `frames` are uint8 [T, H, W, 3] with at least one pixel."""
    good = frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[-1:] == (3,)
    if not good or frames.size == 0:
        raise UserError(
            f"expected frames uint8 [T, H, W, 3], received {frames.dtype} {list(frames.shape)}; "
            "scale to 0–255, convert to uint8, and repeat a single channel three times"
        )


def _check_fps(fps: float) -> None:
    if not fps > 0:
        raise UserError(f"expected frames per second above 0, received {fps}; pass e.g. fps=10")
