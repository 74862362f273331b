"""Folders of TFRecord files, one tf.train.Example per sequence, with encoded or raw frames.

Frames are taken from the first of these that exists: the feature named `feature`; the keys
`0/NAME`, `1/NAME` ... (one feature per frame; of several cameras, the one called main, or the
first); the features in `FEATURES`, in that order. A feature of T byte strings is T frames (PNG,
JPEG, or raw); one of a single raw string is a video [T, H, W, C]. Next to keys like `0/NAME` there
may be actions, `0/action` ..., as in BAIR robot pushing (Ebert et al. 2017): each leads from its
step to the next.
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
    """What to read from an Example."""

    channels: Literal[1, 3] = 3
    """3: colour; 1: grey."""
    feature: str | None = None
    """Name of the feature that holds the frames; for keys like 0/main/encoded: main/encoded."""
    raw_shape: tuple[int, int, int] | None = None
    """Height, width and channels of frames stored as raw bytes; None if they are 64x64, or if the
    Example itself states them (features height, width, depth or channels)."""


@dataclass(frozen=True)
class TfRecords:
    """TFRecord files with one tf.train.Example per sequence, as TFDS writes them, and others."""

    source: Path
    """Folder (or a single file)."""
    look: Look = Look()
    """Size and fit of frames."""
    sequences: Sequences = Sequences()
    """Where the frames are in an Example."""

    def names(self) -> list[str]:
        """Paths of the TFRecord files inside the folder."""
        return folder.find(self.source, is_tfrecord)

    def read(self, name: str) -> Iterator[Video]:
        """Read the file's sequences in order."""
        path = folder.locate(self.source, name)
        return read_sequences(name, path, self.look, self.sequences)

    def split(self, name: str) -> str | None:
        """The split that its folder or its own name gives, such as mazes-train.tfrecord-00000."""
        return folder.split_of(name)


def is_tfrecord(name: str) -> bool:
    """Whether a name is a TFRecord's: x.tfrecord, x.tfrecords.gz, x.tfrecord-00000-of-00032."""
    return ".tfrecord" in name.lower()


def read_sequences(name: str, path: Path, look: Look, sequences: Sequences) -> Iterator[Video]:
    """Read the sequences of one file, named `name:00000` and so on.

    Raises:
      UserError: with the reason, if a record is damaged or contains no frames.
    """
    for number, data in enumerate(read_records(path)):
        try:
            features = parse_example(data)
            images, notes = _frames(features, sequences, look)
            action, said = _actions(features, len(images))
        except ValueError as error:
            raise UserError(f"record {number}: {error}") from error
        video = Video(f"{name}:{number:05d}", {"image": images}, action=action, notes=notes + said)
        yield from cut(video, look.max_frames)


def _frames(
    features: Mapping[str, Feature], sequences: Sequences, look: Look
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frames uint8 [T, S, S, C] of one Example, and notes on what was chosen and changed."""
    parts, chosen = _find(features, sequences.feature)
    if parts[0].startswith(_ENCODED):
        images, notes = decode_images(parts, sequences.channels, look)
        return images, chosen + notes
    shape = sequences.raw_shape or _shape(features)
    size = math.prod(shape)
    data = b"".join(parts)
    if len(data) % size or (len(parts) > 1 and len(parts[0]) != size):
        raise UserError(
            f"raw frames of {len(parts[0])} bytes, expected a multiple of "
            f"{'x'.join(map(str, shape))}; see --raw-shape"
        )
    images = np.frombuffer(data, np.uint8).reshape(-1, *shape)
    return with_channels(fit_images(images, look), sequences.channels), chosen


def _find(
    features: Mapping[str, Feature], wanted: str | None
) -> tuple[list[bytes], tuple[str, ...]]:
    """The byte strings of the frames, and a note on which of several cameras was chosen."""
    series = _series(features)
    names = [wanted] if wanted else [*sorted(series, key=_rank), *FEATURES]
    found = {name: parts for name in names if (parts := _bytes(name, series, features))}
    if not found:
        raise UserError(
            f"no frames: looked for {', '.join(names)} among {sorted(features)}; see --feature"
        )
    (name, parts), *others = found.items()
    missing = sorted(set(range(max(series.get(name, [0])))) - set(series.get(name, [])) - {0})
    if missing:
        raise UserError(f"frames of {name}: no number {missing[0]}")
    cameras = [other for other, _ in others if other in series]
    left_out = f"{name} stored, {', '.join(cameras)} left out: see --feature"
    return parts, (left_out,) * bool(cameras)


def _series(features: Mapping[str, Feature]) -> dict[str, dict[int, Feature]]:
    """Features of the keys `0/NAME`, `1/NAME`, ... by name and number, sorted by both."""
    steps = sorted((m[2], int(m[1]), key) for key in features if (m := _STEP.fullmatch(key)))
    series: dict[str, dict[int, Feature]] = {}
    for name, number, key in steps:
        series.setdefault(name, {})[number] = features[key]
    return series


def _rank(name: str) -> tuple[bool, bool, str]:
    """Sort key: the main camera first, then other cameras."""
    return "main" not in name, "image" not in name, name


def _bytes(
    name: str, series: Mapping[str, Mapping[int, Feature]], features: Mapping[str, Feature]
) -> list[bytes]:
    """The byte strings of a name; none if it contains numbers or does not exist."""
    values = [*series[name].values()] if name in series else [features.get(name, [])]
    return [part for value in values if isinstance(value, list) for part in value]


def _actions(
    features: Mapping[str, Feature], steps: int
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Actions [T, A] in the arrival convention, and a note on per-step numbers left out."""
    series = _series(features)
    numbers = {
        name: [*values.values()]
        for name, values in series.items()
        if all(isinstance(value, np.ndarray) for value in values.values())
    }
    taken = numbers.get("action", [])
    shapes = {np.shape(value) for value in taken}
    floats = {np.asarray(value).dtype.kind for value in taken} == {"f"}
    whole = list(series.get("action", [])) == list(range(len(taken)))
    usable = floats and whole and len(shapes) == 1 and len(taken) in (steps - 1, steps)
    left_out = [name for name in numbers if not (usable and name == "action")]
    notes = (f"{', '.join(left_out)} left out: numbers at each step",) * bool(left_out)
    if not usable:
        return None, notes
    led = np.stack([np.asarray(value) for value in taken])[: steps - 1]
    return np.concatenate([np.zeros_like(led[:1]), led]), notes


def _shape(features: Mapping[str, Feature]) -> tuple[int, int, int]:
    """(height, width, channels) that the Example states; 64x64 and 3 channels by default."""

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
