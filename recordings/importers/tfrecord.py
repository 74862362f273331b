"""Folders of TFRecord files, one tf.train.Example per sequence: frames encoded, or raw bytes.

Where the frames are found, in this order: the feature named `feature`; the keys `0/NAME`, `1/NAME`
... (one feature per frame); the first of `FEATURES` that is there. A feature of T byte strings is T
frames (PNG, JPEG, or raw); one of a single string is a raw video [T, H, W, C].
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from common import UserError
from recordings.episode import Video, cut
from recordings.importers import folder
from recordings.importers.images import Look, decode_images, fit_images, with_channels
from recordings.importers.wire import Feature, parse_example, read_records

FEATURES = ("video", "frames", "images", "image", "image/encoded", "video/encoded")
_STEP = re.compile(r"(\d+)/(.+)")
_ENCODED = (b"\x89PNG", b"\xff\xd8\xff")


@dataclass(frozen=True)
class Sequences:
    """What is taken from an Example."""

    channels: Literal[1, 3] = 3
    """3: colour; 1: grey."""
    feature: str | None = None
    """Name of the feature with the frames; for keys like 0/main/encoded: main/encoded."""
    raw_shape: tuple[int, int, int] | None = None
    """Height, width and channels of frames stored as raw bytes; None where they are 64x64, or the
    Example itself says so (features height, width, depth or channels)."""


@dataclass(frozen=True)
class TfRecords:
    """TFRecord files with one tf.train.Example per sequence, as TFDS writes them, and others."""

    source: Path
    """The folder (or one file)."""
    look: Look = Look()
    """How frames are made to fit."""
    sequences: Sequences = Sequences()
    """Where the frames are."""

    def names(self) -> list[str]:
        """Paths of the TFRecord files inside the folder."""
        return folder.find(self.source, is_tfrecord)

    def read(self, name: str) -> Iterator[Video]:
        """The file's sequences in order."""
        path = folder.locate(self.source, name)
        return read_sequences(name, path, self.look, self.sequences)

    def split(self, name: str) -> str | None:
        """Of the folder that it lies in, or of its own name, such as mazes-train.tfrecord-00000."""
        return folder.split_of(name)


def is_tfrecord(name: str) -> bool:
    """Whether a file is called like one: x.tfrecord, x.tfrecords.gz, x.tfrecord-00000-of-00032."""
    return ".tfrecord" in name.lower()


def read_sequences(name: str, path: Path, look: Look, sequences: Sequences) -> Iterator[Video]:
    """The sequences of one file, `name:00000` and so on.

    Raises:
      UserError: with the reason, if a record is damaged or holds no frames.
    """
    for number, data in enumerate(read_records(path)):
        try:
            images, notes = _frames(parse_example(data), sequences, look)
        except ValueError as error:
            raise UserError(f"record {number}: {error}") from error
        video = Video(f"{name}:{number:05d}", {"image": images}, notes=notes)
        yield from cut(video, look.max_frames)


def _frames(
    features: Mapping[str, Feature], sequences: Sequences, look: Look
) -> tuple[np.ndarray, tuple[str, ...]]:
    """uint8 [T, S, S, C] of one Example, and what was changed."""
    parts = _find(features, sequences.feature)
    if parts[0].startswith(_ENCODED):
        return decode_images(parts, sequences.channels, look)
    shape = sequences.raw_shape or _shape(features)
    size = math.prod(shape)
    data = b"".join(parts)
    if len(data) % size or (len(parts) > 1 and len(parts[0]) != size):
        raise UserError(
            f"raw frames of {len(parts[0])} bytes, expected a multiple of "
            f"{'x'.join(map(str, shape))}; see --raw-shape"
        )
    images = np.frombuffer(data, np.uint8).reshape(-1, *shape)
    return with_channels(fit_images(images, look), sequences.channels), ()


def _find(features: Mapping[str, Feature], wanted: str | None) -> list[bytes]:
    """The byte strings that hold the frames."""
    steps = sorted((int(m[1]), m[2]) for name in features if (m := _STEP.fullmatch(name)))
    names = [wanted] if wanted else [*dict.fromkeys(name for _, name in steps), *FEATURES]
    for name in names:
        here = [features[f"{t}/{key}"] for t, key in steps if key == name]
        lists = here or [features[name]] if here or name in features else []
        parts = [part for values in lists if isinstance(values, list) for part in values]
        if parts:
            return parts
    raise UserError(
        f"no frames: looked for {', '.join(names)} among {sorted(features)}; see --feature"
    )


def _shape(features: Mapping[str, Feature]) -> tuple[int, int, int]:
    """(height, width, channels) that the Example tells, else 64x64 and its own channels or 3."""

    def number(names: tuple[str, ...], default: int) -> int:
        for name in names:
            value = features.get(name, [])
            if isinstance(value, np.ndarray) and value.size == 1:
                return int(value[0])
        return default

    shape = (
        number(("height", "image/height"), 64),
        number(("width", "image/width"), 64),
        number(("depth", "channels", "image/channels"), 3),
    )
    if min(shape) < 1:
        raise UserError(f"frames of shape {shape}")
    return shape
