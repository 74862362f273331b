"""Handwritten digits at 28 x 28: scikit-learn's small ones, or real MNIST from its files.

A classifier of the digits in a prediction is also trained and tested on `digit_images`.
"""

import gzip
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from common import UserError
from recordings.generators.seeded import require

Split = Literal["train", "test"]
EDGE = 28  # px
_INK_EDGE = 20  # px; MNIST's digits fill 20 x 20 of the 28 x 28
_TEST_SHARE = 5  # one in this many of scikit-learn's digits is a test digit
_IDX_UNSIGNED_BYTE = 8
_MNIST_PREFIX = {"train": "train", "test": "t10k"}


class Digits(NamedTuple):
    """N digits of one split."""

    images: np.ndarray  # uint8 [N, 28, 28], ink 255 on 0
    labels: np.ndarray  # int32 [N], 0 to 9


@lru_cache(maxsize=4)
def digit_images(split: Split, mnist: str | Path | None) -> Digits:
    """The digits of a split; train and test share no image.

    Args:
      split: train or test.
      mnist: folder with MNIST's idx files (`train-images-idx3-ubyte`, ..., also as .gz); None:
        scikit-learn's 1 797 digits of 8 x 8, enlarged to MNIST's layout.
    Raises:
      UserError: if the split is unknown, or a file is missing, damaged, or of another kind.
    """
    require(split in _MNIST_PREFIX, "split", split, "'train' or 'test'")
    digits = _enlarged(split) if mnist is None else _mnist(split, Path(mnist))
    for array in digits:
        array.flags.writeable = False  # every caller shares it
    return digits


def _enlarged(split: Split) -> Digits:
    """scikit-learn's digits; a digit's own pixels decide its split, so copies stay together."""
    from sklearn.datasets import load_digits  # takes a second, which other data avoid

    source = load_digits()
    small = source.images.astype(np.float32)
    checksum = [zlib.crc32(image.astype(np.uint8).tobytes()) for image in small]
    chosen = (np.array(checksum) % _TEST_SHARE == 0) == (split == "test")
    images = np.stack([_enlarge(image) for image in small[chosen]])
    return Digits(images, source.target[chosen].astype(np.int32))


def _enlarge(small: np.ndarray) -> np.ndarray:
    """float32 [8, 8] of 0 to 16 -> uint8 [28, 28], smooth, with strokes as full as MNIST's."""
    shape = (_INK_EDGE, _INK_EDGE)
    ink = np.asarray(Image.fromarray(small / 16).resize(shape, Image.Resampling.BICUBIC))
    full = np.clip((ink - 0.1) / 0.7, 0, 1)
    return np.pad(np.rint(255 * full).astype(np.uint8), (EDGE - _INK_EDGE) // 2)


def _mnist(split: Split, folder: Path) -> Digits:
    prefix = _MNIST_PREFIX[split]
    images = read_idx(_find(folder, f"{prefix}-images", "idx3-ubyte"))
    labels = read_idx(_find(folder, f"{prefix}-labels", "idx1-ubyte"))
    if images.shape[1:] != (EDGE, EDGE) or labels.shape != images.shape[:1] or not len(labels):
        raise UserError(
            f"{folder}: expected {prefix} images [N, 28, 28] and labels [N], received "
            f"{images.shape} and {labels.shape}; fetch the files again"
        )
    if labels.max() > 9:
        raise UserError(
            f"{folder}: expected {prefix} labels 0 to 9, received {labels.max()}; fetch them again"
        )
    return Digits(images, labels.astype(np.int32))


def _find(folder: Path, stem: str, kind: str) -> Path:
    """Find the file under one of its usual names."""
    names = [f"{stem}{joint}{kind}{end}" for joint in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"{folder}: expected a file {names[0]} or {names[1]}, received none; add it")


def read_idx(path: Path) -> np.ndarray:
    """An array of bytes from an idx file, which may be gzipped.

    Layout: two zero bytes, the type (8: unsigned byte), the number of axes, each axis' length as a
    big-endian 32-bit integer, the values.

    Returns:
      uint8, of the shape that the file states.
    Raises:
      UserError: if the file is damaged, cut short, or contains something else.
    """
    data = _contents(path)
    axes = data[3] if len(data) >= 4 else 0
    start = 4 + 4 * axes
    if data[:3] != bytes((0, 0, _IDX_UNSIGNED_BYTE)) or not axes or len(data) < start:
        raise UserError(
            f"{path}: expected an idx file of unsigned bytes, received one that begins with "
            f"{data[:4].hex() or 'nothing'}; fetch it again"
        )
    shape = tuple(int(size) for size in np.frombuffer(data[4:start], ">u4"))
    expected = 1
    for size in shape:
        expected *= size  # Python integers: a damaged header may overflow others
    if len(data) - start != expected:
        raise UserError(
            f"{path}: expected {expected} bytes for shape {shape}, received {len(data) - start}; "
            "fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _contents(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: expected a readable file, received {error}; fetch it") from error
